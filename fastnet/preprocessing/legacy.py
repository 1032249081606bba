"""The preprocessing of tables in version 0.1, so that its checkpoints can be resumed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fastnet.data.frame import Frame
from fastnet.data.text import Texts
from fastnet.preprocessing.columns import TableColumn, learn_columns
from fastnet.preprocessing.statistics import mean_and_scale
from fastnet.preprocessing.table import TablePreprocessor
from fastnet.preprocessing.target import TableTarget


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
