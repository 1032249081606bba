"""Memory of compiled code: arrays at the addresses of a frame, and a barrier.

Kernels receive addresses in one record, the frame of ``interface``, instead of arrays. So every
network of a dtype runs the same compiled code, a call converts ten integers, and slices need no
reference counts. ``vector(like, address, count)`` makes an array of an address again, with its
length, so that bounds checking still works on it.
"""

from __future__ import annotations

from typing import Any, Final

from llvmlite import ir
from numba import carray, from_dtype, types
from numba.core import cgutils
from numba.extending import intrinsic

from fastnet.kernels import abi
from fastnet.kernels.cpu.interface import FRAME
from fastnet.kernels.cpu.jit import inner
from fastnet.kernels.cpu.machine import IS_X86
from fastnet.kernels.cpu.vectors import INT32, INT64, emit_prefetch, get_function

# Bits of the control word: subnormal results become 0, and so do subnormal operands.
_FLUSH: Final = 0x8000 | 0x0040


@intrinsic
def _pointer(typingctx: Any, like: Any, address: Any) -> Any:
    """Return `address` as a pointer to elements of the dtype of `like`."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.inttoptr(args[1], context.get_value_type(signature.return_type))

    return types.CPointer(like.dtype)(like, types.intp), codegen


def _make_pointer(element: Any) -> Any:
    """Return an intrinsic that turns an address into a pointer to `element`."""

    @intrinsic
    def pointer(typingctx: Any, address: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return builder.inttoptr(args[0], context.get_value_type(signature.return_type))

        return types.CPointer(element)(types.intp), codegen

    return pointer


def make_room(count: int) -> Any:
    """Return an intrinsic for the address of `count` int64 that end with the function's call."""

    @intrinsic
    def room(typingctx: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            with builder.goto_entry_block():  # `cgutils.alloca_once` would fill it with zeros
                array = builder.alloca(ir.ArrayType(INT64, count))
            return builder.ptrtoint(array, INT64)

        return types.int64(), codegen

    return room


_integer_pointer = _make_pointer(types.int64)
_double_pointer = _make_pointer(types.float64)
_op_pointer = _make_pointer(from_dtype(abi.OP))
_frame_pointer = _make_pointer(from_dtype(FRAME))


@inner
def vector(like: Any, address: Any, count: Any) -> Any:
    """Return the `count` elements at `address` as an array of the dtype of `like`."""
    return carray(_pointer(like, address), (count,))


@inner
def place(like: Any, frame: Any, base: Any, offset: Any, width: Any, first: Any) -> Any:
    """Return the address of row `first` of a workspace array of that offset and width."""
    return base + (offset * frame.capacity + first * width) * like.itemsize


@inner
def block(like: Any, frame: Any, base: Any, offset: Any, width: Any, first: Any, last: Any) -> Any:
    """Return rows `first` up to `last` of a workspace array of that offset and width, flat."""
    return vector(like, place(like, frame, base, offset, width, first), (last - first) * width)


@inner
def integers(address: Any, count: Any) -> Any:
    """Return the `count` int64 at `address`."""
    return carray(_integer_pointer(address), (count,))


@inner
def doubles(address: Any, count: Any) -> Any:
    """Return the `count` float64 at `address`."""
    return carray(_double_pointer(address), (count,))


@inner
def copy(out: Any, x: Any) -> None:
    """Write the elements of x to out."""
    for i in range(len(out)):
        out[i] = x[i]


@inner
def ops_at(address: Any, count: Any) -> Any:
    """Return the plan's records at `address`."""
    return carray(_op_pointer(address), (count,))


@inner
def frames_at(address: Any, count: Any) -> Any:
    """Return the frames of `count` threads at `address`."""
    return carray(_frame_pointer(address), (count,))


@intrinsic
def _atomic_add(typingctx: Any, address: Any, value: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = builder.inttoptr(args[0], ir.IntType(64).as_pointer())
        return builder.atomic_rmw("add", pointer, args[1], "seq_cst")

    return types.int64(types.intp, types.int64), codegen


@intrinsic
def _atomic_load(typingctx: Any, address: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = builder.inttoptr(args[0], ir.IntType(64).as_pointer())
        return builder.load_atomic(pointer, "acquire", 8)

    return types.int64(types.intp), codegen


@intrinsic
def _yield_processor(typingctx: Any) -> Any:
    """Let another thread of the system run (POSIX ``sched_yield``)."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        function_type = ir.FunctionType(ir.IntType(32), [])
        function = cgutils.get_or_insert_function(builder.module, function_type, "sched_yield")
        builder.call(function, [])
        return context.get_dummy_value()

    return types.void(), codegen


@intrinsic
def prefetch(typingctx: Any, address: Any) -> Any:
    """Hint that the cache line at an address will be read."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = builder.inttoptr(args[0], ir.IntType(8).as_pointer())
        emit_prefetch(builder, pointer)
        return context.get_dummy_value()

    return types.void(types.intp), codegen


@intrinsic
def flush_subnormals(typingctx: Any) -> Any:
    """Make this thread's arithmetic take subnormal numbers as 0; return the state before.

    The moments of units whose gradient has become 0 shrink to such numbers, and arithmetic on them
    takes twice as long. Only on x86 does this change anything.
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        if not IS_X86:
            return INT32(0)
        state = cgutils.alloca_once(builder, INT32)
        _call_with_state(builder, "stmxcsr", state)
        before = builder.load(state)
        builder.store(builder.or_(before, INT32(_FLUSH)), state)
        _call_with_state(builder, "ldmxcsr", state)
        return before

    return types.int32(), codegen


@intrinsic
def restore_subnormals(typingctx: Any, before: Any) -> Any:
    """Restore the state of this thread's arithmetic that `flush_subnormals` returned."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        if IS_X86:
            _call_with_state(builder, "ldmxcsr", cgutils.alloca_once_value(builder, args[0]))
        return context.get_dummy_value()

    return types.void(types.int32), codegen


def _call_with_state(builder: Any, name: str, place: Any) -> None:
    """Emit the instruction that stores or loads the control word of vector arithmetic."""
    pointer = builder.bitcast(place, ir.IntType(8).as_pointer())
    function = get_function(builder, f"llvm.x86.sse.{name}", ir.VoidType(), [pointer.type])
    builder.call(function, [pointer])


SPINS: Final = 20_000
"""A waiting thread checks so often; after that, it lets other threads run before each check."""


@inner
def barrier(frame: Any) -> Any:
    """Wait until every thread of the run has called this as often."""
    if frame.threads > 1:
        frame.barriers += 1
        _atomic_add(frame.arrivals, 1)
        goal = frame.barriers * frame.threads
        spins = 0
        while _atomic_load(frame.arrivals) < goal:
            spins += 1
            if spins > SPINS:
                _yield_processor()
