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
masked: any width works and nothing outside the row is touched. Every element of C is one chain of
multiply-adds in the order of k whatever tile it falls into: so results do not depend on how many
rows are computed together, nor on how they are shared between threads.
"""

from __future__ import annotations

from typing import Any, Final

import llvmlite.binding as llvm
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

_FEATURES: Final = llvm.get_host_cpu_features()

# The width of this machine's vectors.
VECTOR_BYTES: Final = 64 if _FEATURES.get("avx512f") else 32 if _FEATURES.get("avx") else 16

# Only x86 has processors without: there the features say so.
HAS_FMA: Final = bool(_FEATURES.get("fma", "sse2" not in _FEATURES))

# How many vectors wide a tile is at most: with 32 registers 6 x 4 accumulators fit, with 16 6 x 2.
WIDEST: Final = 4 if VECTOR_BYTES == 64 or "sse2" not in _FEATURES else 2

_INT64: Final = ir.IntType(64)
_INT32: Final = ir.IntType(32)


# Heights of tiles by their width in vectors. Narrow tiles are tall: that keeps enough multiply-adds
# in flight (they take 4 cycles, and two can start in each).
HEIGHTS: Final = {4: (6, 4, 2, 1), 3: (6, 4, 2, 1), 2: (6, 4, 2, 1), 1: (12, 4, 2, 1)}


def make_panel(vectors: int) -> Any:
    """Return the kernel of a panel: `m` rows of C, `vectors` vectors wide, tile after tile.

    ``panel(like, c, ldc, a, row_stride, column_stride, b, ldb, m, k, last, bias, relu)`` writes
    ``C = A B + bias``, with negative elements set to 0 if `relu`. Addresses are integers, strides
    count elements, `last` is the width of the last vector, `bias` 0 means none. The dtype is that
    of `like`.
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
    ) -> Any:
        bits = like.dtype.bitwidth

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            _emit_panel(builder, vectors, bits, args[1:])
            return context.get_dummy_value()

        return types.void(like, *[types.intp] * 12), codegen

    return panel


