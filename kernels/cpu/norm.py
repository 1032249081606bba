"""Batch and layer normalisation, by the formulas of ``fastnet/backends/numpy_backend.py``.

``z = gamma xhat + beta``, ``xhat = (x - mean) * scale``, ``scale = 1 / sqrt(variance + epsilon)``.
Arrays are flat, x and z (B, O); gamma, beta, mean and scale (O,), or scale (B,) by rows.
"""

from __future__ import annotations

import math
from typing import Any

from fastnet.kernels.cpu.jit import inner
from fastnet.kernels.cpu.lanes import load, splat, store
from fastnet.kernels.cpu.sums import dot, squares, total, triple_dot
from fastnet.kernels.cpu.vectors import lanes_of


@inner
def batch_statistics(mean: Any, variance: Any, x: Any, count: Any) -> None:
    """Write each unit's mean and (biased) variance over `count` rows."""
    real, width = x.dtype.type, len(mean)
    share = real(1.0) / real(count)
    for j in range(width):
        mean[j] = variance[j] = real(0.0)
    for i in range(count):
        row = x[i * width : (i + 1) * width]
        for j in range(width):
            mean[j] += row[j]
    for j in range(width):
        mean[j] *= share
    for i in range(count):
        row = x[i * width : (i + 1) * width]
        for j in range(width):
            e = row[j] - mean[j]
            variance[j] += e * e
    for j in range(width):
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
    width = len(gamma)
    for start in range(0, len(x), width):
        for j in range(width):
            h = (x[start + j] - mean[j]) * scale[j]
            xhat[start + j] = h
            z[start + j] = gamma[j] * h + beta[j]


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
    dx: Any, dz: Any, xhat: Any, scale: Any, gamma: Any, dgamma: Any, dbeta: Any, training: Any
) -> None:
    """Write dx by the formula above, with means over the batch; without `training` these are 0.

    `dgamma` and `dbeta` are the column sums of ``dz xhat`` and dz: gamma times them are the sums
    of g needed here.
    """
    real, width = dz.dtype.type, len(gamma)
    share = real(width) / real(len(dz)) if training else real(0.0)
    for start in range(0, len(dz), width):
        for j in range(width):
            centred = dz[start + j] - share * (dbeta[j] + xhat[start + j] * dgamma[j])
            dx[start + j] = scale[j] * gamma[j] * centred


@inner
def column_sums(like: Any, out: Any, dz: Any, first: Any, last: Any, width: Any, rows: Any) -> None:
    """Write the sums over rows of columns `first` up to `last` of dz (rows, width); addresses."""
    size, lanes = like.itemsize, lanes_of(like)
    zero = like.dtype.type(0.0)
    for j in range(first, last, 4 * lanes):
        # Four vectors side by side: a single sum would wait for each addition.
        left0, left1 = last - j, last - j - lanes
        left2, left3 = left1 - lanes, left1 - 2 * lanes
        s0, s1, s2, s3 = splat(zero), splat(zero), splat(zero), splat(zero)
        step, row = width * size, dz + j * size
        for _ in range(rows):
            s0 = s0 + load(like, row, left0)
            if left1 > 0:
                s1 = s1 + load(like, row + lanes * size, left1)
            if left2 > 0:
                s2 = s2 + load(like, row + 2 * lanes * size, left2)
            if left3 > 0:
                s3 = s3 + load(like, row + 3 * lanes * size, left3)
            row += step
        store(out + j * size, s0, left0)
        store(out + (j + lanes) * size, s1, left1)
        store(out + (j + 2 * lanes) * size, s2, left2)
        store(out + (j + 3 * lanes) * size, s3, left3)


@inner
def column_dots(out: Any, dz: Any, xhat: Any, first: Any, last: Any, width: Any) -> None:
    """Write the sums over rows of ``dz xhat``, for columns `first` up to `last`."""
    for j in range(first, last):
        out[j] = dz.dtype.type(0.0)
    for start in range(0, len(dz), width):
        row, hat = dz[start : start + width], xhat[start : start + width]
        for j in range(first, last):
            out[j] += row[j] * hat[j]
