"""A hint after a training whose network is no better than a constant answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from fastnet.cli import output
from fastnet.cli.commands.train.data import TrainingData
from fastnet.cli.commands.train.settings import Settings
from fastnet.nn import metrics
from fastnet.training.constant_answer import lost_to_constant
from fastnet.training.history import History

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
    settings: Settings, data: TrainingData, history: History, tested: Mapping[str, float]
) -> str:
    """Return a sentence if the score is that of a constant answer or below; else nothing.

    Parameters
    ----------
    tested : dict of str to float
        The metrics on the test split, if there is one.
    """
    labels = data.target.labels
    scores, majority = tested or history.kept(), None if labels is None else history.majority
    kind = "test" if tested else "validation" if "val_loss" in scores else "training"
    prefix = "val_" if kind == "validation" else ""
    if tested and labels is not None:
        assert data.test is not None
        majority = metrics.majority(data.target.encode(data.test.y), data.test.weight)
    lost = lost_to_constant(scores, prefix, majority)
    if lost is None:
        return ""
    found = f"{kind} {lost} {output.short(scores[prefix + lost])}"
    if lost == "r2":
        return f"{found} is worse than always answering the mean: {_what_to_try(settings)}"
    assert majority is not None and labels is not None
    always = f"{labels[majority[0]]!r}, {output.short(majority[1])}"
    return f"{found} is not above that of always answering {always}: {_what_to_try(settings)}"


def _what_to_try(settings: Settings) -> str:
    given = [f"--{name.replace('_', '-')}" for name in _OPTIONS if name in settings.given]
    if given:
        return f"try it without {' '.join(given)}, so that the number of rows decides."
    if settings.data.standardize is False:
        return "try it without --no-standardize."
    return "the columns may say little of the target; see --drop, --class-weight and --loss."
