"""Activations, by code: twins of the rows in ``fastnet/activations.py``.

They work on flat arrays: any range of rows. Softmax needs the width too.
"""

from __future__ import annotations

from typing import Any

from fastnet.kernels import abi
from fastnet.kernels.cpu.elementary import exp, expm1, log1p, tanh
from fastnet.kernels.cpu.jit import inner
from fastnet.kernels.cpu.sums import dot, total

_IDENTITY, _RELU, _LEAKY_RELU, _ELU = abi.IDENTITY, abi.RELU, abi.LEAKY_RELU, abi.ELU
_SELU, _GELU, _SILU, _MISH = abi.SELU, abi.GELU, abi.SILU, abi.MISH
_TANH, _SIGMOID, _SOFTPLUS, _EXP = abi.TANH, abi.SIGMOID, abi.SOFTPLUS, abi.EXP
_SLOPE = abi.LEAKY_SLOPE
_LAMBDA, _LAMBDA_ALPHA = abi.SELU_LAMBDA, abi.SELU_LAMBDA * abi.SELU_ALPHA
_SCALE, _CUBIC, _FLAT = abi.GELU_SCALE, abi.GELU_CUBIC, abi.GELU_FLAT


@inner
def sigmoid(z: Any, one: Any) -> Any:
    """Return ``1 / (1 + exp(-z))``; the exponential's argument is never positive."""
    e = exp(-abs(z))
    return (one if z >= 0 else e) / (one + e)


@inner
def softplus(z: Any, zero: Any) -> Any:
    """Return ``log(1 + exp(z))``."""
    return max(z, zero) + log1p(exp(-abs(z))) if z == z else z


@inner
def softmax_rows(y: Any, z: Any, width: Any) -> None:
    """Write ``exp(z) / sum(exp(z))`` of each row; y may be z."""
    for start in range(0, len(z), width):
        row, out = z[start : start + width], y[start : start + width]
        top = row[0]
        for j in range(width):
            # A NaN compares false with everything: taken over, it stays.
            if not row[j] <= top:
                top = row[j]
        for j in range(width):
            out[j] = exp(row[j] - top)
        share = y.dtype.type(1.0) / total(out)
        for j in range(width):
            out[j] *= share


@inner
def softmax_backward_rows(d: Any, y: Any, width: Any) -> None:
    """Write ``y (d - sum(d y))`` of each row to d."""
    for start in range(0, len(d), width):
        row, out = d[start : start + width], y[start : start + width]
        mean = dot(row, out)
        for j in range(width):
            row[j] = (row[j] - mean) * out[j]


@inner
def activation_forward(y: Any, z: Any, code: Any, width: Any) -> None:
    """Write ``y = f(z)``; y may be z where the derivative needs y alone."""
    real = y.dtype.type
    zero, half, one = real(0.0), real(0.5), real(1.0)
    count = len(y)
    if code == _IDENTITY:
        for i in range(count):
            y[i] = z[i]
    elif code == _RELU:
        for i in range(count):
            y[i] = zero if z[i] < zero else z[i]
    elif code == _LEAKY_RELU:
        slope = real(_SLOPE)
        for i in range(count):
            y[i] = slope * z[i] if z[i] < zero else z[i]
    elif code == _ELU:
        for i in range(count):
            y[i] = expm1(z[i]) if z[i] < zero else z[i]
    elif code == _SELU:
        outer, inner = real(_LAMBDA), real(_LAMBDA_ALPHA)
        for i in range(count):
            y[i] = inner * expm1(z[i]) if z[i] < zero else outer * z[i]
    elif code == _GELU:
        scale, cubic = real(_SCALE), real(_CUBIC)
        for i in range(count):
            u = z[i]
            y[i] = half * u * (one + tanh(scale * u * (one + cubic * u * u)))
    elif code == _SILU:
        for i in range(count):
            y[i] = z[i] * sigmoid(z[i], one)
    elif code == _MISH:
        for i in range(count):
            y[i] = z[i] * tanh(softplus(z[i], zero))
    elif code == _TANH:
        for i in range(count):
            y[i] = tanh(z[i])
    elif code == _SIGMOID:
        for i in range(count):
            y[i] = sigmoid(z[i], one)
    elif code == _SOFTPLUS:
        for i in range(count):
            y[i] = softplus(z[i], zero)
    elif code == _EXP:
        for i in range(count):
            y[i] = exp(z[i])
    else:
        softmax_rows(y, z, width)


@inner
def activation_backward(d: Any, y: Any, z: Any, code: Any, width: Any) -> None:
    """Multiply the gradient d, with respect to y, by ``f'(z)``, in place."""
    real = y.dtype.type
    zero, half, one = real(0.0), real(0.5), real(1.0)
    count = len(d)
    if code == _IDENTITY:
        return
    if code == _RELU:
        for i in range(count):
            d[i] = d[i] if y[i] > zero else zero
    elif code == _LEAKY_RELU:
        slope = real(_SLOPE)
        for i in range(count):
            d[i] = d[i] if y[i] > zero else slope * d[i]
    elif code == _ELU:
        for i in range(count):
            d[i] *= one if y[i] > zero else y[i] + one
    elif code == _SELU:
        outer, inner = real(_LAMBDA), real(_LAMBDA_ALPHA)
        for i in range(count):
            d[i] *= outer if y[i] > zero else y[i] + inner
    elif code == _GELU:
        scale, cubic = real(_SCALE), real(_CUBIC)
        three_cubic = real(3.0 * _CUBIC)
        flat = real(_FLAT)
        for i in range(count):
            u = flat if z[i] > flat else (-flat if z[i] < -flat else z[i])
            h = tanh(scale * u * (one + cubic * u * u))
            inner = one + u * (one - h) * scale * (one + three_cubic * u * u)
            d[i] *= half * (one + h) * inner
    elif code == _SILU:
        for i in range(count):
            s = sigmoid(z[i], one)
            d[i] *= s * (one + z[i] * (one - s))
    elif code == _MISH:
        for i in range(count):
            p = softplus(z[i], zero)
            h = tanh(p)
            d[i] *= h - z[i] * expm1(-p) * (one - h * h)
    elif code == _TANH:
        for i in range(count):
            d[i] *= one - y[i] * y[i]
    elif code == _SIGMOID:
        for i in range(count):
            d[i] *= y[i] * (one - y[i])
    elif code == _SOFTPLUS:
        for i in range(count):
            d[i] *= -expm1(-y[i])
    elif code == _EXP:
        for i in range(count):
            d[i] *= y[i]
    else:
        softmax_backward_rows(d, y, width)
