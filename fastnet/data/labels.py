"""Targets: whether they are classes or values, the names of the classes, and their indices."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fastnet.data.text import Texts, canonical, is_number, place, quoted
from fastnet.errors import DataError

AUTO_CLASSES = 20
"""Integers with at most this many values, or the root of the rows, are taken for classes."""

Column = NDArray[Any] | Texts


def infer_labels(
    column: Column, task: Literal["auto", "classification", "regression"], source: str, name: str
) -> tuple[str, ...] | None:
    """Return the names of the classes in a target column, or None when it holds values.

    Parameters
    ----------
    column : (N,) numbers or texts
    task : {"auto", "classification", "regression"}
        "auto" takes texts for classes, and integers when there are at most
        ``max(20, sqrt(N))`` of them; everything else is a value.
    source, name : str
        File and column, for error messages.

    Returns
    -------
    tuple of str, or None
        Numbers in numeric order, texts in the order of their code points.

    Raises
    ------
    DataError
        If texts cannot be classes: regression was asked for, or nearly every one is different.
    """
    if task == "regression":
        if isinstance(column, Texts):
            raise _not_a_number(column, source, name)
        return None
    if isinstance(column, Texts):
        if task == "auto" and len(column.values) > max(AUTO_CLASSES, len(column.codes) / 2):
            raise DataError(
                f"{source}: the target {name!r} has {len(column.values)} different texts in "
                f"{len(column.codes)} rows, such as {quoted(column.values[0])}: expected numbers "
                "or class labels; give task='classification' if they are labels."
            )
        return tuple(sorted(column.values))
    _check_finite(column, source, name)
    values = np.unique(column)
    limit = max(AUTO_CLASSES, math.sqrt(len(column)))
    if task == "auto" and (len(values) > limit or (values != np.rint(values)).any()):
        return None
    return tuple(canonical(float(value)) for value in values)


def encode_labels(
    column: Column, label_names: tuple[str, ...], source: str, name: str
) -> NDArray[np.int64]:
    """Return the class index of each row, (N,) int64.

    Raises
    ------
    DataError
        Naming the first row whose label is not in `label_names`.
    """
    if not isinstance(column, Texts):
        _check_finite(column, source, name)
        column = Texts.of_numbers(column.astype(np.float64))
    index = {label: k for k, label in enumerate(label_names)}
    codes = np.array([_class_of(value, index) for value in column.values], dtype=np.int64)
    y = codes[column.codes]
    if (y < 0).any():
        row = int(np.argmax(y < 0))
        known = ", ".join(map(quoted, label_names[:20])) + ("..." if len(label_names) > 20 else "")
        raise DataError(
            f"{place(source, row, name)}: the label {quoted(column.values[column.codes[row]])} is "
            f"none of the known ones ({known})."
        )
    return y


def _class_of(value: str, index: dict[str, int]) -> int:
    """Return the class of a label as it is written or, failing that, as the number it is."""
    if value not in index and is_number(value) and math.isfinite(float(value)):
        value = canonical(float(value))
    return index.get(value, -1)


def _check_finite(column: NDArray[Any], source: str, name: str) -> None:
    bad = ~np.isfinite(column)
    if bad.any():
        row = int(np.argmax(bad))
        raise DataError(f"{place(source, row, name)}: {column[row]} is not a finite number.")


def _not_a_number(column: Texts, source: str, name: str) -> DataError:
    words = np.array([not is_number(value) for value in column.values])[column.codes]
    row = int(np.argmax(words))
    cell = quoted(column.values[column.codes[row]])
    return DataError(f"{place(source, row, name)}: {cell} is not a number.")
