"""What takes part: a common face for fastnet's backends and for its rivals."""

from __future__ import annotations

import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

import fastnet as fn
from fastnet.backends import NAMES, get_backend
from fastnet.backends.base import Backend
from fastnet.backends.engine import Engine
from fastnet.backends.epochs import TrainConfig
from fastnet.benchmarks import problems
from fastnet.benchmarks.problems import LEARNING_RATE, SEED, Floats, Problem
from fastnet.errors import InputError, suggest
from fastnet.nn import losses
from fastnet.nn.batch import Batch
from fastnet.utils.machine import cores

GPU: tuple[str, ...] = ("cupy",)
"""The backends that run on a GPU."""


class Contender(ABC):
    """Something that trains a problem's network, or predicts with it.

    Parameters
    ----------
    problem : Problem
        Its arrays are read-only; each contender moves or copies what it needs when it is made.
    threads : int or None
        How many it may use; None: its own choice.
    """

    tolerance: ClassVar[float] = 1e-5
    """Largest relative difference of the loss from the reference's."""

    threads_used: int | None = None
    """How many threads it works with, where it tells."""

    @abstractmethod
    def __init__(self, problem: Problem, threads: int | None) -> None: ...

    def train_epoch(self) -> float:
        """Train through the next epoch; return the mean over rows of the losses on the way."""
        raise NotImplementedError

    @abstractmethod
    def predict(self, x: Floats) -> NDArray[Any]:
        """Return the outputs (N, O) for rows (N, I), both in host memory."""

    def predict_one(self, row: Floats) -> NDArray[Any]:
        """Return the outputs (O,) for one row (I,)."""
        return np.asarray(self.predict(row[None])[0])


@dataclass(frozen=True)
class Entry:
    """A line of the tables: how to make the contender, and what to call it.

    Attributes
    ----------
    key : str
        As in ``fastnet-numba``.
    label, version : str
    kind : {"fastnet", "rival"}
    make : (Problem, threads or None) -> Contender
    trains : bool
        False: prediction only.
    takes_all : bool
        Whether it takes part in the table of `ladder.CLOSE`, too.
    on_gpu : bool
    """

    key: str
    label: str
    version: str
    kind: Literal["fastnet", "rival"]
    make: Callable[[Problem, int | None], Contender]
    trains: bool = True
    takes_all: bool = False
    on_gpu: bool = False


def asked_threads(threads: int | None) -> int | None:
    """Return how many threads to ask fastnet for: where it may use all, it chooses how many pay."""
    return None if threads == cores() and threads > 1 else threads


class OnEngine(Contender):
    """fastnet's engine and its rows: an epoch is one ``train_epoch``, shuffle included."""

    def __init__(self, problem: Problem, home: Backend, engine: Engine, rows: Batch) -> None:
        self.engine, self.rows = engine, rows
        self.loss = losses.get(problem.rung.loss, problem.rung.output_activation)
        self.optimizer = fn.Adam(LEARNING_RATE)
        self.config = TrainConfig(self.loss, self.optimizer, problem.batch, SEED, shuffle=True)
        shape = self.optimizer.n_moments, engine.plan.size
        self.moments = home.asarray(np.zeros(shape, problem.x.dtype))
        self.rates = np.full(problem.steps, LEARNING_RATE)
        self.epoch = self.step = 0

    def train_epoch(self) -> float:
        tally = self.engine.train_epoch(
            self.rows,
            self.config,
            self.moments,
            self.optimizer.step_coefficients(self.step + 1, self.rates),
            epoch=self.epoch,
            step=self.step,
        )
        self.epoch += 1
        self.step += tally.steps
        return tally.mean_loss


class FastNet(OnEngine):
    """fastnet on one backend.

    What ``fit`` adds around it (checks, history, a copy of the weights to go back to) is measured
    on its own in ``test_training.py``.
    """

    def __init__(self, problem: Problem, threads: int | None, backend: str) -> None:
        self.network = problems.network(problem.rung, backend)
        home = self.backend = self.network.backend_object
        network = self.network
        engine = home.engine(
            network.plan, network.parameters, network.state, threads=asked_threads(threads)
        )
        self.threads_used = engine.threads_for(problem.batch)
        x, targets = home.asarray(problem.x), home.asarray(problem.targets)
        classifies = problem.rung.loss == "cross_entropy"
        rows = Batch(x, targets) if classifies else Batch(x, target=targets)
        super().__init__(problem, home, engine, rows)

    def predict(self, x: Floats) -> NDArray[Any]:
        return self.network.predict_columns(x)

    def predict_one(self, row: Floats) -> NDArray[Any]:
        return self.network.predict_one(row)


def on_backend(name: str) -> Entry:
    """Return fastnet on the backend of that name."""
    return Entry(
        key=f"fastnet-{name}",
        label=f"fastnet {name}",
        version=fn.__version__,
        kind="fastnet",
        make=lambda problem, threads: FastNet(problem, threads, name),
        takes_all=name == "numba",
        on_gpu=name in GPU,
    )


def available() -> list[str]:
    """Return the names of the backends that can run here."""
    return [name for name, reason in fn.available_backends().items() if reason is None]


def select_backends(names: Sequence[str]) -> list[Entry]:
    """Return fastnet on the backends named; on all that can run here for no name.

    Raises
    ------
    InputError
        No backend has that name.
    BackendUnavailableError
        A backend was named that cannot run here.
    """
    for name in names:
        if name not in NAMES:
            raise InputError(f"unknown backend {name!r}{suggest(name, NAMES)}")
        get_backend(name)
    return [on_backend(name) for name in (dict.fromkeys(names) or available())]


def version_of(package: str) -> str:
    """Return the version of an installed package, or an empty string."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def missing(modules: Sequence[str]) -> list[str]:
    """Return those of the modules that are not installed."""
    return [module for module in modules if importlib.util.find_spec(module) is None]
