"""Words of two bfloat16, as LLVM vector code: how they are rounded, laid out and multiplied.

A factor of a product of bfloat16 consists of words of 32 bits with two numbers each, neighbours
along k, the direction of the sum. L words make a vector, and k is filled up with zeros to a whole
number of vectors. A factor lies in one of two layouts::

    panels   (n / L, k / 2, L)   a panel has L columns of B (or rows of A), and a line for each word
    rows     (m, k / 2)          each row of A from end to end, `row_words` from the next one

Its float32 matrix has the pairs along its rows or down its columns. What is rounded in one step, a
square of L by L words, is written as it is or turned, so each matrix can become each factor::

    x @ w       A from x, along               B from w, down
    dz @ w.T    A from dz, along              B from w, along and turned
    x.T @ dz    A from x, down and turned     B from dz, down

Where the processor has no instructions for that, `Pairs` computes the same sums from float32: two
multiply-adds, that of the second numbers first. It is there for the tests, and for nothing else.
"""

from __future__ import annotations

from typing import Any, Final

import llvmlite.binding as llvm
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from fastnet.kernels.cpu.machine import VECTOR_BYTES, has_features
from fastnet.kernels.cpu.microkernel import emit_panel
from fastnet.kernels.cpu.transpose import transpose_registers
from fastnet.kernels.cpu.vectors import INT32, INT64, Vectors, get_function

_INT16: Final = ir.IntType(16)

# LLVM's functions for these instructions take integers up to version 15.
_HAS_BFLOATS: Final = llvm.llvm_version_info[0] > 15


HAS_DOTS: Final = VECTOR_BYTES == 64 and has_features("avx512bf16")
"""Whether one instruction rounds to bfloat16, and one adds the products of a pair (AVX512-BF16)."""


class _BFloats(ir.Type):
    """A vector of bfloat16, for which llvmlite has no type."""

    def __init__(self, count: int) -> None:
        self.count = count

    def _to_string(self) -> str:
        return f"<{self.count} x bfloat>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _BFloats) and other.count == self.count

    def __hash__(self) -> int:
        return hash((_BFloats, self.count))


class Pairs(Vectors):
    """Emits code for vectors of float32, of which some hold words instead."""

    def __init__(self, builder: Any) -> None:
        super().__init__(builder, 32)
        self.words = ir.VectorType(INT32, self.lanes)
        self.halves = ir.VectorType(_INT16, self.lanes)

    def _each(self, value: int) -> Any:
        return ir.Constant(self.words, [value] * self.lanes)

    def numbers(self, words: Any) -> tuple[Any, Any]:
        """Return the first and the second numbers of words, as float32."""
        bits = self.builder.bitcast(words, self.words)
        first = self.builder.shl(bits, self._each(16))
        second = self.builder.and_(bits, self._each(0xFFFF0000))
        return self.builder.bitcast(first, self.type), self.builder.bitcast(second, self.type)

    def fma(self, a: Any, b: Any, c: Any) -> Any:
        """Return ``c`` and the two products of each pair of the words a and b."""
        first, second = zip(self.numbers(a), self.numbers(b), strict=True)
        return super().fma(*first, super().fma(*second, c))

    def rounded(self, value: Any) -> Any:
        """Return float32 as bfloat16, to nearest and ties to even, in integers of 16 bits."""
        b = self.builder
        bits = b.bitcast(value, self.words)
        top = b.lshr(bits, self._each(16))
        odd = b.and_(top, self._each(1))
        near = b.lshr(b.add(bits, b.add(odd, self._each(0x7FFF))), self._each(16))
        # The sum could turn NaN into infinity.
        nan = b.fcmp_unordered("uno", value, value)
        return b.trunc(b.select(nan, b.or_(top, self._each(0x40)), near), self.halves)

    def along(self, first: Any, second: Any) -> Any:
        """Return words of neighbours in a row, of which these are two vectors in succession."""
        halves = self.rounded(first), self.rounded(second)
        every = ir.Constant(ir.VectorType(INT32, 2 * self.lanes), list(range(2 * self.lanes)))
        return self.builder.bitcast(self.builder.shuffle_vector(*halves, every), self.type)

    def down(self, upper: Any, lower: Any) -> Any:
        """Return words of neighbours in a column, of which these are two rows."""
        b = self.builder
        first, second = (b.zext(self.rounded(row), self.words) for row in (upper, lower))
        return b.bitcast(b.or_(first, b.shl(second, self._each(16))), self.type)


