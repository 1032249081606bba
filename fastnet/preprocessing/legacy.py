"""What version 0.1 learned of a table, so that a run that it began can be resumed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fastnet.data.frame import Frame
from fastnet.preprocessing.columns import TableColumn, learn_column
from fastnet.preprocessing.statistics import mean_and_scale
from fastnet.preprocessing.table import TablePreprocessor
from fastnet.preprocessing.target import TableTarget


def learn_table_of_0_1(
    frame: Frame, target: TableTarget, rows: NDArray[np.intp] | None, *, standardize: bool
) -> TablePreprocessor:
    """Return the preprocessor that does what ``fastnet train`` of version 0.1 did with a table.

    Every category has an input of 0 or 1, and numbers are rounded to float32; the mean and the
    deviation of the encoded inputs standardise them.
    """
    columns = []
    for name, values in frame.columns.items():
        learned = learn_column(name, values, frame.source)
        if learned.categories:
            learned = TableColumn(name, "categorical", learned.categories, one_hot=True)
        columns.append(learned)
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
