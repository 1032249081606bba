"""Arrays without column names, x (N, ...) and y (N, ...): what files of arrays hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnet.data.columns import MAX_COLUMNS
from fastnet.errors import DataError


@dataclass(frozen=True, eq=False)
class Arrays:
    """What a file of arrays holds.

    Attributes
    ----------
    source : str
        What error messages call the file.
    x : (N, ...) of any real dtype
    y : (N,) numbers or texts, (N, O) numbers, or None
    target : str
        The name of `y`.
    label_names : tuple of str, or None
        Names of the classes, when `y` holds their indices; None to take the names from `y`.
    test : Arrays or None
        The test split.
    """

    source: str
    x: NDArray[Any]
    y: NDArray[Any] | None
    target: str = "y"
    label_names: tuple[str, ...] | None = None
    test: Arrays | None = None


def as_matrix(x: NDArray[Any], source: str) -> NDArray[Any]:
    """Return x (N, ...) as (N, I); unsigned bytes with several axes per row are divided by 255.

    Such arrays are images, whose pixels then are float32 in 0..1. A plain (N, I) matrix of bytes
    keeps its values.

    Raises
    ------
    DataError
        If `x` has fewer than two axes, no rows, no columns, or too many columns.
    """
    if x.ndim < 2 or x.dtype.kind not in "biuf":
        raise DataError(f"{source}: expected rows of numbers, got {x.dtype} of shape {x.shape}.")
    if x.size == 0:
        raise DataError(f"{source} has no rows or no columns: its shape is {x.shape}.")
    matrix: NDArray[Any] = x.reshape(len(x), -1)
    if matrix.shape[1] > MAX_COLUMNS:
        raise DataError(f"{source} has {matrix.shape[1]} columns, more than {MAX_COLUMNS:,}.")
    if x.dtype == np.uint8 and x.ndim > 2:
        # A division, as a product with 1/255 would not give 1.0 for every white pixel.
        matrix = np.divide(matrix, np.float32(255), dtype=np.float32)
    return matrix
