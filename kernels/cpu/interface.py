"""What an engine and the compiled step share, apart from ``fastnet.kernels.abi``: no code.

An engine needs no compiler where the machine code is there already, so it imports this file.
"""

from __future__ import annotations

from typing import Final

import numpy as np

# The tasks of ``epoch.run``.
TRAIN, FORWARD, HEAD, BACKWARD, UPDATE, PREDICT, ORDER, JACOBIAN = range(8)

FEWEST: Final = 16
"""Blocks are for products with so many rows of A: fewer do not pay for the copies of B."""

FRAME: Final = np.dtype(
    [
        # The network. Addresses are in bytes, counts in elements.
        ("inputs", np.int64),
        ("outputs", np.int64),
        ("parameters", np.int64),  # address, (P,)
        ("gradients", np.int64),  # (P,)
        ("state", np.int64),  # (S,) running statistics
        ("state_size", np.int64),  # S
        ("batch_state", np.int64),  # (S,) mean and 1 / deviation of the newest batch
        ("size", np.int64),  # P
        ("n_weights", np.int64),
        ("rates", np.int64),  # (P,), or 0: all are 1
        # The workspace, for ``capacity`` rows.
        ("capacity", np.int64),
        ("work", np.int64),  # (width * capacity,) activations
        ("deltas", np.int64),  # (width * capacity,) their gradients
        ("batch", np.int64),  # (capacity, I) gathered inputs
        ("slopes", np.int64),  # (capacity, I) the gradients of inputs, or 0: none are wanted
        ("index", np.int64),  # (window batch_size,) int64, row numbers of the next batches
        ("window", np.int64),  # number of batches
        ("count", np.int64),  # rows of the batch
        ("piece", np.int64),  # a thread takes so many rows of its batch through all layers at once
        ("row_loss", np.int64),  # (capacity,) float64
        ("row_score", np.int64),  # (capacity,) float64
        ("room", np.int64),  # (room_size,) for products, one for each thread
        ("room_size", np.int64),
        ("large", np.int64),  # products with a B of so many elements are computed in blocks
        ("depth", np.int64),  # of so many of its rows
        ("blocked", np.int64),  # by the kernel at this address
        ("strips", np.int64),  # (n, 4) int64, those of ``fastnet.nn.strips.table``
        ("pairs", np.int64),  # (ops, 3) int64, addresses for products of bfloat16; or 0: float32
        ("multiply", np.int64),  # the address of their kernel
        ("round", np.int64),  # and of the one that rounds
        ("part", np.int64),  # the gradient of the weights that it takes at once, for each thread
        ("scratch", np.int64),  # (4 widest + 1, lanes), one for each thread
        ("tiny", np.int64),  # the blocks of `tiny`, or 0
        ("width", np.int64),  # the sum of the widths of the workspace's arrays
        ("tally", np.int64),  # (4,) float64
        # The data set.
        ("rows", np.int64),  # N
        ("x", np.int64),  # (N, I)
        ("labels", np.int64),  # (N,) int64, or 0
        ("target", np.int64),  # (N, T), or 0
        ("targets", np.int64),  # T
        ("weight", np.int64),  # (N,), or 0
        # The settings of training.
        ("loss", np.int64),
        ("loss_constants", np.int64),  # (n,) float64
        ("loss_constants_count", np.int64),
        ("optimizer", np.int64),
        ("constants", np.int64),  # (8,) float64
        ("coefficients", np.int64),  # (steps, 4) float64
        ("moments", np.int64),  # (n_moments, P)
        ("batch_size", np.int64),
        ("shuffle", np.int64),
        ("seed", np.uint64),
        ("epoch", np.int64),
        ("validation", np.int64),  # a frame of rows to evaluate after each epoch, or 0
        ("monitor", np.int64),  # (8,) float64, or 0: no early stopping
        ("best_parameters", np.int64),  # (P,) those of the best epoch, or 0: they are not kept
        ("best_state", np.int64),  # (S,)
        # The threads.
        ("thread", np.int64),
        ("threads", np.int64),
        ("arrivals", np.int64),  # (1,) int64, shared
        ("barriers", np.int64),  # so many of them has this thread passed in this run
    ]
)
