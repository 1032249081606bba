"""How much memory an exported C file needs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from fastnet.export.c import forward
from fastnet.export.c import jacobian as derivatives
from fastnet.export.c.tables import RowStruct
from fastnet.export.steps import Step
from fastnet.network import Network

_SIZE: Final = {"float": 4, "double": 8}
_CONSTANT: Final = re.compile(r"^static const (float|double) \w+\[(\d+)\]", re.MULTILINE)
_ZEROS: Final = re.compile(r"^static const REAL \w+\[(\d+)\]", re.MULTILINE)
_BUFFER: Final = re.compile(r"^  REAL \w+\[(\d+)\]", re.MULTILINE)


class Memory(NamedTuple):
    """Bytes of numbers.

    Attributes
    ----------
    constants : int
        The weights, with the zeros at the ends of their rows, and the numbers of the preprocessing.
    stack : int
        The arrays that are on the stack while a row is predicted, or while it is differentiated, if
        there is a function for that.
    """

    constants: int
    stack: int


def memory_of(
    network: Network, steps: Sequence[Step], row: RowStruct | None, *, jacobian: bool = False
) -> Memory:
    """Return the memory of a network's file; that of texts and of code is not in it."""
    functions = forward.prediction(network, steps)
    size = network.dtype.itemsize
    constants = sum(values.nbytes for values in forward.constants(network, steps).values())
    if row is not None:
        constants += sum(_SIZE[kind] * int(n) for kind, n in _CONSTANT.findall(row.definitions()))
    if jacobian:
        functions = derivatives.definitions(network, steps)
        constants += size * sum(map(int, _ZEROS.findall("\n".join(functions))))
    return Memory(constants, size * sum(map(int, _BUFFER.findall("\n".join(functions)))))
