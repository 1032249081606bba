"""Trains the members of a population: several at once, with a folder of those that are done."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from os import PathLike
from typing import Any

from fastnet.errors import DivergenceError, InputError, WorkerError
from fastnet.network import Network
from fastnet.populations import halfway
from fastnet.populations.folder import PopulationFolder
from fastnet.populations.population import Population
from fastnet.populations.results import DIVERGED, FOLD, MEMBER, Results
from fastnet.populations.work import Crew, Limits, Row, Work


def train_all(
    count: int,
    work: Work,
    settings: tuple[str, ...],
    *,
    crew: Crew,
    groups: Iterable[Sequence[int]] | None = None,
    verbose: bool = False,
    checkpoint: str | PathLike[str] | None = None,
    resume: bool = False,
    basis: Callable[[], Mapping[str, str]],
    place: Callable[[Network], Network],
) -> Population:
    """Return the population of all members, in the order of their numbers.

    Parameters
    ----------
    work : Work
    settings : tuple of str
        The columns of the results that are settings.
    crew : Crew
        Those who train.
    groups : iterable of sequences of int, optional
        Members that are trained together. Default: each alone.
    verbose : bool, default False
        Write a line on standard error for each member that is done.
    checkpoint, resume
        See `fastnet.fit_many`.
    basis : callable
        Returns checksums of what decides the results.
    place : callable
        Returns a network from the folder, which is on NumPy, where members are to be.

    Raises
    ------
    InputError, CheckpointError
        See `fastnet.fit_many`.
    WorkerError
        Members are lost; the error has the others.
    """
    networks, rows = dict[int, Network](), dict[int, Row]()

    def done(number: int, network: Network, row: Row, taken_over: bool) -> None:
        networks[number], rows[number] = network, {MEMBER: number, **row}
        if verbose and not taken_over:
            _tell(f"{len(rows)}/{count} networks", row)

    def made() -> Population:
        numbers = sorted(networks)
        results = Results([rows[k] for k in numbers], settings)
        return Population(tuple(networks[k] for k in numbers), results)

    try:
        train_each(
            ((number,) for number in range(count)) if groups is None else groups,
            work,
            done,
            crew=crew,
            checkpoint=checkpoint,
            resume=resume,
            basis=basis,
            place=place,
        )
    except WorkerError as error:
        error.population = made()
        raise
    return made()


def train_each(
    groups: Iterable[Sequence[int]],
    work: Work,
    done: Callable[[int, Network, Row, bool], None],
    *,
    crew: Crew,
    limits: Limits | None = None,
    checkpoint: str | PathLike[str] | None = None,
    resume: bool = False,
    basis: Callable[[], Mapping[str, str]],
    place: Callable[[Network], Network],
) -> None:
    """Train members as their numbers come, and hand each to ``done``.

    Parameters
    ----------
    groups : iterable of sequences of int
        Members that are trained together. The next group is asked for when a worker is free, and
        the first one after ``done`` has all members of the folder, of which none is trained again.
    work : Work
    done : callable
        ``done(number, network, row, taken_over)``; calls of it do not overlap.
    limits : Limits, optional
        Members whose time is up are left out.
    crew, checkpoint, resume, basis, place
        See `train_all`.
    """
    folder = None if checkpoint is None else PopulationFolder(checkpoint, resume)
    if folder is None and resume:
        raise InputError("resume=True needs the folder: checkpoint='...'.")
    found, telling = set[int](), threading.Lock()

    def take(number: int, network: Network, row: Row) -> None:
        if limits is not None:
            row = row | limits.stamp()
        if folder is not None:
            folder.write(number, network, row)
            halfway.remove(folder.path, number)
        with telling:
            done(number, network, row, False)

    with ExitStack() as stack:
        if folder is not None:
            stack.enter_context(folder.opened(basis()))
            for number in folder.done():
                network, row = folder.read(number)
                done(number, place(network), row, True)
                halfway.remove(folder.path, number)
                found.add(number)
        left = ([number for number in numbers if number not in found] for numbers in groups)
        path = None if folder is None else folder.path
        crew.run((numbers for numbers in left if numbers), work, take, path, limits)


def train_member(
    network: Network,
    fit: Callable[[], Any],
    shown: Row,
    *,
    fold: int | None = None,
    test: Callable[[], Mapping[str, float]] | None = None,
) -> tuple[Network, Row]:
    """Train a member, and return it with its row of the results.

    Parameters
    ----------
    network : Network
    fit : callable
        Trains the network.
    shown : dict
        Its seed, and the settings in which members differ.
    fold : int, optional
        The number of its fold.
    test : callable, optional
        Returns the scores of the network for the test rows of the fold. A member that diverged
        has none.
    """
    scores, facts = _trained(network, fit)
    if test is not None and scores:
        scores |= {f"test_{name}": value for name, value in test().items()}
    network.forget_engines()
    number = {} if fold is None else {FOLD: fold}
    return network, {**shown, **number, **scores, **facts}


def _trained(network: Network, fit: Callable[[], Any]) -> tuple[Row, Row]:
    """Call ``fit()``, which trains a network; return its scores, and how the training ended.

    The scores are those of the weights that it has. A divergence is no error here: it is the reason
    why training ended, and there are no scores.
    """
    reason, scores = None, {}
    try:
        fit()
    except DivergenceError:
        reason = DIVERGED
    history = network.history
    assert history is not None
    if reason is None:
        scores = history.kept()
        scores.pop("learning_rate", None)
    facts: Row = {"epochs": len(history.epochs)}
    if history.best_epoch is not None:
        facts["best_epoch"] = history.best_epoch
    facts |= {"stop_reason": reason or history.stop_reason, "seconds": history.seconds}
    return dict(scores), facts


def _tell(done: str, row: Row) -> None:
    """Write a line about a member that is done."""
    if sys.stderr is None:
        return
    shown = {name: value for name, value in row.items() if name not in ("epochs", "seconds")}
    text = ", ".join(
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in shown.items()
    )
    print(f"{done}: {text}", file=sys.stderr, flush=True)
