"""What data-parallel training learns of all rows, added up over the parts in one order."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fastnet.distributed import rows as parted
from fastnet.distributed.group import Group
from fastnet.distributed.sums import in_order
from fastnet.nn import metrics as metric_table
from fastnet.nn.batch import Batch
from fastnet.preprocessing import validation, weights
from fastnet.preprocessing.base import Passthrough, Preprocessor
from fastnet.preprocessing.learn import scaled_target
from fastnet.preprocessing.samples import Samples
from fastnet.preprocessing.scaler import Scaler
from fastnet.preprocessing.statistics import Moments
from fastnet.preprocessing.target import TableTarget
from fastnet.preprocessing.weights import ClassTotals, ClassWeight
from fastnet.training import reach
from fastnet.training.checkpoints import fingerprint
from fastnet.training.data_parallel.rows import Encoding
from fastnet.training.evaluation import EvaluationSet
from fastnet.training.fit import FitOptions

Array = NDArray[Any]

_PIECE_ROWS: Final = 2**16
"""Moments are added up so many rows at a time, which bounds the memory."""


def moments(
    group: Group, parts: Iterable[tuple[Array, Array | None]], before: Moments | None = None
) -> Moments:
    """Return the moments of the rows of all parts, added up in the order of the parts."""
    own = [_moments_of(values, weight) for values, weight in parts]
    matrices = group.by_part(np.stack([moments.matrix() for moments in own]))
    totals = group.by_part(np.array([[moments.weight] for moments in own]))[:, 0]
    total = before or Moments()
    for weight, matrix in zip(totals.tolist(), matrices, strict=True):
        total = total.with_others(Moments.of_matrix(weight, matrix))
    return total


def _moments_of(values: Array, weight: Array | None) -> Moments:
    made = Moments()
    for start in range(0, len(values), _PIECE_ROWS):
        piece = slice(start, start + _PIECE_ROWS)
        made = made.plus(values[piece], None if weight is None else weight[piece])
    return made


def learned(
    options: FitOptions, group: Group, how: Encoding, before: Preprocessor, parts: list[Batch]
) -> Preprocessor:
    """Return the preprocessor with the scales of the training rows."""
    if not (how.inputs or how.targets):
        return before
    assert isinstance(before, Passthrough | Scaler)
    target = before.target
    if how.targets:
        found = moments(group, [(targets(rows), rows.weight) for rows in parts])
        deviation = np.sqrt(found.variance)
        target = scaled_target(target, found.mean, np.where(deviation == 0, 1.0, deviation))
    if not how.inputs or (isinstance(before, Scaler) and before.moments is None):
        return replace(before, target=target)
    earlier = before.moments if isinstance(before, Scaler) else None
    return Scaler.of(moments(group, [(rows.x, rows.weight) for rows in parts], earlier), target)


def encoded(rows: Batch, how: Encoding, preprocessor: Preprocessor, dtype: np.dtype[Any]) -> Batch:
    """Return rows by the scales that were learned, in the network's dtype."""
    if how.preprocessor is preprocessor:
        return rows
    x = rows.x
    if isinstance(preprocessor, Scaler):
        x = preprocessor.scale_rows(x, dtype)
    target, learned = rows.target, preprocessor.target
    if target is not None and how.targets:
        assert isinstance(learned, TableTarget)
        target = (target - learned.center) / learned.scale
    weight = rows.weight
    if weight is not None:
        weight = weights.rounded("sample_weight", weight, dtype, rescales=False)
    if target is not None:
        target = validation.finite("y", validation.cast(target, dtype))
    x = validation.finite("x", validation.cast(x, dtype))
    return Batch(x, rows.labels, target, weight)


def with_class_weight(
    options: FitOptions, group: Group, preprocessor: Preprocessor, parts: list[Batch]
) -> list[Batch]:
    """Return training rows with the weights of their classes."""
    values, outputs = options.class_weights(preprocessor), options.model.outputs
    if values is None:
        return parts
    if values == "balanced":
        values = _balanced(options, group, parts)
    how: dict[str, Any] = {"dtype": options.model.dtype, "piece": True}
    samples = [Samples(rows, rows.x) for rows in parts]
    return [one.with_class_weight(values, options.loss, outputs, **how).rows for one in samples]


def _balanced(options: FitOptions, group: Group, parts: list[Batch]) -> ClassWeight:
    """Return the weights of classes that give all of them the same total."""
    tables = []
    for rows in parts:
        totals = ClassTotals(options.loss, options.model.outputs)
        totals.add(rows)
        tables.append(totals.table())
    return ClassTotals.balanced_of(in_order(group.by_part(np.stack(tables))))


def warn_if_beyond(options: FitOptions, group: Group, parts: list[Batch]) -> None:
    """Warn, on rank 0, if any rank has targets that the outputs cannot reach."""
    activation = options.model.plan.output_activation.name
    beyond = any(reach.is_beyond(targets(rows), options.loss, activation) for rows in parts)
    if group.most(float(beyond)) and group.is_first:
        reach.warn_of(activation)


def evaluation(options: FitOptions, group: Group, parts: list[Batch], prefix: str) -> EvaluationSet:
    """Return rows to evaluate; every rank has the targets and weights of all of them."""
    rows = parted.joined(parts)
    targets = group.all_rows(_metric_targets(options, rows))
    weight = None if rows.weight is None else group.all_rows(rows.weight)
    placed = [options.model.backend_object.place(part) for part in parts]
    made: Any = parted.PartedRows(placed, len(targets))
    return EvaluationSet(made, targets, weight, prefix)


def majority(
    options: FitOptions, group: Group, parts: list[Batch], evaluated: EvaluationSet | None
) -> tuple[int, float] | None:
    """Return the most frequent class of the rows that are scored, and its share."""
    if evaluated is not None:
        return metric_table.majority(evaluated.targets, evaluated.weight)
    classes = max(2, options.model.outputs)
    counts = [
        metric_table.counts(_metric_targets(options, rows), rows.weight, classes) for rows in parts
    ]
    if any(one is None for one in counts):
        return None
    return metric_table.majority_of(in_order(group.by_part(np.stack(counts))))  # type: ignore[arg-type]


def targets(rows: Batch) -> Array:
    """Return the targets of the loss: labels (N,), or (N, T)."""
    values = rows.labels if rows.target is None else rows.target
    assert values is not None
    return np.asarray(values)


def _metric_targets(options: FitOptions, rows: Batch) -> Array:
    """Return the targets for metrics: labels (N,), or (N, T)."""
    if rows.target is not None and options.loss.name == "cross_entropy":
        return np.asarray(np.argmax(rows.target, axis=1))
    return targets(rows)


def fingerprint_of(group: Group, parts: list[Batch] | None, prefix: str = "") -> dict[str, Any]:
    """Return the fingerprint of the rows of all parts."""
    if parts is None:
        return fingerprint.of_rows(None, prefix)
    own = [fingerprint.of_rows(rows) for rows in parts]
    everyone = [one for of_rank in group.values(own) for one in of_rank]
    return {prefix + name: [one[name] for one in everyone] for name in everyone[0]}
