"""Folds of cross-validation: which rows a member trains on, and which it is tested on."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastnet.data.text import Texts
from fastnet.errors import InputError
from fastnet.kernels import abi
from fastnet.nn import random
from fastnet.preprocessing.validation import seed_of
from fastnet.utils.device_arrays import on_host
from fastnet.utils.param_validation import check_int, plain
from fastnet.utils.warn import warn

Rows = NDArray[np.int64]
Fold = tuple[Rows, Rows]
"""The rows to train on, and those to test on."""

_EXPECTED: Final = (
    "cv must be a number of folds, a splitter of scikit-learn, or pairs of (training rows, test "
    "rows)"
)


def make_folds(
    count: int, n_folds: int, *, seed: int = 0, labels: ArrayLike | None = None
) -> list[Fold]:
    """Return `n_folds` pairs of training rows and test rows; each row is tested on once.

    Parameters
    ----------
    count : int
        Number of rows, N.
    n_folds : int
        From 2 to N.
    seed : int, default 0
        The rows are drawn at random by it.
    labels : (N,), optional
        Classes: each fold gets its share of each of them (stratified folds).

    Returns
    -------
    list of ((n,) int64, (N - n,) int64)
        Both sorted.

    Examples
    --------
    >>> from fastnet.populations import make_folds
    >>> [test.tolist() for _, test in make_folds(6, 3, labels=[0, 0, 0, 1, 1, 1])]
    [[0, 4], [2, 3], [1, 5]]
    """
    n_folds = check_int("the number of folds", n_folds, least=2)
    if n_folds > count:
        raise InputError(f"{n_folds} folds need as many rows at least, got {count}.")
    order = random.permutation(count, seed=seed_of(seed), epoch=0, purpose=abi.SPLIT)
    if labels is not None:
        _, codes = np.unique(np.asarray(on_host("labels", labels)), return_inverse=True)
        # One class after the other; dealt out in turn, each fold gets its share of each.
        order = order[np.argsort(codes[order], kind="stable")]
    tests = [np.sort(order[k::n_folds]) for k in range(n_folds)]
    return [(np.setdiff1d(np.arange(count), test), test) for test in tests]


def read_folds(
    cv: Any, count: int, seed: int, labels: Any, *, x: Any = None, y: Any = None
) -> list[Fold]:
    """Return the folds that a caller asks for.

    Parameters
    ----------
    cv : int, splitter or iterable of (rows, rows)
        A splitter has the method ``split(x, y)`` of those of scikit-learn.
    labels : (N,) or None
        The classes, if the targets are such.
    x, y : array or data frame, and (N,) or (N, T), optional
        What a splitter gets to see; classes are its y where there are `labels`.

    Raises
    ------
    InputError
        It is none of these, or the rows are not those of the data.
    """
    cv = plain(cv)
    if isinstance(cv, int) and not isinstance(cv, bool):
        found = make_folds(count, cv, seed=seed, labels=labels)
    else:
        pairs = _pairs(cv, count, labels if y is None or labels is not None else y, x)
        names = "the training rows of a fold", "the test rows of a fold"
        found = [
            (read_rows(names[0], train, count), read_rows(names[1], test, count))
            for train, test in pairs
        ]
    for number, fold in enumerate(found):
        _require_classes(fold, labels, number)
        if both := len(np.intersect1d(*fold)):
            warn(
                f"fold {number} is tested on {both} of the rows that it is trained on: its scores "
                "are not those of unknown rows.",
            )
    return found


def _pairs(cv: Any, count: int, y: Any, x: Any) -> list[tuple[Any, Any]]:
    """Return the pairs (training rows, test rows) of a splitter or an iterable."""
    if isinstance(cv, str):
        raise InputError(f"{_EXPECTED}, got {cv!r}.")
    try:
        if callable(getattr(cv, "split", None)):
            cv = list(cv.split(np.zeros((count, 1)) if x is None else x, y))
        pairs = [tuple(pair) for pair in cv]
    except TypeError:
        raise InputError(f"{_EXPECTED}, got {cv!r}.") from None
    except ValueError as error:  # what splitters of scikit-learn raise
        raise InputError(
            f"cv={cv!r} makes no folds of these rows: {str(error).rstrip('.')}. Where it needs "
            "groups, give its pairs: cv=[*splitter.split(x, y, groups)]."
        ) from None
    if not pairs:
        raise InputError(
            f"{_EXPECTED}, and there is no pair: an iterator that has been used once is empty, so "
            "make a list of it."
        )
    if any(len(pair) != 2 for pair in pairs):
        raise InputError(f"{_EXPECTED}.")
    return pairs


def read_rows(name: str, rows: Any, count: int) -> Rows:
    """Return row numbers (n,) from row numbers, which may repeat, or from a mask (N,).

    Raises
    ------
    InputError
        They are no such numbers, or there are none.
    """
    try:
        given = np.asarray(on_host(name, rows))
    except ValueError:
        given = np.empty((0, 0))
    if given.dtype == bool:
        if given.shape != (count,):
            raise InputError(f"{name}: a mask must have a truth for each of the {count} rows.")
        given = np.flatnonzero(given)
    if given.ndim != 1 or given.dtype.kind not in "iu" or not len(given):
        raise InputError(f"{name} must be row numbers, or a mask, and at least one of them.")
    if given.min() < 0 or given.max() >= count:
        raise InputError(
            f"{name} must be from 0 to {count - 1}, got {given.min()} to {given.max()}."
        )
    return given.astype(np.int64, copy=False)


def _require_classes(fold: Fold, labels: Any, number: int) -> None:
    """Raise `InputError` if the training rows of a fold lack a class that is tested."""
    if labels is None:
        return
    train, test = (np.unique(labels[rows]) for rows in fold)
    lacking = np.setdiff1d(test, train)
    if len(lacking):
        raise InputError(
            f"fold {number} has no row of the class {lacking[0].item()!r} to train on: give fewer "
            "folds, or more rows of that class."
        )
    if len(train) < 2:
        raise InputError(
            f"fold {number} trains on rows of one class alone, {train[0].item()!r}: give folds "
            "that have their share of each class, such as cv=5."
        )


def labels_of(y: Any, *, classifies: bool) -> Any:
    """Return the classes (N,) of targets, or None where they are none, such as probabilities."""
    if not classifies:
        return None
    values = np.array(y.values)[y.codes] if isinstance(y, Texts) else np.asarray(y)
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim != 1:
        return None
    if values.dtype == object and not all(isinstance(value, str) for value in values):
        try:
            values = values.astype(np.float64)
        except (TypeError, ValueError):
            return None  # training says what is wrong with them
    if values.dtype.kind == "f" and not (np.isfinite(values) & (values == np.floor(values))).all():
        return None
    return values
