"""scikit-learn's MLP and fastnet's, on the same data for the same iterations: score and seconds.

``python -m fastnet.benchmarks.sklearn_estimators --threads 1 --json results.json``

Every contender gets the same rows, parameters and ``random_state``, so the same initial weights.
Before anything is timed each trains for two iterations without a shuffle, and its losses must be
those of scikit-learn. Then, in every round with another ``random_state``, each trains once, in
turn; given are the median of the seconds and the mean of the scores on rows held back. Compilation
comes before.
"""

from __future__ import annotations

import json
import statistics
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import click
import numpy as np
from numpy.typing import NDArray

import fastnet as fn
from fastnet.benchmarks import machine
from fastnet.benchmarks.pinning import limited_pools, on_cores
from fastnet.errors import DataError, FastNetError

Array = NDArray[Any]

PARITY: Final = 1e-4
"""Largest relative difference of the losses: a last, smaller batch has another penalty."""


@dataclass(frozen=True)
class Problem:
    """Rows and parameters; `kind` names the class."""

    name: str
    kind: str
    x: Array
    y: Array
    options: dict[str, Any]

    @property
    def rows(self) -> int:
        """Number of rows to train on; the rest is held back."""
        return len(self.x) * 4 // 5


@dataclass
class Result:
    """One contender on one problem."""

    problem: str
    contender: str
    dtype: str
    seconds: list[float] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)


def problems() -> list[Problem]:
    """Return the problems; Fashion-MNIST where its files are."""
    from sklearn import datasets

    x, y = datasets.load_digits(return_X_y=True)
    x = np.random.default_rng(0).permutation(np.column_stack([x / 16, y]))
    digits, labels = x[:, :-1], x[:, -1].astype(int)
    table = datasets.make_classification(25_000, 20, n_informative=12, n_classes=4, random_state=0)
    friedman = datasets.make_friedman1(25_000, noise=1.0, random_state=0)
    small = {"max_iter": 20, "batch_size": 32}
    solved = {"max_iter": 50, "solver": "lbfgs"}
    found = [
        Problem("digits", "MLPClassifier", digits, labels, {"max_iter": 50}),
        Problem("digits, batch 32", "MLPClassifier", digits, labels, small),
        Problem("digits, L-BFGS", "MLPClassifier", digits, labels, solved),
        Problem("table, 4 classes", "MLPClassifier", table[0], table[1], {"max_iter": 20}),
        Problem("Friedman 1", "MLPRegressor", friedman[0], friedman[1], {"max_iter": 20}),
    ]
    try:
        data = fn.data.load("fashion-mnist")
    except DataError as error:
        click.echo(f"left out: fashion-mnist ({error})", err=True)
        return found
    x, y = np.asarray(data.x[:25_000], np.float64), np.asarray(data.y)[:25_000]
    found.append(Problem("fashion-mnist", "MLPClassifier", x, y, {"max_iter": 5}))
    return found


def contenders() -> dict[str, Callable[[str], Any]]:
    """Return, by name, what makes the estimator class of a kind."""
    from sklearn import neural_network

    from fastnet import sklearn as estimators

    def on(backend: str) -> Callable[[str], Any]:
        return lambda kind: lambda **options: getattr(estimators, kind)(**options, backend=backend)

    made: dict[str, Callable[[str], Any]] = {
        "scikit-learn": lambda kind: getattr(neural_network, kind)
    }
    usable = [name for name, reason in fn.available_backends().items() if reason is None]
    return made | {f"fastnet {name}": on(name) for name in usable}


def train(make: Any, problem: Problem, dtype: str, **options: Any) -> tuple[float, float, Any]:
    """Return the seconds of one fit, the score on the rows held back, and the model."""
    x = problem.x.astype(dtype)
    model = make(**{"n_iter_no_change": np.inf, **problem.options, **options})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that so few iterations have not converged
        started = time.perf_counter()
        model.fit(x[: problem.rows], problem.y[: problem.rows])
        seconds = time.perf_counter() - started
    return seconds, model.score(x[problem.rows :], problem.y[problem.rows :]), model


def check_parity(problem: Problem, makers: dict[str, Any]) -> None:
    """Raise unless all have the same losses for two iterations; this also compiles.

    Raises
    ------
    FastNetError
        Naming who computes something else.
    """
    losses = {}
    for name, make in makers.items():
        options = {"max_iter": 2, "shuffle": False, "random_state": 0}
        model = train(make, problem, "float64", **options)[2]
        losses[name] = np.asarray(getattr(model, "loss_curve_", [model.loss_]))
    reference = losses["scikit-learn"]
    for name, curve in losses.items():
        if not np.allclose(curve, reference, rtol=PARITY, atol=0):
            raise FastNetError(f"{problem.name}: {name} has the losses {curve}, not {reference}.")


def measure(rounds: int, dtypes: tuple[str, ...]) -> list[Result]:
    """Return all results."""
    results: list[Result] = []
    for problem in problems():
        makers = {name: make(problem.kind) for name, make in contenders().items()}
        check_parity(problem, makers)
        for dtype in dtypes:
            rows = {name: Result(problem.name, name, dtype) for name in makers}
            for make in makers.values():
                train(make, problem, dtype, max_iter=1)
            names = list(makers)
            for turn in range(rounds):
                first = turn % len(names)
                for name in names[first:] + names[:first]:
                    seconds, score, _ = train(makers[name], problem, dtype, random_state=turn)
                    rows[name].seconds.append(seconds)
                    rows[name].scores.append(score)
            results += rows.values()
            show(list(rows.values()))
    return results


def show(rows: list[Result]) -> None:
    """Print the results of one problem."""
    reference = statistics.median(rows[0].seconds)
    for row in rows:
        seconds = statistics.median(row.seconds)
        click.echo(
            f"{row.problem:18} {row.dtype:8} {row.contender:14} {seconds:8.3f} s "
            f"{reference / seconds:6.1f} x   score {statistics.mean(row.scores):.4f}"
        )


@click.command()
@click.option("--rounds", type=click.IntRange(1), default=5, show_default=True)
@click.option("--threads", type=click.IntRange(1), help="Threads and processors for everybody.")
@click.option("--json", "file", type=click.Path(path_type=Path), help="Where to write it all.")
def main(rounds: int, threads: int | None, file: Path | None) -> None:
    """Compare scikit-learn's MLP with fastnet's."""
    with on_cores(threads), limited_pools(threads):
        results = measure(rounds, ("float64", "float32"))
        described = machine.describe(threads)
    if file is not None:
        versions = machine.versions(("scikit-learn",))
        content = {
            "format": "fastnet-sklearn-bench/1",
            "machine": described | {"packages": described["packages"] | versions},
            "results": [asdict(result) for result in results],
        }
        file.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
