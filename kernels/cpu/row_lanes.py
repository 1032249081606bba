"""Transposed blocks of rows: one row of the batch in each lane of a vector.

Softmax and losses work along rows of 2 to 10 outputs, which would leave most lanes of a vector
empty. So they work on blocks of as many rows as a vector has lanes, stored as ``(width, lanes)``:
each row of a block is one vector. Sums over a row's outputs keep their order, whatever other rows
are in the block.
"""

from __future__ import annotations

from typing import Any

from fastnet.kernels.cpu.jit import inner
from fastnet.kernels.cpu.lanes import load, store
from fastnet.kernels.cpu.transpose import transpose_tile
from fastnet.kernels.cpu.vectors import lanes_of


@inner
def get(like: Any, block: Any, j: Any) -> Any:
    """Return row j of the block at an address."""
    lanes = lanes_of(like)
    return load(like, block + j * lanes * like.itemsize, lanes)


@inner
def put(like: Any, block: Any, j: Any, value: Any) -> None:
    """Write row j of the block at an address."""
    lanes = lanes_of(like)
    store(block + j * lanes * like.itemsize, value, lanes)


@inner
def to_block(like: Any, block: Any, rows: Any, width: Any, count: Any) -> None:
    """Write `count` rows (at most a vector's lanes) of that width to a block; other lanes are 0."""
    size, lanes = like.itemsize, lanes_of(like)
    for j in range(0, width, lanes):
        columns = min(lanes, width - j)
        target = block + j * lanes * size
        transpose_tile(like, target, lanes, rows + j * size, width, count, columns, lanes)


@inner
def from_block(like: Any, rows: Any, block: Any, width: Any, count: Any) -> None:
    """Write the first `count` lanes of a block back as rows of that width."""
    size, lanes = like.itemsize, lanes_of(like)
    for j in range(0, width, lanes):
        columns = min(lanes, width - j)
        source = block + j * lanes * size
        transpose_tile(like, rows + j * size, width, source, lanes, columns, count, columns)
