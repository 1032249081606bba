"""Trains several networks of the same layers on the same kind of rows, many of them in one step.

What `loop.train` does epoch by epoch or in stretches for one network, `train_members` does in
stretches for all: histories, early stopping and counters have the same bits. A network that
diverges is not finished: trained alone, it says where that happened.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fastnet.backends.epochs import Member, Stretch, TrainConfig
from fastnet.nn.optimizer_state import OptimizerState
from fastnet.nn.optimizers import Optimizer
from fastnet.training.interrupt import Interrupt
from fastnet.training.state import TrainerState, TrainingJob
from fastnet.training.stretches import SECONDS, Stretches, coefficients

_log = logging.getLogger("fastnet.training.loop")

_MOST_NUMBERS: Final = 2**20
"""Coefficients of all networks in a stretch at most, 8 bytes each."""

_FLOPS_A_SECOND: Final = 2e9
"""The least that is expected at first; from the second stretch on it is measured."""


@dataclass
class _Training:
    trainer: TrainerState
    stretches: Stretches
    optimizer: Optimizer

    @classmethod
    def begin(cls, job: TrainingJob, config: TrainConfig, state: OptimizerState) -> _Training:
        trainer = TrainerState.begin(job, state, config.steps(len(job.rows)))
        return cls(trainer, Stretches(trainer, config, _log), config.optimizer)

    @property
    def left(self) -> int:
        run = self.trainer.run
        return 0 if run.stopped is not None else run.epochs - run.epoch


def can_train(job: TrainingJob, config: TrainConfig, state: OptimizerState) -> bool:
    """Return whether `train_members` trains jobs like this, and several in one step."""
    batch = min(config.batch_size, len(job.rows))
    return (
        job.engine.lanes_for(batch, config.optimizer) > 1
        and _Training.begin(job, config, state).stretches.possible
    )


def train_members(jobs: Sequence[tuple[TrainingJob, TrainConfig, OptimizerState]]) -> list[bool]:
    """Train the networks of these jobs from their beginning; return which did not diverge.

    Parameters
    ----------
    jobs : sequence of (TrainingJob, TrainConfig, OptimizerState)
        `can_train` is true for each, and they agree in what `Engine.train_members` wants. The
        engine of the first one trains them all.

    Raises
    ------
    KeyboardInterrupt
        Ctrl-C was pressed, or the thread was stopped.
    """
    started = time.perf_counter()
    trainings = [_Training.begin(*job) for job in jobs]
    engine, finite = jobs[0][0].engine, [True] * len(jobs)
    batches = trainings[0].trainer.run.batches
    for one in trainings:
        for callback in one.trainer.job.callbacks:
            callback.on_train_begin(one.trainer.run)
    flops = len(jobs[0][0].rows) * jobs[0][0].model.plan.flops
    epochs = max(1, int(SECONDS * _FLOPS_A_SECOND / (flops * len(jobs))))
    with Interrupt() as interrupt:
        going = list(range(len(jobs)))
        while going and not interrupt.pressed:
            began = time.perf_counter()
            tables = _Tables(batches)
            most = _MOST_NUMBERS // (4 * batches * len(going))
            epochs = max(1, min(epochs, most, min(trainings[k].left for k in going)))
            stretches = [_stretch(trainings[k], tables, epochs) for k in going]
            members = [
                Member(model.parameters, model.state, stretch)
                for model, stretch in zip(
                    (trainings[k].trainer.job.model for k in going), stretches, strict=True
                )
            ]
            results = engine.train_members(members)
            for k, stretch, (trained, evaluated) in zip(going, stretches, results, strict=True):
                one = trainings[k]
                good = trained.steps[-1] == batches and one.trainer.job.model.is_finite()
                finite[k] = bool(good)
                if good:
                    one.stretches.end(stretch, trained, evaluated)
            going = [k for k in going if finite[k] and trainings[k].left]
            seconds = max(time.perf_counter() - began, 1e-9)
            epochs = max(1, min(int(epochs * SECONDS / seconds), 8 * epochs))
    if interrupt.pressed:
        interrupt.leave()
    share = (time.perf_counter() - started) / len(jobs)
    for one in trainings:
        one.trainer.run.history.seconds += share
        for callback in one.trainer.job.callbacks:
            callback.on_train_end(one.trainer.run)
    return finite


class _Tables:
    """Coefficients of the same epochs: one table for all networks of the same optimizer."""

    def __init__(self, batches: int) -> None:
        self._batches = batches
        self._made: list[tuple[Optimizer, NDArray[np.float64]]] = []

    def of(self, one: _Training, epochs: int) -> NDArray[np.float64]:
        for optimizer, table in self._made:
            if optimizer == one.optimizer:
                return table
        table = coefficients(one.trainer.state, one.optimizer, epochs, self._batches)
        self._made.append((one.optimizer, table))
        return table


def _stretch(one: _Training, tables: _Tables, epochs: int) -> Stretch:
    return one.stretches.begin(tables.of(one, epochs))
