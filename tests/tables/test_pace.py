"""Which trials of a search start within its time, by a clock that the tests turn."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from fastnet.tables import pace
from fastnet.tables.pace import Pace

FOLDS = 3


class Clock:
    """A clock that stands still until it is turned."""

    def __init__(self) -> None:
        self.time = 100.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(pace, "now", made)
    return made


def search(made: Pace, clock: Clock, takes: Callable[[int], float]) -> list[int]:
    """Train one network after the other; return the numbers of those that are done."""
    done = []
    for number in made.numbers():
        began = made.spent
        clock.time += takes(number)
        if made.over(number):
            continue
        made.done(number, made.spent - began, made.spent, taken_over=False)
        done.append(number)
    return done


@pytest.mark.parametrize("seconds", [0.5, 6.0, 6.5, 17.9, 18.0, 60.0])
def test_as_many_trials_as_there_is_time_for(clock: Clock, seconds: float) -> None:
    done = search(Pace(seconds, None, FOLDS, 1), clock, lambda number: 2.0)
    trials = max(1, math.floor(seconds / (2.0 * FOLDS)))
    assert done == [*range(trials * FOLDS)]
    assert clock.time - 100 <= max(seconds, 2.0 * FOLDS)


def test_a_number_of_trials_is_a_limit_too(clock: Clock) -> None:
    assert search(Pace(math.inf, 4, FOLDS, 1), clock, lambda number: 1e6) == [*range(4 * FOLDS)]
    assert search(Pace(13.0, 4, FOLDS, 1), clock, lambda number: 2.0) == [*range(2 * FOLDS)]


def test_networks_that_are_trained_at_once_make_a_trial_shorter(clock: Clock) -> None:
    one, three = (Pace(30.0, None, FOLDS, workers) for workers in (1, 3))
    for made in (one, three):
        for number in range(FOLDS):
            made.done(number, 10.0, 10.0, taken_over=False)
    clock.time += 19.0  # 11 s are left for a trial of 30 s on one worker
    numbers = [iter(made.numbers()) for made in (one, three)]
    for several in numbers:
        assert [next(several) for _ in range(FOLDS)] == [0, 1, 2]
    assert [next(several, None) for several in numbers] == [None, FOLDS]


def test_a_trial_that_takes_longer_than_expected_is_stopped(clock: Clock) -> None:
    slow = 2 * FOLDS + 1
    done = search(Pace(20.0, None, FOLDS, 1), clock, lambda n: 50.0 if n == slow else 2.0)
    assert done == [*range(slow)]  # its other folds are not begun


def test_the_first_trial_is_trained_to_its_end_unless_another_is_done(clock: Clock) -> None:
    made = Pace(1.0, None, FOLDS, 2)
    clock.time += 2.0
    assert not made.over(0)
    assert made.over(FOLDS)
    for number in range(FOLDS, 2 * FOLDS):
        made.done(number, 1.0, 1.0, taken_over=False)
    assert made.over(0)
    assert made.first_ended == 1.0


def test_time_that_another_run_has_spent_counts(clock: Clock) -> None:
    made = Pace(20.0, None, FOLDS, 1)
    for number in range(2 * FOLDS - 1):
        made.done(number, 2.0, 2.0 * (number + 1), taken_over=True)
    assert made.spent == 10.0
    clock.time += 4.5
    assert made.spent == 14.5
    missing = 2 * FOLDS - 1  # alone: it will end at 16.5, and another trial would at 22.5
    numbers = made.numbers()
    assert [next(numbers) for _ in range(2 * FOLDS)][-1] == missing
    clock.time += 2.0
    made.done(missing, 2.0, made.spent, taken_over=False)
    assert [*numbers] == []
    assert made.spent == 16.5
