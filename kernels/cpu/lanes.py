"""Vectors as values in kernels: ``exp(load(like, z, count) - top)`` is a handful of instructions.

`Lanes` is a Numba type: as many numbers as a vector of this machine holds, in a register.
Arithmetic and comparisons take two `Lanes`, or one and a number. Loops over `Lanes` are vector code
by construction, the same for every element. So an element's bits depend neither on its place in the
array nor on how the compiler vectorises a loop. Only the last load and store of a loop are partial;
missing elements read as 0.
"""

from __future__ import annotations

import operator
from typing import Any, Final

from llvmlite import ir
from numba import types
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import (
    intrinsic,
    lower_builtin,
    models,
    register_model,
)

from fastnet.kernels.cpu.vectors import INT64, Vectors, get_function


class Lanes(types.Type):
    """The type of a vector of numbers."""

    def __init__(self, dtype: Any) -> None:
        self.dtype = dtype
        super().__init__(f"lanes({dtype})")


class Mask(types.Type):
    """The type of a vector of truth values, as wide as a `Lanes` of `dtype`."""

    def __init__(self, dtype: Any) -> None:
        self.dtype = dtype
        super().__init__(f"mask({dtype})")


def _vectors(builder: Any, kind: Any) -> Vectors:
    return Vectors(builder, kind.dtype.bitwidth)


@register_model(Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, _vectors(None, kind).type)


@register_model(Mask)
class _MaskModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, ir.VectorType(ir.IntType(1), _vectors(None, kind).lanes))


# --- memory ---------------------------------------------------------------------------------------


@intrinsic
def load(typingctx: Any, like: Any, address: Any, count: Any) -> Any:
    """Return a vector from an address; elements from `count` on are 0 and are not read."""
    kind = Lanes(like.dtype)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _, address, count = args
        v = _vectors(builder, kind)
        place = v.pointer(address)
        enough = builder.icmp_signed(">=", count, INT64(v.lanes))
        with builder.if_else(enough, likely=True) as (then, otherwise):
            with then:
                all_of_them = v.load(place)
                from_all = builder.block
            with otherwise:
                some = v.load(place, v.mask(count))
                from_some = builder.block
        value = builder.phi(v.type)
        value.add_incoming(all_of_them, from_all)
        value.add_incoming(some, from_some)
        return value

    return kind(like, types.intp, types.intp), codegen


@intrinsic
def store(typingctx: Any, address: Any, value: Any, count: Any) -> Any:
    """Write the first `count` elements of a vector, or all of them, to an address."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        address, vector, count = args
        v = _vectors(builder, value)
        place = v.pointer(address)
        enough = builder.icmp_signed(">=", count, INT64(v.lanes))
        with builder.if_else(enough, likely=True) as (then, otherwise):
            with then:
                v.store(place, vector)
            with otherwise:
                v.store(place, vector, v.mask(count))
        return context.get_dummy_value()

    return types.void(types.intp, value, types.intp), codegen


@intrinsic
def add_to_doubles(typingctx: Any, address: Any, value: Any) -> Any:
    """Add a vector to as many float64 at an address."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        v = _vectors(builder, value)
        wide = ir.VectorType(ir.DoubleType(), v.lanes)
        given = args[1] if v.bits == 64 else builder.fpext(args[1], wide)
        place = builder.inttoptr(args[0], wide.as_pointer())
        total = builder.load(place)
        total.align = 8
        builder.store(builder.fadd(total, given), place).align = 8
        return context.get_dummy_value()

    return types.void(types.intp, value), codegen


@intrinsic
def splat(typingctx: Any, number: Any) -> Any:
    """Return a vector of equal numbers."""
    kind = Lanes(number)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _vectors(builder, kind).splat(args[0])

    return kind(number), codegen


@intrinsic
def first_lanes(typingctx: Any, like: Any, count: Any) -> Any:
    """Return the mask of the first `count` lanes."""
    kind = Mask(like.dtype)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _vectors(builder, kind).mask(args[1])

    return kind(like, types.intp), codegen


