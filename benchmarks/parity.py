"""Parity: before anything is timed, every contender shows that it computes the same thing.

Each is given a few steps of the same training. The mean of their losses, and the outputs for
some rows afterwards, must be those of the reference, fastnet's NumPy backend in float32.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fastnet.benchmarks import problems
from fastnet.benchmarks.contenders import Contender, FastNet
from fastnet.benchmarks.ladder import Rung
from fastnet.benchmarks.problems import Problem
from fastnet.errors import FastNetError

STEPS: Final = 4
BATCH: Final = 256
"""At most so many rows in a step of the comparison."""
UNITS: Final = 2**16
"""At most so many hidden units of all its rows: of some millions, one is so near to ReLU's kink
that rounding takes it across, and then Adam makes whole steps of gradients that were nothing."""
ROWS: Final = 64
"""Rows whose outputs are compared."""

OUTPUTS_PER_LOSS: Final = 20.0
"""An output may differ by so many times the loss's tolerance: it is not averaged."""

_BATCH_NORM: Final = 100
"""With batch normalisation tolerances are so many times as large. The gradient of a bias in front
of it is rounding alone, of which Adam makes steps as long as others; the running means follow."""

LONG_RUN: Final = 1e-2
"""Tolerance of a whole epoch's loss: in float32, one unit at ReLU's kink can part two runs."""

Make = Callable[[Problem, int | None], Contender]


class ParityError(FastNetError):
    """A contender computes something else than the reference: its time would mean nothing."""


@dataclass(frozen=True)
class Parity:
    """How far a contender is from the reference.

    Attributes
    ----------
    loss : float
        Relative difference of the mean loss; NaN where only prediction is compared.
    outputs : float
        Largest difference of an output.
    tolerance : float
        What `loss` may be.
    """

    loss: float
    outputs: float
    tolerance: float

    @property
    def holds(self) -> bool:
        """Whether both differences are within their tolerance."""
        loss_holds = np.isnan(self.loss) or self.loss <= self.tolerance
        return bool(loss_holds and self.outputs <= OUTPUTS_PER_LOSS * self.tolerance)

    def require(self, who: str, what: str) -> None:
        """Raise `ParityError` unless it holds."""
        if not self.holds:
            raise ParityError(
                f"{who} does not compute the same as the NumPy reference on {what}: its loss "
                f"differs by {self.loss:.1e} (at most {self.tolerance:.0e}), its outputs "
                f"by {self.outputs:.1e} (at most {OUTPUTS_PER_LOSS * self.tolerance:.0e})."
            )


def check_training(make: Make, rung: Rung, threads: int | None = None) -> Parity:
    """Return how a contender compares after a few steps."""
    problem, loss, outputs = _reference(rung)
    contender = make(problem, threads)
    mine = contender.train_epoch()
    return Parity(
        loss=_relative(mine, loss),
        outputs=_largest(contender.predict(problem.x[:ROWS].copy()), outputs),
        tolerance=contender.tolerance * (_BATCH_NORM if rung.norm == "batch" else 1),
    )


def check_prediction(contender: Contender, rung: Rung) -> Parity:
    """Return how a contender with the initial weights compares in prediction."""
    x, expected = _initial_outputs(rung)
    rows = np.stack([contender.predict_one(row) for row in x[:4]])
    difference = max(_largest(contender.predict(x), expected), _largest(rows, expected[:4]))
    return Parity(float("nan"), difference, contender.tolerance)


def require_epoch(who: str, problem: Problem, loss: float) -> None:
    """Raise `ParityError` unless a first epoch's loss is about the reference's."""
    difference = _relative(loss, _epoch_loss(problem))
    if not difference <= LONG_RUN:
        raise ParityError(
            f"{who} has another loss than the NumPy reference after an epoch of "
            f"{problem.rung.name}: it differs by {difference:.1e} (at most {LONG_RUN:.0e})."
        )


@cache
def _reference(rung: Rung) -> tuple[Problem, float, NDArray[Any]]:
    """Return the problem of a few steps, its mean loss, and the outputs after them."""
    batch = min(rung.batch or rung.gpu_batch or BATCH, BATCH, UNITS // max(1, rung.hidden))
    problem = problems.problem(rung, batch, STEPS * batch)
    contender = FastNet(problem, None, "numpy")
    loss = contender.train_epoch()
    return problem, loss, contender.predict(problem.x[:ROWS])


@cache
def _initial_outputs(rung: Rung) -> tuple[NDArray[np.float32], NDArray[Any]]:
    x = problems.inputs(rung, ROWS)
    return x, problems.network(rung, "numpy").predict(x)


@cache
def _epoch_loss(problem: Problem) -> float:
    return FastNet(problem, None, "numpy").train_epoch()


def _relative(mine: float, expected: float) -> float:
    return abs(mine - expected) / abs(expected) if np.isfinite(mine) else float("inf")


def _largest(mine: NDArray[Any], expected: NDArray[Any]) -> float:
    """Return the largest difference; infinite for another shape or a NaN."""
    if mine.shape != expected.shape or not np.isfinite(mine).all():
        return float("inf")
    return float(np.abs(mine - expected).max())
