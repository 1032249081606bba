"""Products of bfloat16 by the tile registers of AMX, as LLVM code.

A tile holds 16 lines of 16 words. One instruction adds the product of a tile of A (16 rows, 16
pairs along k) and a tile of B (16 pairs, 16 columns) to a tile of C, 16 x 16 float32. Two tiles of
each factor and four of C are in use at once, so each tile that is loaded serves two products::

                        B  two panels
                      +------+------+
                      |      |      |
                      +------+------+
      A  32 rows      |      |      |
    +------+------+   |  C   |  C   |
    |      |          +------+------+
    +------+---       |  C   |  C   |
    |      |          |      |      |
    +------+          +------+------+

Each element of C is the sum of its own products in the order of k, whatever tile it is in: of 16
pairs at a time the first and the second numbers for themselves, then both sums onto C. A tile of A
has a line for each row, a tile of B one for each pair: both factors lie in panels (see `pairs`).
"""

from __future__ import annotations

import ctypes
import platform
import sys
from functools import cache
from typing import Any, Final

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from fastnet.kernels.cpu.machine import has_features
from fastnet.kernels.cpu.pair_layers import LANES
from fastnet.kernels.cpu.pairs import HAS_DOTS, Pairs
from fastnet.kernels.cpu.vectors import INT64, get_function

_INT8: Final = ir.IntType(8)
SIDE: Final = LANES  # lines of a tile, and words of a line: 16 where there are tiles
_LINE: Final = 4 * SIDE  # bytes
_TILE: Final = SIDE * _LINE

HAS_TILES: Final = HAS_DOTS and has_features("amx-tile", "amx-bf16")
"""Whether the processor has these instructions; `may_use_tiles` says whether the system has too."""

# Of Linux on x86-64: the system call, its question, and the component of the processor's state.
_ARCH_PRCTL, _REQUEST_PERMISSION, _TILE_DATA = 158, 0x1023, 18


@cache
def may_use_tiles() -> bool:
    """Ask the system to keep tiles when it switches threads; return whether it does.

    The answer is for all threads of the process.
    """
    if not HAS_TILES or sys.platform != "linux" or platform.machine() != "x86_64":
        return False
    call = ctypes.CDLL(None, use_errno=True).syscall
    call.argtypes = [ctypes.c_long] * 3
    return int(call(_ARCH_PRCTL, _REQUEST_PERMISSION, _TILE_DATA)) == 0


def _call(builder: Any, name: str, *arguments: Any) -> None:
    """Emit an instruction of AMX; the tests emit code that does the same without it."""
    kinds = [argument.type for argument in arguments]
    builder.call(get_function(builder, f"llvm.x86.{name}", ir.VoidType(), kinds), arguments)


@intrinsic
def begin_tiles(typingctx: Any) -> Any:
    """Set this thread's tile registers up: eight tiles of 16 lines of 64 bytes."""
    layout = bytearray(64)
    layout[0] = 1  # the palette
    for tile in range(8):
        layout[16 + 2 * tile] = _LINE
        layout[48 + tile] = SIDE

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = ir.ArrayType(_INT8, 64)
        place = cgutils.alloca_once_value(builder, ir.Constant(kind, layout))
        _call(builder, "ldtilecfg", builder.bitcast(place, _INT8.as_pointer()))
        return context.get_dummy_value()

    return types.void(), codegen


