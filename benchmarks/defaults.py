"""The defaults of every front door against linear models and against networks tuned by hand.

``python -m fastnet.benchmarks.defaults --json results.json``

Nobody gets an option beside the seed: ``fastnet train FILE --target y``,
``fn.tables.train(table, y)`` and ``FastNetClassifier()`` or ``FastNetRegressor()``. The linear
model is scikit-learn's RidgeCV or LogisticRegression behind its usual encoders, which the
estimators get too. The plain network that stands for tuning by hand is the best of a small grid
(epochs, weight decay, held-out rows) on a split of its own. Given is the mean over splits of the
accuracy, or of R2, on 30 % of the rows.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any, Final

import click
import numpy as np
from numpy.typing import NDArray

import fastnet as fn
from fastnet.benchmarks import machine, table_data
from fastnet.benchmarks.pinning import limited_pools, on_cores
from fastnet.benchmarks.small_tables import DRAWN, Drawn, draw
from fastnet.benchmarks.table_contenders import pandas_of
from fastnet.benchmarks.tables import score

Array = NDArray[Any]

FORMAT: Final = "fastnet-defaults-bench/1"

QUICK: Final = ("moons", "forty rows", "offset of 1e6")

_TUNING: Final = 100
"""The split on which the tuned network is chosen."""


@dataclass(frozen=True)
class Split:
    """Rows to train on and rows to answer for, as data frames of pandas."""

    train: Any
    test: Any
    y: Array
    truth: Array
    classes: bool

    @property
    def task(self) -> Any:
        """The task's name."""
        return "classification" if self.classes else "regression"


@dataclass
class Result:
    """One contender on one table."""

    table: str
    task: str
    rows: int
    columns: int
    contender: str
    scores: list[float] = field(default_factory=list)


def tables_here(names: tuple[str, ...] = ()) -> list[Drawn]:
    """Return the real tables that are installed, and the drawn ones."""
    found = []
    for table in table_data.here(tuple(n for n in names if n not in DRAWN)) if _asks(names) else []:
        codes = table.target.encode(table.values)
        y = codes if table.source.task == "classification" else table.target.decode(codes)[:, 0]
        frame = pandas_of(table.frame)
        columns = {name: frame[name].to_numpy() for name in frame}
        found.append(Drawn(table.source.name, columns, y, table.source.task == "classification"))
    return found + [draw(name) for name in DRAWN if not names or name in names]


def _asks(names: tuple[str, ...]) -> bool:
    return not names or any(name not in DRAWN for name in names)


def split(table: Drawn, seed: int, most: int) -> Split:
    """Return 70 % of at most `most` rows to train on, and 30 % to answer for."""
    import pandas

    order = np.random.default_rng(1_000 + seed).permutation(len(table))[:most]
    count = round(0.7 * len(order))
    frame = pandas.DataFrame(table.columns)
    parts = (frame.iloc[rows].reset_index(drop=True) for rows in (order[:count], order[count:]))
    train, test = parts
    y, truth = table.target[order[:count]], table.target[order[count:]]
    return Split(train, test, y, truth, table.classes)


# --- contenders -----------------------------------------------------------------------------------


def answers(network: fn.Network, rows: Split) -> Array:
    """Return the classes or numbers that a network predicts for the rows to answer for."""
    outputs = network.predict(rows.test)
    if not rows.classes:
        return outputs.reshape(len(rows.truth))
    names = np.array([int(name) for name in network.label_names or ()])
    found: Array = names[np.argmax(outputs, axis=1)]
    return found


def command(rows: Split, seed: int) -> Array:
    """Answer by ``fastnet train FILE --target``."""
    with tempfile.TemporaryDirectory() as folder:
        file, model = Path(folder, "t.csv"), Path(folder, "m.safetensors")
        rows.train.assign(the_target=rows.y).to_csv(file, index=False)
        words = ["train", str(file), "--target", "the_target", "--seed", str(seed), "--quiet"]
        words += ["--out", str(model)]
        subprocess.run([sys.executable, "-m", "fastnet", *words], check=True, capture_output=True)
        return answers(fn.load(model), rows)


def function(rows: Split, seed: int) -> Array:
    """Answer by ``fn.tables.train``."""
    return answers(fn.tables.train(rows.train, rows.y, task=rows.task, seed=seed), rows)


def estimator(rows: Split, seed: int) -> Array:
    """Answer by a default estimator behind scikit-learn's encoders."""
    from fastnet.sklearn import FastNetClassifier, FastNetRegressor

    kind = FastNetClassifier if rows.classes else FastNetRegressor
    return _behind_encoders(kind(random_state=seed), rows)


def linear(rows: Split, seed: int) -> Array:
    """Answer by RidgeCV or LogisticRegression."""
    from sklearn.linear_model import LogisticRegression, RidgeCV

    ridge = RidgeCV(np.logspace(-3, 3, 13))
    return _behind_encoders(LogisticRegression(max_iter=2_000) if rows.classes else ridge, rows)


