"""Activations by code, by the formulas of the rows in ``fastnet/nn/activations.py``.

They work on flat arrays, given by address, so on any range of rows. Softmax is not elementwise and
works on blocks with a row in each lane.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnet.kernels import abi
from fastnet.kernels.cpu.elementary import density, exp, expm1, log1p, mills, tanh
from fastnet.kernels.cpu.jit import inner
from fastnet.kernels.cpu.lanes import absolute, load, select, splat, store
from fastnet.kernels.cpu.row_lanes import from_block, get, put, to_block
from fastnet.kernels.cpu.vectors import lanes_of

_IDENTITY, _RELU, _LEAKY_RELU, _ELU = abi.IDENTITY, abi.RELU, abi.LEAKY_RELU, abi.ELU
_SELU, _SILU, _MISH = abi.SELU, abi.SILU, abi.MISH
_GELU, _GELU_TANH = abi.GELU, abi.GELU_TANH
_TANH, _SIGMOID, _SOFTPLUS, _EXP = abi.TANH, abi.SIGMOID, abi.SOFTPLUS, abi.EXP
_SLOPE = abi.LEAKY_SLOPE
_LAMBDA, _LAMBDA_ALPHA = abi.SELU_LAMBDA, abi.SELU_LAMBDA * abi.SELU_ALPHA
_SCALE, _CUBIC, _FLAT = abi.GELU_SCALE, abi.GELU_CUBIC, abi.GELU_FLAT
_NORMAL_FLAT = abi.NORMAL_FLAT

# Of NumPy's types: Numba compiles a function anew for every literal argument.
_ZERO = np.int64(0)


@inner
def sigmoid(z: Any, zero: Any, one: Any) -> Any:
    """Return ``1 / (1 + exp(-z))``; the exponential's argument is never positive."""
    e = exp(zero - absolute(z))
    return select(z >= zero, one, e) / (one + e)


@inner
def softplus(z: Any, zero: Any) -> Any:
    """Return ``log(1 + exp(z))``."""
    above = select(z > zero, z, zero) + log1p(exp(zero - absolute(z)))
    return select(z == z, above, z)


@inner
def mish_parts(z: Any, zero: Any, one: Any) -> Any:
    """Return ``e = exp(-|z|)``, n and r with ``tanh(log(1 + exp(z))) = n r``.

    With u = exp(z) it is u (u + 2) / (u (u + 2) + 2), scaled so that nothing overflows.
    """
    e = exp(zero - absolute(z))
    square = e * e
    n = e + e + select(z >= zero, one, square)
    rest = select(z >= zero, square, one)
    return e, n, one / (n + rest + rest)


@inner
def distance(z: Any, flat: Any) -> Any:
    """Return ``|z|``, no farther out than where the normal density is 0."""
    t = absolute(z)
    return select(t > flat, flat, t)


@inner
def value_of(like: Any, z: Any, code: Any) -> Any:
    """Return ``f(z)`` of a vector, for every activation except softmax."""
    real = like.dtype.type
    zero, half, one = real(0.0), real(0.5), real(1.0)
    if code == _RELU:
        return select(z < zero, zero, z)
    if code == _LEAKY_RELU:
        return select(z < zero, real(_SLOPE) * z, z)
    if code == _ELU:
        return select(z < zero, expm1(z), z)
    if code == _SELU:
        return select(z < zero, real(_LAMBDA_ALPHA) * expm1(z), real(_LAMBDA) * z)
    if code == _GELU:
        # max(z, 0) - |z| Phi(-|z|)
        t = distance(z, real(_NORMAL_FLAT))
        return select(z < zero, zero, z) - t * mills(t) * density(t)
    if code == _GELU_TANH:
        inside = real(_SCALE) * z * (one + real(_CUBIC) * z * z)
        return half * z * (one + tanh(inside))
    if code == _SILU:
        return z * sigmoid(z, zero, one)
    if code == _MISH:
        _, n, r = mish_parts(z, zero, one)
        return z * n * r
    if code == _TANH:
        return tanh(z)
    if code == _SIGMOID:
        return sigmoid(z, zero, one)
    if code == _SOFTPLUS:
        return softplus(z, zero)
    if code == _EXP:
        return exp(z)
    return z


