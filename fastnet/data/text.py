"""Texts: a column that holds every distinct text once; and what a text means.

A category is the same however a container spells it: ``1``, ``1.0`` and ``"1"`` are one category,
and so are ``True``, ``"true"``, ``"yes"`` and ``1`` in a column of two opposite truths.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from fastnet.data.places import row_number

MAX_CATEGORIES = 1000
"""Most different texts in one input column; more are an identifier or a date, not categories."""

MISSING = frozenset({"", "?", "-", "na", "n/a", "#n/a", "nan", "null", "none"})
"""How tables write "no value", in lower case; used to word errors, never to drop a row."""

NO_WORD: Final = MISSING - {"-", "none"}
"""What a cell of a text file holds where a word is missing; the two others may be words."""

TRUTHS: Final = {
    "true": True, "t": True, "yes": True, "y": True, "on": True, "1": True,
    "false": False, "f": False, "no": False, "n": False, "off": False, "0": False,
}  # fmt: skip
"""How tables write a truth value, in lower case."""

Origin = Literal["words", "cells", "categories"]
"""Texts of a data frame; cells of a text file, of which some mean that there is no value; or values
of a categorical type, which are categories although all of them may be numbers."""

_PLAIN_NUMBER: Final = re.compile(r"[+-]?(0|[1-9][0-9]*)(\.[0-9]*)?")  # "007" is a name
_LIKE_NUMBER: Final = re.compile(
    r"[+-]?\s*[$€£¥]?\s*[+-]?([0-9]+|[0-9]{1,3}([.,'\s][0-9]{3})+)([.,][0-9]+)?\s*[%$€£¥]?"
)


@dataclass(frozen=True, eq=False)
class Texts:
    """A column of texts: ``values[codes[n]]`` is the text of row n.

    Attributes
    ----------
    codes : (N,) int64
    values : tuple of str, distinct
    origin : {"words", "cells", "categories"}
        See `Origin`.
    """

    codes: NDArray[np.int64]
    values: tuple[str, ...]
    origin: Origin = "words"

    def __len__(self) -> int:
        return len(self.codes)

    def __getitem__(self, index: Any) -> Texts:
        """Return the rows of an index, a mask or a slice."""
        return Texts(self.codes[index], self.values, self.origin)

    def places(self, chosen: Iterable[bool]) -> NDArray[np.bool_]:
        """Return which rows (N,) have one of the `values` that are chosen; not one without any."""
        return np.array([*chosen, False], bool)[self.codes]

    def first(self, chosen: Iterable[bool]) -> tuple[int, str]:
        """Return the first row that has one of the chosen values, and its text."""
        row = int(np.argmax(self.places(chosen)))
        return row, self.values[self.codes[row]]

    @classmethod
    def of(cls, cells: Iterable[str | None], origin: Origin = "words") -> Texts:
        """Return `cells`, stripped of surrounding blanks, as a column; None is missing."""
        index: dict[str, int] = {}
        codes = [
            -1 if cell is None else index.setdefault(cell.strip(), len(index)) for cell in cells
        ]
        return cls(np.array(codes, dtype=np.int64), tuple(index), origin)

    @classmethod
    def of_numbers(cls, numbers: NDArray[Any]) -> Texts:
        """Return a column of finite numbers or truths as texts, each in its canonical form."""
        values, codes = np.unique(numbers, return_inverse=True)
        return cls(codes.reshape(-1), tuple(map(canonical, values.tolist())))


def canonical(number: float) -> str:
    """Return the one way in which fastnet writes a number as a name: ``3``, ``-0.5``, ``True``."""
    if isinstance(number, float) and number.is_integer():
        number = int(number)
    return repr(number)


@lru_cache(maxsize=1024)
def matcher(categories: tuple[str, ...]) -> Callable[[str], int]:
    """Return a function that gives the index of the category that a text means; -1 for none.

    A text means the category that is spelled like it, else the one that is the same number, else,
    if the categories are two opposite truths such as "no" and "yes", the one that is the same.
    """
    index = {category: k for k, category in enumerate(categories)}
    keys = [number_key(category) for category in categories]
    alone = {key for key, count in Counter(keys).items() if count == 1}
    by_number = {key: k for k, key in enumerate(keys) if key in alone}
    truths = [TRUTHS.get(key.lower()) for key in keys]
    opposite = sorted(truths, key=str) == [False, True]
    by_truth = {truth: k for k, truth in enumerate(truths)} if opposite else {}

    def match(text: str) -> int:
        if text in index:
            return index[text]
        key = number_key(text)
        truth = TRUTHS.get(key.lower())
        if key in by_number or truth in by_truth:
            return by_number[key] if key in by_number else by_truth[truth]
        return by_number.get(str(int(text == "True")), -1) if text in ("True", "False") else -1

    return match


def number_key(text: str) -> str:
    """Return the canonical form of a plain number, ``1`` for "1.0"; any other text unchanged."""
    # Longer numbers are names, since float64 could not tell them apart.
    plain = len(text) < 16 and _PLAIN_NUMBER.fullmatch(text)
    return canonical(float(text)) if plain else text


def like_number(cell: str) -> bool:
    """Tell whether a text looks like a number with commas, blanks, a currency or a percent sign."""
    return _LIKE_NUMBER.fullmatch(cell) is not None


def quoted(cell: str) -> str:
    """Return `cell` for an error message: in quotes, escaped and of bounded length."""
    return repr(cell if len(cell) <= 40 else cell[:37] + "...")


def place(source: str, row: int, column: str) -> str:
    """Return where a cell is, for an error message; rows count from 1 without the header."""
    return f"{source}, row {row_number(source, row)}, column {quoted(column)}"


def is_number(cell: str | bytes) -> bool:
    """Tell whether `cell` is a decimal number.

    Bytes are not, nor are Python's ``1_000`` and digits beyond ASCII.
    """
    try:
        float(cell)
    except ValueError:
        return False
    return isinstance(cell, str) and cell.isascii() and "_" not in cell


def parse_numbers(cells: Sequence[str]) -> NDArray[np.float64] | None:
    """Return `cells` as numbers, (N,) float64, or None when one of them is not a number."""
    joined = "".join(cells)
    if "_" in joined or not joined.isascii():
        return None
    try:
        return np.array(cells, dtype=np.float64)
    except ValueError:
        return None
