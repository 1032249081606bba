"""`tune`: the best ensemble for a table that a search finds within some minutes."""

from __future__ import annotations

import math
import sys
from os import PathLike
from typing import Any, Final

import numpy as np

from fastnet.errors import InputError, WorkerError
from fastnet.network import Network
from fastnet.nn.optimizers import LBFGS
from fastnet.populations.crews import Threads, hired
from fastnet.populations.folder import fingerprint
from fastnet.populations.folds import read_folds
from fastnet.populations.results import Results
from fastnet.populations.runner import train_each
from fastnet.populations.work import Row
from fastnet.tables.board import TRIAL, Board
from fastnet.tables.pace import SPENT, Pace
from fastnet.tables.preset import PRESETS
from fastnet.tables.rows import TableRows
from fastnet.tables.space import SPACE
from fastnet.tables.train import train
from fastnet.tables.trainer import Trainer
from fastnet.tables.tuned import Search, Tuned
from fastnet.utils.arguments import answers
from fastnet.utils.param_validation import check_flag, check_float, check_int
from fastnet.utils.warn import warn

_WITHOUT: Final = ("x", "y", "checkpoint_every")

_REFUSED: Final = {
    "preset": "the presets are the first trials, and the others are drawn; fastnet.tables.train "
    "trains one preset",
    "n_estimators": "the search chooses how many networks are in the ensemble; cv=10 makes more of "
    "them for each trial",
    "validation_data": "each fold of cv holds out rows; evaluate what is returned on yours",
    "validation_split": "each fold of cv holds out rows: cv=5 a fifth of them",
}
"""Arguments of `train` that have no place in a search, and what to do instead."""


