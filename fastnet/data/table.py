"""Table: chosen columns of a file, numbers in one matrix and texts as coded columns.

This and `table_files`, `matrices` and `loading` read files for a `TableSchema`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from fastnet.data.columns import MAX_COLUMNS as MAX_COLUMNS
from fastnet.data.columns import check_names as check_names
from fastnet.data.columns import column_hint as column_hint
from fastnet.data.columns import unnamed as unnamed
from fastnet.data.text import MISSING, Texts, has_commas, is_number, place, quoted
from fastnet.errors import DataError

if TYPE_CHECKING:
    from fastnet.preprocessing.schema import TableSchema

Kind = Literal["numeric", "text", "label", "auto", "cells", "words"]
"""What a reader is asked for.

=========  ==========================================================================
numeric    every cell must be a number
text       cells stay as they are written
label      numbers if every cell is one, else text
auto       numbers if at least half of the cells are (then all must be), else text
cells      numbers if every cell is one, else cells as they are written, missing ones too
words      cells as they are written, missing ones too
=========  ==========================================================================
"""


_BLOCK_ROWS = 4096

_READ_AS: Mapping[str, Kind] = {"numeric": "numeric", "categorical": "text"}
_TARGET_AS: Mapping[str, Kind] = {
    "auto": "auto",
    "classification": "label",
    "regression": "numeric",
}


def match_features(
    schema: TableSchema,
    names: tuple[str, ...],
    named: bool,
    targets: tuple[str, ...],
    source: str,
) -> tuple[str, ...]:
    """Return, for each column of the schema, the name it has in a file with columns `names`.

    By name where both have names, else by position among the columns that are no target.

    Raises
    ------
    DataError
        If a column is missing, or the number of columns is wrong.
    """
    wanted = tuple(column.name for column in schema.columns)
    there = set(names)
    if named and schema.named:
        for name in wanted:
            if name not in there:
                raise DataError(f"{source} has no column {name!r}{column_hint(name, names)}")
        return wanted
    given = tuple(name for name in names if name not in targets)
    if len(given) == len(wanted):
        return given
    # A table that still holds the target, where it was in training.
    whole = len(given) == len(wanted) + len(schema.targets)
    if whole and there.issuperset(wanted + schema.targets):
        return wanted
    raise DataError(f"{source}: expected {len(wanted)} columns, got {len(given)}.")


def kinds_of(
    schema: TableSchema, features: tuple[str, ...], targets: tuple[str, ...]
) -> dict[str, Kind]:
    """Return how to read the columns of a file for a schema."""
    pairs = zip(features, schema.columns, strict=True)
    kinds = {name: _READ_AS[column.kind] for name, column in pairs}
    return kinds | dict.fromkeys(targets, _TARGET_AS[schema.task or "regression"])


def training_kinds(names: tuple[str, ...], targets: tuple[str, ...], task: str) -> dict[str, Kind]:
    """Return how to read the columns of a file that there is no schema for yet."""
    kinds: dict[str, Kind] = dict.fromkeys(names, "auto")
    return kinds | dict.fromkeys(targets, _TARGET_AS[task])


def match_schema_targets(
    schema: TableSchema, names: tuple[str, ...], named: bool
) -> tuple[str, ...]:
    """Return the names of the schema's targets in a file, or () if it does not have them.

    Where columns are matched by position, they count only if nothing else is left over.
    """
    by_name = named and schema.named
    whole = len(names) == len(schema.columns) + len(schema.targets)
    return schema.targets if (by_name or whole) and set(schema.targets) <= set(names) else ()


class TableFile(Protocol):
    """A file of columns whose names are known and whose cells have not been read yet."""

    source: str
    names: tuple[str, ...]
    named: bool

    def read(self, kinds: Mapping[str, Kind]) -> Table:
        """Return the columns in `kinds`, each as its kind asks."""
        ...


@dataclass(frozen=True, eq=False)
class Table:
    """Columns that were read.

    Attributes
    ----------
    source : str
        What error messages call the file.
    rows : int
        N.
    numeric_names : tuple of str
        Names of the columns of `numeric`.
    numeric : (N, len(numeric_names)) of any real dtype
    texts : mapping of str to Texts of N rows
    """

    source: str
    rows: int
    numeric_names: tuple[str, ...]
    numeric: NDArray[Any]
    texts: Mapping[str, Texts] = field(default_factory=dict)

    @classmethod
    def of_columns(cls, source: str, columns: Mapping[str, NDArray[Any] | Texts]) -> Table:
        """Return a table of separate columns, each (N,) numbers or texts.

        Raises
        ------
        DataError
            If they are not of the same length.
        """
        lengths = {
            name: len(column.codes if isinstance(column, Texts) else column)
            for name, column in columns.items()
        }
        rows = next(iter(lengths.values()), 0)
        for name, length in lengths.items():
            if length != rows:
                raise DataError(f"{source}: column {name!r} has {length} rows, not {rows}.")
        numbers = {k: v for k, v in columns.items() if not isinstance(v, Texts)}
        texts = {k: v for k, v in columns.items() if isinstance(v, Texts)}
        numeric = np.empty((rows, len(numbers)), dtype=np.float64)
        for j, column in enumerate(numbers.values()):
            numeric[:, j] = column
        return cls(source, rows, tuple(numbers), numeric, texts)

    @classmethod
    def of_matrix(cls, source: str, matrix: NDArray[Any]) -> Table:
        """Return a table of the (N, C) numbers in `matrix`, with columns ``x0``, ``x1``, ..."""
        return cls(source, len(matrix), unnamed(matrix.shape[1]), matrix)

    def numbers(self, names: Sequence[str]) -> NDArray[Any]:
        """Return numeric columns as (N, len(names)); a view when they are all, in order."""
        if tuple(names) == self.numeric_names:
            return self.numeric
        position = {name: j for j, name in enumerate(self.numeric_names)}
        return self.numeric[:, [position[name] for name in names]]

    def text(self, name: str) -> Texts:
        """Return a column as texts; numbers in their canonical form."""
        return self.texts.get(name) or Texts.of_numbers(self.numbers([name])[:, 0])

    def column(self, name: str) -> NDArray[Any] | Texts:
        """Return a column as it was read: (N,) numbers, or texts."""
        return self.texts.get(name) or self.numbers([name])[:, 0]


def as_column(values: object, kind: Kind, source: str, name: str) -> NDArray[Any] | Texts:
    """Return any one-dimensional array-like of numbers or texts as a column.

    Raises
    ------
    DataError
        If it is not one-dimensional, or holds something else than real numbers and texts.
    """
    array = np.asarray(values)
    if array.ndim != 1:
        raise DataError(f"{source}: expected column {name!r} of shape (N,), got {array.shape}.")
    if array.dtype.kind in "biuf":
        return array if kind != "text" else Texts.of_numbers(array.astype(np.float64))
    if array.dtype.kind == "S":
        array = np.char.decode(array, "utf-8", "replace")
    if array.dtype.kind not in "UO":
        raise DataError(f"{source}: column {name!r} has dtype {array.dtype}: expected numbers.")
    texts = Texts.of("" if cell is None else str(cell) for cell in array.tolist())
    return resolve(texts, kind, source, name)


def to_float32(values: NDArray[Any], names: Sequence[str], source: str) -> NDArray[np.float32]:
    """Return (N, C) numbers as float32 in C order.

    Raises
    ------
    DataError
        Naming the row and column of the first value that is NaN or infinite, or is so in float32.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        out = np.ascontiguousarray(values, dtype=np.float32)
    if values.dtype.kind != "f":
        return out
    for start in range(0, len(out), _BLOCK_ROWS):  # bounds the memory of the mask
        bad = ~np.isfinite(out[start : start + _BLOCK_ROWS])
        if bad.any():
            row, column = (int(i) for i in np.argwhere(bad)[0])
            value = values[start + row, column]
            why = "is too large for float32" if np.isfinite(value) else "is not a finite number"
            raise DataError(f"{place(source, start + row, names[column])}: {value} {why}.")
    return out


