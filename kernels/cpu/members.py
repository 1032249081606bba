"""Trains tiny networks of the same layers with one of them in each lane: members of a population.

``tiny`` has a row of the batch in each lane, so a batch of 4 rows leaves most lanes of a vector
empty, and sums over rows go across lanes. Here a lane has a network: a weight is a vector, and rows
follow one another. Each member ends with the bits that ``run`` gives it alone: its lane goes
through the operations of ``tiny``, in their order, and sums over rows follow the tree of `add_up`.

A member has a frame like that of an engine. What it learns is written there at the end of the call,
or of the epoch that ends its training.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import carray

from fastnet.kernels import abi
from fastnet.kernels.cpu.epoch import count_epoch, is_over
from fastnet.kernels.cpu.frame import (
    doubles,
    flush_subnormals,
    frames_at,
    integers,
    ops_at,
    restore_subnormals,
)
from fastnet.kernels.cpu.jit import entry, inner
from fastnet.kernels.cpu.member_parameters import (
    NUMBERS,
    fill_coefficients,
    fill_constants,
    parameter_gradients,
    update,
)
from fastnet.kernels.cpu.member_rows import (
    KEYS,
    begin_epoch,
    choose_rows,
    count_step,
    evaluate,
    from_lane,
    pass_rows,
    row_bytes,
    to_lane,
    weigh,
    write_sums,
)
from fastnet.kernels.cpu.vectors import lanes_of

_STEPS, _TALLY, _COEFFICIENTS = abi.STEPS, abi.TALLY, abi.COEFFICIENTS

# Of NumPy's types: Numba compiles a function anew for every literal argument.
_ZERO, _TRUE = np.int64(0), np.bool_(True)


@entry
def train_members(
    element: Any,
    ops_address: Any,
    ops_count: Any,
    frames_address: Any,
    count: Any,
    room: Any,
    moments: Any,
    epochs: Any,
    steps: Any,
) -> None:
    """Train `count` members, at most as many as a vector has lanes, for some epochs.

    It does for each of them what ``run`` does for ``TRAIN`` with tiny networks, validation and
    monitor included. Layers, loss, optimizer, numbers of rows and batch size are those of the first
    frame; learning rates and other numbers of the optimizer are each member's own. There is no
    clipping, and all members have weights for rows or none has.

    Parameters
    ----------
    element : pointer
        Any pointer to the networks' dtype, for which the kernel is compiled.
    ops_address, ops_count, frames_address : int
        The plan's records, and a frame for each member.
    room : int
        The address of scratch memory; see ``fastnet/backends/numba_members.py``.
    moments : int
        The number of the optimizer's moments.
    epochs, steps : int
        The number of epochs, and of batches in each.
    """
    like = carray(element, (1,))
    ops = ops_at(ops_address, ops_count)
    frames = frames_at(frames_address, count)
    before = flush_subnormals()
    first, lanes = frames[0], lanes_of(like)
    # The scratch memory: blocks of vectors, then numbers of 8 bytes.
    vector_bytes = lanes * like.itemsize
    w = room
    m = w + first.size * vector_bytes
    g = m + 2 * first.size * vector_bytes
    numbers = g + first.size * vector_bytes
    share = numbers + NUMBERS * vector_bytes
    rows = share + vector_bytes
    sums = rows + first.batch_size * row_bytes(like, first)
    keys = sums + _TALLY * lanes * 8
    trains = integers(keys + KEYS * lanes * 8, lanes)
    index = keys + (KEYS + 1) * lanes * 8
    for lane in range(lanes):
        trains[lane] = lane < count
        frame = frames[min(lane, count - 1)]
        to_lane(like, w, frame.parameters, first.size, lane)
        to_lane(like, m, frame.moments, moments * first.size, lane)
    fill_constants(like, frames, numbers)
    for epoch in range(epochs):
        if epoch:
            for k in range(count):
                frames[k].epoch += 1
                frames[k].tally += _TALLY * 8
                frames[k].coefficients += steps * _COEFFICIENTS * 8
        begin_epoch(frames, sums, keys, lanes)
        for batch in range(steps):
            start, place = batch * first.batch_size, batch % first.window
            here = min(first.batch_size, first.rows - start)
            if place == 0:
                choose_rows(frames, start, keys, index, lanes)
            at = index + place * first.batch_size * 8
            weigh(like, frames, at, here, share, sums)
            pass_rows(like, ops, frames, at, _ZERO, here, w, share, rows, sums, _TRUE)
            count_step(sums, lanes)
            parameter_gradients(like, ops, first, here, rows, g)
            fill_coefficients(like, frames, batch, numbers)
            update(like, first, w, m, g, numbers)
        for k in range(count):
            if trains[k]:
                write_sums(frames[k].tally, sums, k, lanes)
        if first.validation != 0:
            held_out = frames_at(first.validation, count)
            evaluate(like, ops, held_out, w, share, rows, sums)
            for k in range(count):
                if epoch:
                    held_out[k].tally += _TALLY * 8
                if trains[k]:
                    write_sums(held_out[k].tally, sums, k, lanes)
        # What those whose training ends with this epoch have learned.
        left = 0
        for k in range(count):
            if trains[k] and (is_last(like, frames[k], steps, w, k) or epoch + 1 == epochs):
                from_lane(like, frames[k].parameters, w, first.size, k)
                from_lane(like, frames[k].moments, m, moments * first.size, k)
                trains[k] = 0
            left += trains[k]
        if left == 0:
            break
    restore_subnormals(before)


@inner
def is_last(like: Any, frame: Any, steps: Any, w: Any, lane: Any) -> Any:
    """Return whether an epoch ends a member's training; count it, and keep the best weights."""
    if doubles(frame.tally, _TALLY)[_STEPS] < steps:
        return True
    if frame.monitor == 0:
        return False
    from_lane(like, frame.parameters, w, frame.size, lane)
    count_epoch(like, frame)
    return is_over(frame)
