"""The engine's `Runtime` on the CPU: NumPy memory, emulated kernels, NumPy's matrix product."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any
from weakref import ReferenceType, ref

import numpy as np
from numpy.typing import NDArray

from fastnet.backends.gpu.runtime import BF16, Epilogue, mask_bytes
from fastnet.kernels.cuda import loader
from tests.cuda.host_module import HostModule
from tests.cuda.strict import CURRENT, DeviceArray, memory_of

POISON = 0xFF
"""What new memory is full of: NaN as a float, -1 as an integer."""

GUARD = 64
"""Bytes of poison on either side of an array, to find writes that miss it."""

Array = NDArray[Any]


@cache
def module_for(dtype: np.dtype[Any], block: int, bf16: bool = False) -> HostModule:
    """Return the compiled kernels."""
    return HostModule(loader.source(dtype, block, bf16=bf16))


@cache
def module_of(text: str) -> HostModule:
    """Return the compiled kernels of a text."""
    return HostModule(text)


def widened(values: Array) -> Array:
    """Return float32 numbers for bfloat16 ones."""
    return (values.astype(np.uint32) << 16).view(np.float32)


def narrowed(values: Array) -> Array:
    """Return float32 numbers rounded to bfloat16, ties to even; NaN stays NaN."""
    words = np.ascontiguousarray(values, np.float32).view(np.uint32).astype(np.uint64)
    rounded = ((words + 0x7FFF + ((words >> 16) & 1)) >> 16).astype(np.uint16)
    return np.where(np.isnan(values), np.uint16(0x7FC0), rounded)


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
    bf16 : bool
        Whether cells are bfloat16.
    epilogues : collection of Epilogue
        Those that `gemm` has.
    shared_bytes : int
        Shared memory of a block: 0 keeps even tiny networks on the composed path.

    Attributes
    ----------
    gains : dict of Epilogue to float
        The seconds that `gain` says; 1 where an epilogue is missing.
    allocations : int
        How many arrays were made.
    launches : list of str
        The kernels launched, in order; what is replayed counts again.
    captured : list of list of (callable, arguments)
        What each recording holds.
    """

    def __init__(
        self,
        dtype: Any,
        *,
        block: int = 32,
        schedule: int = 0,
        grid_limit: int = 4,
        bf16: bool = False,
        epilogues: Sequence[Epilogue] = tuple(Epilogue),
        shared_bytes: int = 0,
    ) -> None:
        self.block, self.schedule, self.grid_limit = block, schedule, grid_limit
        self.module = module_for(np.dtype(dtype), block, bf16)
        self.cells = BF16 if bf16 else np.dtype(dtype)
        self.epilogues, self.shared_bytes = epilogues, shared_bytes
        self.gains: dict[Epilogue, float] = {}
        self.allocations, self.processors = 0, 2
        self.launches: list[str] = []
        self.captured: list[list[tuple[Any, ...]]] = []
        self._recording: list[tuple[Any, ...]] | None = None
        self._memory: list[ReferenceType[NDArray[np.uint8]]] = []

    def active(self) -> AbstractContextManager[None]:
        return nullcontext()

    def empty(self, shape: tuple[int, ...], dtype: Any) -> DeviceArray:
        assert self._recording is None, "memory from inside a recording would be freed after it"
        self.allocations += 1
        self._memory = [reference for reference in self._memory if reference() is not None]
        count = int(np.prod(shape))
        size = count * np.dtype(dtype).itemsize
        memory = np.full(size + 2 * GUARD, POISON, np.uint8)
        self._memory.append(ref(memory))
        return DeviceArray(memory[GUARD : GUARD + size].view(dtype).reshape(shape))

    def to_device(self, values: Array) -> DeviceArray:
        array = self.empty(values.shape, values.dtype)
        array.set(np.ascontiguousarray(values).reshape(values.shape))
        return array

    def to_host(self, values: DeviceArray) -> Array:
        self.check_guards()
        return values.get()

    def upload(self, into: DeviceArray, values: Array) -> None:
        assert values.flags.c_contiguous
        into.set(values)

    def copy(self, into: Array, values: Array) -> None:
        self._do(self._copy, into, values)

    def address(self, values: DeviceArray) -> int:
        address: int = values.data.ptr
        return address

    def launch(self, kernel: str, shape: tuple[int, int], *arguments: Any) -> None:
        self._do(self._launch, kernel, shape, *arguments)

    def specialise(self, text: str, kernel: str, shared_bytes: int) -> Callable[..., None]:
        assert shared_bytes <= self.shared_bytes
        module = module_of(text)

        def launch(blocks: int, threads: int, *arguments: Any) -> None:
            how = module, kernel, blocks, threads, shared_bytes
            self._do(self._launch_blocks, *how, *arguments)

        return launch

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
        if vector is not None and vector.dtype != out.dtype:
            return -math.inf
        return self.gains.get(epilogue, 1.0) if epilogue in self.epilogues else -math.inf

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
        assert epilogue is Epilogue.NONE or epilogue in self.epilogues
        self._do(self._gemm, out, a, b, transpose_a, transpose_b, epilogue, vector, mask)

    def capture(self, work: Callable[[], None]) -> Callable[[], None]:
        assert self._recording is None
        self._recording = recorded = []
        CURRENT.recording = []
        try:
            work()
        finally:
            self._recording = CURRENT.recording = None
        self.captured.append(recorded)

        def replay() -> None:
            for call, *arguments in recorded:
                call(*arguments)

        return replay

    def pinned(self, shape: tuple[int, ...], dtype: Any) -> Array:
        return np.empty(shape, dtype)

    def mark(self) -> Any:
        return object()

    def feed(self, pairs: Sequence[tuple[Array, Array]], after: Any) -> Any:
        for into, values in pairs:
            self.upload(into, values)
        return object()

    def wait(self, mark: Any) -> None:
        pass

    def _do(self, call: Callable[..., None], *arguments: Any) -> None:
        """Do it now, or write it down."""
        assert not any(isinstance(value, np.ndarray) for value in arguments), "not on the device"
        plain = memory_of(arguments)
        if self._recording is None:
            call(*plain)
        else:
            self._recording.append((call, *plain))

    def _copy(self, into: Array, values: Array) -> None:
        assert into.shape == values.shape and into.dtype == values.dtype
        assert into.flags.c_contiguous and values.flags.c_contiguous
        into[...] = values

    def _launch(self, kernel: str, shape: tuple[int, int], *arguments: Any) -> None:
        self.launches.append(kernel)
        launch = loader.launch_shape(kernel, *shape, self.block)
        grid = tuple(min(size, self.grid_limit) for size in launch.grid)
        self.module.schedule = self.schedule
        self.module.launch(kernel, grid, launch.block, arguments)

    def _launch_blocks(
        self,
        module: HostModule,
        kernel: str,
        blocks: int,
        threads: int,
        shared_bytes: int,
        *arguments: Any,
    ) -> None:
        self.launches.append(kernel)
        module.schedule = self.schedule
        block = loader.WARP, threads // loader.WARP
        module.launch(kernel, (blocks,), block, arguments, shared_bytes)

    def _gemm(
        self,
        out: Array,
        a: Array,
        b: Array,
        transpose_a: bool,
        transpose_b: bool,
        epilogue: Epilogue,
        vector: Array | None,
        mask: Array | None,
    ) -> None:
        # As for cuBLAS, an array is an address: a transposed view would count as its base.
        assert all(array.flags.c_contiguous for array in (out, a, b))
        left, right = (widened(m) if m.dtype == BF16 else m for m in (a, b))
        with np.errstate(all="ignore"):
            product = (left.T if transpose_a else left) @ (right.T if transpose_b else right)
        assert product.shape == out.shape
        if epilogue in (Epilogue.BIAS, Epilogue.RELU, Epilogue.RELU_MASK):
            assert vector is not None and vector.shape == out.shape[1:] and vector.dtype == b.dtype
            product += widened(vector) if vector.dtype == BF16 else vector
        if epilogue in (Epilogue.RELU, Epilogue.RELU_MASK):
            product = np.where(np.isnan(product), product, np.maximum(product, 0))
        if epilogue in (Epilogue.RELU_MASK, Epilogue.RELU_BACKWARD):
            assert mask is not None and mask.shape == (len(out), mask_bytes(out.shape[1]))
            if epilogue is Epilogue.RELU_MASK:
                bits = np.packbits(product > 0, axis=1, bitorder="little")
                mask[:, : bits.shape[1]] = bits
            else:
                kept = np.unpackbits(mask, axis=1, count=out.shape[1], bitorder="little")
                product = product * kept
                assert vector is not None and vector.dtype == out.dtype
                vector[...] = product.sum(axis=0)
        if epilogue is Epilogue.COLUMN_SUMS:
            assert vector is not None and vector.dtype == out.dtype
            vector[...] = right.sum(axis=0)
        out[...] = narrowed(product) if out.dtype == BF16 else product

    def check_guards(self) -> None:
        """Fail if a kernel wrote next to an array."""
        for reference in self._memory:
            memory = reference()
            if memory is not None:
                untouched = (memory[:GUARD] == POISON).all() and (memory[-GUARD:] == POISON).all()
                size = memory.size - 2 * GUARD
                assert untouched, f"a kernel wrote next to an array of {size} bytes"
