"""The three matrix products of a dense layer, at the sizes of the ladder and at odd ones.

B rows, I inputs, O outputs. Errors are given in units of eps times ``sum(|a| |b|)``: a chain of K
multiply-adds may be wrong by K / 2 of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numba import njit

from fastnet.benchmarks.lab import libxsmm, production
from fastnet.benchmarks.lab.kernel import (
    EPSILON,
    FLAGS,
    Arguments,
    Case,
    Kernel,
    Version,
    compiled,
    in_python,
    largest,
    random_array,
    size_of,
    unwritten,
)
from fastnet.benchmarks.ladder import LADDER

# (B, I, O): no multiple of a vector, a single row, and more rows than a tile is high.
ODD: Final = ((1, 784, 128), (17, 33, 65), (100, 100, 100), (255, 129, 3))
_QUICK: Final = ((64, 64, 64), (17, 33, 65))

_BLOCK: Final = 64
_ROWS: Final = 4


# --- relu(x w + bias) ----------------------------------------------------------------------------


def forward_loops(c: Any, a: Any, b: Any, bias: Any, room: Any) -> None:
    """One sum after the other."""
    for i in range(a.shape[0]):
        for j in range(b.shape[1]):
            total = bias[j]
            for p in range(a.shape[1]):
                total += a[i, p] * b[p, j]
            c[i, j] = max(total, np.float32(0))


def forward_rows(c: Any, a: Any, b: Any, bias: Any, room: Any) -> None:
    """Add rows of b to a row of c."""
    for i in range(a.shape[0]):
        row = c[i]
        row[:] = bias
        for p in range(a.shape[1]):
            factor, other = a[i, p], b[p]
            for j in range(len(row)):
                row[j] += factor * other[j]
        for j in range(len(row)):
            row[j] = max(row[j], np.float32(0))


def forward_blocks(c: Any, a: Any, b: Any, bias: Any, room: Any) -> None:
    """Four rows of c at once, in blocks of b that stay in the first cache."""
    for i in range(c.shape[0]):
        c[i] = bias
    add_in_blocks(c, a, b)
    flat = c.reshape(-1)
    for i in range(len(flat)):
        flat[i] = max(flat[i], np.float32(0))


@njit(**FLAGS)
def add_in_blocks(c: Any, a: Any, b: Any) -> None:
    """Add ``a b`` to c."""
    (m, k), n = a.shape, b.shape[1]
    whole = m - m % _ROWS
    for p0 in range(0, k, _BLOCK):
        for j0 in range(0, n, _BLOCK):
            j1 = min(n, j0 + _BLOCK)
            for i in range(0, whole, _ROWS):
                c0, c1, c2, c3 = c[i, j0:j1], c[i + 1, j0:j1], c[i + 2, j0:j1], c[i + 3, j0:j1]
                for p in range(p0, min(k, p0 + _BLOCK)):
                    other = b[p, j0:j1]
                    a0, a1, a2, a3 = a[i, p], a[i + 1, p], a[i + 2, p], a[i + 3, p]
                    for j in range(len(other)):
                        c0[j] += a0 * other[j]
                        c1[j] += a1 * other[j]
                        c2[j] += a2 * other[j]
                        c3[j] += a3 * other[j]
            for i in range(whole, m):
                c0 = c[i, j0:j1]
                for p in range(p0, min(k, p0 + _BLOCK)):
                    other, a0 = b[p, j0:j1], a[i, p]
                    for j in range(len(other)):
                        c0[j] += a0 * other[j]


def forward_blas(c: Any, a: Any, b: Any, bias: Any, room: Any) -> None:
    """``sgemm``, then bias and ReLU in passes of their own."""
    np.matmul(a, b, out=c)
    np.add(c, bias, out=c)
    np.maximum(c, 0, out=c)


# --- x' dz ---------------------------------------------------------------------------------------


def weights_loops(c: Any, a: Any, b: Any, room: Any) -> None:
    """One sum after the other."""
    for i in range(a.shape[1]):
        for j in range(b.shape[1]):
            total = np.float32(0)
            for p in range(a.shape[0]):
                total += a[p, i] * b[p, j]
            c[i, j] = total


def weights_rows(c: Any, a: Any, b: Any, room: Any) -> None:
    """Add rows of b to the rows of c, row after row of the batch."""
    c[:] = np.float32(0)
    for p in range(a.shape[0]):
        other = b[p]
        for i in range(a.shape[1]):
            factor, row = a[p, i], c[i]
            for j in range(len(row)):
                row[j] += factor * other[j]


def weights_blas(c: Any, a: Any, b: Any, room: Any) -> None:
    """``sgemm``."""
    np.matmul(a.T, b, out=c)


# --- dz w' ---------------------------------------------------------------------------------------


def inputs_loops(c: Any, a: Any, b: Any, turned: Any) -> None:
    """One sum after the other; both rows are contiguous, but a sum may not be reordered."""
    for i in range(a.shape[0]):
        for j in range(b.shape[0]):
            total = np.float32(0)
            for p in range(a.shape[1]):
                total += a[i, p] * b[j, p]
            c[i, j] = total


def inputs_blas(c: Any, a: Any, b: Any, turned: Any) -> None:
    """``sgemm``."""
    np.matmul(a, b.T, out=c)


# --- sizes ---------------------------------------------------------------------------------------


def layers(*, first: bool = True) -> list[tuple[int, int, int]]:
    """Return (B, I, O) of every dense layer of the ladder that is trained on a CPU."""
    found = [
        (rung.batch, inputs, outputs)
        for rung in LADDER.values()
        if rung.batch is not None
        for inputs, outputs in list(zip(rung.sizes, rung.sizes[1:], strict=False))[not first :]
    ]
    return list(dict.fromkeys(found))


def _case(
    size: tuple[int, int, int], arrays: Callable[..., Arguments], exact: Callable[..., Any]
) -> Case:
    """Return a case; `exact` gives result and ``sum(|a| |b|)`` from the arguments in float64."""
    B, I, O = size

    def error(arguments: Arguments) -> float:
        c, *given = arguments
        result, magnitude = exact(*(array.astype(np.float64) for array in given))
        return largest(c - result, EPSILON * magnitude)

    terms = {"forward": I, "weights": B, "inputs": O}[exact.__name__.removeprefix("exact_")]
    made = arrays(B, I, O)
    return Case(
        size=f"{B} x {I} x {O}",
        work=2.0 * B * I * O,
        footprint=size_of(*made),
        make=lambda: arrays(B, I, O),
        error=error,
        bound=terms / 2 + 1,
    )


def exact_forward(a: Any, b: Any, bias: Any, room: Any) -> Any:
    return np.maximum(a @ b + bias, 0), np.abs(a) @ np.abs(b) + np.abs(bias)


def exact_weights(a: Any, b: Any, room: Any) -> Any:
    return a.T @ b, np.abs(a.T) @ np.abs(b)


def exact_inputs(a: Any, b: Any, turned: Any) -> Any:
    return a @ b.T, np.abs(a) @ np.abs(b.T)


def _forward_arrays(B: int, I: int, O: int) -> Arguments:
    room = unwritten(I * O)
    return unwritten(B, O), random_array(B, I), random_array(I, O, stream=1), random_array(O), room


def _weights_arrays(B: int, I: int, O: int) -> Arguments:
    return unwritten(I, O), random_array(B, I), random_array(B, O, stream=1), unwritten(I * O)


def _inputs_arrays(B: int, I: int, O: int) -> Arguments:
    return unwritten(B, I), random_array(B, O), random_array(I, O, stream=1), unwritten(I * O)


def _forward_cases(quick: bool) -> list[Case]:
    sizes = _QUICK if quick else (*layers(), *ODD)
    return [_case(size, _forward_arrays, exact_forward) for size in sizes]


def _weights_cases(quick: bool) -> list[Case]:
    sizes = _QUICK if quick else (*layers(), *ODD)
    return [_case(size, _weights_arrays, exact_weights) for size in sizes]


def _inputs_cases(quick: bool) -> list[Case]:
    sizes = _QUICK if quick else (*layers(first=False), *ODD)
    return [_case(size, _inputs_arrays, exact_inputs) for size in sizes]


_LOOPS_LOST: Final = "a chain of dependent additions: 4 cycles for each multiply-add, no vectors"
_ROWS_LOST: Final = "a row of c goes to the cache and back for every multiply-add"
_BLAS_LOST: Final = "1 us a call, bias and ReLU as passes of their own, edges padded"
_LIBXSMM_LOST: Final = "a library's code for the size; 2 columns fill 2 lanes of a vector"
_TILES_WON: Final = "the same, and few columns as dot products along k: all lanes are at work"

KERNELS: Final = (
    Kernel(
        "relu(x w + b)",
        "fma",
        "eps",
        (
            Version("loops", _LOOPS_LOST, compiled(forward_loops)),
            Version("rows", _ROWS_LOST, compiled(forward_rows)),
            Version(
                "blocks",
                "a fourth of the loads of b, but every sum is still stored and loaded again",
                compiled(forward_blocks),
            ),
            Version("BLAS", _BLAS_LOST, in_python(forward_blas)),
            Version(
                libxsmm.NAME,
                _LIBXSMM_LOST + "; bias and ReLU as a pass of their own",
                libxsmm.forward,
            ),
            Version(
                "register tiles",
                "sums, bias and ReLU stay in registers, but 2 columns cost as much as 16",
                compiled(production.tiles_forward),
            ),
            Version("tiles and dots", _TILES_WON, compiled(production.product_forward)),
        ),
        _forward_cases,
    ),
    Kernel(
        "x' dz",
        "fma",
        "eps",
        (
            Version("loops", _LOOPS_LOST, compiled(weights_loops)),
            Version("rows", "all of c is read and written for every row", compiled(weights_rows)),
            Version("BLAS", "1 us a call, copies x' into panels", in_python(weights_blas)),
            Version(libxsmm.NAME, _LIBXSMM_LOST, libxsmm.weights),
            Version(
                "register tiles",
                "reads x through its strides, but 2 columns cost as much as 16",
                compiled(production.tiles_weights),
            ),
            Version(
                "tiles, turned",
                "no panels; few columns as the transpose of dz' x, whose rows are long",
                compiled(production.product_weights),
            ),
        ),
        _weights_cases,
    ),
    Kernel(
        "dz w'",
        "fma",
        "eps",
        (
            Version("loops", _LOOPS_LOST, compiled(inputs_loops)),
            Version("BLAS", "1 us a call, copies w' into panels", in_python(inputs_blas)),
            Version(
                libxsmm.NAME,
                "a library's code for the size; transposes w to memory first",
                libxsmm.inputs,
            ),
            Version(
                "register tiles",
                "transposes w in registers first: a small part of the product's time",
                compiled(production.product_inputs),
            ),
        ),
        _inputs_cases,
    ),
)
