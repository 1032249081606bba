"""Computes gradients of tiny networks with one row of the batch in each lane, from end to end.

With a few dozen parameters, a step has little arithmetic, and the general kernels spend their time
on the beginnings and ends of tiles, transposes and loops. Here activations and their gradients are
blocks ``(width, lanes)``. Each parameter has one vector of partial sums over rows. At the end these
vectors are added up, as many at once as a vector has lanes. Results differ from those of the
general kernels only in the order of these sums.

``members`` calls the same layers with a network in each lane, where a parameter is a vector.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnet.kernels import abi
from fastnet.kernels.cpu.activations import (
    slope_of,
    softmax_backward_block,
    softmax_block,
    value_of,
)
from fastnet.kernels.cpu.dots import add_up
from fastnet.kernels.cpu.frame import vector
from fastnet.kernels.cpu.jit import inner, specialised
from fastnet.kernels.cpu.lanes import multiply_add, select, splat, store
from fastnet.kernels.cpu.loss_head import head_block, is_fused
from fastnet.kernels.cpu.row_lanes import get, put, to_block
from fastnet.kernels.cpu.vectors import lanes_of

_IDENTITY, _RELU, _SOFTMAX = abi.IDENTITY, abi.RELU, abi.SOFTMAX

# Of NumPy's types: Numba compiles a function anew for every literal argument.
_TRUE, _FALSE = np.bool_(True), np.bool_(False)


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
    last = ops[len(ops) - 1]
    for start in range(0, count, lanes):
        here = min(lanes, count - start)
        to_block(like, inputs, x + start * frame.inputs * size, frame.inputs, here)
        for index in range(len(ops)):
            forward_layer(like, ops[index], frame.parameters, _FALSE, work, inputs)
        head_block(
            like, frame, rows, start, here, last.outputs, share,
            work + last.y * vector_bytes, work + last.z * vector_bytes,
            deltas + last.y * vector_bytes, target,
        )  # fmt: skip
        for back in range(len(ops)):
            op = ops[len(ops) - 1 - back]
            backward_layer(
                like, op, back == 0 and is_fused(frame.loss, op.activation), frame.parameters,
                _FALSE, work, deltas, inputs, _TRUE, sums, start == 0,
            )  # fmt: skip
    for first in range(0, frame.size, lanes):
        # Plus zero: whether a sum of zeros is -0 must not depend on the lanes without a row.
        totals = add_up(like, sums + first * vector_bytes) + like.dtype.type(0.0)
        store(frame.gradients + first * size, totals, frame.size - first)


@specialised
def parameter_at(like: Any, parameters: Any, place: Any, by_lane: Any) -> Any:
    """Return a parameter: a vector of each lane's own, or a number that all lanes share."""
    if by_lane:
        return get(like, parameters, place)
    return splat(vector(like, parameters, place + 1)[place])


@specialised
def forward_layer(
    like: Any, op: Any, parameters: Any, by_lane: Any, work: Any, inputs: Any
) -> None:
    """Compute the outputs of a layer for one block.

    `parameters` is the address of P numbers, or with `by_lane` set of P vectors.
    """
    vector_bytes = lanes_of(like) * like.itemsize
    x = inputs if op.x < 0 else work + op.x * vector_bytes
    y, z = work + op.y * vector_bytes, work + op.z * vector_bytes
    width, code = op.outputs, op.activation
    for j in range(width):
        total = parameter_at(like, parameters, op.bias + j, by_lane)
        for i in range(op.inputs):
            weight = parameter_at(like, parameters, op.weight + i * width + j, by_lane)
            total = multiply_add(get(like, x, i), weight, total)
        put(like, z, j, total)
        if code != _SOFTMAX:
            put(like, y, j, value_of(like, total, code))
        elif y != z:
            put(like, y, j, total)
    if code == _SOFTMAX:
        softmax_block(like, y, width)


@specialised
def backward_layer(
    like: Any,
    op: Any,
    fused: Any,
    parameters: Any,
    by_lane: Any,
    work: Any,
    deltas: Any,
    inputs: Any,
    adds: Any,
    sums: Any,
    first: Any,
) -> None:
    """Compute the gradients of a layer's pre-activations and of its inputs, in `deltas`.

    With `fused` set, the former are there already. With `adds` set, the block's share is added to
    the sums of the parameters' gradients, or with `first` set it sets them to that. For
    `parameters` and `by_lane` see `forward_layer`.
    """
    vector_bytes = lanes_of(like) * like.itemsize
    zero = like.dtype.type(0.0)
    d, y = deltas + op.y * vector_bytes, work + op.y * vector_bytes
    z, width, code = work + op.z * vector_bytes, op.outputs, op.activation
    # From the gradient of y to that of z, in place.
    if not fused:
        if code == _SOFTMAX:
            softmax_backward_block(like, d, y, width)
        elif code != _IDENTITY:
            for j in range(width):
                dj, yj = get(like, d, j), get(like, y, j)
                if code == _RELU:
                    put(like, d, j, select(yj > zero, dj, zero))
                else:
                    put(like, d, j, dj * slope_of(like, yj, get(like, z, j), code))
    # The gradients of bias and weights, and of the layer below.
    x = inputs if op.x < 0 else work + op.x * vector_bytes
    of_weight, of_bias = sums + op.weight * vector_bytes, sums + op.bias * vector_bytes
    if adds:
        for j in range(width):
            dj = get(like, d, j)
            put(like, of_bias, j, dj if first else get(like, of_bias, j) + dj)
    if adds or op.x >= 0:
        for i in range(op.inputs):
            xi, total = get(like, x, i), splat(zero)
            for j in range(width):
                dj, p = get(like, d, j), i * width + j
                if adds:
                    before = splat(zero) if first else get(like, of_weight, p)
                    put(like, of_weight, p, multiply_add(xi, dj, before))
                weight = parameter_at(like, parameters, op.weight + p, by_lane)
                total = multiply_add(dj, weight, total)
            if op.x >= 0:
                put(like, deltas + op.x * vector_bytes, i, total)
