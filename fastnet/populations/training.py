"""`fit_many` trains a population; `cross_validate` trains one on folds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fastnet.data.chunks import Chunks
from fastnet.data.dataset import Dataset
from fastnet.data.frame import Frame, Inputs, as_frame, is_table
from fastnet.data.text import Texts
from fastnet.errors import InputError
from fastnet.network import Network
from fastnet.populations import crews, folds, halfway, lanes, sharing
from fastnet.populations.folder import fingerprint
from fastnet.populations.halfway import batch_of
from fastnet.populations.population import Population
from fastnet.populations.results import FOLD, SEED, Results
from fastnet.populations.runner import train_all, train_member
from fastnet.populations.settings import (
    Member,
    checked_weight,
    combinations,
    member,
    own_callbacks,
    shown_settings,
)
from fastnet.populations.work import Row, Trained
from fastnet.preprocessing import datasets
from fastnet.preprocessing.base import Passthrough
from fastnet.preprocessing.target import split_target
from fastnet.utils.arguments import answers
from fastnet.utils.device_arrays import on_host
from fastnet.utils.param_validation import check_flag, refuse_masked

Fold = tuple[int, folds.Rows, folds.Rows]
"""The number of a fold, its training rows and its test rows."""

Job = tuple[Member, Fold | None]


@answers("fit_many", also=[Network.fit], without=["checkpoint_every"])
def fit_many(
    template: Network,
    x: Inputs | Dataset,
    y: ArrayLike | str | None = None,
    *,
    seeds: int | Iterable[int] | None = None,
    param_grid: Mapping[str, Sequence[Any]] | Sequence[Mapping[str, Sequence[Any]]] | None = None,
    settings: Sequence[Mapping[str, Any]] | None = None,
    cv: Any = None,
    sample_weight: ArrayLike | None = None,
    executor: Any = None,
    threads: int | None = None,
    verbose: bool = False,
    checkpoint: str | PathLike[str] | None = None,
    resume: bool = False,
    **fit: Any,
) -> Population:
    """Train many networks on the same rows, or on folds of them; several at a time.

    Each member has the bits of a new `Network` with its layers and seed after `fit` with its
    settings on its rows, whatever the number of threads and the other members.

    Parameters
    ----------
    template : Network
        Layers, dtype, loss, names of classes and backend of all members. It stays as it is, and
        members do not start from its weights, but from new ones by their seed.
    x, y : as for `Network.fit`
    seeds : int or iterable of int, optional
        All settings are trained with each seed; a number counts from the template's seed on.
    param_grid : dict of str to sequence, or several of them, optional
        All combinations of the values are trained. The names are those of arguments of `fit`
        (``batch_size``, ``epochs``, ``optimizer``, ...), of the optimizer (``learning_rate``,
        ``weight_decay``, ``clip_norm``, ...), of the loss (``label_smoothing``, ...), and
        ``hidden`` (sizes of the hidden layers), ``activation`` and ``dropout``. A learning rate is
        the start of the optimizer's schedule, which keeps its course.
    settings : sequence of dict, optional
        The combinations themselves, instead of a grid; ``seed`` and ``rows`` may be in them, too:
        numbers or a mask of the rows to train on.
    cv : int, splitter or iterable of (training rows, test rows), optional
        Each member is trained on the training rows of each fold, and evaluated on the test rows
        (``test_loss``, ...), which decide nothing. A number makes such folds, with the same share
        of each class (see `make_folds`), by the template's seed.
    sample_weight : (N,), optional
    executor : str or executor, optional
        Where members are trained, instead of threads of this process: ``"processes"`` (one for each
        core) or ``"processes:4"``; ``"dask:tcp://host:8786"``; ``"mpi"``; or any object whose
        ``submit`` returns futures, such as a ``ProcessPoolExecutor``. Rows are sent to each worker
        once. Functions of your own must be in a module that workers can import.
    threads : int, optional
        Most threads to use in all. Default: one for each core. On ``"numba"`` each trains a member;
        where a few large networks are trained, they share a member. On ``"cupy"`` each trains
        members on a CUDA stream of its own, by default up to 8 as memory has room for. With
        `executor`, the threads of each of its tasks. Default: its share of the cores of this
        machine, elsewhere 1.
    verbose : bool, default False
        Write a line on standard error for each member that is done.
    checkpoint : str or path, optional
        Folder that gets the file of each member that is done, with its results.
    resume : bool, default False
        Take over the members that are there. A member that was being trained goes on from its own
        last checkpoint if it was expected to take more than ten seconds, its callbacks have a
        ``memory``, and it does not train by L-BFGS; others begin anew. The bits are the same.
    **fit
        Further arguments of `Network.fit` for all members. Callbacks are copied for each; what they
        hold, such as a list or the path of a file, is the same.

    Returns
    -------
    Population

    Raises
    ------
    InputError
        An argument is invalid; nothing was trained.
    OutOfMemoryError
        All members together take more memory than is free; nothing was trained.
    WorkerError
        Workers cannot be reached, or members ended theirs three times; the error's ``population``
        has the others.
    CheckpointError
        The folder has another population, or cannot be written to.
    KeyboardInterrupt
        Ctrl-C; with `checkpoint`, the members that were done are in the folder.

    Examples
    --------
    >>> import fastnet as fn, numpy as np
    >>> x = np.random.default_rng(0).uniform(-1, 1, (200, 2))
    >>> net = fn.Network([2, 16, 1], activation="tanh", seed=0)
    >>> grid = {"learning_rate": [0.003, 0.03]}
    >>> tried = fn.fit_many(net, x, x[:, 0] * x[:, 1], param_grid=grid, seeds=3, cv=5, epochs=20)
    >>> len(tried)
    30
    >>> tried.results.mean().best()["learning_rate"]
    0.03
    """
    if not isinstance(template, Network):
        raise InputError(f"the template must be a Network, got {template!r}.")
    names = x.label_names if isinstance(x, Dataset) else None
    rows, y, sample_weight = _unpacked(x, y, sample_weight)
    combined = combinations(param_grid, settings, seeds, template.seed)
    members = [
        replace(member(template, fit, one, len(rows)), shown=shown)
        for one, shown in zip(combined, shown_settings(combined), strict=True)
    ]
    jobs: list[Job] = [(one, None) for one in members]
    if cv is not None:
        if any(one.rows is not None for one in members):
            raise InputError("give cv, or rows in the settings, not both.")
        targets = split_target(rows, y)[2] if isinstance(rows, Frame) else y
        classifies = all(one.fit["loss"].metric == "accuracy" for one in members)
        labels = folds.labels_of(targets, classifies=classifies)
        seen: dict[str, Any] = {"x": rows, "y": targets} if isinstance(rows, np.ndarray) else {}
        pairs = folds.read_folds(cv, len(rows), template.seed, labels, **seen)
        jobs = [(one, (k, *pair)) for one in members for k, pair in enumerate(pairs)]
    work = _Members(template, jobs, rows, y, sample_weight, names)

    def basis() -> dict[str, str]:
        network = [template.inputs, template.dtype.name, template.backend, template.precision]
        network.append(names or template.label_names)
        each_of_them = [(m.plan.layers, m.seed, m.fit, m.rows, fold) for m, fold in jobs]
        parts = {"networks": network, "settings": each_of_them, "rows": [rows, y, sample_weight]}
        return {name: fingerprint(part) for name, part in parts.items()}

    def grouped(at_once: int) -> list[list[int]]:
        known = [(one, _rows_of(one, fold)) for one, fold in jobs]
        return lanes.group(template, known, lambda one: batch_of(len(rows), one.fit), at_once)

    with crews.hired(executor, threads, template.backend) as workers:
        slots = sharing.most_at_once(template, threads) if workers is None else workers.slots
        groups = grouped(slots)
        crew = workers or sharing.share(template, jobs, groups, len(rows), threads)
        slots = crew.slots if workers is None else 0
        sharing.require_memory(template.dtype.itemsize, jobs, slots)
        return train_all(
            len(jobs),
            work,
            tuple(dict.fromkeys(name for one in members for name in (SEED, *one.shown))),
            crew=crew,
            groups=groups,
            verbose=check_flag("verbose", verbose),
            checkpoint=checkpoint,
            resume=check_flag("resume", resume),
            basis=basis,
            place=lambda network: network.beside(template),
        )


@answers("cross_validate", also=[fit_many, Network.fit], without=["checkpoint_every"])
def cross_validate(
    template: Network,
    x: Inputs | Dataset,
    y: ArrayLike | str | None = None,
    *,
    cv: Any = 5,
    **how: Any,
) -> Results:
    """Return how well a network does on rows that it was not trained on, fold by fold.

    Parameters
    ----------
    template, x, y, cv
        See `fit_many`.
    **how
        Further arguments of `fit_many` and of `Network.fit`.

    Returns
    -------
    Results
        A row for each fold, with ``test_loss`` and so on; ``results.mean()`` has their means.

    Examples
    --------
    >>> import fastnet as fn, numpy as np
    >>> x = np.random.default_rng(0).uniform(-1, 1, (200, 2))
    >>> net = fn.Network([2, 16, 2], output_activation="softmax", seed=0)
    >>> y = (x[:, 0] > x[:, 1]).astype(int)
    >>> results = fn.cross_validate(net, x, y, optimizer=fn.Adam(0.03), epochs=30, cv=4)
    >>> bool(results.mean()[0]["test_accuracy"] > 0.9)
    True
    """
    if cv is None:
        raise InputError("cross_validate needs folds: give cv, such as cv=5.")
    return fit_many(template, x, y, cv=cv, **how).results


@dataclass(frozen=True, eq=False)
class _Members:
    """The members of `fit_many`, with the rows that they are trained on; see `Work`."""

    template: Network
    jobs: Sequence[Job]
    x: Any
    y: Any
    sample_weight: Any
    names: tuple[str, ...] | None

    def describe(self, number: int) -> Row:
        one, fold = self.jobs[number]
        return {SEED: one.seed, **one.shown, **({} if fold is None else {FOLD: fold[0]})}

    def train(
        self, numbers: Sequence[int], threads: int | None, folder: Path | None
    ) -> Iterator[Trained]:
        for network, row in _train(self, numbers, threads, folder):
            if network.output_schema.can_be_named(self.names):
                network.label_names = self.names
            yield network, row


def _train(
    work: _Members, numbers: Sequence[int], threads: int | None, folder: Path | None
) -> Iterator[Trained]:
    """Train members on their rows, several on the same rows together; yield each with its row."""
    jobs = [work.jobs[number] for number in numbers]
    first, fold = jobs[0]
    trained: list[Network | None] = [None] * len(jobs)
    if len(jobs) > 1:
        weight = first.fit.get("sample_weight", work.sample_weight)
        rows = _taken(work.x, work.y, weight, _rows_of(first, fold))
        trained = lanes.train_together(work.template, [one for one, _ in jobs], *rows)
    for number, network in zip(numbers, trained, strict=True):
        yield _train_one(work, number, threads, folder, network)


def _train_one(
    work: _Members,
    number: int,
    threads: int | None,
    folder: Path | None,
    trained: Network | None,
) -> Trained:
    """Return a member that is trained on its rows, and its row of the results."""
    one, fold = work.jobs[number]
    network = work.template.renewed(one.plan, one.seed) if trained is None else trained
    if one.preprocessor is not None:
        network.preprocessor = one.preprocessor
    weight = one.fit.get("sample_weight", work.sample_weight)

    def fit() -> None:
        if trained is None:
            inputs, targets, weights = _taken(work.x, work.y, weight, _rows_of(one, fold))
            options = {**own_callbacks(one.fit), "sample_weight": weights, "threads": threads}
            options |= halfway.options_for(folder, number, one.plan, len(inputs), one.fit)
            network.fit(inputs, targets, **options)

    shown = {SEED: one.seed, **one.shown}
    if fold is None:
        return train_member(network, fit, shown)

    def test() -> dict[str, float]:
        inputs, targets, weights = _taken(work.x, work.y, weight, fold[2])
        metrics = one.fit.get("metrics", ())
        return network.evaluate(inputs, targets, metrics=metrics, sample_weight=weights)

    return train_member(network, fit, shown, fold=fold[0], test=test)


def _rows_of(one: Member, fold: Fold | None) -> Any:
    """Return the numbers of a member's training rows; None: all."""
    return one.rows if fold is None else fold[1]


