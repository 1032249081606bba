"""Values of a column: numbers, truths, times or texts, from arrays and cells; and conversions."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fastnet.data import times
from fastnet.data.places import row_number
from fastnet.data.text import (
    MISSING,
    NO_WORD,
    TRUTHS,
    Texts,
    canonical,
    is_number,
    like_number,
    place,
    quoted,
)
from fastnet.errors import DataError

Values = NDArray[Any] | Texts
"""A column of N rows.

Numbers as float64, NaN where one is missing, or as integers; truths as bool; times as
datetime64[us], NaT where one is missing; or texts, code -1 where one is missing.
"""

_TO_LEARN: Final = (
    "; drop the column if it is no input, or name it as categorical if its numbers are names"
)
_CODE: Final = re.compile(r"0[0-9]+")
_TRUTHS: Final = (bool, np.bool_)
_TIMES: Final = (date, np.datetime64)
_NUMBERS: Final = (int, float, np.number, np.bool_, Decimal)


def column_of(array: NDArray[Any], name: str, source: str = "the table") -> Values:
    """Return a NumPy array (N,) as a column."""
    if array.ndim != 1:
        hint = "; give one row as a list, [row]" if array.ndim == 0 else ""
        shape = f"has the shape {array.shape}, expected (N,){hint}"
        raise DataError(f"{source}: column {name!r} {shape}.")
    kind = array.dtype.kind
    if kind in "biu":
        return array
    if kind == "f":
        return array.astype(np.float64)
    if kind in "UT":
        return Texts.of(array.tolist())
    if kind == "M":
        return as_times(array)
    if kind == "m":
        return _seconds(array)
    if kind != "O":
        raise unreadable(name, str(array.dtype), source)
    cells = [None if is_missing(cell) else cell for cell in array.tolist()]
    return _of_cells(cells, name, source)


def _of_cells(cells: list[Any], name: str, source: str) -> Values:
    """Return Python objects, None where one is missing, as a column of what all of them are."""
    known = [cell for cell in cells if cell is not None]
    whole = len(known) == len(cells)

    def all_are(*kinds: type) -> bool:
        return all(isinstance(cell, kinds) for cell in known)

    if not cells:
        return Texts.of([])
    if known and all_are(*_TRUTHS):
        return np.array(cells, bool) if whole else Texts.of(_words(cells))
    if all_are(*_NUMBERS):
        try:
            if known and whole and all_are(int, np.integer):
                integers = np.array(known)
                if integers.dtype.kind in "iu":
                    return integers
            return np.array([np.nan if cell is None else float(cell) for cell in cells])
        except OverflowError:
            raise DataError(
                f"{source}: column {name!r} has a whole number that is too large for float64."
            ) from None
    if all_are(*_TIMES):
        return np.array([None if cell is None else _time(cell) for cell in cells], times.UNIT)
    if all_are(timedelta, np.timedelta64):
        return _seconds(np.array(cells, "timedelta64[us]"))
    if all_are(str, *_TIMES, *_NUMBERS):
        return Texts.of(_words(cells))
    odd = [cell for cell in known if not isinstance(cell, (str, *_TIMES, *_NUMBERS))]
    raise unreadable(name, type(odd[0] if odd else cells).__name__, source)


def _words(cells: list[Any]) -> Iterator[str | None]:
    return (None if cell is None else word(cell) for cell in cells)


def word(cell: Any) -> str:
    """Return the text of a cell, that of a number or a time in its canonical form."""
    if isinstance(cell, str):
        return cell
    if isinstance(cell, (*_TRUTHS, int, np.integer)):
        return str(cell)
    if isinstance(cell, _TIMES):
        return times.text_of(_time(cell))
    return canonical(float(cell))


def _time(cell: Any) -> np.datetime64:
    """Return a date or a time as it is written, without its offset from UTC."""
    return np.datetime64(cell.replace(tzinfo=None) if isinstance(cell, datetime) else cell, "us")


def stacked(parts: Sequence[Values]) -> Values:
    """Return the rows of several columns one after another."""
    if not any(isinstance(part, Texts) for part in parts):
        return np.concatenate(parts)  # type: ignore[arg-type]
    texts = [texts_of(part) for part in parts]
    cells = (None if c < 0 else one.values[c] for one in texts for c in one.codes)
    return Texts.of(cells, texts[0].origin)


def as_times(array: NDArray[Any]) -> NDArray[np.datetime64]:
    """Return times of any unit in that of a column."""
    return array.astype(times.UNIT)


def _seconds(array: NDArray[Any]) -> NDArray[np.float64]:
    """Return durations as seconds, NaN where one is missing."""
    return array / np.timedelta64(1, "s")


def is_missing(cell: Any) -> bool:
    """Tell whether a cell is None, NaN or NaT, of Python, NumPy or pandas."""
    if cell is None or type(cell).__name__ in ("NAType", "NaTType"):
        return True
    numbers = (float, np.floating, np.datetime64, np.timedelta64, Decimal)
    return isinstance(cell, numbers) and bool(cell != cell)


def unreadable(name: str, kind: str, source: str) -> DataError:
    """Return the error for a column of something that no column can hold."""
    return DataError(
        f"{source}: column {name!r} holds {kind}: expected numbers, texts, dates or truth values; "
        "turn it into one of them, or leave it out."
    )


def of_cells(texts: Texts) -> Values:
    """Return a column of a text file: numbers if all its cells are, "" and "NA" being missing.

    A column with few words among many numbers stays texts, so that whoever needs numbers can name
    the word.
    """
    gaps = np.array([value.lower() in MISSING for value in texts.values], bool)
    if all(gap or is_number(value) for gap, value in zip(gaps, texts.values, strict=True)):
        pairs = zip(gaps, texts.values, strict=True)
        numbers = np.array([np.nan if gap else float(value) for gap, value in pairs], np.float64)
        return whole(numbers[texts.codes])
    return Texts(texts.codes, texts.values, "cells")


def whole(numbers: NDArray[np.float64]) -> NDArray[Any]:
    """Return numbers of a file as integers, if they are."""
    with np.errstate(invalid="ignore"):
        integers = numbers.astype(np.int64)
    exact = (integers == numbers).all() and (np.abs(numbers) <= 2**53).all()
    return integers if exact and len(numbers) else numbers


def read_texts(column: Values, name: str, source: str) -> Values:
    """Return a column of training rows: numbers or times if its texts are, else categories.

    Texts are numbers if at least half of them are and none is a code such as 00501. They are times
    if all of them are dates of ISO 8601. Other values are returned unchanged.

    Raises
    ------
    DataError
        Naming the first text that is no number among numbers, number with commas or a currency
        sign, or date whose day and month only its writer knows.
    """
    if not isinstance(column, Texts) or column.origin == "categories":
        return column
    gaps = NO_WORD if column.origin == "cells" else MISSING
    known = column.places(value.lower() not in gaps for value in column.values)
    half = max(int(known.sum()), 1) / 2

    def mostly(test: Callable[[str], bool]) -> bool:
        return bool(column.places(map(test, column.values)).sum() >= half)

    def advice(test: Callable[[str], bool], fault: str) -> DataError:
        row, cell = column.first(map(test, column.values))
        return DataError(f"{place(source, row, name)}: {quoted(cell)} {fault}")

    if mostly(is_number) and not any(map(_CODE.fullmatch, column.values)):
        return numbers_of(column, name, source, advice=_TO_LEARN)
    if mostly(lambda value: like_number(value) or is_number(value)) and any(
        like_number(value) and not is_number(value) for value in column.values
    ):
        raise advice(
            lambda value: like_number(value) and not is_number(value),
            "is a number only for people: write numbers with a decimal point and without thousands "
            "separators, currency or percent signs; of a text file, say how numbers are written "
            "(decimal, thousands).",
        )
    if mostly(times.like_date):
        raise advice(
            times.like_date,
            "may be a date, but which number is the day? Write dates as 2024-12-31.",
        )
    strange = column.places(times.parse(value) is None for value in column.values)
    if known.any() and not (strange & known).any():
        return times_of(column, name, source)
    return column


def known_texts(texts: Texts, names: tuple[str, ...] = ()) -> Texts:
    """Return texts, of which "" and "NA" are missing in a text file, unless they are `names`."""
    if texts.origin != "cells":
        return texts
    gaps = np.array([v.lower() in NO_WORD and v not in names for v in texts.values], bool)
    codes = np.append(np.where(gaps, -1, np.cumsum(~gaps) - 1), -1)
    kept = tuple(value for gap, value in zip(gaps, texts.values, strict=True) if not gap)
    return Texts(codes[texts.codes], kept, "cells")


def numbers_of(
    column: Values, name: str, source: str, *, truths: bool = False, advice: str = ""
) -> NDArray[np.float64]:
    """Return a column as numbers, NaN where one is missing; true is 1, and false is 0.

    Parameters
    ----------
    truths : bool
        Whether "yes", "t" and the like are truth values too.
    advice : str
        A further end of the message about a text.

    Raises
    ------
    DataError
        Naming the first text that is no number, or number that is infinite, and its column.
    """
    if isinstance(column, Texts):
        numbers = _numbers_in(column, name, source, truths, advice)
    elif column.dtype.kind == "M":
        raise DataError(f"{source}: column {name!r} must hold numbers, got dates.")
    else:
        numbers = column.astype(np.float64, copy=False)
    wrong = np.isinf(numbers)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise DataError(
            f"{source}: column {name!r} must hold finite numbers, got {numbers[row]} in row "
            f"{row_number(source, row)}."
        )
    return numbers


def _numbers_in(
    texts: Texts, name: str, source: str, truths: bool, advice: str
) -> NDArray[np.float64]:
    table = np.full(len(texts.values) + 1, np.nan)
    for code, value in enumerate(texts.values):
        low = value.lower()
        if is_number(value):
            table[code] = float(value)
        elif low in ("true", "false") or (truths and low in TRUTHS):
            table[code] = TRUTHS[low]
        elif low not in MISSING:
            row = int(np.argmax(texts.codes == code))
            kind = "true or false, as in training" if truths else "numbers"
            do = f"correct the cell, or leave it empty if its value is unknown{advice}"
            raise DataError(
                f"{source}: column {name!r} must hold {kind}, got {quoted(value)} in row "
                f"{row_number(source, row)}: {do}."
            )
    return table[texts.codes]


def times_of(column: Values, name: str, source: str) -> NDArray[np.datetime64]:
    """Return a column as times, NaT where one is missing.

    Raises
    ------
    DataError
        Naming the first value that is no date, and its column.
    """
    if isinstance(column, Texts):
        table = np.full(len(column.values) + 1, "NaT", times.UNIT)
        for code, value in enumerate(column.values):
            time = times.parse(value)
            if time is None and value.lower() not in MISSING:
                row = int(np.argmax(column.codes == code))
                raise DataError(
                    f"{source}: column {name!r} must hold dates such as 2024-12-31, got "
                    f"{quoted(value)} in row {row_number(source, row)}."
                )
            table[code] = "NaT" if time is None else time
        return table[column.codes]
    if column.dtype.kind == "M":
        return column
    if not np.isnan(column).all():
        row = int(np.argmax(~np.isnan(column)))
        raise DataError(
            f"{source}: column {name!r} must hold dates such as 2024-12-31, got {column[row]} in "
            f"row {row_number(source, row)}."
        )
    return np.full(len(column), "NaT", times.UNIT)


def texts_of(column: Values) -> Texts:
    """Return a column as texts, other values in their canonical form; code -1 where missing."""
    if isinstance(column, Texts):
        return column
    if column.dtype.kind == "M":
        return Texts.of(None if np.isnat(time) else times.text_of(time) for time in column)
    missing = np.isnan(column)
    texts = Texts.of_numbers(np.where(missing, 0, column) if missing.any() else column)
    return Texts(np.where(missing, -1, texts.codes), texts.values)
