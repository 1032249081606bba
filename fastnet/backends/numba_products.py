"""The memory that a network's products need, and from which size on blocks compute them."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fastnet.kernels.cpu import native
from fastnet.kernels.cpu.interface import FEWEST
from fastnet.kernels.cpu.machine import VECTOR_BYTES

LARGE: Final = 2**20
"""Products whose B has so many bytes are computed in packed blocks.

Measured on a Xeon (AVX-512, 2 MB of second level) with 64 to 784 rows: blocks are 0.79 to 1.15
times as fast at half of it and below, 0.99 to 2.1 at one to two times, 1.7 to 3.1 from 4 MB on."""

DEPTH: Final = 1024
"""A block has so many rows of B, or twice as many where A is not turned.

With vectors of 512 bits a panel of them takes 256 KB or 512 KB. Measured with 512, 1024, 2048 rows:
forward of 4096 units 139, 149, 158 GFLOP/s; gradient of the weights of 784-128 over 10,000 rows,
for which A is turned, 134, 134, 117."""

LEAST_ROOM: Final = 2**21
"""Blocks need so many bytes for each thread: a panel, and 448 turned columns of A in float32."""

_NEVER: Final = 2**62


def blocked_for(dtype: Any) -> int:
    """Return the address of the kernel of large products for a dtype, compiled or loaded."""
    return native.kernel("blocked", dtype).address


def settings(table: NDArray[np.int64], dtype: Any, rows: int) -> dict[str, int]:
    """Return what frames hold of products with batches of so many rows.

    If one of them is large, its kernel is compiled, or loaded from the cache. `table` has the
    strips (n, 4) that products work on.
    """
    size = np.dtype(dtype).itemsize
    inputs, outputs = table[:, 1] - table[:, 0], table[:, 3] - table[:, 2]
    # Columns that become dot products have rows that begin at a multiple of a vector.
    lanes = VECTOR_BYTES // size
    room = int((inputs * outputs).max()) + 2 * lanes * lanes
    # B is the weights, or the gradient of a batch's outputs.
    weights = inputs * outputs * (rows >= FEWEST)
    largest = np.maximum(weights, rows * outputs * (inputs >= FEWEST)).max()
    large, blocked = _NEVER, 0
    if largest * size >= LARGE:
        room = max(room, LEAST_ROOM // size)
        large, blocked = LARGE // size, blocked_for(dtype)
    return {"room_size": room, "large": large, "depth": DEPTH, "blocked": blocked}