def _behind_encoders(model: Any, rows: Split) -> Array:
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    numbers = [name for name in rows.train if rows.train[name].dtype.kind in "biuf"]
    words = [name for name in rows.train if name not in numbers]
    encoder = ColumnTransformer(
        [
            ("numbers", make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), numbers),
            ("words", OneHotEncoder(handle_unknown="ignore", max_categories=100), words),
        ],
        sparse_threshold=0,
    )
    found: Array = make_pipeline(encoder, model).fit(rows.train, rows.y).predict(rows.test)
    return found


GRID: Final[tuple[dict[str, Any], ...]] = tuple(
    {
        "epochs": epochs,
        "optimizer": fn.AdamW(rate, weight_decay=decay),
        "validation_split": held_out,
        "early_stopping": epochs if held_out else None,
    }
    for epochs, rate, decay, held_out in product((30, 150), (1e-3,), (0.0, 1.0), (0.0, 0.15))
)
"""What somebody would try with a plain network on scaled inputs and targets."""


def tuned(rows: Split, seed: int, options: dict[str, Any]) -> Array:
    """Answer by a plain network with options of `GRID`."""
    plain: dict[str, Any] = {"preset": None, "activation": "relu", "batch_size": 32, "seed": seed}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", fn.FastNetWarning)  # patience keeps the best weights here
        return answers(
            fn.tables.train(rows.train, rows.y, task=rows.task, **plain, **options), rows
        )


def ten_epochs(rows: Split, seed: int) -> Array:
    """Answer by what ``FastNetRegressor()`` and the command did before: ten epochs, no scales."""
    options: dict[str, Any] = {"activation": "relu", "optimizer": "adam", "epochs": 10}
    options |= {"batch_size": 128, "standardize": False, "random_state": seed}
    from fastnet.sklearn import FastNetClassifier, FastNetRegressor

    if rows.classes:
        model: Any = FastNetClassifier(**options)
    else:
        model = FastNetRegressor(**options, standardize_targets=False)
    found: Array = model.fit(rows.train.to_numpy(float), rows.y).predict(rows.test.to_numpy(float))
    return found


DOORS: Final[dict[str, Callable[[Split, int], Array]]] = {
    "command": command,
    "tables.train": function,
    "estimator": estimator,
}

CONTENDERS: Final = (*DOORS, "linear model", "tuned by hand")


# --- measuring ------------------------------------------------------------------------------------


def marks(
    answer: Callable[[Split, int], Array], table: Drawn, seeds: int, most: int
) -> list[float]:
    """Return the score on each split."""
    found = []
    for seed in range(seeds):
        rows = split(table, seed, most)
        found.append(score(rows.truth, answer(rows, seed), rows.classes))
    return found


def best_of_grid(table: Drawn, most: int) -> dict[str, Any]:
    """Return the options of `GRID` that do best on a split that is not reported."""
    rows = split(table, _TUNING, most)
    scores = [score(rows.truth, tuned(rows, _TUNING, given), rows.classes) for given in GRID]
    return GRID[int(np.argmax(scores))]


def measure(tables: list[Drawn], seeds: int, most: int) -> list[Result]:
    """Return all results."""
    results = []
    for table in tables:
        task = "classification" if table.classes else "regression"
        chosen = best_of_grid(table, most)
        by_hand: Any = lambda rows, seed, given=chosen: tuned(rows, seed, given)  # noqa: E731
        every = {**DOORS, "linear model": linear, "tuned by hand": by_hand}
        size = min(most, len(table)), len(table.columns)
        made = [
            Result(table.name, task, *size, name, marks(answer, table, seeds, most))
            for name, answer in every.items()
        ]
        results += made
        click.echo(line(made))
    return results


def head() -> list[str]:
    """Return the head of the table of results."""
    dashes = "|---|---:|" + "---:|" * len(CONTENDERS)
    return ["| | rows x columns | " + " | ".join(CONTENDERS) + " |", dashes]


def line(results: list[Result]) -> str:
    """Return the line of one table; the best score is bold."""
    first = results[0]
    scores = [f"{statistics.mean(result.scores):.3f}" for result in results]
    cells = [f"**{value}**" if value == max(scores, key=float) else value for value in scores]
    unit = "" if first.task == "classification" else " (R²)"
    return f"| {first.table}{unit} | {first.rows:,} x {first.columns} | {' | '.join(cells)} |"


@click.command()
@click.option("--seeds", type=click.IntRange(1), default=3, show_default=True, help="Splits.")
@click.option("--rows", type=click.IntRange(30), default=2_000, show_default=True, help="At most.")
@click.option("--table", "names", multiple=True, help="Only this one; repeatable.")
@click.option("--quick", is_flag=True, help=f"One split of {', '.join(QUICK)}.")
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True)
@click.option("--json", "file", type=click.Path(path_type=Path), help="Where to write it all.")
def main(
    seeds: int, rows: int, names: tuple[str, ...], quick: bool, threads: int, file: Path | None
) -> None:
    """Compare the defaults."""
    names, seeds = (QUICK, 1) if quick else (names, seeds)
    click.echo("\n".join(head()))
    with on_cores(threads), limited_pools(threads), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of scikit-learn, about unknown categories
        results = measure(tables_here(names), seeds, rows)
        described = machine.describe(threads)
    if file is not None:
        table_data.record(file, FORMAT, described, results, seeds=seeds)


if __name__ == "__main__":
    main()
