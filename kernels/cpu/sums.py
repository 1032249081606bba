"""Sums along a row: the only functions in which the compiler may reorder additions.

It then vectorises a sum, whose order depends on the length of the row alone. These functions do
nothing else. Elsewhere the same permission would make the bits of an element depend on its place in
a loop, and on the compiled copy of the function.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnet.kernels.cpu.jit import inner_sums


@inner_sums
def total(x: Any) -> Any:
    """Return ``sum(x)``."""
    result = x.dtype.type(0.0)
    for i in range(len(x)):
        result += x[i]
    return result


@inner_sums
def dot(x: Any, y: Any) -> Any:
    """Return ``sum(x y)``."""
    result = x.dtype.type(0.0)
    for i in range(len(x)):
        result += x[i] * y[i]
    return result


@inner_sums
def triple_dot(x: Any, y: Any, z: Any) -> Any:
    """Return ``sum(x y z)``."""
    result = x.dtype.type(0.0)
    for i in range(len(x)):
        result += x[i] * y[i] * z[i]
    return result


@inner_sums
def squares(x: Any, mean: Any) -> Any:
    """Return ``sum((x - mean)^2)``."""
    result = x.dtype.type(0.0)
    for i in range(len(x)):
        e = x[i] - mean
        result += e * e
    return result


@inner_sums
def square_norm(x: Any) -> Any:
    """Return ``sum(x^2)`` in float64: the square of a large float32 would be infinite."""
    result = 0.0
    for i in range(len(x)):
        result += np.float64(x[i]) * np.float64(x[i])
    return result


@inner_sums
def square_norm_at_rates(x: Any, rates: Any) -> Any:
    """Return the same, without the elements whose rate is 0."""
    result = 0.0
    for i in range(len(x)):
        xi = np.float64(x[i]) if rates[i] != 0 else 0.0
        result += xi * xi
    return result
