"""Batch and layer normalisation, by the formulas of ``fastnet/backends/numpy_backend.py``.

``z = gamma xhat + beta``, ``xhat = (x - mean) * scale``, ``scale = 1 / sqrt(variance + epsilon)``.
Arrays are flat, x and z (B, O); gamma, beta, mean and scale (O,), or scale (B,) by rows.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastnet.kernels.cpu.jit import inner, specialised
from fastnet.kernels.cpu.lanes import load, splat, store
from fastnet.kernels.cpu.sums import dot, squares, total, triple_dot
from fastnet.kernels.cpu.vectors import lanes_of

# Of NumPy's types: Numba compiles a function anew for every literal argument.
_SUMS, _DOTS, _SQUARES = np.int64(0), np.int64(1), np.int64(2)


@inner
def batch_statistics(mean: Any, variance: Any, x: Any, first: Any, last: Any, count: Any) -> None:
    """Write the mean and (biased) variance over `count` rows of units `first` up to `last`.

    `x` is the address of all rows.
    """
    like, real, width = mean[:1], mean.dtype.type, len(mean)
    share = real(1.0) / real(count)
    m, v = np.int64(mean.ctypes.data), np.int64(variance.ctypes.data)
    column_sums(like, m, x, first, last, width, count)
    for j in range(first, last):
        mean[j] *= share
    column_squares(like, v, x, m, first, last, width, count)
    for j in range(first, last):
        variance[j] *= share


@inner
def move_running(running: Any, batch: Any, momentum: Any, factor: Any) -> None:
    """Write ``running = (1 - momentum) running + momentum factor batch``."""
    real = running.dtype.type
    keep, take = real(1.0 - momentum), real(momentum * factor)
    for j in range(len(running)):
        running[j] = keep * running[j] + take * batch[j]


@inner
def inverse_deviation(scale: Any, variance: Any, epsilon: Any) -> None:
    """Write ``scale = 1 / sqrt(variance + epsilon)``; both may be the same array."""
    real = scale.dtype.type
    for j in range(len(scale)):
        scale[j] = real(1.0) / math.sqrt(variance[j] + real(epsilon))


@inner
def batch_norm_forward(
    z: Any, xhat: Any, x: Any, mean: Any, scale: Any, gamma: Any, beta: Any
) -> None:
    """Normalise each column."""
    like, width = x[:1], len(gamma)
    size, lanes = like.itemsize, lanes_of(like)
    for start in range(0, len(x), width):
        row = start * size
        source, hat, out = x.ctypes.data + row, xhat.ctypes.data + row, z.ctypes.data + row
        for j in range(0, width, lanes):
            left, at = width - j, j * size
            m, s = load(like, mean.ctypes.data + at, left), load(like, scale.ctypes.data + at, left)
            g, b = load(like, gamma.ctypes.data + at, left), load(like, beta.ctypes.data + at, left)
            h = (load(like, source + at, left) - m) * s
            store(hat + at, h, left)
            store(out + at, g * h + b, left)


@inner
def layer_norm_forward(
    z: Any, xhat: Any, scale: Any, x: Any, gamma: Any, beta: Any, epsilon: Any
) -> None:
    """Normalise each row, and write its scale."""
    real, width = x.dtype.type, len(gamma)
    share = real(1.0) / real(width)
    for i in range(len(scale)):
        row = x[i * width : (i + 1) * width]
        hat, out = xhat[i * width : (i + 1) * width], z[i * width : (i + 1) * width]
        mean = total(row) * share
        variance = squares(row, mean)
        scale[i] = real(1.0) / math.sqrt(variance * share + real(epsilon))
        for j in range(width):
            h = (row[j] - mean) * scale[i]
            hat[j] = h
            out[j] = gamma[j] * h + beta[j]


@inner
def layer_norm_backward(dx: Any, dz: Any, xhat: Any, scale: Any, gamma: Any) -> None:
    """Write ``dx = scale (g - mean(g) - xhat mean(g xhat))``, ``g = gamma dz``, means by rows."""
    real, width = dz.dtype.type, len(gamma)
    share = real(1.0) / real(width)
    for i in range(len(scale)):
        hat, out = xhat[i * width : (i + 1) * width], dx[i * width : (i + 1) * width]
        row = dz[i * width : (i + 1) * width]
        mean, along = dot(gamma, row) * share, triple_dot(gamma, row, hat) * share
        for j in range(width):
            out[j] = scale[i] * (gamma[j] * row[j] - mean - hat[j] * along)


@inner
def batch_norm_backward(
    dx: Any, dz: Any, xhat: Any, scale: Any, gamma: Any, dgamma: Any, dbeta: Any, share: Any
) -> None:
    """Write dx by the formula above for some rows, with means over the batch.

    `dgamma` and `dbeta` are the column sums of ``dz xhat`` and dz: gamma times them are the sums
    of g needed here. `share` is 1 over the number of the batch's rows, or 0: no means.
    """
    like, width = dz[:1], len(gamma)
    size, lanes = like.itemsize, lanes_of(like)
    for start in range(0, len(dz), width):
        row = start * size
        source, hat, out = dz.ctypes.data + row, xhat.ctypes.data + row, dx.ctypes.data + row
        for j in range(0, width, lanes):
            left, at = width - j, j * size
            dg = load(like, dgamma.ctypes.data + at, left)
            db = load(like, dbeta.ctypes.data + at, left)
            s = load(like, scale.ctypes.data + at, left)
            g = load(like, gamma.ctypes.data + at, left)
            mean = share * (db + load(like, hat + at, left) * dg)
            store(out + at, s * g * (load(like, source + at, left) - mean), left)


@specialised
def term(like: Any, kind: Any, x: Any, y: Any, center: Any, left: Any) -> Any:
    """Return what `column_totals` adds up, of a vector of columns of one row."""
    value = load(like, x, left)
    if kind == _DOTS:
        return value * load(like, y, left)
    if kind == _SQUARES:
        value = value - center
        return value * value
    return value


@specialised
def column_totals(
    like: Any, kind: Any, out: Any, x: Any, y: Any, centers: Any, first: Any, last: Any,
    width: Any, rows: Any,
) -> None:  # fmt: skip
    """Write the sums over rows of columns `first` up to `last`, of x (rows, width); addresses.

    ``_SUMS``: of x; ``_DOTS``: of ``x y``; ``_SQUARES``: of ``(x - centers) ** 2``, with centers
    (width,). Each sum has the order of the rows, whatever the columns.
    """
    size, lanes = like.itemsize, lanes_of(like)
    zero, step, wide = like.dtype.type(0.0), width * like.itemsize, lanes_of(like) * like.itemsize
    for j in range(first, last, 4 * lanes):
        # Four vectors side by side: a single sum would wait for each addition.
        left0, left1 = last - j, last - j - lanes
        left2, left3 = left1 - lanes, left1 - 2 * lanes
        s0, s1, s2, s3 = splat(zero), splat(zero), splat(zero), splat(zero)
        c0, c1, c2, c3 = s0, s1, s2, s3
        if kind == _SQUARES:
            place = centers + j * size
            c0, c1 = load(like, place, left0), load(like, place + wide, left1)
            c2, c3 = load(like, place + 2 * wide, left2), load(like, place + 3 * wide, left3)
        a, b = x + j * size, y + j * size
        for _ in range(rows):
            s0 = s0 + term(like, kind, a, b, c0, left0)
            if left1 > 0:
                s1 = s1 + term(like, kind, a + wide, b + wide, c1, left1)
            if left2 > 0:
                s2 = s2 + term(like, kind, a + 2 * wide, b + 2 * wide, c2, left2)
            if left3 > 0:
                s3 = s3 + term(like, kind, a + 3 * wide, b + 3 * wide, c3, left3)
            a += step
            b += step
        store(out + j * size, s0, left0)
        store(out + j * size + wide, s1, left1)
        store(out + j * size + 2 * wide, s2, left2)
        store(out + j * size + 3 * wide, s3, left3)


@inner
def column_sums(like: Any, out: Any, dz: Any, first: Any, last: Any, width: Any, rows: Any) -> None:
    """Write the sums over rows of columns `first` up to `last` of dz (rows, width); addresses."""
    column_totals(like, _SUMS, out, dz, dz, dz, first, last, width, rows)


@inner
def column_squares(
    like: Any, out: Any, x: Any, mean: Any, first: Any, last: Any, width: Any, rows: Any
) -> None:
    """Write the sums over rows of ``(x - mean) ** 2``, as `column_sums`."""
    column_totals(like, _SQUARES, out, x, x, mean, first, last, width, rows)


@inner
def column_dots(out: Any, dz: Any, xhat: Any, first: Any, last: Any, width: Any) -> None:
    """Write the sums over rows of ``dz xhat``, for columns `first` up to `last`."""
    a, b, c = np.int64(dz.ctypes.data), np.int64(xhat.ctypes.data), np.int64(out.ctypes.data)
    column_totals(dz[:1], _DOTS, c, a, b, a, first, last, width, len(dz) // width)
