"""`Board`: the trials of a search that are done, with their answers for held-out rows."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fastnet.network import Network
from fastnet.populations import ensemble_file
from fastnet.populations.ensemble import Ensemble
from fastnet.populations.folds import Rows
from fastnet.populations.results import DIVERGED
from fastnet.populations.scorer import Scorer, choose
from fastnet.populations.work import Row
from fastnet.tables.pace import SPENT

Array = NDArray[Any]

TRIAL: Final = "trial"

KEPT: Final = 50
"""So many of the best trials keep their networks and answers, and may be in the ensemble."""

ROUNDS: Final = 30
"""Of greedy selection: the ensemble has at most so many trials."""


@dataclass(frozen=True, eq=False)
class Trial:
    """A trial of which each fold is done.

    Attributes
    ----------
    number : int
    networks : tuple of Network
        One for each fold.
    answers : (N, O) float64
        What they predict for the rows that they held out; NaN for a row that none did.
    cost : float
        The score that decides: smaller is better.
    """

    number: int
    networks: tuple[Network, ...]
    answers: Array
    cost: float


@dataclass(eq=False)
class Board:
    """Takes networks as they are done, makes trials of them, and keeps the best ones.

    Which trials these are does not depend on the order in which networks are done.

    Attributes
    ----------
    size : int
        Number of rows of the table, N.
    held_out : sequence of (n,) int64
        The rows that each fold holds out.
    scorer : Scorer
        For the rows `known`.
    score, metrics : str, and sequence of metrics
        The score that decides, and others for the results.
    describe : callable
        ``describe(trial)`` returns seed and settings of a trial.
    predict : callable
        ``predict(network, rows)`` returns (n, O).
    rows, folds : dict of int to dict
        A row of the results for each trial that is done, and for each network of them.
    best : list of Trial
        The best first; of equal ones, the first.
    """

    size: int
    held_out: Sequence[Rows]
    scorer: Scorer
    score: str
    metrics: Sequence[Any]
    describe: Callable[[int], Row]
    predict: Callable[[Network, Rows], Array]
    rows: dict[int, Row] = field(default_factory=dict)
    folds: dict[int, Row] = field(default_factory=dict)
    best: list[Trial] = field(default_factory=list)
    _waiting: dict[int, tuple[Network, Row]] = field(default_factory=dict)

    @property
    def known(self) -> Rows:
        """The rows that a fold holds out: with ``cv=5`` these are all."""
        return np.unique(np.concatenate(self.held_out))

    def add(self, number: int, network: Network, row: Mapping[str, Any]) -> Row | None:
        """Take a network that is done; return the row of its trial if that is complete now."""
        trial, _ = divmod(number, len(self.held_out))
        shown = {name: value for name, value in row.items() if name != SPENT}
        self._waiting[number] = network, {TRIAL: trial, **shown}
        mine = range(trial * len(self.held_out), (trial + 1) * len(self.held_out))
        if any(k not in self._waiting for k in mine):
            return None
        networks, rows = zip(*(self._waiting.pop(k) for k in mine), strict=True)
        self.folds.update(zip(mine, rows, strict=True))
        self.rows[trial] = self._complete(trial, networks, rows)
        return self.rows[trial]

    def _complete(self, trial: int, networks: tuple[Network, ...], rows: Sequence[Row]) -> Row:
        """Score a trial, keep it if it is one of the best, and return its row."""
        made = {TRIAL: trial, **self.describe(trial)}
        facts: Row = {"seconds": math.fsum(row["seconds"] for row in rows)}
        if any(row["stop_reason"] == DIVERGED for row in rows):
            return made | {"stop_reason": DIVERGED} | facts
        answers = self._answers(networks)
        scores, cost = self.scores(answers), self.scorer.cost(answers[self.known], self.score)
        if math.isfinite(cost):
            self.best.append(Trial(trial, networks, answers, cost))
            self.best.sort(key=lambda one: (one.cost, one.number))
            del self.best[KEPT:]
        return made | {f"val_{name}": value for name, value in scores.items()} | facts

    def _answers(self, networks: Sequence[Network]) -> Array:
        """Return (N, O): of a row that several folds hold out, the mean."""
        total = np.zeros((self.size, networks[0].outputs))
        times = np.zeros((self.size, 1))
        for network, rows in zip(networks, self.held_out, strict=True):
            total[rows] += self.predict(network, rows)
            times[rows] += 1
        with np.errstate(invalid="ignore"):  # 0 / 0 where no fold has a row
            return np.asarray(total / times)

    def scores(self, answers: Array) -> dict[str, float]:
        """Return the scores of answers (N, O) for the known rows."""
        named = () if self.score == "loss" else (self.score,)
        others = [one for one in self.metrics if one not in named]
        return self.scorer.scores(answers[self.known], [*named, *others])

    def select(self) -> tuple[list[Trial], Array, Array]:
        """Return the trials of the ensemble by number, their weights (K,), and its answers (N, O).

        Greedy selection takes at most `ROUNDS` of them, and fewer if a file had no room for their
        networks.
        """
        every = sorted(self.best, key=lambda one: one.number)
        firsts = Ensemble([one.networks[0] for one in every])
        answers, known = np.stack([one.answers for one in every]), self.known
        outputs = answers[:, known]
        counts = choose(
            lambda weights: self.scorer.cost(firsts.mean_of(outputs, weights), self.score),
            len(every),
            max(1, min(ROUNDS, ensemble_file.MOST // len(self.held_out))),
        )
        kept, weights = np.flatnonzero(counts), counts / counts.sum()
        together = np.full(answers.shape[1:], np.nan)
        together[known] = firsts.mean_of(outputs, weights)
        return [every[k] for k in kept], weights[kept], together
