"""What the estimators decide by the number of rows, and what they scale."""

from __future__ import annotations

from typing import Any, Final, Literal

from fastnet.nn import optimizers
from fastnet.sklearn import parameters, tables
from fastnet.training.budget import AUTO, Budget, counted_rows
from fastnet.utils.param_validation import check_flag, plain

STREAM_BATCH: Final = 128
"""The batch size in ``partial_fit``: the rows of a call say nothing of those to come."""


def budget(
    model: Any, rows: int, weight: Any, validation_rows: int | None, *, once: bool
) -> Budget:
    """Return epochs, batch size and held-out rows for a number of rows with weights or none.

    `once` means a single epoch in a series of calls.
    """
    batch_size = plain(model.batch_size)
    if once:
        size = STREAM_BATCH if batch_size == AUTO else batch_size
        return Budget.of(rows, epochs=1, batch_size=size, early_stopping=None)
    asked, split = plain(model.early_stopping), model.validation_split
    config = tables.chosen(model)
    if config is not None and split is None and validation_rows is None:
        split = config.validation_split
    solver = None if plain(model.optimizer) == AUTO else optimizers.get(model.optimizer)
    return Budget.of(
        rows,
        epochs=plain(model.epochs),
        batch_size=batch_size,
        validation_split=split,
        early_stopping=asked if asked == AUTO else parameters.early_stopping(asked),
        validation_rows=validation_rows,
        optimizer=solver,
        counted=counted_rows(weight),
    )


def standardizes(model: Any, *, first: bool, once: bool) -> bool | Literal["running"]:
    """Return how to scale the inputs; a network that scales them goes on doing so."""
    given = plain(model.standardize)
    if given == AUTO:
        return first and not once and not model._tabular
    return "running" if once and check_flag("standardize", given) else given
