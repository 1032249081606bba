"""Computes loss, score and gradient of the output layer for rows of a batch, in blocks."""

from __future__ import annotations

from typing import Any

from fastnet.kernels import abi
from fastnet.kernels.cpu.frame import copy, doubles, integers, place, vector
from fastnet.kernels.cpu.jit import inner
from fastnet.kernels.cpu.lanes import first_lanes, load, select, splat, store
from fastnet.kernels.cpu.losses import loss_block, one_hot
from fastnet.kernels.cpu.row_lanes import from_block, get, put, to_block
from fastnet.kernels.cpu.vectors import lanes_of

_SOFTMAX, _SIGMOID, _EXP = abi.SOFTMAX, abi.SIGMOID, abi.EXP
_CROSS_ENTROPY, _BINARY_CROSS_ENTROPY = abi.CROSS_ENTROPY, abi.BINARY_CROSS_ENTROPY
_POISSON, _GRADIENT_OF_Z = abi.POISSON, abi.GRADIENT_OF_Z


@inner
def head_rows(
    like: Any, ops: Any, frame: Any, rows: Any, first: Any, last: Any, share: Any
) -> None:
    """Write loss, score and gradient of rows `first` up to `last`.

    `rows` is the address of their numbers in the data set. The gradient, of the output layer's z
    for the fused losses, else of y, is multiplied by the row's weight and by `share`.
    """
    lanes = lanes_of(like)
    op = ops[len(ops) - 1]
    width = op.outputs
    # The thread's scratch memory: four blocks, and a row of a block.
    step = width * lanes * like.itemsize
    y, z = frame.scratch, frame.scratch + step
    d, t = z + step, z + 2 * step
    for start in range(first, last, lanes):
        count = min(lanes, last - start)
        to_block(like, y, place(like, frame, frame.work, op.y, width, start), width, count)
        to_block(like, z, place(like, frame, frame.work, op.z, width, start), width, count)
        head_block(like, frame, rows, start, count, width, share, y, z, d, t)
        from_block(like, place(like, frame, frame.deltas, op.y, width, start), d, width, count)


@inner
def head_block(
    like: Any,
    frame: Any,
    rows: Any,
    start: Any,
    count: Any,
    width: Any,
    share: Any,
    y: Any,
    z: Any,
    d: Any,
    t: Any,
) -> None:
    """Write loss, score and gradient of `count` rows from `start` on, each in a lane.

    `y`, `z`, `d` and `t` are addresses of blocks. It writes the targets to `t`, which has one row
    more. Lanes without a row get the gradient 0.
    """
    size, lanes, real = like.itemsize, lanes_of(like), like.dtype.type
    targets, lane = frame.targets, t + width * lanes * size
    by_lane = vector(like, lane, lanes)
    index = integers(rows, start + count)
    # The targets of these rows: one-hot labels, or rows of the target array.
    if frame.labels != 0:
        labels = integers(frame.labels, frame.rows)
        for i in range(count):
            by_lane[i] = labels[index[start + i]]
        one_hot(like, t, load(like, lane, count), width)
    else:
        # They are gathered in the memory of d, which is free until the loss is computed.
        for i in range(count):
            target = frame.target + index[start + i] * targets * size
            copy(vector(like, d + i * targets * size, targets), vector(like, target, targets))
        to_block(like, t, d, targets, count)
    # The loss, and its gradient in d; then the weights of rows and batch.
    constants = doubles(frame.loss_constants, frame.loss_constants_count)
    loss, score = loss_block(like, d, y, z, t, width, targets, frame.loss, constants)
    factor = splat(real(share))
    if frame.weight != 0:
        weights = vector(like, frame.weight, frame.rows)
        for i in range(count):
            by_lane[i] = weights[index[start + i]]
        weight = load(like, lane, count)
        loss, score, factor = loss * weight, score * weight, factor * weight
    present = first_lanes(like, count)
    for j in range(width):
        put(like, d, j, select(present, get(like, d, j) * factor, real(0.0)))
    # Losses and scores as float64, one for each row.
    losses, scores = doubles(frame.row_loss, start + count), doubles(frame.row_score, start + count)
    store(lane, loss, lanes)
    for i in range(count):
        losses[start + i] = by_lane[i]
    store(lane, score, lanes)
    for i in range(count):
        scores[start + i] = by_lane[i]


@inner
def is_fused(loss: Any, code: Any) -> Any:
    """Return whether a loss gives the gradient of z: see ``Loss.fused_activation``."""
    return (
        (loss == _CROSS_ENTROPY and code == _SOFTMAX)
        or (loss == _BINARY_CROSS_ENTROPY and code == _SIGMOID)
        or (loss == _POISSON and code == _EXP)
        or loss == _GRADIENT_OF_Z
    )
