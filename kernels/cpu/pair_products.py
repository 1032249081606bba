"""Matrix products of bfloat16 with float32 sums: float32 goes in, and float32 comes out.

A factor that several products share is kept in panels, which `round_panels` writes: the weights in
the two forms that forward and backward need, and the gradients of a batch's outputs. The other one
is rounded here, as many rows at a time as stay in the second level of the cache.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import carray

from fastnet.kernels.cpu.gemm import panel_width
from fastnet.kernels.cpu.jit import entry, inner
from fastnet.kernels.cpu.pair_layers import BLOCK, LANES, row_words, words_of
from fastnet.kernels.cpu.pairs import FASTEST, make_pair_panel, make_square
from fastnet.kernels.cpu.tiles import begin_tiles, end_tiles, make_tiles

# Of NumPy's types: Numba compiles a function anew for every literal argument.
_ZERO, _ONE, _TWO = np.int64(0), np.int64(1), np.int64(2)
_L, _BLOCK = np.int64(LANES), np.int64(BLOCK)

_along, _along_turned = (
    make_square(FASTEST, along=True, turned=turned) for turned in (False, True)
)
_down, _down_turned = (make_square(FASTEST, along=False, turned=turned) for turned in (False, True))


def make_dots(kind: Any) -> Any:
    """Return the sums by dot products of pairs; A lies in rows, `row_words` apart.

    ``multiply(like, c, ldc, a, panels, words, m, n, k, bias, relu, where)`` writes
    ``C (m, n) = A (m, k) @ B (k, n) + bias``; panels have `words` lines. The rest is as in
    `make_panel`.
    """
    panel1, panel2, panel3, panel4 = (make_pair_panel(vectors, kind) for vectors in (1, 2, 3, 4))

    @inner
    def multiply(
        like: Any,
        c: Any,
        ldc: Any,
        a: Any,
        panels: Any,
        words: Any,
        m: Any,
        n: Any,
        k: Any,
        bias: Any,
        relu: Any,
        where: Any,
    ) -> None:
        size, pairs, stride, j = like.itemsize, (k + 1) // 2, row_words(k), 0
        while j < n:
            width = panel_width(like, n - j)
            vectors = (width + _L - 1) // _L
            last = width - (vectors - 1) * _L
            biasj = bias + j * size if bias != 0 else _ZERO
            wherej = where + j * size if where != 0 else _ZERO
            b = panels + j * words * size
            tiles = c + j * size, ldc, a, stride, _ONE, b, _L, m, pairs, last, biasj, relu, wherej
            if vectors == 4:
                panel4(like, *tiles, words * _L)
            elif vectors == 3:
                panel3(like, *tiles, words * _L)
            elif vectors == 2:
                panel2(like, *tiles, words * _L)
            else:
                panel1(like, *tiles, words * _L)
            j += width

    return multiply


_tiles11, _tiles12, _tiles21, _tiles22 = (make_tiles(r, j) for r in (1, 2) for j in (1, 2))


@inner
def _multiply_by_tiles(
    like: Any,
    c: Any,
    ldc: Any,
    a: Any,
    panels: Any,
    words: Any,
    m: Any,
    n: Any,
    k: Any,
    bias: Any,
    relu: Any,
    where: Any,
) -> None:
    """Write the same sums by tiles; A lies in panels of rows."""
    size, steps, spacing = like.itemsize, words // _L, words * _L
    begin_tiles()
    for j in range(0, n, _BLOCK):
        columns = min(_BLOCK, n - j)
        b = panels + j * words * size
        biasj = bias + j * size if bias != 0 else _ZERO
        for i in range(0, m, _BLOCK):
            rows = min(_BLOCK, m - i)
            offset = (i * ldc + j) * size
            place = where + offset if where != 0 else _ZERO
            factors = c + offset, ldc, a + i * words * size, b, spacing, steps
            rest = rows, columns, biasj, relu, place
            if rows > _L and columns > _L:
                _tiles22(like, *factors, *rest)
            elif rows > _L:
                _tiles21(like, *factors, *rest)
            elif columns > _L:
                _tiles12(like, *factors, *rest)
            else:
                _tiles11(like, *factors, *rest)
    end_tiles()


@inner
def round_rows(
    like: Any, out: Any, a: Any, lda: Any, down: Any, rows: Any, k: Any, in_rows: Any
) -> None:
    """Write `rows` rows of A from float32: rows of a, or where `down` its columns.

    They lie in rows or in panels, of which each holds L of them.
    """
    size, words = like.itemsize, words_of(k)
    stride = row_words(k) if in_rows else _L
    for i in range(0, rows, _L):
        for p in range(0, k, _BLOCK):
            word = p // _TWO
            place = out + (i * stride + word if in_rows else i * words + word * _L) * size
            if down:
                corner = a + (p * lda + i) * size
                _down_turned(like, place, stride, corner, lda, k - p, rows - i)
            else:
                corner = a + (i * lda + p) * size
                _along(like, place, stride, corner, lda, rows - i, k - p)


def make_product(multiply: Any, *, in_rows: bool) -> Any:
    """Return the body of a kernel of products, of which `multiply` computes the sums."""
    lie_in_rows = np.bool_(in_rows)

    @inner
    def compute(
        like: Any,
        c: Any,
        ldc: Any,
        a: Any,
        lda: Any,
        down: Any,
        panels: Any,
        m: Any,
        n: Any,
        k: Any,
        bias: Any,
        relu: Any,
        where: Any,
        room: Any,
        room_size: Any,
    ) -> None:
        size, words = like.itemsize, words_of(k)
        block = room_size // row_words(k) // _BLOCK * _BLOCK
        for i in range(0, m, block):
            rows = min(block, m - i)
            corner = a + (i if down else i * lda) * size
            round_rows(like, room, corner, lda, down, rows, k, lie_in_rows)
            offset = i * ldc * size
            place = where + offset if where != 0 else _ZERO
            multiply(like, c + offset, ldc, room, panels, words, rows, n, k, bias, relu, place)

    return compute


_by_dots = make_product(make_dots(FASTEST), in_rows=True)
_by_tiles = make_product(_multiply_by_tiles, in_rows=False)


@entry
def dot_product(
    element: Any,
    c: Any,
    ldc: Any,
    a: Any,
    lda: Any,
    down: Any,
    panels: Any,
    m: Any,
    n: Any,
    k: Any,
    bias: Any,
    relu: Any,
    where: Any,
    room: Any,
    room_size: Any,
) -> None:
    """Write ``C (m, n) = A (m, k) @ B (k, n) + bias``, A and C in float32 and B in panels.

    `element` is any pointer to float32. A is `a`, rows of k numbers, `lda` apart, or its transpose
    if `down` is not 0. `room` is the address of `room_size` words: a `BLOCK` of rows of A fits into
    them. `bias`, `relu` and `where` are as in `make_panel`.
    """
    like = carray(element, (1,))
    _by_dots(
        like, c, ldc, a, lda, down, panels, m, n, k, bias, relu, where, room, room_size
    )  # fmt: skip


@entry
def tile_product(
    element: Any,
    c: Any,
    ldc: Any,
    a: Any,
    lda: Any,
    down: Any,
    panels: Any,
    m: Any,
    n: Any,
    k: Any,
    bias: Any,
    relu: Any,
    where: Any,
    room: Any,
    room_size: Any,
) -> None:
    """Do what `dot_product` does by the instructions of AMX."""
    like = carray(element, (1,))
    _by_tiles(
        like, c, ldc, a, lda, down, panels, m, n, k, bias, relu, where, room, room_size
    )  # fmt: skip


@entry
def round_panels(
    element: Any,
    out: Any,
    words: Any,
    a: Any,
    lda: Any,
    rows: Any,
    columns: Any,
    along: Any,
) -> None:
    """Write panels of `words` lines to `out`: the pairs are in columns of a, or `along` its rows.

    In the second case a is the transpose of the factor.
    """
    like = carray(element, (1,))
    size = like.itemsize
    if along:
        for i in range(0, rows, _L):
            for j in range(0, columns, _BLOCK):
                place = out + (i * words + j // _TWO * _L) * size
                corner = a + (i * lda + j) * size
                _along_turned(like, place, _L, corner, lda, rows - i, columns - j)
    else:
        for i in range(0, rows, _BLOCK):
            for j in range(0, columns, _L):
                place = out + (j * words + i // _TWO * _L) * size
                corner = a + (i * lda + j) * size
                _down(like, place, _L, corner, lda, rows - i, columns - j)
