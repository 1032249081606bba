"""Dataset: rows ready for training, with what is needed to encode further rows alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastnet.data.frame import Inputs
from fastnet.errors import DataError
from fastnet.preprocessing.schema import TableSchema

Task = Literal["classification", "regression"]


class Part(NamedTuple):
    """Some rows: what ``evaluate`` takes as x and y, and y as class indices or numbers."""

    x: Inputs
    answers: Any
    y: NDArray[Any]


@dataclass(frozen=True, eq=False)
class Dataset:
    """Inputs and targets of one data set, and the schema that made them.

    Attributes
    ----------
    name : str
        The built-in name, or the file's name without its folder.
    x : (N, I) float32, C order
        Inputs, all finite.
    y : (N,) int64, or (N,) or (N, O) float32, or None
        Class indices 0..K-1 for classification, values for regression; None where there are none.
    task : {"classification", "regression"} or None
        None exactly where `y` is None and the schema knows no target.
    label_names : tuple of str, or None
        Name of each class, as written in the data; None unless `task` is classification.
    schema : TableSchema
        Encodes further files exactly like this one.
    test : Dataset or None
        The official test split, where the data set has one.

    Raises
    ------
    DataError
        If the arrays do not fit together.
    """

    name: str
    x: NDArray[np.float32]
    y: NDArray[Any] | None
    task: Task | None
    label_names: tuple[str, ...] | None
    schema: TableSchema
    test: Dataset | None = None

    def __post_init__(self) -> None:
        """Check that the arrays fit together."""
        if self.x.ndim != 2:
            raise DataError(f"{self.name}: expected x of shape (N, I), got {self.x.shape}.")
        if self.y is not None and len(self.y) != len(self.x):
            raise DataError(f"{self.name}: x has {len(self.x)} rows, but y has {len(self.y)}.")

    @property
    def answers(self) -> Any:
        """What ``fit`` and ``evaluate`` take as y."""
        return self.y

    def part(self, index: slice | NDArray[np.intp]) -> Part:
        """Return some rows, which must have answers."""
        if self.y is None:
            raise DataError(f"{self.name} has no answers.")
        return Part(self.x[index], self.y[index], self.y[index])

    @property
    def rows(self) -> int:
        """N, the number of rows."""
        return int(self.x.shape[0])

    @property
    def at_hand(self) -> int:
        """How many rows are in memory: all."""
        return self.rows

    @property
    def features(self) -> int:
        """I, the number of inputs of a network for this data set."""
        return int(self.x.shape[1])

    @property
    def classes(self) -> int | None:
        """K, the number of classes; None unless the task is classification."""
        return None if self.label_names is None else len(self.label_names)

    @property
    def outputs(self) -> int | None:
        """Outputs of a network for this data set: classes, or target columns; None without any."""
        return self.classes or len(self.schema.targets) or None
