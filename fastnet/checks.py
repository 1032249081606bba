"""Checks at the public edge: what users hand over becomes `Rows`, or one clear sentence.

Kernels never check. Everything that reaches a backend has passed here: contiguous, of the network's
dtype, finite, of the right shape, labels within the classes.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastnet.arguments import whole
from fastnet.errors import InputError, suggest
from fastnet.losses import Loss

Array = NDArray[Any]


def dtype_of(value: Any) -> np.dtype[Any]:
    """Return float32 or float64 for a name, a type or a dtype."""
    try:
        dtype: np.dtype[Any] | None = np.dtype(value)
    except TypeError:
        dtype = None
    if dtype is None or dtype not in (np.float32, np.float64):
        raise InputError(f"dtype must be 'float32' or 'float64', got {value!r}.")
    return dtype


def seed_of(value: Any) -> int:
    """Return a seed: a whole number from 0 up to 2**64 - 1."""
    number = whole("seed", value, least=0)
    if number >= 2**64:
        raise InputError(f"seed must be below 2**64, got {number}.")
    return number


def inputs(name: str, values: ArrayLike, width: int, dtype: np.dtype[Any]) -> Array:
    """Return `values` as a finite, contiguous array (N, `width`)."""
    array = _numeric(name, values)
    if array.ndim != 2:
        hint = f"; reshape one row to (1, {width})" if array.ndim == 1 else ""
        raise InputError(
            f"{name} must have two axes, (rows, {width} inputs), got the shape {array.shape}{hint}."
        )
    if array.shape[1] != width:
        raise InputError(f"{name} must have {width} columns, got {array.shape[1]}.")
    return finite(name, np.ascontiguousarray(array, dtype))


def finite(name: str, array: Array) -> Array:
    """Return `array`, or name the first row and column that is not finite."""
    # The sum is finite when all is; only when it is not (it may overflow) every element is looked
    # at.
    with np.errstate(all="ignore"):
        total = array.sum(dtype=np.float64)
    if np.isfinite(total) or (wrong := np.argwhere(~np.isfinite(array))).size == 0:
        return array
    place = f"row {wrong[0][0]}" + (f", column {wrong[0][1]}" if array.ndim > 1 else "")
    value = array[tuple(wrong[0])]
    raise InputError(
        f"{name} holds {value} at {place} ({len(wrong)} such in all; counted from 0): "
        f"remove or replace values that are not finite in {array.dtype}."
    )


def targets(
    name: str,
    values: ArrayLike,
    rows: int,
    loss: Loss,
    outputs: int,
    dtype: np.dtype[Any],
) -> tuple[NDArray[np.int64] | None, Array | None]:
    """Return ``(labels, None)`` or ``(None, target)``, whichever the loss takes.

    labels are (N,) int64 within the classes, target is (N, T).
    """
    array = _numeric(name, values)
    if array.ndim == 0 or len(array) != rows:
        got = "a single number" if array.ndim == 0 else f"{len(array)}"
        raise InputError(f"{name} must have as many rows as x, {rows}, got {got}.")
    if loss.name == "cross_entropy":
        return _class_targets(name, array, outputs, dtype)
    if outputs % loss.outputs_per_target:
        raise InputError(
            f"the loss {loss.name!r} needs {loss.outputs_per_target} outputs for each target, so "
            f"the network's {outputs} outputs must be a multiple of it."
        )
    columns = outputs // loss.outputs_per_target
    if array.ndim == 1:
        array = array[:, None]
    if array.ndim != 2 or array.shape[1] != columns:
        raise InputError(
            f"{name} must have the shape ({rows}, {columns})"
            + (f" or ({rows},)" if columns == 1 else "")
            + f" for the loss {loss.name!r} and {outputs} outputs, got {np.shape(values)}."
        )
    target = finite(name, np.ascontiguousarray(array, dtype))
    if loss.name == "binary_cross_entropy":
        _require_range(name, target, 0, 1, loss)
    elif loss.name == "poisson":
        _require_range(name, target, 0, np.inf, loss)
    return None, target


def _class_targets(
    name: str, array: Array, classes: int, dtype: np.dtype[Any]
) -> tuple[NDArray[np.int64] | None, Array | None]:
    """Return labels where the rows name one class each, else the probabilities."""
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim == 1:
        labels = finite(name, array).astype(np.int64)
        if not np.array_equal(labels, array):
            row = int(np.flatnonzero(labels != array)[0])
            raise InputError(
                f"{name} must hold class numbers for cross_entropy, got {array[row]} at row {row}; "
                f"for real-valued targets choose loss='mse' and output_activation='identity'."
            )
        wrong = np.flatnonzero((labels < 0) | (labels >= classes))
        if wrong.size:
            raise InputError(
                f"{name} must hold labels from 0 to {classes - 1}, as the network has {classes} "
                f"outputs, got {labels[wrong[0]]} at row {wrong[0]}."
            )
        return labels, None
    if array.ndim != 2 or array.shape[1] != classes:
        raise InputError(
            f"{name} must hold labels (N,) or one column for each of the {classes} classes, got "
            f"the shape {array.shape}."
        )
    target = finite(name, np.ascontiguousarray(array, dtype))
    _require_range(name, target, 0, 1, None)
    sums = target.sum(axis=1)
    wrong = np.flatnonzero(np.abs(sums - 1) > 1e-3)
    if wrong.size:
        raise InputError(
            f"{name} must hold probabilities that sum to 1 in every row, got {sums[wrong[0]]:g} at "
            f"row {wrong[0]}."
        )
    if np.array_equal(target.max(axis=1), np.ones(len(target))):
        return np.argmax(target, axis=1).astype(np.int64), None
    return None, target


def _require_range(name: str, target: Array, low: float, high: float, loss: Loss | None) -> None:
    wrong = np.argwhere((target < low) | (target > high))
    if wrong.size:
        row, column = wrong[0]
        bound = f"from {low:g} to {high:g}" if np.isfinite(high) else f"of at least {low:g}"
        use = f" for the loss {loss.name!r}" if loss else ""
        raise InputError(
            f"{name} must hold numbers {bound}{use}, got {target[row, column]:g} at row {row}, "
            f"column {column}."
        )


def sample_weights(values: ArrayLike | None, rows: int, dtype: np.dtype[Any]) -> Array | None:
    """Return weights (N,), at least 0 and not all 0."""
    if values is None:
        return None
    array = _numeric("sample_weight", values)
    if array.shape != (rows,):
        raise InputError(f"sample_weight must have the shape ({rows},), got {array.shape}.")
    weights = finite("sample_weight", np.ascontiguousarray(array, dtype))
    negative = np.flatnonzero(weights < 0)
    if negative.size:
        row = negative[0]
        raise InputError(f"sample_weight must not be negative, got {weights[row]:g} at row {row}.")
    if not weights.any():
        raise InputError("sample_weight is 0 everywhere: there is nothing to train on.")
    return weights


def class_weights(
    values: Mapping[int, float] | str | None,
    labels: NDArray[np.int64] | None,
    classes: int,
    weight: Array | None,
    dtype: np.dtype[Any],
) -> Array | None:
    """Return the sample weights (N,) with each row's class weight multiplied in.

    ``"balanced"`` gives class k the weight ``N / (classes present * N_k)``.
    """
    if values is None:
        return weight
    if labels is None:
        raise InputError("class_weight needs class labels: use loss='cross_entropy' with labels.")
    if isinstance(values, str):
        if values != "balanced":
            raise InputError(f"unknown class_weight {values!r}{suggest(values, ['balanced'])}")
        counts = np.bincount(labels, minlength=classes)
        present = np.count_nonzero(counts)
        table = len(labels) / (present * np.maximum(counts, 1.0))
    else:
        table = np.ones(classes)
        for label, value in values.items():
            if not 0 <= operator.index(label) < classes:
                raise InputError(f"class_weight names the class {label}, of 0 to {classes - 1}.")
            if not (np.isfinite(value) and value >= 0):
                raise InputError(f"class_weight must be 0 or more, got {value!r} for {label}.")
            table[label] = value
    by_row = table[labels].astype(dtype)
    return by_row if weight is None else weight * by_row


def _numeric(name: str, values: ArrayLike) -> Array:
    """Return `values` as an array of booleans, integers or floats."""
    if hasattr(values, "toarray"):
        raise InputError(f"{name} is a sparse matrix: give a dense one ({name}.toarray()).")
    try:
        array = np.asarray(values)
    except ValueError:
        raise InputError(f"{name} must be a rectangular array of numbers.") from None
    if array.dtype == object:
        try:
            array = array.astype(np.float64)
        except (TypeError, ValueError):
            raise InputError(f"{name} must hold numbers, got Python objects.") from None
    if array.dtype.kind not in "biuf":
        kind = {"U": "text", "S": "bytes", "c": "complex numbers", "M": "dates"}
        got = kind.get(array.dtype.kind, str(array.dtype))
        raise InputError(f"{name} must hold numbers, got {got}.")
    if array.size == 0 and array.ndim <= 1 and np.ndim(values) <= 1 and name == "x":
        raise InputError("x is empty: there are no rows.")
    return array
