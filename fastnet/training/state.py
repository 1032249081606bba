"""The inputs of a training run, and its state while it runs."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, Self

from fastnet.backends.engine import Engine
from fastnet.backends.epochs import LossSums
from fastnet.model import Model
from fastnet.nn.batch import Array, Batch
from fastnet.nn.losses import Loss
from fastnet.nn.metrics import Metric
from fastnet.nn.optimizer_state import OptimizerState
from fastnet.nn.optimizers import LBFGS, Optimizer
from fastnet.training.callbacks import Callback, Run
from fastnet.training.history import History

Snapshot = tuple[Array, Array]
"""Parameters and running statistics."""

NOTHING: Final = LossSums(0.0, 0.0, 0.0, 0)


class HeldOut(Protocol):
    """Rows to evaluate after each epoch.

    Attributes
    ----------
    prefix : str
        Of the names of their metrics.
    """

    @property
    def prefix(self) -> str: ...

    def evaluate(self, job: TrainingJob) -> dict[str, float]:
        """Return loss, score and the job's metrics for these rows, with the prefix."""
        ...


@dataclass
class TrainingJob:
    """The inputs of one call of ``fit``.

    Attributes
    ----------
    rows : Batch
        Training data on the engine's backend.
    metrics : list of (name, metric)
        Computed on the validation rows after each epoch.
    target_variance : float
        The variance of the targets, for R2.
    history : History
        The metrics of the epochs.
    checkpointer : Checkpointer
    """

    model: Model
    engine: Engine
    rows: Batch
    loss: Loss
    epochs: int = 1
    validation: HeldOut | None = None
    metrics: list[tuple[str, Metric]] = field(default_factory=list)
    callbacks: list[Callback] = field(default_factory=list)
    target_variance: float = 0.0
    history: History = field(default_factory=History)
    checkpointer: Checkpointer = field(default_factory=lambda: NO_CHECKPOINTS)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the metrics of an epoch."""
        own = ("loss",) if self.loss.metric is None else ("loss", self.loss.metric)
        if self.validation is None:
            return own
        measured = (*own, *(name for name, _ in self.metrics))
        return (*own, *(self.validation.prefix + name for name in measured))


class Checkpointer(Protocol):
    """An object that writes the checkpoints of a run and restores the last one.

    Attributes
    ----------
    active : bool
        Whether the run has checkpoints.
    every : str
        The interval between two checkpoints, as a text.
    resumes : bool
        Whether to go on from a checkpoint, if there is one.
    iterations : int or None
        The epochs between two checkpoints; None if time decides.
    categories : tuple of str
        The categorical columns of the run to resume.
    weighs_as_0_1 : bool
        Whether the run resumes from a checkpoint of version 0.1, in which class weights were part
        of validation metrics, and the scaler did not count sample weights.
    """

    @property
    def active(self) -> bool: ...
    @property
    def categories(self) -> tuple[str, ...]: ...
    @property
    def every(self) -> str: ...
    @property
    def resumes(self) -> bool: ...
    @property
    def iterations(self) -> int | None: ...
    @property
    def weighs_as_0_1(self) -> bool: ...

    def opened(
        self,
        job: TrainingJob,
        optimizer: Optimizer | LBFGS,
        batch_size: int,
        shuffle: bool,
        rows: Callable[[], dict[str, Any]],
    ) -> AbstractContextManager[Any]:
        """Lock the folder and read its newest checkpoint; nothing else changes yet.

        `rows` returns the fingerprint of the training and validation rows.
        """
        ...

    def restore(self, trainer: TrainerState) -> None:
        """Restore parameters, optimizer, history and callbacks from the checkpoint."""
        ...

    def after_span(self, trainer: TrainerState) -> None:
        """React to some finished batches."""
        ...

    def after_epoch(self, trainer: TrainerState) -> None:
        """React to a finished epoch."""
        ...

    def finish(self, trainer: TrainerState) -> None:
        """React to the end or to an interruption."""
        ...


class _NoCheckpoints:
    """A checkpointer that does nothing."""

    active: bool = False
    categories: tuple[str, ...] = ()
    every: str = ""
    resumes: bool = False
    iterations: int | None = None
    weighs_as_0_1: bool = False

    def opened(self, *_: Any) -> AbstractContextManager[Any]:
        """Open nothing."""
        return nullcontext()

    def restore(self, trainer: TrainerState) -> None:
        """Restore nothing."""

    after_span = after_epoch = finish = restore


NO_CHECKPOINTS: Final[Checkpointer] = _NoCheckpoints()


@dataclass
class TrainerState:
    """The state of a running training, which checkpoints save.

    Attributes
    ----------
    done : LossSums
        The finished batches of the current epoch, and their sums.
    newest, good : snapshots
        Parameters at the start of the current epoch and of the one before. Parameters are good
        once they gave a finite loss; the newest are so from the second step on.
    """

    job: TrainingJob
    state: OptimizerState
    run: Run
    newest: Snapshot
    good: Snapshot
    done: LossSums = NOTHING

    @classmethod
    def begin(cls, job: TrainingJob, state: OptimizerState, batches: int) -> Self:
        """Return the state at the start of training."""
        run = Run(job.model, job.history, job.epochs, batches)
        snapshot = job.model.snapshot()
        return cls(job, state, run, snapshot, snapshot)

    def end_epoch(self) -> None:
        """Record an epoch that did not diverge."""
        self.state.epoch, self.state.batch = self.state.epoch + 1, 0
        self.done = NOTHING
        into = None if self.good is self.newest else self.good
        self.good, self.newest = self.newest, self.job.model.snapshot(into)
