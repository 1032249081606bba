"""The loss head, by code: loss, score and gradient of each row; twins of ``fastnet/losses.py``."""

from __future__ import annotations

import math
from typing import Any

from fastnet.kernels import abi
from fastnet.kernels.cpu.elementary import exp, log1p
from fastnet.kernels.cpu.jit import inner

_CROSS_ENTROPY, _BINARY_CROSS_ENTROPY = abi.CROSS_ENTROPY, abi.BINARY_CROSS_ENTROPY
_MSE, _MAE, _HUBER, _POISSON = abi.MSE, abi.MAE, abi.HUBER, abi.POISSON
_GAUSSIAN_NLL, _QUANTILE = abi.GAUSSIAN_NLL, abi.QUANTILE
_LOG_VARIANCE_FLOOR = math.log(1e-6)
_LOG_TWO_PI = math.log(2.0 * math.pi)


@inner
def cross_entropy_row(d: Any, y: Any, z: Any, target: Any, label: Any, smoothing: Any) -> Any:
    """Return loss and score of one row; write the gradient with respect to z.

    `label` names the class; where it is negative, `target` holds the probabilities.
    """
    real = y.dtype.type
    width = len(z)
    keep, share = real(1.0 - smoothing), real(smoothing / width)
    best, truth = 0, label
    for j in range(width):
        if y[j] > y[best]:
            best = j
    # log(sum(exp(z))) is z[j] - log(y[j]) for every j; the largest y loses no digits.
    top = z[best]
    expected = real(0.0)  # sum of t (z - top)
    if label >= 0:
        for j in range(width):
            d[j] = y[j] - share
        d[label] -= keep
        if smoothing > 0:
            for j in range(width):
                expected += share * (z[j] - top)
        expected += keep * (z[label] - top)
    else:
        truth = 0
        for j in range(width):
            t = keep * target[j] + share
            d[j] = y[j] - t
            expected += t * (z[j] - top)
            if target[j] > target[truth]:
                truth = j
    return -math.log(y[best]) - expected, real(1.0 if best == truth else 0.0)


@inner
def loss_row(d: Any, y: Any, z: Any, target: Any, code: Any, constants: Any) -> Any:
    """Return loss and score of one row of any other loss; write the gradient.

    With respect to z for the fused losses (binary cross-entropy, Poisson), else to y.
    """
    real = y.dtype.type
    zero, half, one, two = real(0.0), real(0.5), real(1.0), real(2.0)
    width, targets = len(y), len(target)
    scale = one / real(width)
    loss, score = zero, zero
    if code == _BINARY_CROSS_ENTROPY:
        keep, share = real(1.0 - constants[0]), real(0.5 * constants[0])
        for j in range(width):
            t = keep * target[j] + share
            d[j] = (y[j] - t) * scale
            loss += max(z[j], zero) - z[j] * t + log1p(exp(-abs(z[j])))
            if z[j] != z[j]:
                loss = z[j]
            score += one if (z[j] > zero) == (target[j] > half) else zero
        return loss * scale, score * scale
    if code == _QUANTILE:
        for k in range(len(constants)):
            q = real(constants[k])
            for j in range(targets):
                e = target[j] - y[k * targets + j]
                slope = q if e > zero else (q - one if e < zero else zero)
                loss += e * slope if e == e else e
                d[k * targets + j] = -slope * scale
        return loss * scale, zero
    for j in range(targets):
        e = y[j] - target[j]
        score += e * e
    score /= real(targets)
    if code == _MSE:
        for j in range(width):
            e = y[j] - target[j]
            loss += e * e
            d[j] = two * e * scale
    elif code == _MAE:
        for j in range(width):
            e = y[j] - target[j]
            loss += abs(e)
            d[j] = scale if e > zero else (-scale if e < zero else e)
    elif code == _HUBER:
        delta = real(constants[0])
        for j in range(width):
            e = y[j] - target[j]
            clipped = delta if e > delta else (-delta if e < -delta else e)
            loss += clipped * (e - half * clipped)
            d[j] = clipped * scale
    elif code == _POISSON:
        for j in range(width):
            loss += y[j] - target[j] * z[j]
            d[j] = (y[j] - target[j]) * scale
    else:  # _GAUSSIAN_NLL
        floor, constant = real(_LOG_VARIANCE_FLOOR), real(_LOG_TWO_PI)
        scale = one / real(targets)
        for j in range(targets):
            log_variance = y[targets + j]
            if log_variance < floor:
                log_variance = floor
            precision = exp(-log_variance)
            e = y[j] - target[j]
            square = e * e * precision
            loss += half * (constant + log_variance + square)
            d[j] = e * precision * scale
            d[targets + j] = half * (one - square) * scale
    return loss * scale, score
