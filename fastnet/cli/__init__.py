"""The command line: one file for each command, imported when the command is used."""

from __future__ import annotations

import contextlib
import errno
import importlib
import sys
import warnings
from collections.abc import Iterator
from typing import Any, Final

import click
from click.shell_completion import CompletionItem

from fastnet._version import version
from fastnet.errors import FastNetError, FastNetWarning, suggest

COMMANDS: Final = {
    "demo": "Train on handwritten digits with every available backend.",
    "train": "Train a network on a table and save it.",
    "cv": "Cross-validate the training on a table.",
    "sweep": "Train with every combination of some options, and compare.",
    "tune": "Search for the best model of a table within some minutes.",
    "evaluate": "Evaluate a model on data with targets.",
    "predict": "Write a model's predictions for the rows of a table.",
    "info": "Show what is in a model file.",
    "plot": "Draw learning curves, or compare predictions with targets.",
    "export": "Write a model in a form that runs without fastnet.",
    "backends": "Show which backends can run here, and why others cannot.",
    "bench": "Measure training and prediction speed.",
}
"""Each command's summary, so that ``fastnet --help`` need not import the commands."""

_MODULES: Final = {
    "train": "fastnet.cli.commands.train.command",
    "cv": "fastnet.cli.commands.populations.cv",
    "sweep": "fastnet.cli.commands.populations.sweep",
    "tune": "fastnet.cli.commands.populations.tune",
}
"""Modules of the commands that have a folder."""

INTERRUPTED: Final = 130


class LazyGroup(click.Group):
    """Imports each command when it is used, and turns foreseen errors into one line."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        place = f"fastnet.cli.commands.{cmd_name}"
        module = importlib.import_module(_MODULES.get(cmd_name, place))
        command: click.Command = module.command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in COMMANDS and not args[0].startswith("-"):
            ctx.fail(f"unknown command {args[0]!r}{suggest(args[0], COMMANDS)}")
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete the name of a command; none of them is imported for it."""
        if incomplete.startswith("-"):
            return super(click.Group, self).shell_complete(ctx, incomplete)
        pairs = COMMANDS.items()
        return [
            CompletionItem(name, help=text) for name, text in pairs if name.startswith(incomplete)
        ]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; an error of fastnet becomes one line and exit code 1."""
        from fastnet.cli import output

        try:
            try:
                with _warnings_in_one_line():
                    return super().invoke(ctx)
            finally:
                # A closed pipe is handled here, but not when the interpreter exits.
                sys.stdout.flush()
        except KeyboardInterrupt:
            output.message("interrupted.")
            ctx.exit(INTERRUPTED)
        except (FastNetError, OSError, MemoryError) as error:
            closed_pipe = isinstance(error, OSError) and error.errno == errno.EPIPE
            if closed_pipe or ctx.ensure_object(dict).get("debug"):
                raise
            output.message(f"error: {describe(error)}")
            ctx.exit(1)


def describe(error: BaseException) -> str:
    """Return an error and its notes in one line."""
    text = str(error)
    if isinstance(error, OSError) and not isinstance(error, FastNetError) and error.strerror:
        place = f"{error.filename}: " if error.filename else ""
        text = f"{place}{error.strerror}."
    elif isinstance(error, MemoryError):
        text = f"there is not enough memory. {text}"
    notes = getattr(error, "__notes__", [])
    return " ".join(" ".join([text, *notes]).split())


@contextlib.contextmanager
def _warnings_in_one_line() -> Iterator[None]:
    """Show fastnet's warnings without the line of code that raised them."""
    from fastnet.cli import output

    show = warnings.showwarning

    def show_in_one_line(message: Warning | str, category: type[Warning], *where: Any) -> None:
        if issubclass(category, FastNetWarning):
            output.message(f"warning: {message}")
        else:
            show(message, category, *where)

    warnings.showwarning = show_in_one_line  # type: ignore[assignment]
    try:
        yield
    finally:
        warnings.showwarning = show


@click.group(
    cls=LazyGroup,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "max_content_width": 100,
        "show_default": True,
    },
    epilog="""\b
Examples:
  fastnet demo
  fastnet train digits --hidden 64 --epochs 30
  fastnet train flowers.csv --target species --out flowers.safetensors
  fastnet predict flowers.safetensors new-flowers.csv --out -

\b
Exit codes: 0 success, 1 error, 2 wrong usage, 130 ended by Ctrl-C, 143 by SIGTERM.
'fastnet COMMAND --help' explains a command.""",
)
@click.version_option(version, message="fastnet %(version)s")
@click.option("--debug", is_flag=True, default=False, help="Show the traceback of an error.")
@click.pass_context
def group(ctx: click.Context, debug: bool) -> None:
    """Train small dense neural networks on NumPy, Numba or CuPy, chosen by one flag."""
    ctx.ensure_object(dict)["debug"] = debug


def main() -> None:
    """Run the command line: the entry point of ``fastnet`` and of ``python -m fastnet``."""
    for stream in (sys.stdout, sys.stderr):
        # Characters that the terminal's encoding lacks are escaped, so that printing cannot fail.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        group.main(prog_name="fastnet")
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
