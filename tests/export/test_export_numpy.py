"""The NumPy export computes what the network computes, where fastnet cannot be imported."""

from __future__ import annotations

import csv
import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given

import fastnet as fn
from fastnet.cli import group
from fastnet.export import FORMATS, export
from fastnet.nn.layers import LAYERS
from fastnet.preprocessing.scaler import Scaler
from fastnet.preprocessing.schema import Column
from tests.exports import ODD_NAMES, assert_same_outputs, drawn_networks, inputs_for, networks

RUNNER = """
import runpy, sys
sys.modules["fastnet"] = None  # an import of it would fail
import numpy as np
for name in sys.argv[1:]:
    x = np.load(f"{name}.x.npy")
    np.save(f"{name}.y.npy", runpy.run_path(f"{name}.py")["predict"](x))
"""


def namespace_of(path: Path) -> dict[str, Any]:
    namespace: dict[str, Any] = {"__name__": "exported"}
    exec(path.read_text("ascii"), namespace)
    return namespace


def test_every_layer_activation_and_loss_is_exported(tmp_path: Path) -> None:
    made = networks()
    assert {type(layer) for net in made.values() for layer in net.layers} == set(LAYERS.values())
    for name, net in made.items():
        np.save(tmp_path / f"{name}.x.npy", inputs_for(net))
        export(net, tmp_path / f"{name}.py", to="numpy")
    subprocess.run(
        [sys.executable, "-I", "-W", "error", "-c", RUNNER, *made],
        cwd=tmp_path, check=True, timeout=60,
    )  # fmt: skip
    for name, net in made.items():
        assert_same_outputs(np.load(tmp_path / f"{name}.y.npy"), net, inputs_for(net))


@given(net=drawn_networks())
def test_any_network_is_exported(tmp_path_factory: pytest.TempPathFactory, net: fn.Network) -> None:
    path = tmp_path_factory.mktemp("numpy") / "net.py"
    export(net, path, to="numpy")
    x = inputs_for(net)
    assert_same_outputs(namespace_of(path)["predict"](x), net, x)


def test_the_file_needs_numpy_only_and_has_only_what_it_uses(tmp_path: Path) -> None:
    net = fn.Network([2, 3, 1], activation="tanh", backend="numpy")
    export(net, tmp_path / "net.py", to="numpy")
    source = (tmp_path / "net.py").read_text("ascii")
    imports = [line for line in source.splitlines() if line.startswith(("import", "from"))]
    assert imports == ["import base64", "import io", "import numpy as np"]
    assert "def tanh" in source
    assert "def relu" not in source
    assert "def batch_norm" not in source
    assert "predict_labels" not in source
    assert max(map(len, source.splitlines())) <= 100


def test_names_with_any_characters_come_through(tmp_path: Path) -> None:
    net = fn.Network([2, 5], output_activation="softmax", backend="numpy")
    net.label_names = ODD_NAMES
    net.schema = TableSchema((Column(ODD_NAMES[0]), Column(ODD_NAMES[3])), ("t",), ODD_NAMES)
    export(net, tmp_path / "net.py", to="numpy")
    namespace = namespace_of(tmp_path / "net.py")
    assert namespace["LABELS"] == ODD_NAMES
    assert namespace["FEATURES"] == (ODD_NAMES[0], ODD_NAMES[3])
    labels = namespace["predict_labels"](np.zeros((2, 2)))
    assert set(labels) <= set(ODD_NAMES)


def test_one_output_for_two_classes_has_labels_too(tmp_path: Path) -> None:
    net = fn.Network([2, 1], output_activation="sigmoid", seed=4, backend="numpy")
    net.label_names = ("no", "yes")
    export(net, tmp_path / "net.py", to="numpy")
    namespace = namespace_of(tmp_path / "net.py")
    x = np.array([[3.0, -2.0], [-3.0, 2.0]])
    expected = [("no", "yes")[int(p > 0.5)] for p in net.predict(x)[:, 0]]
    assert set(expected) == {"no", "yes"}
    assert namespace["predict_labels"](x) == expected


def test_a_wrong_shape_is_refused(tmp_path: Path) -> None:
    export(fn.Network([2, 1], backend="numpy"), tmp_path / "net.py", to="numpy")
    namespace = namespace_of(tmp_path / "net.py")
    with pytest.raises(ValueError, match=r"x must have the shape \(N, 2\), got \(3,\)"):
        namespace["predict"](np.zeros(3))


