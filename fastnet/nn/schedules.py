"""Learning-rate schedules: the rate as a function of training time in epochs.

A schedule is a frozen description. ``rates(t)`` maps times to learning rates. Times are in epochs
since training began: step s of epoch e is at ``e + s / steps_per_epoch``. So the rate may change
within an epoch and does not depend on the batch size. An optimizer takes a schedule in place of a
number: ``fn.Adam(fn.schedules.Cosine(1e-3, epochs=50))``.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from fastnet.errors import InputError
from fastnet.utils.param_validation import check_float, check_int

Times = NDArray[np.float64]


@dataclass(frozen=True)
class Schedule(ABC):
    """A learning rate that changes during training.

    Parameters
    ----------
    start : float
        The first learning rate.
    """

    start: float

    name: ClassVar[str]

    def __post_init__(self) -> None:
        _set(self, "start", above=0)

    @abstractmethod
    def rates(self, t: Times) -> NDArray[np.float64]:
        """Return the learning rates at the times `t` (in epochs), element by element."""


@dataclass(frozen=True)
class Constant(Schedule):
    """Keep the rate constant; a plain number means this schedule."""

    name: ClassVar[str] = "constant"

    def rates(self, t: Times) -> NDArray[np.float64]:
        return np.full_like(t, self.start)


@dataclass(frozen=True)
class Step(Schedule):
    """Multiply the rate by `factor` after every `every` epochs."""

    every: float = 10
    factor: float = 0.1

    name: ClassVar[str] = "step"

    def __post_init__(self) -> None:
        _set(self, "start", "every", "factor", above=0)

    def rates(self, t: Times) -> NDArray[np.float64]:
        return self.start * self.factor ** np.floor(t / self.every)


@dataclass(frozen=True)
class Exponential(Schedule):
    """Multiply the rate by `factor` over each epoch, smoothly."""

    factor: float = 0.95

    name: ClassVar[str] = "exponential"

    def __post_init__(self) -> None:
        _set(self, "start", "factor", above=0)

    def rates(self, t: Times) -> NDArray[np.float64]:
        return self.start * np.power(self.factor, t)


@dataclass(frozen=True)
class Cosine(Schedule):
    """Fall from `start` to `end` along half a cosine in `epochs`, then stay (Loshchilov, 2017)."""

    epochs: float = 10
    end: float = 0.0

    name: ClassVar[str] = "cosine"

    def __post_init__(self) -> None:
        _set(self, "start", "epochs", above=0)
        _set(self, "end", least=0)

    def rates(self, t: Times) -> NDArray[np.float64]:
        fraction = np.minimum(t / self.epochs, 1.0)
        return self.end + 0.5 * (self.start - self.end) * (1.0 + np.cos(np.pi * fraction))


@dataclass(frozen=True)
class CosLog(Schedule):
    """Rise from 0 to `start` and fall again, in `cycles` cycles of doubling length.

    ``start (1 - cos(2 pi log2(1 + (2^cycles - 1) t / epochs))) / 2``; 0 from `epochs` on. With 4
    cycles it is "coslog4" of RealMLP (Holzmüller, Grinsztajn and Steinwart, 2024).

    Parameters
    ----------
    start : float
        The peak rate.
    epochs : float
        Total length of the cycles.
    cycles : int, default 4
    """

    epochs: float = 10
    cycles: int = 4

    name: ClassVar[str] = "cos_log"

    def __post_init__(self) -> None:
        _set(self, "start", "epochs", above=0)
        object.__setattr__(self, "cycles", check_int("cycles", self.cycles, most=32))

    def rates(self, t: Times) -> NDArray[np.float64]:
        fraction = np.minimum(t / self.epochs, 1.0)
        turns = np.log2(1.0 + (2.0**self.cycles - 1.0) * fraction)
        return 0.5 * self.start * (1.0 - np.cos(2.0 * np.pi * turns))


@dataclass(frozen=True)
class WarmUp(Schedule):
    """Rise linearly from `start` over `epochs` to the first rate of `then`, then follow `then`.

    The time of `then` begins at the end of the rise.

    Parameters
    ----------
    start : float
        First rate, commonly a small fraction of the peak.
    epochs : float
        Length of the rise; may be a fraction.
    then : Schedule or float
        The schedule after the rise; a number is a constant rate.
    """

    epochs: float = 1
    then: Schedule | float = 1e-3

    name: ClassVar[str] = "warm_up"

    def __post_init__(self) -> None:
        _set(self, "start", "epochs", above=0)
        object.__setattr__(self, "then", get(self.then))
        if isinstance(self.then, ReduceOnPlateau):
            raise InputError("WarmUp cannot be followed by ReduceOnPlateau: its rate has a memory.")

    def rates(self, t: Times) -> NDArray[np.float64]:
        assert isinstance(self.then, Schedule)
        peak = float(self.then.rates(np.zeros(1))[0])
        rise = self.start + (peak - self.start) * np.minimum(t / self.epochs, 1.0)
        after = self.then.rates(np.maximum(t - self.epochs, 0.0))
        return np.where(t < self.epochs, rise, after)


@dataclass(frozen=True)
class OneCycle(Schedule):
    """Rise from ``start / divide`` to `start`, then fall to almost 0, by cosines (Smith, 2018).

    Parameters
    ----------
    start : float
        The peak rate.
    epochs : float
        Length of the whole cycle.
    rise : float, default 0.3
        The fraction of the cycle that rises.
    divide, final_divide : float, default 25 and 1e4
        The first rate is ``start / divide``, the last ``start / divide / final_divide``.
    """

    epochs: float = 10
    rise: float = 0.3
    divide: float = 25.0
    final_divide: float = 1e4

    name: ClassVar[str] = "one_cycle"

    def __post_init__(self) -> None:
        _set(self, "start", "epochs", "divide", "final_divide", above=0)
        _set(self, "rise", above=0, below=1)

    def rates(self, t: Times) -> NDArray[np.float64]:
        fraction = np.minimum(t / self.epochs, 1.0)
        first, last = self.start / self.divide, self.start / self.divide / self.final_divide
        up = first + 0.5 * (self.start - first) * (1.0 - np.cos(np.pi * fraction / self.rise))
        fall = np.maximum(fraction - self.rise, 0.0) / (1.0 - self.rise)
        down = last + 0.5 * (self.start - last) * (1.0 + np.cos(np.pi * fall))
        return np.where(fraction < self.rise, up, down)


@dataclass(frozen=True)
class ReduceOnPlateau(Schedule):
    """Multiply the rate by `factor` when the monitored loss has not improved for `patience` epochs.

    It monitors the validation loss, or the training loss without validation. The network's
    optimizer state keeps the best value, the epochs waited and the reductions so far.

    Parameters
    ----------
    factor : float, default 0.1
    patience : int, default 5
        Epochs without improvement before a reduction.
    threshold : float, default 1e-4
        Smallest relative decrease that counts as an improvement.
    end : float, default 0
        Lower bound of the rate.
    """

    factor: float = 0.1
    patience: int = 5
    threshold: float = 1e-4
    end: float = 0.0

    name: ClassVar[str] = "reduce_on_plateau"

    def __post_init__(self) -> None:
        _set(self, "start", above=0)
        _set(self, "factor", above=0, below=1)
        _set(self, "threshold", "end", least=0)
        object.__setattr__(self, "patience", check_int("patience", self.patience, least=0))

    def rates(self, t: Times) -> NDArray[np.float64]:
        return np.full_like(t, self.start)

    def reduced(self, reductions: int) -> float:
        """Return the rate after that many reductions."""
        return max(self.start * self.factor**reductions, self.end)


@dataclass
class Plateau:
    """The state of `ReduceOnPlateau`, which is part of the network's optimizer state."""

    best: float = math.inf
    waited: int = 0
    reductions: int = 0

    def observe(self, schedule: ReduceOnPlateau, loss: float) -> None:
        """Record the monitored loss of one epoch."""
        # Not "best * (1 - threshold)": losses may be negative.
        margin = 0.0 if math.isinf(self.best) else schedule.threshold * abs(self.best)
        if loss < self.best - margin:
            self.best, self.waited = loss, 0
            return
        self.waited += 1
        if self.waited > schedule.patience:
            self.reductions, self.waited = self.reductions + 1, 0

    def epochs_to_a_reduction(self, schedule: ReduceOnPlateau) -> int:
        """Return after how many epochs the rate may be reduced at the earliest."""
        return schedule.patience - self.waited + 1


SCHEDULES: Final[dict[str, type[Schedule]]] = {
    row.name: row
    for row in (Constant, Step, Exponential, Cosine, CosLog, WarmUp, OneCycle, ReduceOnPlateau)
}


def get(rate: Schedule | float) -> Schedule:
    """Return a schedule: `rate` itself, or a constant one for a number."""
    if isinstance(rate, Schedule):
        return rate
    return Constant(check_float("learning_rate", rate, above=0))


def _set(schedule: Schedule, *names: str, **bounds: float) -> None:
    """Check fields and store them as floats."""
    for name in names:
        object.__setattr__(schedule, name, check_float(name, getattr(schedule, name), **bounds))
