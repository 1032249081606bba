"""Means and standard deviations of columns, in float64, of a matrix or of rows in chunks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

CHUNK_ROWS = 4096
"""Number of rows converted to float64 at a time, which bounds the memory of the copies."""


def mean_and_scale(rows: Array) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and standard deviation (of the population) of each column of finite rows (N, C).

    A constant column gets the scale 1.
    """
    low, high = rows.min(axis=0).astype(np.float64), rows.max(axis=0).astype(np.float64)
    # Two passes, since a sum of squares cancels, and around the middle of each column, so that the
    # deviation of a constant column is exactly 0.
    with np.errstate(over="ignore", invalid="ignore"):
        middle = low / 2 + high / 2
        mean = middle + sum((b - middle).sum(axis=0) for b in _chunks(rows)) / len(rows)
        square = sum(((b - mean) ** 2).sum(axis=0) for b in _chunks(rows)) / len(rows)
        scale = np.sqrt(square)
    return mean, np.where(scale == 0, 1.0, scale)


def _chunks(rows: Array) -> Iterator[NDArray[np.float64]]:
    for start in range(0, len(rows), CHUNK_ROWS):
        yield rows[start : start + CHUNK_ROWS].astype(np.float64)


class Moments:
    """Mean and variance of columns over rows that arrive in chunks (Chan et al., 1979)."""

    def __init__(self) -> None:
        self.weight = 0.0
        self._origin: Array | None = None  # the first row: a constant column deviates by exactly 0
        self._mean: Array = np.zeros(1)
        self._square: Array = np.zeros(1)

    def add(self, values: Array, weight: Array | None) -> None:
        """Add rows (B,) or (B, C)."""
        values = values.reshape(len(values), -1).astype(np.float64)
        if self._origin is None:
            self._origin = values[0].copy()
        w = np.ones(len(values)) if weight is None else weight.astype(np.float64)
        with np.errstate(over="ignore", invalid="ignore"):  # infinity is refused later
            self._add(values - self._origin, w)

    def _add(self, values: Array, w: Array) -> None:
        total = float(w.sum())
        if not total:
            return
        mean = w @ values / total
        both, apart = self.weight + total, mean - self._mean
        between = apart**2 * (self.weight * total / both)
        self._square = self._square + w @ (values - mean) ** 2 + between
        self._mean = self._mean + apart * (total / both)
        self.weight = both

    @property
    def mean(self) -> Array:
        """The weighted means (C,)."""
        return self._mean if self._origin is None else self._mean + self._origin

    @property
    def variance(self) -> Array:
        """The weighted variances (C,), of the population."""
        return self._square / self.weight if self.weight else self._square
