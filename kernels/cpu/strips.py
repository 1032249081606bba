"""The products of dense layers in float32 and float64, strip by strip.

Strips (``fastnet/nn/strips.py``) are the parts of a layer's weights outside of which these are 0. A
layer without blocks is one strip. The frame has the address of a table: a row for each op, which
says where its strips begin and end, and behind these rows the strips. An element of a product is a
chain of multiply-adds in the order of k, of which the ends are left out: they would add zeros.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnet.kernels.cpu.frame import integers
from fastnet.kernels.cpu.gemm import narrow_part, product, product_with_transposed
from fastnet.kernels.cpu.jit import inner
from fastnet.kernels.cpu.vectors import lanes_of

_ROW = 4 * 8  # bytes of a row of the table

# Of NumPy's types: Numba compiles a function anew for every literal argument.
_ZERO, _TRUE = np.int64(0), np.bool_(True)


@inner
def table_row(frame: Any, number: Any) -> Any:
    """Return a row of the table of strips: what ``fastnet.nn.strips.table`` writes there."""
    row = integers(frame.strips + number * _ROW, 4)
    return row[0], row[1], row[2], row[3]


@inner
def room_of(frame: Any) -> Any:
    """Return this thread's memory for products, and what `is_large` says of blocks."""
    return frame.room, frame.room_size, frame.large, frame.depth, frame.blocked


@inner
def strips_forward(
    like: Any, frame: Any, index: Any, z: Any, x: Any, w: Any, rows: Any, n: Any, k: Any,
    bias: Any, relu: Any,
) -> None:  # fmt: skip
    """Write ``z = x @ w + bias`` of a layer."""
    size, lanes = like.itemsize, lanes_of(like)
    # The order of sums is that of a product with all of w.
    wide = n - narrow_part(like, n, k, _TRUE)
    first, last, _, _ = table_row(frame, index)
    for number in range(first, last):
        i, i_end, j, j_end = table_row(frame, number)
        if j_end > wide:
            i -= i % lanes  # a dot product has a sum for each lane
        tiles = max(min(j_end, wide) - j, _ZERO)
        product(
            like, z + j * size, n, x + i * size, k, w + (i * n + j) * size, n,
            rows, j_end - j, i_end - i, tiles, bias + j * size, relu, room_of(frame),
        )  # fmt: skip


@inner
def strips_backward(
    like: Any, frame: Any, index: Any, dx: Any, dz: Any, w: Any, rows: Any, n: Any, k: Any,
    where: Any,
) -> None:  # fmt: skip
    """Write ``dx = dz @ w.T`` of a layer with n inputs; `where` as in `make_panel`."""
    size = like.itemsize
    _, _, first, last = table_row(frame, index)
    for number in range(first, last):
        i, i_end, j, j_end = table_row(frame, number)
        product_with_transposed(
            like, dx + i * size, n, dz + j * size, k, w + (i * k + j) * size, k,
            rows, i_end - i, j_end - j, where + i * size if where != 0 else _ZERO, room_of(frame),
        )  # fmt: skip
