"""Scaler: standardisation of arrays, z = (x - mean) / scale, column by column."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from fastnet.errors import InputError
from fastnet.nn.losses import Loss
from fastnet.preprocessing import validation, weights
from fastnet.preprocessing.base import (
    Description,
    as_row,
    describe_target,
    encode_target,
)
from fastnet.preprocessing.statistics import CHUNK_ROWS, Moments, mean_and_deviation
from fastnet.preprocessing.target import TableTarget
from fastnet.utils.device_arrays import on_host

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Scaler:
    """The preprocessor that standardises arrays.

    Attributes
    ----------
    mean : (I,) float64
    scale : (I,) float64
        Standard deviation (of the population); 1 for a column that is constant.
    target : TableTarget or None
    moments : Moments or None
        Mean, variance and weight of the rows so far, to which `plus` adds further ones. A model
        file holds them with ``save(path, optimizer=True)``; else a loaded scaler stays as it is.

    Raises
    ------
    InputError
        Mean and scale are not two vectors of one length, all finite, and the scales positive.

    Examples
    --------
    >>> scaler = Scaler.fit([[0.0, 5.0], [2.0, 5.0]])
    >>> scaler.transform([[1.0, 5.0]])
    array([[0., 0.]], dtype=float32)
    """

    mean: NDArray[np.float64]
    scale: NDArray[np.float64]
    target: TableTarget | None = None
    moments: Moments | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        """Check the values, which may come from a hostile file."""
        for name in ("mean", "scale"):
            try:
                values = np.asarray(on_host(name, getattr(self, name)), dtype=np.float64)
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
    def fit(
        cls,
        x: ArrayLike,
        target: TableTarget | None = None,
        *,
        sample_weight: ArrayLike | None = None,
    ) -> Scaler:
        """Return the scaler of the columns of `x` (N, I), computed in float64.

        A row of weight 2 counts like two rows, one of weight 0 like none.

        Raises
        ------
        InputError
            x is not a matrix of finite numbers with at least one row, or a weight is invalid.
        """
        rows = validation.inputs("x", x, None, np.dtype(np.float64))
        if not len(rows):
            raise InputError("x is empty: there are no rows.")
        weight = weights.check("sample_weight", sample_weight, len(rows))
        if weight is not None:
            weight = weights.rounded("sample_weight", weight, rows.dtype)
        mean, deviation = mean_and_deviation(rows, weight)
        total = float(len(rows)) if weight is None else float(weight.sum())
        scale = np.where(deviation == 0, 1.0, deviation)
        return cls(mean, scale, target, Moments.of(total, mean, deviation))

    @classmethod
    def of(cls, moments: Moments, target: TableTarget | None = None) -> Scaler:
        """Return the scaler of the rows that moments were computed of."""
        deviation = np.sqrt(moments.variance)
        return cls(moments.mean, np.where(deviation == 0, 1.0, deviation), target, moments)

    def plus(self, rows: NDArray[np.float64], weight: Array | None) -> Scaler:
        """Return the scaler of the rows so far and further checked rows (N, I)."""
        if self.moments is None:
            return self
        rows, weight = on_host("x", rows), on_host("sample_weight", weight)
        return Scaler.of(self.moments.plus(rows, weight), self.target)

    @property
    def inputs(self) -> int:
        """I, the number of columns."""
        return len(self.mean)

    def transform(self, x: Any, dtype: DTypeLike = np.float32, name: str = "x") -> Array:
        """Return (x - mean) / scale (N, I), computed in float64, as `dtype`.

        Raises
        ------
        InputError
            x does not have I columns, or a scaled value exceeds the range of `dtype`.
        """
        return self.scale_rows(validation.inputs(name, x, self.inputs, np.dtype(np.float64)), dtype)

    def scale_rows(self, rows: NDArray[np.float64], dtype: DTypeLike) -> Array:
        """Return checked float64 rows (N, I) scaled, as `dtype`."""
        z = np.empty_like(rows, dtype=dtype)
        mean, scale = (np.asarray(values, like=rows) for values in (self.mean, self.scale))
        with np.errstate(over="ignore"):
            for start in range(0, len(rows), CHUNK_ROWS):
                chunk = slice(start, start + CHUNK_ROWS)
                z[chunk] = (rows[chunk] - mean) / scale
        return validation.finite("x after scaling", z)

    def transform_row(self, row: Any, dtype: np.dtype[Any]) -> Array:
        """Return one row (I,) scaled."""
        values = as_row(row, self.inputs, np.dtype(np.float64))
        with np.errstate(over="ignore"):
            z = ((values - self.mean) / self.scale).astype(dtype)
        return validation.finite("x after scaling", z)

    def encode(self, x: Any, y: Any, dtype: np.dtype[Any], name: str = "x") -> tuple[Array, Any]:
        """Return x scaled, and y encoded."""
        return self.transform(x, dtype, name), encode_target(self.target, y)

    def decode(self, outputs: Array, loss: Loss | None) -> Array:
        """Return outputs (..., O) in the unit of the targets."""
        return outputs if self.target is None else self.target.decode(outputs, loss)

    def input_scale(self) -> NDArray[np.float64]:
        """Return the scale."""
        return self.scale

    def description(self) -> Description:
        """Return mean and scale as arrays, and the description of the target, if there is one."""
        content, arrays = describe_target(self.target)
        return content, {"mean": self.mean, "scale": self.scale} | arrays
