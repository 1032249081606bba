"""Texts: a column that holds every distinct text once; and which texts are numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAX_CATEGORIES = 1000
"""Most different texts in one input column; more are an identifier or a date, not categories."""

MISSING = frozenset({"", "?", "-", "na", "n/a", "#n/a", "nan", "null", "none"})
"""How tables write "no value", in lower case; used to word errors, never to drop a row."""


@dataclass(frozen=True, eq=False)
class Texts:
    """A column of texts: ``values[codes[n]]`` is the text of row n.

    Attributes
    ----------
    codes : (N,) int64
    values : tuple of str, distinct
    """

    codes: NDArray[np.int64]
    values: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.codes)

    def __getitem__(self, index: Any) -> Texts:
        """Return the rows of an index, a mask or a slice."""
        return Texts(self.codes[index], self.values)

    @classmethod
    def of(cls, cells: Iterable[str]) -> Texts:
        """Return `cells`, stripped of surrounding blanks, as a column."""
        index: dict[str, int] = {}
        codes = [index.setdefault(cell.strip(), len(index)) for cell in cells]
        return cls(np.array(codes, dtype=np.int64), tuple(index))

    @classmethod
    def of_numbers(cls, numbers: NDArray[np.float64]) -> Texts:
        """Return a column of numbers as texts, each written in its canonical form."""
        values, codes = np.unique(numbers, return_inverse=True)
        return cls(codes.reshape(-1), tuple(canonical(float(value)) for value in values))


def canonical(number: float) -> str:
    """Return the one way in which fastnet writes a number as a name: ``3``, ``-0.5``."""
    return str(int(number)) if number.is_integer() else repr(number)


def quoted(cell: str) -> str:
    """Return `cell` for an error message: in quotes, escaped and of bounded length."""
    return repr(cell if len(cell) <= 40 else cell[:37] + "...")


def place(source: str, row: int, column: str) -> str:
    """Return where a cell is, for an error message; rows count from 1 without the header."""
    return f"{source}, row {row + 1}, column {quoted(column)}"


def is_number(cell: str) -> bool:
    """Tell whether `cell` is a decimal number; Python's ``1_000`` and non-ASCII digits are not."""
    try:
        float(cell)
    except ValueError:
        return False
    return cell.isascii() and "_" not in cell


def parse_numbers(cells: Sequence[str]) -> NDArray[np.float64] | None:
    """Return `cells` as numbers, (N,) float64, or None when one of them is not a number."""
    joined = "".join(cells)
    if "_" in joined or not joined.isascii():
        return None
    try:
        return np.array(cells, dtype=np.float64)
    except ValueError:
        return None


def has_commas(cell: str) -> bool:
    """Tell whether `cell` would be a number without its commas."""
    return "," in cell and is_number(cell.replace(",", ""))
