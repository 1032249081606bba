"""The preset for tables, a plain network, scikit-learn's MLP and gradient boosting, on real tables.

``python -m fastnet.benchmarks.tables --threads 1 --json results.json``

All but the plain network have default settings (`fastnet.benchmarks.defaults` compares those of
fastnet's front doors). All have the same folds, and see the rest of the table in training only.
fastnet takes the tables as they are. scikit-learn's MLP gets them from its own encoders (medians
and most frequent categories for what is missing, one-hot, standardised; standardised targets too),
and HistGradientBoosting takes categories and missing values itself. Given are the mean over the
folds of the accuracy or of R2, and the median seconds of a fit.
"""

from __future__ import annotations

import statistics
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import click
import numpy as np
from numpy.typing import NDArray

import fastnet as fn
from fastnet.benchmarks import machine, table_data
from fastnet.benchmarks.pinning import limited_pools, on_cores
from fastnet.benchmarks.table_data import Table
from fastnet.data.text import Texts
from fastnet.data.values import known_texts
from fastnet.tables import Frame

Array = NDArray[Any]

FORMAT: Final = "fastnet-tables-bench/1"

PLAIN_EPOCHS: Final = 100


@dataclass
class Result:
    """One contender on one table."""

    table: str
    task: str
    rows: int
    columns: int
    contender: str
    scores: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Fold:
    """Rows to train on and rows to answer for; targets are class numbers or plain numbers."""

    train: Frame
    test: Frame
    y: Array
    classes: bool


def fold_index(rows: int, folds: int, seed: int = 0) -> list[tuple[Array, Array]]:
    """Return the rows to train on and to test on, of each fold."""
    parts = np.array_split(np.random.default_rng(seed).permutation(rows), folds)
    everything = np.arange(rows)
    return [(np.setdiff1d(everything, part), np.sort(part)) for part in parts]


# --- contenders -----------------------------------------------------------------------------------


def preset(fold: Fold, seed: int) -> Array:
    """Answer by fastnet's preset for tables."""
    network = fn.tables.train(fold.train, fold.y, task=_task(fold), seed=seed, preset="tabular")
    return _answers(network, fold)


def preset_by_six(fold: Fold, seed: int) -> Array:
    """Answer by six networks of the preset."""
    how: dict[str, Any] = {"preset": "tabular", "n_estimators": 6}
    return _answers(fn.tables.train(fold.train, fold.y, task=_task(fold), seed=seed, **how), fold)


def best(fold: Fold, seed: int) -> Array:
    """Answer by fastnet's preset of six networks."""
    how: dict[str, Any] = {"preset": "tabular-best"}
    return _answers(fn.tables.train(fold.train, fold.y, task=_task(fold), seed=seed, **how), fold)


def searched(minutes: float) -> Callable[[Fold, int], Array]:
    """Return a contender that answers by a search of so many minutes."""

    def answer(fold: Fold, seed: int) -> Array:
        how: dict[str, Any] = {"task": _task(fold), "seed": seed, "minutes": minutes}
        tuned = fn.tables.tune(fold.train, fold.y, **how)
        known = {name: round(value, 4) for name, value in tuned.out_of_fold_scores.items()}
        click.echo(f"{len(tuned.results)} trials, out-of-fold {known}", err=True)
        return _answers(tuned, fold)

    return answer


def plain(fold: Fold, seed: int) -> Array:
    """Answer by a plain network on the same inputs: 128 and 64 units, relu, Adam."""
    options: dict[str, Any] = {"preset": None, "epochs": PLAIN_EPOCHS, "batch_size": 128}
    options |= {"activation": "relu", "optimizer": "adam"}
    return _answers(
        fn.tables.train(fold.train, fold.y, task=_task(fold), seed=seed, **options), fold
    )


def _task(fold: Fold) -> Any:
    return "classification" if fold.classes else "regression"


def _answers(network: fn.Network | fn.Ensemble, fold: Fold) -> Array:
    outputs = network.predict_columns(fold.test)
    if not fold.classes:
        return outputs[:, 0]
    names = np.array([int(name) for name in network.label_names or ()])
    answers: Array = names[np.argmax(outputs, axis=1)]
    return answers


def sklearn_mlp(fold: Fold, seed: int) -> Array:
    """Answer by scikit-learn's MLP behind its usual encoders."""
    from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
    from sklearn.impute import SimpleImputer
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    words = [name for name, column in fold.train.columns.items() if isinstance(column, Texts)]
    numbers = [name for name in fold.train.columns if name not in words]
    encoder = ColumnTransformer(
        [
            ("numbers", make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), numbers),
            ("words", OneHotEncoder(handle_unknown="ignore"), words),
        ],
        sparse_threshold=0,
    )
    model = MLPClassifier(random_state=seed) if fold.classes else MLPRegressor(random_state=seed)
    if not fold.classes:
        model = TransformedTargetRegressor(model, transformer=StandardScaler())
    fitted = make_pipeline(encoder, model).fit(pandas_of(fold.train), fold.y)
    answers: Array = fitted.predict(pandas_of(fold.test))
    return answers


