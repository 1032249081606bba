"""One epoch of training on a backend, beside what the composed steps make of it."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnet.backends.engine import Engine
from fastnet.backends.epochs import LossSums, TrainConfig
from fastnet.nn.optimizers import Adam, Optimizer
from tests.closeness import assert_close
from tests.networks import (
    Bench,
    dense_plan,
    random_parameters,
    random_rows,
    random_state,
    terms_of,
)


class Run:
    """One epoch of training: what it needs, and what it changes."""

    def __init__(
        self,
        bench: Bench,
        network: tuple[Any, ...],
        *,
        count: int,
        batch_size: int,
        shuffle: bool = True,
        first: int = 0,
        steps: int | None = None,
        optimizer: Optimizer | None = None,
    ) -> None:
        layers, loss, labels, weighted = network
        self.bench = bench
        self.plan = dense_plan(4, *layers)
        optimizer = Adam(0.01, l2=0.01) if optimizer is None else optimizer
        self.config = TrainConfig(loss, optimizer, batch_size, seed=11, shuffle=shuffle)
        self.rows = random_rows(self.plan, loss, count, labels=labels, weighted=weighted)
        self.first = first
        self.steps = self.config.steps(count) - first if steps is None else steps
        self.rates = optimizer.schedule.rates(np.arange(self.steps, dtype=np.float64))
        self.epoch, self.step = 3, 40

    def start(self) -> tuple[Engine, Any]:
        """Return a fresh engine and its moments."""
        engine = self.bench.engine(self.plan, random_parameters(self.plan), random_state(self.plan))
        return engine, self.bench.moments(self.config, self.plan)

    def train(self, engine: Engine, moments: Any, *, composed: bool = False) -> LossSums:
        """Train as the engine does it, or as `Engine` defines it."""
        train_epoch = Engine.train_epoch if composed else type(engine).train_epoch
        coefficients = self.config.optimizer.step_coefficients(self.step + 1, self.rates)
        return train_epoch(
            engine,
            self.bench.rows(self.rows),
            self.config,
            moments,
            coefficients,
            epoch=self.epoch,
            step=self.step,
            first=self.first,
        )

    def terms(self) -> float:
        """How many roundings a parameter goes through."""
        return terms_of(self.plan, self.config.batch_size) * max(1, self.steps)


def sums(tally: LossSums, dtype: Any) -> Any:
    return np.array([tally.loss, tally.score, tally.weight]).astype(dtype)


def assert_same_epoch(run: Run) -> LossSums:
    """Train as the engine does it and as `Engine` defines it; compare everything that changes."""
    bench = run.bench
    (fast, fast_moments), (slow, slow_moments) = run.start(), run.start()
    got = run.train(fast, fast_moments)
    expected = run.train(slow, slow_moments, composed=True)
    terms = run.terms()
    assert got.steps == expected.steps == run.steps
    assert_close(sums(got, bench.dtype), sums(expected, bench.dtype), terms=terms)
    for name in ("parameters", "state"):
        values = [bench.get(getattr(engine, name)) for engine in (fast, slow)]
        assert_close(*values, terms=terms, what=name)
    for k, (mine, theirs) in enumerate(
        zip(bench.get(fast_moments), bench.get(slow_moments), strict=True)
    ):
        assert_close(mine, theirs, terms=terms, what=f"moments[{k}]")
    return got
