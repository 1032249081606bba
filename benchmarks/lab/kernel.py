"""What a kernel in the laboratory is: versions, cases, and how a compiled one is repeated."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from fastnet.benchmarks.reports.report import Limit

Arguments = tuple[Any, ...]
Run = Callable[[int], object]
"""Does the work so many times."""

FLAGS: Final[dict[str, Any]] = {"nogil": True, "error_model": "numpy"}
"""As fastnet compiles its kernels."""

EPSILON: Final = float(np.finfo(np.float32).eps)
SEED: Final = 0


@dataclass(frozen=True)
class Version:
    """One way to write a kernel.

    Attributes
    ----------
    name : str
    why : str
        Why it lost; for the production version, why it won.
    prepare : (*arguments) -> Run or None
        None where it has no code for arguments of this size, or on this machine.
    """

    name: str
    why: str
    prepare: Callable[..., Run | None]


@dataclass(frozen=True)
class Case:
    """A kernel at one size.

    Attributes
    ----------
    size : str
    work : float
        FLOP of a call; bytes read and written where memory is the limit.
    footprint : int
        Bytes of all arrays: which cache they fit in.
    make : () -> Arguments
        New arguments, the same at every call: outputs first, filled with NaN.
    error : Arguments -> float
        The largest error after one call, in the kernel's unit; infinite for a NaN.
    bound : float
        What it may be.
    """

    size: str
    work: float
    footprint: int
    make: Callable[[], Arguments]
    error: Callable[[Arguments], float]
    bound: float


@dataclass(frozen=True)
class Kernel:
    """A kernel: its versions, the production version last, and its sizes.

    Attributes
    ----------
    name : str
    limit : {"fma", "copy", "read"}
        What bounds it.
    unit : str
        Of the errors.
    versions : sequence of Version
    cases : (quick) -> list of Case
    """

    name: str
    limit: Limit
    unit: str
    versions: Sequence[Version]
    cases: Callable[[bool], list[Case]]


@cache
def looped(function: Callable[..., Any], **flags: Any) -> Callable[[int, Arguments], None]:
    """Return a compiled loop that calls the function again and again: Python's call costs 1 us."""
    part = njit(**{**FLAGS, **flags})(function)

    @njit(**FLAGS)
    def repeat(times: int, arguments: Arguments) -> None:
        for _ in range(times):
            part(*arguments)

    return repeat  # type: ignore[no-any-return, unused-ignore]


def compiled(function: Callable[..., Any], **flags: Any) -> Callable[..., Run]:
    """Return `Version.prepare` for a function that Numba compiles."""

    def prepare(*arguments: Any) -> Run:
        repeat = looped(function, **flags)
        return lambda times: repeat(times, arguments)

    return prepare


def in_python(function: Callable[..., Any]) -> Callable[..., Run]:
    """Return `Version.prepare` for a function that calls NumPy."""

    def prepare(*arguments: Any) -> Run:
        def run(times: int) -> None:
            for _ in range(times):
                function(*arguments)

        return run

    return prepare


def random_array(*shape: int, stream: int = 0) -> NDArray[np.float32]:
    """Return float32 numbers of mean 0 and variance 1, the same at every call."""
    rng = np.random.default_rng((SEED, stream, *shape))
    return rng.standard_normal(shape, np.float32)


def unwritten(*shape: int) -> NDArray[np.float32]:
    """Return an array of NaN."""
    return np.full(shape, np.nan, np.float32)


def largest(error: NDArray[Any], scale: NDArray[Any] | float = EPSILON) -> float:
    """Return the largest absolute error over `scale`; infinite for a NaN."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.abs(error) / scale
    # Nothing over nothing is no error.
    ratio = np.where((error == 0) & ~np.isfinite(ratio), 0.0, ratio)
    return float(ratio.max()) if np.isfinite(ratio).all() else float("inf")


def units(got: NDArray[Any], exact: NDArray[np.float64]) -> float:
    """Return the largest error of float32 numbers in units in the last place."""
    return largest(got - exact, np.spacing(np.abs(exact).astype(np.float32)).astype(np.float64))


def size_of(*arrays: NDArray[Any]) -> int:
    """Return the bytes of the arrays."""
    return sum(array.nbytes for array in arrays)
