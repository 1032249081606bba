"""Vectors of this machine in LLVM code: masked loads and stores, multiply-adds.

Numba cannot express such code, so this module emits it for `microkernel`, `dots`, `transpose`,
`lanes` and `elementary`.
"""

from __future__ import annotations

from typing import Any, Final

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from fastnet.kernels.cpu.machine import HAS_FMA, VECTOR_BYTES

INT64: Final = ir.IntType(64)
INT32: Final = ir.IntType(32)


@intrinsic
def lanes_of(typingctx: Any, like: Any) -> Any:
    """Return the number of elements of the dtype of `like` in a vector, as a constant."""
    lanes = VECTOR_BYTES * 8 // like.dtype.bitwidth

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return INT64(lanes)

    return types.intp(like), codegen


class Vectors:
    """Emits vector code of one precision; values, pointers and masks are LLVM values."""

    def __init__(self, builder: Any, bits: int) -> None:
        self.builder, self.bits = builder, bits
        self.lanes = VECTOR_BYTES * 8 // bits
        self.real = ir.FloatType() if bits == 32 else ir.DoubleType()
        self.type = ir.VectorType(self.real, self.lanes)
        self.zero = ir.Constant(self.type, [0.0] * self.lanes)
        self._suffix = f"v{self.lanes}f{bits}"

    def pointer(self, address: Any) -> Any:
        """Return an address as a pointer to elements."""
        return self.builder.inttoptr(address, self.real.as_pointer())

    def at(self, base: Any, offset: Any) -> Any:
        """Return the pointer `offset` elements after `base`."""
        return self.builder.gep(base, [offset])

    def splat(self, value: Any) -> Any:
        """Return a vector of equal elements."""
        undefined = ir.Constant(self.type, ir.Undefined)
        one = self.builder.insert_element(undefined, value, INT32(0))
        return self.shuffle(one, undefined, [0] * self.lanes)

    def shuffle(self, a: Any, b: Any, indices: list[int]) -> Any:
        """Return the elements with these `indices` among those of a, then b."""
        mask = ir.Constant(ir.VectorType(INT32, len(indices)), indices)
        return self.builder.shuffle_vector(a, b, mask)

    def fma(self, a: Any, b: Any, c: Any) -> Any:
        """Return ``a b + c``."""
        return emit_fma(self.builder, self.type, self._suffix, a, b, c)

    def mask(self, count: Any) -> Any:
        """Return the mask of the first `count` elements."""
        counts = ir.VectorType(INT32, self.lanes)
        undefined = ir.Constant(counts, ir.Undefined)
        limit = self.builder.insert_element(undefined, self.builder.trunc(count, INT32), INT32(0))
        limit = self.shuffle(limit, undefined, [0] * self.lanes)
        numbers = ir.Constant(counts, list(range(self.lanes)))
        return self.builder.icmp_signed("<", numbers, limit)

    def load(self, base: Any, mask: Any = None) -> Any:
        """Return the vector at a pointer; elements outside the mask are 0 and are not read."""
        place = self.builder.bitcast(base, self.type.as_pointer())
        if mask is None:
            value = self.builder.load(place)
            value.align = self.bits // 8
            return value
        function = get_function(
            self.builder,
            f"llvm.masked.load.{self._suffix}.p0",
            self.type,
            [place.type, INT32, mask.type, self.type],
        )
        return self.builder.call(function, [place, INT32(self.bits // 8), mask, self.zero])

    def store(self, base: Any, value: Any, mask: Any = None) -> None:
        """Write a vector to a pointer; memory outside the mask is not touched."""
        place = self.builder.bitcast(base, self.type.as_pointer())
        if mask is None:
            self.builder.store(value, place).align = self.bits // 8
            return
        function = get_function(
            self.builder,
            f"llvm.masked.store.{self._suffix}.p0",
            ir.VoidType(),
            [self.type, place.type, INT32, mask.type],
        )
        self.builder.call(function, [value, place, INT32(self.bits // 8), mask])

    def store_first(self, base: Any, value: Any, count: Any, mask: Any, most: int) -> None:
        """Write the first `count` elements, at most `most`; `mask` is that of `count`.

        Where all of them are written there is no mask: processors without registers for masks are
        slower with one. Steps take 0.85 to 0.93 of the time on a Zen 3 EPYC.
        """
        builder = self.builder
        with builder.if_else(builder.icmp_signed("==", count, INT64(most))) as (then, otherwise):
            with then:
                whole = self.shuffle(value, value, [*range(most)]) if most < self.lanes else value
                place = builder.bitcast(base, whole.type.as_pointer())
                builder.store(whole, place).align = self.bits // 8
            with otherwise:
                self.store(base, value, mask)

    def relu(self, value: Any) -> Any:
        """Return `value` with negative elements set to 0; NaN stays NaN."""
        below = self.builder.fcmp_ordered("<", value, self.zero)
        return self.builder.select(below, self.zero, value)


def emit_fma(builder: Any, kind: Any, suffix: str, a: Any, b: Any, c: Any) -> Any:
    """Emit ``a * b + c``, rounded once where the processor has such an instruction."""
    if not HAS_FMA:
        return builder.fadd(builder.fmul(a, b), c)
    return builder.call(get_function(builder, f"llvm.fma.{suffix}", kind, [kind] * 3), [a, b, c])


def get_function(builder: Any, name: str, result: Any, arguments: Any) -> Any:
    """Declare an LLVM function in the module under construction, and return it."""
    return cgutils.get_or_insert_function(builder.module, ir.FunctionType(result, arguments), name)


def emit_prefetch(builder: Any, pointer: Any) -> None:
    """Emit a hint to load the cache line at a pointer to bytes into the cache."""
    function = get_function(
        builder, "llvm.prefetch.p0", ir.VoidType(), [pointer.type, INT32, INT32, INT32]
    )
    # To be read; kept in the second level of the cache; data.
    builder.call(function, [pointer, INT32(0), INT32(2), INT32(1)])
