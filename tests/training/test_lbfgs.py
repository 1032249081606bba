"""L-BFGS: the exact minimum where there is one, and the same conveniences as the others."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import fastnet as fn
from fastnet.preprocessing.scaler import Scaler
from tests.closeness import assert_close
from tests.on_backends import each_backend, on_host

pytest.importorskip("scipy")

Array = NDArray[Any]


RNG = np.random.default_rng(0)
X = RNG.standard_normal((60, 4))
REAL = X @ RNG.standard_normal((4, 2)) + [1.0, -2.0] + 0.1 * RNG.standard_normal((60, 2))
LABELS = (X[:, 0] + 0.5 * RNG.standard_normal(60) > 0).astype(int)
WEIGHT = RNG.uniform(0.25, 2, 60)

EXACT = {"tolerance": 1e-15, "gradient_tolerance": 1e-12}


def least_squares(l2: float = 0.0, weight: Array | None = None) -> Array:
    """Return weights and bias (5, 2) of the exact minimum, the bias without a penalty.

    The loss is the mean over rows and outputs: ``sum(w e^2) / (2 sum(w)) + l2/2 |W|^2``.
    """
    weight = np.ones(60) if weight is None else weight
    a = np.hstack([X, np.ones((60, 1))])
    share = weight / weight.sum()
    penalty = l2 * np.diag([1.0, 1, 1, 1, 0])
    return np.linalg.solve(a.T @ (share[:, None] * a) + penalty, a.T @ (share[:, None] * REAL))


def linear(backend: str = "numpy", **options: Any) -> fn.Network:
    return fn.Network([4, 2], backend=backend, **{"dtype": "float64", **options})


def found(net: fn.Network) -> Array:
    to_host = net.backend_object.to_host
    return np.vstack([to_host(net.weights[0]), to_host(net.biases[0])])


# --- the minimum ----------------------------------------------------------------------------------


def assert_near(actual: Array, expected: Array) -> None:
    """Compare where the loss is flat: half of its digits are those of the weights."""
    assert_close(actual, expected, factor=float(np.finfo(actual.dtype).eps) ** -0.5)


@each_backend
@pytest.mark.parametrize("l2", [0.0, 0.3])
@pytest.mark.parametrize("weight", [None, WEIGHT])
def test_a_linear_model_ends_at_the_least_squares_solution(
    l2: float, weight: Array | None, backend: str
) -> None:
    net = linear(backend)
    optimizer = fn.LBFGS(l2=l2, **EXACT)
    history = net.fit(X, REAL, optimizer=optimizer, epochs=200, sample_weight=weight)
    assert history.stop_reason == "converged"
    assert_near(found(net), least_squares(l2, weight))
    with pytest.raises(AssertionError):
        assert_near(found(net), least_squares(l2 + 1e-5, weight))


def test_the_default_tolerances_come_close_enough() -> None:
    net = linear()
    net.fit(X, REAL, optimizer="lbfgs", epochs=200)
    exact = linear()
    exact.weights[0][...], exact.biases[0][...] = least_squares()[:4], least_squares()[4]
    best = exact.evaluate(X, REAL)["loss"]
    assert best <= net.evaluate(X, REAL)["loss"] < 1.0001 * best


@each_backend
def test_float32_comes_as_close_as_its_digits(backend: str) -> None:
    net = linear(backend, dtype="float32")
    net.fit(X, REAL, optimizer=fn.LBFGS(**EXACT), epochs=200)
    assert on_host(net).dtype == np.float32
    assert_near(found(net), least_squares())
    with pytest.raises(AssertionError):
        assert_near(found(net), least_squares(l2=0.01))


def test_logistic_regression_ends_where_the_slope_vanishes() -> None:
    net = fn.Network([4, 1], output_activation="sigmoid", dtype="float64", backend="numpy")
    net.fit(X, LABELS, optimizer=fn.LBFGS(**EXACT), epochs=200)
    flat = np.concatenate([g.ravel() for g in net.gradients(X, LABELS).values()])
    start = fn.Network([4, 1], output_activation="sigmoid", dtype="float64", backend="numpy")
    steep = np.concatenate([g.ravel() for g in start.gradients(X, LABELS).values()])
    assert np.abs(flat).max() < 1e-6 * np.abs(steep).max()


def test_l1_drives_useless_weights_towards_zero() -> None:
    x = np.hstack([X, RNG.standard_normal((60, 4))])
    plain, sparse = (fn.Network([8, 2], dtype="float64", backend="numpy") for _ in range(2))
    plain.fit(x, REAL, optimizer=fn.LBFGS(), epochs=200)
    sparse.fit(x, REAL, optimizer=fn.LBFGS(l1=0.05), epochs=200)
    assert np.abs(sparse.weights[0][4:]).sum() < 0.1 * np.abs(plain.weights[0][4:]).sum()


@each_backend
def test_a_network_with_hidden_layers_trains(backend: str) -> None:
    layers = [fn.Dense(6, "tanh"), fn.LayerNorm(), fn.Dense(2, "softmax")]
    net = fn.Network(layers, inputs=4, backend=backend, dtype="float64")
    history = net.fit(X, LABELS, optimizer="lbfgs", epochs=60)
    assert history["loss"][-1] < 0.2 * net.copy().fit(X, LABELS, epochs=1)["loss"][0] + 0.2
    assert history["accuracy"][-1] > 0.95


# --- like the other optimizers --------------------------------------------------------------------


def test_an_epoch_is_an_iteration() -> None:
    net = linear()
    history = net.fit(X, REAL, optimizer="lbfgs", epochs=3)
    assert history.epochs == [1, 2, 3]
    assert history.stop_reason == "epochs"
    assert history["loss"] == sorted(history["loss"], reverse=True)
    assert history["loss"][-1] == net.evaluate(X, REAL)["loss"]
    # Of a training batch, R2 pools the outputs.
    error, spread = net.predict(X) - REAL, REAL - REAL.mean(axis=0)
    assert_close(
        np.float64(history["r2"][-1]), 1 - np.mean(error**2) / np.mean(spread**2), terms=500
    )
    assert net.history is history


def test_the_number_of_evaluations_is_bounded() -> None:
    def trained(**options: Any) -> fn.History:
        net = fn.Network([4, 8, 2], activation="tanh", dtype="float64", backend="numpy")
        return net.fit(X, REAL, optimizer=fn.LBFGS(**options), epochs=50)

    few, many = trained(evaluations=10), trained()
    assert few.stop_reason == "evaluations"
    assert 0 < len(few.epochs) <= 10 < len(many.epochs)
    assert few["loss"] == many["loss"][: len(few.epochs)]


def test_the_history_goes_on_from_other_optimizers_and_to_them() -> None:
    net = linear()
    net.fit(X, REAL, epochs=3)
    assert net.fit(X, REAL, optimizer="lbfgs", epochs=2).epochs == [4, 5]
    assert net.fit(X, REAL, epochs=2).epochs == [6, 7]


@each_backend
def test_validation_and_metrics_are_kept(backend: str) -> None:
    net = linear(backend)
    history = net.fit(
        X[:40],
        REAL[:40],
        optimizer="lbfgs",
        epochs=5,
        validation_data=(X[40:], REAL[40:]),
        metrics=["mae"],
    )
    values = net.evaluate(X[40:], REAL[40:], metrics=["mae"])
    for name, value in values.items():
        assert history[f"val_{name}"][-1] == value
    assert len(history["val_mae"]) == 5


def test_a_callback_can_stop_it_at_what_it_saw() -> None:
    seen: list[Array] = []

    def stop(run: fn.Run) -> None:
        seen.append(run.network.predict(X))
        if run.epoch == 2:
            run.stop()

    net = linear()
    history = net.fit(X, REAL, optimizer="lbfgs", epochs=50, callbacks=[stop])
    assert history.epochs == [1, 2]
    assert np.array_equal(net.predict(X), seen[-1])


def test_standardised_inputs_and_class_weights_work() -> None:
    net = fn.Network([4, 2], output_activation="softmax", backend="numpy", dtype="float64")
    options = {"standardize": True, "class_weight": "balanced", "epochs": 100}
    net.fit(1000 * X + 50, LABELS, optimizer="lbfgs", **options)
    assert isinstance(net.preprocessor, Scaler)
    assert net.evaluate(1000 * X + 50, LABELS)["accuracy"] > 0.8


@each_backend
def test_batch_normalisation_uses_all_rows_and_moves_its_statistics(backend: str) -> None:
    net = fn.Network([fn.Dense(5), fn.BatchNorm("tanh"), fn.Dense(2)], inputs=4, backend=backend)
    before = np.array(net.backend_object.to_host(net.state))
    history = net.fit(X, REAL, optimizer="lbfgs", epochs=60)
    assert history["loss"][-1] < history["loss"][0]
    state = net.backend_object.to_host(net.state)
    assert np.isfinite(state).all()
    assert not np.array_equal(state, before)


# --- what it cannot do ----------------------------------------------------------------------------


def test_dropout_is_refused_and_nothing_has_changed() -> None:
    net = fn.Network([fn.Dense(5), fn.Dropout(0.5), fn.Dense(2)], inputs=4, backend="numpy")
    before = on_host(net)
    with pytest.raises(fn.InputError, match="dropout"):
        net.fit(X, REAL, optimizer="lbfgs", standardize=True)
    assert np.array_equal(on_host(net), before)
    assert net.preprocessor.description() == ({}, {})
    still = fn.Network([fn.Dense(5), fn.Dropout(0.0), fn.Dense(2)], inputs=4, backend="numpy")
    assert still.fit(X, REAL, optimizer="lbfgs", epochs=2).epochs == [1, 2]


@each_backend
def test_divergence_brings_the_last_good_weights_back(backend: str) -> None:
    net = linear(backend, dtype="float32")
    before = on_host(net)
    with pytest.raises(fn.DivergenceError, match="not finite"):
        net.fit(X * 1e25, REAL, optimizer="lbfgs", epochs=50)
    assert np.array_equal(on_host(net), before)
    assert net.fit(X, REAL, optimizer="lbfgs", epochs=5)["loss"]
