"""Which rows belong to which part of the data, and in which order parts are added up.

The N rows of all ranks, one after the other, are cut into P parts. Sums over rows are made part by
part, and the parts are added up in one fixed order. So a result depends on rows, seed and P, and
neither on the number of ranks nor on which of them holds a row.

Batches take rows of the parts in turn: row q of part p is at the place ``q * P + p`` of an epoch.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

FEWEST: Final = 4
"""Parts where nobody says how many: so 1, 2 and 4 ranks give the same bits."""

MOST: Final = 2**20

Node = tuple[int, int]
"""Parts ``first`` to ``last - 1``, whose sum is one addition of two smaller nodes or a part."""


def default_parts(ranks: int) -> int:
    """Return the least power of two that gives each rank a part, at least `FEWEST`."""
    return max(FEWEST, 1 << (ranks - 1).bit_length())


def sizes(rows: int, parts: int) -> NDArray[np.int64]:
    """Return the number of rows of each part (P,): ``ceil((rows - p) / parts)`` of part p."""
    return -(-(rows - np.arange(parts, dtype=np.int64)) // parts)


def starts(rows: int, parts: int) -> NDArray[np.int64]:
    """Return the first row of each part, and `rows` (P + 1,)."""
    return np.concatenate([[0], np.cumsum(sizes(rows, parts))])


def parts_of(rank: int, ranks: int, parts: int) -> range:
    """Return the parts of a rank, at least one where there are as many parts as ranks."""
    return range(rank * parts // ranks, (rank + 1) * parts // ranks)


def rows_of_batch(part: int, parts: int, start: int, stop: int) -> tuple[int, int]:
    """Return which rows of a part are at the places `start` to ``stop - 1`` of an epoch."""
    return -(-(start - part) // parts), -(-(stop - part) // parts)


def nodes(held: range, parts: int) -> list[Node]:
    """Return the largest nodes of the order of addition that lie within the parts of a rank."""
    return list(_within(0, parts, held))


def _within(first: int, last: int, held: range) -> Iterator[Node]:
    if held.start <= first and last <= held.stop:
        yield first, last
    elif first < held.stop and held.start < last:
        middle = halved(first, last)
        yield from _within(first, middle, held)
        yield from _within(middle, last, held)


def halved(first: int, last: int) -> int:
    """Return the part at which a node is cut into the two that are added."""
    return (first + last) // 2
