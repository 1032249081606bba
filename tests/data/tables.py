"""What a table holds, as lists."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnet.data.frame import Frame
from fastnet.data.text import Texts
from fastnet.data.values import known_texts


def cells(column: Any) -> list[Any]:
    """Return a column as a list; None where a value is missing."""
    if isinstance(column, Texts):
        column = known_texts(column)
        return [None if code < 0 else column.values[code] for code in column.codes]
    return [None if np.isnan(number) else float(number) for number in column]


def table(frame: Any) -> dict[str, list[Any]]:
    """Return a frame as lists by name."""
    assert isinstance(frame, Frame)
    return {name: cells(column) for name, column in frame.columns.items()}
