"""The ONNX export: a valid graph, and ONNX Runtime computes what the network computes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given

import fastnet as fn
from fastnet.data import TableSchema
from fastnet.export import export
from fastnet.export.onnx.model import content
from fastnet.preprocessing.schema import Column
from tests.exports import (
    LIMIT,
    ODD_NAMES,
    assert_same_outputs,
    disturbed,
    drawn_networks,
    inputs_for,
    networks,
    relative_difference,
)


def run(model: bytes, x: Any, dtype: Any) -> np.ndarray[Any, Any]:
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    assert [value.name for value in session.get_inputs()] == ["x"]
    (y,) = session.run(["y"], {"x": np.asarray(x, dtype)})
    return np.asarray(y)


@pytest.mark.parametrize(("name", "net"), networks().items(), ids=networks())
def test_every_layer_activation_and_loss_is_exported(name: str, net: fn.Network) -> None:
    model = content(net, name)
    onnx.checker.check_model(onnx.load_from_string(model), full_check=True)
    x = inputs_for(net)
    assert_same_outputs(run(model, x, net.dtype), net, x)


@given(net=drawn_networks())
def test_any_network_is_exported(net: fn.Network) -> None:
    x = inputs_for(net)
    assert_same_outputs(run(content(net, "net"), x, net.dtype), net, x)


def test_a_wrong_weight_is_noticed() -> None:
    net = disturbed(fn.Network([3, 5, 2], backend="numpy"))
    x = inputs_for(net)
    y = run(content(net, "net"), x, net.dtype)
    assert relative_difference(y, net.predict(x)) <= LIMIT["float32"]
    net.parameters[0] *= 1.001
    assert relative_difference(y, net.predict(x)) > LIMIT["float32"]


@pytest.mark.parametrize("rows", [0, 1, 5])
def test_the_number_of_rows_is_free(rows: int) -> None:
    net = disturbed(fn.Network([3, 2], output_activation="softmax", backend="numpy"))
    assert run(content(net, "net"), np.zeros((rows, 3)), net.dtype).shape == (rows, 2)


def test_saturated_outputs_neither_overflow_nor_turn_into_no_number() -> None:
    x = np.array([[-1e4], [-300.0], [-90.0], [0.0], [90.0], [300.0], [1e4]])
    for name in ("softmax", "sigmoid", "softplus", "mish", "silu", "gelu", "tanh", "elu"):
        net = fn.Network([1, 3], output_activation=name, backend="numpy")
        net.parameters[...] = [1.0, 0.5, -1.0, 0.0, 0.0, 0.0]
        assert_same_outputs(run(content(net, name), x, net.dtype), net, x)


def test_names_and_origin_are_in_the_metadata(tmp_path: Path) -> None:
    net = fn.Network([2, 5], output_activation="softmax", backend="numpy")
    net.label_names = ODD_NAMES
    net.schema = TableSchema((Column(ODD_NAMES[0]), Column(ODD_NAMES[3])), ("t",), ODD_NAMES)
    export(net, tmp_path / "flowers.onnx", to="onnx")
    model = onnx.load(tmp_path / "flowers.onnx")
    stored = {entry.key: json.loads(entry.value) for entry in model.metadata_props}
    assert stored == {"labels": list(ODD_NAMES), "features": [ODD_NAMES[0], ODD_NAMES[3]]}
    assert (model.producer_name, model.producer_version) == ("fastnet", fn.__version__)
    assert model.graph.name == "flowers"


def test_without_onnx_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    with pytest.raises(fn.FastNetError, match=r"pip install 'fastnet-mlp\[onnx\]'"):
        content(fn.Network([1, 1], backend="numpy"), "net")
