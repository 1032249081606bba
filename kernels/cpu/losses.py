"""Losses by code: loss, score and gradient, by the formulas of ``fastnet/nn/losses.py``.

All functions work on blocks with one row of the batch in each lane (see `row_lanes`): `d` (written:
the gradient), `y`, `z` and `t` (the targets) are addresses of ``(width, lanes)``. They return loss
and score, a lane for each row.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastnet.kernels import abi
from fastnet.kernels.cpu.elementary import exp, log, log1p
from fastnet.kernels.cpu.jit import inner
from fastnet.kernels.cpu.lanes import absolute, select, splat
from fastnet.kernels.cpu.row_lanes import get, put

_CROSS_ENTROPY, _BINARY_CROSS_ENTROPY = abi.CROSS_ENTROPY, abi.BINARY_CROSS_ENTROPY
_MSE, _MAE, _HUBER = abi.MSE, abi.MAE, abi.HUBER
_GAUSSIAN_NLL, _QUANTILE = abi.GAUSSIAN_NLL, abi.QUANTILE
_LOG_VARIANCE_FLOOR = math.log(1e-6)
_LOG_TWO_PI = math.log(2.0 * math.pi)

# Of NumPy's types: Numba compiles a function anew for every literal argument.
_ZERO = np.int64(0)


@inner
def one_hot(like: Any, t: Any, label: Any, width: Any) -> None:
    """Write the one-hot targets of a lane of labels, which are numbers of the network's dtype."""
    real = like.dtype.type
    for j in range(width):
        put(like, t, j, select(label == real(j), real(1.0), real(0.0)))


@inner
def first_largest(like: Any, block: Any, width: Any) -> Any:
    """Return the place of each lane's largest element (the first of equals), and the element."""
    real = like.dtype.type
    place, value = splat(real(0.0)), get(like, block, _ZERO)
    for j in range(1, width):
        row = get(like, block, j)
        larger = row > value
        place, value = select(larger, real(j), place), select(larger, row, value)
    return place, value


@inner
def cross_entropy(like: Any, d: Any, y: Any, z: Any, t: Any, width: Any, smoothing: Any) -> Any:
    """Compute the cross-entropy of softmax outputs; the gradient is with respect to z."""
    real = like.dtype.type
    zero, one = real(0.0), real(1.0)
    keep, share = real(1.0 - smoothing), real(smoothing / width)
    best, largest = first_largest(like, y, width)
    truth, _ = first_largest(like, t, width)
    _, top = first_largest(like, z, width)
    # With u = z - max(z): loss = log(sum(exp(u))) - sum(t u), for targets that sum to one; and
    # sum(exp(u)) is 1 / max(y).
    expected = splat(zero)
    for j in range(width):
        target = keep * get(like, t, j) + share
        put(like, d, j, get(like, y, j) - target)
        # A class whose target is 0 costs nothing, even where its z is minus infinity.
        u = get(like, z, j) - top
        expected = expected + select(target != zero, target * u, zero)
    return zero - log(largest) - expected, select(best == truth, one, zero)


@inner
def binary_cross_entropy(
    like: Any, d: Any, y: Any, z: Any, t: Any, width: Any, smoothing: Any
) -> Any:
    """Compute the cross-entropy of sigmoid outputs; the gradient is with respect to z."""
    real = like.dtype.type
    zero, half, one = real(0.0), real(0.5), real(1.0)
    scale = one / real(width)
    keep, share = real(1.0 - smoothing), real(0.5 * smoothing)
    loss, score = splat(zero), splat(zero)
    for j in range(width):
        u, truth = get(like, z, j), get(like, t, j)
        target = keep * truth + share
        put(like, d, j, (get(like, y, j) - target) * scale)
        term = select(u > zero, u, zero) - u * target + log1p(exp(zero - absolute(u)))
        loss = loss + scale * select(u == u, term, u)
        wrong = (u > zero) ^ (truth > half)
        score = score + select(wrong, zero, scale)
    return loss, score


