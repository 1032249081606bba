"""What a column of texts is: numbers or words, decided from its distinct values."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fastnet.errors import DataError

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
    if kind == "auto" and all(_has_commas(value) for value in texts.values):
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


def _has_commas(cell: str) -> bool:
    return "," in cell and is_number(cell.replace(",", ""))
