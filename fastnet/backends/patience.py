"""`Patience`: when early stopping ends training. `Engine.train_epochs` counts it, kernels too."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnet.kernels import abi
from fastnet.nn.batch import Array


@dataclass
class Patience:
    """Counts the epochs without improvement of one number.

    Attributes
    ----------
    epochs : int
        Training ends after so many epochs in a row that were no better.
    min_delta : float
        The smallest change that counts as an improvement.
    mode : {"min", "max"}
        Whether smaller or larger numbers are better.
    best : float
        The best number so far, negated where larger is better.
    best_epoch : int or None
    waited : int
        Epochs since then.
    """

    epochs: int
    min_delta: float = 0.0
    mode: str = "min"
    best: float = math.inf
    best_epoch: int | None = None
    waited: int = 0

    def improves(self, value: float, epoch: int) -> bool:
        """Count an epoch by its number; return whether it is the best so far."""
        value = value if self.mode == "min" else -value
        if value < self.best - self.min_delta:
            self.best, self.best_epoch, self.waited = value, epoch, 0
            return True
        self.waited += 1
        return False

    @property
    def is_over(self) -> bool:
        """Whether training should end."""
        return self.waited >= self.epochs


@dataclass
class Monitor:
    """The number that `Engine.train_epochs` watches, and where it keeps the best weights.

    Attributes
    ----------
    patience : Patience
        Changed by each epoch.
    score : bool
        Whether the number is the mean score, such as accuracy, instead of the mean loss.
    held_out : bool
        Whether it is that of the rows held out, instead of the training rows.
    weights : ((P,), (S,)) or None
        Overwritten with parameters and running statistics after each improvement.
    """

    patience: Patience
    score: bool
    held_out: bool
    weights: tuple[Array, Array] | None

    def record(self) -> NDArray[np.float64]:
        """Return what kernels read and write, laid out as in ``kernels/abi.py``."""
        record, patience = np.empty(abi.MONITOR), self.patience
        record[abi.BEST], record[abi.WAITED] = patience.best, patience.waited
        record[abi.BEST_EPOCH] = patience.best_epoch or 0
        record[abi.PATIENCE], record[abi.MIN_DELTA] = patience.epochs, patience.min_delta
        record[abi.SIGN] = 1.0 if patience.mode == "min" else -1.0
        record[abi.COLUMN] = abi.SCORE_SUM if self.score else abi.LOSS_SUM
        record[abi.HELD_OUT] = self.held_out
        return record

    def read(self, record: NDArray[Any]) -> None:
        """Take over what a kernel has counted."""
        patience = self.patience
        patience.best, patience.waited = float(record[abi.BEST]), int(record[abi.WAITED])
        patience.best_epoch = int(record[abi.BEST_EPOCH]) or None
