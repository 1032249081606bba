"""Many networks: `fastnet.fit_many` and `FastNetSearchCV` beside the same networks one by one.

And networks that answer several times, `fastnet.Members`, beside TabM by its authors.

``python -m fastnet.benchmarks.populations --json results.json``

Contenders take turns in one run. Those of fastnet train to the same bits; JAX and PyTorch, where
they are installed, start from the same weights, and the search of scikit-learn trains its own MLP
of the same layers. Given are microseconds for a step of one network, or seconds, and the ratio to
fastnet's.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click
import numpy as np
from numpy.typing import NDArray

import fastnet as fn
from fastnet.benchmarks import machine, timing
from fastnet.benchmarks.contenders import missing
from fastnet.benchmarks.pinning import limited_pools, on_cores
from fastnet.benchmarks.rivals import populations as rivals
from fastnet.benchmarks.rivals import tabm
from fastnet.benchmarks.timing import Budget

Array = NDArray[Any]

FORMAT: Final = "fastnet-populations-bench/1"

_FULL: Final = Budget(rounds=5, samples=1, seconds=0.0, pause=0.25)
_QUICK: Final = Budget(rounds=1, samples=1, seconds=0.0)


@dataclass(frozen=True)
class Case:
    """A population to train.

    Attributes
    ----------
    name : str
    sizes : tuple of int
    rows, batch, epochs : int
    activation : str
    held_out : int
        Rows to evaluate after each epoch.
    rivalled : bool
        Whether other libraries train it, too.
    """

    name: str
    sizes: tuple[int, ...]
    rows: int
    batch: int
    epochs: int
    activation: Any = "relu"
    held_out: int = 0
    rivalled: bool = False
    optimizer: Any = field(default_factory=fn.Adam)

    @property
    def layers(self) -> str:
        """The sizes as text, as in ``2-4-2``."""
        return "-".join(map(str, self.sizes))

    def steps(self) -> int:
        """Return the steps of one network."""
        return -(-self.rows // self.batch) * self.epochs


CASES: Final = (
    Case("policy", (16, 64, 64, 4), rows=4096, batch=64, epochs=20, rivalled=True),
    Case("xor", (2, 4, 2), rows=4096, batch=4, epochs=20, activation="tanh", rivalled=True),
    Case("xor, few rows", (2, 4, 2), rows=128, batch=4, epochs=50, activation="tanh", held_out=64),
    Case("one hidden layer", (30, 64, 2), rows=455, batch=32, epochs=50),
    Case("table", (168, 384, 384, 1), rows=2048, batch=256, epochs=1, optimizer=fn.AdamW(1e-3)),
)

SEARCH: Final = "search, 12 x 5 fits"

MEMBERS: Final = 64

TABM: Final = {
    f"{name}, {width} units": (scales, width)
    for name, scales in (("TabM-mini", "first"), ("TabM", "all"))
    for width in (512, 256)
}
"""The scales of `fastnet.Members`, and the units of each of three hidden layers."""

TABM_ROWS: Final = 1024
TABM_BATCH: Final = 256
TABM_MEMBERS: Final = 32

VERSIONS: Final = {
    "jax": "JAX", "torch": "PyTorch", "tabm": "tabm", "scikit-learn": "scikit-learn",
}  # fmt: skip
"""What the other libraries are called, by package."""

_EPOCHS: Final = 1
"""Of the rivals: what is compared is a step, and some of theirs take long."""


@dataclass
class Result:
    """A contender's seconds on one case, and how often as fast fastnet's population is."""

    case: str
    contender: str
    seconds: float
    step_us: float | None
    ratio: float


def data(case: Case) -> tuple[Array, Array]:
    """Return rows and targets: classes, or numbers for one output."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((case.rows + case.held_out, case.sizes[0])).astype(np.float32)
    classes = case.sizes[-1]
    y = rng.integers(0, classes, len(x)) if classes > 1 else x[:, :1] * x[:, 1:2]
    return x, y


def contenders(case: Case, members: int) -> dict[str, Callable[[], list[fn.Network]]]:
    """Return functions that train the population, each of them to the same bits."""
    x, y = data(case)
    train, last = slice(0, case.rows), case.sizes[-1]
    how: dict[str, Any] = {
        "epochs": case.epochs,
        "batch_size": case.batch,
        "optimizer": case.optimizer,
    }
    if case.held_out:
        how["validation_data"] = x[case.rows :], y[case.rows :]
    layers: dict[str, Any] = {
        "activation": case.activation,
        "output_activation": "softmax" if last > 1 else "identity",
        "backend": "numba",
    }
    template = fn.Network(case.sizes, **layers)

    def together() -> list[fn.Network]:
        return [*fn.fit_many(template, x[train], y[train], seeds=members, **how)]

    def one_by_one() -> list[fn.Network]:
        networks = [fn.Network(case.sizes, seed=k, **layers) for k in range(members)]
        for net in networks:
            net.fit(x[train], y[train], threads=1, **how)
        return networks

    return {"fit_many": together, "one by one, one thread": one_by_one}


def tabm_of(scales: Any, width: int, members: int) -> dict[str, Callable[[], Any]]:
    """Return functions that train a network with members for an epoch.

    Raises
    ------
    RuntimeError
        The authors' package does not compute the same losses in epochs of one step.
    """
    rng = np.random.default_rng(0)
    x = rng.standard_normal((TABM_ROWS, 64)).astype(np.float32)
    y = rng.integers(0, 10, len(x))
    hidden = [fn.Dense(width, "relu")] * 3
    layers = [fn.Members(members, scales=scales), *hidden, fn.Dense(10, "softmax")]
    net = fn.Network(layers, inputs=64, backend="numba")
    found: dict[str, Callable[[], Any]] = {
        "Members": lambda: net.fit(x, y, epochs=1, batch_size=TABM_BATCH)
    }
    if not missing(["tabm", "torch"]):
        first, label = slice(0, TABM_BATCH), "PyTorch, the authors' package"
        one_step = tabm.epoch_of(net, x[first], y[first], TABM_BATCH)
        ours = net.copy().fit(x[first], y[first], epochs=3, batch_size=None)["loss"]
        if not np.allclose([one_step() for _ in ours], ours, rtol=1e-4, atol=0):
            raise RuntimeError(f"{label} does not compute the losses of fastnet's network.")
        found[label] = tabm.epoch_of(net, x, y, TABM_BATCH)
    return found


