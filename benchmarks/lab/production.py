"""The production kernels as the laboratory calls them: the one place that knows their arguments.

Each function here is compiled, works on arrays, and hands their addresses on.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnet.kernels import abi
from fastnet.kernels.cpu import activations, gemm, losses, norm, optimizers, random
from fastnet.kernels.cpu.elementary import exp, log1p, tanh
from fastnet.kernels.cpu.lanes import load, store
from fastnet.kernels.cpu.row_lanes import from_block, to_block
from fastnet.kernels.cpu.vectors import lanes_of

# Of NumPy's types: Numba compiles a function anew for every literal argument.
_ZERO, _ONE = np.int64(0), np.int64(1)
_ADAM = np.int64(abi.ADAM)
_NEVER = np.int64(2**62)
_TRUE = np.bool_(True)


def tiles_forward(c: Any, a: Any, b: Any, bias: Any, room: Any) -> None:
    """Write ``relu(a b + bias)`` to c: inputs (B, I), weights (I, O), bias (O,)."""
    (m, k), n = a.shape, b.shape[1]
    gemm.gemm(
        bias[:1], c.ctypes.data, n, a.ctypes.data, k, _ONE, b.ctypes.data, n, m, n, k,
        bias.ctypes.data, _ONE, _ZERO,
    )  # fmt: skip


def product_forward(c: Any, a: Any, b: Any, bias: Any, room: Any) -> None:
    """Write the same, narrow parts by dot products; `room` is for turned weights."""
    (m, k), n = a.shape, b.shape[1]
    wide = n - gemm.narrow_part(bias[:1], n, k, _TRUE)
    gemm.product(
        bias[:1], c.ctypes.data, n, a.ctypes.data, k, b.ctypes.data, n, m, n, k, wide,
        bias.ctypes.data, _ONE, (room.ctypes.data, len(room), _NEVER, _ZERO, _ZERO),
    )  # fmt: skip


def tiles_weights(c: Any, a: Any, b: Any, room: Any) -> None:
    """Write ``a' b`` to c: inputs (B, I), gradients (B, O)."""
    (k, m), n = a.shape, b.shape[1]
    gemm.gemm(
        room[:1], c.ctypes.data, n, a.ctypes.data, _ONE, m, b.ctypes.data, n, m, n, k,
        _ZERO, _ZERO, _ZERO,
    )  # fmt: skip


def product_weights(c: Any, a: Any, b: Any, room: Any) -> None:
    """Write the same, narrow parts as the transpose of the transposed product, made in `room`."""
    (k, m), n = a.shape, b.shape[1]
    gemm.product_of_transposed(
        room[:1], c.ctypes.data, n, a.ctypes.data, m, b.ctypes.data, n, m, n, k,
        (room.ctypes.data, len(room), _NEVER, _ZERO, _ZERO),
    )  # fmt: skip


def product_inputs(c: Any, a: Any, b: Any, turned: Any) -> None:
    """Write ``a b'`` to c: gradients (B, O), weights (I, O); `turned` is room for the weights."""
    (m, k), n = a.shape, b.shape[0]
    gemm.product_with_transposed(
        turned[:1], c.ctypes.data, n, a.ctypes.data, k, b.ctypes.data, k, m, n, k, _ZERO,
        (turned.ctypes.data, len(turned), _NEVER, _ZERO, _ZERO),
    )  # fmt: skip


def transpose(out: Any, a: Any, like: Any) -> None:
    """Write a' to out."""
    rows, columns = a.shape
    gemm.transpose(like, out.ctypes.data, rows, a.ctypes.data, columns, rows, columns)


def exp_of(y: Any, x: Any) -> None:
    """Write ``exp(x)``."""
    lanes, size = lanes_of(x), x.itemsize
    for i in range(0, len(x), lanes):
        left = len(x) - i
        store(y.ctypes.data + i * size, exp(load(x, x.ctypes.data + i * size, left)), left)


def tanh_of(y: Any, x: Any) -> None:
    """Write ``tanh(x)``."""
    lanes, size = lanes_of(x), x.itemsize
    for i in range(0, len(x), lanes):
        left = len(x) - i
        store(y.ctypes.data + i * size, tanh(load(x, x.ctypes.data + i * size, left)), left)


def log1p_of(y: Any, x: Any) -> None:
    """Write ``log(1 + x)``."""
    lanes, size = lanes_of(x), x.itemsize
    for i in range(0, len(x), lanes):
        left = len(x) - i
        store(y.ctypes.data + i * size, log1p(load(x, x.ctypes.data + i * size, left)), left)


def cross_entropy(d: Any, y: Any, loss: Any, z: Any, labels: Any) -> None:
    """Write softmax, loss and gradient of rows (B, O)."""
    rows, width = z.shape
    like, size = z.reshape(-1)[:1], z.itemsize
    lanes = lanes_of(like)
    room = np.empty((4 * width + 1) * lanes, z.dtype)
    step = width * lanes * size
    yb, zb = room.ctypes.data, room.ctypes.data + step
    db, tb, lane = zb + step, zb + 2 * step, zb + 3 * step
    by_lane = room[4 * width * lanes :]
    activations.softmax_rows(like, y.ctypes.data, z.ctypes.data, width, rows, yb)
    for start in range(0, rows, lanes):
        count, offset = min(lanes, rows - start), start * width * size
        to_block(like, yb, y.ctypes.data + offset, width, count)
        to_block(like, zb, z.ctypes.data + offset, width, count)
        for i in range(count):
            by_lane[i] = labels[start + i]
        losses.one_hot(like, tb, load(like, lane, count), width)
        found, _ = losses.cross_entropy(like, db, yb, zb, tb, width, 0.0)
        from_block(like, d.ctypes.data + offset, db, width, count)
        store(loss.ctypes.data + start * size, found, count)


def column_sums(out: Any, a: Any) -> None:
    """Write the sums over rows of a (B, O)."""
    rows, width = a.shape
    norm.column_sums(out, out.ctypes.data, a.ctypes.data, _ZERO, width, width, rows)


def adam(w: Any, m: Any, v: Any, g: Any, constants: Any, coefficients: Any) -> None:
    """Take one step of Adam."""
    optimizers.update(
        w, w.ctypes.data, g.ctypes.data, m.ctypes.data, v.ctypes.data, _ZERO, len(w), _ADAM,
        constants, coefficients, 1.0, True,
    )  # fmt: skip


def order(out: Any, seed: Any, epoch: Any) -> None:
    """Write the order of an epoch."""
    random.permutation(out, seed, epoch)
