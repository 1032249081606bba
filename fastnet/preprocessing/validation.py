"""Checks of users' data, which becomes a `Batch` or an error in one sentence.

Kernels never check. All arrays that reach a backend were checked here: they are contiguous, of the
network's dtype, finite and of the right shape, with labels within the classes.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastnet.data.places import RowsOf, row_number
from fastnet.data.text import is_number
from fastnet.errors import InputError
from fastnet.nn.function_loss import FunctionLoss
from fastnet.nn.losses import Loss
from fastnet.utils.device_arrays import is_on_gpu, refuse_list, shared
from fastnet.utils.param_validation import check_int, refuse_masked, shown

Array = NDArray[Any]

TABLES: Final = (
    "fitted to a data frame or a dict of columns, a network takes texts and missing values"
)


def dtype_of(value: Any) -> np.dtype[Any]:
    """Return float32 or float64 for a name, a type or a dtype."""
    # Only names and types, since np.dtype takes None as float64 and parses strings.
    known = isinstance(value, np.dtype | type) or value in ("float32", "float64", "f4", "f8")
    if known and np.dtype(value) in (np.float32, np.float64):
        dtype: np.dtype[Any] = np.dtype(value)
        return dtype
    raise InputError(f"dtype must be 'float32' or 'float64', got {value!r}.")


def seed_of(value: Any) -> int:
    """Return a seed: a whole number from 0 up to 2**64 - 1."""
    number = check_int("seed", value, least=0, most=2**64)
    if number >= 2**64:
        raise InputError(f"seed must be below 2**64, got {shown(number)}.")
    return number


def inputs(name: str, values: ArrayLike, width: int | None, dtype: np.dtype[Any]) -> Array:
    """Return `values` as a finite, contiguous array (N, `width`); None: of any width."""
    array = numeric(name, values)
    if array.ndim == 1 and not array.size:
        raise InputError(f"{name} is empty: there are no rows.")
    if array.ndim != 2:
        hint = f"; reshape one row to (1, {width or array.size})" if array.ndim == 1 else ""
        count = "" if width is None else f"{width} "
        raise InputError(
            f"{name} must have two axes, (rows, {count}inputs), got the shape {array.shape}{hint}."
        )
    if width is not None and array.shape[1] != width:
        raise InputError(f"{name} must have {width} columns, got {array.shape[1]}.")
    return finite(name, cast(array, dtype), missing=f"; {TABLES}")


_SHORT: Final = 8192
"""Up to so many elements BLAS uses one thread."""


def finite(name: str, array: Array, missing: str = "") -> Array:
    """Return `array`, or name the first row and column that is not finite.

    `missing` is the end of the message about NaN.
    """
    # If the sum of squares is finite, so are all elements. It may overflow, and then every element
    # is checked. On a busy machine, BLAS would wait long for threads to share a long sum.
    flat = array.reshape(-1)
    with np.errstate(all="ignore"):
        total = np.dot(flat, flat) if flat.size <= _SHORT else np.einsum("i,i", flat, flat)
    if np.isfinite(total) or (wrong := np.argwhere(~np.isfinite(array))).size == 0:
        return array
    index = wrong[0].tolist()
    place = f"row {row_number(name, index[0], 0)}"
    place += f", column {index[1]}" if array.ndim > 1 else ""
    value = array[tuple(index)].item()
    count = "" if isinstance(name, RowsOf) else f"{len(wrong)} such in all; "
    raise InputError(
        f"{name} holds {value} at {place} ({count}counted from 0): "
        f"remove or replace values that are not finite in {array.dtype}"
        f"{missing if np.isnan(value) else ''}."
    )


RANGES: Final[dict[str, tuple[float, float]]] = {
    "binary_cross_entropy": (0.0, 1.0),
    "poisson": (0.0, np.inf),
}
"""Within which numbers the targets of a loss must be, where not all numbers are targets."""


def targets(
    names: tuple[str, str],
    values: ArrayLike,
    rows: int,
    loss: Loss,
    outputs: int,
    dtype: np.dtype[Any],
) -> tuple[NDArray[np.int64] | None, Array | None]:
    """Return ``(labels, None)`` or ``(None, target)``, as the loss requires.

    labels are (N,) int64 within the classes, target is (N, T). `names` are those of x and y. A
    caller's function may take any number of target columns.
    """
    name = names[1]
    array = numeric(name, values)
    if array.ndim == 0 or len(array) != rows:
        got = "a single number" if array.ndim == 0 else f"{len(array)}"
        raise InputError(f"{name} must have as many rows as {names[0]}, {rows}, got {got}.")
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
    if isinstance(loss, FunctionLoss) and array.ndim == 2 and array.shape[1]:
        columns = array.shape[1]
    if array.ndim != 2 or array.shape[1] != columns:
        raise InputError(
            f"{name} must have the shape ({rows}, {columns})"
            + (f" or ({rows},)" if columns == 1 else "")
            + f" for the loss {loss.name!r} and {outputs} outputs, got {np.shape(values)}."
        )
    target = finite(name, cast(array, dtype))
    if loss.name in RANGES:
        _require_range(name, target, *RANGES[loss.name], loss)
    return None, target


def _class_targets(
    name: str, array: Array, classes: int, dtype: np.dtype[Any]
) -> tuple[NDArray[np.int64] | None, Array | None]:
    """Return labels if every row names one class, else probabilities."""
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim == 1:
        labels = cast(finite(name, array), np.dtype(np.int64))
        if not np.array_equal(labels, array):
            row = int(np.flatnonzero(labels != array)[0])
            raise InputError(
                f"{name} must hold class numbers for cross_entropy, got {array[row].item()} at row "
                f"{row_number(name, row, 0)}; "
                f"for real-valued targets choose loss='mse' and output_activation='identity'."
            )
        wrong = np.flatnonzero((labels < 0) | (labels >= classes))
        if wrong.size:
            raise InputError(
                f"{name} must hold labels from 0 to {classes - 1}, as the network has {classes} "
                f"outputs, got {int(labels[wrong[0]])} at row {row_number(name, int(wrong[0]), 0)}."
            )
        return labels, None
    if array.ndim != 2 or array.shape[1] != classes:
        raise InputError(
            f"{name} must hold labels (N,) or one column for each of the {classes} classes, got "
            f"the shape {array.shape}."
        )
    target = finite(name, cast(array, dtype))
    _require_range(name, target, 0, 1, None)
    sums = target.sum(axis=1)
    wrong = np.flatnonzero(np.abs(sums - 1) > 1e-3)
    if wrong.size:
        raise InputError(
            f"{name} must hold probabilities that sum to 1 in every row, got "
            f"{float(sums[wrong[0]]):g} at row {row_number(name, int(wrong[0]), 0)}."
        )
    if (target.max(axis=1) == 1).all():
        return np.argmax(target, axis=1).astype(np.int64), None
    return None, target


def _require_range(name: str, target: Array, low: float, high: float, loss: Loss | None) -> None:
    wrong = np.argwhere((target < low) | (target > high))
    if wrong.size:
        row, column = wrong[0].tolist()
        bound = f"from {low:g} to {high:g}" if np.isfinite(high) else f"of at least {low:g}"
        use = f" for the loss {loss.name!r}" if loss else ""
        raise InputError(
            f"{name} must hold numbers {bound}{use}, got {target[row, column].item():g} at row "
            f"{row_number(name, row, 0)}, "
            f"column {column}."
        )


def numeric(name: str, values: ArrayLike) -> Array:
    """Return `values` as an array of booleans, integers or floats; on a GPU it stays there."""
    if hasattr(values, "toarray"):
        raise InputError(f"{name} is a sparse matrix: give a dense one ({name}.toarray()).")
    refuse_masked(name, values)
    refuse_list(name, values)
    try:
        array = shared(name, values) if is_on_gpu(values) else np.asarray(values)
    except (ValueError, OverflowError):
        raise InputError(f"{name} must be a rectangular array of numbers.") from None
    if array.dtype == object:
        if array.ndim == 0:
            got = type(values).__name__
            taken = ": fit, predict and evaluate take them" if got == "Chunks" else ""
            raise InputError(f"{name} must hold numbers, got {got}{taken}.")
        try:
            # Python's float takes bytes and texts such as 1_000 too.
            if not all(is_number(c) for c in array.flat if isinstance(c, str | bytes)):
                raise TypeError
            array = array.astype(np.float64)
        except (TypeError, ValueError, OverflowError):
            raise InputError(
                f"{name} must hold numbers, got objects{_first_word(array)}."
            ) from None
    if array.dtype.kind not in "biuf":
        kind = {"U": "text", "S": "bytes", "c": "complex numbers", "M": "dates"}
        got = kind.get(array.dtype.kind, str(array.dtype))
        word = _first_word(array) if array.dtype.kind == "U" else ""
        raise InputError(f"{name} must hold numbers, got {got}{word}.")
    return array


def _first_word(array: Array) -> str:
    """Return the end of the message about an array: its first cell that is no number."""
    for index in np.ndindex(array.shape):
        cell = array[index]
        try:
            number = not isinstance(cell, str | bytes) or is_number(cell)
            float(cell)
        except (TypeError, ValueError, OverflowError):
            number = False
        if not number:
            place = f"row {index[0]}" + (f", column {index[1]}" if len(index) > 1 else "")
            got = repr(str(cell)) if isinstance(cell, str) else type(cell).__name__
            return f", {got} at {place} (counted from 0); {TABLES}"
    return ""


def cast(array: Array, dtype: np.dtype[Any]) -> Array:
    """Return the array in that dtype; numbers out of its range become infinite."""
    if not isinstance(array, np.ndarray):
        return array.astype(dtype, order="C", copy=False)
    with np.errstate(all="ignore"):
        return np.ascontiguousarray(array, dtype)
