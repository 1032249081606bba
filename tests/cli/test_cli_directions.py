"""Models of tables and of arrays take data of every kind, with the target and without."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import fastnet as fn
from tests.cli.calling import NUMPY, predictions, refused, succeed

ROWS = 60
RNG = np.random.default_rng(0)
X = RNG.normal(size=(ROWS, 2))
TARGETS = {"class": (X[:, 0] > 0).astype(np.int64), "real": 3 * X[:, 0] - X[:, 1]}
SHORT = {"preset": None, "epochs": 2, "hidden": (4,), "backend": "numpy"}


def predicted(model: str, data: str) -> tuple[list[str], NDArray[Any]]:
    """Return the header of the predictions, and the numbers beside a label."""
    header, rows = predictions(model, data)
    first = 1 if any(name.startswith("probability_") for name in header) else 0
    return header, np.array([row[first:] for row in rows], np.float64).astype("f4")


def loss(model: str, data: str, *options: str) -> float:
    metrics = json.loads(succeed("evaluate", model, data, "--json", *options, *NUMPY))["metrics"]
    value: float = metrics["loss"]
    return value


def write_csv(path: str, matrix: NDArray[Any], header: Sequence[str] = ()) -> None:
    lines = [",".join(header)] * bool(header)
    lines += [",".join(repr(cell) for cell in row) for row in matrix.tolist()]
    Path(path).write_text("\n".join(lines) + "\n", encoding="utf-8")


# --- every model with every file ------------------------------------------------------------------

FILES = {
    "named.csv": "y",
    "last.csv": "-1",
    "last.npy": "-1",
    "y.npz": "y",
    "t.npz": "t",
    "named-without.csv": None,
    "without.csv": None,
    "without.npy": None,
    "without.npz": None,
}
"""The files, and how the target is called in each."""
ARRAYS = {"y.npz", "t.npz", "named-without.csv", "without.csv", "without.npy", "without.npz"}
"""The files of two columns beside the target: every model takes them."""

TAKES: dict[str, set[str]] = {
    "table": {"named.csv"},
    "last": {"last.csv", "last.npy"},
    "npy": {"last.csv", "last.npy"},
    "npz": {"named.csv"},  # the target of which is called y, too
    "npz t": set(),
    "api": set(),
    "api table": {"named.csv"},
    "api train": {"named.csv"},
}
"""The models, and further files that they predict: those whose target they know or ignore."""
KNOWS: dict[str, set[str]] = {
    "table": {"named.csv", "y.npz"},
    "last": {"last.csv", "last.npy"},
    "npy": {"last.csv", "last.npy"},
    "npz": {"named.csv", "y.npz"},
    "npz t": {"t.npz"},
    "api": {"y.npz"},
    "api table": {"y.npz"},
    "api train": {"y.npz"},
}
"""The files whose target they find unless told."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with each file and each model, for classes and for numbers."""
    path = tmp_path_factory.mktemp("directions")
    with pytest.MonkeyPatch.context() as patch:
        for kind, y in TARGETS.items():
            (path / kind).mkdir()
            patch.chdir(path / kind)
            write_files(y)
            train_models(kind, y)
    return path


def write_files(y: NDArray[Any]) -> None:
    matrix = np.column_stack([X, y])
    write_csv("named.csv", matrix, "aby")
    write_csv("named-without.csv", X, "ab")
    write_csv("last.csv", matrix)
    write_csv("without.csv", X)
    np.save("last.npy", matrix)
    np.save("without.npy", X)
    np.savez("y.npz", x=X, y=y)
    np.savez("t.npz", x=X, t=y)
    np.savez("without.npz", x=X)


def train_models(kind: str, y: NDArray[Any]) -> None:
    trained = {"table": "named.csv", "last": "last.csv", "npy": "last.npy", "npz": "y.npz"}
    for model, data in (trained | {"npz t": "t.npz"}).items():
        options = ("--target", FILES[data]) if model != "npz" else ()
        made = ("--epochs", 2, "--hidden", 4, "--quiet", "--out", f"{model}.safetensors")
        succeed("train", data, *options, *made, *NUMPY)
    columns = {"a": X[:, 0], "b": X[:, 1]}
    sizes, output = ([2, 4, 2], "softmax") if kind == "class" else ([2, 4, 1], "identity")
    for model, x in (("api", X), ("api table", columns)):
        net = fn.Network(sizes, output_activation=output, backend="numpy")
        net.fit(x, y, epochs=2)
        net.save(f"{model}.safetensors")
    fn.tables.train(columns, y, **SHORT).save("api train.safetensors")


@pytest.mark.parametrize("model", TAKES)
@pytest.mark.parametrize("kind", TARGETS)
def test_the_same_rows_have_the_same_predictions_in_every_file(
    kind: str, model: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder / kind)
    file = f"{model}.safetensors"
    expected = fn.load(file, backend="numpy").predict_columns(X).astype("f4")
    taken = ARRAYS | TAKES[model]
    for data in FILES:
        if data in taken:
            assert np.array_equal(predicted(file, data)[1], expected), data
            continue
        said = refused("predict", file, data, *NUMPY)
        assert "expected 2 columns, got 3" in said or "2 inputs, and" in said, data


