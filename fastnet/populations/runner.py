"""Trains the members of a population: several at once, with a folder of those that are done."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from os import PathLike
from typing import Any

from fastnet.errors import DivergenceError, InputError
from fastnet.network import Network
from fastnet.populations.folder import PopulationFolder
from fastnet.populations.population import Population
from fastnet.populations.results import DIVERGED, FOLD, MEMBER, Results
from fastnet.populations.workers import run_all
from fastnet.training.interrupt import TimeUp

Row = dict[str, Any]
Trained = tuple[Network, Row]
Train = Callable[[Sequence[int]], Iterable[Trained]]
"""``train(numbers)`` returns each of these members after training, and its row of the results."""


def one_by_one(train: Callable[[int], Trained]) -> Train:
    """Return what trains members one after the other."""
    return lambda numbers: map(train, numbers)


def train_all(
    count: int,
    train: Train,
    settings: tuple[str, ...],
    *,
    groups: Iterable[Sequence[int]] | None = None,
    workers: int = 1,
    verbose: bool = False,
    checkpoint: str | PathLike[str] | None = None,
    resume: bool = False,
    basis: Callable[[], Mapping[str, str]],
    place: Callable[[Network], Network],
) -> Population:
    """Return the population of all members, in the order of their numbers.

    Parameters
    ----------
    settings : tuple of str
        The columns of the results that are settings.
    groups : iterable of sequences of int, optional
        Members that are trained together. Default: each alone.
    workers : int, default 1
        How many groups are trained at once.
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
    """
    networks, rows = dict[int, Network](), dict[int, Row]()

    def done(number: int, network: Network, row: Row, taken_over: bool) -> None:
        networks[number], rows[number] = network, {MEMBER: number, **row}
        if verbose and not taken_over:
            _tell(f"{len(rows)}/{count} networks", row)

    train_each(
        ((number,) for number in range(count)) if groups is None else groups,
        train,
        done,
        workers=workers,
        checkpoint=checkpoint,
        resume=resume,
        basis=basis,
        place=place,
    )
    made = Results([rows[k] for k in range(count)], settings)
    return Population(tuple(networks[k] for k in range(count)), made)


def train_each(
    groups: Iterable[Sequence[int]],
    train: Train,
    done: Callable[[int, Network, Row, bool], None],
    *,
    workers: int = 1,
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
    train : callable
        If it raises `TimeUp`, what is left of the group is left out.
    done : callable
        ``done(number, network, row, taken_over)``; calls of it do not overlap.
    workers, checkpoint, resume, basis, place
        See `train_all`.
    """
    folder = None if checkpoint is None else PopulationFolder(checkpoint, resume)
    if folder is None and resume:
        raise InputError("resume=True needs the folder: checkpoint='...'.")
    found, telling = set[int](), threading.Lock()

    def together(numbers: Sequence[int]) -> None:
        left = [number for number in numbers if number not in found]
        try:
            for number, (network, row) in zip(left, train(left) if left else (), strict=True):
                if folder is not None:
                    folder.write(number, network, row)
                with telling:
                    done(number, network, row, False)
        except TimeUp:
            return

    with ExitStack() as stack:
        if folder is not None:
            stack.enter_context(folder.opened(basis()))
            for number in folder.done():
                network, row = folder.read(number)
                done(number, place(network), row, True)
                found.add(number)
        run_all(groups, together, workers)


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
