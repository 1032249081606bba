"""How much memory training takes, and whether that much is there: asked before, not found out.

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

import os
import re
from pathlib import Path
from typing import Final

from fastnet.errors import OutOfMemoryError
from fastnet.nn.optimizers import LBFGS, Optimizer
from fastnet.nn.plan import Plan

ASKED_FROM: Final = 2**28
"""For less than this the system is not asked: that takes longer than a small network's step."""

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


LESS: Final = "fewer or smaller layers, a smaller batch_size or dtype='float32'"


def require(bytes_needed: int, what: str, less: str = LESS) -> None:
    """Raise `OutOfMemoryError` when there cannot be so many bytes; with both numbers.

    `less` says what takes less.
    """
    if bytes_needed < ASKED_FROM:
        return
    there = available_bytes()
    if there is not None and bytes_needed > there:
        raise OutOfMemoryError(
            f"{what} takes about {bytes_needed / 1e9:,.1f} GB, and {there / 1e9:,.1f} GB of memory "
            f"are free: use {less}."
        )


def available_bytes() -> int | None:
    """Return how much memory this process can still get, or None where the system does not say."""
    limits = _of_the_machine(), _of_the_process(), _of_the_group()
    return min((limit for limit in limits if limit is not None), default=None)


def _of_the_machine() -> int | None:
    try:
        text = Path("/proc/meminfo").read_text()
    except OSError:
        return None
    return 1024 * sum(
        int(kilobytes)
        for kilobytes in re.findall(r"^(?:MemAvailable|SwapFree):\s+(\d+)", text, re.M)
    )


def _of_the_process() -> int | None:
    """Return what ``ulimit -v`` leaves."""
    try:
        import resource

        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except (ImportError, OSError, ValueError):
        return None
    return None if limit == resource.RLIM_INFINITY else max(0, limit - used)


def _of_the_group() -> int | None:
    """Return what the container may have: by version 2 of control groups, else by version 1."""
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        try:
            return int(Path("/sys/fs/cgroup", name).read_text())
        except (OSError, ValueError):  # "max" is no number
            continue
    return None
