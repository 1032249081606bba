"""Initial weights: one table row each.

Weights are drawn in float64 from counter-based streams and then rounded. So one seed gives the same
weights on every backend, and float32 weights are the rounded float64 weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fastnet.errors import InputError, suggest
from fastnet.kernels import abi
from fastnet.nn import random
from fastnet.utils.names import InitializerName

NORMAL_DEVIATION: Final = 0.05
"""Standard deviation of the plain ``normal`` initialiser."""

# Each row gives the variance of a weight from the numbers of inputs and outputs, and the
# distribution. Glorot and Bengio (2010), He et al. (2015), LeCun et al. (1998).
_VARIANCES: Final[dict[str, tuple[Callable[[int, int], float], str]]] = {
    "glorot_uniform": (lambda i, o: 2.0 / (i + o), "uniform"),
    "glorot_normal": (lambda i, o: 2.0 / (i + o), "normal"),
    "he_uniform": (lambda i, o: 2.0 / i, "uniform"),
    "he_normal": (lambda i, o: 2.0 / i, "normal"),
    "lecun_uniform": (lambda i, o: 1.0 / i, "uniform"),
    "lecun_normal": (lambda i, o: 1.0 / i, "normal"),
    "normal": (lambda i, o: NORMAL_DEVIATION**2, "normal"),
    "standard_normal": (lambda i, o: 1.0, "normal"),
    "zeros": (lambda i, o: 0.0, "zeros"),
    "ones": (lambda i, o: 0.0, "ones"),
}

INITIALIZERS: Final = tuple(_VARIANCES)


def check(name: InitializerName) -> InitializerName:
    """Return `name`; raise `InputError` with the nearest known name if it is unknown."""
    if not isinstance(name, str) or name not in _VARIANCES:
        raise InputError(f"unknown initializer {name!r}{suggest(name, _VARIANCES)}")
    return name


def draw(
    name: InitializerName, inputs: int, outputs: int, *, seed: int, stream: int
) -> NDArray[np.float64]:
    """Return the initial weights (I, O) of one dense layer, in float64.

    Parameters
    ----------
    name : str
        A row of the table.
    inputs, outputs : int
    seed, stream : int
        The key of the draws; `stream` is the index of the layer.
    """
    variance, distribution = _VARIANCES[check(name)]
    count, deviation = inputs * outputs, math.sqrt(variance(inputs, outputs))
    if distribution in ("zeros", "ones"):
        values = np.full(count, float(distribution == "ones"))
    elif distribution == "normal":
        values = random.normal(count, stream=stream, purpose=abi.INITIALIZE, seed=seed) * deviation
    else:
        # A uniform number on (-a, a) has variance a^2 / 3.
        values = random.uniform(count, stream=stream, purpose=abi.INITIALIZE, seed=seed)
        values *= 2.0
        values -= 1.0
        values *= math.sqrt(3.0) * deviation
    return values.reshape(inputs, outputs)
