"""Which columns of a table are inputs: those that a caller names, or all but some."""

from __future__ import annotations

from collections.abc import Sequence

from fastnet.data.columns import Names, named_columns
from fastnet.data.frame import Frame
from fastnet.errors import DataError, InputError


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
    given = drop if features is None else features
    named = named_columns(given, [*inputs, *targets], frame.source)
    for name in targets:
        if name in named:
            raise InputError(f"the column {name!r} is a target: leave it out of features and drop.")
    left = {name for name in inputs if (name in named) == (drop is None)}
    if not left:
        raise DataError(f"{frame.source}: no column is left as an input.")
    return frame.without([name for name in inputs if name not in left])