@inner
def slope_of(like: Any, y: Any, z: Any, code: Any) -> Any:
    """Return ``f'(z)`` of a vector, for every activation except softmax."""
    real = like.dtype.type
    zero, half, one = real(0.0), real(0.5), real(1.0)
    if code == _RELU:
        return select(y > zero, one, zero)
    if code == _LEAKY_RELU:
        return select(y > zero, one, real(_SLOPE))
    if code == _ELU:
        return select(y > zero, one, y + one)
    if code == _SELU:
        return select(y > zero, real(_LAMBDA), y + real(_LAMBDA_ALPHA))
    if code == _GELU:
        # Phi(z) + z phi(z) of z = -t, and 1 minus that for z = t
        t = distance(z, real(_NORMAL_FLAT))
        below = density(t) * (mills(t) - t)
        return select(z > zero, one - below, below)
    if code == _GELU_TANH:
        scale, cubic, flat = real(_SCALE), real(_CUBIC), real(_FLAT)
        u = select(z > flat, flat, select(z < -flat, -flat, z))
        h = tanh(scale * u * (one + cubic * u * u))
        inside = one + u * (one - h) * scale * (one + real(3.0 * _CUBIC) * u * u)
        return half * (one + h) * inside
    if code == _SILU:
        s = sigmoid(z, zero, one)
        return s * (one + z * (one - s))
    if code == _MISH:
        # h + z sigma (1 - h^2), with h = n r
        e, n, r = mish_parts(z, zero, one)
        return (n + real(4.0) * z * select(z >= zero, e, one) * e * (one + e) * r) * r
    if code == _TANH:
        return one - y * y
    if code == _SIGMOID:
        return y * (one - y)
    if code == _SOFTPLUS:
        return zero - expm1(zero - y)
    return y  # exp


@inner
def activation_forward(like: Any, y: Any, z: Any, code: Any, count: Any) -> None:
    """Write ``y = f(z)``, except for softmax; y may be z where the derivative needs only y."""
    size, lanes = like.itemsize, lanes_of(like)
    for i in range(0, count, lanes):
        offset, left = i * size, count - i
        store(y + offset, value_of(like, load(like, z + offset, left), code), left)


@inner
def activation_backward(like: Any, d: Any, y: Any, z: Any, code: Any, count: Any) -> None:
    """Multiply the gradient d, with respect to y, by ``f'(z)`` in place, except for softmax."""
    size, lanes = like.itemsize, lanes_of(like)
    real = like.dtype.type
    if code == _IDENTITY:
        return
    for i in range(0, count, lanes):
        offset, left = i * size, count - i
        di, yi = load(like, d + offset, left), load(like, y + offset, left)
        if code == _RELU:
            # Not a product: 0 times infinity is not 0.
            di = select(yi > real(0.0), di, real(0.0))
        else:
            di = di * slope_of(like, yi, load(like, z + offset, left), code)
        store(d + offset, di, left)


@inner
def softmax_block(like: Any, block: Any, width: Any) -> None:
    """Write ``exp(z) / sum(exp(z))`` of each lane over z."""
    real = like.dtype.type
    top, total = get(like, block, _ZERO), splat(real(0.0))
    for j in range(1, width):
        row = get(like, block, j)
        top = select(row > top, row, top)
    for j in range(width):
        e = exp(get(like, block, j) - top)
        put(like, block, j, e)
        total = total + e
    share = real(1.0) / total
    for j in range(width):
        put(like, block, j, get(like, block, j) * share)


@inner
def softmax_rows(like: Any, y: Any, z: Any, width: Any, count: Any, block: Any) -> None:
    """Write the softmax of `count` rows; y may be z; `block` is scratch memory."""
    size, lanes = like.itemsize, lanes_of(like)
    for start in range(0, count, lanes):
        rows, offset = min(lanes, count - start), start * width * size
        to_block(like, block, z + offset, width, rows)
        softmax_block(like, block, width)
        from_block(like, y + offset, block, width, rows)


@inner
def softmax_backward_block(like: Any, d: Any, y: Any, width: Any) -> None:
    """Write ``y (d - sum(d y))`` of each lane over d."""
    mean = splat(like.dtype.type(0.0))
    for j in range(width):
        mean = mean + get(like, d, j) * get(like, y, j)
    for j in range(width):
        put(like, d, j, (get(like, d, j) - mean) * get(like, y, j))


@inner
def softmax_backward_rows(like: Any, d: Any, y: Any, width: Any, count: Any, blocks: Any) -> None:
    """Write ``y (d - sum(d y))`` of each row to d; `blocks` is scratch memory for two."""
    size, lanes = like.itemsize, lanes_of(like)
    db, yb = blocks, blocks + width * lanes * size
    for start in range(0, count, lanes):
        rows, offset = min(lanes, count - start), start * width * size
        to_block(like, db, d + offset, width, rows)
        to_block(like, yb, y + offset, width, rows)
        softmax_backward_block(like, db, yb, width)
        from_block(like, d + offset, db, width, rows)
