"""The NumPy export computes what the network computes, where fastnet cannot be imported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import fastnet as fn
from fastnet.activations import ACTIVATIONS
from fastnet.data import Scaler, TableSchema
from fastnet.data.schema import Column
from fastnet.export import FORMATS, export
from fastnet.layers import LAYERS, Layer

HIDDEN = [row.name for row in ACTIVATIONS.values() if not row.output_only]
ODD_NAMES = ('quote"', "back\\slash", "new\nline", "\N{SNOWMAN}\N{GRINNING FACE}", "'''")

RUNNER = """
import runpy, sys
sys.modules["fastnet"] = None  # an import of it would fail
import numpy as np
x = np.load("x.npy")
for name in sys.argv[1:]:
    np.save(f"{name}.y.npy", runpy.run_path(f"{name}.py")["predict"](x))
"""


def networks() -> dict[str, fn.Network]:
    made: dict[str, fn.Network] = {}
    for dtype in ("float32", "float64"):
        for name in HIDDEN:
            layers: list[Layer] = [
                fn.Dense(7, name),
                fn.Dropout(0.4),
                fn.BatchNorm(name),
                fn.Dense(5),
                fn.LayerNorm(name, epsilon=1e-3),
                fn.Dense(3, name),
            ]
            made[f"{name}_{dtype}"] = fn.Network(
                layers, inputs=4, dtype=dtype, seed=1, backend="numpy"
            )
        made[f"softmax_{dtype}"] = fn.Network(
            [4, 6, 3], output_activation="softmax", dtype=dtype, seed=2, backend="numpy"
        )
    rng = np.random.default_rng(0)
    for net in made.values():
        net.parameters[...] += 0.1 * rng.standard_normal(len(net.parameters))
        net.state[...] = rng.uniform(0.5, 2.0, len(net.state))
        net.scaler = Scaler(rng.normal(size=4), rng.uniform(0.5, 2, size=4))
    return made


def test_every_layer_and_activation_is_exported(tmp_path: Path) -> None:
    made = networks()
    used = {type(layer) for net in made.values() for layer in net.layers}
    assert used == set(LAYERS.values())
    x = np.random.default_rng(3).normal(size=(50, 4))
    np.save(tmp_path / "x.npy", x)
    for name, net in made.items():
        export(net, tmp_path / f"{name}.py", to="numpy")
    subprocess.run(
        [sys.executable, "-I", "-W", "error", "-c", RUNNER, *made],
        cwd=tmp_path, check=True, timeout=60,
    )  # fmt: skip
    for name, net in made.items():
        y, expected = np.load(tmp_path / f"{name}.y.npy"), net.predict(x)
        assert np.isfinite(expected).all()
        assert y.dtype == expected.dtype
        assert y.shape == (50, 3)
        assert np.abs(y - expected).max() <= 1e-6 * max(np.abs(expected).max(), 1.0)


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
    namespace: dict[str, object] = {}
    exec((tmp_path / "net.py").read_text("ascii"), namespace)
    assert namespace["LABELS"] == ODD_NAMES
    assert namespace["FEATURES"] == (ODD_NAMES[0], ODD_NAMES[3])
    labels = namespace["predict_labels"](np.zeros((2, 2)))  # type: ignore[operator]
    assert set(labels) <= set(ODD_NAMES)


def test_one_output_for_two_classes_has_labels_too(tmp_path: Path) -> None:
    net = fn.Network([2, 1], output_activation="sigmoid", seed=4, backend="numpy")
    net.label_names = ("no", "yes")
    export(net, tmp_path / "net.py", to="numpy")
    namespace: dict[str, object] = {}
    exec((tmp_path / "net.py").read_text("ascii"), namespace)
    x = np.array([[3.0, -2.0], [-3.0, 2.0]])
    expected = [("no", "yes")[int(p > 0.5)] for p in net.predict(x)[:, 0]]
    assert set(expected) == {"no", "yes"}
    assert namespace["predict_labels"](x) == expected  # type: ignore[operator]


def test_a_wrong_shape_is_refused(tmp_path: Path) -> None:
    export(fn.Network([2, 1], backend="numpy"), tmp_path / "net.py", to="numpy")
    namespace: dict[str, object] = {}
    exec((tmp_path / "net.py").read_text("ascii"), namespace)
    with pytest.raises(ValueError, match=r"x must have the shape \(N, 2\), got \(3,\)"):
        namespace["predict"](np.zeros(3))  # type: ignore[operator]


def test_an_unknown_format_is_answered_with_the_nearest(tmp_path: Path) -> None:
    assert list(FORMATS) == ["numpy"]
    with pytest.raises(fn.InputError, match="did you mean 'numpy'"):
        export(fn.Network([2, 1], backend="numpy"), tmp_path / "net.py", to="numpi")
