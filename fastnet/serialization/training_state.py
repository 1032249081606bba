"""What training goes on from, as a part of a model file: optimizer, history, a running scaler.

The tensors are ``optimizer.moments``, ``scaling.moments`` and, of the history, ``history.epochs``
and a vector for each metric; the rest is JSON under ``training``. A file may be hostile: every
value is checked.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fastnet.errors import DataError, ModelFileError
from fastnet.nn.optimizer_state import OptimizerState
from fastnet.nn.optimizers import LBFGS, OPTIMIZERS, Optimizer
from fastnet.nn.plan import Plan
from fastnet.nn.schedules import SCHEDULES, Plateau, Schedule
from fastnet.preprocessing.statistics import Moments
from fastnet.utils.param_validation import check_int, to_float
from fastnet.utils.serialize import build, describe, read_fields, read_value

Arrays = Mapping[str, NDArray[Any]]

MOMENTS: Final = "optimizer.moments"
SCALING: Final = "scaling.moments"
HISTORY: Final = "history."

_CLOCKS: Final = ("step", "epoch", "updates", "schedule_epoch", "batch")
_MOST: Final = 2**62
_DEEPEST: Final = 50
"""Most schedules within one another: what nests deeper is not read, and so not written."""


@dataclass(frozen=True)
class TrainingState:
    """What training goes on from.

    Attributes
    ----------
    state : OptimizerState or None
        With moments on the host.
    scaling : Moments or None
        Those of a `Scaler`, to which ``fit(standardize="running")`` adds further rows.
    history : dict of plain JSON values, or None
        The fields of a history but its records.
    records : dict of str to array
        ``epochs`` and the metrics of a history, by their index.
    """

    state: OptimizerState | None = None
    scaling: Moments | None = None
    history: dict[str, Any] | None = None
    records: Arrays | None = None


def is_tensor(name: str) -> bool:
    """Return whether a tensor of a model file belongs to this part of it."""
    return name in (MOMENTS, SCALING) or name.startswith(HISTORY)


def write(training: TrainingState) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Return the JSON values and the tensors of a training's state.

    Raises
    ------
    ModelFileError
        The optimizer is of a class of one's own, which a file cannot hold.
    """
    state, tensors = training.state, dict[str, NDArray[Any]]()
    content: dict[str, Any] = {"optimizer": None, "rows": None, "history": training.history}
    tensors |= {HISTORY + name: values for name, values in (training.records or {}).items()}
    if state is not None:
        content["optimizer"] = {
            "settings": _described(state.optimizer),
            "clocks": {name: getattr(state, name) for name in _CLOCKS},
            "plateau": asdict(state.plateau),
        }
        tensors[MOMENTS] = state.moments
    if training.scaling is not None:
        content["rows"], tensors[SCALING] = training.scaling.weight, training.scaling.matrix()
    return content, tensors


def read(content: Any, tensors: Arrays, plan: Plan, dtype: np.dtype[Any]) -> TrainingState:
    """Return the state that `write` wrote.

    Parameters
    ----------
    content : JSON value
        The value under ``training`` in the file; None if there is none.
    tensors : dict of str to array
        The tensors for whose names `is_tensor` is true.

    Raises
    ------
    DataError, InputError
        Anything is missing, unknown or of a wrong type, shape or size.
    """
    if content is None:
        if tensors:
            raise DataError("expected no moments and no history without a training.")
        return TrainingState()
    given = read_fields(content, "the training", ("optimizer", "rows", "history"))
    state, history = None, given["history"]
    if (given["optimizer"] is None) == (MOMENTS in tensors):
        raise DataError("expected moments of exactly an optimizer that is described.")
    if given["optimizer"] is not None:
        state = _state(given["optimizer"], tensors[MOMENTS], plan, dtype)
    scaling = _scaling(given["rows"], tensors.get(SCALING), plan.inputs)
    if history is not None:
        history = read_value(history, "the history", dict)
    records = {k.removeprefix(HISTORY): v for k, v in tensors.items() if k.startswith(HISTORY)}
    if records and history is None:
        raise DataError("expected no records without a history.")
    return TrainingState(state, scaling, history, records)


def _state(content: Any, moments: NDArray[Any], plan: Plan, dtype: np.dtype[Any]) -> OptimizerState:
    parts = read_fields(content, "the optimizer", ("settings", "clocks", "plateau"))
    clocks = read_fields(parts["clocks"], "the clocks", _CLOCKS)
    optimizer = _built("optimizer", OPTIMIZERS, parts["settings"])
    shape = optimizer.n_moments, plan.size
    if moments.shape != shape or moments.dtype != dtype or not np.isfinite(moments).all():
        raise DataError(
            f"expected finite moments of {dtype} and the shape {shape}, got {moments.dtype} and "
            f"{moments.shape}."
        )
    plateau = read_fields(parts["plateau"], "the plateau", ("best", "waited", "reductions"))
    best = plateau["best"]
    if type(best) not in (int, float) or math.isnan(to_float(best)):
        raise DataError(f"expected the best loss to be a number, got {best!r:.60}.")
    counts = (
        check_int(name, plateau[name], least=0, most=2**31) for name in ("waited", "reductions")
    )
    return OptimizerState(
        optimizer,
        moments,
        **{name: check_int(name, clocks[name], least=0, most=_MOST) for name in _CLOCKS},
        plateau=Plateau(to_float(best), *counts),
    )


def _scaling(rows: Any, matrix: NDArray[Any] | None, inputs: int) -> Moments | None:
    if rows is None and matrix is None:
        return None
    weight = to_float(rows) if type(rows) in (int, float) else math.nan
    fits = matrix is not None and matrix.shape == (3, inputs) and matrix.dtype == np.float64
    if matrix is None or not fits or not np.isfinite(matrix).all() or (matrix[2] < 0).any():
        raise DataError("expected the mean and the variance of each input so far.")
    if not 0 < weight < math.inf:
        raise DataError(f"expected the weight of the rows so far, got {rows!r:.60}.")
    return Moments.of_matrix(weight, matrix)


def _described(optimizer: Optimizer | LBFGS) -> dict[str, Any]:
    """Return an optimizer with its schedule as plain JSON values."""
    if type(optimizer) is not OPTIMIZERS.get(optimizer.name):
        raise ModelFileError(
            f"a model file cannot hold an optimizer of the class {type(optimizer).__name__}: save "
            "without optimizer=True, or train with an optimizer of fastnet."
        )
    return _plain(describe("optimizer", optimizer))


def _plain(values: dict[str, Any], depth: int = 0) -> dict[str, Any]:
    if depth > _DEEPEST:
        raise ModelFileError(f"a model file holds at most {_DEEPEST} schedules within one another.")
    return {
        name: _plain(describe("schedule", value), depth + 1)
        if isinstance(value, Schedule)
        else value
        for name, value in values.items()
    }


def _built(kind: str, table: Mapping[str, Any], values: Any, depth: int = 0) -> Any:
    """Return the optimizer or schedule that `_described` described."""
    if depth > _DEEPEST:
        raise DataError(f"expected at most {_DEEPEST} schedules within one another.")
    if isinstance(values, dict):
        values = {
            name: _built("schedule", SCHEDULES, value, depth + 1)
            if isinstance(value, dict)
            else value
            for name, value in values.items()
        }
    return build(kind, table, values)
