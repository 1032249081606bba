"""The products of dense layers in bfloat16: what threads round, and calls of `pair_products`.

The kernels of `pair_products` are compiled only for networks that ask for bfloat16. A frame of such
a network has the addresses of both, and of a table with the addresses of each layer's panels: the
weights as forward and as backward need them, and the gradients of the batch's outputs.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from fastnet.kernels import abi
from fastnet.kernels.cpu.frame import integers
from fastnet.kernels.cpu.jit import call_at, inner
from fastnet.kernels.cpu.machine import VECTOR_BYTES

LANES: Final = VECTOR_BYTES // 4
"""How many words a vector has."""

BLOCK: Final = 2 * LANES
"""Panels are filled up to so many numbers along k; threads share rows of weights in such blocks."""

CHUNK: Final = 2**15
"""The gradient of so many weights is computed before these are updated and rounded.

They stay in the second level of the cache meanwhile."""

FORWARD, BACKWARD, DELTAS = range(3)
PANELS: Final = 3  # columns of the table

# Of NumPy's types: Numba compiles a function anew for every literal argument.
_ZERO, _ONE = np.int64(0), np.int64(1)
_FORWARD, _BACKWARD, _DELTAS = (np.int64(which) for which in (FORWARD, BACKWARD, DELTAS))
_DENSE = abi.DENSE


@inner
def words_of(count: Any) -> Any:
    """Return how many words hold `count` numbers along k, with the zeros behind them."""
    return (count + BLOCK - 1) // BLOCK * LANES


@inner
def row_words(count: Any) -> Any:
    """Return how many words apart rows of `count` numbers are, where a factor lies in rows.

    It is an odd number of vectors: rows a power of two apart would fall into few sets of a cache.
    """
    vectors = (count + BLOCK - 1) // BLOCK
    return (vectors + (vectors + 1) % 2) * LANES


@inner
def panels_of(frame: Any, index: Any, which: Any) -> Any:
    """Return the address of panels of a layer."""
    place = index * PANELS + which
    return integers(frame.pairs, place + 1)[place]


@inner
def pair_product(
    frame: Any,
    panels: Any,
    c: Any,
    a: Any,
    lda: Any,
    down: Any,
    m: Any,
    n: Any,
    k: Any,
    bias: Any,
    relu: Any,
    where: Any,
) -> None:
    """Write ``C (m, n) = A (m, k) @ B (k, n) + bias`` as `dot_product` does."""
    room = frame.room, frame.room_size
    call_at(frame.multiply, (c, n, a, lda, down, panels, m, n, k, bias, relu, where, *room))


@inner
def pair_forward(
    frame: Any, index: Any, y: Any, x: Any, rows: Any, n: Any, k: Any, bias: Any, relu: Any
) -> None:
    """Write ``y = x @ w + bias`` of a layer."""
    panels = panels_of(frame, index, _FORWARD)
    pair_product(frame, panels, y, x, k, _ZERO, rows, n, k, bias, relu, _ZERO)


@inner
def pair_backward(
    frame: Any, index: Any, dx: Any, dz: Any, rows: Any, n: Any, k: Any, where: Any
) -> None:
    """Write ``dx = dz @ w.T`` of a layer; `where` as in `make_panel`."""
    panels = panels_of(frame, index, _BACKWARD)
    pair_product(frame, panels, dx, dz, k, _ZERO, rows, n, k, _ZERO, _ZERO, where)


@inner
def pair_gradient(
    frame: Any, index: Any, dw: Any, x: Any, lda: Any, rows: Any, n: Any, count: Any
) -> None:
    """Write `rows` rows of ``dw = x.T @ dz`` of a layer, from as many columns of x."""
    panels = panels_of(frame, index, _DELTAS)
    pair_product(frame, panels, dw, x, lda, _ONE, rows, n, count, _ZERO, _ZERO, _ZERO)


@inner
def weight_rows(frame: Any, rows: Any, width: Any) -> Any:
    """Return this thread's first and last row of a weight matrix, and how many go at once."""
    thread, threads = frame.thread, frame.threads
    if frame.pairs == 0:
        return rows * thread // threads, rows * (thread + 1) // threads, rows
    blocks = (rows + BLOCK - 1) // BLOCK
    first, last = blocks * thread // threads * BLOCK, blocks * (thread + 1) // threads * BLOCK
    return first, min(rows, last), max(BLOCK, CHUNK // width // BLOCK * BLOCK)


@inner
def round_weights(like: Any, frame: Any, index: Any, op: Any, first: Any, last: Any) -> None:
    """Write both forms of a layer's rows of weights from `first`, where a block begins, on."""
    size, n, rows = like.itemsize, op.outputs, last - first
    w = frame.parameters + (op.weight + first * n) * size
    words = words_of(op.inputs)
    out = panels_of(frame, index, _FORWARD) + first // 2 * LANES * size
    call_at(frame.round, (out, words, w, n, rows, n, _ZERO))
    words = words_of(n)
    out = panels_of(frame, index, _BACKWARD) + first * words * size
    call_at(frame.round, (out, words, w, n, rows, n, _ONE))


@inner
def round_all_weights(like: Any, ops: Any, frame: Any) -> None:
    """Write both forms of this thread's share of all weights."""
    for index in range(len(ops)):
        op = ops[index]
        if op.kind == _DENSE:
            first, last, _ = weight_rows(frame, op.inputs, op.outputs)
            if first < last:
                round_weights(like, frame, index, op, first, last)


@inner
def round_deltas(like: Any, ops: Any, frame: Any, count: Any) -> None:
    """Write the panels of this thread's share of the gradients of all dense layers' outputs."""
    size, thread, threads = like.itemsize, frame.thread, frame.threads
    words = words_of(count)
    for index in range(len(ops)):
        op = ops[index]
        if op.kind == _DENSE:
            n = op.outputs
            panels = (n + LANES - 1) // LANES
            first, last = panels * thread // threads, panels * (thread + 1) // threads
            j, width = first * LANES, min(n, last * LANES) - first * LANES
            out = panels_of(frame, index, _DELTAS) + j * words * size
            dz = frame.deltas + (op.y * frame.capacity + j) * size
            call_at(frame.round, (out, words, dz, n, count, width, _ZERO))
