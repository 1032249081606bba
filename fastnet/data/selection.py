"""Which columns of a table are inputs: those that a caller names, or all but some."""

from __future__ import annotations

from collections.abc import Sequence

from fastnet.data.columns import column_hint
from fastnet.data.frame import Frame
from fastnet.errors import DataError, InputError

Names = str | Sequence[str] | None
"""A column's name or several; in one text they are separated by commas."""


def select(
    frame: Frame, *, features: Names = None, drop: Names = None, targets: Sequence[str] = ()
) -> Frame:
    """Return a table with its target columns and the chosen inputs, in their order.

    Parameters
    ----------
    features, drop : str or sequence of str, optional
        The inputs, or the columns that are none.
    targets : sequence of str
        Columns of the table that stay.

    Raises
    ------
    DataError
        There is no such column (the message has the most similar name), or no input is left.
    InputError
        Both are given, a target is among them, or the columns have no names.
    """
    if features is None and drop is None:
        return frame
    if features is not None and drop is not None:
        raise InputError("give features or drop, not both.")
    if not frame.named:
        raise InputError(
            f"{frame.source} has columns without names: features and drop choose columns by name."
        )
    inputs = frame.without(targets).columns
    named = _names(frame, drop if features is None else features, targets)
    left = {name for name in inputs if (name in named) == (drop is None)}
    if not left:
        raise DataError(f"{frame.source}: no column is left as an input.")
    return frame.without([name for name in inputs if name not in left])


def _names(frame: Frame, given: Names, targets: Sequence[str]) -> set[str]:
    if isinstance(given, str):
        whole = given in frame.columns
        given = [given] if whole else [part.strip() for part in given.split(",")]
    columns = frame.without(targets).columns
    for name in given or ():
        if name in targets:
            raise InputError(f"the column {name!r} is a target: leave it out of features and drop.")
        if name not in columns:
            raise DataError(f"{frame.source} has no column {name!r}{column_hint(name, columns)}")
    return set(given or ())
