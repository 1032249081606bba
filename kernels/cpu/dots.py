"""Products with few columns, as LLVM vector code: each element is a dot product along k.

A tile of `microkernel` is at least a vector wide, so a layer with 2 outputs would waste 14 of 16
lanes. Here the lanes lie along k instead, where both operands are contiguous::

    A  R rows, along k        B'  C columns of B, along k      one accumulator for each pair:
    +--------------------+    +--------------------+           s[r][c] += a[r] * b[c]
    | a[r]               |    | b[c]               |
    +--------------------+    +--------------------+           R C = a vector's width

At the end all accumulators are added up together, like the columns of a square that is transposed
in registers, with half as many vectors after each step. The order of an element's sum depends on k
alone.
"""

from __future__ import annotations

from typing import Any

from numba import types
from numba.extending import intrinsic

from fastnet.kernels.cpu.lanes import Lanes
from fastnet.kernels.cpu.vectors import INT64, Vectors


def make_dots(columns: int) -> Any:
    """Return the kernel for `columns` columns at once.

    ``dots(like, c, ldc, a, lda, bt, ldbt, m, n, k, bias, relu)`` writes columns 0 up to `n` (at
    most `columns`) of ``C (m, .) = A (m, k) @ BT (., k).T + bias``, with ReLU if `relu` is not 0.
    Addresses are integers, leading dimensions count elements, `bias` 0 means none.
    """

    @intrinsic
    def dots(
        typingctx: Any,
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
    ) -> Any:
        bits = like.dtype.bitwidth

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            _emit_dots(Vectors(builder, bits), columns, args[1:])
            return context.get_dummy_value()

        return types.void(like, *[types.intp] * 11), codegen

    return dots


def _emit_dots(v: Vectors, columns: int, args: Any) -> None:
    """Emit ``for i in range(0, m, rows): tile(i)``; a tile's rows and columns end at m and n.

    A tile at the end computes the last row or column again in place of the missing ones.
    """
    c, ldc, a, lda, bt, ldbt, m, n, k, bias, relu = args
    builder = v.builder
    columns = min(columns, v.lanes)
    rows = v.lanes // columns
    loop, done = builder.append_basic_block("dots"), builder.append_basic_block("dots.done")
    base_a, base_c = v.pointer(a), v.pointer(c)
    last = builder.sub(n, INT64(1))
    b_rows = [
        v.at(v.pointer(bt), builder.mul(ldbt, _smaller(builder, INT64(j), last)))
        for j in range(columns)
    ]
    start = _bias(v, columns, n, bias)
    before = builder.block
    builder.cbranch(builder.icmp_signed(">", m, INT64(0)), loop, done)
    builder.position_at_end(loop)
    i = builder.phi(INT64)
    i.add_incoming(INT64(0), before)
    end = builder.sub(m, INT64(1))
    numbers = [_smaller(builder, builder.add(i, INT64(r)), end) for r in range(rows)]
    a_rows = [v.at(base_a, builder.mul(number, lda)) for number in numbers]
    total = builder.fadd(_sums(v, a_rows, b_rows, k), start)
    flag = builder.icmp_signed("!=", relu, INT64(0))
    total = builder.select(flag, v.relu(total), total)
    mask = v.mask(n)
    for r in range(rows):
        index = [(r * columns + j) % v.lanes for j in range(v.lanes)]
        place = v.at(base_c, builder.mul(numbers[r], ldc))
        v.store_first(place, v.shuffle(total, total, index), n, mask, columns)
    following = builder.add(i, INT64(rows))
    i.add_incoming(following, builder.block)
    builder.cbranch(builder.icmp_signed("<", following, m), loop, done)
    builder.position_at_end(done)


def _smaller(builder: Any, a: Any, b: Any) -> Any:
    return builder.select(builder.icmp_signed("<", a, b), a, b)


