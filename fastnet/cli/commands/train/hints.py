"""A hint after a training whose network is no better than a constant answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fastnet.cli import output
from fastnet.cli.commands.train.data import TrainingData
from fastnet.cli.commands.train.settings import Settings
from fastnet.cli.load import Rows
from fastnet.preprocessing.samples import split_index

_OPTIONS: Final = (
    "epochs",
    "batch_size",
    "learning_rate",
    "optimizer",
    "schedule",
    "hidden",
    "preset",
)
"""Options that decide how well a network learns."""


def hint(
    settings: Settings, data: TrainingData, values: Mapping[str, float], tested: Mapping[str, float]
) -> str:
    """Return a sentence if the score is that of a constant answer or below; else nothing.

    Parameters
    ----------
    values : dict of str to float
        The metrics of the kept epoch; names of validation begin with ``val_``.
    tested : dict of str to float
        Those of the test split, if there is one.
    """
    kind = "test" if tested else "validation" if "val_loss" in values else "training"
    prefix = "val_" if kind == "validation" else ""
    scores = tested if kind == "test" else values
    r2, accuracy = scores.get(f"{prefix}r2"), scores.get(f"{prefix}accuracy")
    if r2 is not None and r2 < 0:
        found = f"{kind} r2 {output.short(r2)} is worse than always answering the mean"
        return f"{found}: {_what_to_try(settings)}"
    if accuracy is None or data.target.labels is None or data.y is None:
        return ""
    label, share = _majority(_rows(settings, data, kind), data)
    if accuracy > share:
        return ""
    found = f"{kind} accuracy {output.short(accuracy)} is not above that of always answering"
    return f"{found} {label!r}, {output.short(share)}: {_what_to_try(settings)}"


def _what_to_try(settings: Settings) -> str:
    given = [f"--{name.replace('_', '-')}" for name in _OPTIONS if name in settings.given]
    if given:
        return f"try it without {' '.join(given)}, so that the number of rows decides."
    if settings.data.standardize is False:
        return "try it without --no-standardize."
    return "the columns may say little of the target; see --drop, --class-weight and --loss."


def _rows(settings: Settings, data: TrainingData, kind: str) -> Rows:
    """Return the rows that a score belongs to."""
    fraction, count = data.decisions.validation_split, len(data)
    if kind == "test":
        assert data.test is not None
        return data.test
    if kind == "validation" and isinstance(data.validation, Rows):
        return data.validation
    everything: NDArray[np.intp] = np.arange(count)
    train, held_out = (
        split_index(count, fraction, settings.model.seed) if fraction else (everything, everything)
    )
    return data.take(held_out if kind == "validation" else train)


def _majority(rows: Rows, data: TrainingData) -> tuple[str, float]:
    """Return the most frequent class, and its share of the rows, by their weights."""
    labels, codes = data.target.labels or (), data.target.encode(rows.y)
    weights = None if rows.weight is None else np.asarray(rows.weight, np.float64)
    counts = np.bincount(codes, weights, minlength=len(labels))
    most = int(np.argmax(counts))
    return labels[most], float(counts[most] / counts.sum())
