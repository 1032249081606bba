"""How much memory an exported C file needs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from fastnet.export.c import forward
from fastnet.export.c.tables import RowStruct
from fastnet.export.steps import Step
from fastnet.network import Network

_SIZE: Final = {"float": 4, "double": 8}
_CONSTANT: Final = re.compile(r"^static const (float|double) \w+\[(\d+)\]", re.MULTILINE)
_BUFFER: Final = re.compile(r"^  REAL \w+\[(\d+)\]", re.MULTILINE)


class Memory(NamedTuple):
    """Bytes of numbers.

    Attributes
    ----------
    constants : int
        The weights, with the zeros at the ends of their rows, and the numbers of the preprocessing.
    stack : int
        The arrays of the functions that predict a row, which are on the stack while they run.
    """

    constants: int
    stack: int


def memory_of(network: Network, steps: Sequence[Step], row: RowStruct | None) -> Memory:
    """Return the memory of a network's file; that of texts and of code is not in it."""
    constants = sum(values.nbytes for values in forward.constants(network, steps).values())
    if row is not None:
        constants += sum(_SIZE[kind] * int(n) for kind, n in _CONSTANT.findall(row.definitions()))
    buffers = _BUFFER.findall("\n".join(forward.prediction(network, steps)))
    return Memory(constants, network.dtype.itemsize * sum(map(int, buffers)))
