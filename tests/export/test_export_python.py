"""The Python file: it needs NumPy alone, and has what it uses."""

from __future__ import annotations

import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastnet as fn
from fastnet.export import export
from tests.export.formats import python_module
from tests.exports import (
    LIMIT,
    ODD_NAMES,
    assert_same_outputs,
    disturbed,
    for_table,
    relative_difference,
    standardise,
)

RUNNER = """
import sys
sys.modules["fastnet"] = None  # an import of it would fail
sys.path.append(".")
import numpy as np
import net
np.save("y.npy", net.predict(eval(sys.argv[1])))
"""


def run(folder: Path, net: fn.Network, argument: str) -> np.ndarray:
    """Return what the file predicts in a process without fastnet, in which warnings are errors."""
    export(net, folder / "net.py", to="numpy")
    command = [sys.executable, "-I", "-W", "error", "-c", RUNNER, argument]
    subprocess.run(command, cwd=folder, check=True, timeout=60)
    return np.load(folder / "y.npy")


def test_rows_are_predicted_without_fastnet(tmp_path: Path) -> None:
    layers = [fn.Dense(5, "mish"), fn.BatchNorm("gelu"), fn.LayerNorm(), fn.Dense(2, "softmax")]
    net = disturbed(fn.Network(layers, inputs=3, backend="numpy"))
    y = run(tmp_path, net, "np.arange(12.0).reshape(4, 3)")
    assert_same_outputs(y, net, np.arange(12.0).reshape(4, 3))


@pytest.mark.parametrize("embedding", [None, "periodic", "piecewise"])
def test_a_table_is_predicted_without_fastnet(tmp_path: Path, embedding: str | None) -> None:
    table = {"a": [1.0, 2.0, None, 1e308], "t": ["u", None, "w", "new"], "b": [1, 1, 1, 2]}
    net = for_table(table, numeric_embedding=embedding)
    asked = table | {"t": ["v", "u", None, "w"]}
    assert_same_outputs(run(tmp_path, net, f"net.encode({asked!r})"), net, asked)


def test_the_file_has_only_what_it_uses(tmp_path: Path) -> None:
    net = fn.Network([2, 3, 1], activation="tanh", backend="numpy")
    export(net, tmp_path / "net.py", to="numpy")
    source = (tmp_path / "net.py").read_text("ascii")
    imports = [line for line in source.splitlines() if line.startswith(("import", "from"))]
    assert imports == [f"import {name}" for name in ("base64", "csv", "io", "sys", "numpy as np")]
    assert "def tanh" in source
    for name in ("relu", "normalize", "predict_labels", "predict_std", "encode"):
        assert f"def {name}(" not in source
    for name in ("LABELS", "COLUMNS"):
        assert name not in source
    assert max(map(len, source.splitlines())) <= 100


def test_labels_with_any_characters_come_through() -> None:
    net = fn.Network([2, 5], output_activation="softmax", backend="numpy")
    net.label_names = ODD_NAMES
    made = python_module(net)
    assert made.LABELS == ODD_NAMES
    x = np.random.default_rng(0).normal(size=(9, 2))
    assert made.predict_labels(x) == [ODD_NAMES[k] for k in net.predict(x).argmax(axis=1)]


def test_one_output_for_two_classes_has_labels_too() -> None:
    net = fn.Network([2, 1], output_activation="sigmoid", seed=4, backend="numpy")
    net.label_names = ("no", "yes")
    x = np.array([[3.0, -2.0], [-3.0, 2.0]])
    expected = [("no", "yes")[int(p > 0.5)] for p in net.predict(x)[:, 0]]
    assert set(expected) == {"no", "yes"}
    assert python_module(net).predict_labels(x) == expected


