"""Means, deviations and quantiles of columns, in float64, of a matrix or of rows in chunks.

Weights count rows: a row of weight 2 counts like two rows, one of weight 0 like none, and only the
ratios of the weights matter.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from fastnet.utils.device_arrays import on_host

Array = NDArray[Any]

CHUNK_ROWS = 4096
"""Number of rows converted to float64 at a time, which bounds the memory of the copies."""


def mean_and_scale(
    rows: Array, weight: Array | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and standard deviation (of the population) of each column of finite rows (N, C).

    A constant column gets the scale 1.

    Parameters
    ----------
    weight : (N,), optional
        Weights, at least 0 and not all 0.
    """
    mean, deviation = mean_and_deviation(rows, weight)
    return mean, np.where(deviation == 0, 1.0, deviation)


def mean_and_deviation(
    rows: Array, weight: Array | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return what `mean_and_scale` does, with the deviation 0 for a constant column.

    Both are on the host; they are computed where the rows are.
    """
    if weight is not None:
        rows, weight = rows[weight > 0], _relative(weight[weight > 0])
    low, high = rows.min(axis=0).astype(np.float64), rows.max(axis=0).astype(np.float64)
    # Two passes, since a sum of squares cancels, and around the middle of each column, so that the
    # deviation of a constant column is exactly 0.
    with np.errstate(over="ignore", invalid="ignore"):
        middle = low / 2 + high / 2
        mean = middle + _average(rows, weight, middle, 1)
        deviation = np.sqrt(_average(rows, weight, mean, 2))
    return on_host("the mean", mean), on_host("the deviation", deviation)


def quantiles(values: Array, q: Array, times: Array | None = None) -> NDArray[np.float64]:
    """Return quantiles of values (N,), as ``np.quantile`` does of rows that are repeated.

    As there, quantile q is at the position ``q * (rows - 1)`` in the sorted rows, and between two
    rows it is interpolated.

    Parameters
    ----------
    q : (Q,), from 0 to 1
    times : (N,), optional
        How often each row counts, at least 1; not always a whole number.
    """
    if times is None:
        return np.asarray(np.quantile(values, q))
    order = np.argsort(values, kind="stable")
    values, times = values[order], times[order]
    # The rows that a value stands for are at positions from its first to its last.
    last = np.cumsum(times) - 1.0
    first = np.maximum(last - (times - 1.0), np.concatenate([[0.0], last[:-1]]))
    places = np.stack([first, last], axis=1).ravel()
    found: NDArray[np.float64] = np.interp(q * last[-1], places, np.repeat(values, 2))
    return found


def _relative(weight: Array) -> NDArray[np.float64]:
    """Return positive weights in float64, at most about 1, so that no sum of them overflows."""
    exponent = np.frexp(float(weight.max()))[1]
    relative: NDArray[np.float64] = np.ldexp(weight.astype(np.float64), -exponent)
    return relative


def _average(
    rows: Array, weight: NDArray[np.float64] | None, center: NDArray[np.float64], power: int
) -> Any:
    """Return the weighted mean of ``(x - center) ** power`` over the rows (N, C)."""
    parts = [slice(start, start + CHUNK_ROWS) for start in range(0, len(rows), CHUNK_ROWS)]
    if weight is None:
        total: Any = sum(((_float64(rows[p]) - center) ** power).sum(axis=0) for p in parts)
        return total / len(rows)
    total = sum(weight[p] @ (_float64(rows[p]) - center) ** power for p in parts)
    return total / weight.sum()


def _float64(rows: Array) -> NDArray[np.float64]:
    return rows.astype(np.float64)


@dataclass(frozen=True, eq=False)
class Moments:
    """Mean and variance of columns over rows that arrive in chunks (Chan et al., 1979).

    Attributes
    ----------
    weight : float
        Sum of the weights of the rows so far.
    """

    weight: float = 0.0
    _origin: Any = None  # (C,), a row: a constant column deviates from it by exactly 0
    _mean: Any = 0.0  # (C,), from the origin
    _square: Any = 0.0  # (C,), the weighted sum of squares around the mean

    @classmethod
    def of(cls, weight: float, mean: Array, deviation: Array) -> Self:
        """Return the moments of rows whose mean and deviation (C,) are known."""
        with np.errstate(over="ignore"):  # infinity is refused later
            return cls(weight, mean.copy(), np.zeros_like(mean), weight * deviation**2)

    def matrix(self) -> NDArray[np.float64]:
        """Return what `of_matrix` takes (3, C): origin, mean and sum of squares."""
        return np.stack([self._origin, self._mean, self._square])

    @classmethod
    def of_matrix(cls, weight: float, matrix: Array) -> Self:
        """Return the moments of `weight` and `matrix`."""
        return cls(weight, *(part.copy() for part in matrix))

    def plus(self, values: Array, weight: Array | None) -> Self:
        """Return the moments with further rows (B,) or (B, C)."""
        values = values.reshape(len(values), -1).astype(np.float64)
        w = np.ones(len(values)) if weight is None else weight.astype(np.float64)
        total = float(w.sum())
        if not total:
            return self
        origin = values[np.argmax(w > 0)].copy() if self._origin is None else self._origin
        with np.errstate(over="ignore", invalid="ignore"):  # infinity is refused later
            values = values - origin
            mean = w @ values / total
            square = w @ (values - mean) ** 2
        return replace(self, _origin=origin)._with(total, mean, square)

    def with_others(self, others: Self) -> Self:
        """Return the moments of these rows and others."""
        if self._origin is None or others._origin is None:
            return others if self._origin is None else self
        with np.errstate(over="ignore", invalid="ignore"):
            mean = others._mean + (others._origin - self._origin)
        return self._with(others.weight, mean, others._square)

    def _with(self, weight: float, mean: Array, square: Array) -> Self:
        """Return the moments with further rows; their mean is from the same origin."""
        with np.errstate(over="ignore", invalid="ignore"):  # infinity is refused later
            both, apart = self.weight + weight, mean - self._mean
            between = apart**2 * (self.weight * weight / both)
            return replace(
                self,
                weight=both,
                _mean=self._mean + apart * (weight / both),
                _square=self._square + square + between,
            )

    @property
    def mean(self) -> Array:
        """The weighted means (C,)."""
        return np.zeros(1) if self._origin is None else self._mean + self._origin

    @property
    def variance(self) -> Array:
        """The weighted variances (C,), of the population."""
        return self._square / self.weight if self.weight else np.zeros(1)
