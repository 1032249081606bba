"""Uncertainty: temperatures, calibration error, standard deviations and quantiles."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

import fastnet as fn
from fastnet.inspection.calibration import BOUNDS, uncalibrated
from fastnet.nn import metrics
from fastnet.nn.metrics import METRICS
from tests.cli.calling import run
from tests.closeness import assert_close

Array = NDArray[Any]
RNG = np.random.default_rng(0)


def overconfident(
    backend: str = "numpy", dtype: str = "float64"
) -> tuple[fn.Network, Array, Array]:
    """Return a network that is four times too sure, and rows that say so."""
    net = fn.Network([3, 4], output_activation="softmax", dtype=dtype, seed=2, backend=backend)
    x = np.random.default_rng(1).normal(size=(4000, 3))
    odds = net.predict(x).cumsum(axis=1)
    labels = (np.random.default_rng(2).random((4000, 1)) > odds).sum(axis=1).clip(max=3)
    net.parameters[...] *= 4.0
    return net, x, labels


# --- the calibration error ------------------------------------------------------------------------


def by_definition(sure: Array, right: Array, weight: Array) -> float:
    """Return the calibration error bin by bin."""
    total = 0.0
    for k in range(15):
        inside = (k <= 15 * sure) & ((15 * sure < k + 1) | (k == 14))
        if inside.any():
            gap = np.average(sure[inside] - right[inside], weights=weight[inside])
            total += weight[inside].sum() * abs(gap)
    return total / weight.sum()


@pytest.mark.parametrize("weighted", [False, True])
def test_the_calibration_error_is_that_of_the_definition(weighted: bool) -> None:
    output = RNG.dirichlet(np.ones(3), 300)
    truth = RNG.integers(0, 3, 300)
    weight = RNG.uniform(0.5, 2, 300) if weighted else np.ones(300)
    expected = by_definition(output.max(axis=1), output.argmax(axis=1) == truth, weight)
    assert 0.05 < expected < 0.9
    actual = metrics.calibration_error(truth, output, weight if weighted else None)
    assert_close(np.float64(actual), expected, terms=300)


def test_it_is_zero_for_answers_as_sure_as_they_are_right() -> None:
    output = np.tile([0.75, 0.25], (8, 1))
    assert metrics.calibration_error(np.array([0, 0, 0, 1] * 2), output) == pytest.approx(0)
    assert metrics.calibration_error(np.array([1] * 8), output) == pytest.approx(0.75)
    assert metrics.calibration_error(np.array([0] * 8), output) == pytest.approx(0.25)


def test_one_yes_or_no_output_is_two_classes() -> None:
    truth, p = RNG.integers(0, 2, 100), RNG.random(100)
    one = METRICS["calibration_error"](truth[:, None].astype(float), p[:, None], None)
    two = METRICS["calibration_error"](truth, np.stack([1 - p, p], axis=1), None)
    assert_close(np.float64(one), two, terms=100)


def test_certain_answers_are_in_the_last_bin() -> None:
    assert metrics.calibration_error(np.array([0, 1]), np.eye(2)) == 0.0


# --- the temperature ------------------------------------------------------------------------------


def test_the_temperature_is_the_one_of_the_smallest_loss() -> None:
    net, x, labels = overconfident()

    def loss(logarithm: float) -> float:
        other = net.copy()
        other.parameters[...] /= np.exp(logarithm)
        return other.evaluate(x, labels)["loss"]

    best = float(np.exp(minimize_scalar(loss, bounds=(-3, 3), options={"xatol": 1e-9}).x))
    before = net.evaluate(x, labels, metrics=["calibration_error"])
    temperature = net.calibrate(x, labels)
    after = net.evaluate(x, labels, metrics=["calibration_error"])
    assert temperature == pytest.approx(best, rel=1e-5)
    assert temperature == pytest.approx(4, rel=0.1)
    assert after["loss"] < before["loss"]
    assert after["calibration_error"] < before["calibration_error"] / 5
    assert after["accuracy"] == before["accuracy"]


@pytest.mark.parametrize("backend", ["numpy", "numba"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_predictions_are_those_at_the_temperature(backend: str, dtype: str) -> None:
    net, x, labels = overconfident(backend, dtype)
    z = np.log(net.predict(x).astype(np.float64))
    temperature = net.calibrate(x, labels)
    e = np.exp(z / temperature)
    assert_close(net.predict(x), e / e.sum(axis=1, keepdims=True), terms=50, scale=1.0)


def test_yes_or_no_outputs_are_calibrated_too() -> None:
    net = fn.Network([2, 2], output_activation="sigmoid", dtype="float64", seed=3, backend="numpy")
    x = RNG.normal(size=(4000, 2))
    target = (RNG.random((4000, 2)) < net.predict(x)).astype(float)
    net.parameters[...] /= 3.0
    before = net.evaluate(x, target)["loss"]
    assert net.calibrate(x, target) == pytest.approx(1 / 3, rel=0.1)
    assert net.evaluate(x, target)["loss"] < before


def test_a_weight_of_two_is_a_row_twice() -> None:
    net, x, labels = overconfident()
    weight = np.random.default_rng(5).integers(0, 3, len(x))
    rows = np.repeat(np.arange(len(x)), weight)
    twice = net.copy().calibrate(x[rows], labels[rows])
    assert net.copy().calibrate(x, labels, sample_weight=weight) == pytest.approx(twice, rel=1e-9)
    assert net.calibrate(x, labels) != pytest.approx(twice, rel=1e-9)


def test_answers_that_are_all_right_end_at_the_bound() -> None:
    net, x, _ = overconfident()
    best = net.predict(x).argmax(axis=1)
    assert net.copy().calibrate(x, best) == pytest.approx(BOUNDS[0])
    assert net.calibrate(x, (best + 1) % 4) == pytest.approx(BOUNDS[1])


def test_it_is_kept_copied_stored_and_undone(tmp_path: Path) -> None:
    net, x, labels = overconfident()
    original = net.predict(x)
    first = net.calibrate(x, labels)
    assert net.calibrate(x, labels) == pytest.approx(first)  # there is nothing left to change
    net.save(tmp_path / "m.safetensors")
    again = fn.load(tmp_path / "m.safetensors", backend="numpy")
    assert again.temperature == net.temperature == net.copy().temperature
    assert (again.predict(x) == net.predict(x)).all()
    assert_close(uncalibrated(again).predict(x), original, terms=50, scale=1.0)
    assert uncalibrated(again).temperature is None
    assert again.temperature is not None


def test_more_training_and_new_weights_forget_it() -> None:
    net, x, labels = overconfident()
    for change in (
        lambda: net.fit(x, labels, epochs=1),
        lambda: net.partial_fit(x, labels),
        lambda: net.initialize(),
    ):
        net.calibrate(x, labels)
        assert net.temperature is not None
        change()
        assert net.temperature is None


def test_numbers_have_no_temperature() -> None:
    net = fn.Network([2, 1], backend="numpy")
    with pytest.raises(fn.InputError, match="only probabilities can be calibrated"):
        net.calibrate(np.zeros((3, 2)), np.zeros(3))


# --- deviations and quantiles ---------------------------------------------------------------------


def test_predict_returns_standard_deviations() -> None:
    x = RNG.normal(size=(2000, 1))
    noise = np.where(x > 0, 0.5, 0.1)
    y = np.hstack([2 * x, -x]) + noise * RNG.normal(size=(2000, 2))
    net = fn.Network([1, 32, 4], activation="tanh", seed=1, backend="numpy")
    net.fit(x, y, loss="gaussian_nll", optimizer=fn.Adam(1e-2), epochs=60, standardize=True)
    mean, std = net.predict([[-1.0], [1.0]], return_std=True)
    outputs = net.predict([[-1.0], [1.0]])
    assert mean.tolist() == outputs[:, :2].tolist()
    assert_close(std, np.exp(outputs[:, 2:].astype(np.float64) / 2))
    assert mean == pytest.approx(np.array([[-2.0, 1.0], [2.0, -1.0]]), abs=0.2)
    assert std == pytest.approx(np.array([[0.1, 0.1], [0.5, 0.5]]), rel=0.4)


def test_a_variance_below_the_floor_of_the_loss_counts_as_the_floor() -> None:
    net = fn.Network([1, 2], dtype="float64", backend="numpy")
    net.loss, net.parameters = fn.losses.GaussianNLL(), [0.0, 0.0, 5.0, -99.0]
    _, std = net.predict([[1.0]], return_std=True)
    assert std[0, 0] == pytest.approx(1e-3, rel=1e-12)


def test_quantiles_come_by_name() -> None:
    net = fn.Network([1, 6], backend="numpy")
    net.loss = fn.losses.Quantile((0.1, 0.5, 0.9))
    x = RNG.normal(size=(4, 1))
    found = net.predict_quantiles(x)
    assert list(found) == [0.1, 0.5, 0.9]
    assert np.hstack(list(found.values())).tolist() == net.predict(x).tolist()
    assert found[0.5].shape == (4, 2)


def test_a_network_trained_otherwise_has_neither() -> None:
    net = fn.Network([1, 2], backend="numpy")
    with pytest.raises(fn.InputError, match="train it with loss='gaussian_nll'"):
        net.predict([[1.0]], return_std=True)
    with pytest.raises(fn.InputError, match="train it with loss='quantile'"):
        net.predict_quantiles([[1.0]])


# --- from the command line ------------------------------------------------------------------------


def test_train_calibrates_and_evaluate_compares(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = run("train", "digits", "--hidden", "32", "--epochs", 30, "--validation", 0.3,
               "--optimizer", "adam", "--schedule", "constant", "--learning-rate", 0.01,
               "--batch-size", 128, "--quiet", "--backend", "numpy", "--calibrate")  # fmt: skip
    assert done.exit_code == 0, done.output
    line = next(text for text in done.stdout.splitlines() if text.startswith("calibrated"))
    net = fn.load("model.safetensors", backend="numpy")
    assert net.temperature is not None
    assert f"temperature {net.temperature:.4f}: loss " in line
    # The rows that validated are the ones that it was fitted to.
    data = fn.data.load("digits")
    plain = fn.Network(net.layers, inputs=64, backend="numpy")
    plain.fit(data.x, data.y, epochs=30, validation_split=0.3, optimizer=fn.Adam(0.01))
    assert plain.history is not None
    before = float(line.split("loss ")[1].split()[0])
    assert before == pytest.approx(plain.history["val_loss"][-1], abs=1e-4)

    lines = run("evaluate", "model.safetensors", "digits", "--backend", "numpy").stdout.splitlines()
    assert "before calibration" in next(text for text in lines if text.startswith("loss "))
    result = run("evaluate", "model.safetensors", "digits", "--json", "--backend", "numpy").stdout
    content = json.loads(result)
    undone = uncalibrated(net).evaluate(data.test.x, data.test.y, metrics=["calibration_error"])
    assert content["calibration"]["temperature"] == net.temperature
    for name in ("loss", "calibration_error"):
        assert content["calibration"]["before"][name] == pytest.approx(undone[name])
        assert content["metrics"][name] != undone[name]
    assert "calibrated" in run("info", "model.safetensors").stdout
