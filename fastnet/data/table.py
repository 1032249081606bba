"""Table: chosen columns of a file, numbers in one matrix and texts as coded columns."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fastnet.data.text import Kind, Texts, place, resolve
from fastnet.errors import DataError

MAX_COLUMNS = 100_000
"""Most input columns, before and after one-hot encoding; bounds what a small file can claim."""

_BLOCK_ROWS = 4096


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


def unnamed(count: int) -> tuple[str, ...]:
    """Return ``x0 .. x{count-1}``, the names of columns that have none."""
    return tuple(f"x{i}" for i in range(count))


def check_names(source: str, names: Sequence[str]) -> None:
    """Raise DataError unless there are names, none of them empty, and no two alike."""
    if not names:
        raise DataError(f"{source} has no columns.")
    if len(names) > MAX_COLUMNS:
        raise DataError(f"{source} has {len(names)} columns, more than {MAX_COLUMNS:,}.")
    seen: set[str] = set()
    for position, name in enumerate(names, start=1):
        if not name:
            raise DataError(
                f"{source}: column {position} has no name in the header; name it or remove it."
            )
        if name in seen:
            raise DataError(f"{source} has two columns named {name!r}; rename or remove one.")
        seen.add(name)


def column_hint(name: str, names: Iterable[str]) -> str:
    """Return the tail of a message about a wrong column: the near one, and the first twenty."""
    known = list(names)
    folded = {known_name.casefold(): known_name for known_name in reversed(known)}
    near = difflib.get_close_matches(name.casefold(), folded, n=1, cutoff=0.5)
    hint = f"; did you mean {folded[near[0]]!r}?" if near else "."
    return f"{hint} Columns: {listing(known)}."


def is_index(text: str) -> bool:
    """Tell whether `text` is a plain integer such as ``3`` or ``-1``."""
    return text.removeprefix("-").isdecimal() and text.isascii() and len(text) < 10


def listing(names: Sequence[str]) -> str:
    """Return names for an error message, at most twenty of them."""
    more = f", and {len(names) - 20} more" if len(names) > 20 else ""
    return ", ".join(repr(name)[1:-1] for name in names[:20]) + more


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
