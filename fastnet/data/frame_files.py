"""Tables in files, as frames: CSV by fastnet's own reader, Parquet and Arrow files by pyarrow."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from fastnet.data.csv import TextColumns
from fastnet.data.frame import Frame, Values, numbers_of
from fastnet.data.text import Texts, has_commas, is_number, place, quoted
from fastnet.errors import DataError, DataNotFoundError

_READERS: Final = {
    ".csv": ("csv", "read_csv"),
    ".tsv": ("csv", "read_csv"),
    ".parquet": ("parquet", "read_parquet"),
    ".feather": ("arrow", "read_arrow"),
    ".arrow": ("arrow", "read_arrow"),
    ".npy": ("npy", "read_npy"),
}
"""By suffix: the module of the reader, and its name."""


def read_frame(
    path: str | os.PathLike[str],
    *,
    learning: bool = False,
    text_columns: TextColumns | None = None,
    preprocessor: Any = None,
) -> Frame:
    """Return a file's columns; values may be missing.

    Parameters
    ----------
    path : str or path
        A ``.csv``, ``.tsv``, ``.parquet``, ``.feather`` or ``.arrow`` file, or a matrix in a
        ``.npy`` file.
    learning : bool, default False
        Whether columns are about to be learned from it: then a column of texts of which at least
        half are numbers must hold numbers only.
    text_columns : callable, optional
        ``text_columns(names, named, source)`` returns the columns of a text file that are texts
        although all their cells may be numbers: what a row means must not depend on the others.
    preprocessor : TablePreprocessor, optional
        The one that the table is for, ``net.preprocessor``: gives the `text_columns`, which are its
        categories and its labels.

    Raises
    ------
    DataNotFoundError
        There is no such file.
    DataError
        The file is damaged or of another kind, a cell is wrong (naming row and column), or a column
        of the preprocessor is missing.
    """
    file = Path(path)
    suffix = file.suffix.lower()
    if not file.exists():
        raise DataNotFoundError(f"There is no file {str(path)!r}.")
    if suffix not in _READERS:
        known = ", ".join(_READERS)
        raise DataError(f"{file}: expected a table, one of {known}, got {file.suffix!r}.")
    if preprocessor is not None and text_columns is None:
        text_columns = _text_columns_of(preprocessor)
    # Only the reader of this kind of file is imported.
    module, name = _READERS[suffix]
    reader: Callable[..., Frame] = getattr(importlib.import_module(f"fastnet.data.{module}"), name)
    try:
        frame = reader(file, text_columns) if module == "csv" else reader(file)
    except DataError:
        raise
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror or error}.") from error
    if not len(frame):
        raise DataError(f"{file} has no rows.")
    return learned(frame) if learning else frame


def learned(frame: Frame, *, but: Sequence[str] = ()) -> Frame:
    """Return a frame whose columns of texts are numbers where at least half of their cells are.

    Parameters
    ----------
    frame : Frame
    but : sequence of str
        Columns that stay as they are.

    Raises
    ------
    DataError
        If not all cells of such a column are numbers then, or a column holds nothing but numbers
        with commas.
    """
    columns = {
        name: column if name in but else _learned(column, name, frame.source)
        for name, column in frame.columns.items()
    }
    return Frame(frame.rows, columns, frame.named, frame.source)


def _learned(column: Values, name: str, source: str) -> Values:
    if not isinstance(column, Texts):
        return column
    numeric = np.array([*map(is_number, column.values), False])[column.codes]
    known = np.count_nonzero(column.codes >= 0)
    if numeric.sum() * 2 >= max(known, 1):
        return numbers_of(column, name, source)
    # Commas of decimals or of thousands; some cells may do without.
    if column.values and all(is_number(cell) or has_commas(cell) for cell in column.values):
        row = int(np.argmax([*map(has_commas, column.values)]))
        row = int(np.argmax(column.codes == row))
        cell = column.values[column.codes[row]]
        raise DataError(
            f"{place(source, row, name)}: {quoted(cell)} has a comma; write numbers with a decimal "
            "point and without thousands separators."
        )
    return column


def _text_columns_of(preprocessor: Any) -> TextColumns:
    """Return the preprocessor's own `text_columns`, with `named` and `source` by keyword."""
    own = getattr(preprocessor, "text_columns", None)

    def text_columns(names: Sequence[str], named: bool, source: str) -> set[str]:
        if own is not None:
            return set(own(names, named=named, source=source))
        # Until TablePreprocessor has the method.
        found = preprocessor.names_in(names, named=named, source=source)
        pairs = zip(preprocessor.columns, found, strict=True)
        categorical = {name for column, name in pairs if column.kind == "categorical"}
        others = set() if preprocessor.label_names is None else {*names}.difference(found)
        return categorical | others

    return text_columns