@answers("tune", also=[train, Network.fit], without=_WITHOUT)
def tune(
    table: Any,
    target: Any,
    *,
    minutes: float | None = 10.0,
    trials: int | None = None,
    cv: Any = 5,
    score: str = "loss",
    executor: Any = None,
    threads: int | None = None,
    verbose: bool = False,
    checkpoint: str | PathLike[str] | None = None,
    resume: bool = False,
    **how: Any,
) -> Tuned:
    """Search for the best networks for a table, and return an ensemble of them.

    Trials are settings: first those of the presets ``tabular`` and ``tabular-piecewise``, then ones
    that are drawn from RealMLP's search space (`fastnet.tables.space`). Each trains a network for
    each fold on the other rows, from which it learns its encoding, too. The fold's own rows choose
    the best epoch, and the network answers for them. With these answers greedy selection chooses
    trials and their weights, and the networks of all their folds are the ensemble.

    Since the same rows choose epochs and trials and are answered for, out-of-fold scores are
    somewhat better than those of new rows: hold back a test of your own to know these.

    Parameters
    ----------
    table, target
        See `train`.
    minutes : float, default 10
        Time to search. A trial starts if it is expected to end in time, by the time of the networks
        that are done; one that does not is stopped and left out. The first trial is trained in any
        case. The ensemble is chosen after that time. None: no limit, with `trials`.
    trials : int, optional
        Most trials. If the time is enough for them, the same seed has the same result, to the bit,
        with any number of threads.
    cv : int, splitter or iterable of (training rows, test rows), default 5
        See `fastnet.fit_many`.
    score : str, default "loss"
        What the search improves: the loss, of classes without label smoothing and class weights, of
        numbers that of the scaled targets; or a metric such as ``"accuracy"``, which on few rows is
        a matter of chance.
    executor, threads, checkpoint, resume
        See `fastnet.fit_many`. A search that is resumed goes on with the time that is left, and may
        be given more of it, or more trials.
    verbose : bool, default False
        Write a line on standard error for each trial that is done.
    **how
        Further arguments of `train` for all trials. What is given is not searched for, such as
        ``activation``.

    Returns
    -------
    Tuned
        An `Ensemble` with ``results``, ``best_trial``, ``preset`` and ``out_of_fold``; as text it
        says what was found.

    Raises
    ------
    InputError, DataError, CheckpointError, WorkerError
        An argument or the table is unsuitable, the folder has another search, or workers cannot be
        reached.

    Warns
    -----
    FastNetWarning
        The first trial took longer than there was time, or a network ended its workers.

    Examples
    --------
    >>> import fastnet as fn
    >>> table = {"size": [1.0, 2.0, None, 9.0] * 10, "kind": ["a", "b", "b", None] * 10}
    >>> y = ["low", "low", "high", "high"] * 10
    >>> best = fn.tables.tune(table, y, trials=3, cv=2, epochs=5, hidden=8)
    >>> len(best.results), best.predict(table).shape
    (3, (40, 2))
    """
    for name in _REFUSED.keys() & how.keys():
        raise InputError(f"tune has no {name}: {_REFUSED[name]}.")
    seconds = math.inf if minutes is None else 60.0 * check_float("minutes", minutes, above=0)
    trials = None if trials is None else check_int("trials", trials)
    if minutes is None and trials is None:
        raise InputError("a search without an end: give minutes or trials.")
    verbose, resume = check_flag("verbose", verbose), check_flag("resume", resume)
    if cv is None:
        raise InputError("tune needs folds: give cv, such as cv=5.")
    rows = TableRows.of(table, target, how.get("task", "auto"))
    folds = read_folds(cv, len(rows), how.get("seed", 0), rows.labels)
    trainer, count = Trainer(rows, folds, how), len(folds)
    # Prepared once with all rows, to refuse what is wrong before anything is trained.
    first = trainer.prepare(0, None)
    if isinstance(first.fit["optimizer"], LBFGS):
        raise InputError(
            "lbfgs cannot train a network with dropout, which trials have: choose another "
            "optimizer, or leave it out."
        )
    board = trainer.board(first, score)
    most = math.inf if trials is None else trials * count
    basis = {
        "settings": ["tune", folds, how, SPACE, PRESETS],
        "rows": [rows.frame, rows.names, rows.values],
    }
    with hired(executor, threads, first.network.backend) as workers:
        at_most = int(min(most, sys.maxsize))
        crew = workers or Threads.of([first.network], threads, at_most)
        pace = Pace(seconds, trials, count, crew.slots)

        def done(number: int, network: Network, row: Row, taken_over: bool) -> None:
            if number >= most:  # of a longer search
                return
            pace.done(number, row["seconds"], row[SPENT], taken_over=taken_over)
            complete = board.add(number, network, row)
            if complete is not None and verbose and not taken_over:
                _tell(complete, pace.spent)

        try:
            train_each(
                ((number,) for number in pace.numbers()),
                trainer,
                done,
                crew=crew,
                limits=pace,
                checkpoint=checkpoint,
                resume=resume,
                basis=lambda: {name: fingerprint(part) for name, part in basis.items()},
                place=lambda network: network.to(how.get("backend", "auto")),
            )
        except WorkerError as error:
            if not error.members or not board.best:
                raise
            warn(f"{error} Its trial is left out.")
    if pace.first_ended > seconds and len(board.rows) == 1:
        warn(
            f"the first trial took {pace.first_ended:.0f} s, longer than the {seconds:.0f} s of "
            "the search, and is the only one: give more minutes, or fewer epochs.",
        )
    return _found(board, trainer, pace.spent)


def _found(board: Board, trainer: Trainer, seconds: float) -> Tuned:
    """Choose the ensemble, and return it with the results of the search."""
    if not board.best:
        raise InputError(
            f"no trial has a finite {board.score!r}: networks of all {len(board.rows)} diverged. "
            "Try clip_norm, as in optimizer=fn.Adam(0.01, clip_norm=1.0)."
        )
    chosen, weights, together = board.select()
    share = {one.number: float(weight) for one, weight in zip(chosen, weights, strict=True)}
    settings = (TRIAL, *trainer.describe_trial(0))
    rows = [{**board.rows[k], "weight": share.get(k, 0.0)} for k in sorted(board.rows)]
    best = board.best[0].number
    search = Search(
        results=Results(rows, settings),
        fold_results=Results([board.folds[k] for k in sorted(board.folds)], settings),
        best_trial=next(row for row in rows if row[TRIAL] == best),
        preset=trainer.preset(best),
        score=board.score,
        out_of_fold_scores=board.scores(together),
        seconds=seconds,
    )
    count = len(trainer.folds)
    ensemble = Tuned(
        [network for one in chosen for network in one.networks],
        weights=np.repeat(weights / count, count),
        search=search,
    )
    ensemble.out_of_fold = together
    return ensemble


def _tell(row: Row, spent: float) -> None:
    """Write a line about a trial that is done."""
    if sys.stderr is None:
        return
    text = ", ".join(
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in row.items()
        if name != "seconds"
    )
    print(f"{spent:.0f} s: {text}", file=sys.stderr, flush=True)
