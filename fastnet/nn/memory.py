"""Estimates of the memory that initialising and training a network takes.

Let P be the number of parameters, B the batch size, I the inputs, S the number of outputs or the
widest normalisation, and W the sum of the widths of all layers. Beside the data, training on the
CPU takes about

    itemsize * ((5 + n_moments) * P + B * (2 * W + 2 * S + I)) + 40 * B

bytes. The first term is the parameters, gradients, scratch of the update or of products, two
snapshots for a rollback and the optimizer's moments; the second is the activations, their gradients
and scratch of the loss, which NumPy alone needs; the third is the place of a row in the order, its
target, weight and loss. Learning rates per parameter add itemsize * P; NumPy also keeps the values
before the update, which adds as much again. Early stopping keeps one more copy of the parameters.
While a checkpoint is written, its content is in memory twice.
"""

from __future__ import annotations

from typing import Final

from fastnet.nn.optimizers import LBFGS, Optimizer
from fastnet.nn.plan import Plan

_COPIES: Final = 5
_ROW_BYTES: Final = 40
"""What a row of a batch takes beside its layers: place, target, weight, loss and score."""
_COPIES_FOR_RATES: Final = 2
_LBFGS_COPIES: Final = 8
"""Copies of the parameters in float64 that SciPy's solver keeps beside the corrections."""


def training_bytes(
    plan: Plan, itemsize: int, optimizer: Optimizer | LBFGS, *, checkpoints: bool = False
) -> tuple[int, int]:
    """Return about how many bytes training takes, and how many more per row of a batch."""
    copies = (_COPIES + optimizer.n_moments) * itemsize
    if plan.has_rates:
        copies += _COPIES_FOR_RATES * itemsize
    if checkpoints:
        copies += 2 * (2 + optimizer.n_moments) * itemsize
    if isinstance(optimizer, LBFGS):
        copies += 8 * (_LBFGS_COPIES + 2 * optimizer.history_size)
    per_row = (2 * plan.width + 2 * plan.scratch_width + plan.inputs) * itemsize + _ROW_BYTES
    return copies * plan.size, per_row


def initial_bytes(plan: Plan, itemsize: int) -> int:
    """Return about how many bytes a new network takes; its weights are drawn in float64."""
    largest = max(tensor.size for tensor in plan.parameters)
    return (itemsize + 8) * plan.size + 8 * largest
