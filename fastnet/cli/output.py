"""Output of the commands: lines, tables, JSON, and files that appear only when complete."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal

import click

from fastnet.errors import InputError
from fastnet.utils import files

if TYPE_CHECKING:
    from rich.console import Console

WIDE = 10_000
"""Width of tables that do not go to a terminal, which are never wrapped."""


def message(text: str) -> None:
    """Write one line to standard error, after the program's name."""
    click.echo(f"fastnet: {printable(text)}", err=True)


def printable(text: object) -> str:
    """Return a text with control characters escaped, since names come from untrusted files."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in str(text)
    )


def facts(pairs: Iterable[tuple[str, object]]) -> None:
    """Write one named fact per line, with the values in one column."""
    rows = list(pairs)
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        click.echo(f"{click.style(name.ljust(width), bold=True)}  {printable(value)}")


def console(*, markup: bool = False) -> Console:
    """Return a console on standard output; it prints text literally unless `markup` is set."""
    from rich.console import Console

    terminal = sys.stdout.isatty()
    width = None if terminal else WIDE
    return Console(width=width, highlight=False, markup=markup, emoji=False)


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], numbers: int = 0) -> None:
    """Write a table; its last `numbers` columns are aligned to the right."""
    from rich import box
    from rich.table import Table

    made = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for index, column in enumerate(columns):
        right = index >= len(columns) - numbers
        made.add_column(column, justify="right" if right else "left", overflow="fold")
    for row in rows:
        made.add_row(*(printable(value) for value in row))
    console().print(made)


def as_json(value: object) -> str:
    """Return `value` as JSON, with full precision and with null for NaN and infinity."""
    return json.dumps(_finite(value), indent=2, allow_nan=False)


def _finite(value: object) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value


def short(value: float) -> str:
    """Format a number with four decimals, or four significant digits if those are all 0."""
    if value == 0 or 0.01 <= abs(value) < 1e5:
        return f"{value:.4f}"
    return f"{value:.4g}"


def size(count: int) -> str:
    """Format a number of bytes."""
    return f"{count:,} bytes" if count < 10_000 else f"{count / 1000:,.1f} kB"


def check_writable(option: str, path: Path, inputs: Sequence[str] = ()) -> None:
    """Raise, before any work, unless a file can be written to `path`.

    Parameters
    ----------
    option : str
        The option that names the file, for the message.
    inputs : sequence of str
        Files that the command reads and must not replace.
    """
    if str(path) == "-":
        raise InputError(f"{option}: expected the name of a file, got '-'.")
    if path.exists():
        if path.is_dir():
            raise InputError(f"{option}: {path} is a folder; name a file in it.")
        for source in inputs:
            if os.path.exists(source) and path.samefile(source):
                raise InputError(f"{option}: {path} is what is read here; name another file.")
        if not path.is_file():
            return  # a device or a pipe
    folder = path.parent
    if not folder.is_dir():
        raise InputError(f"{option}: there is no folder {str(folder)!r}; create it first.")
    probe = folder / f".{path.name}.{os.urandom(4).hex()}.tmp"
    try:
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise InputError(f"{option}: {path} cannot be written: {error.strerror}.") from error


@contextmanager
def replacing(path: Path, mode: Literal["w", "wb"] = "w") -> Iterator[IO[Any]]:
    """Open a file that appears under its name only when it is complete; text is UTF-8."""
    if path.exists() and not path.is_file():
        options: dict[str, Any] = {} if mode == "wb" else {"encoding": "utf-8", "newline": ""}
        with open(path, mode, **options) as file:
            yield file
        return
    with files.replacing(path, mode) as file:
        yield file


def require_ending(option: str, path: Path | None, *known: str) -> None:
    """Raise `click.UsageError` unless a file has one of these endings: they say what it holds."""
    if path is not None and not path.name.lower().endswith(known):
        raise click.UsageError(f"{option}: expected a file that ends in {' or '.join(known)}.")
