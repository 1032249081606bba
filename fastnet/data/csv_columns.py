"""Columns of a text file while its rows are read: numbers until a cell is none, then texts."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import islice
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fastnet.data.text import MISSING, Texts, is_number, parse_numbers, place, quoted
from fastnet.data.text_format import DEFAULT, TextFormat
from fastnet.data.values import Values, whole
from fastnet.errors import DataError

_ROWS: Final = 4096  # that are taken together


class GrowingColumn:
    """A column while its file is read.

    Parameters
    ----------
    texts : bool
        Whether its cells are texts, even if all of them are numbers.
    form : TextFormat
        How its numbers are written.

    Attributes
    ----------
    late : bool
        Whether words came after rows that were taken for numbers; the column is then empty.
    """

    def __init__(self, texts: bool, form: TextFormat = DEFAULT) -> None:
        self.late = False
        self._form = form
        self._index: dict[str, int] | None = {} if texts else None
        self._points = self._translated = False
        self._parts: list[NDArray[Any]] = []
        self._rows = 0
        self._foreign: tuple[int, str] | None = None  # the first that is a number elsewhere

    def add(self, cells: Sequence[str]) -> None:
        """Append the cells of some rows."""
        if self.late:
            return
        given = cells if self._form.plain else self._standard(cells)
        self._rows += len(cells)
        if self._index is None:
            numbers = _numbers(given)
            if numbers is not None:
                self._points = self._points or have_points(given)
                self._parts.append(numbers)
                return
            if self._parts:
                self.late, self._parts = True, []
                return
            self._index = {}
        index = self._index
        codes = [index.setdefault(cell.strip(), len(index)) for cell in given]
        self._parts.append(np.array(codes, dtype=np.int64))

    def _standard(self, cells: Sequence[str]) -> Sequence[str]:
        """Return the numbers among some cells in the spelling of Python."""
        signs = "".join(cells)
        if not self._form.has_signs(signs):
            return cells
        if self._form.thousands is None and "." not in signs:
            # Numbers and gaps, as nearly all columns are; other cells need a closer look.
            made = [cell.replace(self._form.decimal, ".") for cell in cells]
            if _numbers(made) is not None:
                self._translated = True
                return made
        return self._standard_one_by_one(cells)

    def _standard_one_by_one(self, cells: Sequence[str]) -> Sequence[str]:
        made = [self._form.standard(cell) for cell in cells]
        if self._foreign is None:
            found = (k for k, cell in enumerate(cells) if self._form.is_foreign(cell))
            first = next(found, None)
            if first is not None:
                self._foreign = self._rows + first, cells[first].strip()
        signs = self._form.decimal, self._form.thousands or self._form.decimal
        self._translated = self._translated or any(
            new != old and any(sign in old for sign in signs)
            for new, old in zip(made, cells, strict=True)
        )
        return made

    def values(self) -> Values:
        """Return the whole column."""
        joined = np.concatenate(self._parts)
        if self._index is not None:
            return Texts(joined, tuple(self._index), "cells")
        return joined if self._points else whole(joined)

    def require_one_spelling(self, name: str, source: str) -> None:
        """Raise `DataError` for a number that is written in another way than the file's."""
        if self._foreign is None:
            return
        words = self._index is not None and not all(
            is_number(text) or text.lower() in MISSING for text in self._index
        )
        if words and not self._translated:
            return
        (row, cell), form = self._foreign, self._form
        raise DataError(
            f"{place(source, row, name)}: {quoted(cell)} is no number where {form.decimal!r} is "
            f"the decimal sign and {form.thousands!r} the sign of thousands: say how numbers are "
            "written (decimal, thousands), or correct the cell."
        )


def read_cells(
    rows: Callable[[], Iterable[list[str]]],
    names: Sequence[str],
    form: TextFormat,
    source: str,
    *,
    texts: Collection[str] = (),
    as_written: Collection[str] = (),
    only: Collection[str] | None = None,
) -> tuple[int, dict[str, Values]]:
    """Return the number of rows, and the columns by name.

    Parameters
    ----------
    rows : callable
        It returns the cells of all rows, more than once.
    names : sequence of str
        Of the cells of a row.
    source : str
        What messages call the rows.
    texts, as_written, only : collection of str
        The columns that are texts whatever their cells; those in no spelling of numbers; and those
        to read, by default all.
    """
    columns = {
        at: GrowingColumn(
            name in texts or name in as_written, DEFAULT if name in as_written else form
        )
        for at, name in enumerate(names)
        if only is None or name in only
    }
    count = _fill(rows(), columns)
    # Columns whose first thousands of cells are numbers, and whose further ones are not: the rows
    # are read again for the cells as they are written.
    late = {at: GrowingColumn(True, form) for at, column in columns.items() if column.late}
    if late:
        _fill(rows(), late)
    columns |= late
    for at, column in columns.items():
        if names[at] not in texts and names[at] not in as_written:
            column.require_one_spelling(names[at], source)
    return count, {names[at]: column.values() for at, column in columns.items()}


def _fill(rows: Iterable[list[str]], columns: Mapping[int, GrowingColumn]) -> int:
    """Append the cells of all rows to the columns, by their place; return the number of rows."""
    records, count = iter(rows), 0
    while chunk := list(islice(records, _ROWS)):
        cells = list(zip(*chunk, strict=True))
        for at, column in columns.items():
            column.add(cells[at])
        count += len(chunk)
    return count


def have_points(cells: Sequence[str]) -> bool:
    """Return whether any number is written as one of a fraction, as in "300.0"."""
    return any("." in cell for cell in cells)


def _numbers(cells: Sequence[str]) -> NDArray[np.float64] | None:
    """Return cells as numbers, NaN where one is missing; None if one is another text."""
    numbers = parse_numbers(cells)
    if numbers is None:
        filled = ["nan" if cell.strip().lower() in MISSING else cell for cell in cells]
        numbers = parse_numbers(filled)
    return numbers
