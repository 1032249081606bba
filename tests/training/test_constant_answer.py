"""A whole training that is no better than a constant answer says so."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastnet as fn
from fastnet.errors import FastNetWarning
from fastnet.nn.metrics import accuracy, majority
from fastnet.training.constant_answer import lost_to_constant

RNG = np.random.default_rng(11)


def test_the_majority_is_the_class_of_the_most_weight() -> None:
    labels = np.array([2, 0, 2, 1, 1, 1])
    assert majority(labels) == (1, 3 / 6)
    assert majority(labels, np.array([4.0, 1.0, 2.0, 1.0, 1.0, 1.0])) == (2, 6 / 10)
    assert majority(np.array([[0.2], [0.9], [0.5]])) == (0, 2 / 3)
    assert majority(np.zeros((5, 3))) is None


@pytest.mark.parametrize("weighted", [False, True])
def test_its_share_is_the_accuracy_of_always_answering_it(weighted: bool) -> None:
    target, weight = RNG.integers(0, 4, 30), RNG.random(30) if weighted else None
    found = majority(target, weight)
    assert found is not None
    assert found[1] == pytest.approx(accuracy(target, np.eye(4)[[found[0]] * 30], weight))


@pytest.mark.parametrize(
    ("scores", "prefix", "share", "lost"),
    [
        ({"r2": -0.01}, "", None, "r2"),
        ({"r2": 0.0}, "", None, None),
        ({"r2": 0.5, "val_r2": -3.0}, "val_", None, "r2"),
        ({"accuracy": 0.6}, "", 0.6, "accuracy"),
        ({"accuracy": 0.61}, "", 0.6, None),
        ({"accuracy": 0.1}, "", None, None),
        ({"accuracy": 1.0}, "", 1.0, None),  # of a single class
        ({"loss": 3.0}, "", None, None),
    ],
)
def test_a_score_is_compared_with_that_of_a_constant(
    scores: dict[str, float], prefix: str, share: float | None, lost: str | None
) -> None:
    known = None if share is None else (0, share)
    assert lost_to_constant(scores, prefix, known) == lost


def test_the_history_has_the_majority_of_the_scored_rows(tmp_path: Path) -> None:
    net = fn.Network([2, 3], output_activation="softmax", backend="numpy", seed=3)
    x, y = RNG.normal(size=(12, 2)), np.array([0] * 7 + [2] * 5)
    assert net.fit(x, y, epochs=1).majority == (0, 7 / 12)
    weighted = net.fit(x, y, epochs=1, class_weight={2: 7}, sample_weight=[1.0] * 12)
    assert weighted.majority == (2, 35 / 42)
    apart = net.fit(x, y, epochs=1, validation_data=(x[5:9], y[5:9], [1.0, 1.0, 5.0, 1.0]))
    assert apart.majority == (2, 6 / 8)
    how: dict[str, Any] = {"checkpoint": tmp_path, "checkpoint_every": 1}
    net.fit(x, y, epochs=2, **how)
    resumed = net.copy()
    resumed.initialize()
    assert resumed.fit(x, y, epochs=3, resume=True, **how).majority == (0, 7 / 12)


X = np.arange(300) % 2
KNOWN, UNKNOWN = 2 * X + 1.5, np.where(np.arange(300) // 2 % 5, "no", "si")


@pytest.mark.parametrize(
    ("target", "held_out", "what"),
    [
        (KNOWN, -KNOWN, "val_r2 .* the mean of the target"),
        (UNKNOWN, UNKNOWN[:50], "val_accuracy .* its most frequent class"),
    ],
)
def test_a_table_that_says_nothing_of_its_target_is_pointed_out(
    target: Any, held_out: Any, what: str
) -> None:
    apart = {"x": X[: len(held_out)]}, held_out
    says = what.replace(".*", "the network is no better than always answering")
    with pytest.warns(FastNetWarning, match=f"by its {says}: ") as found:
        fn.tables.train({"x": X}, target, validation_data=apart, backend="numpy")
    (one,) = found
    assert one.filename == __file__
    assert not any(sign.isdigit() for sign in str(one.message).replace("r2", ""))


def test_what_the_caller_chose_is_not_commented_on() -> None:
    apart = {"x": X}, -KNOWN
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        net = fn.tables.train({"x": X}, KNOWN, epochs=9, validation_data=apart, backend="numpy")
        fn.tables.train({"x": X}, KNOWN, backend="numpy")
    assert net.history is not None and net.history.kept()["val_r2"] < 0
    assert caught == []
