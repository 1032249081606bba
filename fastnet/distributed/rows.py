"""Rows of all ranks, cut into parts: each rank gets those of its parts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnet.distributed import parts as parts_table
from fastnet.distributed.group import Group
from fastnet.nn.batch import Batch

Array = NDArray[Any]


@dataclass(frozen=True)
class PartedRows:
    """The rows of this rank's parts, as `Engine` methods take rows; the length is that of all.

    Attributes
    ----------
    parts : list of Batch
        In order. Some may be empty, where there are fewer rows than parts.
    count : int
        N, the number of rows of all ranks.
    """

    parts: list[Batch]
    count: int

    def __len__(self) -> int:
        return self.count


def balanced(group: Group, rows: Batch) -> tuple[Batch, int]:
    """Return the rows of this rank's parts, and the number of all rows.

    The rows of all ranks count one after the other; what a rank has too many goes to those whose
    parts it belongs to.
    """
    counts = group.announce("rows", [len(rows)])[:, 0].astype(np.int64)
    before = np.concatenate([[0], np.cumsum(counts)])
    count = int(before[-1])
    starts = parts_table.starts(count, group.parts)
    held = [parts_table.parts_of(rank, group.size, group.parts) for rank in range(group.size)]
    after = starts[[0, *(one.stop for one in held)]]
    if np.array_equal(before, after):
        return rows, count
    rank = group.rank
    sent = _overlaps(int(before[rank]), int(before[rank + 1]), after)
    received = _overlaps(int(after[rank]), int(after[rank + 1]), before)
    with group.busy():
        moved = list[Array | None]()
        for values in rows.fields:
            if values is None:
                moved.append(None)
                continue
            made = np.empty((sum(received), *values.shape[1:]), values.dtype)
            width = int(np.prod(values.shape[1:]))
            here = np.ascontiguousarray(values)
            elements = [[n * width for n in numbers] for numbers in (sent, received)]
            group.communicator.exchange(here, elements[0], made, elements[1])
            moved.append(made)
    return Batch(*moved), count


def cut(group: Group, rows: Batch, count: int) -> list[Batch]:
    """Return this rank's parts of the rows that `balanced` returned, as views."""
    starts = parts_table.starts(count, group.parts)
    first = int(starts[group.held.start])
    bounds = [(int(starts[part]) - first, int(starts[part + 1]) - first) for part in group.held]
    return [rows.part(start, stop) for start, stop in bounds]


def joined(parts: list[Batch]) -> Batch:
    """Return the rows of some parts in one batch."""
    columns = zip(*(part.fields for part in parts), strict=True)
    return Batch(*(None if column[0] is None else np.concatenate(column) for column in columns))


def _overlaps(start: int, stop: int, bounds: NDArray[np.int64]) -> list[int]:
    """Return how many of the rows from `start` to `stop` lie within each pair of bounds."""
    low, high = np.clip(bounds[:-1], start, stop), np.clip(bounds[1:], start, stop)
    return (high - low).astype(int).tolist()  # type: ignore[no-any-return]
