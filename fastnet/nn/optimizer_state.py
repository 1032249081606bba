"""OptimizerState: what an optimizer remembers between steps, and the clocks of training."""

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
    """What ``fit`` needs to go on where it stopped.

    Attributes
    ----------
    optimizer : Optimizer
    moments : (slots, P)
        Of the network's backend.
    step, epoch : int
        Steps and epochs done. They key the dropout masks and the shuffle, so they only grow.
    updates : int
        Steps since the moments were 0: the t of Adam's bias correction.
    schedule_epoch : int
        The epoch at which the clock of the learning-rate schedule began.
    plateau : Plateau
    """

    optimizer: Optimizer | LBFGS
    moments: Array
    step: int = 0
    epoch: int = 0
    updates: int = 0
    schedule_epoch: int = 0
    plateau: Plateau = field(default_factory=Plateau)

    def rates(self, epoch_share: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the learning rates at these shares (0 to 1) of the current epoch."""
        assert isinstance(self.optimizer, Optimizer)
        schedule = self.optimizer.schedule
        if isinstance(schedule, ReduceOnPlateau):
            return np.full_like(epoch_share, schedule.reduced(self.plateau.reductions))
        return schedule.rates(self.epoch - self.schedule_epoch + epoch_share)

    def advance(self, steps: int) -> None:
        """Count steps that were taken."""
        self.step += steps
        self.updates += steps

    def forget(self) -> None:
        """Set the moments to 0: they led to a divergence."""
        self.moments[...] = 0
        self.updates = 0

    def copy(self, move: Callable[[Any], Any]) -> OptimizerState:
        """Return an independent copy whose moments went through `move`."""
        return replace(self, moments=move(self.moments), plateau=replace(self.plateau))


def continue_with(
    state: OptimizerState | None, optimizer: Optimizer | LBFGS, size: int, zeros: Any
) -> OptimizerState:
    """Return the state to go on from: the old one where the optimizer is of the same kind.

    A new learning rate or schedule starts the schedule's clock again and keeps the moments.
    """
    if state is None or state.optimizer.name != optimizer.name:
        step, epoch = (state.step, state.epoch) if state is not None else (0, 0)
        moments = zeros((optimizer.n_moments, size))
        return OptimizerState(optimizer, moments, step, epoch, schedule_epoch=epoch)
    if state.optimizer != optimizer:
        state.optimizer, state.schedule_epoch = optimizer, state.epoch
        state.plateau = Plateau()
    return state
