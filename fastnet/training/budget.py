"""The training that suits a number of rows: what "auto" means for tables and estimators.

The rules are for a network of a few layers on scaled inputs and targets, and for Adam with
decoupled weight decay whose rate falls to 0 along a cosine. With them the last epoch is nearly the
best one, so that a small table can train on all its rows. `python -m fastnet.benchmarks.defaults`
measures them against linear models and against networks tuned by hand.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, Self

import numpy as np
from numpy.typing import ArrayLike

from fastnet.nn.layers import Dense, Layer
from fastnet.nn.optimizers import LBFGS, AdamW, Optimizer
from fastnet.nn.schedules import Cosine, Schedule
from fastnet.training.callbacks import DEFAULT_VALIDATION, EarlyStopping
from fastnet.utils.names import Auto
from fastnet.utils.param_validation import check_float, check_int
from fastnet.utils.warn import warn

Task = Literal["classification", "regression"]

AUTO: Final = "auto"

HIDDEN: Final = (128, 64)
"""Sizes of the hidden layers of a network that nobody described."""

ACTIVATION: Final = "gelu"
"""Their activation: smooth ones do better on small tables than relu."""

LEARNING_RATE: Final = 3e-3

_ONE_BATCH: Final = 64
"""Up to this many rows are one batch, and all rules are those of this many rows."""

_LEAST_STEPS: Final = 2_000
_STEPS_PER_ROOT: Final = 100
_LEAST_EPOCHS: Final = 10
_ITERATIONS: Final = 200
_SMALLEST_BATCH: Final = 32
_LARGEST_BATCH: Final = 256

_HOLDS_OUT: Final = 100
"""From this many rows on, some are held out: fewer would tell nothing."""

_CHOOSES: Final = 100
"""This many held-out rows choose the best epoch; the choice of fewer would be that of chance."""


def default_batch_size(rows: int) -> int:
    """Return the batch size for `rows` training rows: the power of two next to their root.

    It is at least 32 and at most 256; up to 64 rows are one batch.
    """
    if rows <= _ONE_BATCH:
        return _ONE_BATCH
    power = 1 << round(math.log2(math.sqrt(rows)))
    return min(_LARGEST_BATCH, max(_SMALLEST_BATCH, power))


def default_epochs(rows: int, batch_size: int | None) -> int:
    """Return the epochs for `rows` training rows: those of ``100 sqrt(rows)`` steps.

    At least 2,000 steps and 10 epochs.

    Parameters
    ----------
    batch_size : int or None
        None means all rows.
    """
    steps = max(_LEAST_STEPS, _STEPS_PER_ROOT * math.sqrt(rows))
    batches = 1 if batch_size is None else math.ceil(rows / batch_size)
    return max(_LEAST_EPOCHS, round(steps / batches))


def counted_rows(weight: ArrayLike | None) -> int | None:
    """Return the number of rows that weights (N,) stand for; None without weights.

    A row of the smallest positive weight is one row, one of twice that weight two. Weights far
    apart stand for ten times the rows at most.
    """
    given = np.asarray(weight)
    if weight is None or given.dtype.kind not in "biuf" or not (given > 0).any():
        return None  # what are no weights is refused later
    positive = given[given > 0].astype(np.float64)
    with np.errstate(over="ignore"):
        times = float((positive / positive.min()).sum())
    return round(min(times, 10.0 * positive.size))


def default_weight_decay(rows: int, width: int = HIDDEN[-1]) -> float:
    """Return the decay of AdamW for `rows` training rows: ``min(25 / sqrt(rows), 500 / rows)``.

    It bounds each weight, so that a layer of fewer units than 64 has less of it.

    Parameters
    ----------
    width : int
        Units of the narrowest hidden layer; 0 for a linear model, which has no decay.
    """
    rows = max(rows, _ONE_BATCH)
    return min(25.0 / math.sqrt(rows), 500.0 / rows) * min(1.0, width / HIDDEN[-1])


def narrowest(layers: Sequence[Layer]) -> int:
    """Return the units of the narrowest hidden layer; 0 if there is none."""
    dense = [layer for layer in layers if isinstance(layer, Dense) and layer.blocks is None]
    return min((layer.units for layer in dense[:-1]), default=0)


def default_optimizer(
    rows: int,
    epochs: int,
    layers: Sequence[Layer],
    learning_rate: float | Schedule | None = None,
    **options: Any,
) -> AdamW:
    """Return AdamW with a weight decay for `rows` training rows, and a cosine over `epochs`.

    Parameters
    ----------
    layers : sequence of Layer
        All layers of the network; the narrowest decides the decay.
    learning_rate : float or Schedule, optional
        A number is the first rate of the cosine, by default 0.003.
    **options
        Further options of AdamW, ``weight_decay`` among them.
    """
    rate = LEARNING_RATE if learning_rate is None else learning_rate
    schedule = rate if isinstance(rate, Schedule) else Cosine(rate, epochs=epochs)
    decay = default_weight_decay(rows, narrowest(layers))
    return AdamW(schedule, **({"weight_decay": decay} | options))


@dataclass(frozen=True)
class Budget:
    """How long to train on how many rows, and on which.

    Attributes
    ----------
    rows : int
        Training rows, without those that are held out.
    epochs : int
        Passes over the data; iterations of L-BFGS.
    batch_size : int or None
        None means all rows.
    validation_split : float
        Fraction of all rows to hold out.
    early_stopping : int, EarlyStopping or None
        What was asked for.
    keeps_best : bool
        Whether to keep the weights of the best epoch, without early stopping.
    counted : int
        Training rows as their weights count them, which the weight decay suits.
    """

    rows: int
    epochs: int
    batch_size: int | None
    validation_split: float
    early_stopping: int | EarlyStopping | None
    keeps_best: bool
    counted: int

    @classmethod
    def of(
        cls,
        rows: int,
        *,
        epochs: int | Auto | None = AUTO,
        batch_size: int | Auto | None = AUTO,
        validation_split: float | None = None,
        early_stopping: int | EarlyStopping | Auto | None = AUTO,
        validation_rows: int | None = None,
        optimizer: Optimizer | LBFGS | None = None,
        counted: int | None = None,
    ) -> Self:
        """Return what suits `rows` rows, where nothing else is asked for.

        A number of epochs means these epochs and no choice among them: without early stopping, all
        rows are trained on.

        Parameters
        ----------
        rows : int
            All rows of the caller that have a weight.
        epochs : int, "auto" or None
            None is "auto" too.
        validation_split : float, optional
            Default: 0.1 for early stopping, and with ``epochs="auto"`` of at least 100 rows.
        early_stopping : int, EarlyStopping, "auto" or None
            "auto" with ``epochs="auto"`` keeps the weights of the best epoch, if at least 100 rows
            are held out.
        validation_rows : int, optional
            Number of rows that the caller held out.
        optimizer : Optimizer or LBFGS, optional
            What was asked for: L-BFGS counts iterations.
        counted : int, optional
            What `counted_rows` returns for the caller's weights.
        """
        free = epochs in (AUTO, None)
        asked = None if isinstance(early_stopping, str) else early_stopping
        split = 0.0
        if validation_rows is None:
            if validation_split is not None:
                split = check_float("validation_split", validation_split, least=0, below=1)
            elif asked is not None or (free and early_stopping == AUTO and rows >= _HOLDS_OUT):
                split = DEFAULT_VALIDATION
        held_out = round(rows * split) if validation_rows is None else validation_rows
        trained = rows - round(rows * split)

        size: int | None
        if isinstance(batch_size, str):
            size = default_batch_size(trained)
        else:
            size = None if batch_size is None else check_int("batch_size", batch_size)
        if epochs is not None and epochs != AUTO:
            count = check_int("epochs", epochs)
        else:
            solver = isinstance(optimizer, LBFGS)
            count = _ITERATIONS if solver else default_epochs(trained, size)
        chooses = free and early_stopping == AUTO and held_out >= _CHOOSES
        weighed = trained if counted is None else counted - round(counted * split)
        return cls(trained, count, size, split, asked, chooses, weighed)

    def stopping(self, task: Task) -> int | EarlyStopping | None:
        """Return the early stopping for ``fit``, or what keeps the best epoch, or None."""
        if self.keeps_best:
            return BestEpoch(task, self.epochs)
        warn_of_patience(self.early_stopping, self.epochs)
        return self.early_stopping

    def optimizer(
        self,
        layers: Sequence[Layer],
        learning_rate: float | Schedule | None = None,
        **options: Any,
    ) -> AdamW:
        """Return `default_optimizer` for these rows and epochs."""
        return default_optimizer(self.counted, self.epochs, layers, learning_rate, **options)


class BestEpoch(EarlyStopping):
    """Restore the weights of the best epoch, the last of equal ones; never stop early.

    The best epoch has the highest accuracy in classification, the lowest loss otherwise.
    """

    def __init__(self, task: Task, epochs: int) -> None:
        monitor = "val_accuracy" if task == "classification" else "val_loss"
        super().__init__(epochs, monitor=monitor)
        self.min_delta = -1e-9  # an equal epoch replaces the best one


def warn_of_patience(early_stopping: int | EarlyStopping | None, epochs: int) -> None:
    """Warn of a number of epochs without improvement that there cannot be."""
    patience = early_stopping
    if isinstance(patience, bool) or not isinstance(patience, int) or patience < epochs:
        return
    warn(
        f"early stopping after {patience} epochs without improvement cannot happen in {epochs} "
        "epochs: the weights of the best epoch are kept all the same. Give a smaller number, or "
        "more epochs.",
    )
