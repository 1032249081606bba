"""`Runtime`: the operations that the GPU engine needs from a device.

One implementation uses CuPy; another, in the tests, runs the same kernels on the CPU.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from enum import Enum
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from fastnet.nn.batch import Array

BF16: Final = np.dtype(np.uint16)
"""The dtype that stores bfloat16 numbers, since NumPy has none for them."""


class Epilogue(Enum):
    """Operations that a matrix product can include in the same pass."""

    NONE = "out = a @ b"
    BIAS = "out = a @ b + vector"
    RELU = "out = relu(a @ b + vector)"
    RELU_MASK = "out = relu(a @ b + vector), mask = out > 0"
    RELU_BACKWARD = "out = (a @ b) mask, vector = column sums of out"
    COLUMN_SUMS = "out = a @ b, vector = column sums of b"


class Runtime(Protocol):
    """Memory, kernel launches and products. Work is queued in order; only `to_host` waits for it.

    Arrays can be sliced, reshaped and filled like NumPy's, and have shape, dtype and size.

    Attributes
    ----------
    cells : dtype
        The dtype of activations and their gradients: the network's, or `BF16`.
    shared_bytes : int
        The shared memory that one block can have.
    processors : int
        How many multiprocessors there are, each of which runs one block or more at a time.
    """

    cells: np.dtype[Any]
    shared_bytes: int
    processors: int

    def active(self) -> AbstractContextManager[None]:
        """Return the context of a call: its device is the current one, and work is in order."""

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """Return a new array, not initialised; raise `MemoryError` where memory is short."""

    def to_device(self, values: NDArray[Any]) -> Array:
        """Return a new array with the values of a host array."""

    def to_host(self, values: Array) -> NDArray[Any]:
        """Return a copy on the host, after all work queued before."""

    def upload(self, into: Array, values: NDArray[Any]) -> None:
        """Overwrite an array by a host array of the same shape and dtype."""

    def copy(self, into: Array, values: Array) -> None:
        """Overwrite an array by another of the same shape and dtype."""

    def address(self, values: Array) -> int:
        """Return the address of an array."""

    def launch(
        self, kernel: str, shape: tuple[int, int], *arguments: Array | int | float | None
    ) -> None:
        """Launch a kernel over a (rows, columns) shape; None is a null pointer."""

    def specialise(self, text: str, kernel: str, shared_bytes: int) -> Callable[..., None]:
        """Compile a source text; return a function that launches its kernel.

        That function takes the numbers of blocks and of threads in each, then the kernel's
        arguments.
        """

    def gain(
        self,
        epilogue: Epilogue,
        out: Array,
        a: Array,
        b: Array,
        *,
        transpose_a: bool = False,
        transpose_b: bool = False,
        vector: Array | None = None,
        mask: Array | None = None,
    ) -> float:
        """Return the seconds that an epilogue of `gemm` saves for these arrays.

        They are compared with a product and a launch of its own. Minus infinity means that `gemm`
        does not have the epilogue here, or that it computes something else. The arrays are neither
        read nor written. The answer for a shape is the same in a recording as before it.
        """

    def gemm(
        self,
        out: Array,
        a: Array,
        b: Array,
        *,
        transpose_a: bool = False,
        transpose_b: bool = False,
        epilogue: Epilogue = Epilogue.NONE,
        vector: Array | None = None,
        mask: Array | None = None,
    ) -> None:
        """Set `out` to the matrix product of a and b, and apply the epilogue.

        Parameters
        ----------
        out, a, b : of the network's dtype, or cells
        vector : (columns,)
            The bias, in the dtype of `b`, or the array for column sums.
        mask : (rows, `mask_bytes`) uint8
            One bit for every element of `out`.
        """

    def capture(self, work: Callable[[], None]) -> Callable[[], None]:
        """Record the launches of `work` without running them; return a function that replays them.

        `work` may neither allocate nor copy anything to or from the host.
        """

    def pinned(self, shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
        """Return a host array in pinned memory, from which the device copies without the host."""

    def mark(self) -> Any:
        """Return a mark after all work queued so far."""

    def feed(self, pairs: Sequence[tuple[Array, NDArray[Any]]], after: Any) -> Any:
        """Copy pinned arrays to the device once the mark `after` (None: now) is reached.

        Work that is queued from now on waits for the copies. Returns a mark after them.
        """

    def wait(self, mark: Any) -> None:
        """Wait until a mark is reached; None counts as reached."""


def mask_bytes(columns: int) -> int:
    """Return the bytes in a row of a ReLU mask: cuBLASLt needs a multiple of 128 bits."""
    return -(-columns // 128) * 16
