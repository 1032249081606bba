"""Scores of given predictions, and greedy selection by a cost."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import fastnet as fn
from fastnet.nn.losses import CrossEntropy
from fastnet.populations.scorer import Scorer, choose
from tests.closeness import assert_close

RNG = np.random.default_rng(5)
X = RNG.uniform(-1, 1, (40, 2))


def test_scores_are_those_of_evaluate_and_costs_are_smaller_where_scores_are_better() -> None:
    labels = (X[:, 0] > 0).astype(int)
    net = fn.Network([2, 4, 2], output_activation="softmax", backend="numpy")
    net.fit(X, labels, epochs=3)
    scorer = Scorer.of(net, X, labels)
    found = scorer.scores(net.predict(X), ["f1"])
    assert found == fn.Ensemble([net]).evaluate(X, labels, metrics=["f1"])
    assert scorer.cost(net.predict(X), "loss") == found["loss"]
    assert scorer.cost(net.predict(X), "f1") == -found["f1"]
    smooth = Scorer.of(net, X, labels, loss=CrossEntropy(0.3)).cost(net.predict(X), "loss")
    assert smooth != found["loss"]


@pytest.mark.parametrize("loss", ["mse", "mae", "huber", "quantile", "gaussian_nll"])
def test_the_loss_of_scaled_targets_is_that_of_evaluate(loss: Any) -> None:
    table = {"a": X[:, 0], "small": X[:, 1], "large": 1e6 + 1e4 * X[:, 0] ** 2}
    targets = ["small", "large"]
    net = fn.tables.train(table, targets, loss=loss, hidden=4, epochs=3, backend="numpy")
    found = net.evaluate(table, targets)["loss"]
    outputs = net.predict(table)
    scaled = Scorer.of(net, table, targets, scaled=True)
    assert_close(np.float32(scaled.scores(outputs)["loss"]), found, terms=80)
    assert scaled.cost(outputs, "loss") == scaled.scores(outputs)["loss"]
    in_units = Scorer.of(net, table, targets).scores(outputs)["loss"]
    assert abs(in_units - found) > 0.1 * abs(found)


def test_each_of_several_targets_has_its_say() -> None:
    """In their own unit, the larger one would decide alone."""
    table = {"a": X[:, 0], "b": X[:, 1], "small": 2 * X[:, 1], "large": 1e6 * X[:, 0]}
    targets = ["small", "large"]
    nets = []
    for error_of_small, error_of_large in ((0.0, 0.11), (1.0, 0.1)):
        net = fn.tables.train(table, targets, hidden=(), epochs=1, backend="numpy", preset=None)
        answers = np.stack([X[:, 1] * 2 + error_of_small, 1e6 * (X[:, 0] + error_of_large)], 1)
        net.predict_columns = lambda _, answers=answers: answers  # type: ignore[method-assign]
        nets.append(net)
    chosen = fn.Ensemble.greedy(nets, table, targets, rounds=1)
    assert chosen.networks == (nets[0],)
    worse = fn.Ensemble.greedy(nets[1:], table, targets, rounds=1)
    assert worse.networks == (nets[1],)


def test_greedy_selection_finds_the_mean_that_is_nearest() -> None:
    values = np.array([0.0, 1.0, 10.0])

    def cost(weights: Any) -> float:
        return abs(float(weights @ values) - 0.75)

    counts = choose(cost, 3, 20)
    assert cost(counts / counts.sum()) == 0.0
    assert counts.tolist() == [1, 3, 0]
    # It never costs more than the best member, and not less than the best of all selections.
    for _ in range(20):
        outputs, target = RNG.normal(size=(4, 6)), RNG.normal(size=6)

        def squares(weights: Any, outputs: Any = outputs, target: Any = target) -> float:
            return float(((weights @ outputs - target) ** 2).sum())

        counts = choose(squares, 4, 3)
        assert 1 <= counts.sum() <= 3
        alone = min(squares(one) for one in np.eye(4))
        every = (one for n in (1, 2, 3) for one in itertools.product(range(4), repeat=n))
        shares = [np.bincount(one, minlength=4) / len(one) for one in every]
        least = min(squares(one) for one in shares)
        assert least * (1 - 1e-12) <= squares(counts / counts.sum()) <= alone


def test_without_a_finite_cost_nothing_is_chosen() -> None:
    assert choose(lambda weights: np.nan, 2, 3).tolist() == [0, 0]
    only = choose(lambda weights: np.nan if weights[0] else 1.0, 2, 3)
    assert only.tolist() == [0, 1]


def test_a_member_without_weight_is_not_asked() -> None:
    net = fn.Network([2, 4, 1], backend="numpy")
    pair = fn.Ensemble([net, net])
    outputs = np.stack([np.ones((3, 1)), np.full((3, 1), np.nan)])
    assert pair.mean_of(outputs, np.array([1.0, 0.0])).tolist() == [[1.0]] * 3
    with pytest.raises(AssertionError):
        assert np.isfinite(pair.mean_of(outputs, np.array([0.5, 0.5]))).all()
