"""What consoles and notebooks show of networks, histories and estimators."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest

import fastnet as fn
from tests.html_pages import Page

X = np.random.default_rng(2).standard_normal((60, 3))
Y = (X[:, 0] > 0).astype(int)


def network(**options: Any) -> fn.Network:
    layers = [fn.Dense(5, "tanh"), fn.BatchNorm("relu"), fn.Dropout(0.25), fn.Dense(2, "softmax")]
    return fn.Network(layers, inputs=3, backend="numpy", **options)


def facts(text: str) -> dict[str, str]:
    """Return names and values below the table."""
    pairs = (line.split("  ", 1) for line in text.split("\n\n")[1].splitlines())
    return {name: value.strip() for name, value in pairs}


# --- networks -------------------------------------------------------------------------------------


def test_a_summary_has_layers_shapes_activations_and_totals() -> None:
    text = network(dtype="float64").summary()
    table = [line.split() for line in text.split("\n\n")[0].splitlines()]
    assert table == [
        ["layer", "activation", "shape", "parameters"],
        ["0", "dense", "tanh", "3", "->", "5", "20"],
        ["1", "batch", "norm", "relu", "5", "->", "5", "10"],
        ["2", "dropout", "0.25", "-", "5", "->", "5", "0"],
        ["3", "dense", "softmax", "5", "->", "2", "12"],
    ]
    assert len({len(line) for line in text.split("\n\n")[0].splitlines()}) == 1
    assert facts(text) == {
        "parameters": "42",
        "running statistics": "10",
        "inputs": "3, as they are",
        "outputs": "2 (softmax)",
        "loss": "not trained yet",
        "computed": "in float64 on numpy",
    }
    assert isinstance(text, str)
    assert repr(text) == text


def test_a_summary_says_what_training_added() -> None:
    net = network()
    net.fit(X, Y, epochs=2, standardize=True)
    net.calibrate(X, Y)
    net.label_names = ("low\n\x1b[1m", "high")
    said = facts(net.summary())
    assert said["inputs"] == "3, standardised"
    assert said["outputs"] == "2 (softmax): low \ufffd[1m, high"
    assert said["loss"] == "cross_entropy"
    assert said["calibrated"] == f"at temperature {net.temperature:.4g}"


def test_parameters_that_do_not_learn_are_counted() -> None:
    layers = [fn.Dense(4, "relu", weight_rate=0, bias_rate=0), fn.Dense(1)]
    net = fn.Network(layers, inputs=3, backend="numpy")
    assert facts(net.summary())["parameters"] == "21, 5 of them learn"


def test_a_notebook_shows_a_network_with_its_names_escaped() -> None:
    net = network()
    net.label_names = ("<script>alert(1)</script>", "b")
    page = Page(net._repr_html_())
    assert "script" not in [tag for tag, _ in page.tags]
    assert [tag for tag, _ in page.tags].count("tr") == 5
    assert any("<script>" in text for text in page.texts)


# --- histories ------------------------------------------------------------------------------------


def test_a_notebook_shows_curves_and_epochs() -> None:
    net = network()
    history = net.fit(X, Y, epochs=50, validation_split=0.2, early_stopping=50)
    page = Page(history._repr_html_())
    tags = [tag for tag, _ in page.tags]
    assert tags.count("svg") == 2
    assert 8 <= tags.count("tr") - 1 <= 9
    text = " ".join(page.texts)
    assert f"50 epochs in {history.seconds:.2f} s, ended by: epochs" in text
    assert f"the best was {history.best_epoch}" in text
    assert str(history.best_epoch) in page.texts


@pytest.mark.parametrize(
    "history",
    [fn.History(), fn.History([1], {"loss": [float("nan")]}), fn.History([4], {"<b>": [1.0]})],
    ids=["empty", "not finite", "an odd name"],
)
def test_odd_histories_are_shown_too(history: fn.History) -> None:
    page = Page(history._repr_html_())
    assert "b" not in [tag for tag, _ in page.tags]


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_a_history_becomes_a_data_frame(library: str) -> None:
    frames = pytest.importorskip(library)
    history = network().fit(X, Y, epochs=3, validation_split=0.2)
    frame = history.to_frame(library)
    assert isinstance(frame, frames.DataFrame)
    assert list(frame.columns) == ["epoch", *history]
    assert frame["epoch"].to_list() == [1, 2, 3]
    assert {name: frame[name].to_list() for name in history} == history.records


def test_the_frame_is_one_of_pandas_else_of_polars_else_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    missing: set[str] = set()
    found = importlib.import_module

    def imported(name: str) -> Any:
        if name in missing:
            raise ImportError(name)
        return found(name)

    monkeypatch.setattr("fastnet.utils.frames.importlib.import_module", imported)
    history = fn.History([1], {"loss": [0.5]})
    for name in ("pandas", "polars"):
        pytest.importorskip(name)
        assert type(history.to_frame()).__module__.startswith(name)
        missing.add(name)
    with pytest.raises(fn.InputError, match="a data frame needs pandas or polars: pip install"):
        history.to_frame()
    with pytest.raises(fn.InputError, match="a data frame needs polars"):
        history.to_frame("polars")
    with pytest.raises(fn.InputError, match="library must be 'pandas' or 'polars', got 'dask'"):
        history.to_frame("dask")  # type: ignore[arg-type]


# --- estimators -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["FastNetClassifier", "FastNetRegressor", "MLPClassifier", "MLPRegressor"]
)
def test_a_notebook_shows_an_estimator_before_and_after_fit(name: str) -> None:
    pytest.importorskip("sklearn")
    estimators = importlib.import_module("fastnet.sklearn")
    iterations = {"epochs": 1} if name.startswith("FastNet") else {"max_iter": 300, "tol": 1.0}
    model = getattr(estimators, name)(random_state=0, **iterations)
    assert name in model._repr_html_()
    assert name in model.fit(X, Y)._repr_html_()
