"""Whole training steps and epochs, on each backend; and what ``fit`` adds to an epoch."""

from __future__ import annotations

from typing import Any

import fastnet as fn
from fastnet.benchmarks import problems
from fastnet.benchmarks.ladder import Rung
from fastnet.benchmarks.problems import LEARNING_RATE
from fastnet.benchmarks.suite import TRAINED, note, on_each_backend, trained, waited


@on_each_backend("step", TRAINED)
def test_step(benchmark: Any, rung: Rung, backend: str) -> None:
    contender = trained(rung, backend)
    engine, config, batch = contender.engine, contender.config, contender.config.batch_size
    steps = len(contender.rows) // batch
    order = engine.order(len(contender.rows), config.seed, 0)
    coefficients = contender.optimizer.step_coefficients(1, contender.rates[:1])[0]
    engine.reserve(batch)
    taken = 0

    def step() -> None:
        nonlocal taken
        # Another batch each time: a single one would soon be learnt by heart.
        start = taken % steps * batch
        rows = engine.gather(contender.rows, order, start, start + batch)
        engine.train_step(rows, config, contender.moments, coefficients, taken)
        taken += 1

    note(benchmark, contender, rung.flops(batch))
    benchmark(waited(contender, step))
    tally = engine.read_tally()
    assert tally.steps == taken


@on_each_backend("epoch", TRAINED)
def test_epoch(benchmark: Any, rung: Rung, backend: str) -> None:
    contender = trained(rung, backend)
    note(benchmark, contender, rung.flops(len(contender.rows)))
    benchmark.extra_info["steps"] = contender.config.steps(len(contender.rows))
    assert benchmark(contender.train_epoch) > 0


@on_each_backend("fit of one epoch", TRAINED)
def test_fit(benchmark: Any, rung: Rung, backend: str) -> None:
    contender = trained(rung, backend)
    assert rung.batch is not None
    problem = problems.problem(rung, rung.batch, rung.rows)
    note(benchmark, contender, rung.flops(rung.rows))
    benchmark(
        contender.network.fit,
        problem.x,
        problem.targets,
        optimizer=fn.Adam(LEARNING_RATE),
        epochs=1,
        batch_size=rung.batch,
    )
