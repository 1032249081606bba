"""A network or an ensemble as an ONNX graph: input ``x`` (rows, I), output ``y`` (rows, O).

The names of columns and classes are stored as
JSON in the model's metadata. The graph of a network for tables encodes them itself: its ``x`` has
one number for each column (`fastnet.export.onnx.tables`).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import numpy as np

from fastnet._version import version
from fastnet.errors import FastNetError
from fastnet.export.combination import Member, Predictor, combination_of
from fastnet.export.encodings import Columns, Encoding
from fastnet.export.onnx import mean, tables
from fastnet.export.onnx.activations import ACTIVATIONS
from fastnet.export.onnx.graph import Graph
from fastnet.export.steps import Add, Affine, Normalize, Scale

OPSET: Final = 17
"""The first with LayerNormalization: older runtimes read it too."""

IR_VERSION: Final = 8
"""The version of the file format that belongs to it."""


def content(predictor: Predictor, name: str) -> bytes:
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
    whole = combination_of(predictor)
    g, columns = Graph(whole.dtype), whole.columns
    kind = TensorProto.FLOAT if whole.dtype == np.float32 else TensorProto.DOUBLE
    taken, width = kind, whole.inputs
    if columns is not None:
        taken, width = TensorProto.DOUBLE, len(columns.columns)

    # Nodes: from rows to inputs, through the layers of each member, and to one answer.
    outputs, gaps = {}, []
    for encoding in whole.encodings:
        g.suffix = encoding.suffix
        value = _encoded(g, encoding, columns)
        gaps.append(g.op("ReduceMean", g.op("Sub", value, value), axes=[1], keepdims=1))
        for k, member in whole.of(encoding):
            g.suffix = member.suffix
            outputs[k] = _answer(g, member, value)
    g.suffix = ""
    y = outputs[0]
    if whole.mean is not None:
        y = mean.add(g, whole.mean, [outputs[k] for k in range(len(outputs))])
    # 0, or NaN if an input is not finite: there is no answer to it, and a graph can refuse nothing.
    gap = gaps[0] if len(gaps) == 1 else g.op("Sum", *gaps)
    g.op("Add", y, gap, name="y")

    # The file: the graph, its versions, and names as metadata.
    graph = helper.make_graph(
        g.nodes,
        name,
        [helper.make_tensor_value_info("x", taken, ["rows", width])],
        [helper.make_tensor_value_info("y", kind, ["rows", whole.outputs])],
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
    if whole.schema.class_names is not None:
        described["labels"] = whole.schema.class_names
    if columns is not None:
        features = [name for one in whole.encodings if one.table for name in one.table.features]
        described |= {"columns": tables.described(columns), "features": features}
    helper.set_model_props(model, {key: json.dumps(names) for key, names in described.items()})
    checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())


def usage(predictor: Predictor, path: Path) -> str:
    """Return how the file is used."""
    whole = combination_of(predictor)
    columns, kind, width = whole.columns, whole.dtype.name, whole.inputs
    if columns is not None:
        kind, width = "float64", len(columns.columns)
    text = (
        f"y, = onnxruntime.InferenceSession({str(path)!r}).run(None, {{'x': x}}), "
        f"x (rows, {width}) {kind}"
    )
    if columns is None:
        return text
    return (
        f"{text}: for each of the metadata's columns a number, or the index of a category; NaN\n"
        "where it is missing, -1 for a category that is not among them"
    )


def _encoded(g: Graph, encoding: Encoding, columns: Columns | None) -> str:
    """Add what makes inputs of x; return their name."""
    if encoding.table is not None:
        assert columns is not None
        return tables.add(g, encoding.table, tables.own_columns(g, encoding.table, columns, "x"))
    if encoding.scaling is None:
        return "x"
    # In double, as in fastnet: a large mean would cost single precision its digits.
    value = g.cast("x", np.float64)
    value = g.op("Sub", value, g.constant(encoding.scaling[0], "input.mean"))
    value = g.op("Div", value, g.constant(encoding.scaling[1], "input.scale"))
    return g.cast(value)


def _answer(g: Graph, member: Member, value: str) -> str:
    """Add the layers of a member behind its inputs; return the name of its outputs."""
    made = {-1: value}
    for index, step in enumerate(member.steps):
        if isinstance(step, Add):
            value = g.op("Add", value, made[step.skip])
        else:
            value = ACTIVATIONS[step.activation](g, _step(g, index, step, value))
        made[index] = value
    return value


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
