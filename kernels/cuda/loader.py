"""Assembles the CUDA files into one source text, and defines how each kernel is launched.

The text needs no header: NVRTC compiles it without a search path, and a C++ compiler can build it
for the CPU with a shim for the few CUDA names it uses. Codes, layouts and constants come from
``kernels/abi.py`` alone.

Launching relies on these rules of the kernels:

- Scalar arguments are ``integer`` (64 bits) or ``double``, to which CuPy converts a Python int or
  float. Values that change from step to step are in device memory, in `CLOCK` and in the table of
  coefficients, so that a step can be recorded once and replayed.
- A kernel strides over its work, so it is correct for any number of blocks.
- The order of every sum depends on the shape and on ``BLOCK`` alone. There are no atomics, so two
  runs give the same bits.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from fastnet.kernels import abi

FILES: Final = (
    "cells.cuh",
    "common.cuh",
    "random.cuh",
    "activations.cuh",
    "softmax.cuh",
    "clock.cu",
    "data.cu",
    "dense.cu",
    "product.cu",
    "dropout.cu",
    "residual.cu",
    "norm.cu",
    "losses.cuh",
    "losses.cu",
    "optimizers.cuh",
    "optimizers.cu",
    "small.cu",
    "wide.cu",
)
"""In the order in which they need one another."""

CLOCK: Final = ("step", "seed", "start", "row", "halted")
"""Fields of the record with the place in training, which kernels read; see ``clock.cu``."""

MEMBER: Final = {
    "w_p": "real*",
    "moments_sp": "real*",
    "best_p": "real*",  # gets the parameters of the best epoch; null: nobody wants them
    "rates_p": "const real*",
    "constants": "const double*",  # of its optimizer
    "loss_constants": "const double*",
    "coefficients": "const double*",  # (steps, 4)
    "trained_e": "double*",  # (epochs, TALLY): the sums of each epoch
    "evaluated_e": "double*",  # those of the rows held out
    "monitor": "double*",  # null: nobody watches
    "flags": "double*",
    "x_ni": "const real*",
    "label_n": "const integer*",
    "target_nt": "const real*",
    "weight_n": "const real*",
    "order_n": "unsigned*",
    "held_x_ni": "const real*",  # the rows held out
    "held_label_n": "const integer*",
    "held_target_nt": "const real*",
    "held_weight_n": "const real*",
    "count": "integer",
    "bits": "integer",  # of the permutation with which the kernel writes each order; 0: it does not
    "seed": "integer",
    "epoch": "integer",  # the number of the first one
}
"""A network that a block trains by itself, and its rows. Fields have 8 bytes."""

FLAGS: Final = ("over", "not_finite")
"""A member's flags, one double each: nothing more is to be trained; a parameter is not finite."""

DENSE: Final = ("inputs", "outputs", "activation", "weight", "bias", "y", "z")
"""A dense layer for kernels that go through all layers: its sizes, and where its arrays begin."""

WARP: Final = 32
COLUMN_TILE: Final = 8
"""Columns that one block of a column kernel works on: 32 bytes of float32, a sector of memory."""

PRODUCT_TILE: Final = 16
"""Columns of the tile that one block of ``product.cu`` makes."""

RUN_TILE: Final = 2
"""Threads of a block beside each other, each with 16 bytes of a row: a sector of memory too."""

WIDE: Final = (512, 4096)
"""Rows of so many outputs are worked on by a block each, which keeps them in registers."""

NORM_CHUNKS: Final = 256
"""The sum for the gradient's norm has at most so many parts."""

OPTIONS: Final = ("-std=c++17", "-diag-suppress=177")
"""For NVRTC. Never fast-math: NaN and infinity have to survive. 177: a constant is not used."""

GRID_LIMIT: Final = 8192
"""Blocks in either direction of a grid; beyond that, a thread takes more than one element."""


class Launch(NamedTuple):
    """Blocks in a grid and threads in a block, both as (x, y)."""

    grid: tuple[int, int]
    block: tuple[int, int]


