"""`OptimizerState`: the moments of an optimizer and the counters of training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnet.nn.batch import Array
from fastnet.nn.optimizers import LBFGS, Optimizer
from fastnet.nn.schedules import Plateau, ReduceOnPlateau


@dataclass
class OptimizerState:
    """The state from which ``fit`` continues training.

    Attributes
    ----------
    optimizer : Optimizer
    moments : (n_moments, P)
        Arrays of the network's backend.
    step, epoch : int
        Steps and epochs completed. They key the dropout masks and the shuffle, so they only grow.
    updates : int
        Steps since the moments were 0: the t of Adam's bias correction.
    schedule_epoch : int
        The epoch at which the learning-rate schedule started.
    plateau : Plateau
    batch : int
        Steps that ``net.update`` has taken in the current epoch; `fit` begins with a whole one.
    """

    optimizer: Optimizer | LBFGS
    moments: Array
    step: int = 0
    epoch: int = 0
    updates: int = 0
    schedule_epoch: int = 0
    plateau: Plateau = field(default_factory=Plateau)
    batch: int = 0

    def rates(
        self, epoch_share: NDArray[np.float64], ahead: NDArray[np.int64] | int = 0
    ) -> NDArray[np.float64]:
        """Return the learning rates at these fractions (0 to 1) of the current epoch.

        Parameters
        ----------
        epoch_share : (n,)
        ahead : int or (n,) int64
            Take the epoch so many epochs after the current one instead.
        """
        assert isinstance(self.optimizer, Optimizer)
        schedule = self.optimizer.schedule
        if isinstance(schedule, ReduceOnPlateau):
            return np.full_like(epoch_share, schedule.reduced(self.plateau.reductions))
        return schedule.rates(self.epoch - self.schedule_epoch + ahead + epoch_share)

    def advance(self, steps: int) -> None:
        """Count completed steps."""
        self.step += steps
        self.updates += steps

    def advance_alone(self, steps_per_epoch: int) -> None:
        """Count a step that no epoch of ``fit`` took."""
        self.advance(1)
        self.batch += 1
        if self.batch >= steps_per_epoch:
            self.epoch, self.batch = self.epoch + 1, 0

    def forget(self) -> None:
        """Set the moments to 0, after they led to a divergence."""
        self.moments[...] = 0
        self.updates = 0

    def copy(self, move: Callable[[Any], Any]) -> OptimizerState:
        """Return an independent copy, with `move` applied to the moments."""
        return replace(self, moments=move(self.moments), plateau=replace(self.plateau))


def continue_with(
    state: OptimizerState | None, optimizer: Optimizer | LBFGS, size: int, zeros: Any
) -> OptimizerState:
    """Return the state to continue from: the old one if the optimizer has the same class.

    A new learning rate or schedule restarts the schedule and keeps the moments.
    """
    if state is None or state.optimizer.name != optimizer.name:
        step, epoch = (state.step, state.epoch) if state is not None else (0, 0)
        moments = zeros((optimizer.n_moments, size))
        return OptimizerState(optimizer, moments, step, epoch, schedule_epoch=epoch)
    if state.optimizer != optimizer:
        state.optimizer, state.schedule_epoch = optimizer, state.epoch
        state.plateau, state.batch = Plateau(), 0
    return state
