"""Learning, not only speed: Fashion-MNIST, 784-128-10, ten epochs of Adam, time and accuracy."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

import fastnet as fn
from fastnet.benchmarks import problems
from fastnet.benchmarks.contenders import Contender, Entry, asked_threads
from fastnet.benchmarks.ladder import LADDER
from fastnet.benchmarks.measure import worked_with
from fastnet.benchmarks.parity import LONG_RUN
from fastnet.benchmarks.pinning import limited_pools
from fastnet.benchmarks.problems import LEARNING_RATE, Problem
from fastnet.benchmarks.reports.report import Learner, Report
from fastnet.benchmarks.timing import FULL
from fastnet.errors import DataNotFoundError

RUNG: Final = LADDER["image"]
EPOCHS: Final = 10
ACCURACY: Final = (0.865, 0.9)
"""A contender that ends outside did something else."""


class Fit(Contender):
    """fastnet as its users call it: `Network.fit`, with its checks and its history."""

    def __init__(self, problem: Problem, threads: int | None, backend: str) -> None:
        self.network = problems.network(problem.rung, backend)
        self.problem, self.threads = problem, asked_threads(threads)
        engine = self.network.backend_object.engine(
            self.network.plan, self.network.parameters, self.network.state, threads=self.threads
        )
        self.threads_used = engine.threads_for(problem.batch)

    def train(self, epochs: int) -> float:
        """Train; return the first epoch's loss."""
        history = self.network.fit(
            self.problem.x,
            self.problem.targets,
            optimizer=fn.Adam(LEARNING_RATE),
            epochs=epochs,
            batch_size=self.problem.batch,
            threads=self.threads,
        )
        return float(history["loss"][0])

    def predict(self, x: NDArray[np.float32]) -> NDArray[Any]:
        return self.network.predict_columns(x)


def measure(
    report: Report,
    entries: Sequence[Entry],
    threads: int | None,
    *,
    quick: bool,
    say: Callable[[str], None],
) -> None:
    """Train with every contender in turn; add to the report who learnt how well and how fast."""
    try:
        data = fn.data.load("fashion-mnist")
    except DataNotFoundError as error:
        report.skipped["fashion-mnist"] = str(error)
        return
    assert data.y is not None and data.test is not None and data.test.y is not None
    problem = problem_of(data.x, data.y)
    rounds, epochs = (1, 1) if quick else (3, EPOCHS)
    found: dict[str, list[tuple[float, float, int]]] = {}
    losses: dict[str, float] = {}
    learners = {entry.key: entry for entry in entries if entry.trains and not entry.on_gpu}
    with limited_pools(threads):
        for turn in range(rounds):
            for key in _turned(list(learners), turn):
                entry = learners[key]
                say(f"fashion-mnist: {entry.label}, run {turn + 1} of {rounds}")
                contender = _contender(entry, problem, threads)
                time.sleep(FULL.pause)
                started = time.perf_counter()
                losses[key] = _train(contender, epochs)
                seconds = time.perf_counter() - started
                right = np.argmax(contender.predict(data.test.x), axis=1) == data.test.y
                used = worked_with(contender, threads)
                found.setdefault(key, []).append((seconds, float(right.mean()), used))
    reference = losses.get("fastnet-numpy", next(iter(losses.values())))
    for key, runs in found.items():
        entry, accuracy = learners[key], runs[-1][1]
        wrong = _why_wrong(losses[key], reference, None if quick else accuracy)
        if wrong:
            report.wrong.append(f"fashion-mnist: {entry.label} {wrong}")
            continue
        report.learning.append(
            Learner(
                key,
                entry.label,
                entry.kind,
                entry.version,
                threads=runs[-1][2],
                seconds=statistics.median(seconds for seconds, _, _ in runs),
                seconds_runs=[seconds for seconds, _, _ in runs],
                accuracy=accuracy,
            )
        )
    report.learning.sort(key=lambda learner: learner.seconds)


def problem_of(x: NDArray[Any], labels: NDArray[Any]) -> Problem:
    """Return the problem of these rows, as many as fill whole batches: JAX needs them all equal."""
    batch = RUNG.batch
    assert batch is not None
    rows = len(x) - len(x) % batch
    start = problems.network(RUNG, "numpy")
    return Problem(
        RUNG,
        batch,
        np.ascontiguousarray(x[:rows], np.float32),
        labels[:rows].astype(np.int64),
        tuple(start.weights),
        tuple(start.biases),
        epochs=EPOCHS,
    )


def _contender(entry: Entry, problem: Problem, threads: int | None) -> Contender:
    if entry.kind == "fastnet":
        return Fit(problem, threads, entry.key.removeprefix("fastnet-"))
    return entry.make(problem, threads)


def _train(contender: Contender, epochs: int) -> float:
    """Train; return the first epoch's loss."""
    if isinstance(contender, Fit):
        return contender.train(epochs)
    losses = [contender.train_epoch() for _ in range(epochs)]
    return losses[0]


def _turned(names: list[str], turn: int) -> list[str]:
    first = turn % len(names) if names else 0
    return names[first:] + names[:first]


def _why_wrong(loss: float, reference: float, accuracy: float | None) -> str | None:
    """Return what a contender does not do as the others do."""
    if not abs(loss - reference) <= LONG_RUN * abs(reference):
        return f"has a loss of {loss:.4f} in the first epoch, the reference {reference:.4f}."
    if accuracy is not None and not ACCURACY[0] <= accuracy <= ACCURACY[1]:
        return f"ends with an accuracy of {accuracy:.4f}."
    return None
