"""A network as an ONNX graph: input ``x`` (rows, I), output ``y`` (rows, O).

Activations are composed of operators that runtimes have in float32 and in float64; most of those
that ONNX has as one operator are missing in float64. The names of columns and classes are stored as
JSON in the model's metadata. The graph of a network for tables encodes them itself: its ``x`` has
one number for each column (`fastnet.export.onnx.tables`).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np

from fastnet._version import version
from fastnet.errors import FastNetError
from fastnet.export.columns import scaling_of, table_of
from fastnet.export.onnx import tables
from fastnet.export.onnx.graph import Graph
from fastnet.export.steps import Add, Affine, Normalize, Scale, steps_of
from fastnet.kernels import abi
from fastnet.network import Network

OPSET: Final = 17
"""The first with LayerNormalization: older runtimes read it too."""

IR_VERSION: Final = 8
"""The version of the file format that belongs to it."""


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


_ACTIVATIONS: Final[dict[str, Callable[[Graph, str], str]]] = {
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


def content(network: Network, name: str) -> bytes:
    """Return the model as the bytes of an ``.onnx`` file, checked. Needs onnx.

    Raises
    ------
    FastNetError
        onnx is not installed.
    """
    try:
        from onnx import TensorProto, checker, helper
    except ImportError:
        raise FastNetError("ONNX files need onnx: pip install 'fastnet-mlp[onnx]'.") from None
    g, table, scaling = Graph(network.dtype), table_of(network), scaling_of(network)
    kind = TensorProto.FLOAT if network.dtype == np.float32 else TensorProto.DOUBLE
    value, taken, width = "x", kind, network.inputs

    # Nodes: from columns to inputs, from inputs to standardised ones, and the layers.
    if table is not None:
        value, taken, width = tables.add(g, table, "x"), TensorProto.DOUBLE, len(table.columns)
    if scaling is not None:
        # In double, as in fastnet: a large mean would cost single precision its digits.
        value = g.cast(value, np.float64)
        value = g.op("Sub", value, g.constant(scaling[0], "input.mean"))
        value = g.op("Div", value, g.constant(scaling[1], "input.scale"))
        value = g.cast(value)
    # 0, or NaN if an input is not finite: there is no answer to it, and a graph can refuse nothing.
    gap = g.op("ReduceMean", g.op("Sub", value, value), axes=[1], keepdims=1)
    made = {-1: value}
    for index, step in enumerate(steps_of(network)):
        if isinstance(step, Add):
            value = g.op("Add", value, made[step.skip])
        else:
            value = _ACTIVATIONS[step.activation](g, _step(g, index, step, value))
        made[index] = value
    g.op("Add", value, gap, name="y")

    # The file: the graph, its versions, and names as metadata.
    graph = helper.make_graph(
        g.nodes,
        name,
        [helper.make_tensor_value_info("x", taken, ["rows", width])],
        [helper.make_tensor_value_info("y", kind, ["rows", network.outputs])],
        list(g.constants.values()),
    )
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="fastnet",
        producer_version=version,
    )
    described: dict[str, Any] = {}
    if network.output_schema.class_names is not None:
        described["labels"] = network.output_schema.class_names
    if table is not None:
        described |= {"columns": tables.described(table), "features": table.features}
    helper.set_model_props(model, {key: json.dumps(names) for key, names in described.items()})
    checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())


def usage(network: Network, path: Path) -> str:
    """Return how the file is used."""
    table, kind, width = table_of(network), network.dtype.name, network.inputs
    if table is not None:
        kind, width = "float64", len(table.columns)
    text = (
        f"y, = onnxruntime.InferenceSession({str(path)!r}).run(None, {{'x': x}}), "
        f"x (rows, {width}) {kind}"
    )
    if table is None:
        return text
    return (
        f"{text}: for each of the metadata's columns a number, or the index of a category; NaN\n"
        "where it is missing, -1 for a category that is not among them"
    )


def _step(g: Graph, index: int, step: Affine | Scale | Normalize, value: str) -> str:
    """Add a step but for its activation; return the name of its output."""
    w = g.constant(step.w, f"layers.{index}.weight")
    b = g.constant(step.b, f"layers.{index}.bias")
    if isinstance(step, Affine):
        return g.op("Gemm", value, w, b)
    if isinstance(step, Scale):
        return g.op("Add", g.op("Mul", value, w), b)
    if g.dtype == np.float32:
        return g.op("LayerNormalization", value, w, b, axis=1, epsilon=step.epsilon)
    # The attribute of that operator is single precision, which is too coarse here.
    centred = g.op("Sub", value, g.op("ReduceMean", value, axes=[1], keepdims=1))
    square = g.op("ReduceMean", g.op("Mul", centred, centred), axes=[1], keepdims=1)
    deviation = g.op("Sqrt", g.op("Add", square, step.epsilon))
    return g.op("Add", g.op("Mul", g.op("Div", centred, deviation), w), b)