def _bias(v: Vectors, columns: int, n: Any, bias: Any) -> Any:
    """Return the bias, or zeros, once for each row of a tile."""
    builder = v.builder
    with builder.if_else(builder.icmp_signed("!=", bias, INT64(0))) as (then, otherwise):
        with then:
            loaded = v.load(v.pointer(bias), v.mask(n))
            repeated = v.shuffle(loaded, loaded, [j % columns for j in range(v.lanes)])
            from_bias = builder.block
        with otherwise:
            from_none = builder.block
    start = builder.phi(v.type)
    start.add_incoming(repeated, from_bias)
    start.add_incoming(v.zero, from_none)
    return start


def _sums(v: Vectors, a_rows: list[Any], b_rows: list[Any], k: Any) -> Any:
    """Emit the loop over k; return the vector of all sums, row by row of the tile."""
    builder = v.builder
    # Whole vectors along k.
    whole = builder.and_(k, INT64(-v.lanes))
    sums = [v.zero] * v.lanes
    before = builder.block
    loop, rest = builder.append_basic_block("dots.k"), builder.append_basic_block("dots.rest")
    builder.cbranch(builder.icmp_signed(">", whole, INT64(0)), loop, rest)
    builder.position_at_end(loop)
    p = builder.phi(INT64)
    phis = [builder.phi(v.type) for _ in sums]
    added = _add_products(v, a_rows, b_rows, p, None, phis)
    following = builder.add(p, INT64(v.lanes))
    p.add_incoming(INT64(0), before)
    p.add_incoming(following, loop)
    for phi, new in zip(phis, added, strict=True):
        phi.add_incoming(v.zero, before)
        phi.add_incoming(new, loop)
    builder.cbranch(builder.icmp_signed("<", following, whole), loop, rest)
    builder.position_at_end(rest)
    sums = []
    for new in added:
        phi = builder.phi(v.type)
        phi.add_incoming(v.zero, before)
        phi.add_incoming(new, loop)
        sums.append(phi)
    # The rest of k, masked, so that nothing is read after a row's end.
    left = builder.sub(k, whole)
    before = builder.block
    tail, done = builder.append_basic_block("dots.tail"), builder.append_basic_block("dots.added")
    builder.cbranch(builder.icmp_signed(">", left, INT64(0)), tail, done)
    builder.position_at_end(tail)
    added = _add_products(v, a_rows, b_rows, whole, v.mask(left), sums)
    builder.branch(done)
    builder.position_at_end(done)
    totals = []
    for old, new in zip(sums, added, strict=True):
        phi = builder.phi(v.type)
        phi.add_incoming(old, before)
        phi.add_incoming(new, tail)
        totals.append(phi)
    return _add_up(v, totals)


def _add_products(
    v: Vectors, a_rows: list[Any], b_rows: list[Any], p: Any, mask: Any, sums: list[Any]
) -> list[Any]:
    """Return the sums with the products at k = p, p + 1, ... added."""
    b = [v.load(v.at(row, p), mask) for row in b_rows]
    added: list[Any] = []
    for row in a_rows:
        a = v.load(v.at(row, p), mask)
        added += [v.fma(a, element, sums[len(added) + j]) for j, element in enumerate(b)]
    return added


@intrinsic
def add_up(typingctx: Any, like: Any, block: Any) -> Any:
    """Return, in lane i, the sum of the lanes of row i of the block at an address."""
    kind = Lanes(like.dtype)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        v = Vectors(builder, like.dtype.bitwidth)
        base = v.pointer(args[1])
        return _add_up(v, [v.load(v.at(base, INT64(i * v.lanes))) for i in range(v.lanes)])

    return kind(like, types.intp), codegen


def _add_up(v: Vectors, sums: list[Any]) -> Any:
    """Return the vector whose element i is the sum of the elements of ``sums[i]``."""
    lanes, h = v.lanes, 1
    while len(sums) > 1:
        # Vectors i and i + 1 of those left hold, in turn, h partial sums each.
        upper = [j if not j & h else lanes + j - h for j in range(lanes)]
        lower = [j + h if not j & h else lanes + j for j in range(lanes)]
        pairs = zip(sums[::2], sums[1::2], strict=True)
        sums = [v.builder.fadd(v.shuffle(a, b, upper), v.shuffle(a, b, lower)) for a, b in pairs]
        h *= 2
    return sums[0]
