"""Targets that the output activation of a network cannot reach, such as 7 for a sigmoid."""

from __future__ import annotations

import math
from typing import Any, Final

from numpy.typing import NDArray

from fastnet.nn.losses import Loss
from fastnet.utils.warn import warn

REACH: Final = {
    "relu": (0.0, math.inf),
    "elu": (-1.0, math.inf),
    "selu": (-1.7581, math.inf),
    "gelu": (-0.17, math.inf),
    "gelu_tanh": (-0.1701, math.inf),
    "silu": (-0.2785, math.inf),
    "mish": (-0.3089, math.inf),
    "tanh": (-1.0, 1.0),
    "sigmoid": (0.0, 1.0),
    "softplus": (0.0, math.inf),
    "exp": (0.0, math.inf),
    "softmax": (0.0, 1.0),
}
"""The bounds of activations that have any."""

_COMPARED: Final = ("mse", "mae", "huber", "quantile")
"""Losses of any targets; the others refuse targets out of their range."""

_SLACK: Final = 1e-6  # targets that a caller has scaled into the range are rounded


def is_beyond(targets: NDArray[Any], loss: Loss, activation: str) -> bool:
    """Return whether some of the targets (N, T) are out of the range of the output activation."""
    if loss.name not in _COMPARED or activation not in REACH or not targets.size:
        return False
    low, high = REACH[activation]
    return bool(targets.min() < low - _SLACK or targets.max() > high + _SLACK)


def warn_of(activation: str) -> None:
    """Warn the caller of `fit` of targets beyond the range of the activation."""
    low, high = REACH[activation]
    reach = f"from {low:g} to {high:g}" if high < math.inf else f"of at least {low:g}"
    warn(
        f"y has targets that the outputs, {reach}, cannot reach: give the last layer the "
        f"activation 'identity' instead of {activation!r}, with standardize_targets=True, or scale "
        "the targets.",
    )
