"""Scaler: standardisation of arrays, z = (x - mean) / scale, column by column."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from fastnet.errors import InputError
from fastnet.nn.losses import Loss
from fastnet.preprocessing import validation
from fastnet.preprocessing.base import (
    Description,
    as_row,
    describe_target,
    encode_target,
    require_own_unit,
)
from fastnet.preprocessing.statistics import CHUNK_ROWS, mean_and_scale
from fastnet.preprocessing.target import TableTarget

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

    Raises
    ------
    InputError
        Mean and scale are not two vectors of one length, all finite, and the scales positive.
    DataError
        The target is scaled.

    Examples
    --------
    >>> scaler = Scaler.fit([[0.0, 5.0], [2.0, 5.0]])
    >>> scaler.transform([[1.0, 5.0]])
    array([[0., 0.]], dtype=float32)
    """

    mean: NDArray[np.float64]
    scale: NDArray[np.float64]
    target: TableTarget | None = None

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
        require_own_unit(self.target)

    @classmethod
    def fit(cls, x: ArrayLike, target: TableTarget | None = None) -> Scaler:
        """Return the scaler of the columns of `x` (N, I), computed in float64.

        Raises
        ------
        InputError
            x is not a matrix of finite numbers with at least one row.
        """
        rows = validation.inputs("x", x, None, np.dtype(np.float64))
        if not len(rows):
            raise InputError("x is empty: there are no rows.")
        return cls(*mean_and_scale(rows), target)

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
        z = np.empty(rows.shape, dtype)
        with np.errstate(over="ignore"):
            for start in range(0, len(rows), CHUNK_ROWS):
                chunk = slice(start, start + CHUNK_ROWS)
                z[chunk] = (rows[chunk] - self.mean) / self.scale
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
        """Return the outputs unchanged, since the targets of arrays are not scaled."""
        return outputs

    def input_scale(self) -> NDArray[np.float64]:
        """Return the scale."""
        return self.scale

    def description(self) -> Description:
        """Return mean and scale as arrays, and the description of the target, if there is one."""
        content, arrays = describe_target(self.target)
        return content, {"mean": self.mean, "scale": self.scale} | arrays
