"""From what a user hands to ``fit`` to checked rows: training rows, validation rows, targets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol, TypeGuard

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastnet.backends.base import Backend
from fastnet.errors import InputError
from fastnet.kernels import abi
from fastnet.nn import random
from fastnet.nn.batch import Batch
from fastnet.nn.losses import Loss
from fastnet.nn.plan import Plan
from fastnet.preprocessing import validation

if TYPE_CHECKING:
    from fastnet.data import Chunks, Scaler


class Columns(Protocol):
    """A data frame of any kind."""

    @property
    def columns(self) -> Any:
        """Its columns, or their names."""


Inputs = ArrayLike | Mapping[str, Any] | Columns
"""What x may be: an array (N, I), or a table, as a data frame or a dict of columns."""


@dataclass(frozen=True)
class Samples:
    """Rows on the host, and the targets as metrics take them: labels (N,), or (N, T)."""

    rows: Batch
    targets: NDArray[Any]

    def take(self, index: NDArray[np.intp]) -> Samples:
        """Return the rows of that index."""
        fields = (None if a is None else a[index] for a in self.rows.fields)
        return Samples(Batch(*fields), self.targets[index])

    def weighted(self) -> Samples:
        """Return the rows with weight: one of weight 0 is left out, its place in a batch too."""
        weight = self.rows.weight
        if weight is None or weight.all():
            return self
        if not weight.any():
            raise InputError("no row that is left has a weight above 0.")
        return self.take(np.flatnonzero(weight))

    def scaled(self, scaler: Scaler | None, dtype: np.dtype[Any]) -> Samples:
        """Return the rows with their inputs scaled, in the network's dtype."""
        x = self.rows.x
        x = x.astype(dtype, copy=False) if scaler is None else scaler.transform(x, dtype)
        return replace(self, rows=replace(self.rows, x=x))


def check(
    plan: Plan,
    dtype: np.dtype[Any],
    loss: Loss,
    x: Any,
    y: ArrayLike,
    sample_weight: ArrayLike | None = None,
    class_weight: Mapping[int, float] | str | None = None,
    *,
    in_float64: bool = False,
    names: tuple[str, str, str] = ("x", "y", "sample_weight"),
) -> Samples:
    """Return checked rows; raise `InputError` naming the argument that does not fit.

    With `in_float64` the inputs are float64: a scaler needs the digits that float32 would drop.
    """
    values = validation.inputs(
        names[0], x, plan.inputs, np.dtype(np.float64) if in_float64 else dtype
    )
    if not len(values):
        raise InputError(f"{names[0]} is empty: there are no rows.")
    labels, target = validation.targets(names[:2], y, len(values), loss, plan.outputs, dtype)
    weight = validation.sample_weights(names[2], sample_weight, len(values), dtype)
    weight = validation.class_weights(class_weight, labels, plan.outputs, weight, dtype)
    if labels is not None:
        return Samples(Batch(values, labels, None, weight), labels)
    assert target is not None
    targets = np.argmax(target, axis=1) if loss.name == "cross_entropy" else target
    return Samples(Batch(values, None, target, weight), targets)


def inputs(plan: Plan, dtype: np.dtype[Any], scaler: Scaler | None, x: Any) -> NDArray[Any]:
    """Return checked inputs (N, I), scaled."""
    if scaler is None:
        return validation.inputs("x", x, plan.inputs, dtype)
    return scaler.transform(validation.inputs("x", x, plan.inputs, np.dtype(np.float64)), dtype)


def is_table(values: object) -> bool:
    """Tell whether something is a data frame, or a dict of columns; imports nothing."""
    if hasattr(values, "toarray"):  # a sparse matrix, of which one kind is a mapping
        return False
    if isinstance(values, Mapping):
        return True
    # Series have the protocol too; only frames have several named columns.
    if hasattr(values, "collect_schema"):  # a lazy one would compute its columns
        return True
    frame = any(hasattr(values, name) for name in ("__arrow_c_stream__", "__dataframe__"))
    return frame and (hasattr(values, "columns") or hasattr(values, "column_names"))


def is_chunks(values: object) -> TypeGuard[Chunks]:
    """Tell whether something is `fastnet.data.Chunks`; imports nothing."""
    return type(values).__name__ == "Chunks" and type(values).__module__ == "fastnet.data.chunks"


def pair(name: str, values: Any) -> tuple[Any, Any, Any]:
    """Return (x, y, weight or None) of ``(x, y)`` or ``(x, y, weight)``."""
    if not isinstance(values, tuple | list) or len(values) not in (2, 3):
        raise InputError(f"{name} must be (x, y) or (x, y, sample_weight).")
    return values[0], values[1], values[2] if len(values) == 3 else None


def split(checked: Samples, fraction: float, seed: int) -> tuple[Samples, Samples]:
    """Return training and validation rows; `fraction` of the rows, drawn by `seed`, validates."""
    train, held_out = split_index(len(checked.rows), fraction, seed)
    return checked.take(train), checked.take(held_out)


def split_index(
    count: int, fraction: float, seed: int
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return which of `count` rows `split` trains and validates on."""
    held_out = round(count * fraction)
    if not 0 < held_out < count:
        lacking = "training" if held_out else "validation"
        raise InputError(f"validation_split={fraction} of {count} rows leaves none for {lacking}.")
    order = random.permutation(count, seed=seed, epoch=0, purpose=abi.SPLIT)
    # Sorted, so that training without a shuffle sees the rows in the order they came in.
    return np.sort(order[held_out:]), np.sort(order[:held_out])


def on_backend(rows: Batch, backend: Backend) -> Batch:
    """Return the rows as arrays of the backend; on the CPU they are not copied."""
    return backend.place(rows)
