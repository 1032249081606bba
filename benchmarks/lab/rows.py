"""Kernels over the rows of a batch: softmax with cross-entropy, sums of columns, transpose."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np

from fastnet.benchmarks.lab import production
from fastnet.benchmarks.lab.kernel import (
    EPSILON,
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

# --- softmax and cross-entropy: losses, and the gradient of z, of rows (B, O) --------------------


def entropy_loops(d: Any, y: Any, loss: Any, z: Any, labels: Any) -> None:
    """Row by row with the C library's exponential."""
    for i in range(z.shape[0]):
        top = z[i, 0]
        for j in range(z.shape[1]):
            top = max(top, z[i, j])
        total = np.float32(0)
        for j in range(z.shape[1]):
            y[i, j] = math.exp(z[i, j] - top)
            total += y[i, j]
        for j in range(z.shape[1]):
            y[i, j] /= total
            d[i, j] = y[i, j]
        d[i, labels[i]] -= np.float32(1)
        loss[i] = math.log(total) - (z[i, labels[i]] - top)


def entropy_numpy(d: Any, y: Any, loss: Any, z: Any, labels: Any) -> None:
    """Pass over the batch for each operation."""
    rows = np.arange(len(z))
    shifted = z - z.max(axis=1, keepdims=True)
    np.exp(shifted, out=y)
    total = y.sum(axis=1)
    y /= total[:, None]
    d[...] = y
    d[rows, labels] -= 1
    loss[...] = np.log(total) - shifted[rows, labels]


def _entropy_case(B: int, O: int) -> Case:
    def make() -> Arguments:
        labels = np.arange(B) % O
        z = random_array(B, O) * np.float32(3)
        return unwritten(B, O), unwritten(B, O), unwritten(B), z, labels

    def error(arguments: Arguments) -> float:
        d, y, loss, z, labels = arguments
        rows = np.arange(B)
        shifted = z.astype(np.float64) - z.max(axis=1, keepdims=True)
        e = np.exp(shifted)
        share = e / e.sum(axis=1, keepdims=True)
        gradient = share.copy()
        gradient[rows, labels] -= 1
        losses = np.log(e.sum(axis=1)) - shifted[rows, labels]
        return max(largest(y - share), largest(d - gradient), largest(loss - losses))

    used = size_of(*make())
    # The sum of O terms, and z minus its maximum, which is at most some 25.
    return Case(f"{B} x {O}", used, used, make, error, O / 2 + 25)


# --- the sums over the rows of a batch (B, O) ----------------------------------------------------


def sums_columns(out: Any, a: Any) -> None:
    """One column after the other."""
    for j in range(a.shape[1]):
        total = np.float32(0)
        for i in range(a.shape[0]):
            total += a[i, j]
        out[j] = total


def sums_numpy(out: Any, a: Any) -> None:
    """``a.sum(axis=0)``."""
    np.sum(a, axis=0, out=out)


def _sums_case(B: int, O: int) -> Case:
    def make() -> Arguments:
        return unwritten(O), random_array(B, O)

    def error(arguments: Arguments) -> float:
        out, a = arguments
        exact = a.astype(np.float64)
        return largest(out - exact.sum(axis=0), EPSILON * np.abs(exact).sum(axis=0))

    return Case(f"{B} x {O}", 4.0 * B * O, size_of(*make()), make, error, B / 2)


# --- transpose -----------------------------------------------------------------------------------

_SIDE: Final = 16


def transpose_loops(out: Any, a: Any, like: Any) -> None:
    """Element by element."""
    for i in range(a.shape[0]):
        for j in range(a.shape[1]):
            out[j, i] = a[i, j]


def transpose_blocks(out: Any, a: Any, like: Any) -> None:
    """Square blocks, so that every line of the cache is used up while it is there."""
    for i0 in range(0, a.shape[0], _SIDE):
        for j0 in range(0, a.shape[1], _SIDE):
            for i in range(i0, min(a.shape[0], i0 + _SIDE)):
                for j in range(j0, min(a.shape[1], j0 + _SIDE)):
                    out[j, i] = a[i, j]


def transpose_numpy(out: Any, a: Any, like: Any) -> None:
    """Copy the transposed view."""
    np.copyto(out, a.T)


def _transpose_case(rows: int, columns: int) -> Case:
    def make() -> Arguments:
        return unwritten(columns, rows), random_array(rows, columns), unwritten(1)

    def error(arguments: Arguments) -> float:
        out, a, _ = arguments
        return 0.0 if np.array_equal(out, a.T) else float("inf")

    used = 8 * rows * columns
    return Case(f"{rows} x {columns}", float(used), used, make, error, 0.0)


# --- the kernels ---------------------------------------------------------------------------------

_ENTROPY: Final = ((64, 4), (256, 2), (128, 10), (256, 10), (33, 7), (64, 1_000))
_SUMS: Final = ((64, 64), (256, 208), (128, 128), (256, 512), (128, 10), (33, 65))
_TRANSPOSE: Final = ((64, 64), (208, 208), (512, 512), (128, 10), (33, 65))

KERNELS: Final = (
    Kernel(
        "softmax and cross-entropy",
        "copy",
        "eps",
        (
            Version("loops", "a scalar exponential for each element", compiled(entropy_loops)),
            Version(
                "NumPy",
                "ten passes, each with a temporary array and a call",
                in_python(entropy_numpy),
            ),
            Version(
                "lanes",
                "a row of the batch in each lane: exponentials and sums of 16 rows at once",
                compiled(production.cross_entropy),
            ),
        ),
        lambda quick: [_entropy_case(*size) for size in (_ENTROPY[2:5:2] if quick else _ENTROPY)],
    ),
    Kernel(
        "sums of columns",
        "read",
        "eps",
        (
            Version(
                "columns", "jumps by a row from one addition to the next", compiled(sums_columns)
            ),
            Version("NumPy", "1 us a call and more, and outside the epoch", in_python(sums_numpy)),
            Version("rows", "four vectors of each row at once", compiled(production.column_sums)),
        ),
        lambda quick: [_sums_case(*size) for size in (_SUMS[::5] if quick else _SUMS)],
    ),
    Kernel(
        "transpose",
        "copy",
        "eps",
        (
            Version(
                "loops", "writes one element to each line of the cache", compiled(transpose_loops)
            ),
            Version(
                "blocks",
                "friendly to the cache, but still element by element",
                compiled(transpose_blocks),
            ),
            Version("NumPy", "element by element too", in_python(transpose_numpy)),
            Version(
                "register tiles",
                "as many rows as a vector has lanes change places within registers",
                compiled(production.transpose),
            ),
        ),
        lambda quick: [
            _transpose_case(*size) for size in (_TRANSPOSE[::4] if quick else _TRANSPOSE)
        ],
    ),
)
