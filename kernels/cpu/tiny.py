"""Computes gradients of tiny networks with one row of the batch in each lane, from end to end.

With a few dozen parameters, a step has little arithmetic, and the general kernels spend their time
on the beginnings and ends of tiles, transposes and loops. Here activations and their gradients are
blocks ``(width, lanes)``. Each parameter has one vector of partial sums over rows. At the end these
vectors are added up, as many at once as a vector has lanes. Results differ from those of the
general kernels only in the order of these sums.
"""

from __future__ import annotations

from typing import Any

from fastnet.kernels import abi
from fastnet.kernels.cpu.activations import (
    slope_of,
    softmax_backward_block,
    softmax_block,
    value_of,
)
from fastnet.kernels.cpu.dots import add_up
from fastnet.kernels.cpu.frame import vector
from fastnet.kernels.cpu.jit import inner
from fastnet.kernels.cpu.lanes import multiply_add, select, splat, store
from fastnet.kernels.cpu.loss_head import head_block, is_fused
from fastnet.kernels.cpu.row_lanes import get, put, to_block
from fastnet.kernels.cpu.vectors import lanes_of

_IDENTITY, _RELU, _SOFTMAX = abi.IDENTITY, abi.RELU, abi.SOFTMAX


@inner
def gradients_of_blocks(
    like: Any, ops: Any, frame: Any, rows: Any, x: Any, count: Any, share: Any
) -> None:
    """Compute losses, scores and gradients of a batch of `count` rows at address `x`.

    `rows` is the address of their numbers in the data set, `share` as in `head_rows`.
    """
    size, lanes = like.itemsize, lanes_of(like)
    vector_bytes = lanes * size
    # The workspace is laid out as `abi` says, with lanes instead of rows.
    work = frame.tiny
    deltas = work + frame.width * vector_bytes
    inputs = deltas + frame.width * vector_bytes
    target = inputs + frame.inputs * vector_bytes
    sums = target + (frame.outputs + 1) * vector_bytes
    op = ops[len(ops) - 1]
    for start in range(0, count, lanes):
        here = min(lanes, count - start)
        to_block(like, inputs, x + start * frame.inputs * size, frame.inputs, here)
        forward_block(like, ops, frame, work, inputs)
        head_block(
            like, frame, rows, start, here, op.outputs, share,
            work + op.y * vector_bytes, work + op.z * vector_bytes, deltas + op.y * vector_bytes,
            target,
        )  # fmt: skip
        backward_block(like, ops, frame, work, deltas, inputs, sums, start == 0)
    for first in range(0, frame.size, lanes):
        totals = add_up(like, sums + first * vector_bytes)
        store(frame.gradients + first * size, totals, frame.size - first)


@inner
def forward_block(like: Any, ops: Any, frame: Any, work: Any, inputs: Any) -> None:
    """Compute the outputs of all layers for one block."""
    size = like.itemsize
    vector_bytes = lanes_of(like) * size
    for index in range(len(ops)):
        op = ops[index]
        x = inputs if op.x < 0 else work + op.x * vector_bytes
        y, z = work + op.y * vector_bytes, work + op.z * vector_bytes
        width, code = op.outputs, op.activation
        weight = vector(like, frame.parameters + op.weight * size, op.inputs * width)
        bias = vector(like, frame.parameters + op.bias * size, width)
        for j in range(width):
            total = splat(bias[j])
            for i in range(op.inputs):
                total = multiply_add(get(like, x, i), weight[i * width + j], total)
            put(like, z, j, total)
            if code != _SOFTMAX:
                put(like, y, j, value_of(like, total, code))
            elif y != z:
                put(like, y, j, total)
        if code == _SOFTMAX:
            softmax_block(like, y, width)


@inner
def backward_block(
    like: Any,
    ops: Any,
    frame: Any,
    work: Any,
    deltas: Any,
    inputs: Any,
    sums: Any,
    first: Any,
) -> None:
    """Add a block's share to the sums of the gradients, or with `first` set them to it."""
    size = like.itemsize
    vector_bytes = lanes_of(like) * size
    zero = like.dtype.type(0.0)
    for back in range(len(ops)):
        op = ops[len(ops) - 1 - back]
        d, y, z = (
            deltas + op.y * vector_bytes,
            work + op.y * vector_bytes,
            work + op.z * vector_bytes,
        )
        width, code = op.outputs, op.activation
        # From the gradient of y to that of z, in place.
        if back > 0 or not is_fused(frame.loss, code):
            if code == _SOFTMAX:
                softmax_backward_block(like, d, y, width)
            elif code != _IDENTITY:
                for j in range(width):
                    dj, yj = get(like, d, j), get(like, y, j)
                    if code == _RELU:
                        put(like, d, j, select(yj > zero, dj, zero))
                    else:
                        put(like, d, j, dj * slope_of(like, yj, get(like, z, j), code))
        x = inputs if op.x < 0 else work + op.x * vector_bytes
        weight = vector(like, frame.parameters + op.weight * size, op.inputs * width)
        # The gradients of bias and weights, and of the layer below.
        of_weight, of_bias = sums + op.weight * vector_bytes, sums + op.bias * vector_bytes
        for j in range(width):
            dj = get(like, d, j)
            put(like, of_bias, j, dj if first else get(like, of_bias, j) + dj)
        for i in range(op.inputs):
            xi, total = get(like, x, i), splat(zero)
            for j in range(width):
                dj, p = get(like, d, j), i * width + j
                before = splat(zero) if first else get(like, of_weight, p)
                put(like, of_weight, p, multiply_add(xi, dj, before))
                total = multiply_add(dj, weight[p], total)
            if op.x >= 0:
                put(like, deltas + op.x * vector_bytes, i, total)
