"""Tables in files, as frames: CSV by fastnet's own reader, Parquet and Arrow files by pyarrow."""

from __future__ import annotations

import importlib
import os
import re
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any, Final

from fastnet.data.columns import Target, TextColumns, match_targets
from fastnet.data.frame import Frame
from fastnet.data.text_format import DEFAULT, GZIP, TextFormat
from fastnet.data.values import read_texts
from fastnet.errors import DataError, DataNotFoundError, InputError, nearest

FRAME_FILES: Final = {
    ".csv": ("csv", "read_csv"),
    ".tsv": ("csv", "read_csv"),
    ".csv.gz": ("csv", "read_csv"),
    ".tsv.gz": ("csv", "read_csv"),
    ".parquet": ("parquet", "read_parquet"),
    ".feather": ("arrow", "read_arrow"),
    ".arrow": ("arrow", "read_arrow"),
    ".npy": ("npy", "read_npy"),
}
"""The tables that can be read, by suffix: the module of the reader, and its name."""

_IDX_NAME: Final = re.compile(r"[.-]idx\d?(-\w+)?(\.gz)?$")


def read_frame(
    path: str | os.PathLike[str],
    *,
    learning: bool = False,
    text_columns: TextColumns | None = None,
    preprocessor: Any = None,
    sep: str | None = None,
    decimal: str = ".",
    thousands: str | None = None,
    encoding: str = "utf-8",
) -> Frame:
    """Return a file's columns; values may be missing.

    Parameters
    ----------
    path : str or path
        A ``.csv``, ``.tsv``, ``.parquet``, ``.feather`` or ``.arrow`` file, or a matrix in a
        ``.npy`` file. Text may be compressed: ``.csv.gz``, ``.tsv.gz``.
    learning : bool, default False
        Whether columns are about to be learned from it: then a column of texts of which at least
        half are numbers must hold numbers only.
    text_columns : callable, optional
        ``text_columns(names, named, source)`` returns the columns of a text file that are texts
        although all their cells may be numbers: what a row means must not depend on the others.
    preprocessor : TablePreprocessor, optional
        The one that the table is for, ``net.preprocessor``: gives the `text_columns`, which are its
        categories and its labels.
    sep, decimal, thousands, encoding : str
        How a text file is written: the character between cells (default: comma, semicolon or tab,
        whichever fits), the sign before a fraction, the one between groups of three digits (a blank
        stands for any kind of blank), and the encoding, such as ``"cp1252"``.

    Raises
    ------
    DataNotFoundError
        There is no such file.
    DataError
        The file is damaged or of another kind, a cell is wrong (naming row and column), or a column
        of the preprocessor is missing.
    InputError
        The file cannot be written in that way, or is no text.
    """
    form = TextFormat(sep, decimal, thousands, encoding)
    if preprocessor is not None and text_columns is None:
        text_columns = text_columns_of(preprocessor)
    frame = read_file(Path(path), form, text_columns)
    return learned(frame, text_columns) if learning else frame


def read_file(
    path: Path,
    form: TextFormat = DEFAULT,
    text_columns: TextColumns | None = None,
    *,
    as_written: Callable[[Sequence[str]], set[str]] | None = None,
    source: str | None = None,
) -> Frame:
    """Return a file's columns as they stand; its arguments and errors are those of `read_frame`.

    Parameters
    ----------
    as_written : callable, optional
        See `fastnet.data.csv.read_csv`.
    source : str, optional
        What messages call a text file; default: its path.
    """
    kind = kind_of_file(path, FRAME_FILES)
    module, name = FRAME_FILES[kind]
    # Only the reader of this kind of file is imported.
    reader: Callable[..., Frame] = getattr(importlib.import_module(f"fastnet.data.{module}"), name)
    try:
        if module == "csv":
            frame = reader(path, text_columns, form=form, as_written=as_written, source=source)
        else:
            require_default(form, path.name)
            frame = reader(path)
    except DataError:
        raise
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.") from error
    if not len(frame):
        raise DataError(f"{path} has no rows.")
    return frame


def require_default(form: TextFormat, source: str) -> None:
    """Raise `InputError` if somebody says how a file is written that is no text."""
    if form != DEFAULT:
        raise InputError(
            f"sep, decimal, thousands and encoding go with text, and {source} is none."
        )


def kind_of_file(path: Path, known: Collection[str]) -> str:
    """Return the suffix of a file, ``"IDX"`` where its name is that of one.

    Raises
    ------
    DataNotFoundError
        If there is no such file; names the nearest.
    DataError
        If it is no file, or of a kind that is not known.
    """
    if not path.exists():
        raise DataNotFoundError(f"There is no file {str(path)!r}{_near_file(path)}")
    if not path.is_file():
        raise DataError(f"{path} is not a file.")
    kind = "IDX" if _IDX_NAME.search(path.name.lower()) else ending(path)
    if kind not in known:
        raise DataError(f"{path}: expected one of {', '.join(known)}, got {kind!r}.")
    return kind


def ending(path: Path) -> str:
    """Return the suffix of a path in lower case; of a compressed file, with what it holds."""
    last = path.suffix.lower()
    return Path(path.stem).suffix.lower() + last if last == GZIP else last


def _near_file(path: Path) -> str:
    try:
        names = os.listdir(path.parent)
    except OSError:
        return f": there is no folder {str(path.parent)!r}."
    return nearest(path.name, names, cutoff=0.6)  # endings are alike in themselves


def learned(
    frame: Frame, text_columns: TextColumns | None = None, *, but: Sequence[str] = ()
) -> Frame:
    """Return a frame in which columns of texts are numbers or times where their texts are.

    Parameters
    ----------
    frame : Frame
    text_columns : callable, optional
        As in `read_frame`: these columns stay texts.
    but : sequence of str
        Further columns that stay as they are.

    Raises
    ------
    DataError
        See `read_texts`.
    """
    kept = {*but}
    if text_columns is not None:
        kept |= text_columns(tuple(frame.columns), frame.named, frame.source)
    columns = {
        name: column if name in kept else read_texts(column, name, frame.source)
        for name, column in frame.columns.items()
    }
    return Frame(frame.rows, columns, frame.named, frame.source)


def text_columns_of(preprocessor: Any, target: Target = None) -> TextColumns:
    """Return the text columns of files for a preprocessor.

    Columns that the user names as the `target` are none of its inputs, and texts where it has
    labels.
    """

    def text_columns(names: Sequence[str], named: bool, source: str) -> set[str]:
        targets = () if target is None else match_targets(target, tuple(names), named, source)
        by_name = named and preprocessor.named
        inputs = [name for name in names if by_name or name not in targets]
        found: set[str] = preprocessor.text_columns(inputs, named, source)
        return found if preprocessor.label_names is None else found.union(targets)

    return text_columns
