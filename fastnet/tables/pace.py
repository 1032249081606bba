"""`Pace`: which trials of a search start within its time, and which are stopped."""

from __future__ import annotations

import math
import threading
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

now = time.monotonic

SPENT: Final = "spent"
"""What the row of a network has for `Pace`: the seconds of the search when it was done."""


class Pace:
    """Hands out the numbers of networks: number k is fold ``k % folds`` of trial ``k // folds``.

    A trial starts if it is expected to end in time, by the mean time of the networks that are done
    and by how many are trained at once. The first trial is trained to its end whatever it takes,
    unless another one is done.

    Parameters
    ----------
    seconds : float
        The time, which begins now; infinite without a limit.
    trials : int or None
        The most trials.
    folds, workers : int
        Networks of a trial, and how many are trained at once.
    """

    def __init__(self, seconds: float, trials: int | None, folds: int, workers: int) -> None:
        self._seconds, self._trials = seconds, trials
        self._folds, self._workers = folds, workers
        self._began, self._before = now(), 0.0
        self.first_ended = 0.0  # `spent` when a trial was done for the first time
        self._took: list[float] = []
        self._done = Counter[int]()
        self._knowing = threading.Lock()

    @property
    def spent(self) -> float:
        """Seconds so far, with those of the runs that this one goes on from."""
        return self._before + now() - self._began

    def done(self, number: int, seconds: float, spent: float, *, taken_over: bool) -> None:
        """Take note of a network that is done.

        Parameters
        ----------
        seconds : float
            How long it took.
        spent : float
            What `spent` was when it was done.
        taken_over : bool
            Whether another run has trained it, whose time counts too.
        """
        with self._knowing:
            self._took.append(seconds)
            self._done[number // self._folds] += 1
            if not self.first_ended and self._done[number // self._folds] == self._folds:
                self.first_ended = spent
            if taken_over:
                self._before = max(self._before, spent)

    def over(self, number: int) -> bool:
        """Return whether the training of a network has to end."""
        if self.spent <= self._seconds:
            return False
        with self._knowing:
            complete = any(count == self._folds for count in self._done.values())
        return complete or number >= self._folds

    def left(self, number: int) -> float:
        """Return the seconds that a network has if it starts now.

        One of the first trial is trained to its end.
        """
        return math.inf if number < self._folds else self._seconds - self.spent

    def stamp(self) -> dict[str, Any]:
        """Return what is added to the row of a network that is done now."""
        return {SPENT: self.spent}

    def numbers(self) -> Iterator[int]:
        """Yield the numbers of the networks to train, also of those that are done."""
        trial = 0
        while (self._trials is None or trial < self._trials) and self._starts(trial):
            for number in range(trial * self._folds, (trial + 1) * self._folds):
                if self.over(number):
                    break
                yield number
            trial += 1

    def _starts(self, trial: int) -> bool:
        with self._knowing:
            missing = self._folds - self._done[trial]
            each = math.fsum(self._took) / len(self._took) if self._took else 0.0
            first_of_all = trial == 0 and self._done.total() < self._folds
        if first_of_all or not missing:
            return True
        expected = each * math.ceil(missing / self._workers)
        spent = self.spent
        return spent < self._seconds and spent + expected <= self._seconds
