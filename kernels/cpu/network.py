"""Forward, backward and update of a whole network, for one thread's share of the rows.

Rows of a batch are independent except in batch normalisation. So threads share the rows of the
batch in `forward_rows`, `head_rows` and `backward_rows`, and the columns of its statistics there.
In `parameter_part`, which sums over the whole batch, they share the rows of each weight matrix.
Functions take the frame of their thread.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastnet.kernels import abi
from fastnet.kernels.cpu.activations import (
    activation_backward,
    activation_forward,
    softmax_backward_rows,
    softmax_rows,
)
from fastnet.kernels.cpu.frame import barrier, block, copy, doubles, place, vector
from fastnet.kernels.cpu.gemm import product_of_transposed
from fastnet.kernels.cpu.jit import inner
from fastnet.kernels.cpu.loss_head import is_fused
from fastnet.kernels.cpu.norm import (
    batch_norm_backward,
    batch_norm_forward,
    batch_statistics,
    column_dots,
    column_sums,
    inverse_deviation,
    layer_norm_backward,
    layer_norm_forward,
    move_running,
)
from fastnet.kernels.cpu.optimizers import update
from fastnet.kernels.cpu.pair_layers import (
    pair_backward,
    pair_forward,
    pair_gradient,
    round_weights,
    weight_rows,
)
from fastnet.kernels.cpu.random import dropout_mask
from fastnet.kernels.cpu.residual import add
from fastnet.kernels.cpu.strips import room_of, strips_backward, strips_forward, table_row
from fastnet.kernels.cpu.sums import square_norm, square_norm_at_rates

_DENSE, _DROPOUT, _BATCH_NORM, _ADD = abi.DENSE, abi.DROPOUT, abi.BATCH_NORM, abi.ADD
_IDENTITY, _RELU, _SOFTMAX, _CLIP_NORM = abi.IDENTITY, abi.RELU, abi.SOFTMAX, abi.CLIP_NORM

# Of NumPy's types: Numba compiles a function anew for every literal argument.
_ZERO = np.int64(0)


@inner
def own_columns(frame: Any, width: Any) -> Any:
    """Return which of `width` columns are this thread's: from the first number up to the second."""
    thread, threads = frame.thread, frame.threads
    return width * thread // threads, width * (thread + 1) // threads


@inner
def input_of(like: Any, frame: Any, op: Any, x: Any) -> Any:
    """Return the address of a layer's input: the batch, or the activation of the layer before."""
    return x if op.x < 0 else frame.work + op.x * frame.capacity * like.itemsize


@inner
def forward_rows(
    like: Any, ops: Any, frame: Any, x: Any, first: Any, last: Any, training: Any, step: Any
) -> None:
    """Compute all layers for rows `first` up to `last` of the batch at address `x`.

    In training, batch normalisation waits until all threads have got there.
    """
    size, rows = like.itemsize, last - first
    for index in range(len(ops)):
        op = ops[index]
        inputs, width, code = op.inputs, op.outputs, op.activation
        source = input_of(like, frame, op, x) + first * inputs * size
        z = place(like, frame, frame.work, op.z, width, first)
        y = place(like, frame, frame.work, op.y, width, first)
        if op.kind == _DENSE:
            weight = frame.parameters + op.weight * size
            bias = frame.parameters + op.bias * size
            relu = np.int64(code == _RELU and op.z == op.y)
            if frame.pairs != 0:
                pair_forward(frame, index, z, source, rows, width, inputs, bias, relu)
            else:
                strips_forward(
                    like, frame, index, z, source, weight, rows, width, inputs, bias, relu
                )
            if relu != 0:
                continue
        elif op.kind == _ADD:
            other = x + first * inputs * size
            if op.skip >= 0:
                other = place(like, frame, frame.work, ops[op.skip].y, width, first)
            add(like, z, source, other, rows * width)
        else:
            count = rows * width
            out, values = vector(like, z, count), vector(like, source, count)
            _other_forward(like, frame, op, out, values, first, training, step)
        if code == _SOFTMAX:
            softmax_rows(like, y, z, width, rows, frame.scratch)
        elif code != _IDENTITY or op.z != op.y:
            activation_forward(like, y, z, code, rows * width)