def test_an_unknown_format_is_answered_with_the_nearest(tmp_path: Path) -> None:
    assert list(FORMATS) == ["c", "numpy", "onnx", "torch"]
    with pytest.raises(fn.InputError, match="did you mean 'numpy'"):
        export(fn.Network([2, 1], backend="numpy"), tmp_path / "net.py", to="numpi")


# --- the program ----------------------------------------------------------------------------------


def run_program(folder: Path, text: str) -> tuple[str, str]:
    done = subprocess.run(
        [sys.executable, "-I", "-W", "error", "net.py"],
        cwd=folder, input=text.encode(), capture_output=True, timeout=60,
    )  # fmt: skip
    return done.stdout.decode(), done.stderr.decode()


def test_the_program_writes_what_the_command_predict_writes(tmp_path: Path) -> None:
    columns = (Column("size"), Column("colour", "categorical", ODD_NAMES), Column(ODD_NAMES[0]))
    net = fn.Network([7, 5, 3], output_activation="softmax", seed=3, backend="numpy")
    net.label_names = ODD_NAMES[1:4]
    net.schema = TableSchema(columns, ("t",), net.label_names)
    net.scaler = Scaler(np.arange(7.0), np.arange(1.0, 8.0))
    export(net, tmp_path / "net.py", to="numpy")
    net.save(tmp_path / "net.safetensors")
    buffer = io.StringIO(newline="")
    rows = [[f" {k / 7} ", "more", name, k] for k, name in enumerate((*ODD_NAMES, "unheard of"))]
    csv.writer(buffer).writerows([["size", "further", "colour", ODD_NAMES[0]], *rows])
    (tmp_path / "rows.csv").write_text(buffer.getvalue(), encoding="utf-8", newline="")
    arguments = ["predict", str(tmp_path / "net.safetensors"), str(tmp_path / "rows.csv")]
    answer = CliRunner().invoke(group, [*arguments, "--backend", "numpy", "--out", "-"])
    assert answer.exit_code == 0, answer.output
    out, complaint = run_program(tmp_path, "\ufeff" + buffer.getvalue())
    assert complaint == ""
    got, expected = (
        list(csv.reader(io.StringIO(text, newline="")))
        for text in (out, answer.stdout_bytes.decode())
    )
    assert got[0] == expected[0]
    assert [row[0] for row in got] == [row[0] for row in expected]
    cells = {
        column.name: [row[i] for row in rows] for i, column in zip((0, 2, 3), columns, strict=True)
    }
    x = net.schema.encode(cells)
    assert_same_outputs(np.array([row[1:] for row in got[1:]], np.float32), net, x)


def test_the_program_names_what_is_missing(tmp_path: Path) -> None:
    net = fn.Network([2, 1], backend="numpy")
    net.schema = TableSchema((Column("a"), Column("b")))
    export(net, tmp_path / "net.py", to="numpy")
    assert run_program(tmp_path, "a,c\n1,2\n") == ("", "the columns ['b'] are missing.\n")
    assert run_program(tmp_path, "a,b\n1\n") == ("", "row 1 must have 2 cells, got 1.\n")


def test_columns_without_names_are_taken_by_position(tmp_path: Path) -> None:
    net = fn.Network([2, 1], dtype="float64", backend="numpy")
    export(net, tmp_path / "net.py", to="numpy")
    y = net.predict([[1.0, 2.0]])[0, 0]
    assert run_program(tmp_path, "1,2\n") == (f"prediction\n{y!s}\n", "")
    assert run_program(tmp_path, "a,b\n1,2\n") == (f"prediction\n{y!s}\n", "")


def test_a_variance_is_returned_as_a_deviation(tmp_path: Path) -> None:
    net = fn.Network([1, 4], dtype="float64", backend="numpy")
    net.loss = fn.losses.GaussianNLL()
    net.biases[0][...] = [1.0, 2.0, -3.0, -99.0]  # the last is below the floor of the loss
    net.weights[0][...] = 0
    export(net, tmp_path / "net.py", to="numpy")
    mean, std = namespace_of(tmp_path / "net.py")["predict_std"]([[7.0]])
    assert mean.tolist() == [[1.0, 2.0]]
    assert std[0] == pytest.approx([np.exp(-1.5), 1e-3], rel=1e-12)
    header = run_program(tmp_path, "7\n")[0].splitlines()[0]
    assert header == "prediction_0,prediction_1,prediction_0_std,prediction_1_std"
