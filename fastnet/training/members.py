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

from fastnet.backends.epochs import EpochSums, Member, Stretch, TrainConfig
from fastnet.nn.optimizer_state import OptimizerState
from fastnet.nn.optimizers import Optimizer
from fastnet.training.interrupt import Interrupt
from fastnet.training.state import TrainerState, TrainingJob
from fastnet.training.stretches import SECONDS, Stretches, coefficients, is_finite

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
    finite: bool = True

    @classmethod
    def begin(cls, job: TrainingJob, config: TrainConfig, state: OptimizerState) -> _Training:
        trainer = TrainerState.begin(job, state, config.steps(len(job.rows)))
        return cls(trainer, Stretches(trainer, config, _log), config.optimizer)

    @property
    def left(self) -> int:
        run = self.trainer.run
        return run.epochs - run.epoch if self.finite and run.stopped is None else 0

    def member(self, coefficients: NDArray[np.float64]) -> Member:
        model = self.trainer.job.model
        return Member(model.parameters, model.state, self.stretches.begin(coefficients))

    def end(self, stretch: Stretch, trained: EpochSums, evaluated: EpochSums) -> None:
        whole = trained.steps[-1] == self.trainer.run.batches
        self.finite = bool(whole) and is_finite(self.trainer.job.model, trained)
        if self.finite:
            self.stretches.end(stretch, trained, evaluated)


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
    first, batches = jobs[0][0], trainings[0].trainer.run.batches
    for one in trainings:
        for callback in one.trainer.job.callbacks:
            callback.on_train_begin(one.trainer.run)
    flops = len(first.rows) * first.model.plan.flops * len(jobs)
    epochs = int(SECONDS * _FLOPS_A_SECOND / flops)
    with Interrupt() as interrupt:
        going = trainings
        while going and not interrupt.pressed:
            began = time.perf_counter()
            most = _MOST_NUMBERS // (4 * batches * len(going))
            epochs = max(1, min(epochs, most, *(one.left for one in going)))
            tables = _Tables(epochs, batches)
            members = [one.member(tables.of(one)) for one in going]
            results = first.engine.train_members(members)
            for one, member, sums in zip(going, members, results, strict=True):
                one.end(member.stretch, *sums)
            going = [one for one in going if one.left]
            seconds = max(time.perf_counter() - began, 1e-9)
            epochs = min(int(epochs * SECONDS / seconds), 8 * epochs)
    if interrupt.pressed:
        interrupt.leave()
    share = (time.perf_counter() - started) / len(jobs)
    for one in trainings:
        one.trainer.run.history.seconds += share
        for callback in one.trainer.job.callbacks:
            callback.on_train_end(one.trainer.run)
    return [one.finite for one in trainings]


class _Tables:
    """Coefficients of the same epochs: one table for all networks of the same optimizer."""

    def __init__(self, epochs: int, batches: int) -> None:
        self._shape = epochs, batches
        self._made: list[tuple[Optimizer, NDArray[np.float64]]] = []

    def of(self, one: _Training) -> NDArray[np.float64]:
        for optimizer, table in self._made:
            if optimizer == one.optimizer:
                return table
        table = coefficients(one.trainer.state, one.optimizer, *self._shape)
        self._made.append((one.optimizer, table))
        return table