@inner
def _other_forward(
    like: Any, frame: Any, op: Any, z: Any, x: Any, first: Any, training: Any, step: Any
) -> None:
    """Compute z of a layer that is not dense, for the rows in z; `first` is the first of them."""
    size, width = like.itemsize, op.outputs
    count = len(z) // width
    xhat = block(like, frame, frame.work, op.xhat, width, first, first + count)
    if op.kind == _DROPOUT:
        if training:
            threshold = np.uint64(round((1.0 - op.rate) * 4294967296.0))
            dropout_mask(xhat, first * width, op.rate, threshold, step, op.stream, frame.seed)
            for i in range(len(z)):
                z[i] = x[i] * xhat[i]
        else:
            copy(z, x)
        return
    gamma = vector(like, frame.parameters + op.weight * size, width)
    beta = vector(like, frame.parameters + op.bias * size, width)
    if op.kind == _BATCH_NORM:
        mean = vector(like, frame.batch_state + op.state * size, width)
        scale = vector(like, frame.batch_state + (op.state + width) * size, width)
        running_mean = vector(like, frame.state + op.state * size, width)
        running_var = vector(like, frame.state + (op.state + width) * size, width)
        if training:
            j0, j1 = own_columns(frame, width)
            m, v, rows = mean[j0:j1], scale[j0:j1], frame.count
            barrier(frame)
            first_row = np.int64(x.ctypes.data) - first * width * size
            batch_statistics(mean, scale, first_row, j0, j1, rows)
            move_running(running_mean[j0:j1], m, op.momentum, 1.0)
            move_running(running_var[j0:j1], v, op.momentum, rows / max(rows - 1, 1))
            inverse_deviation(v, v, op.epsilon)
            barrier(frame)
            batch_norm_forward(z, xhat, x, mean, scale, gamma, beta)
        else:
            inverse_deviation(scale, running_var, op.epsilon)
            batch_norm_forward(z, xhat, x, running_mean, scale, gamma, beta)
    else:
        scale = block(like, frame, frame.work, op.xhat + width, 1, first, first + count)
        layer_norm_forward(z, xhat, scale, x, gamma, beta, op.epsilon)


