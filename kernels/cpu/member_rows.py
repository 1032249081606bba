"""The rows of tiny networks with one of them in each lane: losses, gradients; see ``members``."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastnet.kernels import abi
from fastnet.kernels.cpu.frame import doubles, integers, vector
from fastnet.kernels.cpu.jit import inner
from fastnet.kernels.cpu.lanes import add_to_doubles, load
from fastnet.kernels.cpu.loss_head import is_fused
from fastnet.kernels.cpu.losses import loss_block, one_hot
from fastnet.kernels.cpu.random import feistel_bits, feistel_keys, room_for_spare, shuffle
from fastnet.kernels.cpu.row_lanes import get, put
from fastnet.kernels.cpu.tiny import backward_layer, forward_layer
from fastnet.kernels.cpu.vectors import lanes_of

_LOSS_SUM, _SCORE_SUM, _WEIGHT_SUM = abi.LOSS_SUM, abi.SCORE_SUM, abi.WEIGHT_SUM
_STEPS, _TALLY = abi.STEPS, abi.TALLY

# Of NumPy's types: Numba compiles a function anew for every literal argument.
_ZERO, _TRUE, _FALSE = np.int64(0), np.bool_(True), np.bool_(False)

KEYS = 8  # words of an epoch's shuffle
_MORE = 2  # vectors of a row behind its targets: labels, and weights


# --- lanes ----------------------------------------------------------------------------------------


@inner
def member_of(frames: Any, lane: Any) -> Any:
    """Return the frame of a lane; lanes without a member do what the last one does."""
    return frames[min(lane, len(frames) - 1)]


@inner
def to_lane(like: Any, block: Any, source: Any, count: Any, lane: Any) -> None:
    """Copy `count` numbers to a lane of as many vectors."""
    lanes = lanes_of(like)
    given, vectors = vector(like, source, count), vector(like, block, count * lanes)
    for i in range(count):
        vectors[i * lanes + lane] = given[i]


@inner
def from_lane(like: Any, target: Any, block: Any, count: Any, lane: Any) -> None:
    """Copy a lane of `count` vectors to as many numbers."""
    lanes = lanes_of(like)
    wanted, vectors = vector(like, target, count), vector(like, block, count * lanes)
    for i in range(count):
        wanted[i] = vectors[i * lanes + lane]


# --- sums -----------------------------------------------------------------------------------------


@inner
def begin_sums(sums: Any, lanes: Any) -> None:
    """Set the sums of all lanes to 0."""
    out = doubles(sums, _TALLY * lanes)
    for k in range(_TALLY * lanes):
        out[k] = 0.0


@inner
def count_step(sums: Any, lanes: Any) -> None:
    """Count a step of each lane whose losses have been finite so far."""
    out = doubles(sums, _TALLY * lanes)
    for lane in range(lanes):
        if math.isfinite(out[_LOSS_SUM * lanes + lane]):
            out[_STEPS * lanes + lane] += 1


@inner
def write_sums(tally: Any, sums: Any, lane: Any, lanes: Any) -> None:
    """Write the sums of a lane to the tally at an address."""
    out, given = doubles(tally, _TALLY), doubles(sums, _TALLY * lanes)
    for k in range(_TALLY):
        out[k] = given[k * lanes + lane]


# --- rows -----------------------------------------------------------------------------------------


@inner
def begin_epoch(frames: Any, sums: Any, keys: Any, lanes: Any) -> None:
    """Set the sums to 0, and write each lane's keys of the shuffle."""
    begin_sums(sums, lanes)
    out = integers(keys, KEYS * lanes)
    for lane in range(lanes):
        frame = member_of(frames, lane)
        k0, k1, k2, k3, k4, k5, k6, k7 = feistel_keys(frame.seed, frame.epoch)
        own = out[KEYS * lane : KEYS * (lane + 1)]
        own[0], own[1], own[2], own[3] = k0, k1, k2, k3
        own[4], own[5], own[6], own[7] = k4, k5, k6, k7


@inner
def choose_rows(frames: Any, start: Any, keys: Any, index: Any, lanes: Any) -> None:
    """Write each lane's row numbers of the next batches, from position `start` of the epoch on."""
    frame, every = frames[0], integers(keys, KEYS * lanes)
    window = frame.window * frame.batch_size
    count = min(window, frame.rows - start)
    bits, spare = feistel_bits(frame.rows), room_for_spare()
    for lane in range(lanes):
        out = integers(index + lane * window * 8, count)
        if frame.shuffle != 0:
            k = every[KEYS * lane : KEYS * (lane + 1)].view(np.uint64)
            own = k[0], k[1], k[2], k[3], k[4], k[5], k[6], k[7]
            shuffle(out, start, frame.rows, bits, own, spare)
        else:
            for i in range(count):
                out[i] = start + i


@inner
def list_of(frame: Any, index: Any, lane: Any, count: Any) -> Any:
    """Return a lane's list of row numbers."""
    return integers(index + lane * frame.window * frame.batch_size * 8, count)


@inner
def row_bytes(like: Any, frame: Any) -> Any:
    """Return the bytes of a row: its inputs, activations, their gradients, targets and more."""
    blocks = frame.inputs + 2 * frame.width + frame.outputs + _MORE
    return blocks * lanes_of(like) * like.itemsize


