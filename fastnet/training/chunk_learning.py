"""Fitting of a table's preprocessor to `Chunks`: on rows that are spread evenly over the files.

The labels of classes come from all rows. Kinds, categories, quartiles and scales come from as many
rows as two chunks hold, or 32 MB of them. So one chunk that holds all rows gives the preprocessor
of the rows in memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final, Literal

import numpy as np

from fastnet.data.chunks import CHUNK_BYTES, NEED_TARGETS, Chunks
from fastnet.data.frame import Frame
from fastnet.data.frame_files import learned
from fastnet.data.labels import AUTO_CLASSES, require_classes
from fastnet.data.text import MAX_CATEGORIES, Texts, canonical
from fastnet.data.values import Values, read_texts
from fastnet.errors import DataError, InputError
from fastnet.nn.losses import Loss
from fastnet.nn.plan import Plan
from fastnet.preprocessing.learn import require_fit, scales_targets
from fastnet.preprocessing.table import TablePreprocessor
from fastnet.preprocessing.target import TableTarget
from fastnet.training.budget import counted_rows

Task = Literal["auto", "classification", "regression"]

_CELL_BYTES: Final = 8


def learn_chunks(
    chunks: Chunks,
    *,
    task: Task = "auto",
    seed: int = 0,
    numeric_embedding: Literal["periodic", "piecewise"] | None = None,
    scaling: Literal["robust", "standard", "none"] = "robust",
    categorical: Sequence[str] = (),
) -> TablePreprocessor:
    """Return the preprocessor of a table in chunks; see `TablePreprocessor.fit`.

    Raises
    ------
    DataError
        A column or the target is unsuitable; the message names file and row.
    """
    if not chunks.target_names:
        raise InputError(NEED_TARGETS)
    frame, targets, weight = _sample(chunks, categorical)
    target = _learn_target(chunks, targets, task, frame.source, weight)
    made = TablePreprocessor.fit(
        learned(frame, lambda names, named, source: {*categorical}),
        seed=seed,
        sample_weight=weight,
        numeric_embedding=numeric_embedding,
        scaling=scaling,
        categorical=categorical,
    )
    return replace(made, target=target, id=chunks.id, weight=chunks.weight)


def counted(chunks: Chunks) -> tuple[int, int | None]:
    """Return the rows that have a weight, and `counted_rows`, as the rows learned from tell."""
    if chunks.weight is None:
        return len(chunks), None
    weight = _sample(chunks)[2]
    assert weight is not None
    times = len(chunks) / len(weight)
    number = counted_rows(weight)
    rows = round(times * np.count_nonzero(weight))
    return rows, None if number is None else round(times * number)


def _sample(chunks: Chunks, texts: Sequence[str] = ()) -> tuple[Frame, list[Values], Any]:
    size = CHUNK_BYTES // (_CELL_BYTES * (chunks.columns + 1))
    return chunks.sample(max(2 * chunks.chunk_rows, size), texts)


def _learn_target(
    chunks: Chunks, columns: list[Values], task: Task, source: str, weight: Any
) -> TableTarget:
    names = chunks.target_names
    if len(columns) == 1 and task != "regression":
        labels = _labels(chunks, columns[0], task, source)
        if labels is not None:
            if len(labels) == 1:
                raise DataError(
                    f"{chunks.name}: the target {names[0]!r} has one class only, {labels[0]!r}: "
                    "there is nothing to learn."
                )
            return TableTarget.plain(names, labels)
        task = "regression"
    given = columns[0] if len(columns) == 1 else columns
    return TableTarget.learn(given, names, task, None, weight, source)


def _labels(chunks: Chunks, given: Values, task: Task, source: str) -> tuple[str, ...] | None:
    """Return the classes of all rows; None for regression."""
    column = (
        given if task == "classification" else read_texts(given, chunks.target_names[0], source)
    )
    if isinstance(column, Texts) or column.dtype.kind == "b":
        labels = chunks.target_texts(MAX_CATEGORIES)
    elif task == "classification" or column.dtype.kind in "iu":
        numbers = chunks.target_values(MAX_CATEGORIES if task == "classification" else AUTO_CLASSES)
        if numbers is None and task == "auto":
            return None
        labels = None if numbers is None else tuple(map(canonical, numbers.tolist()))
    else:
        return None
    if labels is None:
        raise DataError(
            f"{chunks.name}: the target {chunks.target_names[0]!r} has more than "
            f"{MAX_CATEGORIES:,} different values: expected class labels, or numbers to regress."
        )
    return require_classes(labels, len(chunks), chunks.name, chunks.target_names[0])


def learn_for(chunks: Chunks, plan: Plan, seed: int, loss: Loss) -> TablePreprocessor:
    """Return the preprocessor for a network that trains on its first table, in chunks.

    Raises
    ------
    InputError
        The table gives another number of inputs or classes than the network has.
    """
    task: Task = "classification" if loss.metric == "accuracy" else "regression"
    made = learn_chunks(chunks, task=task, seed=seed)
    target = made.target
    if target is not None and not scales_targets(loss, plan.output_activation.name):
        made = made.with_target(target.unscaled())
    require_fit(made, plan)
    return made
