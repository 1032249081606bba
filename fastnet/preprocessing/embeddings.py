"""Numeric embeddings: further inputs for each scaled number, which a linear map combines.

A small network is a smooth function of plain numbers; with these inputs it can follow steps and
bumps (Gorishniy, Rubachev and Babenko, "On embeddings for numerical features in tabular deep
learning", 2022). The learned part of an embedding is the linear map, a block of the first layer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fastnet.errors import DataError, InputError, suggest
from fastnet.kernels import abi
from fastnet.nn import random
from fastnet.nn.layers import Block, Dense
from fastnet.preprocessing.columns import TableColumn
from fastnet.preprocessing.statistics import quantiles
from fastnet.utils.warn import warn

Array = NDArray[np.float64]

EMBEDDINGS: Final = ("periodic", "piecewise")

FREQUENCIES: Final = 8
FREQUENCY_DEVIATION: Final = 0.25
BINS: Final = 16

NO_KNOTS: Final = np.zeros((0, 0))
"""Stands for the knots of a table without embeddings, whatever its number of columns."""


def check(name: str | None) -> str | None:
    """Return the name of an embedding, or None."""
    if name is not None and name not in EMBEDDINGS:
        raise InputError(f"unknown numeric embedding {name!r}{suggest(name, EMBEDDINGS)}")
    return name


def check_knots(name: str | None, knots: Array, numeric: int) -> None:
    """Raise unless these are the knots of an embedding of that many columns."""
    check(name)
    if knots.ndim != 2 or len(knots) != numeric:
        raise DataError(f"the table: expected the knots of {numeric} columns.")
    if bool(knots.shape[1]) != (name is not None and numeric > 0):
        raise DataError("the table: expected knots exactly where numbers are embedded.")
    if name == "piecewise" and numeric and (knots.shape[1] < 2 or (np.diff(knots) < 0).any()):
        raise DataError("the table: expected the ends of bins in rising order.")


def width(name: str | None, knots: int) -> int:
    """Return the number of inputs that an embedding with this many knots adds per column."""
    return {None: 0, "periodic": 2 * knots, "piecewise": knots - 1}[name]


def learn(name: str, z: Array, column: int, seed: int, times: Array | None = None) -> Array:
    """Return the knots of one column from its scaled numbers (N,), NaN where one is missing.

    periodic : (8,) frequencies, drawn from a normal distribution, the same for the same seed
    piecewise : (17,) the ends of 16 bins with equally many rows, each counted `times` (N,)
    """
    if name == "periodic":
        stream = 3 * 2**30 + column  # beside those of the layers
        drawn = random.normal(FREQUENCIES, stream=stream, purpose=abi.INITIALIZE, seed=seed)
        return drawn * FREQUENCY_DEVIATION
    known = ~np.isnan(z)
    often = None if times is None else times[known]
    return quantiles(z[known], np.linspace(0, 1, BINS + 1), often)


def first_layer(
    columns: Sequence[TableColumn],
    widths: Sequence[int],
    embedding_size: int | None,
    scale_rate: float,
) -> Dense:
    """Return `TablePreprocessor.first_layer` for columns that become so many inputs each."""
    blocks: list[Block] = []
    for column, width in zip(columns, widths, strict=True):
        if column.one_hot and width > 1 and embedding_size is not None:
            blocks.append(Block(width, min(embedding_size, width), "standard_normal"))
            continue
        together = width - column.levels + 1 if column.kind == "numeric" else 1
        if together > 1:
            blocks.append(Block(together, min(embedding_size or 8, together)))
            width -= together
        blocks += [Block(1, 1, "ones", scale_rate)] * width
    return Dense(sum(block.outputs for block in blocks), bias_rate=0.0, blocks=tuple(blocks))


def warn_of_size(
    embedding_size: int | None, columns: Sequence[TableColumn], numeric_embedding: str | None
) -> None:
    """Warn of a size that was given for a table that has nothing to embed."""
    embeds = numeric_embedding is not None or any(column.one_hot for column in columns)
    if embedding_size is not None and not embeds:
        warn(
            f"an embedding size of {embedding_size} embeds nothing: no column has more than two "
            "categories. Leave it out, name as categorical the columns whose numbers are names, or "
            "give a numeric embedding.",
        )


def write(out: NDArray[Any], name: str, x: Array, z: Array, knots: Array, steps: Array) -> None:
    """Write the added inputs (N, `width`) of numbers x (N,), scaled z; 0 where one is missing.

    periodic : ``sin(2 pi c z), cos(2 pi c z)`` for each frequency c
    piecewise : the fraction of each bin that lies below z, from 0 to 1; a bin of width 0, in which
    many rows have the same number, gives 1 where x is above its `step_points`
    """
    if name == "periodic":
        angles = 2.0 * np.pi * z[:, None] * knots
        features = np.hstack([np.sin(angles), np.cos(angles)])
    else:
        low, size = knots[:-1], np.diff(knots)
        with np.errstate(all="ignore"):  # widths of 0, or so small that a quotient is infinite
            fraction = np.where(size > 0, (z[:, None] - low) / size, x[:, None] > steps)
        features = np.clip(fraction, 0.0, 1.0)
    features[np.isnan(z)] = 0.0
    out[...] = features


def step_points(
    apply: Callable[[Any, Any, Any], Any], center: Array, factor: Array, knots: Array
) -> Array:
    """Return the largest x that is scaled to no more than the lower end of each bin, (C, K - 1).

    If many rows have the same number, a bin has width 0 at this number. Whether a scaled number is
    above it would depend on the last bit of a square root, which is not the same everywhere. So the
    unscaled number is compared, with a tolerance of 8 units in the last place.

    Parameters
    ----------
    apply : callable
        The scaling, which increases with x.
    center, factor : (C,) float64
        The scales of C columns of numbers.
    knots : (C, K) float64
        The ends of their bins.
    """
    ends = knots[:, :-1] + 8 * np.finfo(np.float64).eps * np.abs(knots[:, :-1])

    def below(x: Array) -> NDArray[np.bool_]:
        return np.asarray(apply(x, center[:, None], factor[:, None]) <= ends)

    # Bisect over all finite numbers, which are in the order of these integers.
    largest = np.full(ends.shape, np.finfo(np.float64).max)
    high = largest.view(np.int64)
    low = -high
    for _ in range(64):
        middle = (low >> 1) + (high >> 1) + (low & high & 1)
        fits = below(_number(middle))
        low, high = np.where(fits, middle, low), np.where(fits, high, middle)
    return np.where(below(largest), largest, _number(low))


def _number(order: NDArray[np.int64]) -> Array:
    """Return the float at this position in the order of all floats; 0 is at 0."""
    return np.copysign(np.abs(order).view(np.float64), order)
