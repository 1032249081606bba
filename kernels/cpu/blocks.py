"""Matrix products whose factors leave the caches: from packed copies, in blocks of k.

In place, rows of a panel of B are a row of the matrix apart, 8 KB for 2048 columns in float32: they
fall into few sets of the caches, and each into a page of its own. Here each panel is copied to
where its rows follow one another, and a transposed A is turned. k goes in blocks, so that a panel
stays in the second level of the cache. From block to block sums go on in C, in the precision that
they have in registers: each element is the same chain of multiply-adds as in `gemm`, so its bits
are the same.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import carray

from fastnet.kernels.cpu.frame import copy, vector
from fastnet.kernels.cpu.gemm import make_gemm, panel_width, transpose
from fastnet.kernels.cpu.jit import entry, inner
from fastnet.kernels.cpu.microkernel import WIDEST
from fastnet.kernels.cpu.vectors import lanes_of

_add_product = make_gemm(on=True)

# Of NumPy's types: Numba compiles a function anew for every literal argument.
_ZERO, _ONE = np.int64(0), np.int64(1)

_CHUNK, _SLIM = np.int64(2**18), np.int64(2**11)
"""`in_place` goes through so many bytes of both factors at once, which stay in the second level of
the cache, where a row of both has at most so many (128 rows at least)."""


@entry
def blocked(
    element: Any,
    c: Any,
    ldc: Any,
    a: Any,
    row_stride: Any,
    column_stride: Any,
    b: Any,
    b_row_stride: Any,
    b_column_stride: Any,
    m: Any,
    n: Any,
    k: Any,
    bias: Any,
    relu: Any,
    where: Any,
    room: Any,
    room_size: Any,
    depth: Any,
) -> None:
    """Write what `gemm` does; B has two strides, one of A's and one of B's are 1.

    `element` is any pointer to the dtype. `room` is the address of `room_size` elements: if A's
    columns are contiguous, for a panel of B of `depth` rows and some turned columns, else for a
    panel twice as deep. k is not 0. Gradients of small weights, whose k is the batch, need none
    of these copies (`in_place`).
    """
    like = carray(element, (1,))
    size, wide = like.itemsize, WIDEST * lanes_of(like)
    both = (m + n) * size
    # With a single column both strides of A are 1, and it is no gradient.
    if column_stride != 1 and b_column_stride == 1 and both <= _SLIM:
        depth = min(depth, _CHUNK // both)
        in_place(like, c, ldc, a, column_stride, b, b_row_stride, m, n, k, depth)
        return
    turned = room + depth * wide * size
    rows = room_size // depth - wide
    if column_stride == 1:
        depth, rows = 2 * depth, m
    for p in range(0, k, depth):
        here = min(depth, k - p)
        ends = p + here == k
        for i in range(0, m, rows):
            height = min(rows, m - i)
            source, stride = a + (i * row_stride + p * column_stride) * size, row_stride
            if column_stride != 1:
                transpose(like, turned, here, source, column_stride, here, height)
                source, stride = turned, here
            j = 0
            while j < n:
                width = panel_width(like, n - j)
                first = b + (p * b_row_stride + j * b_column_stride) * size
                if b_column_stride != 1:
                    transpose(like, room, wide, first, b_column_stride, width, here)
                else:
                    copy_rows(like, room, wide, first, b_row_stride, here, width)
                place = (i * ldc + j) * size
                if p == 0:
                    # A bias is a row that repeats: its stride is 0.
                    row = bias + j * size if bias != 0 else _ZERO
                    copy_rows(like, c + place, ldc, row, _ZERO, height, width)
                _add_product(
                    like, c + place, ldc, source, stride, _ONE, room, wide, height, width, here,
                    _ZERO, relu if ends else _ZERO, where + place if ends and where != 0 else _ZERO,
                )  # fmt: skip
                j += width


@inner
def in_place(
    like: Any, c: Any, ldc: Any, a: Any, lda: Any, b: Any, ldb: Any, m: Any, n: Any, k: Any,
    depth: Any,
) -> None:  # fmt: skip
    """Write ``C (m, n) = A (k, m).T @ B (k, n)``, `depth` rows of both at a time."""
    size = like.itemsize
    copy_rows(like, c, ldc, _ZERO, _ZERO, m, n)
    for p in range(0, k, depth):
        left, right = a + p * lda * size, b + p * ldb * size
        here = min(depth, k - p)
        _add_product(like, c, ldc, left, _ONE, lda, right, ldb, m, n, here, _ZERO, _ZERO, _ZERO)


@inner
def copy_rows(like: Any, out: Any, ldo: Any, a: Any, lda: Any, rows: Any, columns: Any) -> None:
    """Write a (rows, columns) to out, both given by address; 0 for `a` means zeros."""
    size = like.itemsize
    for i in range(rows):
        row = vector(like, out + i * ldo * size, columns)
        if a != 0:
            copy(row, vector(like, a + i * lda * size, columns))
        else:
            row[:] = 0