def search(quick: bool) -> dict[str, Callable[[], Any]]:
    """Return fastnet's search and scikit-learn's, of 12 combinations on 5 folds."""
    from sklearn.model_selection import GridSearchCV
    from sklearn.neural_network import MLPClassifier

    from fastnet.sklearn import FastNetSearchCV
    from fastnet.sklearn import MLPClassifier as Ours

    rng = np.random.default_rng(0)
    x = rng.standard_normal((300 if quick else 5_000, 20)).astype(np.float32)
    y = (x[:, 0] * x[:, 1] + x[:, 2] > 0).astype(int)
    grid: dict[str, list[Any]] = {
        "hidden_layer_sizes": [(32,), (64,), (64, 32)],
        "alpha": [1e-4, 1e-2],
        "learning_rate_init": [1e-3, 1e-2],
    }
    how: dict[str, Any] = {"max_iter": 2 if quick else 20, "random_state": 0}
    return {
        "FastNetSearchCV": lambda: FastNetSearchCV(Ours(**how), grid, cv=5).fit(x, y),
        "GridSearchCV of scikit-learn": lambda: GridSearchCV(
            MLPClassifier(**how), grid, cv=5, n_jobs=1 if quick else -1
        ).fit(x, y),
    }


def rivals_of(case: Case, members: int) -> dict[str, tuple[Callable[[], float], int]]:
    """Return functions that train the population in other libraries, and the steps they take."""
    if not case.rivalled:
        return {}
    x, labels = data(case)
    layers: dict[str, Any] = {"activation": case.activation, "output_activation": "softmax"}
    networks = [fn.Network(case.sizes, seed=k, backend="numpy", **layers) for k in range(members)]
    given = rivals.Population(networks, x, labels, case.batch, _EPOCHS, case.activation)
    steps = case.steps() // case.epochs * _EPOCHS
    return {name: (train, steps * n) for name, (train, n) in rivals.installed(given).items()}


def require_same(found: list[list[fn.Network]]) -> None:
    """Raise `RuntimeError` unless all populations have the same parameters."""
    first, *others = found
    for other in others:
        for a, b in zip(first, other, strict=True):
            if not np.array_equal(a.parameters, b.parameters):
                raise RuntimeError("the contenders have not trained to the same bits.")


def measure(quick: bool) -> list[Result]:
    """Return all results; the first contender of a case is what the others are compared with."""
    budget, members = (_QUICK, 3) if quick else (_FULL, MEMBERS)
    results: list[Result] = []
    for case in CASES:
        calls = contenders(case, members)
        require_same([call() for call in calls.values()])
        steps = dict.fromkeys(calls, case.steps() * members)
        others = rivals_of(case, members)
        every = {**calls, **{name: train for name, (train, _) in others.items()}}
        steps |= {name: taken for name, (_, taken) in others.items()}
        results += _results(case.name, every, budget, steps)
    for name, (scales, width) in TABM.items():
        small = (8, 3) if quick else (width, TABM_MEMBERS)
        calls = tabm_of(scales, *small)
        for call in calls.values():
            call()
        results += _results(name, calls, budget, dict.fromkeys(calls, TABM_ROWS // TABM_BATCH))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # iterations that have not converged
        results += _results(SEARCH, search(quick), budget, None)
    return results


def _results(
    name: str, calls: Mapping[str, Any], budget: Budget, steps: Mapping[str, int] | None
) -> list[Result]:
    """Time the contenders in turn; `steps` says how many steps each of them takes."""
    timings = timing.interleave(calls, budget, repeats=1)
    ours, first = next(iter(timings.items()))
    made = []
    for contender, found in timings.items():
        ratio, step_us = found.ratio_to(first), None
        if steps is not None:
            ratio *= steps[ours] / steps[contender]
            step_us = found.typical / steps[contender] * 1e6
        made.append(Result(name, contender, found.typical, step_us, ratio))
        click.echo(line(made[-1]))
    return made


def line(result: Result) -> str:
    """Return the line of one result in a table in Markdown."""
    each = "" if result.step_us is None else f"{result.step_us:.3g}"
    cells = result.case, result.contender, f"{result.seconds:.3g}", each, f"{result.ratio:.2f}"
    return f"| {' | '.join(cells)} |"


@click.command()
@click.option("--threads", type=click.IntRange(1), help="Threads and processors for everybody.")
@click.option("--quick", is_flag=True, help="Three networks, once.")
@click.option("--json", "file", type=click.Path(path_type=Path), help="Where to write it all.")
def main(threads: int | None, quick: bool, file: Path | None) -> None:
    """Compare populations with the same networks one by one."""
    click.echo("| population | contender | seconds | us a step of one | over fastnet's |")
    click.echo("|---|---|---:|---:|---:|")
    with on_cores(threads), limited_pools(threads):
        results = measure(quick)
        described = machine.describe(threads)
    if file is not None:
        content = {
            "format": FORMAT,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": described,
            "versions": machine.versions(tuple(VERSIONS)),
            "members": 3 if quick else MEMBERS,
            "results": [asdict(result) for result in results],
        }
        file.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
