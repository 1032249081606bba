"""The engine's `Runtime` on the CPU: NumPy memory, emulated kernels, NumPy's matrix product."""

from __future__ import annotations

from functools import cache
from typing import Any
from weakref import ReferenceType, ref

import numpy as np
from numpy.typing import NDArray

from fastnet.kernels.cuda import loader
from tests.cuda.host_module import HostModule

POISON = 0xFF
"""What new memory is full of: NaN as a float, -1 as an integer."""

GUARD = 64
"""Bytes of poison on either side of an array, to find writes that miss it."""


@cache
def module_for(dtype: np.dtype[Any], block: int) -> HostModule:
    """Return the compiled kernels."""
    return HostModule(loader.source(dtype, block))


class HostRuntime:
    """Runs what a GPU would run, one thread after another.

    Parameters
    ----------
    dtype : float32 or float64
    block : int
        Threads in a block; few, so that small arrays need many blocks.
    schedule : int
        The order in which threads and blocks run; see ``cuda_on_host.h``.
    grid_limit : int
        Blocks in either direction of a grid; few, so that small arrays need more than one round.

    Attributes
    ----------
    allocations : int
        How many arrays were made.
    launches : list of str
        The kernels launched, in order.
    """

    def __init__(
        self, dtype: Any, *, block: int = 32, schedule: int = 0, grid_limit: int = 4
    ) -> None:
        self.block, self.schedule, self.grid_limit = block, schedule, grid_limit
        self.module = module_for(np.dtype(dtype), block)
        self.allocations = 0
        self.launches: list[str] = []
        self._memory: list[ReferenceType[NDArray[np.uint8]]] = []

    def empty(self, shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
        self.allocations += 1
        self._memory = [reference for reference in self._memory if reference() is not None]
        count = int(np.prod(shape))
        size = count * np.dtype(dtype).itemsize
        memory = np.full(size + 2 * GUARD, POISON, np.uint8)
        self._memory.append(ref(memory))
        return memory[GUARD : GUARD + size].view(dtype).reshape(shape)

    def to_device(self, values: NDArray[Any]) -> NDArray[Any]:
        array = self.empty(values.shape, values.dtype)
        array[...] = values
        return array

    def to_host(self, values: NDArray[Any]) -> NDArray[Any]:
        self.check_guards()
        return values.copy()

    def upload(self, into: NDArray[Any], values: NDArray[Any]) -> None:
        assert into.shape == values.shape and into.dtype == values.dtype
        assert into.flags.c_contiguous and values.flags.c_contiguous
        into[...] = values

    def copy(self, into: NDArray[Any], values: NDArray[Any]) -> None:
        self.upload(into, values)

    def launch(self, kernel: str, shape: tuple[int, int], *arguments: Any) -> None:
        self.launches.append(kernel)
        launch = loader.launch_shape(kernel, *shape, self.block)
        grid = tuple(min(size, self.grid_limit) for size in launch.grid)
        self.module.schedule = self.schedule
        self.module.launch(kernel, grid, launch.block, arguments)

    def gemm(
        self,
        out: NDArray[Any],
        a: NDArray[Any],
        b: NDArray[Any],
        *,
        transpose_a: bool = False,
        transpose_b: bool = False,
    ) -> None:
        # As for cuBLAS, an array is an address: a transposed view would count as its base.
        assert all(array.flags.c_contiguous for array in (out, a, b))
        with np.errstate(all="ignore"):
            np.matmul(a.T if transpose_a else a, b.T if transpose_b else b, out=out)

    def check_guards(self) -> None:
        """Fail if a kernel wrote next to an array."""
        for reference in self._memory:
            memory = reference()
            if memory is not None:
                untouched = (memory[:GUARD] == POISON).all() and (memory[-GUARD:] == POISON).all()
                size = memory.size - 2 * GUARD
                assert untouched, f"a kernel wrote next to an array of {size} bytes"