# --- arithmetic -----------------------------------------------------------------------------------

_ARITHMETIC: Final = {
    operator.add: "fadd",
    operator.sub: "fsub",
    operator.mul: "fmul",
    operator.truediv: "fdiv",
}
_COMPARISONS: Final = {
    operator.lt: ("fcmp_ordered", "<"),
    operator.le: ("fcmp_ordered", "<="),
    operator.gt: ("fcmp_ordered", ">"),
    operator.ge: ("fcmp_ordered", ">="),
    operator.eq: ("fcmp_ordered", "=="),
    operator.ne: ("fcmp_unordered", "!="),
}
_LOGIC: Final = {operator.and_: "and_", operator.or_: "or_", operator.xor: "xor"}


def _type_of(a: Any, b: Any) -> Any:
    """Return the `Lanes` that an operation on a and b works on, or None."""
    for one, other in ((a, b), (b, a)):
        if isinstance(one, Lanes) and other in (one, one.dtype):
            return one
    return None


def _define(function: Any, result: Any, emit: Any) -> None:
    """Define a binary operator between `Lanes`, and between a `Lanes` and a number."""

    class Template(AbstractTemplate):
        key = function

        def generic(self, args: Any, kws: Any) -> Any:
            kind = _type_of(*args) if len(args) == 2 else None
            return None if kind is None else signature(result(kind), *args)

    infer_global(function)(Template)

    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        kind = _type_of(*sig.args)
        v = _vectors(builder, kind)
        pair = zip(args, sig.args, strict=True)
        return emit(builder, *(a if t == kind else v.splat(a) for a, t in pair))

    lower_builtin(function, Lanes, Lanes)(lower)
    lower_builtin(function, Lanes, types.Float)(lower)
    lower_builtin(function, types.Float, Lanes)(lower)


def _define_all() -> None:
    for function, name in _ARITHMETIC.items():
        _define(function, lambda k: k, lambda b, x, y, name=name: getattr(b, name)(x, y))
    for function, (name, sign) in _COMPARISONS.items():
        _define(
            function,
            lambda k: Mask(k.dtype),
            lambda b, x, y, name=name, sign=sign: getattr(b, name)(sign, x, y),
        )
    for function, name in _LOGIC.items():

        class Template(AbstractTemplate):
            key = function

            def generic(self, args: Any, kws: Any) -> Any:
                if len(args) == 2 and isinstance(args[0], Mask) and args[0] == args[1]:
                    return signature(args[0], *args)
                return None

        infer_global(function)(Template)

        def lower(context: Any, builder: Any, sig: Any, args: Any, name: str = name) -> Any:
            return getattr(builder, name)(*args)

        lower_builtin(function, Mask, Mask)(lower)


_define_all()


@intrinsic
def select(typingctx: Any, condition: Any, a: Any, b: Any) -> Any:
    """Return a where the condition is true, else b; either may be a number."""
    kind = Lanes(condition.dtype)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        v = _vectors(builder, kind)
        pair = zip(args[1:], signature.args[1:], strict=True)
        return builder.select(args[0], *(x if t == kind else v.splat(x) for x, t in pair))

    return kind(condition, a, b), codegen


@intrinsic
def multiply_add(typingctx: Any, a: Any, b: Any, c: Any) -> Any:
    """Return ``a b + c``, rounded once where the processor can; b may be a number."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        v = _vectors(builder, a)
        x, y, z = args
        return v.fma(x, y if signature.args[1] == a else v.splat(y), z)

    return a(a, b, c), codegen


def _make_unary(name: str) -> Any:
    """Return an intrinsic that calls an LLVM function on one vector."""

    @intrinsic
    def unary(typingctx: Any, a: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            v = _vectors(builder, a)
            function = get_function(builder, f"llvm.{name}.v{v.lanes}f{v.bits}", v.type, [v.type])
            return builder.call(function, args)

        return a(a), codegen

    return unary


absolute: Any = _make_unary("fabs")
root: Any = _make_unary("sqrt")
