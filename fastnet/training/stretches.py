"""Short epochs: many of them in one compiled call, where nothing has to happen in between.

An epoch of a few rows takes a microsecond, and what Python does around it takes fifty. So
`Stretches` hands the engine as many whole epochs as take about a tenth of a second. The results
have the bits of epochs one by one. Early stopping by a loss or an accuracy happens within the call;
checkpoints, and a lower learning rate on a plateau, come between two stretches. If a loss or a
weight is not finite, the stretch is taken back: the loop trains it again epoch by epoch, and so
finds where that happened.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, replace
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from fastnet.backends.epochs import EpochSums, LossSums, Stretch, TrainConfig
from fastnet.backends.patience import Monitor, Patience
from fastnet.model import Model
from fastnet.nn.batch import Array
from fastnet.nn.optimizer_state import OptimizerState
from fastnet.nn.optimizers import Optimizer
from fastnet.nn.schedules import Plateau, ReduceOnPlateau
from fastnet.training.callbacks import Callback, EarlyStopping
from fastnet.training.evaluation import EvaluationSet, measure
from fastnet.training.state import NOTHING, Snapshot, TrainerState

SECONDS: Final = 0.1
"""A stretch takes about so long: Ctrl-C ends training after it."""

_MOST_STEPS: Final = 2**16
"""Steps of a stretch at most: each has coefficients of 32 bytes."""


@dataclass
class _Before:
    """What a stretch that is taken back restores."""

    newest: Snapshot
    good: Snapshot
    moments: Array
    step: int
    epoch: int
    updates: int
    run_epoch: int
    recorded: int
    plateau: Plateau
    stopping: tuple[Patience, Any] | None

    @classmethod
    def of(cls, trainer: TrainerState, stopping: EarlyStopping | None) -> Self:
        state, run = trainer.state, trainer.run
        counters = state.step, state.epoch, state.updates, run.epoch, len(run.history.epochs)
        counted = None if stopping is None else stopping.state()
        kept = state.moments.copy(), *counters, replace(state.plateau)
        return cls(trainer.newest, trainer.good, *kept, counted)

    def restore(self, trainer: TrainerState) -> None:
        state, run = trainer.state, trainer.run
        trainer.job.model.restore(self.newest)
        trainer.newest, trainer.good, trainer.done = self.newest, self.good, NOTHING
        state.moments[...] = self.moments
        state.step, state.epoch, state.updates = self.step, self.epoch, self.updates
        state.plateau = self.plateau
        run.epoch = self.run_epoch
        run.history.shorten(self.recorded)


class Stretches:
    """Trains stretches of epochs of one run, where its options allow that.

    Between two stretches the loop trains an epoch itself: after a divergence it knows the last good
    weights from the epoch before.

    Parameters
    ----------
    trainer : TrainerState
    config : TrainConfig
    log : Logger
        It writes of each epoch if it is enabled for debugging.
    """

    def __init__(self, trainer: TrainerState, config: TrainConfig, log: logging.Logger) -> None:
        job = trainer.job
        self._trainer, self._config = trainer, config
        self._before: _Before | None = None
        self._next = 1
        self._held_out: EvaluationSet | None = None
        if isinstance(job.validation, EvaluationSet) and job.validation.sums_suffice(job):
            self._held_out = job.validation
        self._stopping = _early_stopping(job.callbacks)
        self._possible = (
            (not job.callbacks or (self._stopping is not None and self._monitor() is not None))
            and (job.validation is None or self._held_out is not None)
            and not log.isEnabledFor(logging.DEBUG)
            and job.engine.trains_ahead(
                min(config.batch_size, len(job.rows)),
                0 if self._held_out is None else len(self._held_out.rows),
            )
        )

    def observe(self, seconds: float) -> None:
        """Learn from an epoch of the loop how long one takes at most."""
        self._before = None
        self._next = max(self._next, int(SECONDS / max(seconds, 1e-9)))

    @property
    def possible(self) -> bool:
        """Whether nothing has to happen between two epochs."""
        return self._possible

    def train(self) -> bool:
        """Train a stretch if there is one; return whether it is done."""
        trainer = self._trainer
        job, run = trainer.job, trainer.run
        most = min(self._next, self._left(), _MOST_STEPS // run.batches)
        if not self._possible or self._before is not None or most < 2:
            return False
        began = time.perf_counter()
        stretch = self.begin(coefficients(trainer.state, self._config.optimizer, most, run.batches))
        self._before = _Before.of(trainer, self._stopping)
        trained, evaluated = job.engine.train_epochs(stretch)
        if trained.steps[-1] < run.batches or not is_finite(job.model, trained):
            self.take_back()
            return False
        self.end(stretch, trained, evaluated)
        seconds = max(time.perf_counter() - began, 1e-9)
        self._next = max(1, min(int(most * SECONDS / seconds), 8 * most))
        return True

    def _left(self) -> int:
        """Return in how many epochs nothing else has to happen, and nothing can change the rate."""
        trainer, schedule = self._trainer, self._config.optimizer.schedule
        run, checkpointer = trainer.run, trainer.job.checkpointer
        left = run.epochs - run.epoch
        if isinstance(schedule, ReduceOnPlateau):
            left = min(left, trainer.state.plateau.epochs_to_a_reduction(schedule))
        if checkpointer.active:
            # The loop trains the epoch before a checkpoint, which has the weights from before it.
            every = checkpointer.iterations
            left = min(left, left if every is None else every - run.epoch % every) - 1
        return left

    def begin(self, coefficients: NDArray[np.float64]) -> Stretch:
        """Return the next stretch, of as many epochs as there are coefficients (E, n, 4) for."""
        trainer = self._trainer
        state, held_out = trainer.state, self._held_out
        return Stretch(
            trainer.job.rows,
            self._config,
            state.moments,
            coefficients,
            epoch=state.epoch,
            step=state.step,
            held_out=None if held_out is None else held_out.rows,
            monitor=self._monitor(),
        )

    def end(self, stretch: Stretch, trained: EpochSums, evaluated: EpochSums) -> None:
        """Take over what an engine has trained, in which everything is finite."""
        trainer, held_out = self._trainer, self._held_out
        job, state, run = trainer.job, trainer.state, trainer.run
        done = len(trained)  # fewer epochs than in the stretch after early stopping
        logs = measure(trained, job.loss, job.target_variance, "")
        if held_out is not None:
            logs |= held_out.measure(evaluated, job.loss)
        logs["learning_rate"] = state.rates(np.full(done, 1.0 - 1.0 / run.batches), np.arange(done))
        # Write the metrics of the epochs to the history, and count epochs and steps.
        numbers = range(state.epoch + 1, state.epoch + done + 1)
        run.history.extend(numbers, {name: values.tolist() for name, values in logs.items()})
        run.epoch += done
        state.epoch += done
        state.advance(done * run.batches)
        schedule = self._config.optimizer.schedule
        if isinstance(schedule, ReduceOnPlateau):
            for loss in logs.get("val_loss", logs["loss"]).tolist():
                state.plateau.observe(schedule, loss)
        if stretch.monitor is not None and self._stopping is not None:
            self._stopping.take_over(stretch.monitor, run)
            run.history.stop_reason = run.stopped or run.history.stop_reason
        trainer.newest = trainer.good = job.model.snapshot()

    def _monitor(self) -> Monitor | None:
        """Return what watches the epochs of a stretch in place of early stopping."""
        if self._stopping is None:
            return None
        job = self._trainer.job
        prefix = None if self._held_out is None else self._held_out.prefix
        score = "accuracy" if job.loss.metric == "accuracy" else None
        return self._stopping.watch(job.model, prefix, score)

    def take_back(self) -> bool:
        """Take the newest stretch back, if the loop has not ended an epoch since."""
        if self._before is None:
            return False
        self._before.restore(self._trainer)
        if self._stopping is not None and self._before.stopping is not None:
            self._stopping.restore(self._before.stopping)
            self._trainer.run.stopped = None
        self._before, self._possible = None, False
        return True


def is_finite(model: Model, sums: LossSums | EpochSums) -> bool:
    """Return whether all parameters and running statistics are finite after these batches."""
    return model.is_finite() if sums.finite is None else sums.finite


def coefficients(
    state: OptimizerState, optimizer: Optimizer, epochs: int, batches: int
) -> NDArray[np.float64]:
    """Return the coefficients (E, n, 4) of the next epochs: those of one epoch after the other."""
    ahead, shares = np.arange(epochs), np.arange(batches) / batches
    rates = state.rates(np.tile(shares, epochs), np.repeat(ahead, batches))
    table = optimizer.step_coefficients(state.updates + 1, rates)
    return table.reshape(epochs, batches, -1)


def _early_stopping(callbacks: list[Callback]) -> EarlyStopping | None:
    """Return the only callback if all that it does after an epoch is early stopping."""
    if len(callbacks) != 1 or not isinstance(callbacks[0], EarlyStopping):
        return None
    kind = type(callbacks[0])
    hooks = kind.on_epoch_end, kind.on_progress
    return callbacks[0] if hooks == (EarlyStopping.on_epoch_end, Callback.on_progress) else None