@pytest.mark.parametrize("model", KNOWS)
@pytest.mark.parametrize("kind", TARGETS)
def test_the_same_rows_have_the_same_loss_in_every_file_with_a_target(
    kind: str, model: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder / kind)
    file = f"{model}.safetensors"
    expected = fn.load(file, backend="numpy").evaluate(X, TARGETS[kind])["loss"]
    for data, target in FILES.items():
        if target is not None:
            assert loss(file, data, "--target", target) == expected, data
        if data in KNOWS[model]:
            assert loss(file, data) == expected, data
            continue
        said = refused("evaluate", file, data, *NUMPY)
        assert any(text in said for text in ("to compare with", "got 3", "has 3")), data
        if target is None and model.startswith("api"):
            assert "has no target to compare with" in said


# --- by position ----------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["csv", "npy"])
@pytest.mark.parametrize("place", [0, 1, -1])
def test_a_target_at_any_position_may_be_there_or_not(
    place: int, suffix: str, empty_folder: Path
) -> None:
    matrix = np.insert(X, place if place >= 0 else 2, TARGETS["real"], axis=1)
    for name, values in (("with", matrix), ("without", X)):
        write_csv(f"{name}.csv", values)
        np.save(f"{name}.npy", values)
    data = f"with.{suffix}"
    succeed("train", data, "--target", place, "--epochs", 2, "--hidden", 4, "--quiet", *NUMPY)
    header, expected = predicted("model.safetensors", f"without.{suffix}")
    assert header == ["prediction"]
    for other in ("with.csv", "with.npy", "without.csv", "without.npy"):
        assert np.array_equal(predicted("model.safetensors", other)[1], expected), other
    net = fn.load("model.safetensors", backend="numpy")
    assert np.array_equal(net.predict_columns(X).astype("f4"), expected)
    assert loss("model.safetensors", data) == net.evaluate(X, TARGETS["real"])["loss"]
    write_csv("wide.csv", np.column_stack([matrix, X]))
    assert "expected 2 columns, got 5" in refused(
        "predict", "model.safetensors", "wide.csv", *NUMPY
    )


def test_several_targets_are_apart_wherever_they_are(empty_folder: Path) -> None:
    y = np.column_stack([TARGETS["real"], X[:, 0] + 1])
    write_csv("named.csv", np.column_stack([y[:, 0], X, y[:, 1]]), "uabv")
    np.savez("y.npz", x=X, y=y)
    train = (*NUMPY, "--epochs", 2, "--hidden", 4, "--quiet", "--out")
    succeed("train", "named.csv", "--target", "u,v", *train, "table.safetensors")
    succeed("train", "y.npz", *train, "arrays.safetensors")
    for model, names, data in (
        ("table", ["u", "v"], "named.csv"),
        ("arrays", ["y[0]", "y[1]"], "y.npz"),
    ):
        file = f"{model}.safetensors"
        net = fn.load(file, backend="numpy")
        assert predicted(file, "y.npz")[0] == names
        assert np.array_equal(predicted(file, data)[1], net.predict_columns(X).astype("f4"))
        assert loss(file, data) == net.evaluate(X, y)["loss"]
        assert loss(file, "y.npz", "--target", "y") == net.evaluate(X, y)["loss"]


# --- labels ---------------------------------------------------------------------------------------


def test_class_numbers_in_arrays_are_the_classes_in_their_order(empty_folder: Path) -> None:
    words = np.array(["iris", "rosa"])[TARGETS["class"]]
    lines = [f"{a!r},{b!r},{word}" for (a, b), word in zip(X.tolist(), words, strict=True)]
    Path("words.csv").write_text("\n".join(["a,b,y", *lines]) + "\n", encoding="utf-8")
    succeed("train", "words.csv", "--target", "y", "--epochs", 2, "--hidden", 4, "--quiet", *NUMPY)
    np.savez("numbers.npz", x=X, y=TARGETS["class"])
    np.savez("texts.npz", x=X, y=words)
    expected = loss("model.safetensors", "words.csv")
    assert loss("model.safetensors", "numbers.npz") == expected
    assert loss("model.safetensors", "texts.npz") == expected
    np.savez("numbers.npz", x=X, y=TARGETS["class"] + 7)
    said = refused("evaluate", "model.safetensors", "numbers.npz", *NUMPY)
    assert "the label '8' is none of the known ones ('iris', 'rosa')" in said


def test_digits_are_evaluated_from_the_name_and_from_arrays(empty_folder: Path) -> None:
    digits = fn.data.load("digits")
    succeed("train", "digits", "--epochs", 2, "--hidden", 8, "--quiet", *NUMPY)
    net = fn.load("model.safetensors", backend="numpy")
    np.savez("arrays.npz", x=digits.test.x, label=digits.test.y)
    expected = net.evaluate(digits.test.x, digits.test.y)["loss"]
    assert loss("model.safetensors", "digits") == expected
    assert loss("model.safetensors", "digits", "--split", "train") == pytest.approx(
        net.evaluate(digits.x, digits.y)["loss"]
    )
    assert loss("model.safetensors", "arrays.npz") == expected
    assert np.array_equal(predicted("model.safetensors", "digits")[1], net.predict(digits.test.x))
    plain = fn.Network([64, 8, 10], output_activation="softmax", backend="numpy")
    plain.save("api.safetensors")
    assert loss("api.safetensors", "digits") == plain.evaluate(digits.test.x, digits.test.y)["loss"]
    assert predicted("api.safetensors", "digits")[0][1] == "probability_0"