@inner
def backward_rows(like: Any, ops: Any, frame: Any, first: Any, last: Any, training: Any) -> None:
    """Compute the gradient of every layer's z from the output's, for rows `first` up to `last`.

    If the frame has a place for slopes, also the gradient of the batch's rows.
    """
    size, rows, zero = like.itemsize, last - first, like.dtype.type(0.0)
    done = False
    for back in range(len(ops)):
        index = len(ops) - 1 - back
        op = ops[index]
        width = op.outputs
        d = place(like, frame, frame.deltas, op.y, width, first)
        dz = vector(like, d, rows * width)
        if op.joins > 0:
            for end in range(index + 1, len(ops)):
                if ops[end].kind == _ADD and ops[end].skip == index:
                    other = place(like, frame, frame.deltas, ops[end].y, width, first)
                    add(like, d, d, other, rows * width)
        # From the gradient of y to that of z, in place.
        if not done and (back > 0 or not is_fused(frame.loss, op.activation)):
            y = place(like, frame, frame.work, op.y, width, first)
            z = place(like, frame, frame.work, op.z, width, first)
            if op.activation == _SOFTMAX:
                softmax_backward_rows(like, d, y, width, rows, frame.scratch)
            else:
                activation_backward(like, d, y, z, op.activation, rows * width)
        done = False
        # Below, batch normalisation needs its own parameters' gradients.
        if op.kind == _BATCH_NORM:
            xhat = block(like, frame, frame.work, op.xhat, width, first, last)
            gamma = vector(like, frame.parameters + op.weight * size, width)
            dgamma = vector(like, frame.gradients + op.weight * size, width)
            dbeta = vector(like, frame.gradients + op.bias * size, width)
            j0, j1 = own_columns(frame, width)
            barrier(frame)
            all_dz = block(like, frame, frame.deltas, op.y, width, _ZERO, frame.count)
            all_xhat = block(like, frame, frame.work, op.xhat, width, _ZERO, frame.count)
            column_dots(dgamma, all_dz, all_xhat, j0, j1, width)
            at = frame.gradients + op.bias * size
            column_sums(like, at, all_dz.ctypes.data, j0, j1, width, frame.count)
            barrier(frame)
        # The gradient of x, at op.x in the deltas, as x is the y of the layer before.
        if op.x >= 0:
            target = place(like, frame, frame.deltas, op.x, op.inputs, first)
        elif frame.slopes != 0:
            target = frame.slopes + first * op.inputs * size
        else:
            continue
        dx = vector(like, target, rows * op.inputs)
        if op.kind == _DENSE:
            # If the layer before has a ReLU, the product also applies its derivative, unless more
            # gradients join it first.
            before = ops[max(index - 1, 0)]
            done = op.x >= 0 and before.activation == _RELU and before.joins == 0
            where = place(like, frame, frame.work, op.x, op.inputs, first) if done else _ZERO
            if frame.pairs != 0:
                pair_backward(frame, index, target, d, rows, op.inputs, width, where)
            else:
                weight = frame.parameters + op.weight * size
                strips_backward(
                    like, frame, index, target, d, weight, rows, op.inputs, width, where
                )
        elif op.kind == _DROPOUT:
            mask = block(like, frame, frame.work, op.xhat, width, first, last)
            for i in range(len(dz)):
                dx[i] = dz[i] * mask[i] if training else dz[i]
        elif op.kind == _ADD:
            copy(dx, dz)
        elif op.kind == _BATCH_NORM:
            scale = vector(like, frame.batch_state + (op.state + width) * size, width)
            share = like.dtype.type(1.0) / like.dtype.type(frame.count) if training else zero
            batch_norm_backward(dx, dz, xhat, scale, gamma, dgamma, dbeta, share)
        else:
            xhat = block(like, frame, frame.work, op.xhat, width, first, last)
            scale = block(like, frame, frame.work, op.xhat + width, 1, first, last)
            gamma = vector(like, frame.parameters + op.weight * size, width)
            layer_norm_backward(dx, dz, xhat, scale, gamma)
    if frame.slopes != 0:
        for end in range(len(ops)):
            if ops[end].kind == _ADD and ops[end].skip < 0:
                slopes = frame.slopes + first * frame.inputs * size
                other = place(like, frame, frame.deltas, ops[end].y, frame.inputs, first)
                add(like, slopes, slopes, other, rows * frame.inputs)


@inner
def parameter_part(
    like: Any,
    ops: Any,
    frame: Any,
    x: Any,
    count: Any,
    coefficients: Any,
    do_update: Any,
) -> None:
    """Compute this thread's share of the parameters' gradients over all `count` rows; update them.

    The share is a range of rows of each weight matrix, and a range of elements of each vector.
    """
    size = like.itemsize
    for back in range(len(ops)):
        index = len(ops) - 1 - back
        op = ops[index]
        if op.bias < 0:
            continue
        width = op.outputs
        d = frame.deltas + op.y * frame.capacity * size
        j0, j1 = own_columns(frame, width)
        bias = frame.gradients + op.bias * size
        if op.kind == _DENSE:
            source = input_of(like, frame, op, x)
            first, last, _, _ = table_row(frame, index)
            for number in range(first, last):
                strip = table_row(frame, number)
                weight_part(
                    like, frame, index, op, strip, source, d, count, coefficients, do_update
                )
            column_sums(like, bias, d, j0, j1, width, count)
        elif op.kind != _BATCH_NORM:
            dz = vector(like, d, count * width)
            xhat = block(like, frame, frame.work, op.xhat, width, 0, count)
            gamma = vector(like, frame.gradients + op.weight * size, width)
            column_dots(gamma, dz, xhat, j0, j1, width)
            column_sums(like, bias, d, j0, j1, width, count)
        # Its gradients are complete, so they can be used at once.
        if do_update:
            if op.kind != _DENSE:
                low, high = op.weight + j0, op.weight + j1
                g = frame.gradients + low * size
                update_range(like, frame, g, low, high, coefficients, 1.0)
            g = bias + j0 * size
            update_range(like, frame, g, op.bias + j0, op.bias + j1, coefficients, 1.0)


