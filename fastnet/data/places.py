"""Where a row stands, for messages about some rows of many: its file, and its number there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Self


class RowsOf(str):
    """What messages call rows that are a part of a file, or come from several.

    It is the name itself, so that whatever names its rows by a text names these in the same way.

    Attributes
    ----------
    locate : callable
        ``locate(row)`` returns the number of a row in its file, counted from 0, and what follows
        it in a message, such as `` of b.csv``.
    """

    locate: Callable[[int], tuple[int, str]]

    def __new__(cls, name: str, locate: Callable[[int], tuple[int, str]]) -> Self:
        """Return the name, which knows where its rows are."""
        made = super().__new__(cls, name)
        made.locate = locate
        return made

    @classmethod
    def after(cls, name: str, first: int) -> Self:
        """Return the name of rows that begin with row `first` of a file."""
        return cls(name, lambda row: (first + row, ""))


def row_number(source: str, row: int, base: int = 1) -> str:
    """Return the number of a row in its file for a message, counted from `base`."""
    if not isinstance(source, RowsOf):
        return str(row + base)
    number, file = source.locate(row)
    return f"{number + base}{file}"
