"""How much memory an exported C file needs."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from fastnet.export.c import fixed_source, forward
from fastnet.export.c import jacobian as derivatives
from fastnet.export.c.fixed import Fixed
from fastnet.export.c.tables import RowStruct
from fastnet.export.combination import Combination

_SIZE: Final = {"float": 4, "double": 8, "int8_t": 1, "int16_t": 2}
_CONSTANT: Final = re.compile(r"^static const (float|double) \w+\[(\d+)\]", re.MULTILINE)
_ZEROS: Final = re.compile(r"^static const REAL \w+\[(\d+)\]", re.MULTILINE)
_BUFFER: Final = re.compile(r"^  (REAL|double|int8_t|int16_t) (\w+\[\d+\].*);", re.MULTILINE)


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
    whole: Combination,
    row: RowStruct | None,
    *,
    jacobian: bool = False,
    fixed: Fixed | None = None,
) -> Memory:
    """Return the memory of a network's file; that of texts and of code is not in it."""
    if fixed is None:
        arrays, functions = forward.constants(whole), forward.prediction(whole)
    else:
        arrays = fixed_source.constants(whole, fixed)
        functions = fixed_source.prediction(whole, fixed)
    constants = sum(values.nbytes for values in arrays.values())
    if row is not None:
        constants += sum(_SIZE[kind] * int(n) for kind, n in _CONSTANT.findall(row.definitions()))
    if jacobian:
        functions = [*functions[:-1], *derivatives.definitions(whole)]
        zeros = _ZEROS.findall("\n".join(functions))
        constants += whole.dtype.itemsize * sum(map(int, zeros))
    # The last function calls the others one after the other.
    *called, last = (_buffers(text, whole.dtype.itemsize) for text in functions)
    return Memory(constants, last + max(called))


def _buffers(function: str, real: int) -> int:
    """Return the bytes of the arrays of a function whose numbers have `real` bytes."""
    sizes = _SIZE | {"REAL": real}
    found = _BUFFER.findall(function)
    arrays = [(kind, n) for kind, names in found for n in re.findall(r"\[(\d+)\]", names)]
    return sum(sizes[kind] * int(n) for kind, n in arrays)
