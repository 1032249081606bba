"""Runs many training steps in one call from Python, on one thread or on several.

Each thread runs the same code with its own frame. A training step is::

    rows of the batch, shared:      gather, forward, loss, gradients of activations, for pieces
                                    of rows whose activations stay in the second level of the cache
    --- barrier ---
    rows of the weights, shared:    gradients of weights over the whole batch, update
    --- barrier ---

Batch normalisation needs all rows: before it, and after, there are barriers within the first half,
and threads share the columns of its statistics.

Threads never add up each other's sums, so their number does not change a bit of the result.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import carray

from fastnet.kernels import abi
from fastnet.kernels.cpu.frame import (
    barrier,
    block,
    copy,
    doubles,
    flush_subnormals,
    frames_at,
    integers,
    ops_at,
    prefetch,
    restore_subnormals,
    vector,
)
from fastnet.kernels.cpu.interface import (
    BACKWARD,
    FORWARD,
    HEAD,
    JACOBIAN,
    PREDICT,
    TRAIN,
    UPDATE,
)
from fastnet.kernels.cpu.jit import entry, inner, spliced
from fastnet.kernels.cpu.loss_head import head_rows
from fastnet.kernels.cpu.network import (
    backward_rows,
    clip_factor,
    forward_rows,
    parameter_part,
    update_all,
)
from fastnet.kernels.cpu.pair_layers import round_all_weights, round_deltas
from fastnet.kernels.cpu.random import (
    feistel_bits,
    feistel_keys,
    permutation,
    room_for_spare,
    shuffle,
)
from fastnet.kernels.cpu.tiny import gradients_of_blocks

_LOSS_SUM, _SCORE_SUM, _WEIGHT_SUM = abi.LOSS_SUM, abi.SCORE_SUM, abi.WEIGHT_SUM
_STEPS, _TALLY, _COEFFICIENTS = abi.STEPS, abi.TALLY, abi.COEFFICIENTS
_CLIP_NORM, _CONSTANTS = abi.CLIP_NORM, abi.CONSTANTS
_BEST, _BEST_EPOCH, _WAITED, _PATIENCE = abi.BEST, abi.BEST_EPOCH, abi.WAITED, abi.PATIENCE
_MONITOR = abi.MONITOR
_MIN_DELTA, _SIGN, _COLUMN, _HELD_OUT = abi.MIN_DELTA, abi.SIGN, abi.COLUMN, abi.HELD_OUT


# Of NumPy's types: Numba compiles a function anew for every literal argument.
_ZERO, _TRUE, _FALSE = np.int64(0), np.bool_(True), np.bool_(False)

_LINE = 64  # bytes of a cache line


@entry
def run(
    element: Any,
    ops_address: Any,
    ops_count: Any,
    frames_address: Any,
    thread: Any,
    task: Any,
    first: Any,
    last: Any,
    step: Any,
    x: Any,
    out: Any,
) -> None:
    """Do one task on one thread. Python calls only this kernel, so that all tasks share code.

    ``TRAIN``: train on batches `first` up to `last` of an epoch, after `step` steps in all; `x` is
    the number of epochs that do the same one after the other, each with a row of tallies. After
    each of several epochs the rows of the frame ``validation``, if any, are evaluated, and the
    ``monitor``, if any, keeps the best weights and ends training.
    ``FORWARD``: compute the batch of `last` rows at `x`, in training if `first` is not 0.
    ``HEAD``: compute loss and score of the batch of `last` rows, after that; add to the tally.
    ``BACKWARD``: compute the gradients, after that; `x` and `first` as for ``FORWARD``.
    ``UPDATE``: update the parameters with the gradients and the first row of coefficients.
    ``PREDICT``: write the outputs of rows `first` up to `last` of `x` to `out`.
    ``JACOBIAN``: write the derivatives (O, I) of the outputs for the row at `x` to `out`.
    ``ORDER``: write the order of the epoch's rows to `out` (N,) int64.

    Parameters
    ----------
    element : pointer
        Any pointer to the network's dtype, for which the kernel is compiled.
    ops_address, ops_count, frames_address : int
        The plan's records, and a frame for each thread.
    x, out : int
        Addresses; `x` is a number where `task` says so.
    """
    like = carray(element, (1,))
    ops = ops_at(ops_address, ops_count)
    frame = frames_at(frames_address, thread + 1)[thread]
    # Subnormal numbers count as 0 while kernels run, and for this thread only.
    before = flush_subnormals()
    if task == TRAIN:
        frame.barriers = 0
        for epoch in range(x):
            if epoch:
                frame.epoch += 1
                frame.tally += _TALLY * 8
                frame.coefficients += (last - first) * _COEFFICIENTS * 8
            train(like, ops, frame, first, last, step + epoch * (last - first))
            if doubles(frame.tally, _TALLY)[_STEPS] < last - first:
                break
            if frame.validation != 0 or frame.monitor != 0:
                if thread == 0:
                    observe(like, ops, frame, epoch)
                barrier(frame)
            if frame.monitor != 0 and is_over(frame):
                break
    elif task == FORWARD:
        frame.count = last
        forward_rows(like, ops, frame, x, _ZERO, last, first != 0, step)
    elif task == HEAD:
        head(like, ops, frame, last)
    elif task == BACKWARD:
        frame.count = last
        backward_rows(like, ops, frame, _ZERO, last, first != 0)
        if frame.pairs != 0:
            round_deltas(like, ops, frame, last)
        tally = doubles(frame.tally, _TALLY)
        parameter_part(like, ops, frame, x, last, tally, _FALSE)
    elif task == UPDATE:
        coefficients = doubles(frame.coefficients, _COEFFICIENTS)
        update_all(like, frame, coefficients, clip_factor(like, frame))
    elif task == PREDICT:
        predict(like, ops, frame, out, x, first, last)
    elif task == JACOBIAN:
        jacobian(like, ops, frame, out, x)
    else:
        permutation(integers(out, frame.rows), frame.seed, frame.epoch)
    restore_subnormals(before)


@spliced
def train(like: Any, ops: Any, frame: Any, first: Any, last: Any, step: Any) -> None:
    """Train on batches `first` up to `last`; stop after the first whose loss is not finite."""
    # What stays the same in all steps: the keys of the shuffle, and whether to clip.
    size, thread, threads = like.itemsize, frame.thread, frame.threads
    tally = doubles(frame.tally, _TALLY)
    keys = feistel_keys(frame.seed, frame.epoch)
    spare = room_for_spare()
    bits = feistel_bits(frame.rows)
    clips = doubles(frame.constants, _CONSTANTS)[_CLIP_NORM] < math.inf
    tiny = frame.tiny != 0
    for batch in range(first, last):
        # The rows of this batch; this thread works on rows r0 up to r1.
        start = batch * frame.batch_size
        count = min(frame.batch_size, frame.rows - start)
        frame.count = count
        r0, r1 = count * thread // threads, count * (thread + 1) // threads
        slot = (batch - first) % frame.window
        if slot == 0:
            choose_rows(frame, start, bits, keys, spare)
        rows = frame.index + slot * frame.batch_size * 8
        total = weight_sum(like, frame, rows, count)
        x = frame.batch if frame.shuffle != 0 else frame.x + start * frame.inputs * size
        # Forward, loss, and the gradients of activations; for a tiny network, all gradients.
        share = 1.0 / total if total > 0 else 0.0
        piece = count if tiny else frame.piece
        # At least once, even for no rows: normalisation has barriers.
        for p0 in range(r0, max(r1, r0 + 1), piece):
            p1 = min(p0 + piece, r1)
            if frame.shuffle != 0:
                gather_rows(like, frame, rows, p0, p1)
            if tiny:
                gradients_of_blocks(like, ops, frame, rows, x, count, share)
            else:
                forward_rows(like, ops, frame, x, p0, p1, _TRUE, step + batch - first)
                head_rows(like, ops, frame, rows, p0, p1, share)
                backward_rows(like, ops, frame, p0, p1, _TRUE)
        barrier(frame)
        if thread == 0:
            add_to_tally(frame, tally, count, total)
        if frame.pairs != 0:
            round_deltas(like, ops, frame, count)
            barrier(frame)
        # The gradients of parameters and their update, at once unless the whole norm comes first.
        row = frame.coefficients + (batch - first) * _COEFFICIENTS * 8
        coefficients = doubles(row, _COEFFICIENTS)
        if not tiny:
            parameter_part(like, ops, frame, x, count, coefficients, not clips)
        elif not clips:
            update_all(like, frame, coefficients, 1.0)
        if clips:
            barrier(frame)
            clip = clip_factor(like, frame)
            # The update may overwrite the gradient, so every thread must have its norm by now.
            barrier(frame)
            update_all(like, frame, coefficients, clip)
            if frame.pairs != 0:
                barrier(frame)
                round_all_weights(like, ops, frame)
        barrier(frame)
        if not math.isfinite(tally[_LOSS_SUM]):
            break


@spliced
def observe(like: Any, ops: Any, frame: Any, epoch: Any) -> None:
    """Evaluate the rows held out, if any, after an epoch; count it as `Patience` does, if asked."""
    if frame.validation != 0:
        held_out = frames_at(frame.validation, 1)[0]
        held_out.tally += (_TALLY * 8) if epoch else 0
        forward_rows(like, ops, held_out, held_out.x, _ZERO, held_out.rows, _FALSE, _ZERO)
        head(like, ops, held_out, held_out.rows)
    if frame.monitor != 0:
        count_epoch(like, frame)


@inner
def count_epoch(like: Any, frame: Any) -> None:
    """Count an epoch as `Patience` does, and keep the best weights."""
    monitor = doubles(frame.monitor, _MONITOR)
    tally = doubles(frame.tally, _TALLY)
    if monitor[_HELD_OUT] != 0.0:
        tally = doubles(frames_at(frame.validation, 1)[0].tally, _TALLY)
    total, weight = tally[np.int64(monitor[_COLUMN])], tally[_WEIGHT_SUM]
    value = monitor[_SIGN] * (total / weight if weight != 0.0 else 0.0)
    if value < monitor[_BEST] - monitor[_MIN_DELTA]:
        monitor[_BEST], monitor[_BEST_EPOCH], monitor[_WAITED] = value, frame.epoch + 1, 0.0
        if frame.best_parameters != 0:
            size, best = frame.size, frame.best_parameters
            copy(vector(like, best, size), vector(like, frame.parameters, size))
            size, best = frame.state_size, frame.best_state
            copy(vector(like, best, size), vector(like, frame.state, size))
    else:
        monitor[_WAITED] += 1.0


@inner
def is_over(frame: Any) -> Any:
    """Return whether early stopping ends training after the epoch that was counted last."""
    monitor = doubles(frame.monitor, _MONITOR)
    return monitor[_WAITED] >= monitor[_PATIENCE]


@spliced
def head(like: Any, ops: Any, frame: Any, count: Any) -> None:
    """Compute losses and the output's gradient of a batch, which is the frame's data set."""
    index = integers(frame.index, count)
    for i in range(count):
        index[i] = i
    total = weight_sum(like, frame, frame.index, count)
    head_rows(like, ops, frame, frame.index, _ZERO, count, 1.0 / total if total > 0 else 0.0)
    add_to_tally(frame, doubles(frame.tally, _TALLY), count, total)


@spliced
def predict(like: Any, ops: Any, frame: Any, out: Any, x: Any, first: Any, last: Any) -> None:
    """Write the outputs of rows `first` up to `last` of x to out; both are addresses.

    Each thread uses its share of the workspace's rows.
    """
    size = like.itemsize
    op = ops[len(ops) - 1]
    width = op.outputs
    base = frame.capacity * frame.thread // frame.threads
    room = frame.capacity * (frame.thread + 1) // frame.threads - base
    for start in range(first, last, room):
        count = min(room, last - start)
        source = x + (start - base) * frame.inputs * size
        forward_rows(like, ops, frame, source, base, base + count, _FALSE, start)
        result = block(like, frame, frame.work, op.y, width, base, base + count)
        copy(vector(like, out + start * width * size, count * width), result)


@spliced
def jacobian(like: Any, ops: Any, frame: Any, out: Any, x: Any) -> None:
    """Write the derivatives (O, I) of the outputs for the row at `x` to `out`.

    It is a batch of equal rows, each with the gradient of one output; `capacity` is at least O.
    """
    size, inputs, outputs = like.itemsize, frame.inputs, frame.outputs
    row, last = vector(like, x, inputs), ops[len(ops) - 1].y
    of_outputs = block(like, frame, frame.deltas, last, outputs, _ZERO, outputs)
    for i in range(outputs * outputs):
        of_outputs[i] = like.dtype.type(i % (outputs + 1) == 0)
    for i in range(outputs):
        copy(vector(like, frame.batch + i * inputs * size, inputs), row)
    frame.slopes, frame.count = out, outputs
    forward_rows(like, ops, frame, frame.batch, _ZERO, outputs, _FALSE, _ZERO)
    backward_rows(like, ops, frame, _ZERO, outputs, _FALSE)


@inner
def choose_rows(frame: Any, start: Any, bits: Any, keys: Any, spare: Any) -> None:
    """Write the row numbers of the batches from position `start` on.

    It does so for several batches at once, since it is vector code and a batch may be small.
    """
    count = min(frame.window * frame.batch_size, frame.rows - start)
    index = integers(frame.index, count)
    if frame.shuffle != 0:
        shuffle(index, start, frame.rows, bits, keys, spare)
    else:
        for i in range(count):
            index[i] = start + i


@inner
def gather_rows(like: Any, frame: Any, rows: Any, first: Any, last: Any) -> None:
    """Copy the chosen rows of x into the batch."""
    width = frame.inputs
    length = width * like.itemsize
    index = integers(rows, last)
    for i in range(first, last):
        # Rows are far from one another in memory, so the processor cannot prefetch them itself.
        if length > _LINE and i + 2 < last:
            ahead = frame.x + index[i + 2] * length
            for offset in range(0, length, _LINE):
                prefetch(ahead + offset)
        source = vector(like, frame.x + index[i] * length, width)
        copy(vector(like, frame.batch + i * length, width), source)


@inner
def weight_sum(like: Any, frame: Any, rows: Any, count: Any) -> Any:
    """Return the sum of the weights of the batch's rows."""
    if frame.weight == 0:
        return float(count)
    index = integers(rows, count)
    weight = vector(like, frame.weight, frame.rows)
    total = 0.0
    for i in range(count):
        total += weight[index[i]]
    return total


@inner
def add_to_tally(frame: Any, tally: Any, count: Any, total: Any) -> None:
    """Add the batch's sums, in the order of its rows."""
    losses, scores = doubles(frame.row_loss, count), doubles(frame.row_score, count)
    for i in range(count):
        tally[_LOSS_SUM] += losses[i]
        tally[_SCORE_SUM] += scores[i]
    tally[_WEIGHT_SUM] += total
    if math.isfinite(tally[_LOSS_SUM]):
        tally[_STEPS] += 1
