"""Strips of the weights of dense layers: what products compute of a layer with blocks.

The weights (I, O) of a layer with blocks along the diagonal are 0 outside of them. A product with
each block alone would be many small ones, and one with the whole matrix mostly zeros. Strips lie
between the two: they divide the columns of the matrix into runs at least a vector wide, each with
the range of rows that its blocks cover::

    blocks            strips of columns      strips of rows
    a . . . .         s s . . .              s s . . .
    a . . . .         s s . . .              s s . . .
    . b . . .         s s . . .              s s . . .
    . . c c .         . . s s .              . . s s s
    . . . . d         . . . . s              . . s s s

Strips of columns are for ``x @ w`` and for the gradient of w. Strips of rows, which divide the rows
in the same way, are for ``dz @ w.T``. What is left out are products with zeros, so all outputs that
are numbers stay the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastnet.errors import InputError
from fastnet.nn.layers import Block, Dense
from fastnet.nn.plan import Plan, block_places

_OVERHEAD: Final = 8
"""A strip costs as much as so many rows of weights, beside its own."""


class Strip(NamedTuple):
    """A part of the weights: rows `row` up to `row_end`, columns `column` up to `column_end`."""

    row: int
    row_end: int
    column: int
    column_end: int

    @property
    def rows(self) -> slice:
        """The inputs that it multiplies."""
        return slice(self.row, self.row_end)

    @property
    def columns(self) -> slice:
        """The outputs that it adds to."""
        return slice(self.column, self.column_end)


def of_columns(blocks: Sequence[Block], width: int) -> list[Strip]:
    """Return strips that divide the columns, each a multiple of `width` wide but for the last.

    Neighbours become one strip where that costs no more. A strip costs its number of rows for each
    `width` of its columns, and `_OVERHEAD`.
    """
    found: list[Strip] = []
    for strip in _cut([b.inputs for b in blocks], [b.outputs for b in blocks], width):
        while found:
            before = found[-1]
            both = Strip(before.row, strip.row_end, before.column, strip.column_end)
            if _cost(both, width) > _cost(before, width) + _cost(strip, width):
                break
            found.pop()
            strip = both
        found.append(strip)
    return found


def of_rows(blocks: Sequence[Block], width: int) -> list[Strip]:
    """Return the same for the rows of the weights."""
    turned = of_columns([Block(block.outputs, block.inputs) for block in blocks], width)
    return [Strip(s.column, s.column_end, s.row, s.row_end) for s in turned]


def _cut(heights: list[int], widths: list[int], width: int) -> list[Strip]:
    """Return a strip for every `width` columns of blocks of those sizes."""
    bottoms, rights = np.cumsum(heights), np.cumsum(widths)
    starts = np.arange(0, rights[-1], width)
    ends = np.minimum(starts + width, rights[-1])
    # The first and the last block that have some of these columns.
    first, last = rights.searchsorted(starts, "right"), rights.searchsorted(ends, "left")
    rows = bottoms[first] - np.array(heights)[first], bottoms[last]
    return [Strip(*map(int, four)) for four in zip(*rows, starts, ends, strict=True)]


def _cost(strip: Strip, width: int) -> int:
    vectors = -(-(strip.column_end - strip.column) // width)
    return vectors * (strip.row_end - strip.row) + _OVERHEAD


def outside(plan: Plan) -> NDArray[np.bool_] | None:
    """Return which parameters are weights outside of blocks (P,), or None if none are."""
    if not any(isinstance(layer, Dense) and layer.blocks for layer in plan.chain):
        return None
    flat = np.zeros(plan.size, np.bool_)
    for tensor in plan.parameters:
        layer = plan.chain[tensor.op]
        if isinstance(layer, Dense) and layer.blocks and len(tensor.shape) == 2:
            weights = tensor.view(flat)
            weights[...] = True
            for rows, columns, _ in block_places(layer.blocks):
                weights[rows, columns] = False
    return flat


def check_outside(values: NDArray[Any], outside: NDArray[np.bool_] | None) -> None:
    """Raise `InputError` unless the values are 0 where they are `outside` of blocks.

    Products leave them out, so another value there would count on some backends only.
    """
    found = 0 if outside is None else int(np.count_nonzero(values[outside]))
    if found:
        raise InputError(
            f"weights outside of the blocks of a dense layer must be 0, got {found} others: set "
            "them to 0, or describe the layer without blocks."
        )


def table(plan: Plan, width: int, *, whole: bool = False) -> NDArray[np.int64]:
    """Return the strips of all dense layers as kernels read them (n, 4).

    A row for each op comes first: the numbers of those rows of the table where its strips of
    columns begin and end, and where its strips of rows begin and end. The rows behind are strips.

    Parameters
    ----------
    width : int
        The columns (or rows) of strips are multiples of it.
    whole : bool, default False
        Whether every layer is one strip, as those without blocks are.
    """
    heads: list[list[int]] = []
    strips: list[Strip] = []
    for layer, op in zip(plan.chain, plan.ops, strict=True):
        head = []
        for kind in (of_columns, of_rows):
            head.append(len(plan.ops) + len(strips))
            if isinstance(layer, Dense):
                one = (Block(int(op["inputs"]), int(op["outputs"])),)
                strips += kind(one if whole else layer.blocks or one, width)
            head.append(len(plan.ops) + len(strips))
        heads.append(head)
    return np.array([*heads, *strips], np.int64)
