"""Scores of given predictions, and greedy selection by a cost."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import fastnet as fn
from fastnet.nn.losses import CrossEntropy
from fastnet.populations.scorer import Scorer, choose

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
