"""How much memory making and training a network takes.

With P parameters, W values that a row has in all layers together, H in the widest one and I inputs,
training on the CPU takes about

    itemsize * ((5 + slots) * P + B * (2 * W + H + I))

bytes beside the data: parameters, gradients, scratch of the update, two snapshots to go back to and
the optimizer's moments; and for each of the B rows of a batch its activations and their gradients.
Where parameters learn at rates of their own, their rates and, in NumPy, their values before the
update take itemsize * P each. Early stopping keeps one more copy of the parameters, and while a
checkpoint is written its content is there twice.
"""

from __future__ import annotations

from typing import Final

from fastnet.nn.optimizers import LBFGS, Optimizer
from fastnet.nn.plan import Plan

_COPIES: Final = 5
_COPIES_FOR_RATES: Final = 2
_LBFGS_COPIES: Final = 8
"""Of float64 parameters, beside the corrections: what SciPy's solver works with."""


def training_bytes(
    plan: Plan, itemsize: int, optimizer: Optimizer | LBFGS, *, checkpoints: bool = False
) -> tuple[int, int]:
    """Return about how many bytes training takes, and how many more for each row of a batch."""
    copies = (_COPIES + optimizer.n_moments) * itemsize
    if plan.has_rates:
        copies += _COPIES_FOR_RATES * itemsize
    if checkpoints:
        copies += 2 * (2 + optimizer.n_moments) * itemsize
    if isinstance(optimizer, LBFGS):
        copies += 8 * (_LBFGS_COPIES + 2 * optimizer.history_size)
    per_row = 2 * plan.width + int(plan.ops["outputs"].max()) + plan.inputs
    return copies * plan.size, per_row * itemsize


def initial_bytes(plan: Plan, itemsize: int) -> int:
    """Return about how many bytes making a network takes: weights are drawn in float64."""
    largest = max(tensor.size for tensor in plan.parameters)
    return (itemsize + 8) * plan.size + 8 * largest
