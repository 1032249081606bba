"""Kernels between the batches: a step of Adam, and the order of an epoch."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np

import fastnet as fn
from fastnet.benchmarks.lab import production
from fastnet.benchmarks.lab.kernel import (
    EPSILON,
    SEED,
    Arguments,
    Case,
    Kernel,
    Version,
    compiled,
    in_python,
    largest,
    random_array,
)
from fastnet.benchmarks.ladder import LADDER
from fastnet.kernels import abi
from fastnet.nn import random

# --- Adam: w, m and v (n,) change, g (n,) does not -----------------------------------------------

_OPTIMIZER: Final = fn.Adam(1e-3)
_STEP: Final = 7


def adam_loop(w: Any, m: Any, v: Any, g: Any, constants: Any, coefficients: Any) -> None:
    """One pass."""
    beta1, beta2 = np.float32(constants[abi.BETA1]), np.float32(constants[abi.BETA2])
    rest1, rest2 = np.float32(1 - constants[abi.BETA1]), np.float32(1 - constants[abi.BETA2])
    rate, scale = np.float32(coefficients[abi.RATE]), np.float32(coefficients[abi.SCALE])
    epsilon = np.float32(constants[abi.EPSILON])
    for i in range(len(w)):
        m[i] = beta1 * m[i] + rest1 * g[i]
        v[i] = beta2 * v[i] + rest2 * g[i] * g[i]
        w[i] -= rate * m[i] / (math.sqrt(v[i]) * scale + epsilon)


def adam_numpy(w: Any, m: Any, v: Any, g: Any, constants: Any, coefficients: Any) -> None:
    """Pass over the parameters for every operation."""
    beta1, beta2 = (np.float32(constants[i]) for i in (abi.BETA1, abi.BETA2))
    m *= beta1
    m += np.float32(1 - constants[abi.BETA1]) * g
    v *= beta2
    v += np.float32(1 - constants[abi.BETA2]) * g * g
    root = np.sqrt(v)
    root *= np.float32(coefficients[abi.SCALE])
    root += np.float32(constants[abi.EPSILON])
    w -= np.float32(coefficients[abi.RATE]) * m / root


def _adam_case(n: int) -> Case:
    coefficients = _OPTIMIZER.step_coefficients(_STEP, np.full(1, 1e-3))[0]
    constants = np.ascontiguousarray(_OPTIMIZER.hyperparameters, np.float64)

    def make() -> Arguments:
        w, m, g = (random_array(n, stream=stream) for stream in range(3))
        v = random_array(n, stream=3) ** 2
        return w, m, v, g, constants, coefficients

    def error(arguments: Arguments) -> float:
        w, m, v = arguments[:3]
        w0, m0, v0, g = (array.astype(np.float64) for array in make()[:4])
        beta1, beta2 = constants[abi.BETA1], constants[abi.BETA2]
        m1 = beta1 * m0 + (1 - beta1) * g
        size = beta1 * np.abs(m0) + (1 - beta1) * np.abs(g)
        v1 = beta2 * v0 + (1 - beta2) * g * g
        slope = coefficients[abi.RATE] / (
            np.sqrt(v1) * coefficients[abi.SCALE] + constants[abi.EPSILON]
        )
        return max(
            largest(m - m1, EPSILON * size),
            largest(v - v1, EPSILON * v1),
            largest(w - (w0 - slope * m1), EPSILON * (np.abs(w0) + slope * size)),
        )

    # w, m and v are read and written, g is read.
    return Case(f"{n:,}", 28.0 * n, 16 * n, make, error, 6.0)


# --- the order of an epoch: a permutation of N rows ----------------------------------------------


def order_numpy(out: Any, seed: Any, epoch: Any) -> None:
    """``Generator.permutation``: Fisher and Yates's swaps."""
    out[...] = np.random.default_rng((int(seed), epoch)).permutation(len(out))


def order_sorted(out: Any, seed: Any, epoch: Any) -> None:
    """Sort the rows by random words."""
    words = random.words(len(out), step=epoch, stream=0, purpose=100, seed=int(seed))
    out[...] = np.argsort(words, kind="stable")


def _order_case(rows: int) -> Case:
    def make() -> Arguments:
        return np.full(rows, -1), np.uint64(SEED), 3

    def error(arguments: Arguments) -> float:
        return 0.0 if np.array_equal(np.sort(arguments[0]), np.arange(rows)) else float("inf")

    return Case(f"{rows:,}", 8.0 * rows, 8 * rows, make, error, 0.0)


# --- the kernels ---------------------------------------------------------------------------------

_SIZES: Final = (1_001, *(LADDER[n].parameters for n in ("policy", "table", "image", "image-wide")))
_ROWS: Final = (1_001, 8_192, 60_000)

KERNELS: Final = (
    Kernel(
        "Adam",
        "copy",
        "eps",
        (
            Version("NumPy", "ten passes over long arrays, and temporaries", in_python(adam_numpy)),
            Version(
                "loop, checked",
                "Numba tests every division for zero by default: the loop stays scalar",
                compiled(adam_loop, error_model="python"),
            ),
            Version(
                "loop",
                "one pass; divisions as in NumPy, so it is vectorised",
                compiled(production.adam),
            ),
        ),
        lambda quick: [_adam_case(n) for n in (_SIZES[:2] if quick else _SIZES)],
    ),
    Kernel(
        "order of an epoch",
        "copy",
        "eps",
        (
            Version(
                "NumPy permutation",
                "fast, but each swap needs the one before: no threads, no GPU, a table",
                in_python(order_numpy),
            ),
            Version("sorted words", "a sort of the whole data set", in_python(order_sorted)),
            Version(
                "keyed bijection",
                "any row's place on its own: any thread, any backend, no table",
                compiled(production.order),
            ),
        ),
        lambda quick: [_order_case(rows) for rows in (_ROWS[:1] if quick else _ROWS)],
    ),
)
