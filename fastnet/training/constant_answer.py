"""The comparison of a trained network with the best constant answer: the mean, or a class."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from fastnet.training.history import History
from fastnet.utils.warn import warn

Lost = Literal["r2", "accuracy"]


def lost_to_constant(
    scores: Mapping[str, float], prefix: str, majority: tuple[int, float] | None
) -> Lost | None:
    """Return the score by which a constant answer is as good or better; None if there is none.

    Parameters
    ----------
    scores : dict of str to float
        By name, which begins with `prefix`.
    majority : (int, float) or None
        The most frequent class of the rows, and its share of them.
    """
    r2, accuracy = scores.get(f"{prefix}r2"), scores.get(f"{prefix}accuracy")
    if r2 is not None and r2 < 0:
        return "r2"
    beaten = accuracy is not None and majority is not None and accuracy <= majority[1] < 1
    return "accuracy" if beaten else None


def warn_of_constant(history: History) -> None:
    """Warn the caller's caller if what a whole training made is no better than a constant answer.

    The text has no numbers: Python shows a warning of the same text and place once.
    """
    values = history.kept() if history.epochs else {}
    prefix = "val_" if "val_loss" in values else ""
    lost = lost_to_constant(values, prefix, history.majority)
    if lost is not None:
        constant = "the mean of the target" if lost == "r2" else "its most frequent class"
        warn(
            f"by its {prefix}{lost} the network is no better than always answering {constant}: the "
            f"columns may say little of the target; see drop, class_weight and loss.",
        )
