"""The instructions of AMX as LLVM code for any processor, so that `tiles` is tested everywhere."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils

from fastnet.kernels.cpu.pairs import Pairs
from fastnet.kernels.cpu.tiles import SIDE
from fastnet.kernels.cpu.vectors import INT64

_memory: dict[str, list[Any]] = {}


def emulate(builder: Any, name: str, *arguments: Any) -> None:
    """Emit what `name` does, with eight tiles in the memory of the function under construction."""
    if name in ("ldtilecfg", "tilerelease"):
        return
    function = f"{builder.module.name} {builder.function.name}"
    if function not in _memory:
        kind = ir.ArrayType(ir.FloatType(), SIDE * SIDE)
        _memory[function] = [cgutils.alloca_once(builder, kind) for _ in range(8)]
    v = Pairs(builder)

    def line_of(tile: Any, index: Any) -> Any:
        base = builder.bitcast(_memory[function][tile.constant], v.real.as_pointer())
        return v.at(base, builder.mul(index, INT64(SIDE)))

    with cgutils.for_range(builder, INT64(SIDE)) as loop:
        line = line_of(arguments[0], loop.index)
        if name == "tilezero":
            v.store(line, v.zero)
        elif name == "tdpbf16ps":
            _add_products(v, line, line_of(arguments[1], loop.index), arguments[2], line_of)
        else:
            _, pointer, stride = arguments
            place = builder.gep(pointer, [builder.mul(loop.index, stride)])
            place = builder.bitcast(place, v.real.as_pointer())
            if name == "tileloadd64":
                v.store(line, v.load(place))
            else:
                assert name == "tilestored64", name
                v.store(place, v.load(line))


def _add_products(v: Pairs, line: Any, a: Any, b: Any, line_of: Any) -> None:
    """Emit a line of the product: first and second numbers for themselves, then both sums."""
    builder = v.builder
    halves = [cgutils.alloca_once(builder, v.type) for _ in range(2)]
    for half in halves:
        builder.store(v.zero, half)
    with cgutils.for_range(builder, INT64(SIDE)) as loop:
        word = v.splat(builder.load(v.at(a, loop.index)))
        factors = zip(v.numbers(word), v.numbers(v.load(line_of(b, loop.index))), strict=True)
        for half, (x, y) in zip(halves, factors, strict=True):
            builder.store(builder.fadd(builder.load(half), builder.fmul(x, y)), half)
    both = builder.fadd(*(builder.load(half) for half in halves))
    v.store(line, builder.fadd(v.load(line), both))