@inner
def gather(like: Any, frame: Any, at: Any, start: Any, count: Any, lane: Any, rows: Any) -> None:
    """Copy rows of the data, their targets and weights to a lane of the blocks at `rows`."""
    size, lanes, real = like.itemsize, lanes_of(like), like.dtype.type
    inputs, targets, of_row = frame.inputs, frame.targets, row_bytes(like, frame)
    x, labels, target, weight = frame.x, frame.labels, frame.target, frame.weight
    to_targets = (inputs + 2 * frame.width) * lanes * size
    to_more = to_targets + frame.outputs * lanes * size
    own = list_of(frame, at, lane, count)
    for r in range(count):
        row = own[r] if at != 0 else start + r
        out = rows + r * of_row
        to_lane(like, out, x + row * inputs * size, inputs, lane)
        if labels != 0:
            vector(like, out + to_more, lanes)[lane] = real(integers(labels, row + 1)[row])
        else:
            to_lane(like, out + to_targets, target + row * targets * size, targets, lane)
        if weight != 0:
            mine = vector(like, weight, row + 1)[row]
            vector(like, out + to_more + lanes * size, lanes)[lane] = mine


@inner
def weigh(like: Any, frames: Any, at: Any, count: Any, share: Any, sums: Any) -> None:
    """Write each lane's share of a row in the mean, and add the batch's weight to its sums."""
    lanes, real = lanes_of(like), like.dtype.type
    shares, out = vector(like, share, lanes), doubles(sums, _TALLY * lanes)
    for lane in range(lanes):
        frame, total = member_of(frames, lane), float(count)
        if frame.weight != 0:
            weight, total = vector(like, frame.weight, frame.rows), 0.0
            own = list_of(frame, at, lane, count)
            for r in range(count):
                total += weight[own[r] if at != 0 else r]
        shares[lane] = real(1.0 / total if total > 0 else 0.0)
        out[_WEIGHT_SUM * lanes + lane] += total


@inner
def add_losses(
    like: Any, frame: Any, y: Any, z: Any, d: Any, t: Any, share: Any, sums: Any
) -> None:
    """Add the loss and the score of a row to the sums of its lane, and write the gradient to d."""
    lanes, width = lanes_of(like), frame.outputs
    vector_bytes = lanes * like.itemsize
    more = t + width * vector_bytes
    if frame.labels != 0:
        one_hot(like, t, load(like, more, lanes), width)
    constants = doubles(frame.loss_constants, frame.loss_constants_count)
    loss, score = loss_block(like, d, y, z, t, width, frame.targets, frame.loss, constants)
    factor = load(like, share, lanes)
    if frame.weight != 0:
        weight = load(like, more + vector_bytes, lanes)
        loss, score, factor = loss * weight, score * weight, factor * weight
    for j in range(width):
        put(like, d, j, get(like, d, j) * factor)
    add_to_doubles(sums + _LOSS_SUM * lanes * 8, loss)
    add_to_doubles(sums + _SCORE_SUM * lanes * 8, score)


@inner
def pass_rows(
    like: Any,
    ops: Any,
    frames: Any,
    at: Any,
    start: Any,
    count: Any,
    w: Any,
    share: Any,
    rows: Any,
    sums: Any,
    training: Any,
) -> None:
    """Add the losses of `count` rows of each lane to its sums; in training go back to the layers.

    Rows are independent of one another: what they have in common is done for one after the other,
    and the processor works on several of them at once.

    Parameters
    ----------
    at, start : int
        The address of the rows' numbers; or 0: they are those from `start` on.
    w, share, rows : addresses
        Of the parameters, of the rows' share in the mean, and of the blocks of the rows.
    """
    frame, lanes = frames[0], lanes_of(like)
    vector_bytes, of_row, last = lanes * like.itemsize, row_bytes(like, frame), ops[len(ops) - 1]
    to_work = frame.inputs * vector_bytes
    to_deltas = to_work + frame.width * vector_bytes
    to_targets = to_deltas + frame.width * vector_bytes
    for lane in range(lanes):
        gather(like, member_of(frames, lane), at, start, count, lane, rows)
    for index in range(len(ops)):
        for r in range(count):
            x = rows + r * of_row
            forward_layer(like, ops[index], w, _TRUE, x + to_work, x)
    for r in range(count):
        x = rows + r * of_row
        y, z = x + to_work + last.y * vector_bytes, x + to_work + last.z * vector_bytes
        d = x + to_deltas + last.y * vector_bytes
        add_losses(like, frame, y, z, d, x + to_targets, share, sums)
    if training:
        for back in range(len(ops)):
            op = ops[len(ops) - 1 - back]
            fused = back == 0 and is_fused(frame.loss, op.activation)
            for r in range(count):
                x = rows + r * of_row
                backward_layer(
                    like, op, fused, w, _TRUE, x + to_work, x + to_deltas, x,
                    _FALSE, _ZERO, _FALSE,
                )  # fmt: skip


@inner
def evaluate(like: Any, ops: Any, held_out: Any, w: Any, share: Any, rows: Any, sums: Any) -> None:
    """Compute the sums of the rows held out."""
    lanes, count = lanes_of(like), held_out[0].rows
    begin_sums(sums, lanes)
    weigh(like, held_out, _ZERO, count, share, sums)
    most = held_out[0].batch_size
    for start in range(0, count, most):
        here = min(most, count - start)
        pass_rows(like, ops, held_out, _ZERO, start, here, w, share, rows, sums, _FALSE)
    count_step(sums, lanes)