def resolve(texts: Texts, kind: Kind, source: str, column: str) -> NDArray[np.float64] | Texts:
    """Return a column as the numbers or the texts that `kind` makes of it.

    Raises
    ------
    DataError
        Naming the first cell that is missing, or is no number where one was expected.
    """
    if kind in ("cells", "words"):
        return texts
    numeric = np.array([is_number(value) for value in texts.values], dtype=bool)
    counts = np.bincount(texts.codes, minlength=len(texts.values))
    fraction = counts[numeric].sum() / max(1, counts[[v != "" for v in texts.values]].sum())
    wanted = kind == "numeric" or (kind == "auto" and fraction >= 0.5)
    if wanted or (kind != "text" and numeric.all()):
        return _numbers(texts, numeric, source, column)
    if "" in texts.values:
        row = int(np.argmax(texts.codes == texts.values.index("")))
        raise DataError(f"{place(source, row, column)}: the value is missing.")
    if kind == "auto" and all(has_commas(value) for value in texts.values):
        raise DataError(
            f"{place(source, 0, column)}: {quoted(texts.values[texts.codes[0]])} has a comma; "
            "write numbers with a decimal point and without thousands separators."
        )
    return texts


def _numbers(
    texts: Texts, numeric: NDArray[np.bool_], source: str, column: str
) -> NDArray[np.float64]:
    wrong = ~numeric[texts.codes]
    if wrong.any():
        row = int(np.argmax(wrong))
        cell = texts.values[texts.codes[row]]
        what = (
            f"the value is missing ({quoted(cell)})"
            if cell.lower() in MISSING
            else f"{quoted(cell)} is not a number"
        )
        raise DataError(f"{place(source, row, column)}: {what}.")
    return np.array([float(value) for value in texts.values], dtype=np.float64)[texts.codes]
