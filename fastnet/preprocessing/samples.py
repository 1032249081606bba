"""`Samples`: checked training or validation rows on the host, and their split."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastnet.errors import InputError
from fastnet.kernels import abi
from fastnet.nn import random
from fastnet.nn.batch import Batch
from fastnet.nn.losses import Loss
from fastnet.nn.plan import Plan
from fastnet.preprocessing import validation, weights
from fastnet.preprocessing.weights import ClassWeight
from fastnet.utils.device_arrays import on_host

Array = NDArray[Any]

_NO_ROW: Final = "no row that is left has a weight above 0."


@dataclass(frozen=True)
class Samples:
    """Rows where the caller has them, with the targets for metrics: labels (N,), or (N, T).

    All of it is on the host, or on the GPU where x is.
    """

    rows: Batch
    targets: Array

    @classmethod
    def check(
        cls,
        plan: Plan,
        dtype: np.dtype[Any],
        loss: Loss,
        x: Array,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        names: tuple[str, str, str] = ("x", "y", "sample_weight"),
        piece: bool = False,
    ) -> Samples:
        """Return checked rows for inputs (N, I) that a preprocessor made.

        Parameters
        ----------
        piece : bool, default False
            Whether these are some rows of many, whose weights must keep their common scale.

        Raises
        ------
        InputError
            An argument is invalid; the message names it as in `names`.
        """
        count = len(x)
        if not count:
            raise InputError(f"{names[0]} is empty: there are no rows.")
        y, sample_weight = (beside(x, *pair) for pair in ((names[1], y), (names[2], sample_weight)))
        labels, target = validation.targets(names[:2], y, count, loss, plan.outputs, dtype)
        given = weights.check(names[2], sample_weight, count)
        weight: Array | None = None
        if given is not None:
            weight = weights.rounded(names[2], given, dtype, rescales=not piece)
        if not isinstance(x, np.ndarray):
            labels, target, weight = (_like(x, a) for a in (labels, target, weight))
        if labels is not None:
            return cls(Batch(x, labels, None, weight), labels)
        assert target is not None
        targets = np.argmax(target, axis=1) if loss.name == "cross_entropy" else target
        return cls(Batch(x, None, target, weight), targets)

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, index: NDArray[np.intp]) -> Samples:
        """Return the rows of that index."""
        fields = (None if a is None else a[index] for a in self.rows.fields)
        return Samples(Batch(*fields), self.targets[index])

    def with_class_weight(
        self,
        values: ClassWeight | None,
        loss: Loss,
        outputs: int,
        *,
        dtype: np.dtype[Any] | None = None,
        piece: bool = False,
    ) -> Samples:
        """Return training rows with their weights times those of their classes.

        Validation rows have none: their metrics are those of the rows as they come.

        Parameters
        ----------
        dtype : dtype, optional
            That of the weights; by default that of x.
        piece : bool, default False
            As for `check`.
        """
        if values is None:
            return self
        rows, how = self.rows, {"rescales": not piece}
        dtype = rows.x.dtype if dtype is None else dtype
        given = Batch(rows.x, *(on_host("y", a) for a in rows.fields[1:]))
        by_row = weights.of_classes(values, given, loss, outputs)
        made = weights.rounded("class_weight", by_row, dtype, **how)
        if given.weight is not None:
            both = made.astype(np.float64) * given.weight
            made = weights.rounded("sample_weight times class_weight", both, dtype, **how)
        return replace(self, rows=replace(rows, weight=_like(rows.x, made)))

    def weighted(self) -> Samples:
        """Return the rows without those of weight 0, so that batches hold no others."""
        weight = self.rows.weight
        if weight is None or weight.all():
            return self
        if not weight.any():
            raise InputError(_NO_ROW)
        return self.take(np.flatnonzero(weight))

    def split(self, fraction: float, seed: int) -> tuple[Samples, Samples]:
        """Return training and validation rows: `fraction` of the rows, drawn by `seed`."""
        train, held_out = split_index(len(self), fraction, seed)
        return self.take(train), self.take(held_out)


def _like(x: Array, values: Array | None) -> Array | None:
    """Return a host array where x is."""
    return (
        values
        if values is None or not isinstance(values, np.ndarray)
        else np.asarray(values, like=x)
    )


def beside(x: Array, name: str, values: Any) -> Any:
    """Return a caller's array on a GPU as it is if x is there too, else on the host."""
    return on_host(name, values) if isinstance(x, np.ndarray) else values


def split_index(
    count: int, fraction: float, seed: int
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return which of `count` rows `Samples.split` trains and validates on."""
    held_out = round(count * fraction)
    if not 0 < held_out < count:
        lacking = "training" if held_out else "validation"
        raise InputError(f"validation_split={fraction} of {count} rows leaves none for {lacking}.")
    order = random.permutation(count, seed=seed, epoch=0, purpose=abi.SPLIT)
    # Sorted, so that training without a shuffle sees the rows in the order they came in.
    return np.sort(order[held_out:]), np.sort(order[:held_out])


def training_rows(count: int, fraction: float, seed: int) -> NDArray[np.intp] | None:
    """Return the training rows of `split_index`; None for all rows."""
    return split_index(count, fraction, seed)[0] if fraction else None


def counted_rows(
    count: int, rows: NDArray[np.intp] | None, sample_weight: ArrayLike | None
) -> tuple[NDArray[np.intp] | None, weights.Weights | None]:
    """Return the rows that count, and how often (M,), at least 1; None for all rows, or once each.

    A row of the smallest positive weight counts once, one of twice that weight counts twice.

    Parameters
    ----------
    rows : (R,) intp or None
        The training rows, of `count` rows.
    sample_weight : (count,) or None
        Rows of weight 0 do not count.

    Raises
    ------
    InputError
        The weights are invalid, or no row is left.
    """
    weight = weights.check("sample_weight", on_host("sample_weight", sample_weight), count)
    if weight is None:
        return rows, None
    kept = np.arange(count) if rows is None else rows
    kept = kept[weight[kept] > 0]
    if not len(kept):
        raise InputError(_NO_ROW)
    weight, rows = weight[kept], None if len(kept) == count else kept
    low, high = float(weight.min()), float(weight.max())
    if low == high:
        return rows, None
    with np.errstate(over="ignore"):
        times = weight / low
        if not np.isfinite(times.sum()):
            raise InputError(
                f"sample_weight has weights from {low:g} to {high:g}, too far apart: give rows "
                f"that shall not count the weight 0."
            )
    return rows, times
