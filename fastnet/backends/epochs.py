"""What an engine is told about training, and the sums that it returns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from fastnet.backends.patience import Monitor
from fastnet.kernels import abi
from fastnet.nn.batch import Array, Batch
from fastnet.nn.losses import Loss
from fastnet.nn.optimizers import Optimizer


@dataclass(frozen=True)
class TrainConfig:
    """The settings of a training run that stay the same from step to step.

    Attributes
    ----------
    loss : Loss
    optimizer : Optimizer
    batch_size : int
    seed : int
        The key of the shuffle and of the dropout masks.
    shuffle : bool
        Whether each epoch visits the rows in a new order.
    least_rows : int
        The plan's `least_rows`: a last batch of fewer rows is left out of its epoch.
    once : bool
        Whether it is a single step, for which no kernel is worth compiling.
    """

    loss: Loss
    optimizer: Optimizer
    batch_size: int
    seed: int
    shuffle: bool
    least_rows: int = 1
    once: bool = False

    def steps(self, rows: int) -> int:
        """Return the number of batches in an epoch; the last one may be smaller.

        Engines train on so many batches as they are told, so the batch that is left out of an epoch
        is decided here alone.
        """
        whole, rest = divmod(rows, self.batch_size)
        return whole + (rest >= self.least_rows if rest else 0)


@dataclass(frozen=True)
class LossSums:
    """Sums over the batches of an epoch, or over the rows of an evaluation.

    Attributes
    ----------
    loss, score, weight : float
        Sums over rows of ``weight * loss``, ``weight * score`` and ``weight``.
    steps : int
        Number of batches before the loss stopped being finite.
    finite : bool or None
        Whether parameters and running statistics are finite after the last batch; None: the engine
        has not looked.
    """

    loss: float
    score: float
    weight: float
    steps: int
    finite: bool | None = field(default=None, compare=False)

    @property
    def mean_loss(self) -> float:
        """The weighted mean of the row losses; 0 where no row has weight."""
        return self.loss / self.weight if self.weight else 0.0

    @property
    def mean_score(self) -> float:
        """The weighted mean of the row scores; 0 where no row has weight."""
        return self.score / self.weight if self.weight else 0.0


@dataclass(frozen=True)
class EpochSums:
    """The sums of one epoch after the other.

    Attributes
    ----------
    table : (E, 4) float64
        A row for each epoch, laid out like ``Engine.tally``.
    finite : bool or None
        As in `LossSums`, after the last epoch.
    """

    table: NDArray[np.float64]
    finite: bool | None = field(default=None, compare=False)

    def __len__(self) -> int:
        return len(self.table)

    @classmethod
    def of(cls, sums: Sequence[LossSums]) -> Self:
        """Return the sums of epochs that were trained one by one."""
        rows = [(one.loss, one.score, one.weight, one.steps) for one in sums]
        return cls(np.array(rows, np.float64).reshape(-1, abi.TALLY))

    @property
    def steps(self) -> NDArray[np.float64]:
        """The number of batches of each epoch before the loss stopped being finite."""
        return self.table[:, abi.STEPS]

    @property
    def mean_loss(self) -> NDArray[np.float64]:
        """The weighted mean of each epoch's row losses; 0 where no row has weight."""
        return self._mean(abi.LOSS_SUM)

    @property
    def mean_score(self) -> NDArray[np.float64]:
        """The weighted mean of each epoch's row scores; 0 where no row has weight."""
        return self._mean(abi.SCORE_SUM)

    def _mean(self, column: int) -> NDArray[np.float64]:
        weight = self.table[:, abi.WEIGHT_SUM]
        means = np.zeros(len(self))
        np.divide(self.table[:, column], weight, out=means, where=weight != 0)
        return means


@dataclass(frozen=True)
class Stretch:
    """Whole epochs of a network to train in one call.

    Attributes
    ----------
    rows : Batch
        The whole data set.
    config : TrainConfig
    moments : (n_moments, P)
        Changed in place.
    coefficients : (E, n, 4) float64
        ``optimizer.step_coefficients`` for the n steps of each of E epochs.
    epoch, step : int
        Number of the first epoch, and of steps taken since training began.
    held_out : Batch or None
        Rows to evaluate after each epoch.
    monitor : Monitor or None
        It counts the epochs, keeps the best weights, and ends training early.
    """

    rows: Batch
    config: TrainConfig
    moments: Array
    coefficients: NDArray[np.float64]
    epoch: int
    step: int
    held_out: Batch | None = None
    monitor: Monitor | None = None

    @property
    def batch(self) -> int:
        """Rows in a batch."""
        return min(self.config.batch_size, len(self.rows))


@dataclass(frozen=True)
class Member:
    """A network of several that are trained together, and its stretch.

    Attributes
    ----------
    parameters : (P,)
    state : (S,)
        Both change in place.
    """

    parameters: Array
    state: Array
    stretch: Stretch


Trained = tuple[EpochSums, EpochSums]
"""The sums of each epoch of a stretch, and those of the rows held out after it, if there are any.

Training ends with the first epoch whose loss is not finite, which is not evaluated."""

RowStep = Callable[[int, int], float | None]
"""``step(coefficients, number)`` takes a training step, the `number`-th since training began.

`coefficients` is the address of a row of ``optimizer.step_coefficients``. The function returns the
loss before the step, or None where that is not finite.
"""


def sum_of_steps(
    steps: int,
    first: int,
    rows: int,
    batch_size: int,
    take_step: Callable[[int, int, int], LossSums],
) -> LossSums:
    """Take steps of an epoch on batches `first`, `first` + 1, ...; return their sums.

    ``take_step(k, start, stop)`` takes the k-th of them, on the rows from `start` up to `stop` in
    the order of the epoch. A batch whose loss is not finite ends it.
    """
    done, weight = 0, 0.0
    loss = score = 0.0
    for k in range(steps):
        start = (first + k) * batch_size
        tally = take_step(k, start, min(start + batch_size, rows))
        loss, score = loss + tally.loss, score + tally.score
        weight += tally.weight
        if not tally.steps:
            break
        done += 1
    return LossSums(loss, score, weight, done)


def read_stretch(
    stretch: Stretch,
    trained: NDArray[Any],
    evaluated: NDArray[Any],
    record: NDArray[Any] | None,
    *,
    finite: bool | None = None,
) -> Trained:
    """Return what kernels have written about a stretch: sums (E, 4) and the monitor's record."""
    batches = stretch.coefficients.shape[1]
    whole = int((trained[:, abi.STEPS] == batches).sum())
    count = whole + 1  # the last of them diverged, if there are so many
    if stretch.monitor is not None:
        assert record is not None
        stretch.monitor.read(record)
        count = whole if stretch.monitor.patience.is_over else count
    kept = whole if stretch.held_out is not None else 0
    return EpochSums(trained[:count], finite), EpochSums(evaluated[:kept])
