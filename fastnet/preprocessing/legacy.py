"""The preprocessing and weights of version 0.1, so that its checkpoints can be resumed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fastnet.data.frame import Frame
from fastnet.data.text import Texts
from fastnet.nn.losses import Loss
from fastnet.preprocessing.columns import TableColumn, learn_columns
from fastnet.preprocessing.samples import Samples
from fastnet.preprocessing.statistics import mean_and_scale
from fastnet.preprocessing.table import TablePreprocessor
from fastnet.preprocessing.target import TableTarget
from fastnet.preprocessing.weights import ClassWeight


def learn_table_of_0_1(
    frame: Frame, target: TableTarget, rows: NDArray[np.intp] | None, *, standardize: bool
) -> TablePreprocessor:
    """Fit the preprocessor that ``fastnet train`` of version 0.1 used for a table.

    Categories are one-hot encoded, and numbers are rounded to float32. The encoded inputs are then
    standardised.
    """
    texts = [name for name, values in frame.columns.items() if isinstance(values, Texts)]
    columns = [
        TableColumn(column.name, "categorical", column.categories, one_hot=True)
        if column.categories
        else column
        for column in learn_columns(frame, texts)
    ]
    levels = sum(column.levels for column in columns)
    made = TablePreprocessor(
        tuple(columns),
        np.zeros(levels),
        np.ones(levels),
        named=frame.named,
        target=target.unscaled(),
        scaling="float32",
    )
    if not standardize:
        return made
    encoded = made.transform(frame if rows is None else frame.take(rows), np.float32)
    mean, scale = mean_and_scale(encoded)
    return replace(made, center=mean, factor=scale)


def weigh_classes_as_0_1(
    samples: Samples, class_weight: ClassWeight, loss: Loss, outputs: int
) -> Samples:
    """Return all rows with class weights, before some of them are held out for validation.

    "balanced" counts all rows, whatever their weight.
    """
    weight = samples.rows.weight
    alike = replace(samples, rows=replace(samples.rows, weight=None))
    made = alike.with_class_weight(class_weight, loss, outputs)
    by_class = made.rows.weight
    both = by_class if weight is None or by_class is None else weight * by_class
    return replace(made, rows=replace(made.rows, weight=both))
