"""Where the rows of a command come from: files or standard input, and how text is written."""

from __future__ import annotations

import functools
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from fastnet.cli.options import OTHER, Name, option
from fastnet.data.text_format import DEFAULT, TextFormat
from fastnet.errors import InputError

F = TypeVar("F", bound=Callable[..., Any])

FOLDER: Final = click.Path(file_okay=False)

STANDARD: Final = "-"
"""What stands for standard input or output on the command line."""

SPLIT: Final = Name("split", ("auto", "train", "test"))

_TEXT_ONLY: Final = {b"PAR1": "Parquet", b"ARROW1": "Arrow", b"\x93NUMPY": "NumPy", b"PK": "zip"}
_GZIP: Final = b"\x1f\x8b"
_FORMAT: Final = ("sep", "decimal", "thousands", "encoding")


@dataclass(frozen=True)
class Reading:
    """How the rows for a model are read.

    Attributes
    ----------
    split : {"auto", "train", "test"}
    folder : str or None
        That of the fashion-mnist files.
    form : TextFormat
    """

    split: str = "auto"
    folder: str | None = None
    form: TextFormat = DEFAULT


def format_options(section: str) -> Callable[[F], F]:
    """Return a decorator that adds the options for how a text file is written."""
    added = (
        option(
            "--sep",
            metavar="CHAR",
            section=section,
            show_default="comma, semicolon or tab, whichever fits",
            help="CSV: the character between cells; \\t is a tab.",
        ),
        option(
            "--decimal",
            metavar="CHAR",
            default=".",
            section=section,
            help="CSV: the sign before the fraction of a number.",
        ),
        option(
            "--thousands",
            metavar="CHAR",
            section=section,
            help="CSV: the sign between groups of three digits.",
        ),
        option(
            "--encoding",
            metavar="NAME",
            default="utf-8",
            section=section,
            help="CSV: the encoding, such as cp1252 or utf-16.",
        ),
    )

    def decorated(function: F) -> F:
        return functools.reduce(lambda made, add: add(made), reversed(added), function)

    return decorated


def text_format(values: dict[str, Any]) -> TextFormat:
    """Return what the options of `format_options` say; it takes them out of the values.

    Raises
    ------
    click.UsageError
        One of them cannot be.
    """
    try:
        return TextFormat(**{name: values.pop(name) for name in _FORMAT})
    except InputError as error:
        raise click.UsageError(f"--{error}") from None


def reading_options(function: F) -> F:
    """Add the options of data for a model; the function gets them as ``reading=Reading(...)``."""

    @functools.wraps(function)
    def gathered(*args: Any, split: str, data_dir: str | None, **values: Any) -> Any:
        form = text_format(values)
        return function(*args, reading=Reading(split, data_dir, form), **values)

    add_split = option(
        "--split",
        type=SPLIT,
        metavar="auto|train|test",
        default="auto",
        help="The split, for data with a test split. auto: test.",
    )
    add_folder = option(
        "--data-dir",
        type=FOLDER,
        metavar="FOLDER",
        help="Folder of the fashion-mnist files.",
    )
    return add_split(add_folder(format_options(OTHER)(gathered)))  # type: ignore[return-value]


def file_of(source: str) -> tuple[str, str | None]:
    """Return the file that holds the rows of a source, and what messages call it (None: as it is).

    Standard input is copied into a temporary file, which goes when the command ends.

    Raises
    ------
    InputError
        Standard input holds something else than text.
    """
    if source != STANDARD:
        return source, None
    folder = click.get_current_context().with_resource(tempfile.TemporaryDirectory())
    stream = sys.stdin.buffer
    start = stream.read(6)
    for mark, kind in _TEXT_ONLY.items():
        if start.startswith(mark):
            raise InputError(f"standard input is a {kind} file: give its name, or send text (CSV).")
    path = Path(folder, "rows.csv.gz" if start.startswith(_GZIP) else "rows.csv")
    with path.open("wb") as file:
        file.write(start)
        shutil.copyfileobj(stream, file)
    return str(path), "standard input"
