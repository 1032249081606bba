"""The reference is held against central differences, so that the rest can be held against it."""

from __future__ import annotations

import ast
import itertools
import math
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import reference

STEP = 1e-3
# Richardson's combination of two central differences is off by about h^4 f'''''/480, some 1e-13
# here, and by the rounding of f over h, 1e-16 / 1e-3. A wrong formula is off by 1e-3 or more.
TOLERANCE = 3e-11


def slope(f: Callable[[float], float], at: float) -> float:
    """The derivative of f by two central differences and Richardson's extrapolation."""
    wide = (f(at + STEP) - f(at - STEP)) / (2 * STEP)
    narrow = (f(at + STEP / 2) - f(at - STEP / 2)) / STEP
    return (4 * narrow - wide) / 3


def assert_slope(claimed: float, f: Callable[[float], float], at: float, size: float) -> None:
    assert abs(claimed - slope(f, at)) <= TOLERANCE * size


def matrix(rng: random.Random, rows: int, columns: int, scale: float = 1.0) -> list:
    return [[rng.gauss(0, scale) for _ in range(columns)] for _ in range(rows)]


def dense(rng: random.Random, inputs: int, outputs: int, activation: str) -> dict:
    w = matrix(rng, inputs, outputs, 0.4)
    return {"kind": "dense", "w": w, "b": matrix(rng, 1, outputs, 0.3)[0], "activation": activation}


def norm(rng: random.Random, kind: str, width: int, activation: str) -> dict:
    return {
        "kind": kind,
        "w": [rng.uniform(0.5, 1.5) for _ in range(width)],
        "b": matrix(rng, 1, width, 0.3)[0],
        "activation": activation,
        "epsilon": 1e-2,
        "momentum": 0.1,
        "running_mean": matrix(rng, 1, width, 0.3)[0],
        "running_var": [rng.uniform(0.5, 1.5) for _ in range(width)],
    }