def _emit_panel(builder: Any, vectors: int, bits: int, args: Any) -> None:
    """Emit, for each height of tile in turn: ``while i + height <= m: tile(i); i += height``."""
    c, ldc, a, row_stride, column_stride, b, ldb, m, k, last, bias, relu = args
    size = _INT64(bits // 8)
    i = cgutils.alloca_once_value(builder, _INT64(0))
    for height in HEIGHTS[vectors]:
        test = builder.append_basic_block(f"rows{height}.test")
        body = builder.append_basic_block(f"rows{height}.body")
        after = builder.append_basic_block(f"rows{height}.after")
        builder.branch(test)
        builder.position_at_end(test)
        end = builder.add(builder.load(i), _INT64(height))
        builder.cbranch(builder.icmp_signed("<=", end, m), body, after)
        builder.position_at_end(body)
        row = builder.mul(builder.load(i), size)
        c_row = builder.add(c, builder.mul(row, ldc))
        a_row = builder.add(a, builder.mul(row, row_stride))
        tile = (c_row, ldc, a_row, row_stride, column_stride, b, ldb, k, last, bias, relu)
        _emit_tile(builder, height, vectors, bits, tile)
        builder.store(end, i)
        builder.branch(test)
        builder.position_at_end(after)


def _emit_tile(builder: Any, rows: int, vectors: int, bits: int, args: Any) -> None:
    """Emit the code of one tile of `rows` rows and `vectors` vectors."""
    c, ldc, a, row_stride, column_stride, b, ldb, k, last, bias, relu = args
    lanes = VECTOR_BYTES * 8 // bits
    real = ir.FloatType() if bits == 32 else ir.DoubleType()
    pointer, vector = real.as_pointer(), ir.VectorType(real, lanes)
    load, store = _masked_access(builder, vector, lanes, bits, last)
    zero = ir.Constant(vector, [0.0] * lanes)

    def at(base: Any, offset: Any) -> Any:
        return builder.gep(base, [offset])

    def splat(value: Any) -> Any:
        undefined = ir.Constant(vector, ir.Undefined)
        one = builder.insert_element(undefined, value, _INT32(0))
        return builder.shuffle_vector(
            one, undefined, ir.Constant(ir.VectorType(_INT32, lanes), [0] * lanes)
        )

    a, b, c = (builder.inttoptr(address, pointer) for address in (a, b, c))
    row_offsets = [builder.mul(_INT64(row), row_stride) for row in range(rows)]

    # The accumulators begin with the bias, or with zeros.
    has_bias = builder.icmp_signed("!=", bias, _INT64(0))
    with builder.if_else(has_bias) as (then, otherwise):
        with then:
            base = builder.inttoptr(bias, pointer)
            loaded = [load(base, v, v == vectors - 1) for v in range(vectors)]
            biased = builder.block
        with otherwise:
            unbiased = builder.block
    start = []
    for v in range(vectors):
        phi = builder.phi(vector)
        phi.add_incoming(loaded[v], biased)
        phi.add_incoming(zero, unbiased)
        start.append(phi)

    # for p in range(k): accumulate
    before = builder.block
    loop, done = builder.append_basic_block("k"), builder.append_basic_block("k.done")
    builder.cbranch(builder.icmp_signed(">", k, _INT64(0)), loop, done)
    builder.position_at_end(loop)
    p, a_p, b_p = builder.phi(_INT64), builder.phi(pointer), builder.phi(pointer)
    sums = [[builder.phi(vector) for _ in range(vectors)] for _ in range(rows)]
    b_row = [load(b_p, v, v == vectors - 1) for v in range(vectors)]
    new_sums = []
    for row in range(rows):
        a_element = splat(builder.load(at(a_p, row_offsets[row])))
        new_sums.append(
            [
                emit_fma(builder, vector, f"v{lanes}f{bits}", a_element, b_row[v], sums[row][v])
                for v in range(vectors)
            ]
        )
    next_p = builder.add(p, _INT64(1))
    for phi, first, following in (
        (p, _INT64(0), next_p),
        (a_p, a, at(a_p, column_stride)),
        (b_p, b, at(b_p, ldb)),
    ):
        phi.add_incoming(first, before)
        phi.add_incoming(following, loop)
    for row in range(rows):
        for v in range(vectors):
            sums[row][v].add_incoming(start[v], before)
            sums[row][v].add_incoming(new_sums[row][v], loop)
    builder.cbranch(builder.icmp_signed("<", next_p, k), loop, done)
    builder.position_at_end(done)

    # Epilogue and store. Written so that NaN passes: only what compares below 0 becomes 0.
    for row in range(rows):
        for v in range(vectors):
            total = builder.phi(vector)
            total.add_incoming(start[v], before)
            total.add_incoming(new_sums[row][v], loop)
            sums[row][v] = total
    flag = builder.icmp_signed("!=", relu, _INT64(0))
    for row in range(rows):
        c_row = at(c, builder.mul(_INT64(row), ldc))
        for v in range(vectors):
            total = sums[row][v]
            clipped = builder.select(builder.fcmp_ordered("<", total, zero), zero, total)
            value = builder.select(flag, clipped, total)
            store(c_row, v, v == vectors - 1, value)


def _masked_access(builder: Any, vector: Any, lanes: int, bits: int, last: Any) -> Any:
    """Return ``load(base, v, masked)`` and ``store(base, v, masked, value)`` of the v-th vector."""
    mask_type = ir.VectorType(ir.IntType(1), lanes)
    counts = ir.VectorType(_INT32, lanes)
    undefined = ir.Constant(counts, ir.Undefined)
    width = builder.insert_element(undefined, builder.trunc(last, _INT32), _INT32(0))
    width = builder.shuffle_vector(width, undefined, ir.Constant(counts, [0] * lanes))
    mask = builder.icmp_signed("<", ir.Constant(counts, list(range(lanes))), width)
    alignment = bits // 8
    pointer = vector.as_pointer()
    suffix = f"v{lanes}f{bits}.p0"
    masked_load = _function(
        builder, f"llvm.masked.load.{suffix}", vector, [pointer, _INT32, mask_type, vector]
    )
    masked_store = _function(
        builder,
        f"llvm.masked.store.{suffix}",
        ir.VoidType(),
        [vector, pointer, _INT32, mask_type],
    )
    zero = ir.Constant(vector, [0.0] * lanes)

    def place(base: Any, v: int) -> Any:
        return builder.bitcast(builder.gep(base, [_INT64(v * lanes)]), pointer)

    def load(base: Any, v: int, masked: bool) -> Any:
        if masked:
            return builder.call(masked_load, [place(base, v), _INT32(alignment), mask, zero])
        value = builder.load(place(base, v))
        value.align = alignment
        return value

    def store(base: Any, v: int, masked: bool, value: Any) -> None:
        if masked:
            builder.call(masked_store, [value, place(base, v), _INT32(alignment), mask])
        else:
            builder.store(value, place(base, v)).align = alignment

    return load, store


@intrinsic
def transpose_tile(typingctx: Any, like: Any, out: Any, ldo: Any, a: Any, lda: Any) -> Any:
    """Write the transpose of a square tile, as wide as a vector, in registers.

    Row i and row i + h swap the blocks of h elements that stand on the wrong side of the diagonal,
    for h = 1, 2, 4, ...: after that the rows are the columns.
    """
    bits = like.dtype.bitwidth

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _, out, ldo, a, lda = args
        lanes = VECTOR_BYTES * 8 // bits
        real = ir.FloatType() if bits == 32 else ir.DoubleType()
        vector = ir.VectorType(real, lanes)

        def row(base: Any, index: int, stride: Any) -> Any:
            start = builder.inttoptr(base, real.as_pointer())
            place = builder.gep(start, [builder.mul(_INT64(index), stride)])
            return builder.bitcast(place, vector.as_pointer())

        rows = []
        for i in range(lanes):
            rows.append(builder.load(row(a, i, lda)))
            rows[-1].align = bits // 8
        h = 1
        while h < lanes:
            upper = [j if not j & h else lanes + j - h for j in range(lanes)]
            lower = [j + h if not j & h else lanes + j for j in range(lanes)]
            for i in range(lanes):
                if not i & h:
                    pair = rows[i], rows[i + h]
                    for k, mask in ((i, upper), (i + h, lower)):
                        indices = ir.Constant(ir.VectorType(_INT32, lanes), mask)
                        rows[k] = builder.shuffle_vector(*pair, indices)
            h *= 2
        for i in range(lanes):
            builder.store(rows[i], row(out, i, ldo)).align = bits // 8
        return context.get_dummy_value()

    return types.void(like, *[types.intp] * 4), codegen


def emit_fma(builder: Any, kind: Any, suffix: str, a: Any, b: Any, c: Any) -> Any:
    """Emit ``a * b + c``, rounded once where the processor does so itself."""
    if not HAS_FMA:
        return builder.fadd(builder.fmul(a, b), c)
    return builder.call(_function(builder, f"llvm.fma.{suffix}", kind, [kind] * 3), [a, b, c])


def _function(builder: Any, name: str, result: Any, arguments: Any) -> Any:
    return cgutils.get_or_insert_function(builder.module, ir.FunctionType(result, arguments), name)
