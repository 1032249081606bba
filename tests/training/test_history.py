"""What is remembered of a training, and its picture."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastnet as fn
from tests.closeness import assert_close
from tests.on_backends import each_backend

X = np.random.default_rng(0).standard_normal((40, 3))
Y = X @ [1.0, -1.0, 0.5]


def train(**options: Any) -> fn.History:
    return fn.Network([3, 4, 1], backend="numpy").fit(X, Y, epochs=3, **options)


def test_a_history_is_a_mapping_of_names_to_one_value_an_epoch() -> None:
    history = train(validation_split=0.25)
    assert isinstance(history, Mapping)
    assert list(history) == ["loss", "r2", "val_loss", "val_r2", "learning_rate"]
    assert len(history) == 5
    assert "val_loss" in history
    assert "accuracy" not in history
    for name, values in history.items():
        assert values is history[name]
        assert len(values) == 3
        assert all(type(value) is float for value in values)
    assert history.epochs == [1, 2, 3]
    assert history.last() == {name: values[-1] for name, values in history.items()}
    assert history.best_epoch is None
    assert history.seconds > 0
    with pytest.raises(KeyError):
        history["accuracy"]


@pytest.mark.parametrize(
    ("layers", "y", "loss", "names"),
    [
        ([fn.Dense(3, "softmax")], np.arange(40) % 3, None, {"loss", "accuracy"}),
        ([fn.Dense(1, "sigmoid")], Y > 0, None, {"loss", "accuracy"}),
        ([fn.Dense(1)], Y, "huber", {"loss", "r2"}),
        ([fn.Dense(2)], Y, "gaussian_nll", {"loss", "r2"}),
        ([fn.Dense(3)], Y, "quantile", {"loss"}),
    ],
)
def test_each_kind_of_loss_has_its_score(
    layers: Any, y: Any, loss: str | None, names: set[str]
) -> None:
    history = fn.Network(layers, inputs=3, backend="numpy").fit(X, y, loss=loss, epochs=1)
    assert set(history) == names | {"learning_rate"}


def test_without_validation_metrics_are_those_of_the_training_rows() -> None:
    net = fn.Network([3, 4, 1], backend="numpy")
    history = net.fit(X, Y, epochs=2, metrics=["mae", "rmse"])
    assert list(history) == ["loss", "r2", "mae", "rmse", "learning_rate"]
    assert history["mae"][-1] == net.evaluate(X, Y, metrics=["mae"])["mae"]


@each_backend
@pytest.mark.parametrize("scaled", [False, True])
def test_r2_of_the_batches_pools_outputs_which_is_their_mean_once_targets_are_scaled(
    backend: Any, scaled: bool
) -> None:
    y = np.stack([Y, 30 * X[:, 0] + 2, 0.1 * Y**2], axis=1)
    net = fn.Network([3, 5, 3], activation="tanh", dtype="float64", backend=backend, seed=7)
    shown = (y - y.mean(axis=0)) / y.std(axis=0) if scaled else y
    before = net.predict(X)
    error, variance = np.mean((before - shown) ** 2, axis=0), shown.var(axis=0)
    history = net.fit(X, y, batch_size=None, epochs=1, standardize_targets=scaled)
    pooled, mean = 1 - error.mean() / variance.mean(), np.mean(1 - error / variance)
    assert_close(np.float64(history["r2"][0]), pooled, terms=500, scale=1)
    assert scaled == (abs(pooled - mean) < 1e-12)
    after = net.evaluate(X, y)["r2"]
    each = [1 - np.mean((p - t) ** 2) / t.var() for p, t in zip(net.predict(X).T, y.T, strict=True)]
    assert_close(np.float64(after), np.mean(each), terms=500, scale=max(map(abs, each)))


def test_the_network_keeps_the_newest_history() -> None:
    net = fn.Network([3, 4, 1], backend="numpy")
    assert net.history is None
    first = net.fit(X, Y, epochs=2)
    assert net.history is first
    second = net.fit(X, Y, epochs=2)
    assert net.history is second
    assert (first.epochs, second.epochs) == ([1, 2], [3, 4])


def test_a_short_text_describes_it() -> None:
    text = repr(train())
    assert text.startswith("<History of 3 epochs")
    assert "loss=" in text
    assert "0 epochs" in repr(fn.History())


def test_a_history_can_be_pickled() -> None:
    history = train()
    other = pickle.loads(pickle.dumps(history))
    assert other.records == history.records
    assert other.epochs == history.epochs


def test_seconds_are_those_of_training() -> None:
    import time

    started = time.perf_counter()
    history = train()
    assert 0 < history.seconds <= time.perf_counter() - started


# --- the picture ----------------------------------------------------------------------------------


def test_the_picture_has_a_panel_for_each_metric() -> None:
    pytest.importorskip("matplotlib")
    history = train(validation_split=0.25, metrics=["mae"], early_stopping=3)
    figure = history.plot()
    assert [axis.get_title() for axis in figure.axes] == ["loss", "r2", "mae"]
    labels = [[line.get_label() for line in axis.lines] for axis in figure.axes]
    assert labels[0] == ["training", "validation", "best epoch"]
    assert figure.axes[0].lines[0].get_xdata().tolist() == [1, 2, 3]
    assert figure.axes[0].lines[1].get_ydata().tolist() == history["val_loss"]


def test_a_metric_of_the_validation_rows_alone_is_called_so() -> None:
    pytest.importorskip("matplotlib")
    history = train(validation_split=0.25, metrics=["mae"])
    mae = history.plot().axes[2]
    assert [line.get_label() for line in mae.lines] == ["validation"]


@pytest.mark.parametrize("ending", ["png", "svg", "pdf"])
def test_the_picture_can_be_saved(tmp_path: Path, ending: str) -> None:
    pytest.importorskip("matplotlib")
    path = tmp_path / f"curves.{ending}"
    train().plot(str(path))
    assert path.stat().st_size > 1000
    train().plot(path)


def test_pictures_leave_the_state_of_pyplot_alone() -> None:
    pyplot = pytest.importorskip("matplotlib.pyplot")
    train().plot()
    assert pyplot.get_fignums() == []


def test_an_empty_history_has_an_empty_picture() -> None:
    pytest.importorskip("matplotlib")
    assert len(fn.History().plot().axes) == 1
