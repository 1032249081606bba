"""How things are timed: several contenders in turn, again and again, in one run.

A machine's speed drifts (clock, neighbours, temperature), so two numbers taken one after the other
do not compare. Here every *round* times every contender once, each round beginning with another
one, and ratios are taken within a round. Warm-up and compilation come before the first round.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

Call = Callable[[], object]


@dataclass(frozen=True)
class Budget:
    """How long to measure.

    Attributes
    ----------
    rounds : int
    samples : int
        Timed samples of each contender in a round.
    seconds : float
        A sample repeats the call until it takes about this long.
    pause : float
        Seconds before each turn: the threads of the contender before may go on waiting actively,
        0.2 s for Intel's OpenMP, and would be in the way on its core.
    """

    rounds: int
    samples: int
    seconds: float
    pause: float = 0.0


FULL: Final = Budget(rounds=7, samples=3, seconds=0.05, pause=0.25)
QUICK: Final = Budget(rounds=3, samples=2, seconds=0.01)


@dataclass
class Timing:
    """One contender's seconds per call.

    Attributes
    ----------
    repeats : int
        Calls in a sample.
    rounds : list of list of float
        The samples of each round.
    """

    repeats: int
    rounds: list[list[float]] = field(default_factory=list)

    @property
    def minimum(self) -> float:
        """The fastest sample."""
        return min(map(min, self.rounds))

    @property
    def median(self) -> float:
        """The median of all samples."""
        return statistics.median(sample for samples in self.rounds for sample in samples)

    @property
    def typical(self) -> float:
        """The median over rounds of each round's fastest sample: the number that is reported."""
        return statistics.median(map(min, self.rounds))

    def ratio_to(self, other: Timing) -> float:
        """Return this time over the other's: the median over rounds of the ratio in a round."""
        pairs = zip(self.rounds, other.rounds, strict=True)
        return statistics.median(min(mine) / min(theirs) for mine, theirs in pairs)


def interleave(
    calls: Mapping[str, Call], budget: Budget, repeats: int | None = None
) -> dict[str, Timing]:
    """Time the calls in turn; each must have been called once before, to be warm.

    Every turn begins with a pause, in which the threads of the contender before fall asleep, and
    with one call that is not timed: it brings the data back into the caches. A sample is `repeats`
    calls; None: as many as take `budget.seconds`.
    """
    timings = {
        name: Timing(repeats or calibrate(call, budget.seconds)) for name, call in calls.items()
    }
    names = list(calls)
    collecting = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        for turn in range(budget.rounds):
            first = turn % len(names) if names else 0
            for name in names[first:] + names[:first]:
                call, timing = calls[name], timings[name]
                time.sleep(budget.pause)
                call()
                timing.rounds.append(
                    [_seconds(call, timing.repeats) for _ in range(budget.samples)]
                )
    finally:
        if collecting:
            gc.enable()
    return timings


def calibrate(call: Call, seconds: float) -> int:
    """Return how often to repeat a call so that it takes about that long in all."""
    return _repeats(lambda repeats: _seconds(call, repeats), seconds)


def calibrate_loop(run: Callable[[int], object], seconds: float) -> int:
    """Return the same for something that does its own repeating."""
    return _repeats(lambda repeats: _seconds(lambda: run(repeats), 1) / repeats, seconds)


def _repeats(seconds_each: Callable[[int], float], seconds: float) -> int:
    repeats = 1
    while True:
        each = seconds_each(repeats)
        if each * repeats >= seconds / 2 or repeats >= 1 << 24:
            return max(1, round(seconds / each))
        repeats *= 2


def _seconds(call: Call, repeats: int) -> float:
    """Return the seconds per call."""
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    return max(time.perf_counter() - start, 1e-9) / repeats
