"""Activations of an ONNX graph, composed of operators that runtimes have in float32 and in float64.

Most of those that ONNX has as one operator are missing in float64.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from fastnet.export.onnx.graph import Graph
from fastnet.kernels import abi


def _leaky_relu(g: Graph, z: str) -> str:
    return g.op("Max", z, g.op("Mul", z, abi.LEAKY_SLOPE))


def _elu(g: Graph, z: str) -> str:
    below = g.op("Sub", g.op("Exp", g.op("Min", z, 0.0)), 1.0)
    return g.op("Add", g.op("Relu", z), below)


def _selu(g: Graph, z: str) -> str:
    below = g.op("Sub", g.op("Exp", g.op("Min", z, 0.0)), 1.0)
    below = g.op("Mul", below, abi.SELU_LAMBDA * abi.SELU_ALPHA)
    return g.op("Add", g.op("Mul", g.op("Relu", z), abi.SELU_LAMBDA), below)


def _gelu(g: Graph, z: str) -> str:
    """Add ``max(z, 0) - t phi(t) m(t)`` of ``t = |z|``, as in `fastnet.nn.activations`.

    ONNX Runtime has Erf and Gelu in single precision only, and ``1 + erf(z)`` loses the digits of
    small values.
    """
    t = g.op("Min", g.op("Abs", z), abi.NORMAL_FLAT)
    below = g.op("Add", t, abi.MILLS_SHIFT)
    q = g.op("Div", g.op("Sub", t, abi.MILLS_SHIFT), below)
    *rest, last = abi.MILLS32 if g.dtype == np.float32 else abi.MILLS64
    mills = g.op("Mul", q, last)
    for coefficient in rest[:0:-1]:
        mills = g.op("Mul", q, g.op("Add", mills, coefficient))
    mills = g.op("Div", g.op("Add", mills, rest[0]), below)
    # t^2 in two parts, of which the first is exact: the exponential multiplies what is rounded.
    h = g.op("Div", g.op("Round", g.op("Mul", t, 16.0)), 16.0)
    small = g.op("Mul", g.op("Sub", h, t), g.op("Add", h, t))
    small = g.op("Exp", g.op("Mul", small, 0.5))
    density = g.op("Mul", g.op("Exp", g.op("Mul", g.op("Mul", h, h), -0.5)), small)
    tail = g.op("Mul", g.op("Mul", t, g.op("Mul", density, abi.NORMAL_SCALE)), mills)
    return g.op("Sub", g.op("Relu", z), tail)


def _gelu_tanh(g: Graph, z: str) -> str:
    inner = g.op("Add", g.op("Mul", g.op("Mul", z, z), abi.GELU_CUBIC), 1.0)
    h = g.op("Tanh", g.op("Mul", g.op("Mul", z, inner), abi.GELU_SCALE))
    return g.op("Mul", g.op("Mul", z, g.op("Add", h, 1.0)), 0.5)


def _sigmoid(g: Graph, z: str) -> str:
    """Add the logistic function; the runtime's own loses the digits of small values."""
    e = g.op("Exp", g.op("Neg", g.op("Abs", z)))
    above = g.op("Where", g.op("Less", z, 0.0), e, 1.0)
    return g.op("Div", above, g.op("Add", e, 1.0))


def _softplus(g: Graph, z: str) -> str:
    """Add ``max(z, 0) + log(1 + e)`` of ``e = exp(-|z|)``, which keeps the digits of small values.

    ``log(1 + e) = 2 artanh(e / (2 + e))``, by its series up to the 33rd power: the argument is at
    most 1/3, so what is left out is below the rounding of float64.
    """
    e = g.op("Exp", g.op("Neg", g.op("Abs", z)))
    s = g.op("Div", e, g.op("Add", e, 2.0))
    square = g.op("Mul", s, s)
    series = g.op("Mul", square, 1 / _LAST_POWER)
    for power in range(_LAST_POWER - 2, 1, -2):
        series = g.op("Mul", square, g.op("Add", series, 1 / power))
    above = g.op("Mul", g.op("Mul", s, 2.0), g.op("Add", series, 1.0))
    return g.op("Add", g.op("Relu", z), above)


_LAST_POWER: Final = 33  # (1/3)^33 is below the rounding of float64


ACTIVATIONS: Final[dict[str, Callable[[Graph, str], str]]] = {
    "identity": lambda g, z: z,
    "relu": lambda g, z: g.op("Relu", z),
    "leaky_relu": _leaky_relu,
    "elu": _elu,
    "selu": _selu,
    "gelu": _gelu,
    "gelu_tanh": _gelu_tanh,
    "silu": lambda g, z: g.op("Mul", z, _sigmoid(g, z)),
    "mish": lambda g, z: g.op("Mul", z, g.op("Tanh", _softplus(g, z))),
    "tanh": lambda g, z: g.op("Tanh", z),
    "sigmoid": _sigmoid,
    "softplus": _softplus,
    "exp": lambda g, z: g.op("Exp", z),
    "softmax": lambda g, z: g.op("Softmax", z, axis=1),
}