@intrinsic
def end_tiles(typingctx: Any) -> Any:
    """Give this thread's tile registers back: from here on, the system need not keep them."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _call(builder, "tilerelease")
        return context.get_dummy_value()

    return types.void(), codegen


def make_tiles(height: int, width: int) -> Any:
    """Return the kernel of `height` times `width` tiles of C, each 1 or 2.

    ``tiles(like, c, ldc, a, b, spacing, steps, rows, columns, bias, relu, where)`` writes `rows`
    and `columns` of C; of what it computes beyond them it stores nothing. Panels are `spacing`
    words apart, and `steps` counts tiles along k. The rest is as in `make_panel`.
    """

    @intrinsic
    def tiles(
        typingctx: Any,
        like: Any,
        c: Any,
        ldc: Any,
        a: Any,
        b: Any,
        spacing: Any,
        steps: Any,
        rows: Any,
        columns: Any,
        bias: Any,
        relu: Any,
        where: Any,
    ) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            _, c, ldc, a, b, spacing, steps, *rest = args
            buffer = _emit_sums(builder, height, width, (a, b, spacing, steps))
            _emit_stores(Pairs(builder), width, buffer, (c, ldc, *rest))
            return context.get_dummy_value()

        return types.void(like, *[types.intp] * 11), codegen

    return tiles


def _emit_sums(builder: Any, height: int, width: int, args: Any) -> Any:
    """Emit the loop over k; return where the sums are, line by line."""
    a, b, spacing, steps = args
    kind = ir.ArrayType(ir.FloatType(), height * width * SIDE * SIDE)
    memory = cgutils.alloca_once(builder, kind)
    memory.align = _LINE
    buffer = builder.bitcast(memory, _INT8.as_pointer())

    def tile(number: int) -> Any:
        return _INT8(number)

    def sums(r: int, j: int) -> Any:
        return tile(2 * r + j)

    def load(number: int, first: Any, column: int) -> None:
        address = builder.add(first, builder.mul(spacing, INT64(4 * column)))
        place = builder.inttoptr(address, _INT8.as_pointer())
        _call(builder, "tileloadd64", tile(number), place, INT64(_LINE))

    for r in range(height):
        for j in range(width):
            _call(builder, "tilezero", sums(r, j))
    with cgutils.for_range(builder, steps) as loop:
        offset = builder.mul(loop.index, INT64(_TILE))
        for r in range(height):
            load(4 + r, builder.add(a, offset), r)
        for j in range(width):
            load(6 + j, builder.add(b, offset), j)
        for r in range(height):
            for j in range(width):
                _call(builder, "tdpbf16ps", sums(r, j), tile(4 + r), tile(6 + j))
    stride = width * _LINE
    for r in range(height):
        for j in range(width):
            place = builder.gep(buffer, [INT64(r * SIDE * stride + j * _LINE)])
            _call(builder, "tilestored64", sums(r, j), place, INT64(stride))
    return builder.bitcast(buffer, ir.FloatType().as_pointer())


def _emit_stores(v: Pairs, width: int, buffer: Any, args: Any) -> None:
    """Emit what happens to the sums: bias, ReLU or its derivative, and the stores to C."""
    c, ldc, rows, columns, bias, relu, where = args
    b = v.builder
    starts = [INT64(j * SIDE) for j in range(width)]
    masks = [v.mask(b.sub(columns, start)) for start in starts]
    clipped, selected = (b.icmp_signed("!=", flag, INT64(0)) for flag in (relu, where))
    biases = []
    with b.if_else(b.icmp_signed("!=", bias, INT64(0))) as (then, otherwise):
        with then:
            base = v.pointer(bias)
            biases = [v.load(v.at(base, s), mask) for s, mask in zip(starts, masks, strict=True)]
            biased = b.block
        with otherwise:
            unbiased = b.block
    for j, value in enumerate(biases):
        biases[j] = b.phi(v.type)
        biases[j].add_incoming(value, biased)
        biases[j].add_incoming(v.zero, unbiased)
    c, where = v.pointer(c), v.pointer(where)

    def store_all(finish: Any) -> None:
        with cgutils.for_range(b, rows) as loop:
            for j, start in enumerate(starts):
                line = b.add(b.mul(loop.index, INT64(width * SIDE)), start)
                place = b.add(b.mul(loop.index, ldc), start)
                total = b.fadd(v.load(v.at(buffer, line)), biases[j])
                v.store(v.at(c, place), finish(total, place, masks[j]), masks[j])

    def only_where_positive(total: Any, place: Any, mask: Any) -> Any:
        value = v.load(v.at(where, place), mask)
        return b.select(b.fcmp_ordered(">", value, v.zero), total, v.zero)

    with b.if_else(selected) as (then, otherwise):
        with then:
            store_all(only_where_positive)
        with otherwise, b.if_else(clipped) as (then, otherwise):
            with then:
                store_all(lambda total, place, mask: v.relu(total))
            with otherwise:
                store_all(lambda total, place, mask: total)
