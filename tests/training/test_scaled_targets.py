"""Scaled targets of arrays: what is learnt, and that everything outside is in their unit."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import fastnet as fn
from fastnet.backends.base import Backend
from fastnet.data import Chunks
from fastnet.nn.losses import LOSSES
from fastnet.preprocessing.learn import SCALED
from fastnet.preprocessing.samples import split_index
from tests.closeness import assert_close

Array = NDArray[Any]

RNG = np.random.default_rng(12)
COUNT = 90
X = RNG.normal(size=(COUNT, 3))
Z = np.stack([X[:, 0] - X[:, 1], np.tanh(X[:, 2])], 1) + 0.1 * RNG.normal(size=(COUNT, 2))
UNIT, ORIGIN = np.array([700.0, 0.02]), np.array([-5e4, 3.0])
Y = Z * UNIT + ORIGIN
WEIGHT = RNG.integers(0, 4, COUNT) / 2


def network(loss: str = "mse", *, targets: int = 2, backend: Backend | None = None) -> fn.Network:
    outputs = targets * LOSSES[loss]().outputs_per_target
    net = fn.Network([3, 6, outputs], activation="tanh", dtype="float64", seed=3, backend="numpy")
    return net if backend is None else net._copy_to(backend, "float32")


def flat(net: fn.Network) -> Array:
    return np.array(net.backend_object.to_host(net.parameters))


def scale_of(rows: Array, weight: Array | None = None) -> tuple[Array, Array]:
    mean = np.average(rows, axis=0, weights=weight)
    return mean, np.sqrt(np.average((rows - mean) ** 2, axis=0, weights=weight))


@pytest.mark.parametrize("standardize", [False, True])
@pytest.mark.parametrize("loss", SCALED)
def test_training_is_that_on_scaled_targets(backend: Backend, loss: str, standardize: bool) -> None:
    options: dict[str, Any] = {"loss": loss, "epochs": 3, "batch_size": 16, "shuffle": False}
    options |= {"standardize": standardize, "sample_weight": WEIGHT}
    one, other = network(loss, backend=backend), network(loss, backend=backend)
    got = one.fit(X, Y, standardize_targets=True, **options)
    mean, scale = scale_of(Y, WEIGHT)
    expected = other.fit(X, (Y - mean) / scale, **options)
    assert_close(flat(one), flat(other), terms=1000)
    assert_close(np.array(got["loss"]), np.array(expected["loss"]), terms=1000)
    target = one.preprocessor.target
    assert target is not None
    assert_close(target.center, mean, terms=COUNT)
    assert_close(target.scale, scale, terms=COUNT)


def test_predictions_and_metrics_are_in_the_unit_of_the_targets(backend: Backend) -> None:
    net = network(backend=backend)
    options: dict[str, Any] = {"optimizer": fn.Adam(0.02), "batch_size": 16}
    history = net.fit(
        X,
        Y,
        epochs=150,
        metrics=["mae"],
        validation_data=(X[:20], Y[:20]),
        standardize_targets=True,
        **options,
    )
    predicted = net.predict(X)
    assert (np.abs(predicted.mean(axis=0) - Y.mean(axis=0)) < 0.2 * UNIT).all()
    assert np.array_equal(net.predict_one(X[3]), net.predict(X[3:4])[0])
    error = float(np.abs(predicted[:20] - Y[:20]).mean())
    assert history["val_mae"][-1] == pytest.approx(error, rel=1e-9)
    measured = net.evaluate(X, Y, metrics=["rmse"])
    assert measured["rmse"] == pytest.approx(
        float(np.sqrt(np.mean((predicted - Y) ** 2))), rel=1e-9
    )
    assert measured["r2"] > 0.9
    # Without a scale, nothing is learnt of targets of this size.
    plain = network(backend=backend)
    plain.fit(X, Y, epochs=150, **options)
    assert plain.evaluate(X, Y)["r2"] < 0


@pytest.mark.parametrize("way", ["weight", "split"])
def test_only_rows_that_train_count(way: str) -> None:
    net = network()
    if way == "weight":
        weight = np.where(np.arange(COUNT) < 40, 0.0, 2.0)
        net.fit(X, Y, sample_weight=weight, standardize_targets=True, epochs=1)
        kept = np.flatnonzero(weight)
    else:
        net.fit(X, Y, validation_split=0.4, standardize_targets=True, epochs=1)
        kept = split_index(COUNT, 0.4, 3)[0]
    assert net.preprocessor.target is not None
    assert_close(net.preprocessor.target.center, Y[kept].mean(axis=0), terms=COUNT)


def test_a_network_keeps_its_scale(backend: Backend) -> None:
    net = network(backend=backend)
    net.fit(X, Y, standardize_targets=True, epochs=1)
    target = net.preprocessor.target
    for again in (True, False):
        net.fit(X, Y * 3, standardize_targets=again, standardize="running", epochs=1)
        assert net.preprocessor.target is target
    net.partial_fit(X, Y)
    assert net.preprocessor.target is target


@pytest.mark.parametrize("loss", SCALED)
def test_a_file_and_a_pickle_hold_the_scale(loss: str, tmp_path: Path) -> None:
    net = network(loss)
    net.fit(X, Y, loss=loss, standardize=True, standardize_targets=True, epochs=2)
    net.save(tmp_path / "net.safetensors")
    for other in (
        fn.load(tmp_path / "net.safetensors", backend="numpy"),
        pickle.loads(pickle.dumps(net)),
        net.copy(),
    ):
        assert np.array_equal(other.predict(X), net.predict(X))
        assert other.evaluate(X, Y) == net.evaluate(X, Y)


@pytest.mark.parametrize("name", ["c", "numpy", "onnx", "modules"])
@pytest.mark.parametrize("standardize", [False, True])
def test_exports_answer_in_the_unit_of_the_targets(
    name: str, standardize: bool, tmp_path: Path
) -> None:
    formats = pytest.importorskip("tests.export.formats")
    net = fn.Network([3, 6, 2], activation="tanh", backend="numpy", seed=3)
    net.fit(X, Y, standardize=standardize, standardize_targets=True, epochs=2)
    answer = formats.ANSWERS[name](net, X.astype(np.float32), tmp_path)
    expected = net.predict(X.astype(np.float32))
    for k in range(2):
        assert_close(answer[:, k], expected[:, k], terms=100)


@pytest.mark.parametrize("chunk_rows", [COUNT, 20])
def test_chunks_scale_targets_too(chunk_rows: int, tmp_path: Path) -> None:
    matrix = np.column_stack([X, Y, WEIGHT])
    chunks = Chunks(matrix, target=(3, 4), weight=5, chunk_rows=chunk_rows)
    net, other = network(), network()
    options: dict[str, Any] = {"standardize_targets": True, "epochs": 4, "batch_size": 10}
    options |= {"validation_data": (X, Y), "metrics": ["mae"]}
    history = net.fit(chunks, **options)
    mean, scale = scale_of(Y, WEIGHT)
    assert net.preprocessor.target is not None
    assert_close(net.preprocessor.target.center, mean, terms=COUNT)
    assert_close(net.preprocessor.target.scale, scale, terms=COUNT)
    error = float(np.abs(net.predict(X) - Y).mean())
    assert history["val_mae"][-1] == pytest.approx(error, rel=1e-9)
    if chunk_rows == COUNT:
        del options["validation_data"], options["metrics"], options["standardize_targets"]
        scaled = np.column_stack([X, (Y - mean) / scale, WEIGHT])
        twin = Chunks(scaled, target=(3, 4), weight=5, chunk_rows=chunk_rows)
        expected = other.fit(twin, **options)
        assert history["r2"] == pytest.approx(expected["r2"], rel=1e-9)
        assert_close(flat(net), flat(other), terms=1000)


@pytest.mark.parametrize("chunked", [False, True])
def test_a_run_resumes_with_its_scale(chunked: bool, tmp_path: Path) -> None:
    matrix = np.column_stack([X, Y])
    rows: tuple[Any, ...] = (X, Y)
    if chunked:
        rows = (Chunks(matrix, target=(3, 4), chunk_rows=30),)
    how: dict[str, Any] = {"standardize_targets": True, "batch_size": 10, "checkpoint_every": 1}
    whole, first, second = (network() for _ in range(3))
    whole.fit(*rows, epochs=4, standardize_targets=True, batch_size=10)
    first.fit(*rows, epochs=2, checkpoint=tmp_path, **how)
    second.fit(*rows, epochs=4, checkpoint=tmp_path, resume=True, **how)
    assert np.array_equal(flat(second), flat(whole))
    assert np.array_equal(second.predict(X), whole.predict(X))
    with pytest.raises(fn.InputError, match="checkpoints of another run"):
        del how["standardize_targets"]
        network().fit(*rows, epochs=6, checkpoint=tmp_path, resume=True, **how)


@pytest.mark.parametrize(
    ("output", "loss"), [("exp", "poisson"), ("sigmoid", None), ("softplus", "mse")]
)
def test_what_cannot_be_scaled_is_refused(output: str, loss: str | None) -> None:
    net = fn.Network([3, 1], output_activation=output, backend="numpy")
    with pytest.raises(fn.InputError, match="standardize_targets goes with the losses mse, mae"):
        net.fit(X, np.abs(Z[:, :1]), loss=loss, standardize_targets=True)


def test_a_table_scales_its_targets_anyway() -> None:
    table = {"a": X[:, 0], "b": X[:, 1], "c": X[:, 2]}
    nets = [network(), network()]
    for net, asks in zip(nets, (True, False), strict=True):
        net.fit(table, Y, epochs=1, standardize_targets=asks)
    assert np.array_equal(flat(nets[0]), flat(nets[1]))


# --- R2 of several outputs ------------------------------------------------------------------------


@pytest.mark.parametrize("loss", ["mse", "gaussian_nll"])
@pytest.mark.parametrize("scaled", [False, True])
def test_r2_is_the_mean_over_outputs(backend: Backend, loss: str, scaled: bool) -> None:
    sklearn_metrics = pytest.importorskip("sklearn.metrics")
    net = network(loss, backend=backend)
    y = Y if scaled else Z * [5.0, 0.1]
    held = X[:30], y[:30], WEIGHT[:30]
    options: dict[str, Any] = {"loss": loss, "epochs": 5, "standardize_targets": scaled}
    history = net.fit(X, y, validation_data=held, **options)
    for weight in (None, WEIGHT):
        score = sklearn_metrics.r2_score(y, net.predict(X)[:, :2], sample_weight=weight)
        measured = net.evaluate(X, y, sample_weight=weight)["r2"]
        assert measured == pytest.approx(score, rel=1e-6)
    mine = sklearn_metrics.r2_score(held[1], net.predict(held[0])[:, :2], sample_weight=held[2])
    assert history["val_r2"][-1] == pytest.approx(mine, rel=1e-6)


# --- foreign warnings -----------------------------------------------------------------------------

EXTREME: dict[str, tuple[dict[str, Any], float]] = {
    "adam": ({"optimizer": fn.Adam(1e308)}, 1.0),
    "nadam": ({"optimizer": fn.NAdam(1e308, weight_decay=1e10)}, 1.0),
    "sgd": ({"optimizer": fn.SGD(1e300, weight_decay=1e300, l1=1e300)}, 1.0),
    "lbfgs": ({"optimizer": fn.LBFGS(l2=1e300)}, 1e150),
    "targets": ({"metrics": ["rmse", "mae"], "validation_split": 0.2}, 1e250),
    "scaled targets": ({"standardize_targets": True, "standardize": True}, 1e250),
    "early stopping": ({"early_stopping": 2}, 1e250),
    "weights": ({"sample_weight": np.full(COUNT, 1e308)}, 1.0),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("options", "size"), EXTREME.values(), ids=EXTREME)
def test_no_warning_of_numpy_comes_before_a_divergence(
    backend: Backend, options: dict[str, Any], size: float
) -> None:
    net = network(targets=1, backend=backend)
    try:
        history = net.fit(X * min(size, 1e100), Z[:, 0] * size, epochs=3, batch_size=16, **options)
    except (fn.DivergenceError, fn.InputError):
        assert net.is_finite()
    else:
        assert np.isfinite(history["loss"]).all()
