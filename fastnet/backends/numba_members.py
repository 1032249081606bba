"""Trains several tiny networks at once in the lanes of vectors, for `NumbaEngine`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnet.backends.aligned import aligned
from fastnet.backends.epochs import Member, Trained, read_stretch
from fastnet.kernels import abi
from fastnet.kernels.cpu.back_end import Kernel
from fastnet.kernels.cpu.interface import FRAME
from fastnet.nn.batch import Batch

_VECTORS, _OF_ROW = 13, 2
"""Vectors of scratch memory beside those for parameters; and of a row, beside those of layers."""

_WORDS = abi.TALLY + abi.FEISTEL_ROUNDS + 1
"""Numbers of 8 bytes for each lane, beside its list of rows."""


def train(
    kernel: Kernel, ops: NDArray[Any], frame: Any, lanes: int, members: Sequence[Member]
) -> list[Trained]:
    """Train a stretch of up to as many networks as a vector has lanes.

    Parameters
    ----------
    kernel : Kernel
        ``kernels/cpu/members.py``.
    ops : (n,) of abi.OP
    frame : FRAME
        That of an engine of the same plan that is prepared for these rows and this batch size.
    """
    first = members[0].stretch
    epochs, batches, _ = first.coefficients.shape
    trained, evaluated = np.zeros((2, len(members), epochs, abi.TALLY))
    frames, held_out = np.zeros((2, len(members)), FRAME)
    frames[:] = frame
    held_out[:] = frame
    records: list[Any] = []
    kept: list[Any] = []  # arrays that the frames point to
    for k, member in enumerate(members):
        stretch = member.stretch
        here = frames[k : k + 1]
        constants = stretch.config.optimizer.hyperparameters
        coefficients = np.ascontiguousarray(stretch.coefficients)
        kept += [constants, coefficients]
        here["parameters"] = member.parameters.ctypes.data
        here["moments"] = stretch.moments.ctypes.data
        here["coefficients"] = coefficients.ctypes.data
        here["constants"] = constants.ctypes.data
        here["seed"], here["epoch"] = np.uint64(stretch.config.seed), stretch.epoch
        here["tally"] = trained[k].ctypes.data
        describe_rows(here, stretch.rows)
        if stretch.held_out is not None:
            there = held_out[k : k + 1]
            describe_rows(there, stretch.held_out)
            there["tally"] = evaluated[k].ctypes.data
            here["validation"] = there.ctypes.data
        record = None
        if stretch.monitor is not None:
            record = stretch.monitor.record()
            here["monitor"] = record.ctypes.data
            if stretch.monitor.weights is not None:
                here["best_parameters"] = stretch.monitor.weights[0].ctypes.data
                here["best_state"] = stretch.monitor.weights[1].ctypes.data
        records.append(record)
    size, width, rows = int(frame["size"]), int(frame["width"]), first.batch
    itemsize = members[0].parameters.itemsize
    vectors = 4 * size + _VECTORS
    vectors += rows * (int(frame["inputs"]) + 2 * width + int(frame["outputs"]) + _OF_ROW)
    words = lanes * (_WORDS + int(frame["window"]) * rows)
    room = aligned((vectors * lanes * itemsize + 8 * words,), np.uint8)
    kernel.call(
        *(ops.ctypes.data, len(ops), frames.ctypes.data, len(members), room.ctypes.data),
        *(len(first.moments), epochs, batches),
    )
    return [
        read_stretch(member.stretch, *rest)
        for member, *rest in zip(members, trained, evaluated, records, strict=True)
    ]


def describe_rows(frames: NDArray[Any], rows: Batch) -> None:
    """Write the addresses of the data, which the caller keeps alive while a kernel runs."""
    frames["rows"] = len(rows)
    frames["targets"] = 0 if rows.target is None else rows.target.shape[1]
    for name, array in zip(("x", "labels", "target", "weight"), rows.fields, strict=True):
        frames[name] = 0 if array is None else array.ctypes.data
