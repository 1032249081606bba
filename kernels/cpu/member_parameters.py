"""The parameters of tiny networks with one of them in each lane; see ``members``."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnet.kernels import abi
from fastnet.kernels.cpu.frame import doubles, vector
from fastnet.kernels.cpu.jit import inner, specialised
from fastnet.kernels.cpu.lanes import load, multiply_add, select, splat
from fastnet.kernels.cpu.member_rows import member_of, row_bytes
from fastnet.kernels.cpu.optimizers import new_weight
from fastnet.kernels.cpu.row_lanes import get, put
from fastnet.kernels.cpu.vectors import lanes_of

_COEFFICIENTS, _CONSTANTS = abi.COEFFICIENTS, abi.CONSTANTS
_RATE, _SCALE, _RATE_GRADIENT, _DECAY = abi.RATE, abi.SCALE, abi.RATE_GRADIENT, abi.DECAY
_BETA1, _BETA2, _EPSILON = abi.BETA1, abi.BETA2, abi.EPSILON
_MOMENTUM, _NESTEROV, _L1, _L2 = abi.MOMENTUM, abi.NESTEROV, abi.L1, abi.L2

# Of NumPy's types: Numba compiles a function anew for every literal argument.
_ZERO, _TRUE, _FALSE = np.int64(0), np.bool_(True), np.bool_(False)
_ADAM_CODE, _SGD_CODE = np.int64(abi.ADAM), np.int64(abi.SGD)

NUMBERS = 12  # vectors that `new_weight` takes


# --- gradients ------------------------------------------------------------------------------------


@inner
def parameter_gradients(
    like: Any, ops: Any, frame: Any, count: Any, rows: Any, gradients: Any
) -> None:
    """Compute the gradients of all parameters from the activations and gradients of the rows."""
    vector_bytes, of_row = lanes_of(like) * like.itemsize, row_bytes(like, frame)
    deltas = rows + (frame.inputs + frame.width) * vector_bytes
    for k in range(len(ops)):
        op = ops[k]
        x = rows + (0 if op.x < 0 else frame.inputs + op.x) * vector_bytes
        for j in range(op.outputs):
            d = deltas + (op.y + j) * vector_bytes
            put(like, gradients, op.bias + j, tree(like, x, d, of_row, count, _FALSE))
            for i in range(op.inputs):
                total = tree(like, x + i * vector_bytes, d, of_row, count, _TRUE)
                put(like, gradients, op.weight + i * op.outputs + j, total)


@inner
def tree(like: Any, x: Any, d: Any, of_row: Any, count: Any, products: Any) -> Any:
    """Return the sum over rows of d, or with `products` set of ``x d``, in the order of `add_up`.

    There rows `lanes` apart are in the same lane. Plus zero, as in ``tiny``.
    """
    lanes = lanes_of(like)
    if lanes == 2:
        total = leaf(like, x, d, of_row, 0, count, products) + leaf(
            like, x, d, of_row, 1, count, products
        )
    else:
        total = quad(like, x, d, of_row, 0, count, products)
    if lanes > 4 and count > 4:
        total = total + quad(like, x, d, of_row, 4, count, products)
    if lanes > 8 and count > 8:
        total = total + (
            quad(like, x, d, of_row, 8, count, products)
            + quad(like, x, d, of_row, 12, count, products)
        )
    return total + like.dtype.type(0.0)


@specialised
def quad(like: Any, x: Any, d: Any, of_row: Any, r: Any, count: Any, products: Any) -> Any:
    """Return the sum of four leaves of the tree, from the one of row r on."""
    low = leaf(like, x, d, of_row, r, count, products) + leaf(
        like, x, d, of_row, r + 1, count, products
    )
    high = leaf(like, x, d, of_row, r + 2, count, products) + leaf(
        like, x, d, of_row, r + 3, count, products
    )
    return low + high


@specialised
def leaf(like: Any, x: Any, d: Any, of_row: Any, r: Any, count: Any, products: Any) -> Any:
    """Return the sum over rows r, r + lanes, ..."""
    lanes, total = lanes_of(like), splat(like.dtype.type(0.0))
    for q in range(r, count, lanes):
        dq = load(like, d + q * of_row, lanes)
        if products:
            total = multiply_add(load(like, x + q * of_row, lanes), dq, total)
        else:
            total = total + dq
    return total


# --- the update -----------------------------------------------------------------------------------


@inner
def fill_constants(like: Any, frames: Any, numbers: Any) -> None:
    """Write the numbers of `new_weight` that stay the same in all steps."""
    lanes, real = lanes_of(like), like.dtype.type
    out = vector(like, numbers, NUMBERS * lanes)
    for lane in range(lanes):
        constants = doubles(member_of(frames, lane).constants, _CONSTANTS)
        beta1, beta2 = constants[_BETA1], constants[_BETA2]
        out[4 * lanes + lane], out[5 * lanes + lane] = real(constants[_L1]), real(constants[_L2])
        out[6 * lanes + lane], out[7 * lanes + lane] = real(beta1), real(beta2)
        out[8 * lanes + lane], out[9 * lanes + lane] = real(1.0 - beta1), real(1.0 - beta2)
        out[10 * lanes + lane] = real(constants[_EPSILON])
        out[11 * lanes + lane] = real(constants[_MOMENTUM])


@inner
def fill_coefficients(like: Any, frames: Any, step: Any, numbers: Any) -> None:
    """Write the numbers of `new_weight` that differ from step to step."""
    lanes, real = lanes_of(like), like.dtype.type
    out = vector(like, numbers, 4 * lanes)
    for lane in range(lanes):
        address = member_of(frames, lane).coefficients + step * _COEFFICIENTS * 8
        c = doubles(address, _COEFFICIENTS)
        out[lane], out[lanes + lane] = real(c[_RATE]), real(c[_SCALE])
        out[2 * lanes + lane] = real(c[_RATE_GRADIENT])
        out[3 * lanes + lane] = real(1.0 - c[_DECAY])


@inner
def update(like: Any, frame: Any, w: Any, m: Any, g: Any, numbers: Any) -> None:
    """Update the parameters of all lanes."""
    code = frame.optimizer
    for part in range(2):
        first, last = (frame.n_weights, frame.size) if part else (_ZERO, frame.n_weights)
        if code == _ADAM_CODE:
            update_range(like, frame, w, m, g, numbers, first, last, _ADAM_CODE)
        elif code == _SGD_CODE:
            update_range(like, frame, w, m, g, numbers, first, last, _SGD_CODE)
        else:
            update_range(like, frame, w, m, g, numbers, first, last, code)


@specialised
def update_range(
    like: Any,
    frame: Any,
    w: Any,
    m: Any,
    g: Any,
    numbers: Any,
    first: Any,
    last: Any,
    code: Any,
) -> None:
    """Update the parameters `first` up to `last`, which are all weights or all not."""
    lanes, real = lanes_of(like), like.dtype.type
    vector_bytes, zero = lanes * like.itemsize, real(0.0)
    decayed = first < frame.n_weights
    l1, l2 = get(like, numbers, 4), get(like, numbers, 5)
    keep = get(like, numbers, 3) if decayed else splat(real(1.0))
    of_step = (
        get(like, numbers, 0), get(like, numbers, 1), get(like, numbers, 2), keep, l1, l2,
        get(like, numbers, 6), get(like, numbers, 7), get(like, numbers, 8),
        get(like, numbers, 9), get(like, numbers, 10), get(like, numbers, 11),
    )  # fmt: skip
    constants = doubles(frame.constants, _CONSTANTS)
    nesterov = constants[_NESTEROV] != 0
    penalised = decayed and (real(constants[_L1]) != zero or real(constants[_L2]) != zero)
    for p in range(first, last):
        wi, mp = get(like, w, p), m + p * vector_bytes
        moved = new_weight(
            like, wi, get(like, g, p), mp, mp + frame.size * vector_bytes, lanes, code, of_step,
            penalised, nesterov,
        )  # fmt: skip
        if frame.rates != 0:
            rate = splat(vector(like, frame.rates, last)[p])
            moved = select(rate == zero, wi, wi + rate * (moved - wi))
        put(like, w, p, moved)
