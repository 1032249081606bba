"""Allocates NumPy arrays that begin at a cache line."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

ALIGNMENT: Final = 64
"""Bytes of a cache line, and of the widest vector: a load across two lines costs twice."""


def aligned(shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
    """Return a new array that begins at a cache line, not initialised."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    memory = np.empty(size + ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % ALIGNMENT
    array: NDArray[Any] = memory[start : start + size].view(dtype).reshape(shape)
    return array