def boosting(fold: Fold, seed: int) -> Array:
    """Answer by scikit-learn's HistGradientBoosting."""
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    kind = HistGradientBoostingClassifier if fold.classes else HistGradientBoostingRegressor
    train, test = pandas_of(fold.train), pandas_of(fold.test)
    for name, column in fold.train.columns.items():
        if isinstance(column, Texts):
            train[name] = train[name].astype("category")
            known = train[name].cat.categories
            test[name] = test[name].where(test[name].isin(known)).astype(train[name].dtype)
    # More categories than it takes are its users' business: here they are numbers.
    for name in [name for name in train if train[name].dtype == "category"]:
        if len(train[name].cat.categories) > 255:
            train[name], test[name] = train[name].cat.codes, test[name].cat.codes
    model = kind(categorical_features="from_dtype", random_state=seed)
    answers: Array = model.fit(train, fold.y).predict(test)
    return answers


def pandas_of(frame: Frame) -> Any:
    """Return a frame of pandas; what is missing for fastnet is missing there."""
    import pandas

    columns: dict[str, Array] = {}
    for name, column in frame.columns.items():
        if isinstance(column, Texts):
            texts = known_texts(column)  # missing for the others what is missing for fastnet
            columns[name] = np.array([*texts.values, None], object)[texts.codes]
        else:
            columns[name] = column
    return pandas.DataFrame(columns)


CONTENDERS: Final[dict[str, Callable[[Fold, int], Array]]] = {
    "fastnet preset": preset,
    "fastnet plain": plain,
    "scikit-learn MLP": sklearn_mlp,
    "HistGradientBoosting": boosting,
}


ENSEMBLES: Final[dict[str, Callable[[Fold, int], Array]]] = {
    "fastnet preset": preset,
    "six of the preset": preset_by_six,
    "fastnet tabular-best": best,
    "HistGradientBoosting": boosting,
}
"""What ``--ensembles`` compares."""


# --- measuring ------------------------------------------------------------------------------------


def score(truth: Array, answers: Array, classes: bool) -> float:
    """Return the accuracy, or R2."""
    if classes:
        return float((truth == answers).mean())
    return float(1 - ((truth - answers) ** 2).sum() / ((truth - truth.mean()) ** 2).sum())


def measure(
    tables: list[Table], folds: int, contenders: dict[str, Callable[[Fold, int], Array]]
) -> list[Result]:
    """Return all results."""
    results: list[Result] = []
    for table in tables:
        source, classes = table.source, table.target.labels is not None
        y = table.target.encode(table.values)
        y = y if classes else table.target.decode(y)[:, 0]
        rows = len(table.frame)
        shape = source.task, rows, len(table.frame.columns)
        found = {name: Result(source.name, *shape, name) for name in contenders}
        for turn, (inside, outside) in enumerate(fold_index(rows, folds)):
            fold = Fold(table.frame.take(inside), table.frame.take(outside), y[inside], classes)
            for name, contender in contenders.items():
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # iterations that have not converged
                    started = time.perf_counter()
                    answers = contender(fold, turn)
                    found[name].seconds.append(time.perf_counter() - started)
                found[name].scores.append(score(y[outside], answers, classes))
        results += found.values()
        click.echo(line(list(found.values())))
    return results


# --- reporting ------------------------------------------------------------------------------------


def markdown(results: list[dict[str, Any]]) -> list[str]:
    """Return the lines of a table of results, as the README has it."""
    names = list(dict.fromkeys(result["table"] for result in results))
    lines = [
        "| | rows x columns | " + " | ".join(CONTENDERS) + " |",
        "|---|---:|" + "---:|" * len(CONTENDERS),
    ]
    for name in names:
        lines.append(line([Result(**r) for r in results if r["table"] == name]))
    return lines


def line(results: list[Result]) -> str:
    """Return the line of one table; the best score is bold."""
    first = results[0]
    scores = [f"{statistics.mean(r.scores):.3f}" for r in results]
    best = max(scores)
    seconds = [f"{statistics.median(r.seconds):.1f} s" for r in results]
    cells = [
        f"{f'**{value}**' if value == best else value}, {time}"
        for value, time in zip(scores, seconds, strict=True)
    ]
    unit = "" if first.task == "classification" else " (R²)"
    return f"| {first.table}{unit} | {first.rows:,} x {first.columns} | {' | '.join(cells)} |"


@click.command()
@click.option("--folds", type=click.IntRange(2), default=5, show_default=True)
@click.option("--table", "names", multiple=True, help="Only this one; repeatable.")
@click.option("--threads", type=click.IntRange(1), help="Threads and processors for everybody.")
@click.option("--ensembles", is_flag=True, help="Compare fastnet's ensembles with its preset.")
@click.option(
    "--tune",
    "minutes",
    type=click.FloatRange(0, min_open=True),
    metavar="MINUTES",
    help="Compare searches of so many minutes with the preset and the best of the ensembles.",
)
@click.option("--json", "file", type=click.Path(path_type=Path), help="Where to write it all.")
def main(
    folds: int,
    names: tuple[str, ...],
    threads: int | None,
    ensembles: bool,
    minutes: float | None,
    file: Path | None,
) -> None:
    """Compare on real tables."""
    with on_cores(threads), limited_pools(threads):
        contenders = ENSEMBLES if ensembles else CONTENDERS
        if minutes is not None:
            contenders = {"fastnet preset": preset, "fastnet tabular-best": best}
            contenders[f"fastnet tune, {minutes:g} min"] = searched(minutes)
        results = measure(table_data.here(names), folds, contenders)
        described = machine.describe(threads)
    if file is not None:
        table_data.record(file, FORMAT, described, results, folds=folds)


if __name__ == "__main__":
    main()
