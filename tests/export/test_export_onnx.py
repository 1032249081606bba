"""The ONNX file: a valid graph of operators that runtimes have, and its metadata."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import fastnet as fn
from fastnet.export import export
from fastnet.export.onnx.model import content
from tests.export.formats import by_onnx
from tests.exports import ODD_NAMES, for_table, networks


def metadata(model: Any) -> dict[str, Any]:
    return {entry.key: json.loads(entry.value) for entry in model.metadata_props}


@pytest.mark.parametrize("net", networks().values(), ids=networks())
def test_every_graph_is_valid(net: fn.Network) -> None:
    onnx.checker.check_model(onnx.load_from_string(content(net, "net")), full_check=True)


def test_labels_and_origin_are_in_the_file(tmp_path: Path) -> None:
    net = fn.Network([2, 5], output_activation="softmax", backend="numpy")
    net.label_names = ODD_NAMES
    export(net, tmp_path / "flowers.onnx", to="onnx")
    model = onnx.load(tmp_path / "flowers.onnx")
    assert metadata(model) == {"labels": list(ODD_NAMES)}
    assert (model.producer_name, model.producer_version) == ("fastnet", fn.__version__)
    assert model.graph.name == "flowers"


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["softplus", "sigmoid", "silu", "mish", "exp"])
def test_small_outputs_keep_their_digits(name: str, dtype: str, tmp_path: Path) -> None:
    net = fn.Network([1, 1], output_activation=name, dtype=dtype, backend="numpy")
    net.weights[0], net.biases[0] = [[1.0]], [0.0]
    z = np.linspace(-30, 5, 700).astype(dtype)[:, None]
    got, want = by_onnx(net, z, tmp_path), net.predict(z)
    worst = np.abs(got / want - 1).max()
    assert worst < 32 * np.finfo(dtype).eps
    assert np.abs(got * np.float32(1.0001) / want - 1).max() > 32 * np.finfo("f4").eps


@pytest.mark.filterwarnings("ignore:.*it is ignored")
def test_columns_and_categories_are_in_the_metadata() -> None:
    net = for_table({"size": [1.0, 2.0] * 3, ODD_NAMES[0]: [*ODD_NAMES, None], "none": [None] * 6})
    stored = metadata(onnx.load_from_string(content(net, "net")))
    assert net.preprocessor is not None
    assert stored["features"] == list(net.preprocessor.feature_names)
    assert stored["columns"] == [
        {"name": "size", "kind": "numeric"},
        {"name": ODD_NAMES[0], "kind": "categorical", "categories": sorted(ODD_NAMES)},
        {"name": "none", "kind": "empty"},
    ]


def test_the_number_of_nodes_does_not_grow_with_the_columns() -> None:
    def nodes(columns: int) -> int:
        table: dict[str, Any] = {f"n{k}": [1.0, 2.0, None] for k in range(columns)}
        table |= {f"t{k}": ["a", "b", "c"] for k in range(columns)}
        return len(onnx.load_from_string(content(for_table(table), "net")).graph.node)

    assert nodes(2) == nodes(30)


@pytest.mark.parametrize("infinite", [np.inf, -np.inf])
def test_an_infinite_number_makes_outputs_nan(infinite: float, tmp_path: Path) -> None:
    net = for_table({"a": [1.0, 2.0, None], "b": [1.0, 3.0, 5.0]})
    y = by_onnx(net, {"a": [1.0, infinite, None, 1.0], "b": [1.0, 1.0, 1e308, infinite]}, tmp_path)
    assert np.isnan(y).all(axis=1).tolist() == [False, True, False, True]


def test_without_onnx_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    with pytest.raises(fn.FastNetError, match=r"pip install 'fastnet-mlp\[onnx\]'"):
        content(fn.Network([1, 1], backend="numpy"), "net")
