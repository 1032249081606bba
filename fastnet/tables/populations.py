"""`fit_many` and `cross_validate` for tables: members learn their own encoding of the columns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, Final

from fastnet.errors import InputError, suggest
from fastnet.network import Network
from fastnet.populations.crews import Threads, hired
from fastnet.populations.folder import fingerprint
from fastnet.populations.folds import read_folds, read_rows
from fastnet.populations.population import Population
from fastnet.populations.results import FOLD, SEED, Results
from fastnet.populations.runner import train_all, train_member
from fastnet.populations.settings import (
    OF_FIT,
    ROWS,
    combinations,
    shown_settings,
)
from fastnet.populations.work import Row, Trained
from fastnet.tables.prepare import prepare
from fastnet.tables.rows import OF_TRAIN, TableRows
from fastnet.tables.train import train
from fastnet.utils.arguments import answers
from fastnet.utils.param_validation import check_flag

_WITHOUT: Final = ("x", "y", "n_estimators", "checkpoint_every")
_KNOWN: Final = tuple(dict.fromkeys((*OF_TRAIN, *OF_FIT, ROWS)))


@answers("fit_many", also=[train, Network.fit], without=_WITHOUT)
def fit_many(
    table: Any,
    target: Any,
    *,
    seeds: int | Iterable[int] | None = None,
    param_grid: Mapping[str, Sequence[Any]] | Sequence[Mapping[str, Sequence[Any]]] | None = None,
    settings: Sequence[Mapping[str, Any]] | None = None,
    cv: Any = None,
    executor: Any = None,
    threads: int | None = None,
    verbose: bool = False,
    checkpoint: str | PathLike[str] | None = None,
    resume: bool = False,
    **how: Any,
) -> Population:
    """Train many networks on a table, as `train` does, or on folds of it; several at a time.

    Each member is what `train` returns for its rows with its settings, to the bit: it learns the
    encoding of the columns and the scale of the target from its own training rows alone.

    Parameters
    ----------
    table, target
        See `train`.
    seeds, param_grid, settings, cv, executor, threads, verbose, checkpoint, resume
        See `fastnet.fit_many`. The names of settings are those of arguments of `train` and of
        `Network.fit`: ``hidden``, ``learning_rate``, ``preset``, ``epochs``, ...
    **how
        Further arguments of `train` for all members.

    Returns
    -------
    Population

    Raises
    ------
    InputError, DataError, CheckpointError, WorkerError
        An argument or the table is unsuitable, the folder has another population, or workers are
        lost.

    Examples
    --------
    >>> import fastnet as fn
    >>> table = {"size": [1.0, 2.0, None, 9.0] * 10, "kind": ["a", "b", "b", None] * 10}
    >>> y = ["low", "low", "high", "high"] * 10
    >>> tried = fn.tables.fit_many(table, y, param_grid={"hidden": [8, 32]}, cv=4, epochs=20)
    >>> [row["hidden"] for row in tried.results.mean()]
    [8, 32]
    """
    rows = TableRows.of(table, target, how.get("task", "auto"))
    combined = combinations(param_grid, settings, seeds, how.get("seed", 0))
    for name in (name for one in combined for name in one):
        if name not in _KNOWN:
            raise InputError(f"unknown setting {name!r}{suggest(name, _KNOWN)}")
    jobs: list[_Job] = [(at, None) for at in range(len(combined))]
    shown_as = shown_settings(combined)
    if cv is not None:
        if any(ROWS in one for one in combined):
            raise InputError("give cv, or rows in the settings, not both.")
        pairs = read_folds(cv, len(rows), how.get("seed", 0), rows.labels)
        jobs = [(at, (k, *pair)) for at, _ in jobs for k, pair in enumerate(pairs)]

    work = _Members(rows, how, combined, shown_as, jobs)
    first = prepare(*rows.take(None), rows.settings({**how, **combined[0]}, None))
    parts = {"settings": [combined, jobs, how], "rows": [rows.frame, rows.names, rows.values]}
    with hired(executor, threads, first.network.backend) as workers:
        return train_all(
            len(jobs),
            work,
            tuple(dict.fromkeys(name for one in shown_as for name in (SEED, *one))),
            crew=workers or Threads.of([first.network], threads, len(jobs)),
            verbose=check_flag("verbose", verbose),
            checkpoint=checkpoint,
            resume=check_flag("resume", resume),
            basis=lambda: {name: fingerprint(part) for name, part in parts.items()},
            place=lambda network: network.to(how.get("backend", "auto")),
        )


@answers("cross_validate", also=[fit_many, train, Network.fit], without=_WITHOUT)
def cross_validate(table: Any, target: Any, *, cv: Any = 5, **how: Any) -> Results:
    """Return how well `train` does on rows that it was not given, fold by fold.

    Parameters
    ----------
    table, target
        See `train`.
    cv
        See `fastnet.fit_many`.
    **how
        Further arguments of `fit_many` and of `train`.

    Returns
    -------
    Results
        A row for each fold, with ``test_loss`` and so on; ``results.mean()`` has their means.

    Examples
    --------
    >>> import fastnet as fn
    >>> table = {"size": [1.0, 2.0, None, 9.0] * 10, "kind": ["a", "b", "b", None] * 10}
    >>> results = fn.tables.cross_validate(table, ["low", "low", "high", "high"] * 10, epochs=20)
    >>> len(results), bool(results.mean()[0]["test_accuracy"] > 0.9)
    (5, True)
    """
    if cv is None:
        raise InputError("cross_validate needs folds: give cv, such as cv=5.")
    return fit_many(table, target, cv=cv, **how).results


_Job = tuple[int, tuple[int, Any, Any] | None]
"""The number of a member's settings; the number of its fold, its training rows, its test rows."""


@dataclass(frozen=True, eq=False)
class _Members:
    """The members of `fit_many`, with the table that they are trained on; see `Work`."""

    rows: TableRows
    how: Mapping[str, Any]
    combined: Sequence[Mapping[str, Any]]
    shown: Sequence[Mapping[str, Any]]
    jobs: Sequence[_Job]

    def describe(self, number: int) -> Row:
        at, fold = self.jobs[number]
        return {**self.shown[at], **({} if fold is None else {FOLD: fold[0]})}

    def train(
        self, numbers: Sequence[int], threads: int | None, folder: Path | None
    ) -> Iterator[Trained]:
        for number in numbers:
            yield self._train_one(number, threads, folder)

    def _train_one(self, number: int, threads: int | None, folder: Path | None) -> Trained:
        at, fold = self.jobs[number]
        rows, both = self.rows, {**self.how, **self.combined[at]}
        mine = fold[1] if fold is not None else self.combined[at].get(ROWS)
        mine = None if mine is None else read_rows(ROWS, mine, len(rows))
        options = rows.settings(both, mine)
        prepared = prepare(*rows.take(mine), options)
        prepared.in_population(folder, number, threads)
        shown = {SEED: options.seed, **self.shown[at]}
        if fold is None:
            return train_member(prepared.network, prepared.train, shown)

        def test() -> dict[str, float]:
            x, y = rows.take(fold[2])
            metrics, weight = prepared.fit.get("metrics", ()), rows.weight(both, fold[2])
            return prepared.network.evaluate(x, y, metrics=metrics, sample_weight=weight)

        return train_member(prepared.network, prepared.train, shown, fold=fold[0], test=test)