def targets(rng: random.Random, loss: str, rows: int, outputs: int) -> list:
    if loss == "cross_entropy":
        return [reference.softmax(row) for row in matrix(rng, rows, outputs)]
    if loss == "binary_cross_entropy":
        return [[float(rng.random() < 0.5) for _ in range(outputs)] for _ in range(rows)]
    if loss == "gaussian_nll":
        return matrix(rng, rows, outputs // 2)
    if loss == "quantile":
        return matrix(rng, rows, outputs // 3)
    return matrix(rng, rows, outputs)


KINKED = ("relu", "leaky_relu", "elu", "selu")


def is_smooth_nearby(network: list, x: list, target: list, loss: str, delta: float = 1.0) -> bool:
    """Whether no pre-activation and no error is close to a place where a derivative jumps."""
    trace = reference.forward(network, x)
    distances = [
        abs(z)
        for layer, seen in zip(network, trace, strict=True)
        if layer.get("activation") in KINKED
        for row in seen["z"]
        for z in row
    ]
    for row, t in zip(trace[-1]["y"], target, strict=True):
        errors = [abs(y - t[i % len(t)]) for i, y in enumerate(row)]
        if loss in ("mae", "quantile"):
            distances += errors
        elif loss == "huber":
            distances += [abs(e - delta) for e in errors]
    return min(distances, default=1.0) > 10 * STEP


def check_every_parameter(network: list, x: list, target: list, loss: str, **more: object) -> None:
    """Hold the gradient of every parameter against the slope of the mean loss."""
    result = reference.loss_and_gradients(network, x, target, loss, **more)
    claimed = reference.flatten(network, result["gradients"])
    flat = reference.flatten(network, network)
    size = max(1.0, max(map(abs, claimed)), abs(result["loss"] / result["weight"]))

    def mean_loss(index: int, value: float) -> float:
        changed = [dict(layer) for layer in network]
        for layer in changed:
            for key in ("running_mean", "running_var"):
                if key in layer:
                    layer[key] = list(layer[key])
        reference.unflatten(changed, [*flat[:index], value, *flat[index + 1 :]])
        again = reference.loss_and_gradients(changed, x, target, loss, **more)
        return again["loss"] / again["weight"]

    for index, value in enumerate(claimed):
        assert_slope(value, lambda v, i=index: mean_loss(i, v), flat[index], size)


def test_the_reference_imports_nothing_but_math() -> None:
    tree = ast.parse(Path(reference.__file__).read_text(encoding="utf-8"))
    names = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
    } | {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert names == {"math", "__future__"}


@pytest.mark.parametrize("at", [-3.1, -0.7, -0.01, 0.013, 0.9, 4.2])
@pytest.mark.parametrize("name", reference.FORWARD)
def test_each_derivative_is_the_slope_of_its_activation(name: str, at: float) -> None:
    f = reference.FORWARD[name]
    size = max(1.0, abs(f(at)), abs(reference.DERIVATIVE[name](at)))
    assert_slope(reference.DERIVATIVE[name](at), f, at, size)


@pytest.mark.parametrize("name", reference.FORWARD)
def test_a_wrong_derivative_is_noticed(name: str) -> None:
    with pytest.raises(AssertionError):
        assert_slope(reference.DERIVATIVE[name](0.9) + 1e-9, reference.FORWARD[name], 0.9, 1.0)


@pytest.mark.parametrize("name", reference.LIMITS)
def test_each_activation_approaches_its_limits(name: str) -> None:
    for limit, end in zip(reference.LIMITS[name], (-1e3, 1e3), strict=True):
        value = reference.FORWARD[name](end)
        if math.isinf(limit):
            assert math.copysign(1.0, limit) * value >= 9.9
        else:
            assert value == limit


@pytest.mark.parametrize("name", reference.ACTIVATIONS)
@pytest.mark.parametrize("loss", reference.LOSSES)
def test_gradients_of_a_network_are_slopes_of_its_loss(loss: str, name: str) -> None:
    output = reference.FUSED.get(loss, name)
    hidden = "tanh" if name == "softmax" else name
    for seed in itertools.count():
        rng = random.Random(f"{loss} {name} {seed}")
        network = [dense(rng, 2, 3, hidden), dense(rng, 3, 6, output)]
        x, target = matrix(rng, 4, 2), targets(rng, loss, 4, 6)
        if is_smooth_nearby(network, x, target, loss):
            break
    check_every_parameter(network, x, target, loss)


@pytest.mark.parametrize("loss", reference.LOSSES)
def test_weights_of_rows_and_options_of_losses_are_in_the_gradient(loss: str) -> None:
    output = reference.FUSED.get(loss, "identity")
    options = {"label_smoothing": 0.2, "delta": 0.4, "quantiles": (0.2, 0.6, 0.7)}
    for seed in itertools.count():
        rng = random.Random(f"{loss} {seed}")
        network = [dense(rng, 2, 3, "silu"), dense(rng, 3, 6, output)]
        x, target = matrix(rng, 4, 2), targets(rng, loss, 4, 6)
        if is_smooth_nearby(network, x, target, loss, options["delta"]):
            break
    weight = [0.5, 2.0, 0.0, 1.25]
    check_every_parameter(network, x, target, loss, options=options, weight=weight)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("kind", ["batch_norm", "layer_norm"])
def test_gradients_pass_through_normalisation(kind: str, training: bool) -> None:
    rng = random.Random(kind)
    network = [
        norm(rng, kind, 3, "identity"),
        dense(rng, 3, 4, "tanh"),
        norm(rng, kind, 4, "softplus"),
        dense(rng, 4, 2, "identity"),
    ]
    x, target = matrix(rng, 5, 3), matrix(rng, 5, 2)
    check_every_parameter(network, x, target, "mse", training=training)


def test_gradients_pass_through_dropout() -> None:
    rng = random.Random("dropout")
    network = [dense(rng, 2, 4, "tanh"), {"kind": "dropout"}, dense(rng, 4, 2, "identity")]
    masks = {1: [[rng.choice([0.0, 1.25]) for _ in range(4)] for _ in range(5)]}
    x, target = matrix(rng, 5, 2), matrix(rng, 5, 2)
    check_every_parameter(network, x, target, "mse", training=True, masks=masks)


def test_a_wrong_gradient_of_a_network_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(1)
    network = [dense(rng, 2, 3, "tanh"), dense(rng, 3, 2, "identity")]
    x, target = matrix(rng, 4, 2), matrix(rng, 4, 2)
    check_every_parameter(network, x, target, "mse")
    monkeypatch.setitem(reference.DERIVATIVE, "tanh", lambda z: 1.0 - z * z)
    with pytest.raises(AssertionError):
        check_every_parameter(network, x, target, "mse")


def test_batch_norm_moves_its_running_statistics_by_the_unbiased_variance() -> None:
    rng = random.Random(2)
    layer = norm(rng, "batch_norm", 1, "identity") | {"running_mean": [1.0], "running_var": [2.0]}
    reference.forward([layer], [[1.0], [2.0], [6.0]], training=True)
    assert layer["running_mean"] == [pytest.approx(0.9 * 1 + 0.1 * 3, rel=1e-15)]
    assert layer["running_var"] == [pytest.approx(0.9 * 2 + 0.1 * 7, rel=1e-15)]


@pytest.mark.parametrize("name", reference.OPTIMIZERS)
def test_each_optimizer_finds_the_bottom_of_a_bowl(name: str) -> None:
    w, memory = [3.0, -2.0], [{}, {}]
    for t in range(1, 2001):
        rate = 0.2 * 0.996**t if name != "adagrad" else 0.5
        slopes = [w[0] - 1.0, 2.0 * (w[1] + 0.5)]
        w = reference.optimizer_step(name, w, slopes, memory, t, rate, {}, [True, False])
    assert w[0] == pytest.approx(1.0, abs=1e-3)
    assert w[1] == pytest.approx(-0.5, abs=1e-3)


def test_training_lowers_the_loss() -> None:
    rng = random.Random(3)
    network = [dense(rng, 2, 4, "tanh"), dense(rng, 4, 1, "identity")]
    x = matrix(rng, 8, 2)
    batch = {"x": x, "target": [[a * b] for a, b in x]}
    results = reference.train(network, [batch] * 60, "mse", "adam", [0.05] * 60)
    assert results[-1]["loss"] < 0.2 * results[0]["loss"]
