"""What the GPU engine asks of a device: `Runtime`.

There is one for CuPy and, in tests, one that runs the same kernels on the CPU.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from fastnet.nn.batch import Array

BF16: Final = np.dtype(np.uint16)
"""What bfloat16 numbers are stored as: NumPy has no such type."""


class Epilogue(Enum):
    """What is done to a product in the pass that computes it."""

    NONE = "out = a @ b"
    BIAS = "out = a @ b + vector"
    RELU = "out = relu(a @ b + vector)"
    RELU_MASK = "out = relu(a @ b + vector), mask = out > 0"
    RELU_BACKWARD = "out = (a @ b) mask, vector = column sums of out"
    COLUMN_SUMS = "out = a @ b, vector = column sums of b"


class Runtime(Protocol):
    """Memory, launches and products. Work is queued in order; only `to_host` waits for it.

    Arrays can be sliced, reshaped and filled as NumPy's, and know their shape, dtype and size.

    Attributes
    ----------
    cells : dtype
        Of activations and their gradients: the network's dtype, or `BF16`.
    shared_bytes : int
        Shared memory that one block can have.
    """

    cells: np.dtype[Any]
    shared_bytes: int

    def activate(self) -> None:
        """Make its device the one that arrays are made on."""

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """Return a new array with arbitrary content; raise `MemoryError` where there is no room."""

    def to_device(self, values: NDArray[Any]) -> Array:
        """Return a new array with the values of a host array."""

    def to_host(self, values: Array) -> NDArray[Any]:
        """Return a copy on the host, once all work before is done."""

    def upload(self, into: Array, values: NDArray[Any]) -> None:
        """Overwrite an array by a host array of the same shape and dtype."""

    def copy(self, into: Array, values: Array) -> None:
        """Overwrite an array by another of the same shape and dtype."""

    def address(self, values: Array) -> int:
        """Return where an array lies."""

    def launch(
        self, kernel: str, shape: tuple[int, int], *arguments: Array | int | float | None
    ) -> None:
        """Launch a kernel over a (rows, columns) shape; None is a null pointer."""

    def specialise(self, text: str, kernel: str, shared_bytes: int) -> Callable[..., None]:
        """Compile a text of its own; return what launches its kernel as one block.

        The result is called with the number of threads, then the arguments.
        """

    def fuses(
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
    ) -> bool:
        """Return whether `gemm` has this epilogue for these arrays."""

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
        """Set `out` to the matrix product of a and b, and do what the epilogue says.

        Parameters
        ----------
        out, a, b : of the network's dtype, or cells
        vector : (columns,)
            The bias, of the type of `b`'s parameters; or where column sums go.
        mask : (rows, `mask_bytes`) uint8
            One bit for every element of `out`.
        """

    def capture(self, work: Callable[[], None]) -> Callable[[], None]:
        """Record what `work` launches, without running it; return what runs it again.

        `work` neither allocates nor moves anything to or from the host.
        """

    def pinned(self, shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
        """Return a host array that the device can copy from on its own."""

    def mark(self) -> Any:
        """Return a mark behind all work so far."""

    def feed(self, pairs: Sequence[tuple[Array, NDArray[Any]]], after: Any) -> Any:
        """Begin to copy pinned arrays to the device once the mark `after` (None: now) is reached.

        Work that is launched from now on sees the copies. Returns a mark behind them.
        """

    def wait(self, mark: Any) -> None:
        """Return once a mark is reached; None is."""


def mask_bytes(columns: int) -> int:
    """Return the bytes of a row of a ReLU mask: whole groups of 128 bits, as cuBLASLt has them."""
    return -(-columns // 128) * 16
