"""Matrix products of any size from register tiles.

A dense layer needs three: ``x @ w``, ``x.T @ dz`` and ``dz @ w.T``. All are ``gemm`` with other
strides; for the last one w is transposed first, since rows of B must be contiguous.
"""

from __future__ import annotations

from typing import Any

from fastnet.kernels.cpu.jit import inner
from fastnet.kernels.cpu.memory import vector
from fastnet.kernels.cpu.microkernel import VECTOR_BYTES, WIDEST, make_panel, transpose_tile

_panel1, _panel2, _panel3, _panel4 = (make_panel(vectors) for vectors in (1, 2, 3, 4))


@inner
def gemm(
    like: Any,
    c: Any,
    ldc: Any,
    a: Any,
    row_stride: Any,
    column_stride: Any,
    b: Any,
    ldb: Any,
    m: Any,
    n: Any,
    k: Any,
    bias: Any,
    relu: Any,
) -> None:
    """Write ``C (m, n) = A (m, k) @ B (k, n) + bias (n,)``, with ReLU if `relu` is not 0.

    `c`, `a`, `b` and `bias` are addresses (`bias` 0: none), strides count elements. Rows of B and C
    are contiguous.
    """
    size = like.itemsize
    lanes = VECTOR_BYTES // size
    j = 0
    while j < n:
        left = n - j
        # As many panels as it takes, as equal as can be: 13 vectors are 4 + 3 + 3 + 3.
        needed = (left + lanes - 1) // lanes
        panels = (needed + WIDEST - 1) // WIDEST
        vectors = (needed + panels - 1) // panels
        last = min(lanes, left - (vectors - 1) * lanes)
        bj, cj = b + j * size, c + j * size
        biasj = bias + j * size if bias != 0 else 0
        if vectors == 4:
            _panel4(like, cj, ldc, a, row_stride, column_stride, bj, ldb, m, k, last, biasj, relu)
        elif vectors == 3:
            _panel3(like, cj, ldc, a, row_stride, column_stride, bj, ldb, m, k, last, biasj, relu)
        elif vectors == 2:
            _panel2(like, cj, ldc, a, row_stride, column_stride, bj, ldb, m, k, last, biasj, relu)
        else:
            _panel1(like, cj, ldc, a, row_stride, column_stride, bj, ldb, m, k, last, biasj, relu)
        j += vectors * lanes


@inner
def transpose(like: Any, out: Any, a: Any, rows: Any, columns: Any) -> None:
    """Write a (rows, columns) to out (columns, rows), both given by address."""
    size = like.itemsize
    lanes = VECTOR_BYTES // size
    i1, j1 = rows - rows % lanes, columns - columns % lanes
    for i in range(0, i1, lanes):
        for j in range(0, j1, lanes):
            transpose_tile(
                like, out + (j * rows + i) * size, rows, a + (i * columns + j) * size, columns
            )
    source, target = vector(like, a, rows * columns), vector(like, out, rows * columns)
    for i in range(rows):
        for j in range(j1 if i < i1 else 0, columns):
            target[j * rows + i] = source[i * columns + j]
