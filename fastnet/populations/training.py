"""`fit_many` trains a population; `cross_validate` trains one on folds."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fastnet.backends.threads import asked
from fastnet.data.chunks import Chunks
from fastnet.data.dataset import Dataset
from fastnet.data.frame import Inputs, as_frame, is_table
from fastnet.data.text import Texts
from fastnet.errors import DivergenceError, InputError
from fastnet.network import Network
from fastnet.nn.memory import training_bytes
from fastnet.populations import folds
from fastnet.populations.folder import PopulationFolder, fingerprint
from fastnet.populations.population import Population
from fastnet.populations.results import FOLD, MEMBER, SEED, Results
from fastnet.populations.settings import Member, combinations, member
from fastnet.populations.workers import run_all
from fastnet.preprocessing import datasets
from fastnet.preprocessing.base import Passthrough
from fastnet.utils import memory
from fastnet.utils.arguments import answers
from fastnet.utils.param_validation import check_flag, refuse_masked

Job = tuple[Member, tuple[int, folds.Rows, folds.Rows] | None]
"""A member, and the number of its fold, its training rows and its test rows."""


@answers("fit_many", also=Network.fit)
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
        Layers, dtype, loss and backend of all members. It stays as it is, and members do not start
        from its weights, but from new ones by their seed.
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
    threads : int, optional
        Most threads to use in all. Default: one for each core. On ``"numba"`` each trains a member;
        where a few large networks are trained, they share a member.
    verbose : bool, default False
        Write a line on standard error for each member that is done.
    checkpoint : str or path, optional
        Folder that gets the file of each member that is done, with its results.
    resume : bool, default False
        Take over the members that are there. Members that were being trained begin anew.
    **fit
        Further arguments of `Network.fit` for all members. Callbacks are copied for each.

    Returns
    -------
    Population

    Raises
    ------
    InputError
        An argument is invalid; nothing was trained.
    OutOfMemoryError
        All members together take more memory than is free; nothing was trained.
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
    rows, y, sample_weight = _unpacked(x, y, sample_weight)
    combined = combinations(param_grid, settings, seeds, template.seed)
    members = [member(template, fit, one, len(rows)) for one in combined]
    jobs: list[Job] = [(one, None) for one in members]
    if cv is not None:
        if any(one.rows is not None for one in members):
            raise InputError("give cv, or rows in the settings, not both.")
        targets = rows.columns[y] if isinstance(y, str) else y
        classifies = all(one.fit["loss"].metric == "accuracy" for one in members)
        labels = folds.labels_of(targets, classifies=classifies)
        pairs = folds.read_folds(cv, len(rows), template.seed, labels)
        jobs = [(one, (k, *pair)) for one in members for k, pair in enumerate(pairs)]
    # Train them, or take those that are done from the folder.
    runner = _Runner(template, rows, y, sample_weight, jobs, check_flag("verbose", verbose))
    workers, each = _share(template, members, len(rows), len(jobs), threads)
    _require_memory(template.dtype.itemsize, jobs, workers)
    with ExitStack() as stack:
        if checkpoint is not None:
            runner.folder = PopulationFolder(checkpoint, check_flag("resume", resume))
            stack.enter_context(runner.folder.opened(runner.basis()))
        elif resume:
            raise InputError("resume=True needs the folder: checkpoint='...'.")
        run_all(range(len(jobs)), lambda number: runner.train(number, each), workers)
    return runner.population()


@answers("cross_validate", also=Network.fit)
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
    >>> results = fn.cross_validate(net, x, (x[:, 0] > x[:, 1]).astype(int), epochs=30, cv=4)
    >>> bool(results.mean()[0]["test_accuracy"] > 0.9)
    True
    """
    return fit_many(template, x, y, cv=cv, **how).results