def test_a_variance_is_returned_as_a_deviation() -> None:
    net = fn.Network([1, 4], dtype="float64", backend="numpy")
    net.loss = fn.losses.GaussianNLL()
    net.biases[0][...] = [1.0, 2.0, -3.0, -99.0]  # the last is below the floor of the loss
    net.weights[0][...] = 0
    made = python_module(net)
    mean, std = made.predict_std([[7.0]])
    assert mean.tolist() == [[1.0, 2.0]]
    assert std[0] == pytest.approx([np.exp(-1.5), 1e-3], rel=1e-12)
    names = ("prediction_0", "prediction_1", "prediction_0_std", "prediction_1_std")
    assert names == made.OUTPUTS


def test_a_wrong_shape_is_refused() -> None:
    made = python_module(fn.Network([2, 1], backend="numpy"))
    with pytest.raises(ValueError, match=r"x must have the shape \(N, 2\), got \(3,\)"):
        made.predict(np.zeros(3))


PLAIN = fn.Network([2, 3, 2], output_activation="softmax", backend="numpy", seed=1)
DOUBLE = fn.Network([2, 3, 1], dtype="float64", backend="numpy", seed=1)
SCALED = fn.Network([2, 3, 1], backend="numpy", seed=1)
standardise(SCALED, [1.0, -2.0], [0.5, 1e-3])
ROWS: dict[str, Any] = {
    "lists": [[1, 2.5]],
    "truths": [[True, False]],
    "integers": np.array([[2**60 + 1, 1]]),
    "half": np.array([[1, 2]], np.float16),
    "big-endian": np.array([[1, 2]], ">f8"),
    "a matrix": np.array([[1, 2], [3, 4]]).T,
    "numbers as objects": np.array([[1, Decimal("2.5")]], object),
    "texts as objects": np.array([["1", " 2.5"]], object),
    "no rows": np.zeros((0, 2)),
    "a mask of nothing": np.ma.masked_array([[1.0, 2.0]], False),
    "one row": [1, 2],
    "a number": 3.0,
    "three columns": np.zeros((1, 3)),
    "ragged": [[1, 2], [1]],
    "nan": [[np.nan, 1]],
    "none": [[None, 1]],
    "inf": [[np.inf, 1]],
    "beyond float32": [[1e39, 1]],
    "beyond float32 when scaled": [[0, 1e37]],
    "beyond float64": [[10**400, 1]],
    "texts": [["1", "2"]],
    "a text of Python": np.array([["1_000", 2]], object),
    "other digits": np.array([["\u0661", 2]], object),
    "bytes": [[b"1", b"2"]],
    "bytes as objects": np.array([[b"1", 2]], object),
    "dates": np.array([["2020-01-01", "2021-01-01"]], "M8[D]"),
    "durations": np.array([[1, 2]], "m8[s]"),
    "complex": [[1j, 2]],
    "records": np.zeros(2, [("a", "f4"), ("b", "f4")]),
    "masked": np.ma.masked_array([[1.0, 2.0]], [[True, False]]),
}


@pytest.mark.parametrize("net", [PLAIN, DOUBLE, SCALED], ids=["float32", "float64", "scaled"])
@pytest.mark.parametrize("x", ROWS.values(), ids=ROWS)
def test_rows_are_answered_and_refused_as_by_the_network(x: Any, net: fn.Network) -> None:
    made = python_module(net)
    try:
        expected = net.predict(x)
    except fn.InputError:
        with pytest.raises(ValueError, match=r"x (must|holds|has)|inhomogeneous"):
            made.predict(x)
    else:
        y = made.predict(x)
        assert y.shape == expected.shape
        assert not len(y) or relative_difference(y, expected) <= LIMIT[net.dtype.name]


def test_some_rows_are_answered_and_some_refused() -> None:
    assert len(python_module(PLAIN).predict(ROWS["texts as objects"])) == 1
    with pytest.raises(fn.InputError, match="'1_000' at row 0, column 0"):
        PLAIN.predict(ROWS["a text of Python"])
    with pytest.raises(ValueError, match="finite in float32"):
        python_module(SCALED).predict(ROWS["beyond float32 when scaled"])
