"""Forward, backward and update on their own, on each backend."""

from __future__ import annotations

from typing import Any

from fastnet.benchmarks.contenders import FastNet
from fastnet.benchmarks.ladder import Rung
from fastnet.benchmarks.suite import TRAINED, note, on_each_backend, trained, waited
from fastnet.nn.batch import Batch


def first_batch(contender: FastNet, rung: Rung) -> Batch:
    """Return the first rows in the order they have."""
    assert rung.batch is not None
    contender.engine.reserve(rung.batch)
    return contender.engine.gather(contender.rows, None, 0, rung.batch)


@on_each_backend("forward", TRAINED)
def test_forward(benchmark: Any, rung: Rung, backend: str) -> None:
    contender = trained(rung, backend)
    batch = first_batch(contender, rung)
    note(benchmark, contender, rung.prediction_flops(len(batch)))
    benchmark(waited(contender, lambda: contender.engine.forward(batch.x, training=True)))


@on_each_backend("backward", TRAINED)
def test_backward(benchmark: Any, rung: Rung, backend: str) -> None:
    contender = trained(rung, backend)
    batch = first_batch(contender, rung)
    contender.engine.forward(batch.x, training=True)
    note(benchmark, contender, rung.flops(len(batch)) - rung.prediction_flops(len(batch)))
    benchmark(waited(contender, lambda: contender.engine.backward(batch, contender.loss)))
    contender.engine.read_tally()


@on_each_backend("update", TRAINED)
def test_update(benchmark: Any, rung: Rung, backend: str) -> None:
    contender = trained(rung, backend)
    engine, optimizer, moments = contender.engine, contender.optimizer, contender.moments
    coefficients = optimizer.step_coefficients(1, contender.rates[:1])[0]
    # Without an effect on the weights: the other tests go on with them.
    coefficients[0] = 0.0
    note(benchmark, contender, 0)
    benchmark(waited(contender, lambda: engine.update(optimizer, moments, coefficients)))
