"""What the pytest-benchmark files share: which cases there are, and contenders that are ready."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

import pytest

from fastnet.benchmarks import parity, problems
from fastnet.benchmarks.contenders import GPU, FastNet, available, on_backend
from fastnet.benchmarks.ladder import LADDER, PREDICTED_ROWS, Rung

TRAINED = [rung for rung in LADDER.values() if rung.batch]
PREDICTED = [rung for rung in LADDER.values() if rung.predicted]


def on_each_backend(what: str, rungs: Iterable[Rung]) -> pytest.MarkDecorator:
    """Return the mark that runs a test on these networks, on every backend that can run here.

    The backends of one network make a group, so that they stand beside each other in the table.
    """
    backends = available()
    return pytest.mark.parametrize(
        ("rung", "backend"),
        [
            pytest.param(
                rung,
                backend,
                id=f"{rung.name}-{backend}",
                marks=pytest.mark.benchmark(group=f"{what}: {rung.name}"),
            )
            for rung in rungs
            for backend in backends
        ],
    )


@cache
def trained(rung: Rung, backend: str) -> FastNet:
    """Return a contender that trains like the reference, warm.

    Raises
    ------
    ParityError
        It does not.
    """
    entry = on_backend(backend)
    parity.check_training(entry.make, rung).require(entry.label, rung.name)
    assert rung.batch is not None
    problem = problems.problem(rung, rung.batch, rung.rows)
    contender = FastNet(problem, None, backend)
    parity.require_epoch(entry.label, problem, contender.train_epoch())
    return contender


@cache
def predicting(rung: Rung, backend: str) -> FastNet:
    """Return a contender that predicts like the reference, warm.

    Raises
    ------
    ParityError
        It does not.
    """
    contender = FastNet(problems.problem(rung, 8, 64), None, backend)
    parity.check_prediction(contender, rung).require(f"fastnet {backend}", rung.name)
    contender.predict(problems.inputs(rung, PREDICTED_ROWS))
    return contender


def note(benchmark: Any, contender: FastNet, flops: int) -> None:
    """Record with the times what a call computes, and on what."""
    benchmark.extra_info["flops"] = flops
    benchmark.extra_info["backend"] = contender.network.backend
    benchmark.extra_info["threads"] = contender.threads_used or "not told"


def waited(contender: FastNet, call: Callable[[], Any]) -> Callable[[], Any]:
    """Return a call that ends when its work does: a GPU's calls return before."""
    if contender.network.backend not in GPU:
        return call
    to_host, parameters = contender.backend.to_host, contender.network.parameters

    def call_and_wait() -> None:
        call()
        to_host(parameters[:1])

    return call_and_wait
