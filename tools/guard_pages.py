"""Run the kernels that take raw addresses on arrays that lie against unmapped memory.

``python -m tools.guard_pages`` computes with every width from 1 to 100, each array once ending
where an unreadable page begins and once beginning where one ends: a read or write outside kills
the process. ``--beyond`` does just that, to show that it would be noticed.
"""

from __future__ import annotations

import argparse
import ctypes
import mmap
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from fastnet.backends import get_backend
from fastnet.backends.epochs import TrainConfig
from fastnet.backends.numba_bf16 import product_kernel, round_kernel
from fastnet.kernels import abi
from fastnet.kernels.cpu import activations, dots, gemm, native, norm, optimizers, row_lanes
from fastnet.kernels.cpu.jit import call_at
from fastnet.kernels.cpu.lanes import load, store
from fastnet.kernels.cpu.machine import VECTOR_BYTES
from fastnet.kernels.cpu.microkernel import WIDEST
from fastnet.kernels.cpu.pair_layers import BLOCK, LANES, row_words, words_of
from fastnet.nn.batch import Batch
from fastnet.nn.layers import Dense
from fastnet.nn.losses import MSE
from fastnet.nn.optimizers import Adam
from fastnet.nn.plan import make_plan

PAGE = mmap.PAGESIZE
WIDTHS = range(1, 101)
_protect = ctypes.CDLL(None, use_errno=True).mprotect
_protect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
_NOTHING = 0  # PROT_NONE
_kept: list[mmap.mmap] = []
FLAGS = {"error_model": "numpy"}
ZERO, ONE, NEVER, TRUE = np.int64(0), np.int64(1), np.int64(2**62), np.bool_(True)
DEPTH = 8  # of the blocks here


