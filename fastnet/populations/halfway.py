"""Members that take long, and go on from their own checkpoint when their training was ended."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from fastnet.nn import optimizers
from fastnet.nn.optimizers import LBFGS
from fastnet.nn.plan import Plan
from fastnet.training.callbacks import Callback
from fastnet.utils.param_validation import check_int

LONG_SECONDS: Final = 10.0
"""Members that take less write no checkpoints: they are soon trained again."""

_STEP_SECONDS: Final = 3e-7
_FLOPS_A_SECOND: Final = 5e10


def expected_seconds(plan: Plan, rows: int, fit: Mapping[str, Any]) -> float:
    """Return about how long compiled code trains a network on so many rows."""
    batch, epochs = batch_of(rows, fit), check_int("epochs", fit.get("epochs", 10))
    return epochs * -(-rows // batch) * (_STEP_SECONDS + plan.flops * batch / _FLOPS_A_SECOND)


def batch_of(rows: int, fit: Mapping[str, Any]) -> int:
    """Return the rows in a step at most."""
    batch = fit.get("batch_size", 128)
    return rows if batch is None else min(check_int("batch_size", batch, most=None), rows)


def options_for(
    folder: Path | None, number: int, plan: Plan, rows: int, fit: Mapping[str, Any]
) -> dict[str, Any]:
    """Return arguments of `Network.fit` by which a member goes on where it was ended.

    None for members that take less than `LONG_SECONDS`; with callbacks that keep nothing in
    checkpoints, since they may have a state; and for L-BFGS, whose checkpoints change the bits.

    Parameters
    ----------
    folder : Path or None
        That of the population.
    number : int
        That of the member.
    plan, rows, fit
        Its layers, how many rows it is trained on, and its arguments of `Network.fit`.
    """
    optimizer = optimizers.get(fit.get("optimizer", "adam"))
    forgets = not all(map(_remembers, fit.get("callbacks") or ()))
    if folder is None or forgets or isinstance(optimizer, LBFGS):
        return {}
    path = _path(folder, number)
    if expected_seconds(plan, rows, fit) < LONG_SECONDS and not path.is_dir():
        return {}
    return {"checkpoint": path, "resume": True}


def _remembers(callback: Any) -> bool:
    return isinstance(callback, Callback) and type(callback).memory is not Callback.memory


def remove(folder: Path, number: int) -> None:
    """Remove the checkpoints of a member that is done."""
    shutil.rmtree(_path(folder, number), ignore_errors=True)


def _path(folder: Path, number: int) -> Path:
    return folder / f"halfway-{number:06d}"
