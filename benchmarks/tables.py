"""fastnet's presets, scikit-learn and three libraries of boosted trees, on real tables.

``python -m fastnet.benchmarks.tables --threads 1 --json results.json``

`fastnet.benchmarks.table_contenders` says who is compared; all have the same folds, and see the
rest of the table in training only. Given are the mean over the folds of the accuracy or of R2, and
the median processor seconds of a fit: other programs on the machine hardly change those.
The record is written after each table. The same command goes on with one that is there, and
measures the tables that it lacks.
"""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import click
import numpy as np
from numpy.typing import NDArray

from fastnet.benchmarks import machine, table_data
from fastnet.benchmarks import table_standings as standings
from fastnet.benchmarks.pinning import limited_pools, on_cores
from fastnet.benchmarks.table_contenders import CONTENDERS, Contender, Fold, members, search
from fastnet.benchmarks.table_data import Table
from fastnet.benchmarks.table_standings import Result
from fastnet.errors import InputError

Array = NDArray[Any]

FORMAT: Final = "fastnet-tables-bench/2"

COMMAND: Final = "python -m fastnet.benchmarks.tables"

WITH_MEMBERS: Final = ("fastnet tabular", "fastnet tabular-best")
"""The presets that networks with members are compared with."""

_PACKAGES: Final = ("pandas", "catboost", "lightgbm", "xgboost")


def fold_index(rows: int, folds: int, seed: int = 0) -> list[tuple[Array, Array]]:
    """Return the rows to train on and to test on, of each fold."""
    parts = np.array_split(np.random.default_rng(seed).permutation(rows), folds)
    everything = np.arange(rows)
    return [(np.setdiff1d(everything, part), np.sort(part)) for part in parts]


def some_rows(rows: int, most: int, seed: int = 0) -> Array:
    """Return at most so many of the rows, drawn without replacement, in their order."""
    return np.sort(np.random.default_rng(seed).permutation(rows)[:most])


def score(truth: Array, answers: Array, classes: bool) -> float:
    """Return the accuracy, or R2."""
    if classes:
        return float((truth == answers).mean())
    return float(1 - ((truth - answers) ** 2).sum() / ((truth - truth.mean()) ** 2).sum())


def measure(table: Table, folds: int, most: int, contenders: Sequence[Contender]) -> list[Result]:
    """Return the results of each contender on at most `most` rows of a table."""
    source, classes = table.source, table.target.labels is not None
    y = table.target.encode(table.values)
    y = y if classes else table.target.decode(y)[:, 0]
    kept = some_rows(len(table.frame), most)
    frame, y = table.frame.take(kept), y[kept]
    shape = source.name, source.task, len(kept), len(frame.columns)
    found = {contender.name: Result(*shape, contender.name) for contender in contenders}
    for turn, (inside, outside) in enumerate(fold_index(len(kept), folds)):
        fold = Fold(frame.take(inside), frame.take(outside), y[inside], classes)
        for contender in contenders:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # iterations that have not converged
                started = time.process_time()
                answer = contender.fit(fold, turn)
                found[contender.name].seconds.append(time.process_time() - started)
                answers = answer(fold.test)
            found[contender.name].scores.append(score(y[outside], answers, classes))
    return list(found.values())


def installed(contenders: Sequence[Contender]) -> list[Contender]:
    """Return the contenders whose packages are here; say which are not."""
    found = []
    for contender in contenders:
        missing = contender.missing()
        if missing:
            click.echo(f"left out: {contender.name} (pip install {' '.join(missing)})", err=True)
        else:
            found.append(contender)
    return found


# --- the record -----------------------------------------------------------------------------------


def terms_of(folds: int, most: int, threads: int | None, names: Sequence[str]) -> dict[str, Any]:
    """Return what must be the same for all results of a record."""
    bound = "" if threads is None else f" --threads {threads}"
    return {
        "command": f"{COMMAND} --folds {folds} --rows {most}{bound}",
        "contenders": list(names),
        "cpu": machine.cpu_model(),
        "commit": machine.commit(),
        "versions": machine.versions((*machine.PACKAGES, *_PACKAGES, *table_data.PACKAGES)),
    }


def begun(file: Path | None, terms: dict[str, Any]) -> list[Result]:
    """Return the results of a record that was begun on the same terms; none where there is none.

    Raises
    ------
    InputError
        The file is none, or was measured on other terms, which do not compare.
    """
    if file is None or not file.exists():
        return []
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        results = [Result(**row) for row in content["results"]]
        if content["format"] != FORMAT:
            raise ValueError(content["format"])
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{file} is no record of the form {FORMAT}: name another file.") from error
    for name, value in terms.items():
        if content.get(name) != value:
            raise InputError(
                f"{file} was measured with {name} {content.get(name)!r}, and this run has "
                f"{value!r}: name another file, or remove this one."
            )
    return results


def add(made: list[Result], file: Path, terms: dict[str, Any], threads: int | None) -> list[Result]:
    """Add the results of a table to a record, and return all of them, in the order of the tables.

    The file is read anew: another process may have added tables of its own meanwhile.
    """
    names = [source.name for source in table_data.SOURCES]
    others = [result for result in begun(file, terms) if result.table != made[0].table]
    results = sorted(others + made, key=lambda result: names.index(result.table))
    table_data.record(file, FORMAT, machine.describe(threads), results, **terms)
    return results


@click.command()
@click.option("--folds", type=click.IntRange(2), default=5, show_default=True)
@click.option("--rows", type=click.IntRange(50), default=5_000, show_default=True, help="At most.")
@click.option("--table", "names", multiple=True, help="Only this one; repeatable.")
@click.option("--threads", type=click.IntRange(1), help="Threads and processors for everybody.")
@click.option(
    "--tune",
    "minutes",
    type=click.FloatRange(0, min_open=True),
    metavar="MINUTES",
    help="Compare fastnet's presets with searches of so many minutes instead.",
)
@click.option(
    "--members",
    "count",
    type=click.IntRange(1),
    metavar="K",
    help="Compare two of fastnet's presets with networks of K members (TabM) instead.",
)
@click.option("--json", "file", type=click.Path(path_type=Path), help="Where to write it all.")
def main(
    folds: int,
    rows: int,
    names: tuple[str, ...],
    threads: int | None,
    minutes: float | None,
    count: int | None,
    file: Path | None,
) -> None:
    """Compare on real tables."""
    everybody: Sequence[Contender] = CONTENDERS
    if minutes is not None:
        everybody = [*(one for one in CONTENDERS if one.ours), search(minutes)]
    if count is not None:
        everybody = [*(one for one in CONTENDERS if one.name in WITH_MEMBERS), members(count)]
    contenders = installed(everybody)
    terms = terms_of(folds, rows, threads, [contender.name for contender in contenders])
    try:
        results = begun(file, terms)
    except InputError as error:
        raise click.ClickException(str(error)) from error
    with on_cores(threads), limited_pools(threads):
        for table in table_data.here(names):
            if table.source.name in standings.by_table(results):
                continue
            made = measure(table, folds, rows, contenders)
            click.echo("\n".join([*standings.accuracies(made), *list(standings.costs(made))[2:]]))
            results = add(made, file, terms, threads) if file else results + made
    if results:
        click.echo("\n".join(standings.summary(results)))


if __name__ == "__main__":
    main()
