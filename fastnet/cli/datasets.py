"""What the commands know of data, wherever its rows are: in memory, in a table or in a file."""

from __future__ import annotations

from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from fastnet.data import Chunks, Dataset, TableSchema
from fastnet.data.dataset import Part
from fastnet.data.frame import Inputs


class AnyDataset(Protocol):
    """A `Dataset`, a `TableDataset` or a `ChunkDataset`.

    Attributes
    ----------
    x, answers
        What ``fit`` takes as x and y.
    y : array or None
        Class indices (N,), or numbers in their unit; None where there are none in memory.
    at_hand : int
        How many rows can be looked at without reading the whole of a large file.
    """

    @property
    def name(self) -> str: ...
    @property
    def x(self) -> Inputs | Chunks: ...
    @property
    def answers(self) -> Any: ...
    @property
    def y(self) -> NDArray[Any] | None: ...
    @property
    def task(self) -> Literal["classification", "regression"] | None: ...
    @property
    def label_names(self) -> tuple[str, ...] | None: ...
    @property
    def classes(self) -> int | None: ...
    @property
    def rows(self) -> int: ...
    @property
    def features(self) -> int: ...
    @property
    def at_hand(self) -> int: ...
    @property
    def schema(self) -> TableSchema: ...
    @property
    def test(self) -> Dataset | None: ...

    def part(self, index: slice | NDArray[np.intp]) -> Part:
        """Return some rows, which must have answers."""
        ...
