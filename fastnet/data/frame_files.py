"""Tables in files, as frames: CSV by fastnet's own reader, Parquet and Arrow files by pyarrow."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from fastnet.data.arrow import read_arrow
from fastnet.data.csv import CsvFile, open_csv
from fastnet.data.frame import Frame, Values, as_frame, numbers_of, of_cells, words_of
from fastnet.data.npy import open_npy
from fastnet.data.parquet import DAMAGE, damaged, open_parquet
from fastnet.data.text import Texts, is_number
from fastnet.errors import DataError, DataNotFoundError

if TYPE_CHECKING:
    from fastnet.preprocessing.table import TablePreprocessor


def read_frame(
    path: str | os.PathLike[str],
    *,
    learning: bool = False,
    preprocessor: TablePreprocessor | None = None,
) -> Frame:
    """Return a file's columns; values may be missing.

    Parameters
    ----------
    path : str or path
        A ``.csv``, ``.tsv``, ``.parquet``, ``.feather`` or ``.arrow`` file, or a matrix in a
        ``.npy`` file.
    learning : bool, default False
        Whether columns are about to be learned from it: then a column of a text file of which at
        least half are numbers must hold numbers only.
    preprocessor : TablePreprocessor, optional
        The one that the table is for, ``net.preprocessor``. Its categories, and its labels, are
        the texts in the cells of a text file then, though all of them be numbers: what a row means
        does not depend on the others.

    Raises
    ------
    DataNotFoundError
        There is no such file.
    DataError
        The file is damaged or of another kind, a cell is wrong (naming row and column), or a column
        of the preprocessor is missing.
    """
    file = Path(path)
    reader = _READERS.get(file.suffix.lower())
    if not file.exists():
        raise DataNotFoundError(f"There is no file {str(path)!r}.")
    if reader is None:
        known = ", ".join(_READERS)
        raise DataError(f"{file}: expected a table, one of {known}, got {file.suffix!r}.")
    try:
        frame = reader(file, preprocessor)
    except DataError:
        raise
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror or error}.") from error
    if not len(frame):
        raise DataError(f"{file} has no rows.")
    columns = dict(frame.columns)
    if learning:
        columns = {name: _learned(v, name, str(file)) for name, v in columns.items()}
    return Frame(frame.rows, columns, frame.named, str(file))


def _learned(column: Values, name: str, source: str) -> Values:
    """Return a column as numbers if at least half of its cells are; then all must be."""
    if not isinstance(column, Texts):
        return column
    numeric = np.array([*map(is_number, column.values), False])[column.codes]
    known = np.count_nonzero(column.codes >= 0)
    return numbers_of(column, name, source) if numeric.sum() * 2 >= max(known, 1) else column


def _read_csv(path: Path, preprocessor: TablePreprocessor | None) -> Frame:
    file = open_csv(path)
    words = set() if preprocessor is None else _words(file, preprocessor)
    table = file.read({name: "words" if name in words else "cells" for name in file.names})
    columns: dict[str, Values] = {}
    for name in file.names:
        column = table.column(name)
        if isinstance(column, Texts):
            columns[name] = words_of(column) if name in words else of_cells(column)
        else:
            columns[name] = column.astype(np.float64)
    return Frame(table.rows, columns, file.named)


def _words(file: CsvFile, preprocessor: TablePreprocessor) -> set[str]:
    """Return the columns that are texts, whatever the cells are: categories, and labels."""
    names = preprocessor.names_in(file.names, named=file.named, source=str(file.path))
    pairs = zip(preprocessor.columns, names, strict=True)
    categorical = {name for column, name in pairs if column.kind == "categorical"}
    others = set() if preprocessor.label_names is None else {*file.names}.difference(names)
    return categorical | others


def _read_parquet(path: Path, _: TablePreprocessor | None) -> Frame:
    file = open_parquet(path).file
    arrow = importlib.import_module("pyarrow")
    try:
        table = file.read()
        table.validate(full=True)
        return as_frame(table)
    except DataError:
        raise
    except (arrow.ArrowException, *DAMAGE) as error:
        raise damaged(str(path), error) from error


def _read_arrow(path: Path, _: TablePreprocessor | None) -> Frame:
    return as_frame(read_arrow(path))


def _read_npy(path: Path, _: TablePreprocessor | None) -> Frame:
    return as_frame(open_npy(path).matrix, str(path))


_READERS: Final[dict[str, Callable[[Path, TablePreprocessor | None], Frame]]] = {
    ".csv": _read_csv,
    ".tsv": _read_csv,
    ".parquet": _read_parquet,
    ".feather": _read_arrow,
    ".arrow": _read_arrow,
    ".npy": _read_npy,
}
