"""Computes matrix products of any size from register tiles.

A dense layer needs three: ``x @ w``, ``x.T @ dz`` and ``dz @ w.T``. All are calls of ``gemm`` with
other strides. For the last one w is transposed first, since rows of B must be contiguous. Where B
is large, `blocks` computes the same chains of multiply-adds from copies: the choice changes no bit.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from fastnet.kernels.cpu.dots import make_dots
from fastnet.kernels.cpu.interface import FEWEST
from fastnet.kernels.cpu.jit import call_at, inner
from fastnet.kernels.cpu.microkernel import WIDEST, make_panel, make_row
from fastnet.kernels.cpu.transpose import transpose_tile
from fastnet.kernels.cpu.vectors import lanes_of

_dots1, _dots2, _dots4 = (make_dots(columns) for columns in (1, 2, 4))

_ROW: Final = 8
"""So many vectors of a single row of C are computed at once (``fastnet bench``, `predict_one`)."""
_row = make_row(_ROW)


# Of NumPy's types: Numba compiles a function anew for every literal argument.
_ZERO, _ONE, _TWO, _FOUR = (np.int64(value) for value in (0, 1, 2, 4))
_TRUE, _FALSE = np.bool_(True), np.bool_(False)


@inner
def panel_width(like: Any, left: Any) -> Any:
    """Return how many of the `left` columns the next panel has.

    Panels are the fewest, and as equal as possible: 13 vectors are 4 + 3 + 3 + 3.
    """
    lanes = lanes_of(like)
    needed = (left + lanes - 1) // lanes
    panels = (needed + WIDEST - 1) // WIDEST
    return min(left, (needed + panels - 1) // panels * lanes)


def make_gemm(*, on: bool) -> Any:
    """Return the product of any size, or with `on` the one that adds to C.

    ``gemm(like, c, ldc, a, row_stride, column_stride, b, ldb, m, n, k, bias, relu, where)`` writes
    ``C (m, n) = A (m, k) @ B (k, n) + bias (n,)``, with ReLU if `relu` is not 0. `c`, `a`, `b`,
    `bias` and `where` are addresses (0: none of the last two), strides count elements. Rows of B
    and C are contiguous; `on` and `where` as in `make_panel`.
    """
    panel1, panel2, panel3, panel4 = (make_panel(vectors, on=on) for vectors in (1, 2, 3, 4))

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
        where: Any,
    ) -> None:
        size = like.itemsize
        lanes = lanes_of(like)
        j = 0
        while j < n:
            width = panel_width(like, n - j)
            vectors = (width + lanes - 1) // lanes
            last = width - (vectors - 1) * lanes
            bj, cj = b + j * size, c + j * size
            biasj = bias + j * size if bias != 0 else _ZERO
            wherej = where + j * size if where != 0 else _ZERO
            tiles = cj, ldc, a, row_stride, column_stride, bj, ldb, m, k, last, biasj, relu, wherej
            if vectors == 4:
                panel4(like, *tiles)
            elif vectors == 3:
                panel3(like, *tiles)
            elif vectors == 2:
                panel2(like, *tiles)
            else:
                panel1(like, *tiles)
            j += width

    return gemm


gemm = make_gemm(on=False)


@inner
def narrow_gemm(
    like: Any,
    c: Any,
    ldc: Any,
    a: Any,
    lda: Any,
    bt: Any,
    ldbt: Any,
    m: Any,
    n: Any,
    k: Any,
    bias: Any,
    relu: Any,
) -> None:
    """Write ``C (m, n) = A (m, k) @ BT (n, k).T + bias (n,)`` for few columns."""
    size = like.itemsize
    j = 0
    while j < n:
        left = n - j
        cj, btj = c + j * size, bt + j * ldbt * size
        biasj = bias + j * size if bias != 0 else _ZERO
        if left > 2 and lanes_of(like) >= 4:
            count = min(left, _FOUR)
            _dots4(like, cj, ldc, a, lda, btj, ldbt, m, count, k, biasj, relu)
        elif left >= 2:
            count = _TWO
            _dots2(like, cj, ldc, a, lda, btj, ldbt, m, count, k, biasj, relu)
        else:
            count = _ONE
            _dots1(like, cj, ldc, a, lda, btj, ldbt, m, count, k, biasj, relu)
        j += count


@inner
def transpose(like: Any, out: Any, ldo: Any, a: Any, lda: Any, rows: Any, columns: Any) -> None:
    """Write a (rows, columns) to out (columns, rows), both given by address.

    The outer loop runs over columns of tiles, so that rows of `out` are written from end to end.
    For 512 x 512 this took a third of the time (``fastnet bench --part kernels``).
    """
    size, lanes = like.itemsize, lanes_of(like)
    for j in range(0, columns, lanes):
        width = min(lanes, columns - j)
        for i in range(0, rows, lanes):
            height = min(lanes, rows - i)
            source, target = a + (i * lda + j) * size, out + (j * ldo + i) * size
            transpose_tile(like, target, ldo, source, lda, height, width, height)


@inner
def narrow_part(like: Any, n: Any, k: Any, by_dots: Any) -> Any:
    """Return how many of the last columns of C are faster as dot products or by a transpose.

    These may be all columns of up to 1 1/4 vectors, or those that fill at most a quarter of the
    last vector. Costs are in cycles for each row of C, as measured for tiles, for dot products, and
    for the transpose of a product (``fastnet bench --part kernels``). The choice may not depend on
    the number of rows: a row alone must have the same bits as in a batch.
    """
    lanes = lanes_of(like)
    quarter = lanes // 4
    few = n <= lanes + quarter
    rest = n if few else n % lanes
    if rest > quarter and not few:
        return _ZERO
    if by_dots:
        cost = (rest + 3) // 4 * (lanes + 2 * k // lanes)
    else:
        cost = lanes + rest * k // (2 * lanes)
    return rest if cost < (k if few else k // 2) else _ZERO


@inner
def is_large(m: Any, n: Any, k: Any, room: Any) -> Any:
    """Return whether `blocks` should compute a product of these sizes.

    `room` is a tuple of integers: the address and the number of elements of a thread's memory for
    products, the size of B and the depth of blocks as the frame has them, and the address of the
    kernel.
    """
    return n * k >= room[2] and m >= FEWEST


@inner
def product(
    like: Any,
    c: Any,
    ldc: Any,
    a: Any,
    lda: Any,
    b: Any,
    ldb: Any,
    m: Any,
    n: Any,
    k: Any,
    wide: Any,
    bias: Any,
    relu: Any,
    room: Any,
) -> None:
    """Write ``C (m, n) = A (m, k) @ B (k, n) + bias``; `room` holds (n, k).

    The first `wide` columns are computed by tiles, the others by dot products.
    """
    size, scratch = like.itemsize, room[0]
    if wide > 0 and is_large(m, wide, k, room):
        call_blocked((c, ldc, a, lda, _ONE, b, ldb, _ONE, m, wide, k, bias, relu, _ZERO), room)
    elif wide > 0:
        step, j = _ROW * lanes_of(like), 0
        while m == 1 and wide - j >= step:
            biasj = bias + j * size if bias != 0 else _ZERO
            _row(like, c + j * size, a, b + j * size, ldb, k, biasj, relu)
            j += step
        bj, cj = b + j * size, c + j * size
        biasj = bias + j * size if bias != 0 else _ZERO
        gemm(like, cj, ldc, a, lda, _ONE, bj, ldb, m, wide - j, k, biasj, relu, _ZERO)
    narrow = n - wide
    if narrow > 0:
        transpose(like, scratch, k, b + wide * size, ldb, k, narrow)
        biasw = bias + wide * size if bias != 0 else _ZERO
        cw = c + wide * size
        narrow_gemm(like, cw, ldc, a, lda, scratch, k, m, narrow, k, biasw, relu)


@inner
def product_with_transposed(
    like: Any,
    c: Any,
    ldc: Any,
    a: Any,
    lda: Any,
    b: Any,
    ldb: Any,
    m: Any,
    n: Any,
    k: Any,
    where: Any,
    room: Any,
) -> None:
    """Write ``C (m, n) = A (m, k) @ B (n, k).T``; `room` holds (n, k).

    `where` as in `make_panel`.
    """
    turned = room[0]
    if is_large(m, n, k, room):
        call_blocked((c, ldc, a, lda, _ONE, b, _ONE, ldb, m, n, k, _ZERO, _ZERO, where), room)
    else:
        transpose(like, turned, n, b, ldb, n, k)
        gemm(like, c, ldc, a, lda, _ONE, turned, n, m, n, k, _ZERO, _ZERO, where)


@inner
def product_of_transposed(
    like: Any,
    c: Any,
    ldc: Any,
    a: Any,
    lda: Any,
    b: Any,
    ldb: Any,
    m: Any,
    n: Any,
    k: Any,
    room: Any,
) -> None:
    """Write ``C (m, n) = A (k, m).T @ B (k, n)``; `room` holds (m, n).

    The narrow part is computed as the transpose of ``B.T @ A``, whose rows are long.
    """
    size, scratch = like.itemsize, room[0]
    narrow = narrow_part(like, n, k, _FALSE)
    wide = n - narrow
    if is_large(m, wide, k, room):
        call_blocked((c, ldc, a, _ONE, lda, b, ldb, _ONE, m, wide, k, _ZERO, _ZERO, _ZERO), room)
    else:
        gemm(like, c, ldc, a, _ONE, lda, b, ldb, m, wide, k, _ZERO, _ZERO, _ZERO)
    if narrow > 0:
        bw = b + wide * size
        gemm(like, scratch, m, bw, _ONE, ldb, a, lda, narrow, m, k, _ZERO, _ZERO, _ZERO)
        transpose(like, c + wide * size, ldc, scratch, m, narrow, m)


@inner
def call_blocked(arguments: Any, room: Any) -> None:
    """Call `blocks.blocked`, which is compiled only for networks that need it."""
    address, elements, _, depth, kernel = room
    call_at(kernel, (*arguments, address, elements, depth))
