"""Targets: whether they are classes or values, the names of the classes, and their indices."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from fastnet.data.text import MAX_CATEGORIES, Texts, canonical, is_number, matcher, place, quoted
from fastnet.errors import DataError, InputError, suggest

AUTO_CLASSES = 20
"""Integers with at most this many values are taken for classes."""

_NEAR: Final = 2**16  # most integers from the least to the greatest label of a table
_BLOCK_ROWS: Final = 4096

Column = NDArray[Any] | Texts


TASKS: Final = ("auto", "classification", "regression")


def check_task(task: Any) -> None:
    """Raise `InputError` with the nearest name for a task that there is not."""
    if task not in TASKS:
        raise InputError(f"There is no task {task!r}{suggest(task, TASKS)}")


def infer_labels(
    column: Column, task: Literal["auto", "classification", "regression"], source: str, name: str
) -> tuple[str, ...] | None:
    """Return the names of the classes in a target column, or None when it holds values.

    Parameters
    ----------
    column : (N,) numbers or texts
    task : {"auto", "classification", "regression"}
        "auto" takes texts and truths for classes, and integers when there are at most 20 of them;
        everything else is a value, and so are floats without a fraction, such as prices.
    source, name : str
        File and column, for error messages.

    Returns
    -------
    tuple of str, or None
        Numbers in numeric order, texts in the order of their code points.

    Raises
    ------
    DataError
        If texts cannot be classes: regression was asked for, or nearly every one is different; or
        if numbers with fractions cannot: see `require_classes`.
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
        return require_classes(tuple(sorted(column.values)), len(column.codes), source, name)
    _check_finite(column, source, name)
    if task == "auto" and column.dtype.kind not in "biu":
        return None
    values = np.unique(column)
    if task == "auto" and len(values) > AUTO_CLASSES:
        return None
    return require_classes(tuple(map(canonical, values.tolist())), len(column), source, name)


def require_classes(labels: tuple[str, ...], rows: int, source: str, name: str) -> tuple[str, ...]:
    """Return the labels of so many rows; refuse those that are measurements.

    Raises
    ------
    DataError
        They are numbers with fractions, and more than 20 of them, of which there is one for each
        second row, or more than 1,000 in all.
    """
    few = len(labels) <= min(max(AUTO_CLASSES, rows / 2), MAX_CATEGORIES)
    if few or not all(map(is_number, labels)) or all(float(v).is_integer() for v in labels):
        return labels
    raise DataError(
        f"{source}: the target {name!r} has {len(labels):,} different numbers with fractions in "
        f"{rows:,} rows: expected class labels; give task='regression', or round the numbers."
    )


def class_names(classes: Iterable[Any]) -> tuple[str, ...] | None:
    """Return the names of classes that an estimator knows by value, as `infer_labels` has them.

    None for a single class: its network has the output of two, and the other one has no name.
    """
    floats = float | np.floating
    names = tuple(canonical(float(c)) if isinstance(c, floats) else str(c) for c in classes)
    return names if len(names) > 1 else None


def encode_labels(
    column: Column, label_names: tuple[str, ...], source: str, name: str
) -> NDArray[np.int64]:
    """Return the class index of each row, (N,) int64.

    Raises
    ------
    DataError
        Naming the first row whose label is not in `label_names`.
    """
    if isinstance(column, Texts):
        texts = column
    else:
        _check_finite(column, source, name)
        # Files in chunks come here for every chunk, and texts of numbers need a sort of the rows.
        y = _classes_of_integers(column, label_names)
        if y is not None and (y >= 0).all():
            return y
        texts = Texts.of_numbers(column)
    codes = np.array([*map(matcher(label_names), texts.values), -1], dtype=np.int64)
    y = codes[texts.codes]
    if (y < 0).any():
        row = int(np.argmax(y < 0))
        known = ", ".join(map(quoted, label_names[:20])) + ("..." if len(label_names) > 20 else "")
        raise DataError(
            f"{place(source, row, name)}: the label {quoted(texts.values[texts.codes[row]])} is "
            f"none of the known ones ({known})."
        )
    return y


def _classes_of_integers(
    column: NDArray[Any], label_names: tuple[str, ...]
) -> NDArray[np.int64] | None:
    """Return the class of each finite number, (N,), or -1, by a table of the integers.

    None where the labels need the way by texts: other numbers, words, or integers far apart.
    """
    known = _near_integers(label_names)
    if known is None:
        return None
    low, classes = known
    outside = len(classes) - 1
    y = np.empty(len(column), np.int64)
    for start in range(0, len(column), _BLOCK_ROWS):  # temporaries stay in the cache
        rows = slice(start, start + _BLOCK_ROWS)
        numbers = column[rows].astype(np.float64)
        at = numbers - low
        # The difference may round a fraction away, so the number itself has to be whole.
        inside = (numbers == np.rint(numbers)) & (at >= 0) & (at < outside)
        y[rows] = classes[np.where(inside, at, outside).astype(np.intp)]
    return y


@lru_cache(maxsize=8)
def _near_integers(label_names: tuple[str, ...]) -> tuple[float, NDArray[np.int64]] | None:
    """Return the least label, and the class of it, of the next integer and so on, ended by -1.

    None where labels are no integers in their canonical form, or far apart.
    """
    if not label_names or not all(
        is_number(label) and canonical(float(label)) == label for label in label_names
    ):
        return None
    numbers = [float(label) for label in label_names]
    low, high = min(numbers), max(numbers)
    if not high - low < _NEAR or not all(number.is_integer() for number in numbers):
        return None
    classes = np.full(int(high - low) + 2, -1, np.int64)
    classes[[int(number - low) for number in numbers]] = range(len(numbers))
    return low, classes


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
