"""The search space of `fastnet.tables.tune`: what is drawn, how often, and from what."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np
import pytest

from fastnet.tables.preset import PRESETS
from fastnet.tables.space import SPACE, Choice, LogUniform, described, preset_of

DRAWN = [preset_of(3, trial) for trial in range(2, 1502)]
ROWS = [described(one, "classification", {}) for one in DRAWN]


def test_the_first_trials_are_the_presets() -> None:
    for seed in (0, 1):
        assert [preset_of(seed, k) for k in range(2)] == [*PRESETS.values()]


def test_a_trial_depends_on_seed_and_number_alone() -> None:
    assert preset_of(3, 700) == DRAWN[698]
    assert preset_of(4, 700) != DRAWN[698]
    rates = [row["learning_rate"] for row in ROWS]
    assert len(set(rates)) == len(rates)  # no two trials are drawn alike


def share_is_likely(count: int, draws: int, probability: float) -> bool:
    """Return whether a share is within five standard deviations of its probability."""
    deviation = math.sqrt(draws * probability * (1 - probability))
    return abs(count - draws * probability) < 5 * deviation


@pytest.mark.parametrize("name", [n for n, kind in SPACE.items() if isinstance(kind, Choice)])
def test_choices_have_their_probabilities(name: str) -> None:
    kind = SPACE[name]
    assert isinstance(kind, Choice)
    assert math.isclose(math.fsum(kind.probabilities), 1.0)
    values = ["x".join(map(str, v)) if isinstance(v, tuple) else v for v in kind.values]
    counts = Counter(row[name] for row in ROWS)
    assert counts.keys() == set(values)
    for value, probability in zip(values, kind.probabilities, strict=True):
        assert share_is_likely(counts[value], len(ROWS), probability)
        # The comparison would notice another probability.
        assert not share_is_likely(counts[value], len(ROWS), probability + 0.1)


def test_learning_rates_are_uniform_in_their_logarithm() -> None:
    kind = SPACE["learning_rate"]
    assert isinstance(kind, LogUniform)
    rates = np.array([row["learning_rate"] for row in ROWS])
    assert kind.low <= rates.min() < rates.max() <= kind.high

    def distance(low: float, high: float) -> float:
        """Return the largest distance of the distributions (Kolmogorov and Smirnov)."""
        expected = np.log(np.sort(rates) / low) / np.log(high / low)
        return float(np.abs(expected - (np.arange(len(rates)) + 0.5) / len(rates)).max())

    limit = 1.95 / math.sqrt(len(rates))  # exceeded once in a thousand seeds
    assert distance(kind.low, kind.high) < limit
    assert distance(kind.low / 2, kind.high) > limit


def test_settings_are_drawn_independently() -> None:
    levels = {name: np.array([repr(row[name]) for row in ROWS]) for name in ROWS[0]} | {
        "learning_rate": np.array([row["learning_rate"] > 0.08 for row in ROWS])
    }
    names = [*levels]
    for k, one in enumerate(names):
        for other in names[:k]:
            for a in set(levels[one].tolist()):
                here = levels[one] == a
                for b in set(levels[other].tolist()):
                    both = int((here & (levels[other] == b)).sum())
                    share = float((levels[other] == b).mean())
                    assert share_is_likely(both, int(here.sum()), share)


def test_quantiles_at_the_ends() -> None:
    choice, rate = Choice(("a", "b"), (0.25, 0.75)), LogUniform(0.1, 10.0)
    assert [choice.at(u) for u in (0.0, 0.2499, 0.25, 1.0)] == ["a", "a", "b", "b"]
    for u, value in ((0.0, 0.1), (0.5, 1.0), (1.0, 10.0)):
        assert math.isclose(rate.at(u), value, rel_tol=1e-15)
        assert rate.low <= rate.at(u) <= rate.high


@pytest.mark.parametrize(
    ("given", "task", "gone"),
    [
        ({}, "regression", {"label_smoothing"}),
        ({"activation": "relu", "seed": 3}, "classification", {"activation"}),
        ({"optimizer": "adam"}, "classification", {"learning_rate", "weight_decay"}),
        ({"loss": "mae"}, "regression", {"label_smoothing"}),
    ],
)
def test_what_is_given_is_no_setting_of_a_trial(given: Any, task: Any, gone: set[str]) -> None:
    assert described(DRAWN[0], task, given).keys() == SPACE.keys() - gone
