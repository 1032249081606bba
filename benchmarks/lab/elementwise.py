"""exp, tanh and log(1 + x) of every element; errors in units in the last place."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from fastnet.benchmarks.lab import production
from fastnet.benchmarks.lab.kernel import (
    Arguments,
    Case,
    Kernel,
    Version,
    compiled,
    in_python,
    random_array,
    size_of,
    units,
    unwritten,
)

SIZES: Final = (16_384, 133_120, 1_001, 17)
"""The activations of ``image`` and ``image-wide``, and two odd numbers."""

_LIBRARY_LOST: Final = "the C library's function keeps the loop scalar"
_NUMPY_LOST: Final = "vectorised where NumPy has it, but 0.5 us a call and outside the epoch's code"
_WON: Final = "a polynomial without table or branch: the loop is vectorised where it is called"


def exp_library(y: Any, x: Any) -> None:
    """``expf``."""
    for i in range(len(x)):
        y[i] = math.exp(x[i])


def tanh_library(y: Any, x: Any) -> None:
    """``tanhf``."""
    for i in range(len(x)):
        y[i] = math.tanh(x[i])


def log1p_library(y: Any, x: Any) -> None:
    """``log1pf``."""
    for i in range(len(x)):
        y[i] = math.log1p(x[i])


def _kernel(name: str, library: Any, here: Any, function: np.ufunc, bound: float) -> Kernel:
    def numpy(y: Any, x: Any) -> None:
        function(x, out=y)

    return Kernel(
        name,
        "copy",
        "ulp",
        (
            Version("library", _LIBRARY_LOST, compiled(library)),
            Version("NumPy", _NUMPY_LOST, in_python(numpy)),
            Version("polynomial", _WON, compiled(here)),
        ),
        lambda quick: [_case(count, function, bound) for count in SIZES[quick:]],
    )


def _case(count: int, function: Callable[..., Any], bound: float) -> Case:
    def make() -> Arguments:
        x = random_array(count) * np.float32(4)
        # fastnet's log1p is for the results of exp(-|z|).
        return unwritten(count), np.exp(-np.abs(x)) if function is np.log1p else x

    def error(arguments: Arguments) -> float:
        y, x = arguments
        return units(y, function(x.astype(np.float64)))

    used = size_of(*make())
    return Case(f"{count:,}", used, used, make, error, bound)


KERNELS: Final = (
    _kernel("exp", exp_library, production.exp_of, np.exp, 3.0),
    _kernel("tanh", tanh_library, production.tanh_of, np.tanh, 4.0),
    _kernel("log(1 + x)", log1p_library, production.log1p_of, np.log1p, 3.0),
)
