"""The transpose of a tile that fits into registers, as LLVM vector code."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from fastnet.kernels.cpu.vectors import INT64, Vectors


def transpose_registers(v: Vectors, rows: list[Any]) -> list[Any]:
    """Return the columns of a square of vectors.

    Row i and row i + h swap the blocks of h elements that stand on the wrong side of the diagonal,
    for h = 1, 2, 4, ...: after that the rows are the columns.
    """
    rows, lanes = list(rows), v.lanes
    h = 1
    while h < lanes:
        upper = [j if not j & h else lanes + j - h for j in range(lanes)]
        lower = [j + h if not j & h else lanes + j for j in range(lanes)]
        for i in range(lanes):
            if not i & h:
                pair = rows[i], rows[i + h]
                rows[i], rows[i + h] = v.shuffle(*pair, upper), v.shuffle(*pair, lower)
        h *= 2
    return rows


@intrinsic
def transpose_tile(
    typingctx: Any,
    like: Any,
    out: Any,
    ldo: Any,
    a: Any,
    lda: Any,
    rows: Any,
    columns: Any,
    width: Any,
) -> Any:
    """Write the transpose of a tile (rows, columns), both at most a vector's width.

    ``transpose_tile(like, out, ldo, a, lda, rows, columns, width)`` writes `columns` rows of
    `width` elements to the address `out`, of which those after the first `rows` are 0. It reads and
    writes nothing else.
    """
    bits = like.dtype.bitwidth

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        out, ldo, a, lda, rows, columns, width = args[1:]
        v = Vectors(builder, bits)
        numbers = range(v.lanes)

        # Load rows, transpose in registers, store: `first` and `second` give the masks.
        def transpose(first: Any, second: Any) -> None:
            source, target = v.pointer(a), v.pointer(out)
            places = [v.at(source, builder.mul(INT64(i), lda)) for i in numbers]
            turned = transpose_registers(v, [v.load(p, first(i)) for i, p in enumerate(places)])
            for j in numbers:
                v.store(v.at(target, builder.mul(INT64(j), ldo)), turned[j], second(j))

        # Whole tiles need no masks.
        whole = INT64(1)
        for value in (rows, columns, width):
            whole = builder.and_(
                whole,
                builder.zext(builder.icmp_signed("==", value, INT64(v.lanes)), INT64),
            )
        with builder.if_else(builder.trunc(whole, ir.IntType(1))) as (then, otherwise):
            with then:
                transpose(lambda i: None, lambda j: None)
            with otherwise:
                # Rows and columns outside the tile are neither read nor written.
                in_row, in_column = v.mask(columns), v.mask(width)
                nothing = ir.Constant(in_row.type, [0] * v.lanes)

                def if_below(limit: Any, mask: Any) -> Any:
                    return lambda i: builder.select(
                        builder.icmp_signed("<", INT64(i), limit), mask, nothing
                    )

                transpose(if_below(rows, in_row), if_below(columns, in_column))
        return context.get_dummy_value()

    return types.void(like, *[types.intp] * 7), codegen
