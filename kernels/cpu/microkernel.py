"""A register tile of a matrix product, as LLVM vector code.

One call computes R rows and V vectors of C while they stay in registers::

                      B   k rows, V vectors
                    +--------------------+
                    | b0  b1 .. bV-1     |   one row of B is loaded for each step of k,
                    +--------------------+
     A  R rows      C   R x V accumulators
    +-----+         +--------------------+
    | a0  |         | c00 c01 ..         |   and each accumulator takes one multiply-add:
    | ..  |         | ..                 |   c[r][v] = fma(a[r], b[v], c[r][v])
    | aR-1|         |                    |
    +-----+         +--------------------+

A is read through a row and a column stride, so a transposed A needs no packing. The last vector is
masked: any width works and nothing outside the row is touched. Sums can go on from what C holds, so
k may be cut into blocks (`blocks`). Every element of C is one chain of
multiply-adds in the order of k, whatever tile it is in. So results depend neither on the number of
rows computed together nor on the way threads share them.
"""

from __future__ import annotations

from typing import Any, Final

from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from fastnet.kernels.cpu.machine import REGISTERS
from fastnet.kernels.cpu.vectors import INT64, Vectors

# How many vectors wide a tile is at most: with 32 registers 6 x 4 accumulators fit, with 16 6 x 2.
WIDEST: Final = 4 if REGISTERS == 32 else 2

# Heights of tiles by their width in vectors. Narrow tiles are tall: that keeps enough multiply-adds
# in flight (they take 4 cycles, and two can start in each).
HEIGHTS: Final = {4: (6, 4, 2, 1), 3: (6, 4, 2, 1), 2: (6, 4, 2, 1), 1: (12, 4, 2, 1)}

# One pointer serves so many rows of A: an instruction can form the addresses base, base + stride
# and base + 2 stride, while 12 pointers for 12 rows would not fit into the address registers.
_ROWS_PER_POINTER: Final = 3


def make_panel(vectors: int, *, on: bool) -> Any:
    """Return the kernel of a panel: `m` rows of C, `vectors` vectors wide, tile after tile.

    ``panel(like, c, ldc, a, row_stride, column_stride, b, ldb, m, k, last, bias, relu, where)``
    writes ``C = A B + bias``, with negative elements set to 0 if `relu`, and those where the matrix
    at `where` (with C's leading dimension) is not positive. Addresses are integers, strides count
    elements, `last` is the width of the last vector; 0 means no `bias` and no `where`. The dtype is
    that of `like`. With `on`, sums go on from C, and there is no bias.
    """

    @intrinsic
    def panel(
        typingctx: Any,
        like: Any,
        c: Any,
        ldc: Any,
        a: Any,
        row_stride: Any,
        column_stride: Any,
        b: Any,
        ldb: Any,
        m: Any,
        k: Any,
        last: Any,
        bias: Any,
        relu: Any,
        where: Any,
    ) -> Any:
        bits = like.dtype.bitwidth

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            emit_panel(Vectors(builder, bits), vectors, on, args[1:])
            return context.get_dummy_value()

        return types.void(like, *[types.intp] * 13), codegen

    return panel


def emit_panel(v: Vectors, vectors: int, on: bool, args: Any, spacing: Any = None) -> None:
    """Emit, for each height of tile in turn: ``while i + height <= m: tile(i); i += height``.

    Vectors of a row of B follow one another, or are `spacing` elements apart.
    """
    c, ldc, a, row_stride, column_stride, b, ldb, m, k, last, bias, relu, where = args
    builder = v.builder
    clipped = builder.icmp_signed("!=", relu, INT64(0))
    whole = builder.icmp_signed("==", last, INT64(v.lanes))
    selected = builder.icmp_signed("!=", where, INT64(0))
    a, b, c, where = (v.pointer(address) for address in (a, b, c, where))
    masks = [None] * (vectors - 1) + [v.mask(last)]
    start = [] if on else _bias(v, masks, bias)
    i = cgutils.alloca_once_value(builder, INT64(0))
    for height in HEIGHTS[vectors]:
        test = builder.append_basic_block(f"rows{height}.test")
        body = builder.append_basic_block(f"rows{height}.body")
        after = builder.append_basic_block(f"rows{height}.after")
        builder.branch(test)
        builder.position_at_end(test)
        first = builder.load(i)
        end = builder.add(first, INT64(height))
        builder.cbranch(builder.icmp_signed("<=", end, m), body, after)
        builder.position_at_end(body)
        a_row = v.at(a, builder.mul(first, row_stride))
        operands = a_row, row_stride, column_stride, b, ldb, k, spacing
        row = builder.mul(first, ldc)
        tile = v.at(c, row)
        starts = _held(v, height, masks, tile, ldc) if on else [start] * height
        totals = _emit_products(v, starts, masks, operands)
        _emit_stores(v, totals, masks, (tile, ldc, whole, clipped, v.at(where, row), selected))
        builder.store(end, i)
        builder.branch(test)
        builder.position_at_end(after)


def _bias(v: Vectors, masks: list[Any], bias: Any) -> list[Any]:
    """Return what each row of the accumulators begins with: the bias, or zeros."""
    builder = v.builder
    with builder.if_else(builder.icmp_signed("!=", bias, INT64(0))) as (then, otherwise):
        with then:
            base = v.pointer(bias)
            loaded = [v.load(v.at(base, INT64(j * v.lanes)), mask) for j, mask in enumerate(masks)]
            biased = builder.block
        with otherwise:
            unbiased = builder.block
    start = []
    for value in loaded:
        phi = builder.phi(v.type)
        phi.add_incoming(value, biased)
        phi.add_incoming(v.zero, unbiased)
        start.append(phi)
    return start