class DotPairs(Pairs):
    """The same by the instructions of AVX512-BF16, to which subnormal numbers are 0."""

    def fma(self, a: Any, b: Any, c: Any) -> Any:
        kind = _BFloats(2 * self.lanes) if _HAS_BFLOATS else self.words
        factors = (self.builder.bitcast(word, kind) for word in (a, b))
        name = "llvm.x86.avx512bf16.dpbf16ps.512"
        function = get_function(self.builder, name, self.type, [self.type, kind, kind])
        return self.builder.call(function, [c, *factors])

    def rounded(self, value: Any) -> Any:
        name = "llvm.x86.avx512bf16.cvtneps2bf16.512"
        kind = _BFloats(self.lanes) if _HAS_BFLOATS else self.halves
        function = get_function(self.builder, name, kind, [self.type])
        return self.builder.bitcast(self.builder.call(function, [value]), self.halves)


FASTEST: Final = DotPairs if HAS_DOTS else Pairs


def make_pair_panel(vectors: int, kind: type[Pairs]) -> Any:
    """Return `make_panel`'s kernel for words: k counts pairs, and B is `vectors` panels.

    ``panel(like, c, ldc, a, row_stride, column_stride, b, ldb, m, k, last, bias, relu, where,
    spacing)``: panels of B are `spacing` words apart.
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
        spacing: Any,
    ) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            emit_panel(kind(builder), vectors, False, args[1:-1], args[-1])
            return context.get_dummy_value()

        return types.void(like, *[types.intp] * 14), codegen

    return panel


def make_square(kind: type[Pairs], *, along: bool, turned: bool) -> Any:
    """Return the kernel that rounds what becomes a square of words.

    ``square(like, out, stride, a, lda, rows, columns)`` writes L lines of L words, `stride` words
    apart, from the corner of a matrix of float32 that has `rows` more rows and `columns` more
    columns; what it does not have counts as 0 and is not read.
    """

    @intrinsic
    def square(
        typingctx: Any,
        like: Any,
        out: Any,
        stride: Any,
        a: Any,
        lda: Any,
        rows: Any,
        columns: Any,
    ) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            _emit_square(kind(builder), along, turned, args[1:])
            return context.get_dummy_value()

        return types.void(like, *[types.intp] * 6), codegen

    return square


def _emit_square(v: Pairs, along: bool, turned: bool, args: Any) -> None:
    out, stride, a, lda, rows, columns = args
    builder, numbers = v.builder, range(v.lanes)
    height, width = (v.lanes, 2 * v.lanes) if along else (2 * v.lanes, v.lanes)
    source, target = v.pointer(a), v.pointer(out)

    def write(load: Any) -> None:
        if along:
            lines = [v.along(load(i, 0), load(i, v.lanes)) for i in numbers]
        else:
            lines = [v.down(load(2 * i, 0), load(2 * i + 1, 0)) for i in numbers]
        for i, line in enumerate(transpose_registers(v, lines) if turned else lines):
            v.store(v.at(target, builder.mul(INT64(i), stride)), line)

    def place(i: int, j: int) -> Any:
        return v.at(source, builder.add(builder.mul(INT64(i), lda), INT64(j)))

    whole = builder.and_(
        builder.icmp_signed(">=", rows, INT64(height)),
        builder.icmp_signed(">=", columns, INT64(width)),
    )
    with builder.if_else(whole, likely=True) as (then, otherwise):
        with then:
            write(lambda i, j: v.load(place(i, j)))
        with otherwise:
            masks = {j: v.mask(builder.sub(columns, INT64(j))) for j in range(0, width, v.lanes)}
            nothing = ir.Constant(masks[0].type, [0] * v.lanes)

            def load_some(i: int, j: int) -> Any:
                exists = builder.icmp_signed("<", INT64(i), rows)
                return v.load(place(i, j), builder.select(exists, masks[j], nothing))

            write(load_some)