@inner
def quantile(like: Any, d: Any, y: Any, t: Any, width: Any, targets: Any, levels: Any) -> Any:
    """Compute the pinball loss; outputs are each target's first quantile, then each second, ..."""
    real = like.dtype.type
    zero, one = real(0.0), real(1.0)
    scale = one / real(width)
    loss = splat(zero)
    for j in range(width):
        q = real(levels[j // targets])
        e = get(like, t, j % targets) - get(like, y, j)
        slope = select(e > zero, q, select(e < zero, q - one, zero))
        loss = loss + scale * select(e == e, e * slope, e)
        put(like, d, j, (zero - slope) * scale)
    return loss, splat(zero)


@inner
def gaussian_nll(like: Any, d: Any, y: Any, t: Any, targets: Any) -> Any:
    """Compute the Gaussian NLL; outputs are the targets' means, then their log variances."""
    real = like.dtype.type
    zero, half, one = real(0.0), real(0.5), real(1.0)
    floor, constant = real(_LOG_VARIANCE_FLOOR), real(_LOG_TWO_PI)
    scale = one / real(targets)
    loss = splat(zero)
    for j in range(targets):
        log_variance = get(like, y, targets + j)
        log_variance = select(log_variance < floor, floor, log_variance)
        precision = exp(zero - log_variance)
        e = get(like, y, j) - get(like, t, j)
        square = e * e * precision
        loss = loss + scale * half * (constant + log_variance + square)
        put(like, d, j, e * precision * scale)
        put(like, d, targets + j, half * (one - square) * scale)
    return loss, square_error(like, y, t, targets)


@inner
def regression(
    like: Any, d: Any, y: Any, z: Any, t: Any, width: Any, code: Any, constant: Any
) -> Any:
    """Compute MSE, MAE, Huber or Poisson; the gradient of Poisson is with respect to z."""
    real = like.dtype.type
    zero, half, one, two = real(0.0), real(0.5), real(1.0), real(2.0)
    scale, delta = one / real(width), real(constant)
    loss = splat(zero)
    for j in range(width):
        yj, tj = get(like, y, j), get(like, t, j)
        e = yj - tj
        if code == _MSE:
            term, slope = e * e, two * e
        elif code == _MAE:
            term, slope = absolute(e), select(e > zero, one, select(e < zero, -one, e))
        elif code == _HUBER:
            clipped = select(e > delta, delta, select(e < -delta, -delta, e))
            term, slope = clipped * (e - half * clipped), clipped
        else:  # Poisson
            term, slope = yj - tj * get(like, z, j), e
        loss = loss + scale * term
        put(like, d, j, scale * slope)
    return loss, square_error(like, y, t, width)


@inner
def square_error(like: Any, y: Any, t: Any, targets: Any) -> Any:
    """Return the mean over targets of ``(y - t)^2``, the score of a regression."""
    real = like.dtype.type
    total = splat(real(0.0))
    for j in range(targets):
        e = get(like, y, j) - get(like, t, j)
        total = total + e * e
    return total * (real(1.0) / real(targets))


@inner
def loss_block(
    like: Any,
    d: Any,
    y: Any,
    z: Any,
    t: Any,
    width: Any,
    targets: Any,
    code: Any,
    constants: Any,
) -> Any:
    """Compute the loss of this code; the gradient is with respect to z if fused, else to y."""
    if code == _CROSS_ENTROPY:
        return cross_entropy(like, d, y, z, t, width, constants[0])
    if code == _BINARY_CROSS_ENTROPY:
        return binary_cross_entropy(like, d, y, z, t, width, constants[0])
    if code == _QUANTILE:
        return quantile(like, d, y, t, width, targets, constants)
    if code == _GAUSSIAN_NLL:
        return gaussian_nll(like, d, y, t, targets)
    return regression(like, d, y, z, t, width, code, constants[0] if code == _HUBER else 0.0)
