"""Types of options for all commands: sections of the help, names with suggestions, sizes."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterable, Sequence
from functools import reduce
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click
from click.shell_completion import CompletionItem

from fastnet import backends
from fastnet.data.text import is_number
from fastnet.errors import suggest

F = TypeVar("F", bound=Callable[..., Any])

if TYPE_CHECKING:
    _Text = click.ParamType[str]
    _Sizes = click.ParamType[tuple[int, ...]]
    _Weights = click.ParamType[str | dict[str, float]]
else:  # generic since click 8.3
    _Text = _Sizes = _Weights = click.ParamType

OTHER: Final = "Other"


class Option(click.Option):
    """An option that knows its section of the help text."""

    def __init__(self, *args: Any, section: str = OTHER, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.section = section


class Command(click.Command):
    """A command with ``--debug`` and with sections in its help text."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params.append(
            click.Option(
                ["--debug"],
                is_flag=True,
                default=False,
                expose_value=False,
                callback=_set_debug,
                help="Show the traceback of an error.",
            )
        )

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        sections: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx) if isinstance(param, click.Option) else None
            if record is not None:
                sections.setdefault(getattr(param, "section", OTHER), []).append(record)
        for title, records in sections.items():
            with formatter.section(title):
                formatter.write_dl(records)


def _set_debug(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value:
        ctx.ensure_object(dict)["debug"] = True


def option(*names: str, section: str = OTHER, **kwargs: Any) -> Callable[[F], F]:
    """Return a decorator that adds an option to a command, in a section of its help text."""
    return click.option(*names, cls=Option, section=section, **kwargs)


def by_name(adding: Iterable[Callable[[Any], Any]]) -> dict[str, Callable[[Any], Any]]:
    """Return decorators that add options by the name of the first option that each adds."""

    def name_of(add: Callable[[Any], Any]) -> str:
        parameters: list[click.Parameter] = add(lambda: None).__click_params__
        return str(parameters[0].name)

    return {name_of(add): add for add in adding}


def added(adding: Sequence[Callable[[F], F]], function: F) -> F:
    """Return a command's function with the options of several decorators, in their order."""
    return reduce(lambda made, add: add(made), reversed(adding), function)


def examples(*lines: str) -> str:
    """Return the text of the examples at the end of a help text."""
    return "\n".join(["\b", "Examples:", *(f"  {line}" for line in lines)])


class Name(_Text):
    """A type for one of several known names; the error for a wrong one suggests the nearest.

    Parameters
    ----------
    kind : str
        The kind of thing that is named, for messages.
    known : iterable of str
    """

    def __init__(self, kind: str, known: Iterable[str]) -> None:
        self.name = kind
        self.known = tuple(known)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        # Python's names and those of options differ in a sign.
        spelt = {name.replace("-", "_"): name for name in self.known}
        name = spelt.get(str(value).lower().replace("-", "_"))
        if name is None:
            self.fail(f"unknown {self.name} {value!r}{suggest(value, self.known)}", param, ctx)
        return name

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        return [CompletionItem(name) for name in self.known if name.startswith(incomplete)]


class Sizes(_Sizes):
    """A type for sizes of layers such as ``128,64``, or ``none``."""

    name = "sizes"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        if isinstance(value, tuple):
            return value
        if value.strip().lower() == "none":
            return ()
        parts = [part.strip() for part in value.split(",")]
        if not all(part.isascii() and part.isdigit() and int(part) > 0 for part in parts):
            self.fail(
                f"expected sizes of layers such as 128,64 (or none), got {value!r}.", param, ctx
            )
        return tuple(map(int, parts))


class ClassWeights(_Weights):
    """A type for weights of classes such as ``yes=10,no=1``, or ``balanced``.

    A label that has a comma is put into double quotes, as in a CSV file.
    """

    name = "class weights"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> str | dict[str, float]:
        if isinstance(value, dict) or value == "balanced":
            return value  # type: ignore[no-any-return]
        made: dict[str, float] = {}
        for part in next(csv.reader([value], skipinitialspace=True), []):
            label, _, number = part.rpartition("=")
            if not label or not is_number(number) or not 0 < float(number) < math.inf:
                self.fail(
                    f"expected balanced, or labels with weights above 0 such as yes=10,no=1, "
                    f"got {value!r}.",
                    param,
                    ctx,
                )
            if label in made:
                self.fail(f"the label {label!r} is there twice.", param, ctx)
            made[label] = float(number)
        return made


BACKEND: Final = Name("backend", ("auto", *backends.NAMES))


def backend_option(section: str) -> Callable[[F], F]:
    """Return the option ``--backend``."""
    return option(
        "--backend",
        type=BACKEND,
        metavar="|".join(BACKEND.known),
        default="auto",
        section=section,
        help="The library that computes. auto: a GPU if one is usable and the network is large "
        "enough to gain, else numba, else numpy.",
    )