class _Runner:
    """Trains the members of one call, and keeps them with their results."""

    def __init__(
        self, template: Network, x: Any, y: Any, weight: Any, jobs: list[Job], verbose: bool
    ) -> None:
        self._template, self._jobs, self._verbose = template, jobs, verbose
        self._x, self._y, self._weight = x, y, weight
        self._networks: dict[int, Network] = {}
        self._rows: dict[int, dict[str, Any]] = {}
        self._writing = threading.Lock()
        self.folder: PopulationFolder | None = None

    def basis(self) -> dict[str, Any]:
        """Return what decides the results, as checksums."""
        template = self._template
        parts = {
            "networks": [
                template.inputs,
                template.dtype.name,
                template.backend,
                template.precision,
            ],
            "settings": [(m.plan.layers, m.seed, m.fit, m.rows, fold) for m, fold in self._jobs],
            "rows": [self._x, self._y, self._weight],
        }
        return {name: fingerprint(part) for name, part in parts.items()}

    def train(self, number: int, threads: int | None) -> None:
        """Train a member, unless its folder has it; keep it and its row of the results."""
        found = None if self.folder is None else self.folder.read(number, self._template)
        network, row = found or self._trained(number, threads)
        if found is None and self.folder is not None:
            self.folder.write(number, network, row)
        with self._writing:
            self._networks[number], self._rows[number] = network, row
            if self._verbose and found is None:
                self._tell(row)

    def _trained(self, number: int, threads: int | None) -> tuple[Network, dict[str, Any]]:
        one, fold = self._jobs[number]
        template, plan, fit = self._template, one.plan, one.fit
        row: dict[str, Any] = {MEMBER: number, **_shown_settings(one)}
        if fold is not None:
            row[FOLD] = fold[0]
        network = Network(
            *(plan.layers,),
            inputs=plan.inputs,
            dtype=template.dtype,
            seed=one.seed,
            backend="numpy",
        ).beside(template)
        # Train it on its rows, and evaluate it on those of the test.
        x, y, weight = self._taken(one, one.rows if fold is None else fold[1])
        reason = None
        try:
            network.fit(x, y, **{**fit, "sample_weight": weight}, threads=threads)
        except DivergenceError:
            reason = "diverged"
        history = network.history
        assert history is not None
        if reason is None:
            kept = history.kept()
            row |= {name: value for name, value in kept.items() if name != "learning_rate"}
            if fold is not None:
                x, y, weight = self._taken(one, fold[2])
                metrics = fit.get("metrics", ())
                scores = network.evaluate(x, y, metrics=metrics, sample_weight=weight)
                row |= {f"test_{name}": value for name, value in scores.items()}
        row["epochs"] = len(history.epochs)
        if history.best_epoch is not None:
            row["best_epoch"] = history.best_epoch
        row |= {"stop_reason": reason or history.stop_reason, "seconds": history.seconds}
        network.forget_engines()
        return network, row

    def _taken(self, one: Member, rows: Any) -> tuple[Any, Any, Any]:
        """Return these rows of x, y and the weights; all of them for None."""
        weight = one.fit.get("sample_weight", self._weight)
        if rows is None:
            return self._x, self._y, weight
        y = self._y if isinstance(self._y, str | list) else self._y[rows]
        return self._x[rows], y, None if weight is None else np.asarray(weight)[rows]

    def _tell(self, row: dict[str, Any]) -> None:
        """Write a line about a member that is done."""
        if sys.stderr is None:
            return
        shown = {k: v for k, v in row.items() if k not in (MEMBER, "epochs", "seconds")}
        text = ", ".join(
            f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
            for name, value in shown.items()
        )
        print(f"{len(self._rows)}/{len(self._jobs)} networks: {text}", file=sys.stderr, flush=True)

    def population(self) -> Population:
        """Return all members, in the order of their settings."""
        numbers = range(len(self._jobs))
        names = dict.fromkeys(name for m, _ in self._jobs for name in (SEED, *m.settings))
        rows = [self._rows[k] for k in numbers]
        return Population(tuple(self._networks[k] for k in numbers), Results(rows, tuple(names)))


def _unpacked(x: Any, y: Any, weight: Any) -> tuple[Any, Any, Any]:
    """Return rows, targets and weights of which rows can be taken; a table is converted once."""
    if isinstance(x, Chunks):
        raise InputError("a population trains on rows in memory: load them, as by fn.data.load.")
    weight = datasets.weights_of(x, weight)
    x, y = datasets.unpacked(x, y, Passthrough(1), learns=True)
    for name, values in (("x", x), ("y", y), ("sample_weight", weight)):
        refuse_masked(name, values)
    if is_table(x):
        x = as_frame(x)
        names = [y] if isinstance(y, str) else y if isinstance(y, list | tuple) else []
        if names and all(isinstance(name, str) and name in x.columns for name in names):
            return x, y if isinstance(y, str) else [*names], weight
    else:
        x = np.asarray(x)
        if x.ndim != 2:
            raise InputError(f"x must have two axes, (rows, inputs), got the shape {x.shape}.")
    if y is None:
        raise InputError("a population needs targets: give y.")
    if isinstance(y, str):
        raise InputError(f"y={y!r} is not a column of x.")
    y = as_frame(y) if is_table(y) else y if isinstance(y, Texts) else np.asarray(y)
    if len(y) != len(x):
        raise InputError(f"x has {len(x)} rows, and y has {len(y)}.")
    return x, y, weight


def _shown_settings(one: Member) -> dict[str, Any]:
    """Return the seed and the settings as a table shows them."""
    shown: dict[str, Any] = {SEED: one.seed}
    for name, value in one.settings.items():
        array = not isinstance(value, str) and hasattr(value, "__len__") and len(value) > 8
        if array:
            shown[name] = f"{len(value)} values"
        elif isinstance(value, bool | int | float | str | None):
            shown[name] = value
        else:
            shown[name] = str(value)
    return shown


def _share(
    template: Network, members: Sequence[Member], rows: int, jobs: int, threads: int | None
) -> tuple[int, int | None]:
    """Return how many members are trained at once, and on how many threads each of them."""
    engine = template.engine()
    threads = asked(threads, engine.most_threads)
    most = engine.most_threads if threads is None else threads
    if not template.backend_object.trains_side_by_side or most == 1 or jobs == 1:
        return 1, threads
    batch = max(min(one.fit.get("batch_size", 128) or rows, rows) for one in members)
    if jobs < most <= engine.threads_for(batch):
        return 1, threads
    return min(most, jobs), 1


def _require_memory(itemsize: int, jobs: Sequence[Job], workers: int) -> None:
    """Raise `OutOfMemoryError` unless all members fit into memory, and so many in training."""
    kept, largest = 0, 0
    for one, _ in jobs:
        optimizer = one.fit["optimizer"]
        kept += (1 + optimizer.n_moments) * one.plan.size * itemsize
        largest = max(largest, training_bytes(one.plan, itemsize, optimizer)[0])
    less = "fewer members or layers, or dtype='float32'"
    memory.require(kept + workers * largest, f"a population of {len(jobs)} networks", less)