@inner
def weight_part(
    like: Any,
    frame: Any,
    index: Any,
    op: Any,
    strip: Any,
    x: Any,
    d: Any,
    count: Any,
    coefficients: Any,
    do_update: Any,
) -> None:
    """Do this thread's share of `parameter_part` for a strip of the weights of a dense layer."""
    size, width = like.itemsize, op.outputs
    row, row_end, j, j_end = strip
    first, last, most = weight_rows(frame, op.inputs, width)
    last = min(last, row_end)
    for i in range(max(first, row), last, most):
        end = min(i + most, last)
        low, source = op.weight + i * width + j, x + i * size
        target = frame.gradients + low * size
        if frame.pairs != 0:
            # What is used at once stays in the caches.
            target = frame.part if do_update else target
            pair_gradient(frame, index, target, source, op.inputs, end - i, width, count)
        else:
            product_of_transposed(
                like, target, width, source, op.inputs, d + j * size, width,
                end - i, j_end - j, count, room_of(frame),
            )  # fmt: skip
        if do_update:
            # The rows of a strip that is not as wide as the matrix lie apart.
            parts, length = end - i, j_end - j
            if length == width:
                parts, length = 1, parts * width
            for part in range(parts):
                g, start = target + part * width * size, low + part * width
                update_range(like, frame, g, start, start + length, coefficients, 1.0)
            if frame.pairs != 0:
                round_weights(like, frame, index, op, i, end)


@inner
def update_range(
    like: Any, frame: Any, g: Any, low: Any, high: Any, coefficients: Any, clip: Any
) -> None:
    """Update parameters `low` up to `high`, which are all below n_weights or all not.

    Their gradients begin at address g.
    """
    offset = low * like.itemsize
    w, m = frame.parameters + offset, frame.moments + offset
    rates = frame.rates + offset if frame.rates != 0 else _ZERO
    update(
        like, w, g, m, m + frame.size * like.itemsize, rates, high - low, frame.optimizer,
        doubles(frame.constants, abi.CONSTANTS), coefficients, clip, low < frame.n_weights,
    )  # fmt: skip


@inner
def clip_factor(like: Any, frame: Any) -> Any:
    """Return the factor that clips the gradient: ``min(1, clip_norm / ||g||)``.

    Every thread computes the whole norm, in the same order: the bits must not depend on threads.
    """
    limit = doubles(frame.constants, abi.CONSTANTS)[_CLIP_NORM]
    if limit == math.inf:
        return 1.0
    gradients = vector(like, frame.gradients, frame.size)
    if frame.rates == 0:
        square = square_norm(gradients)
    else:
        square = square_norm_at_rates(gradients, vector(like, frame.rates, frame.size))
    norm = math.sqrt(square)
    return limit / norm if norm > limit else 1.0


@inner
def update_all(like: Any, frame: Any, coefficients: Any, clip: Any) -> None:
    """Update this thread's share of all parameters."""
    thread, threads, size = frame.thread, frame.threads, like.itemsize
    rest = frame.size - frame.n_weights
    low, high = frame.n_weights * thread // threads, frame.n_weights * (thread + 1) // threads
    g = frame.gradients + low * size
    update_range(like, frame, g, low, high, coefficients, clip)
    low = frame.n_weights + rest * thread // threads
    high = frame.n_weights + rest * (thread + 1) // threads
    g = frame.gradients + low * size
    update_range(like, frame, g, low, high, coefficients, clip)
