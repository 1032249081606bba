"""The classic network "from scratch", weight for weight.

Two inputs, a hidden sigmoid layer, a sigmoid output, squared error, the full batch and plain
gradient descent, as countless introductions write it. Many of them define ``sigmoid_derivative(x)
= sigmoid(x) * (1 - sigmoid(x))`` and then call it with *outputs* of the sigmoid, which applies the
sigmoid twice. From an output y the derivative is ``y * (1 - y)``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fastnet.backends.epochs import TrainConfig
from fastnet.nn.batch import Batch
from fastnet.nn.losses import MSE
from fastnet.nn.optimizers import SGD
from fastnet.nn.plan import Plan
from tests.closeness import assert_close
from tests.networks import Bench, dense_plan

X = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
TARGET = np.array([[0.0], [1.0], [1.0], [0.0]])
HIDDEN, EPOCHS, RATE = 3, 1000, 0.5

# Training passes rounding errors on from epoch to epoch, but a change of one unit in the last place
# of all first weights grows only threefold here. So what counts is about ten roundings of a weight
# in each epoch, which add up like a random walk.
ROUNDINGS = 10


def sigmoid(z: Any) -> Any:
    return 1 / (1 + np.exp(-z))


def right(y: Any) -> Any:
    return y * (1 - y)


def mistaken(y: Any) -> Any:
    return sigmoid(y) * (1 - sigmoid(y))


def tutorial(
    weights: list[Any], epochs: int, derivative: Callable[[Any], Any] = right
) -> list[Any]:
    """Train as the tutorial does; return w1, b1, w2, b2."""
    w1, b1, w2, b2 = (np.copy(w) for w in weights)
    for _ in range(epochs):
        hidden = sigmoid(X @ w1 + b1)
        output = sigmoid(hidden @ w2 + b2)
        output_delta = (TARGET - output) * derivative(output)
        hidden_delta = (output_delta @ w2.T) * derivative(hidden)
        w2 += RATE * hidden.T @ output_delta
        b2 += RATE * output_delta.sum(axis=0)
        w1 += RATE * X.T @ hidden_delta
        b1 += RATE * hidden_delta.sum(axis=0)
    return [w1, b1, w2, b2]


@pytest.fixture
def plan() -> Plan:
    return dense_plan(2, (HIDDEN, "sigmoid"), (1, "sigmoid"))


def parts(plan: Plan, flat: Any) -> list[Any]:
    """Return w1, b1, w2, b2 of the flat parameters."""
    return [tensor.view(flat) for tensor in plan.parameters]


def start(plan: Plan) -> Any:
    flat = plan.initial_parameters(4, "float64")
    for bias in parts(plan, flat)[1::2]:
        bias[...] = np.linspace(-0.5, 0.5, bias.size)
    return flat


def engine_after(bench: Bench, plan: Plan, epochs: list[int]) -> list[list[Any]]:
    """Return the engine's w1, b1, w2, b2 after each of so many epochs.

    The tutorial descends along half the sum of squared errors; fastnet's loss is their mean. So its
    rate is twice as small for as many rows as there are.
    """
    optimizer = SGD(RATE * len(X) / 2)
    config = TrainConfig(MSE(), optimizer, batch_size=len(X), seed=0, shuffle=False)
    engine = bench.engine(plan, start(plan))
    rows = bench.rows(Batch(X, None, TARGET))
    moments = bench.moments(config, plan)
    coefficients = optimizer.step_coefficients(1, np.full(1, optimizer.schedule.start))
    seen = []
    for epoch in range(max(epochs)):
        engine.train_epoch(rows, config, moments, coefficients, epoch=epoch, step=epoch)
        if epoch + 1 in epochs:
            seen.append([np.copy(w) for w in parts(plan, bench.get(engine.parameters))])
    return seen


def test_the_tutorial_is_reproduced_weight_for_weight(bench64: Bench, plan: Plan) -> None:
    epochs = [1, 10, 100, 250, 500, EPOCHS]
    weights = parts(plan, start(plan))
    for seen, count in zip(engine_after(bench64, plan, epochs), epochs, strict=True):
        for got, expected in zip(seen, tutorial(weights, count), strict=True):
            assert_close(got, expected, terms=ROUNDINGS * count, what=f"after {count} epochs")


def test_the_tutorial_learns(plan: Plan) -> None:
    w1, b1, w2, b2 = tutorial(parts(plan, start(plan)), 10 * EPOCHS)
    output = sigmoid(sigmoid(X @ w1 + b1) @ w2 + b2)
    assert ((output > 0.5) == (TARGET > 0.5)).all()


def test_rounding_grows_as_little_as_the_tolerance_assumes(plan: Plan) -> None:
    flat = start(plan)
    nudged = np.nextafter(flat, np.inf)
    ends = [tutorial(parts(plan, values), EPOCHS) for values in (flat, nudged)]
    for one, other in zip(*ends, strict=True):
        assert_close(one, other, terms=ROUNDINGS)


def test_the_common_mistake_gives_other_weights(bench64: Bench, plan: Plan) -> None:
    weights = parts(plan, start(plan))
    [seen] = engine_after(bench64, plan, [1])
    for got, wrong in zip(seen, tutorial(weights, 1, mistaken), strict=True):
        with pytest.raises(AssertionError):
            assert_close(got, wrong, terms=ROUNDINGS * EPOCHS)
