"""`PartSums`: the sum of the parts' vectors, in one order of addition for any number of ranks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from fastnet.distributed import parts as parts_table
from fastnet.distributed.group import Group
from fastnet.distributed.parts import Node, halved
from fastnet.distributed.transports import Transport

Array = Any
"""An array of NumPy or of CuPy, as the transport has them."""

Leaf = tuple[Array, float | None]
"""A vector, and what it is multiplied by before it is added."""

Each = Callable[[Callable[[int], Any]], Any]


class PartSums:
    """Adds up vectors (V,) of all parts; its memory is made once.

    A rank first adds up its own parts, as far as they are one node of the order. Then each rank
    gets its slice of all nodes, adds it up, and sends the result to all. That moves as many bytes
    as an all-reduce on a ring.

    Elements are multiplied and added one by one, each rounded for itself: on a GPU too, where the
    sums have the bits of the host.

    Parameters
    ----------
    group : Group
    size : int
        V.
    dtype : dtype
    transport : Transport
        It has the vectors, and moves them.
    """

    def __init__(self, group: Group, size: int, dtype: np.dtype[Any], transport: Transport) -> None:
        self._group, self._size, self._transport = group, size, transport
        ranks, count = range(group.size), group.parts
        held = [parts_table.parts_of(rank, group.size, count) for rank in ranks]
        self._nodes = [parts_table.nodes(one, count) for one in held]
        places = [size * rank // group.size for rank in range(group.size + 1)]
        self._slices = np.diff(places).tolist()
        mine = self._slices[group.rank]
        depth = count.bit_length() + 1
        pieces = len(group.held)
        empty, block = transport.empty, min(transport.block, size // pieces + 1)
        self._scratch = empty((pieces, depth, block), dtype)
        if group.size > 1:
            self._sent = [empty((size,), dtype) for _ in self._nodes[group.rank]]
            self._received = empty((sum(map(len, self._nodes)), mine), dtype)
            self._total = empty((mine,), dtype)

    def add(
        self,
        vectors: Sequence[Array],
        shares: Sequence[float],
        out: Array,
        each: Each | None = None,
    ) -> None:
        """Write the sum of ``shares[p] * vectors[p]`` over all parts to `out` (V,).

        Parts of the same share are added up first, and the sum is multiplied.

        Parameters
        ----------
        vectors : sequence of (V,)
            Those of this rank's parts.
        shares : sequence of float
            Those of all parts (P,).
        each : callable, optional
            Calls a function with the number of each of this rank's parts, perhaps on several
            threads: each adds up a piece of the vectors. Default: one after the other.
        """
        group = self._group
        factor = shares[0] if len(set(shares)) == 1 else None
        pairs = zip(group.held, vectors, strict=True)
        leaves = {
            (part, part + 1): (vector, shares[part] if factor is None else None)
            for part, vector in pairs
        }
        whole = 0, group.parts
        if group.size == 1:
            self._sum_pieces(whole, leaves, out, factor, each)
            return
        own = self._nodes[group.rank]
        for node, sent in zip(own, self._sent, strict=True):
            self._sum_pieces(node, leaves, sent, None, each)
        with group.busy():
            received = {node: (array, None) for node, array in self._exchange(own).items()}
            self._sum_pieces(whole, received, self._total, factor, each)
            self._transport.gather_pieces(self._total, out, self._slices)

    def _exchange(self, own: Sequence[Node]) -> dict[Node, Array]:
        """Return this rank's slice of every rank's nodes."""
        group, received, at = self._group, dict[Node, Array](), 0
        mine = self._slices[group.rank]
        nothing = self._total[:0]
        for k in range(max(map(len, self._nodes))):
            senders = [rank for rank, nodes in enumerate(self._nodes) if k < len(nodes)]
            counts = [mine if rank in senders else 0 for rank in range(group.size)]
            sends = k < len(own)
            sent = self._slices if sends else [0] * group.size
            into = self._received[at : at + len(senders)]
            self._transport.exchange(self._sent[k] if sends else nothing, sent, into, counts)
            for row, rank in enumerate(senders):
                received[self._nodes[rank][k]] = into[row]
            at += len(senders)
        return received

    def _sum_pieces(
        self,
        node: Node,
        leaves: Mapping[Node, Leaf],
        out: Array,
        factor: float | None,
        each: Each | None,
    ) -> None:
        count = len(self._scratch)

        def sum_piece(number: int) -> None:
            piece = slice(len(out) * number // count, len(out) * (number + 1) // count)
            self._sum_blocks(node, leaves, out, factor, piece, self._scratch[number])

        if each is None:
            for number in range(count):
                sum_piece(number)
        else:
            each(sum_piece)

    def _sum_blocks(
        self,
        node: Node,
        leaves: Mapping[Node, Leaf],
        out: Array,
        factor: float | None,
        piece: slice,
        scratch: Array,
    ) -> None:
        size = self._transport.block
        # What overflows makes a weight infinite, and training checks the weights.
        with np.errstate(all="ignore"):
            for start in range(piece.start, piece.stop, size):
                part = slice(start, min(start + size, piece.stop))
                block = out[part]
                found = _sum(node, leaves, part, block, scratch)
                if factor is not None and factor != 1.0:
                    np.multiply(found, factor, out=block)
                elif found is not block:
                    block[...] = found


def _sum(node: Node, leaves: Mapping[Node, Leaf], part: slice, out: Array, scratch: Array) -> Array:
    """Return the sum of a node's parts, within a block; it may be written to `out`.

    `scratch` has memory for the sums below this one.
    """
    if node in leaves:
        vector, share = leaves[node]
        return vector[part] if share is None else np.multiply(vector[part], share, out=out)
    middle = halved(*node)
    first = _sum((node[0], middle), leaves, part, out, scratch[1:])
    second = _sum((middle, node[1]), leaves, part, scratch[0, : len(out)], scratch[1:])
    return np.add(first, second, out=out)


def in_order(values: Array) -> Array:
    """Return the sum over parts (P, ...) in the order of `PartSums`."""
    count = len(values)
    if count == 1:
        return np.asarray(values[0])
    middle = halved(0, count)
    return np.asarray(in_order(values[:middle]) + in_order(values[middle:]))
