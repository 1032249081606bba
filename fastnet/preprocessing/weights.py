"""Weights of rows: their checks, their scale, and the weights of classes.

Only the ratios of weights matter: a loss is ``sum(weight * row_loss) / sum(weight)``. So weights
that are so large or small that the arithmetic of the network's dtype could not hold them are
multiplied by a power of two, which changes no digit of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastnet.data.places import row_number
from fastnet.data.text import is_number, matcher
from fastnet.data.values import word
from fastnet.errors import InputError, suggest
from fastnet.nn.batch import Batch
from fastnet.nn.losses import Loss
from fastnet.preprocessing import validation
from fastnet.utils.param_validation import check_float, check_int, plain

Array = NDArray[Any]
Weights = NDArray[np.float64]

ClassWeight = Mapping[Any, float] | Sequence[Mapping[Any, float]] | str
"""A weight for each class, or one such table for each of several outputs, or ``"balanced"``."""


def check(name: str, values: ArrayLike | None, rows: int) -> Weights | None:
    """Return sample weights (N,) in float64: finite, at least 0, and not all 0."""
    if values is None:
        return None
    array = validation.numeric(name, values)
    if array.shape != (rows,):
        raise InputError(f"{name} must have the shape ({rows},), got {array.shape}.")
    weight: Weights = validation.finite(name, validation.cast(array, np.dtype(np.float64)))
    negative = np.flatnonzero(weight < 0)
    if negative.size:
        row = int(negative[0])
        place = row_number(name, row, 0)
        raise InputError(f"{name} must not be negative, got {weight[row].item():g} at row {place}.")
    if not weight.any():
        raise InputError(f"{name} is 0 everywhere: there is nothing to learn from.")
    return weight


def rounded(name: str, weight: Weights, dtype: np.dtype[Any], *, rescales: bool = True) -> Array:
    """Return weights in the network's dtype, multiplied by a power of two if that is needed.

    Weights and their products with gradients must neither overflow nor vanish, so their exponents
    may take half of the dtype's range: for float32 from 2**-60 to 2**60.

    Parameters
    ----------
    rescales : bool, default True
        False for rows in pieces, which need one scale: such weights are refused.

    Raises
    ------
    InputError
        The smallest positive weight is too small beside the largest.
    """
    positive = weight[weight > 0]
    if not positive.size:
        return weight.astype(dtype)
    low, high = float(positive.min()), float(positive.max())
    exponents = np.frexp([low, high])[1]
    most = np.finfo(dtype).maxexp // 2 - 4
    if -most <= exponents[0] and exponents[1] <= most:
        return weight.astype(dtype)
    if exponents[1] - exponents[0] > 2 * most:
        raise InputError(
            f"{name} has weights from {low:g} to {high:g}, too far apart for {dtype.name}: give "
            f"rows that shall not count the weight 0."
        )
    if not rescales:
        raise InputError(
            f"{name} has weights from {low:g} to {high:g}, expected {2.0**-most:.0e} to "
            f"{2.0**most:.0e} in {dtype.name}: multiply all of them by one number, since only "
            f"their ratios matter."
        )
    return np.ldexp(weight, -int(exponents.sum() // 2)).astype(dtype)


def by_index(
    values: ClassWeight | None, labels: tuple[str, ...] | None, *, in_targets: bool
) -> ClassWeight | None:
    """Return class weights by the index of each class instead of its label.

    Parameters
    ----------
    labels : tuple of str, or None
        The names of the classes, if known.
    in_targets : bool
        Whether the targets hold labels, so that a number is a label if labels are numbers. Else
        numbers are indices, and texts alone are labels.

    Raises
    ------
    InputError
        There is no such label, or a weight is not above 0.
    """
    if not isinstance(values, Mapping):
        return values
    for key, value in values.items():
        factor(key, value)
    if labels is None:
        return values
    match, numbers = matcher(labels), any(map(is_number, labels))

    def index_of(key: Any) -> Any:
        named = isinstance(key, str)
        if not named and not in_targets:
            return key
        readable = isinstance(plain(key), str | int | float)
        index = match(word(plain(key))) if readable else -1
        if index >= 0 or not (named or numbers):
            return index if index >= 0 else key
        raise InputError(f"class_weight: there is no class {key!r}{suggest(str(key), labels[:20])}")

    found = [(index_of(key), key, value) for key, value in values.items()]
    twice = [key for k, (index, key, _) in enumerate(found) if index in [f[0] for f in found[:k]]]
    if twice:
        raise InputError(f"class_weight has two weights of the class {twice[0]!r}.")
    return {index: value for index, _, value in found}


def of_classes(values: ClassWeight, rows: Batch, loss: Loss, outputs: int) -> Weights:
    """Return the class weight of each training row, (N,).

    ``"balanced"`` gives class k the weight ``W / (classes present * W_k)``, where W is the sum of
    the sample weights of all rows and W_k of those of the class. The weight of a row with several
    yes-or-no targets is the product of their weights.

    Raises
    ------
    InputError
        The targets are no classes, or the weights do not fit them.
    """
    columns, classes = _columns(rows, loss, outputs)
    made = np.ones(len(columns[0]))
    for column, table in zip(columns, _tables(values, len(columns)), strict=True):
        if isinstance(table, str):
            by_class = _balanced(np.bincount(column, rows.weight, classes))
        else:
            by_class = _given(table, classes)
        made *= by_class[column]
    return made


class ClassTotals:
    """The weight of each class among training rows that come in pieces, for ``"balanced"``."""

    def __init__(self, loss: Loss, outputs: int) -> None:
        self._how = loss, outputs
        self._totals: list[Weights] = []

    def add(self, rows: Batch) -> None:
        """Add the weights of some rows."""
        columns, classes = _columns(rows, *self._how)
        self._totals = self._totals or [np.zeros(classes) for _ in columns]
        for total, column in zip(self._totals, columns, strict=True):
            total += np.bincount(column, rows.weight, classes)

    def balanced(self) -> ClassWeight:
        """Return the weights that ``"balanced"`` gives all these rows."""
        return self.balanced_of(self.table())

    def table(self) -> Weights:
        """Return the weight of each class for each column of targets."""
        return np.stack(self._totals)

    @staticmethod
    def balanced_of(table: Weights) -> ClassWeight:
        """Return what `balanced` does for the sum of several tables."""
        made = [dict(enumerate(_balanced(total).tolist())) for total in table]
        return made[0] if len(made) == 1 else made


def _columns(rows: Batch, loss: Loss, outputs: int) -> tuple[list[NDArray[np.int64]], int]:
    """Return the class of each row (N,) for each column of targets, and the number of classes."""
    labels, target = rows.labels, rows.target
    binary = loss.name == "binary_cross_entropy"
    if labels is not None:
        return [labels], outputs
    if target is not None and binary and np.isin(target, (0, 1)).all():
        return list(target.T.astype(np.int64)), 2
    raise InputError(
        "class_weight needs class labels: use loss='cross_entropy' with labels, or "
        "loss='binary_cross_entropy' with targets 0 and 1."
    )


def _tables(values: ClassWeight, columns: int) -> Sequence[Mapping[int, float] | str]:
    """Return the class weights of each column of targets."""
    if isinstance(values, str):
        if values != "balanced":
            raise InputError(f"unknown class_weight {values!r}{suggest(values, ['balanced'])}")
        return [values] * columns
    if isinstance(values, Mapping):
        several: list[Any] = [values] if columns == 1 else []
    else:
        several = list(values) if isinstance(values, list | tuple) else []
    if len(several) != columns or not all(isinstance(value, Mapping) for value in several):
        wanted = "a dict" if columns == 1 else f"a list of {columns} dicts, one for each output,"
        raise InputError(f"class_weight must be {wanted} or 'balanced', got {values!r}.")
    return several


def _balanced(totals: NDArray[Any]) -> Weights:
    total = totals.astype(np.float64)
    made = np.ones(len(total))
    present = total > 0
    made[present] = total.sum() / (np.count_nonzero(present) * total[present])
    return made


def _given(values: Mapping[int, float], classes: int) -> Weights:
    table = np.ones(classes)
    for label, value in values.items():
        key = check_int("a class of class_weight", label, least=0)
        if key >= classes:
            raise InputError(f"class_weight names the class {key}, of 0 to {classes - 1}.")
        table[key] = factor(label, value)
    return table


def factor(label: Any, value: Any) -> float:
    """Return the weight of a class; refuse 0, which would leave its outputs unlearned."""
    if plain(value) == 0:
        raise InputError(
            f"class_weight[{label!r}] must be above 0, got {value!r}: to learn without a class, "
            "leave its rows out, or give them the sample weight 0."
        )
    return check_float(f"class_weight[{label!r}]", value, above=0)
