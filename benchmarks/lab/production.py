"""The production kernels as the laboratory calls them: the one place that knows their arguments.

Each function here is compiled, works on arrays, and hands their addresses on.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnet.kernels import abi
from fastnet.kernels.cpu import activations, gemm, losses, norm, optimizers, random
from fastnet.kernels.cpu.elementary import exp, log1p, tanh

# Of NumPy's types: Numba compiles a function anew for every literal argument.
_ZERO, _ONE = np.int64(0), np.int64(1)
_ADAM = np.int64(abi.ADAM)


def product_forward(c: Any, a: Any, b: Any, bias: Any) -> None:
    """Write ``relu(a b + bias)`` to c: inputs (B, I), weights (I, O), bias (O,)."""
    (m, k), n = a.shape, b.shape[1]
    gemm.gemm(
        bias[:1], c.ctypes.data, n, a.ctypes.data, k, _ONE, b.ctypes.data, n, m, n, k,
        bias.ctypes.data, _ONE,
    )  # fmt: skip


def product_weights(c: Any, a: Any, b: Any, like: Any) -> None:
    """Write ``a' b`` to c: inputs (B, I), gradients (B, O)."""
    (k, m), n = a.shape, b.shape[1]
    gemm.gemm(
        like, c.ctypes.data, n, a.ctypes.data, _ONE, m, b.ctypes.data, n, m, n, k, _ZERO, _ZERO
    )


def product_inputs(c: Any, a: Any, b: Any, turned: Any) -> None:
    """Write ``a b'`` to c: gradients (B, O), weights (I, O); `turned` is room for the weights."""
    (m, k), n = a.shape, b.shape[0]
    like = turned[:1]
    gemm.transpose(like, turned.ctypes.data, b.ctypes.data, n, k)
    gemm.gemm(
        like, c.ctypes.data, n, a.ctypes.data, k, _ONE, turned.ctypes.data, n, m, n, k,
        _ZERO, _ZERO,
    )  # fmt: skip


def transpose(out: Any, a: Any, like: Any) -> None:
    """Write a' to out."""
    gemm.transpose(like, out.ctypes.data, a.ctypes.data, a.shape[0], a.shape[1])


def exp_of(y: Any, x: Any) -> None:
    """Write ``exp(x)``."""
    for i in range(len(x)):
        y[i] = exp(x[i])


def tanh_of(y: Any, x: Any) -> None:
    """Write ``tanh(x)``."""
    for i in range(len(x)):
        y[i] = tanh(x[i])


def log1p_of(y: Any, x: Any) -> None:
    """Write ``log(1 + x)``."""
    for i in range(len(x)):
        y[i] = log1p(x[i])


def cross_entropy(d: Any, y: Any, loss: Any, z: Any, labels: Any) -> None:
    """Write softmax, loss and gradient of rows (B, O)."""
    width = z.shape[1]
    activations.softmax_rows(y.reshape(-1), z.reshape(-1), width)
    for i in range(len(z)):
        loss[i], _ = losses.cross_entropy_row(d[i], y[i], z[i], z[i], labels[i], 0.0)


def column_sums(out: Any, a: Any) -> None:
    """Write the sums over rows of a (B, O)."""
    norm.column_sums(out, a.reshape(-1), _ZERO, len(out), len(out))


def adam(w: Any, m: Any, v: Any, g: Any, constants: Any, coefficients: Any) -> None:
    """Take one step of Adam."""
    optimizers.update(w, g, m, v, _ADAM, constants, coefficients, 1.0, True)


def order(out: Any, seed: Any, epoch: Any) -> None:
    """Write the order of an epoch."""
    random.permutation(out, seed, epoch)