def over_elements(rows: int, columns: int, block: int) -> Launch:
    """Return a launch with one thread for each element of a (rows, columns) array."""
    width = min(block, 1 << (columns - 1).bit_length())
    return Launch((_blocks(columns, width), _blocks(rows, block // width)), (width, block // width))


def over_line(rows: int, columns: int, block: int) -> Launch:
    """Return a launch with one thread for each of `columns` elements, for a kernel without rows."""
    return Launch((_blocks(columns, block), 1), (block, 1))


def over_rows(rows: int, columns: int, block: int) -> Launch:
    """Return a launch with one warp for each row."""
    return Launch((1, _blocks(rows, block // WARP)), (WARP, block // WARP))


def over_columns(rows: int, columns: int, block: int) -> Launch:
    """Return a launch with one block for every `COLUMN_TILE` columns."""
    return Launch((_blocks(columns, COLUMN_TILE), 1), (COLUMN_TILE, block // COLUMN_TILE))


def over_tiles(rows: int, columns: int, block: int) -> Launch:
    """Return a launch with one block for every tile of `PRODUCT_TILE` columns."""
    tall = block // PRODUCT_TILE
    return Launch((_blocks(columns, PRODUCT_TILE), _blocks(rows, tall)), (PRODUCT_TILE, tall))


def over_runs(rows: int, columns: int, block: int) -> Launch:
    """Return a launch with one block for every `RUN_TILE` runs of 8 columns of 2 bytes."""
    return Launch((_blocks(columns, 8 * RUN_TILE), 1), (RUN_TILE, block // RUN_TILE))


def over_chunks(rows: int, columns: int, block: int) -> Launch:
    """Return a launch with one block for each of `rows` chunks."""
    return Launch((1, _blocks(rows, 1)), (1, block))


def one_block(rows: int, columns: int, block: int) -> Launch:
    """Return a launch of one block, its threads in a single column."""
    return Launch((1, 1), (1, block))


def one_thread(rows: int, columns: int, block: int) -> Launch:
    """Return a launch of one thread."""
    return Launch((1, 1), (1, 1))


def _blocks(count: int, tile: int) -> int:
    return min(max(1, -(-count // tile)), GRID_LIMIT)


def norm_chunks(size: int) -> int:
    """Return the number of parts of the sum for the norm of `size` gradients."""
    return min(NORM_CHUNKS, -(-size // 4096))


KERNELS: Final[dict[str, Callable[[int, int, int], Launch]]] = {
    "clock_set": one_thread,
    "permutation": over_line,
    "gather_rows": over_elements,
    "find_not_finite": over_line,
    "narrow": over_line,
    "widen": over_line,
    "dense_forward_epilogue": over_elements,
    "dense_forward_softmax": over_rows,
    "softmax_backward": over_rows,
    "dense_backward_epilogue": over_columns,
    "product_cells": over_tiles,
    "product_numbers": over_tiles,
    "dropout_forward": over_line,
    "dropout_backward": over_line,
    "residual_add": over_line,
    "batch_norm_statistics": over_columns,
    "batch_norm_forward": over_elements,
    "layer_norm_forward": over_rows,
    "norm_backward_epilogue": over_columns,
    "batch_norm_backward": over_elements,
    "layer_norm_backward": over_rows,
    "weight_sum": one_block,
    "loss_head": over_rows,
    "tally_add": one_block,
    "gradient_square_sum": over_chunks,
    "gradient_clip": one_block,
    "optimizer_update": over_line,
    "members_evaluate": over_rows,
    "members_end_epoch": over_chunks,
    "dense_backward_runs": over_runs,
    "loss_head_wide": over_chunks,
}
"""Every kernel, with the function that gives its grid and block."""


def launch_shape(kernel: str, rows: int, columns: int, block: int) -> Launch:
    """Return the grid and block that launch `kernel` on a (rows, columns) array.

    Parameters
    ----------
    block : int
        Threads in a block, the same as in `source`.
    """
    return KERNELS[kernel](rows, columns, block)


def source(dtype: np.dtype[np.floating], block: int, *, bf16: bool = False) -> str:
    """Return the text of all kernels for one dtype.

    Parameters
    ----------
    dtype : float32 or float64
        Becomes ``real``.
    block : int
        Threads in a block: a power of two from 32 to 1024. Becomes ``BLOCK``.
    bf16 : bool
        Whether activations are stored as bfloat16; see ``cells.cuh``.
    """
    if block not in (32, 64, 128, 256, 512, 1024):
        raise ValueError(f"block must be a power of two from 32 to 1024, got {block}.")
    parts = [prelude(dtype, block), *(["#define CELLS_ARE_BF16"] if bf16 else [])]
    return "\n".join([*parts, *map(file, FILES)])


def file(name: str) -> str:
    """Return the text of one file, with a directive that names it in the compiler's messages."""
    text = Path(__file__).with_name(name).read_text(encoding="utf-8")
    return f'#line 1 "{name}"\n{text}'


def prelude(dtype: np.dtype[np.floating], block: int, lanes: int = WARP) -> str:
    """Return the definitions that come from Python: types, sizes, and all of ``abi``.

    In kernels that work row by row, `lanes` threads share a row.
    """
    real = {np.dtype(np.float32): "float", np.dtype(np.float64): "double"}[np.dtype(dtype)]
    lines = [f"typedef {real} real;", "typedef long long integer;"]
    sizes = {"BLOCK": block, "WARP": WARP, "LANES": lanes, "COLUMN_TILE": COLUMN_TILE}
    sizes["PRODUCT_TILE"] = PRODUCT_TILE
    sizes["WIDE"] = WIDE[1]
    for name, value in sizes.items():
        lines.append(f"constexpr int {name} = {value};")
    for record, members in (
        ("Clock", dict.fromkeys(CLOCK, "integer")),
        ("Member", MEMBER),
        ("Dense", dict.fromkeys(DENSE, "integer")),
    ):
        body = " ".join(f"{kind} {field};" for field, kind in members.items())
        lines.append(f"struct {record} {{ {body} }};")
    lines += [f"constexpr int {name.upper()} = {n};" for n, name in enumerate(FLAGS)]
    lines.append("namespace abi {")
    for name, value in vars(abi).items():
        if name.isupper() and isinstance(value, int):
            lines.append(f"constexpr integer {name} = {value}LL;")
        elif name.isupper() and isinstance(value, float):
            lines.append(f"constexpr double {name} = {value!r};")
    return "\n".join([*lines, "}"])
