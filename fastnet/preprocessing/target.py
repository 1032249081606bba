"""`TableTarget`: the names, the encoding and the scale of a table's targets."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastnet.data.columns import no_column
from fastnet.data.frame import Frame
from fastnet.data.labels import check_task, encode_labels, infer_labels
from fastnet.data.places import row_number
from fastnet.data.text import Texts
from fastnet.data.values import Values, column_of, known_texts, numbers_of, read_texts
from fastnet.errors import DataError, InputError
from fastnet.nn.losses import GaussianNLL, Loss
from fastnet.nn.metrics import Metric
from fastnet.preprocessing.samples import counted_rows
from fastnet.preprocessing.statistics import mean_and_scale
from fastnet.utils.device_arrays import is_on_gpu, on_host
from fastnet.utils.param_validation import refuse_masked

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class TableTarget:
    """The targets of a table.

    Attributes
    ----------
    names : tuple of str
        Names of the target columns; empty if the targets were not in the table.
    labels : tuple of str, or None
        The classes; None for numbers.
    center, scale : (T,) float64
        The scaled targets are ``(y - center) / scale``; empty for classes.
    """

    names: tuple[str, ...]
    labels: tuple[str, ...] | None
    center: NDArray[np.float64]
    scale: NDArray[np.float64]

    def __post_init__(self) -> None:
        """Check the values, which may come from a hostile file."""
        labels = self.labels
        if labels is not None and (not labels or len(set(labels)) != len(labels)):
            raise DataError("the table's target: expected label names that are all different.")
        if len(set(self.names)) != len(self.names):
            raise DataError("the table's target: a name is there twice.")
        if self.center.ndim != 1 or self.center.shape != self.scale.shape:
            raise DataError("the table's target: center and scale differ in shape.")
        if bool(len(self.center)) == (labels is not None):
            raise DataError("the table's target: expected a scale of exactly what is a number.")
        if not np.isfinite([self.center, self.scale]).all() or not (self.scale > 0).all():
            raise DataError("the table's target: expected finite numbers and positive scales.")

    @property
    def task(self) -> Literal["classification", "regression"]:
        """The task for this target."""
        return "regression" if self.labels is None else "classification"

    @cached_property
    def is_scaled(self) -> bool:
        """Whether the targets are scaled."""
        return bool((self.center != 0).any() or (self.scale != 1).any())

    @classmethod
    def plain(
        cls, names: tuple[str, ...], labels: tuple[str, ...] | None = None, columns: int = 1
    ) -> TableTarget:
        """Return the target for classes, or for numbers without scaling."""
        count = 0 if labels is not None else columns
        return cls(names, labels, np.zeros(count), np.ones(count))

    def unscaled(self) -> TableTarget:
        """Return the same target without scaling."""
        return TableTarget.plain(self.names, self.labels, len(self.center))

    @classmethod
    def learn(
        cls,
        y: Any,
        names: tuple[str, ...] = (),
        task: Literal["auto", "classification", "regression"] = "auto",
        rows: NDArray[np.intp] | None = None,
        sample_weight: ArrayLike | None = None,
        source: str = "the table",
    ) -> TableTarget:
        """Return the target for the values of training rows.

        Parameters
        ----------
        y : (N,) numbers or strings, or (N, T) numbers
        task : {"auto", "classification", "regression"}
            With "auto", texts, truths and integers with at most 20 different values are classes.
        rows : (M,) intp, optional
            The rows for the scales; labels come from all rows.
        sample_weight : (N,), optional
            Weights of the rows in the scales.
        source : str
            What messages call the rows.

        Raises
        ------
        DataError
            There is one class only, or a value is missing or no number.
        """
        check_task(task)
        name = names[0] if names else "target"
        columns = target_columns(y, name)
        if len(columns) == 1:
            given = columns[0]
            if isinstance(given, Texts) and given.origin == "cells" and task != "classification":
                given = read_texts(given, name, source)
            texts_or_numbers = _complete(given, name, source)
            labels = infer_labels(texts_or_numbers, task, source, name)
            if labels is not None:
                if len(labels) == 1:
                    raise DataError(
                        f"the target {name!r} has one class only, {labels[0]!r}: there is nothing "
                        "to learn."
                    )
                return cls(names, labels, np.zeros(0), np.zeros(0))
        elif task == "classification":
            raise InputError(f"classification needs one target column, got {len(columns)}.")
        matrix = _numbers(columns, name, source)
        rows, times = counted_rows(len(matrix), rows, sample_weight)
        matrix = matrix if rows is None else matrix[rows]
        mean, scale = mean_and_scale(matrix, times)
        if not np.isfinite([mean, scale]).all():
            raise DataError(
                f"{source}: the target {name!r} is too large to be scaled: its deviation is not "
                "finite in float64."
            )
        return cls(names, None, mean, scale)

    def encode(self, y: Any, source: str = "the table") -> Array:
        """Return class indices (N,) int64, or scaled targets (N, T) float64.

        Messages call the rows `source`.

        Raises
        ------
        DataError
            A label is unknown (the message has it and its row), or a value is missing, no number,
            or beyond float64 after scaling.
        """
        name = self.names[0] if self.names else "target"
        columns = target_columns(y, name)
        if self.labels is not None:
            if len(columns) != 1:
                raise DataError(f"expected one column of labels, got {len(columns)}.")
            return encode_labels(
                _complete(columns[0], name, source, self.labels), self.labels, source, name
            )
        matrix = _numbers(columns, name, source)
        if matrix.shape[1] != len(self.center):
            raise DataError(f"expected {len(self.center)} target columns, got {matrix.shape[1]}.")
        with np.errstate(over="ignore"):
            scaled: Array = (matrix - self.center) / self.scale
        if not np.isfinite(scaled).all():
            row = row_number(source, int(np.argmax(~np.isfinite(scaled).all(axis=1))))
            raise DataError(f"{source}: the target {name!r} is too far from its mean in row {row}.")
        return scaled

    def decode(self, values: Any, loss: Loss | None = None) -> Any:
        """Return targets, or a network's outputs, (..., O) in the unit of the targets.

        Classes are returned unchanged.

        Parameters
        ----------
        loss : Loss, optional
            The loss of the training, which gives outputs their meaning; see `units`.
        """
        given: Any = values if is_on_gpu(values) else np.asarray(values)
        if self.labels is not None or not self.is_scaled:
            return given
        how = self.units(given.shape[-1], loss)
        factor, shift = (np.asarray(part, like=given) for part in how)
        # In float64: a target with a large offset would lose its digits.
        return given * factor + shift

    def scaled(self, outputs: Array, loss: Loss | None = None) -> Array:
        """Return what `decode` makes these outputs (..., O) of; of classes, the outputs."""
        if self.labels is not None or not self.is_scaled:
            return outputs
        factor, shift = self.units(outputs.shape[-1], loss)
        return (outputs - shift) / factor

    def metrics_in_units(
        self, metrics: list[tuple[str, Metric]], loss: Loss
    ) -> list[tuple[str, Metric]]:
        """Return metrics that decode targets and outputs first; `loss` is that of the training."""
        if self.labels is not None or not self.is_scaled:
            return metrics

        def on_decoded(metric: Metric) -> Metric:
            return lambda targets, output, weight: metric(
                self.decode(targets), self.decode(output, loss), weight
            )

        return [(name, on_decoded(metric)) for name, metric in metrics]

    def description(self) -> tuple[dict[str, Any], dict[str, NDArray[np.float64]]]:
        """Return names and labels as JSON values, and the scale as arrays."""
        labels = None if self.labels is None else list(self.labels)
        arrays = {"target_center": self.center, "target_scale": self.scale}
        return {"names": list(self.names), "labels": labels}, arrays

    def units(self, outputs: int, loss: Loss | None = None) -> tuple[Array, Array]:
        """Return the factor and the shift (O,) from scaled outputs to the targets' unit.

        O is a multiple of T, as quantiles are. After `GaussianNLL` the second half are logarithms
        of variances: ``log_variance + 2 log(scale)``.
        """
        if isinstance(loss, GaussianNLL):
            factor = np.concatenate([self.scale, np.ones_like(self.scale)])
            return factor, np.concatenate([self.center, 2.0 * np.log(self.scale)])
        times = outputs // len(self.center)
        return np.tile(self.scale, times), np.tile(self.center, times)


def split_target(frame: Frame, target: Any) -> tuple[Frame, tuple[str, ...], Any]:
    """Return the frame without its target columns, their names, and the target's values.

    Raises
    ------
    DataError
        There is no such column; the message has the most similar name.
    """
    names = (target,) if isinstance(target, str) else target
    several = isinstance(names, list | tuple) and names
    if not several or not all(isinstance(name, str) for name in names) or not frame.columns:
        return frame, (), target
    if not isinstance(target, str) and len(names) == len(frame) and names[0] not in frame.columns:
        return frame, (), target  # a list of labels
    for name in names:
        if name not in frame.columns:
            raise no_column(frame.source, name, frame.columns)
    columns = [frame.columns[name] for name in names]
    values = columns[0] if len(columns) == 1 else columns
    return frame.without(names), tuple(names), values


def axes_of(y: Any, names: tuple[str, ...] = ()) -> int:
    """Return 1 for targets (N,) or the name of one column, 2 for (N, T) or a list of names.

    Parameters
    ----------
    names : tuple of str
        Names of the target columns of a table: a list of texts is of labels unless these are they.
    """
    if isinstance(y, str | Texts):
        return 1
    if isinstance(y, list | tuple):
        if not y or (all(isinstance(part, str) for part in y) and tuple(y) == names):
            return 2
        first = y[0]
        return 2 if isinstance(first, Texts) or np.ndim(first) else 1
    shape = getattr(y, "shape", None)
    return 1 if (np.ndim(y) if shape is None else len(shape)) == 1 else 2


def by_row(y: Any) -> Any:
    """Return targets (N,) or (N, T) whose rows are taken by number; a series takes its labels."""
    if isinstance(y, list | tuple) and y and all(isinstance(p, Texts | np.ndarray) for p in y):
        return y[0] if len(y) == 1 else np.stack([np.asarray(part) for part in y], axis=1)
    if hasattr(y, "to_list") and not hasattr(y, "to_numpy"):
        y = y.to_list()
    return y if isinstance(y, Texts) else np.asarray(on_host("y", y))


def target_columns(y: Any, name: str) -> list[Values]:
    """Return the columns of any array-like, series or frame."""
    refuse_masked(f"the target {name!r}", y)
    y = on_host(f"the target {name!r}", y)
    if isinstance(y, Texts):
        return [y]
    if isinstance(y, list | tuple) and all(isinstance(part, Texts | np.ndarray) for part in y):
        return list(y)
    if hasattr(y, "to_list") and not hasattr(y, "to_numpy"):
        y = y.to_list()
    array = np.asarray(y)
    if array.ndim == 1:
        return [column_of(array, name)]
    if array.ndim == 2 and array.shape[1]:
        return [column_of(part, name) for part in array.T]
    raise InputError(f"the target must have the shape (N,) or (N, T), got {array.shape}.")


def _complete(column: Values, name: str, source: str, labels: tuple[str, ...] = ()) -> Values:
    """Return a column; raise `DataError` naming its first row without a value.

    A cell such as "NA" is a value if it is one of the `labels`.
    """
    if isinstance(column, Texts):
        column = known_texts(column, labels)
        gaps = column.codes < 0
    else:
        gaps = np.isnat(column) if column.dtype.kind == "M" else np.isnan(column)
    if gaps.any():
        row = row_number(source, int(np.argmax(gaps)))
        raise DataError(
            f"{source}: the target {name!r} is missing in row {row}: leave such rows out."
        )
    return column


def _numbers(columns: list[Values], name: str, source: str) -> NDArray[np.float64]:
    parts = [_complete(column, name, source) for column in columns]
    return np.stack([numbers_of(part, name, source) for part in parts], axis=1)
