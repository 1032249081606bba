"""LIBXSMM: a library that writes machine code for one size of a product, called from the loop.

Intel's library (Heinecke, Henry, Hutchinson and Pabst, SC 2016) is the mark for products of
small matrices. Its interface is that of version 1.17, which Debian has; another is not asked for.
"""

from __future__ import annotations

import ctypes
import subprocess
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from fastnet.benchmarks.lab.kernel import Run, compiled

NAME: Final = "LIBXSMM"
ABSENT: Final = "not installed: Debian's libxsmm-dev (1.17), or a C compiler to link it"

_INT, _ADDRESS = ctypes.c_int, ctypes.c_void_p
_INT_AT, _FLOAT_AT = ctypes.POINTER(ctypes.c_int), ctypes.POINTER(ctypes.c_float)

PRODUCT: Final = ctypes.CFUNCTYPE(None, *3 * [_ADDRESS])
"""Two operands, then the result."""
DISPATCH: Final = ctypes.CFUNCTYPE(
    PRODUCT, *3 * [_INT], *3 * [_INT_AT], *2 * [_FLOAT_AT], *2 * [_INT_AT]
)
"""Sizes m, n and k, leading dimensions, alpha and beta, flags and prefetching."""
TRANSPOSE: Final = ctypes.CFUNCTYPE(None, *2 * [_ADDRESS], ctypes.c_uint, *4 * [_INT])
"""Result and operand, bytes of an element, rows and columns of the operand, leading dimensions."""

SECOND_TURNED: Final = 2
"""LIBXSMM_GEMM_FLAG_TRANS_B. For the first operand, its dispatcher has no code."""

_LINK: Final = (
    "-Wl,--no-as-needed,--whole-archive",
    "-lxsmm",
    "-lxsmmnoblas",
    "-Wl,--no-whole-archive",
    "-lm",
)
"""All of the library, although nothing refers to it."""


class Library(NamedTuple):
    """What is used of LIBXSMM: a `DISPATCH` and a `TRANSPOSE`."""

    dispatch: Any
    transpose: Any


@cache
def library() -> Library | None:
    """Return LIBXSMM, or None where it cannot be had.

    Debian ships archives alone, so the C compiler makes a shared library of them; where there are
    shared libraries, it takes those.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "linked.so")
        try:
            subprocess.run(["cc", "-shared", "-o", path, *_LINK], check=True, capture_output=True)
            found = ctypes.CDLL(path)
            found.libxsmm_init()
            return Library(
                DISPATCH(("libxsmm_smmdispatch", found)), TRANSPOSE(("libxsmm_otrans", found))
            )
        except (OSError, AttributeError, subprocess.CalledProcessError):
            return None


def absent() -> dict[str, str]:
    """Return what the report says of the library where it cannot be had."""
    return {NAME: ABSENT} if library() is None else {}


def _prepared(
    function: Callable[..., Any], *, terms: int, flags: int = 0
) -> Callable[..., Run | None]:
    """Return `Version.prepare`; the sums run over axis `terms` of a."""

    def prepare(c: Any, a: Any, *others: Any) -> Run | None:
        found = library()
        if found is None:
            return None
        # Column by column a row-major matrix is its transpose: c' = b' a', the operands exchanged.
        rows, columns = c.shape
        product = found.dispatch(
            columns,
            rows,
            a.shape[terms],
            *3 * [None],  # leading dimensions: those of whole matrices
            None,  # alpha: 1
            ctypes.c_float(0),  # beta: c is overwritten
            ctypes.c_int(flags),
            ctypes.c_int(0),  # code that prefetches takes three addresses more
        )
        if not product:
            return None
        return compiled(function)(product, found.transpose, c, a, *others)

    return prepare


def _forward(product: Any, transpose: Any, c: Any, a: Any, b: Any, bias: Any, room: Any) -> None:
    product(b.ctypes, a.ctypes, c.ctypes)
    for i in range(c.shape[0]):
        row = c[i]
        for j in range(len(row)):
            row[j] = max(row[j] + bias[j], np.float32(0))


def _weights(product: Any, transpose: Any, c: Any, a: Any, b: Any, room: Any) -> None:
    product(b.ctypes, a.ctypes, c.ctypes)


def _inputs(product: Any, transpose: Any, c: Any, a: Any, b: Any, turned: Any) -> None:
    I, O = b.shape
    transpose(turned.ctypes, b.ctypes, np.uint32(4), O, I, O, I)
    product(turned.ctypes, a.ctypes, c.ctypes)


forward: Final = _prepared(_forward, terms=1)
weights: Final = _prepared(_weights, terms=0, flags=SECOND_TURNED)
inputs: Final = _prepared(_inputs, terms=1)
