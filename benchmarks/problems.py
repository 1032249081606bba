"""What every contender is given: the same data, initial weights and order of the batches."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

import fastnet as fn
from fastnet.benchmarks.ladder import Rung
from fastnet.nn import random

SEED: Final = 0
LEARNING_RATE: Final = 1e-3
ORDERS: Final = 2
"""Rivals go round so many epochs' orders, computed outside the measurement."""

_PURPOSE: Final = 100  # of the random streams: none of the library's own
_BLOCK: Final = 2**20

Floats = NDArray[Any]
Targets = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Problem:
    """A network to train, with its data.

    Attributes
    ----------
    rung : Rung
    batch : int
        Rows in a step; it divides the number of rows.
    x : (N, I)
        In the network's dtype, as the weights and the targets are that are no classes.
    targets : (N,) int64 or (N, O)
        Classes, or the values of all outputs.
    weights, biases : tuple of (I, O), tuple of (O,)
        Where training starts: those of fastnet's seed. Normalisation starts with ones and zeros.
    epochs : int
        Rivals go round the orders of so many epochs.
    """

    rung: Rung
    batch: int
    x: Floats
    targets: Targets
    weights: tuple[Floats, ...]
    biases: tuple[Floats, ...]
    epochs: int = ORDERS

    @property
    def steps(self) -> int:
        """Steps in an epoch."""
        return len(self.x) // self.batch

    @property
    def flops(self) -> int:
        """Floating-point operations of a step."""
        return self.rung.flops(self.batch)

    @cached_property
    def orders(self) -> list[NDArray[np.intp]]:
        """The orders (N,) in which fastnet visits the rows in its first epochs."""
        return [random.permutation(len(self.x), seed=SEED, epoch=e) for e in range(self.epochs)]

    def first(self, steps: int, batch: int) -> Problem:
        """Return the problem of the first few rows, so that an epoch has that many steps."""
        rows = steps * batch
        return replace(self, batch=batch, x=self.x[:rows], targets=self.targets[:rows])


def network(rung: Rung, backend: str) -> fn.Network:
    """Return fastnet's network of this rung, with the initial weights."""
    where: Any = backend  # a record's names are no literals
    norm = {"batch": fn.BatchNorm, "layer": fn.LayerNorm}.get(rung.norm)
    layers: list[fn.Layer] = []
    for width in rung.sizes[1:-1]:
        if norm is None:
            layers.append(fn.Dense(width, rung.activation))
        else:
            layers += fn.Dense(width), norm(rung.activation)
    return fn.Network(
        [*layers, fn.Dense(rung.sizes[-1], rung.output_activation)],
        inputs=rung.sizes[0],
        dtype=rung.dtype,
        seed=SEED,
        backend=where,
    )


@cache
def problem(rung: Rung, batch: int, rows: int) -> Problem:
    """Return the problem; the arrays are the same objects at every call, and read-only."""
    make = {"expm": _exponentials, "xor": _xor}.get(rung.name.partition("-")[0], _taught)
    x, targets = (_as(rung.dtype, array) for array in make(rung, rows))
    start = network(rung, "numpy")
    weights, biases = tuple(start.weights), tuple(start.biases)
    for array in (x, targets, *weights, *biases):
        array.flags.writeable = False
    return Problem(rung, batch, x, targets, weights, biases)


def _as(dtype: str, array: NDArray[Any]) -> NDArray[Any]:
    """Return numbers in that dtype; classes stay what they are."""
    return array if array.dtype == np.int64 else array.astype(dtype)


def inputs(rung: Rung, rows: int) -> Floats:
    """Return rows (N, I) to predict."""
    return _as(rung.dtype, _noise(rows * rung.sizes[0], 1 << 20).reshape(rows, -1))


def _xor(rung: Rung, rows: int) -> tuple[Floats, Targets]:
    index = np.arange(rows)
    bits = np.stack([index & 1, (index >> 1) & 1], axis=1)
    return bits.astype(np.float32), _mislabelled(bits[:, 0] ^ bits[:, 1], 2)


def _taught(rung: Rung, rows: int) -> tuple[Floats, Targets]:
    """Return noise, labelled or measured by a linear teacher: something that one can learn."""
    wide, narrow = rung.sizes[0], rung.sizes[-1]
    x = _noise(rows * wide, 0).reshape(rows, wide)
    teacher = _noise(wide * narrow, 1 << 21).reshape(wide, narrow)
    if rung.loss == "mse":
        return x, np.tanh(x @ teacher / np.float32(wide**0.5))
    return x, _mislabelled(np.argmax(x @ teacher, axis=1), narrow)


def _exponentials(rung: Rung, rows: int) -> tuple[Floats, Targets]:
    """Return matrices ((a, b), (c, d)) as rows (N, 4), and the exponential of each likewise.

    With s the mean of a and d, and A = sI + B: exp A = exp s (cosh q I + sinh(q) / q B), where
    q^2 = -det B may be negative.
    """
    x = inputs(rung, rows)
    a, b, c, d = x.astype(np.float64).T
    s, half = (a + d) / 2, (a - d) / 2
    q = np.sqrt((half**2 + b * c).astype(np.complex128))
    even, odd = np.cosh(q).real, (np.sinh(q) / q).real
    y = np.stack([even + odd * half, odd * b, odd * c, even - odd * half], axis=1)
    return x, (np.exp(s)[:, None] * y).astype(np.float32)


def _mislabelled(labels: NDArray[Any], classes: int) -> NDArray[np.int64]:
    """Return the labels, an eighth of them drawn at random.

    What can be learnt to the end would be: then gradients fade into denormal numbers, which cost
    ten times as much, the sooner the faster a contender is.
    """
    words = random.words(2 * len(labels), step=0, stream=1 << 22, purpose=_PURPOSE, seed=SEED)
    drawn = words[1::2] % np.uint32(classes)
    return np.where(words[::2] % np.uint32(8) == 0, drawn, labels).astype(np.int64)


def _noise(count: int, stream: int) -> Floats:
    """Return numbers of mean 0 and variance 1, uniformly distributed, drawn in blocks."""
    out = np.empty(count, np.float32)
    for index, start in enumerate(range(0, count, _BLOCK)):
        part: NDArray[Any] = out[start : start + _BLOCK]
        words = random.words(part.size, step=0, stream=stream + index, purpose=_PURPOSE, seed=SEED)
        part[:] = (words * 2.0**-32 - 0.5) * 12**0.5
    return out