def _held(v: Vectors, height: int, masks: list[Any], tile: Any, ldc: Any) -> list[list[Any]]:
    """Return what C holds in a tile, row by row."""
    rows = [v.at(tile, v.builder.mul(INT64(r), ldc)) for r in range(height)]
    return [
        [v.load(v.at(row, INT64(j * v.lanes)), mask) for j, mask in enumerate(masks)]
        for row in rows
    ]


def _emit_products(
    v: Vectors, starts: list[list[Any]], masks: list[Any], args: Any
) -> list[list[Any]]:
    """Emit the loop over k; return the accumulators, row by row."""
    a, row_stride, column_stride, b, ldb, k, spacing = args
    builder, height = v.builder, len(starts)
    apart = INT64(v.lanes) if spacing is None else spacing
    # Pointers to the tile's rows of A.
    offsets = [builder.mul(INT64(r), row_stride) for r in range(_ROWS_PER_POINTER)]
    bases = [
        v.at(a, builder.mul(INT64(r), row_stride)) for r in range(0, height, _ROWS_PER_POINTER)
    ]
    before = builder.block
    loop, done = builder.append_basic_block("k"), builder.append_basic_block("k.done")
    builder.cbranch(builder.icmp_signed(">", k, INT64(0)), loop, done)

    # One step of k: load a row of B, and multiply it with an element of each row of A.
    builder.position_at_end(loop)
    p, b_p = builder.phi(INT64), builder.phi(b.type)
    a_ps = [builder.phi(a.type) for _ in bases]
    sums = [[builder.phi(v.type) for _ in row] for row in starts]
    b_row = [v.load(v.at(b_p, builder.mul(INT64(j), apart)), m) for j, m in enumerate(masks)]
    added = []
    for r in range(height):
        base, offset = divmod(r, _ROWS_PER_POINTER)
        element = v.splat(builder.load(v.at(a_ps[base], offsets[offset])))
        added.append([v.fma(element, value, s) for value, s in zip(b_row, sums[r], strict=True)])
    # What each variable of the loop is before it, and after one step.
    following = builder.add(p, INT64(1))
    steps = [(p, INT64(0), following), (b_p, b, v.at(b_p, ldb))]
    steps += [(a_p, a, v.at(a_p, column_stride)) for a_p, a in zip(a_ps, bases, strict=True)]
    for row, first, new in zip(sums, starts, added, strict=True):
        steps += zip(row, first, new, strict=True)
    for phi, first, then in steps:
        phi.add_incoming(first, before)
        phi.add_incoming(then, loop)
    builder.cbranch(builder.icmp_signed("<", following, k), loop, done)

    # With k = 0, the totals are the initial values.
    builder.position_at_end(done)
    totals = []
    for start, new in zip(starts, added, strict=True):
        row = []
        for first, value in zip(start, new, strict=True):
            phi = builder.phi(v.type)
            phi.add_incoming(first, before)
            phi.add_incoming(value, loop)
            row.append(phi)
        totals.append(row)
    return totals


def _emit_stores(v: Vectors, totals: list[list[Any]], masks: list[Any], args: Any) -> None:
    """Emit ReLU or its derivative for a finished tile, and the stores."""
    c, ldc, whole, clipped, where, selected = args
    builder = v.builder

    def store_all(finish: Any) -> None:
        with builder.if_else(whole) as (then, otherwise):
            with then:
                store_with([None] * len(masks), finish)
            with otherwise:
                store_with(masks, finish)

    def store_with(masks: list[Any], finish: Any) -> None:
        for r, row in enumerate(totals):
            offset = builder.mul(INT64(r), ldc)
            for j, (total, mask) in enumerate(zip(row, masks, strict=True)):
                place = builder.add(offset, INT64(j * v.lanes))
                v.store(v.at(c, place), finish(total, place, mask), mask)

    def only_where_positive(total: Any, place: Any, mask: Any) -> Any:
        value = v.load(v.at(where, place), mask)
        return builder.select(builder.fcmp_ordered(">", value, v.zero), total, v.zero)

    with builder.if_else(selected) as (then, otherwise):
        with then:
            store_all(only_where_positive)
        with otherwise, builder.if_else(clipped) as (then, otherwise):
            with then:
                store_all(lambda total, place, mask: v.relu(total))
            with otherwise:
                store_all(lambda total, place, mask: total)


def make_row(vectors: int) -> Any:
    """Return the kernel of a single row of C, `vectors` vectors wide.

    ``row(like, c, a, b, ldb, k, bias, relu)`` writes the bits of a panel of one row, whose few
    accumulators would wait for each other.
    """

    @intrinsic
    def row(
        typingctx: Any, like: Any, c: Any, a: Any, b: Any, ldb: Any, k: Any, bias: Any, relu: Any
    ) -> Any:
        bits = like.dtype.bitwidth

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            _emit_row(Vectors(builder, bits), vectors, args[1:])
            return context.get_dummy_value()

        return types.void(like, *[types.intp] * 7), codegen

    return row


def _emit_row(v: Vectors, vectors: int, args: Any) -> None:
    c, a, b, ldb, k, bias, relu = args
    masks: list[Any] = [None] * vectors
    clipped = v.builder.icmp_signed("!=", relu, INT64(0))
    c, a, b = (v.pointer(address) for address in (c, a, b))
    operands = a, INT64(0), INT64(1), b, ldb, k, None
    (totals,) = _emit_products(v, [_bias(v, masks, bias)], masks, operands)
    for j, total in enumerate(totals):
        value = v.builder.select(clipped, v.relu(total), total)
        v.store(v.at(c, INT64(j * v.lanes)), value)
