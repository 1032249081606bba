"""What training works with, and its state while it runs."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, Self

from numpy.typing import NDArray

from fastnet.backends.base import Backend, Engine, LossSums
from fastnet.model import Model
from fastnet.nn.batch import Array, Batch
from fastnet.nn.losses import Loss
from fastnet.nn.metrics import Metric
from fastnet.nn.optimizer_state import OptimizerState
from fastnet.nn.optimizers import LBFGS, Optimizer
from fastnet.preprocessing.samples import Samples
from fastnet.training.callbacks import Callback, Run
from fastnet.training.history import History

Snapshot = tuple[Array, Array]
"""Parameters and running statistics."""

NOTHING: Final = LossSums(0.0, 0.0, 0.0, 0)


@dataclass(frozen=True)
class EvaluationSet:
    """Rows to evaluate, with their targets (and weights) on the host."""

    rows: Batch
    targets: NDArray[Any]
    weight: NDArray[Any] | None
    prefix: str

    @classmethod
    def of(cls, checked: Samples, backend: Backend, prefix: str) -> Self:
        """Return checked rows, moved to the backend."""
        return cls(backend.place(checked.rows), checked.targets, checked.rows.weight, prefix)


@dataclass
class TrainingJob:
    """What one call of ``fit`` works with.

    Attributes
    ----------
    rows : Batch
        Training data on the engine's backend.
    metrics : list of (name, metric)
        Computed on the validation rows after each epoch.
    target_variance : float
        The variance of the targets, for R2.
    history : History
        What the epochs measure.
    checkpointer : Checkpointer
    """

    model: Model
    engine: Engine
    rows: Batch
    loss: Loss
    epochs: int = 1
    validation: EvaluationSet | None = None
    metrics: list[tuple[str, Metric]] = field(default_factory=list)
    callbacks: list[Callback] = field(default_factory=list)
    target_variance: float = 0.0
    history: History = field(default_factory=History)
    checkpointer: Checkpointer = field(default_factory=lambda: NO_CHECKPOINTS)

    @property
    def names(self) -> tuple[str, ...]:
        """The metrics that an epoch is going to have."""
        own = ("loss",) if self.loss.metric is None else ("loss", self.loss.metric)
        if self.validation is None:
            return own
        measured = (*own, *(name for name, _ in self.metrics))
        return (*own, *(self.validation.prefix + name for name in measured))


class Checkpointer(Protocol):
    """What writes the checkpoints of a run, and restores the last one.

    Attributes
    ----------
    active : bool
        Whether there are checkpoints at all.
    iterations : int or None
        The epochs between two checkpoints, where they are counted in epochs.
    """

    @property
    def active(self) -> bool: ...
    @property
    def iterations(self) -> int | None: ...

    def opened(
        self,
        job: TrainingJob,
        optimizer: Optimizer | LBFGS,
        batch_size: int,
        shuffle: bool,
        rows: Callable[[], dict[str, Any]],
    ) -> AbstractContextManager[Any]:
        """Lock the place of the checkpoints and read what is there; nothing else changes yet.

        `rows` returns the fingerprint of the rows to train and to validate on.
        """
        ...

    def restore(self, trainer: TrainerState) -> None:
        """Put parameters, optimizer, history and callbacks where the checkpoint has them."""
        ...

    def after_span(self, trainer: TrainerState) -> None:
        """Take note of some batches done."""
        ...

    def after_epoch(self, trainer: TrainerState) -> None:
        """Take note of an epoch done."""
        ...

    def finish(self, trainer: TrainerState) -> None:
        """Take note of the end, or of an interruption."""
        ...


class _NoCheckpoints:
    """A checkpointer that does nothing."""

    active: bool = False
    iterations: int | None = None

    def opened(self, *_: Any) -> AbstractContextManager[Any]:
        """Open nothing."""
        return nullcontext()

    def restore(self, trainer: TrainerState) -> None:
        """Restore nothing."""

    after_span = after_epoch = finish = restore


NO_CHECKPOINTS: Final[Checkpointer] = _NoCheckpoints()


@dataclass
class TrainerState:
    """The state of a running training: all that a checkpoint keeps.

    Attributes
    ----------
    done : LossSums
        The batches done of the current epoch, and their sums.
    newest, good : snapshots
        Parameters that the current epoch began with, and the one before. Parameters are good once
        a finite loss was computed with them: the newest have shown it from the second step on.
    """

    job: TrainingJob
    state: OptimizerState
    run: Run
    newest: Snapshot
    good: Snapshot
    done: LossSums = NOTHING

    @classmethod
    def begin(cls, job: TrainingJob, state: OptimizerState, batches: int) -> Self:
        """Return training at its beginning."""
        run = Run(job.model, job.history, job.epochs, batches)
        snapshot = job.model.snapshot()
        return cls(job, state, run, snapshot, snapshot)

    def end_epoch(self) -> None:
        """Take note of an epoch that went well."""
        self.state.epoch += 1
        self.done = NOTHING
        into = None if self.good is self.newest else self.good
        self.good, self.newest = self.newest, self.job.model.snapshot(into)
