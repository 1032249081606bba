"""Makes arrays on the GPU: empty, of zeros, or copies of host arrays, large ones slice by slice.

The GPU copies fast from pinned memory alone. CuPy would pin as much of it as an array is large, and
keep that until the process ends; from slices nothing stays pinned.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fastnet.nn.batch import Array

LARGE_BYTES: Final = 64 * 2**20
"""Arrays of more bytes go in slices; CuPy keeps pinned memory of at most so much for the others."""

SLICE_BYTES: Final = 16 * 2**20


def empty(cupy: Any, shape: tuple[int, ...], dtype: Any) -> Array:
    """Return a new array, not initialised."""
    try:
        return cupy.empty(shape, dtype)
    except MemoryError:
        needed = math.prod(shape) * int(np.dtype(dtype).itemsize)
        raise out_of_memory(cupy, needed) from None


def zeros(cupy: Any, shape: tuple[int, ...], dtype: Any) -> Array:
    """Return a new array of zeros, which the device writes."""
    array = empty(cupy, shape, dtype)
    array.fill(0)
    return array


def to_device(cupy: Any, values: NDArray[Any]) -> Array:
    """Return a new array with the values of a host array."""
    if values.nbytes > LARGE_BYTES:
        array = empty(cupy, values.shape, values.dtype)
        send(cupy, array, values)
        return array
    try:
        return cupy.array(values)
    except MemoryError:
        raise out_of_memory(cupy, values.nbytes) from None


def pinned(cupy: Any, shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
    """Return a host array in pinned memory, which goes back to CuPy's pool with the array."""
    count = math.prod(shape)
    memory = cupy.cuda.alloc_pinned_memory(max(count * int(np.dtype(dtype).itemsize), 1))
    return np.frombuffer(memory, dtype, count).reshape(shape)


def send(cupy: Any, into: Array, values: NDArray[Any]) -> None:
    """Copy a host array to a device array of the same shape and dtype, slice by slice.

    While the GPU copies from one pinned buffer, the host fills the other. At the end everything is
    copied, and no memory is pinned.
    """
    try:
        _send(cupy, into, values)
    finally:
        cupy.get_default_pinned_memory_pool().free_all_blocks()


def _send(cupy: Any, into: Array, values: NDArray[Any]) -> None:
    if values.flags.c_contiguous:  # Else slices are whole rows.
        into, values = into.reshape(-1), values.reshape(-1)
    count, *shape = values.shape
    rows = max(1, SLICE_BYTES // (math.prod(shape) * values.itemsize))
    buffers = [pinned(cupy, (min(rows, count), *shape), values.dtype) for _ in range(2)]
    copied: list[Any] = [None, None]
    stream = cupy.cuda.get_current_stream()
    try:
        for number, start in enumerate(range(0, count, rows)):
            slot = number % 2
            if copied[slot] is not None:
                copied[slot].synchronize()
            part = values[start : start + rows]
            np.copyto(buffers[slot][: len(part)], part)
            into[start : start + rows].set(buffers[slot][: len(part)])
            copied[slot] = stream.record()
    finally:
        for mark in copied:  # Only then may the buffers be freed.
            if mark is not None:
                mark.synchronize()


def free_memory(cupy: Any) -> tuple[int, int]:
    """Return the bytes that are free for CuPy, and the size of the GPU's memory."""
    free, total = cupy.cuda.runtime.memGetInfo()
    return int(free + cupy.get_default_memory_pool().free_bytes()), int(total)


def out_of_memory(cupy: Any, needed: int) -> MemoryError:
    """Return the error that says how much memory was needed and how much is free."""
    free, total = free_memory(cupy)
    return MemoryError(
        f"an array of {size_text(needed)} does not fit into the GPU's memory, of which "
        f"{size_text(free)} of {size_text(total)} are free: choose a smaller batch_size, or the "
        f"numba backend."
    )


def size_text(count: float) -> str:
    """Return a number of bytes as text with a unit."""
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if count < 1024 or unit == "GiB":
            break
        count /= 1024
    return f"{count:.{0 if unit == 'bytes' else 1}f} {unit}"