def guarded(shape: tuple[int, ...], dtype: Any, *, at_end: bool) -> NDArray[Any]:
    """Return zeros whose end (or beginning) is the edge of a page that nobody may touch."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    pages = -(-max(size, 1) // PAGE)
    memory = mmap.mmap(-1, (pages + 2) * PAGE)
    _kept.append(memory)
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    for page in (0, pages + 1):
        if _protect(start + page * PAGE, PAGE, _NOTHING):
            raise OSError(ctypes.get_errno(), "mprotect")
    offset = (pages + 1) * PAGE - size if at_end else PAGE
    return np.frombuffer(memory, dtype, int(np.prod(shape)), offset).reshape(shape)


@njit(**FLAGS)
def products(like, c, a, b, g, bias, room, m, n, k):  # type: ignore[no-untyped-def]
    gemm.gemm(like, c, n, a, k, ONE, b, n, m, n, k, bias, ONE, ZERO)
    gemm.gemm(like, c, n, a, k, ONE, b, n, m, n, k, bias, ZERO, c)
    in_place = room, max(m, k) * n, NEVER, ZERO, ZERO
    wide = n - gemm.narrow_part(like, n, k, TRUE)
    gemm.product(like, c, n, a, k, b, n, m, n, k, wide, bias, ONE, in_place)
    gemm.product_with_transposed(like, c, n, a, k, g, k, m, n, k, c, in_place)
    gemm.product_of_transposed(like, b, n, a, k, c, n, k, n, m, in_place)
    gemm.narrow_gemm(like, c, n, a, k, g, k, m, n, k, bias, ONE)
    gemm.transpose(like, g, k, b, n, k, n)
    norm.column_sums(like, bias, c, ZERO, n, n, m)


@njit(**FLAGS)
def blocks(blocked, deep, shallow, c, a, b, g, bias, m, n, k):  # type: ignore[no-untyped-def]
    call_at(blocked, (c, n, a, k, ONE, b, n, ONE, m, n, k, bias, ONE, ZERO, *deep))
    call_at(blocked, (c, n, a, k, ONE, g, ONE, k, m, n, k, ZERO, ZERO, c, *deep))
    call_at(blocked, (b, n, a, ONE, k, c, n, ONE, k, n, m, ZERO, ZERO, ZERO, *shallow))


@njit(**FLAGS)
def pairs(multiply, rounds, c, a, b, bias, panels, words, room, m, n, k):  # type: ignore[no-untyped-def]
    call_at(rounds, (panels, words[0], b, n, k, n, ZERO))
    call_at(multiply, (c, n, a, k, ZERO, panels, m, n, k, bias, ONE, ZERO, *room))
    call_at(rounds, (panels, words[1], b, n, k, n, ONE))
    call_at(multiply, (a, k, c, n, ZERO, panels, m, k, n, ZERO, ZERO, a, *room))
    call_at(rounds, (panels, words[2], c, n, m, n, ZERO))
    call_at(multiply, (b, n, a, k, ONE, panels, k, n, m, ZERO, ZERO, ZERO, *room))


@njit(**FLAGS)
def elementwise(like: Any, y: Any, z: Any, d: Any, n: Any, constants: Any, c: Any):  # type: ignore[no-untyped-def]
    for code in range(abi.SOFTMAX):
        activations.activation_forward(like, y, z, code, n)
        activations.activation_backward(like, d, y, z, code, n)
    for code in range(abi.LION + 1):
        for rates in (ZERO, z):
            optimizers.update(like, y, z, d, d, rates, n, code, constants, c, 1.0, True)


@njit(**FLAGS)
def turned(like: Any, rows: Any, block: Any, width: Any, count: Any):  # type: ignore[no-untyped-def]
    row_lanes.to_block(like, block, rows, width, count)
    row_lanes.from_block(like, rows, block, width, count)
    store(rows, dots.add_up(like, block), min(width * count, 1))


@njit(**FLAGS)
def read_beyond(like: Any, address: Any, count: Any):  # type: ignore[no-untyped-def]
    store(address, load(like, address, count + 1), count)


def run(dtype: Any, width: int, *, at_end: bool) -> None:
    """Call everything with arrays of this width."""

    def make(*shape: int) -> NDArray[Any]:
        return guarded(shape, dtype, at_end=at_end)

    constants, coefficients = np.zeros(abi.CONSTANTS), np.zeros(abi.COEFFICIENTS)
    for m, k in ((1, 1), (7, 3), (19, 17), (13, 40)):
        arrays = make(m, width), make(m, k), make(k, width), make(width, k), make(width)
        room = make(max(k, m) * width)
        like = np.zeros(1, dtype)
        c, a, b, g, bias = (array.ctypes.data for array in arrays)
        products(like, c, a, b, g, bias, room.ctypes.data, m, width, k)
        wide = WIDEST * VECTOR_BYTES // like.itemsize
        # A panel twice as deep; and a panel with three turned columns.
        rooms = make(2 * DEPTH * wide), make(DEPTH * (wide + 3))
        deep, shallow = ((array.ctypes.data, array.size, DEPTH) for array in rooms)
        blocks(
            native.kernel("blocked", dtype).address, deep, shallow, c, a, b, g, bias, m, width, k
        )
        if dtype == np.float32:
            multiply_pairs((c, a, b, bias), (m, width, k), make)
    y, z, d = make(width), make(width), make(width)
    elementwise(like, y.ctypes.data, z.ctypes.data, d.ctypes.data, width, constants, coefficients)
    lanes = VECTOR_BYTES // np.dtype(dtype).itemsize
    for count in (1, lanes // 2 + 1, lanes):
        block = guarded((max(width, lanes), lanes), dtype, at_end=at_end)
        turned(like, make(count, width).ctypes.data, block.ctypes.data, width, count)
    train(dtype, width, at_end=at_end)
    _kept.clear()


def multiply_pairs(addresses: Any, sizes: tuple[int, int, int], make: Any) -> None:
    """Compute with bfloat16 by each kernel that can run here, from panels that just suffice."""
    m, n, k = sizes
    words = tuple(map(words_of.py_func, (k, n, m)))
    columns = -(-max(n, k) // LANES) * LANES
    panels = make(max(words), columns)
    room = make(BLOCK * row_words.py_func(max(sizes)))
    place = panels.ctypes.data, words, (room.ctypes.data, room.size), *sizes
    dots = native.kernel("dot_product", np.float32)
    for multiply in {dots.address, product_kernel().address}:
        pairs(multiply, round_kernel().address, *addresses, *place)


def train(dtype: Any, width: int, *, at_end: bool) -> None:
    """Train and predict with whatever a caller of the engine owns against the edge."""
    plan = make_plan(width, (Dense(5, "tanh"), Dense(2)))
    parameters = guarded((plan.size,), dtype, at_end=at_end)
    x = guarded((21, width), dtype, at_end=at_end)
    rows = Batch(x, target=guarded((21, 2), dtype, at_end=at_end))
    optimizer = Adam()
    engine = get_backend("numba").engine(plan, parameters, np.zeros(0, dtype))
    engine.train_epoch(
        rows,
        TrainConfig(MSE(), optimizer, 8, seed=0, shuffle=True),
        guarded((2, plan.size), dtype, at_end=at_end),
        optimizer.step_coefficients(1, np.full(3, 1e-3)),
        epoch=0,
        step=0,
    )
    engine.predict(x)


def main() -> None:
    """Run everything, or step beyond on purpose."""
    parser = argparse.ArgumentParser("python -m tools.guard_pages", description=__doc__)
    parser.add_argument(
        "--beyond", action="store_true", help="step outside, which ends the process"
    )
    if parser.parse_args().beyond:
        array = guarded((5,), np.float32, at_end=True)
        read_beyond(np.zeros(1, np.float32), array.ctypes.data, 5)
        return
    for dtype in (np.float32, np.float64):
        for width in WIDTHS:
            for at_end in (True, False):
                run(dtype, width, at_end=at_end)
    print(f"widths {WIDTHS[0]} to {WIDTHS[-1]}: nothing outside was touched")


if __name__ == "__main__":
    main()
