"""Dates and times of a column: how they are read, and the numbers that they become.

A time is taken as it is written: an offset from UTC is dropped, so that hour and weekday are those
of the place where it was noted.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Times = NDArray[np.datetime64]

UNIT: Final = "datetime64[us]"

DATE: Final = re.compile(
    r"\d{4}-\d\d(-\d\d([ T]\d\d?:\d\d.*)?)?|\d{4}/\d\d/\d\d([ T]\d\d?:\d\d.*)?"
)
_OTHERDATE: Final = re.compile(r"\d{1,2}([./-])\d{1,2}\1(\d{4}|\d\d)( .*)?")
_DAY: Final = np.timedelta64(1, "D")


def parse(text: str) -> np.datetime64 | None:
    """Return the time that a text of ISO 8601 names, to the microsecond; None for another text.

    ``2024-12-31``, ``2024/12/31``, ``2024-12``, and a date with a time: ``2024-12-31 23:59:59.5``.
    """
    if not DATE.fullmatch(text) or not text.isascii():
        return None
    whole = text.replace("/", "-") if len(text) > 7 else f"{text}-01"
    try:
        return np.datetime64(datetime.fromisoformat(whole).replace(tzinfo=None), "us")
    except ValueError:
        return None


def like_date(text: str) -> bool:
    """Tell whether a text looks like a date whose day and month only its writer knows."""
    return _OTHERDATE.fullmatch(text) is not None


def text_of(time: np.datetime64) -> str:
    """Return a time as `parse` reads it, a date alone at midnight."""
    return str(time.astype("datetime64[D]" if not (time - time.astype("M8[D]")) else "M8[us]"))


def _month(times: Times) -> NDArray[Any]:
    return times.astype("M8[M]").astype(np.int64) % 12


_PERIODIC: Final[dict[str, tuple[Callable[[Times], Any], int]]] = {
    "month": (_month, 12),
    "day": (lambda t: (t.astype("M8[D]") - t.astype("M8[M]")) / _DAY, 31),
    "weekday": (lambda t: (t.astype("M8[D]").astype(np.int64) + 3) % 7, 7),
    "hour": (lambda t: (t - t.astype("M8[D]")) / np.timedelta64(1, "h"), 24),
}

PARTS: Final = (
    "elapsed days",
    "year",
    *(f"{name}, {wave}" for name in _PERIODIC for wave in ("sine", "cosine")),
)
"""The numbers that a time becomes.

Days since 1970 and the year, then sine and cosine of ``2 pi part / period``: month from January
(0 of 12), day of the month (0 of 31), weekday from Monday (0 of 7), hour with its fraction (of 24).
"""


def part_of(times: Times, part: str) -> NDArray[np.float64]:
    """Return one of the `PARTS` of times (N,), as float64; NaN where a time is missing."""
    missing = np.isnat(times)
    known = np.where(missing, np.datetime64(0, "us"), times)
    name, _, wave = part.partition(", ")
    if wave:
        value, period = _PERIODIC[name]
        angle = 2.0 * np.pi * value(known) / period
        # Rounded, so that the sine of February is that of June.
        numbers = np.round(np.sin(angle) if wave == "sine" else np.cos(angle), 12)
    elif name == "year":
        numbers = known.astype("M8[Y]").astype(np.int64) + 1970.0
    else:
        numbers = (known - np.datetime64(0, "us")) / _DAY
    return np.where(missing, np.nan, numbers)
