"""Scaler: standardisation of inputs, z = (x - mean) / scale, column by column."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from fastnet.errors import InputError
from fastnet.preprocessing import validation

_BLOCK_ROWS = 4096  # bounds the memory of float64 copies


@dataclass(frozen=True, eq=False)
class Scaler:
    """Mean and scale of each column.

    Attributes
    ----------
    mean : (I,) float64
    scale : (I,) float64
        Standard deviation (of the population); 1 for a column that is constant.

    Raises
    ------
    InputError
        If they are not two vectors of one length, all finite, and the scales positive.

    Examples
    --------
    >>> scaler = Scaler.fit([[0.0, 5.0], [2.0, 5.0]])
    >>> scaler.transform([[1.0, 5.0]])
    array([[0., 0.]], dtype=float32)
    """

    mean: NDArray[np.float64]
    scale: NDArray[np.float64]

    def __post_init__(self) -> None:
        """Check the values, which may come from a hostile file."""
        for name in ("mean", "scale"):
            try:
                values = np.asarray(getattr(self, name), dtype=np.float64)
            except (TypeError, ValueError) as error:
                raise InputError(f"Scaler: expected {name} to be numbers: {error}.") from error
            object.__setattr__(self, name, values)
        if self.mean.ndim != 1 or self.mean.shape != self.scale.shape:
            raise InputError(
                f"Scaler: expected mean and scale of shape (I,), got {self.mean.shape} and "
                f"{self.scale.shape}."
            )
        if not np.isfinite([self.mean, self.scale]).all() or not (self.scale > 0).all():
            raise InputError("Scaler: expected finite means and positive finite scales.")

    @classmethod
    def fit(cls, x: ArrayLike) -> Scaler:
        """Return the scaler of the columns of `x`, (N, I) numbers, computed in float64.

        Raises
        ------
        InputError
            If `x` is not a matrix of finite numbers with at least one row.
        """
        rows = _rows(x)
        if rows.ndim != 2 or not len(rows):
            raise InputError(f"Scaler: expected x of shape (N, I), N >= 1, got {rows.shape}.")
        low, high = rows.min(axis=0).astype(np.float64), rows.max(axis=0).astype(np.float64)
        if not np.isfinite([low, high]).all():
            column = int(np.argmax(~np.isfinite(low + high)))
            raise InputError(f"Scaler: column {column} of x has values that are not finite.")
        # Two passes, as a sum of squares cancels; and around the middle of each column, so that
        # the deviation of a constant column is exactly 0.
        with np.errstate(over="ignore", invalid="ignore"):
            middle = low / 2 + high / 2
            mean = middle + sum((b - middle).sum(axis=0) for b in _blocks(rows)) / len(rows)
            square = sum(((b - mean) ** 2).sum(axis=0) for b in _blocks(rows)) / len(rows)
            scale = np.sqrt(square)
        return cls(mean, np.where(scale == 0, 1.0, scale))

    def transform(self, x: ArrayLike, dtype: DTypeLike = np.float32) -> NDArray[Any]:
        """Return (x - mean) / scale of ``x (..., I)``, computed in float64, as `dtype`.

        Raises
        ------
        InputError
            If `x` does not have I columns, or a value is so far from the mean that `dtype` does not
            have what becomes of it.
        """
        with np.errstate(over="ignore"):
            z = self._apply(x, dtype, lambda block: (block - self.mean) / self.scale)
        return validation.finite("x after scaling", z)

    def inverse(self, z: ArrayLike, dtype: DTypeLike = np.float32) -> NDArray[Any]:
        """Return z * scale + mean of ``z (..., I)``, computed in float64, as `dtype`.

        Raises
        ------
        InputError
            If `z` does not have I columns.
        """
        return self._apply(z, dtype, lambda block: block * self.scale + self.mean)

    def _apply(self, x: ArrayLike, dtype: DTypeLike, function: Any) -> NDArray[Any]:
        rows = _rows(x)
        if rows.shape[-1:] != self.mean.shape:
            raise InputError(
                f"Scaler: expected {len(self.mean)} columns, got an array of shape {rows.shape}."
            )
        out = np.empty(rows.shape, dtype=dtype)
        if rows.ndim != 2:
            out[...] = function(rows)
            return out
        for start in range(0, len(rows), _BLOCK_ROWS):
            block = slice(start, start + _BLOCK_ROWS)
            out[block] = function(rows[block])
        return out


def _rows(x: ArrayLike) -> NDArray[Any]:
    try:
        rows = np.asarray(x)
    except ValueError as error:
        raise InputError(f"Scaler: expected an array of numbers: {error}.") from error
    if rows.dtype.kind not in "biuf":
        raise InputError(f"Scaler: expected numbers, got dtype {rows.dtype}.")
    return rows


def _blocks(rows: NDArray[Any]) -> Iterator[NDArray[np.float64]]:
    for start in range(0, len(rows), _BLOCK_ROWS):
        yield rows[start : start + _BLOCK_ROWS].astype(np.float64)