def _taken(x: Any, y: Any, weight: Any, rows: Any) -> tuple[Any, Any, Any]:
    """Return rows with their targets and weights."""
    if rows is None:
        return x, y, weight
    targets = y if isinstance(y, str | list) else y[rows]
    return x[rows], targets, None if weight is None else np.asarray(weight)[rows]


def _unpacked(x: Any, y: Any, weight: Any) -> tuple[Any, Any, Any]:
    """Return rows, targets and weights of which rows can be taken; a table is converted once."""
    if isinstance(x, Chunks):
        raise InputError("a population trains on rows in memory: load them, as by fn.data.load.")
    x, y, weight = on_host("x", x), on_host("y", y), on_host("sample_weight", weight)
    weight = datasets.weights_of(x, weight)
    x, y = datasets.unpacked(x, y, Passthrough(1), learns=True)
    for name, values in (("x", x), ("y", y), ("sample_weight", weight)):
        refuse_masked(name, values)
    if is_table(x) or hasattr(x, "toarray"):  # a sparse matrix is refused
        x = as_frame(x)
        if weight is not None:
            weight = checked_weight(weight, len(x))
        if split_target(x, y)[1]:
            return x, y, weight
    else:
        x = _array("x", x)
        if x.ndim != 2:
            raise InputError(f"x must have two axes, (rows, inputs), got the shape {x.shape}.")
    if y is None:
        raise InputError("a population needs targets: give y.")
    if isinstance(y, str):
        raise InputError(f"y={y!r} is not a column of x.")
    y = y if isinstance(y, Texts) else _array("y", y)
    if isinstance(y, np.ndarray) and not y.ndim:
        raise InputError("y must be an array (N,) or (N, T), or the name of a column of x.")
    if len(y) != len(x):
        raise InputError(f"x has {len(x)} rows, and y has {len(y)}.")
    return x, y, None if weight is None else checked_weight(weight, len(x))


def _array(name: str, values: Any) -> Any:
    try:
        return np.asarray(values)
    except ValueError:
        raise InputError(f"{name} must be a rectangular array.") from None
