"""The settings that `tune` tries: a table of distributions, and what trial k draws from it.

It is the search space of RealMLP (Holzmüller, Grinsztajn and Steinwart, "Better by default: strong
pre-tuned MLPs and boosted trees on tabular data", NeurIPS 2024) as its reference code has it
(pytabkit, the space ``default`` of ``RealMLPParamSampler``), as far as fastnet has its parts. All
else is as in the preset ``tabular``.

- Embeddings of numbers: the published ones are none, PL, PLR and PBLD, with the same probability.
  fastnet has none and PL, which is ``periodic``, with frequencies that are not learned and have the
  deviation 0.25; so the published distribution of that deviation is left out. ``piecewise`` has the
  probability of the two that fastnet lacks.
- Weight decay of 0.02 for weights of variance 1 is 0.32 here: see `fastnet.tables.preset`. That is
  exact for layers of 256 inputs.
- Rates of learning, dropout, layers, activations, label smoothing, and whether a layer scales each
  input, are as published. The rate of dropout and the weight decay stay what they are during
  training, and activations have no parameters: ``docs/guides/tables.md`` has what was measured.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any, Final

from fastnet.kernels import abi
from fastnet.nn import random
from fastnet.tables.preset import PRESETS, Preset
from fastnet.training.budget import Task

_STREAM: Final = 2**30
"""The first stream of random numbers that no layer and no embedding has."""


@dataclass(frozen=True)
class Choice:
    """One of several values, with these probabilities."""

    values: tuple[Any, ...]
    probabilities: tuple[float, ...]

    def at(self, u: float) -> Any:
        """Return the value whose part of the unit interval has u, from 0 to 1."""
        ends = accumulate(self.probabilities)
        inside = (value for value, end in zip(self.values, ends, strict=True) if u < end)
        return next(inside, self.values[-1])


@dataclass(frozen=True)
class LogUniform:
    """A number from `low` to `high` whose logarithm is uniform."""

    low: float
    high: float

    def at(self, u: float) -> float:
        """Return the quantile u, from 0 to 1."""
        drawn = math.exp((1.0 - u) * math.log(self.low) + u * math.log(self.high))
        return min(max(drawn, self.low), self.high)


SPACE: Final[Mapping[str, Choice | LogUniform]] = {
    "numeric_embedding": Choice((None, "periodic", "piecewise"), (0.25, 0.25, 0.5)),
    "scale_rate": Choice((PRESETS["tabular"].scale_rate, 0.0), (0.6, 0.4)),
    "hidden": Choice(((256,) * 3, (64,) * 5, (512,)), (0.6, 0.2, 0.2)),
    "activation": Choice(("relu", "selu", "mish"), (1 / 3, 1 / 3, 1 / 3)),
    "learning_rate": LogUniform(0.02, 0.3),
    "dropout": Choice((0.0, 0.15, 0.3), (0.3, 0.5, 0.2)),
    "weight_decay": Choice((0.0, PRESETS["tabular-piecewise"].weight_decay), (0.5, 0.5)),
    "label_smoothing": Choice((0.0, PRESETS["tabular"].label_smoothing), (0.3, 0.7)),
}
"""Distributions by the names of a preset's attributes."""

_BY_TASK: Final = ("activation", "learning_rate")

_FIXED_BY: Final = {
    "optimizer": ("learning_rate", "weight_decay"),
    "loss": ("label_smoothing",),
}
"""Arguments of `train` that replace settings of another name."""


def preset_of(seed: int, trial: int) -> Preset:
    """Return the settings of a trial, which depend on seed and number alone.

    The first trials are the presets that have a name, in their order.
    """
    if trial < len(PRESETS):
        return [*PRESETS.values()][trial]
    stream = _STREAM + trial
    drawn = random.uniform(len(SPACE), stream=stream, purpose=abi.INITIALIZE, seed=seed)
    values: dict[str, Any] = {
        name: kind.at(float(u)) for (name, kind), u in zip(SPACE.items(), drawn, strict=True)
    }
    for name in _BY_TASK:
        values[name] = dict.fromkeys(PRESETS["tabular"].activation, values[name])
    return replace(PRESETS["tabular"], **values)


def described(preset: Preset, task: Task, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a trial as a row of the results, without what the caller gives.

    Parameters
    ----------
    given : dict
        Arguments of `train`, which replace settings of all trials.
    """
    fixed = {one for name in given for one in (name, *_FIXED_BY.get(name, ()))}
    if task == "regression":
        fixed.add("label_smoothing")
    shown = {name: getattr(preset, name) for name in SPACE if name not in fixed}
    for name in _BY_TASK:
        if name in shown:
            shown[name] = shown[name][task]
    if "hidden" in shown:
        shown["hidden"] = "x".join(map(str, shown["hidden"]))
    return shown
