"""The `Runtime` on an NVIDIA GPU: CuPy's memory, modules and graphs, cublasLt's products.

CuPy is imported when a runtime is made, never before.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fastnet.backends.gpu import captures, fusion, processes
from fastnet.backends.gpu.cublaslt import (
    ALIGNMENT,
    Compute,
    CublasError,
    CublasLt,
    DataType,
    LtEpilogue,
    Problem,
    Status,
)
from fastnet.backends.gpu.fusion import Operands
from fastnet.backends.gpu.products import WORKSPACE_BYTES, Products
from fastnet.backends.gpu.runtime import BF16, Epilogue
from fastnet.backends.gpu.transfers import empty, pinned, to_device
from fastnet.errors import InputError
from fastnet.kernels.cuda import loader
from fastnet.nn.batch import Array
from fastnet.utils.once import once
from fastnet.utils.warn import warn

BLOCK: Final = 256
"""Threads in a block."""

UPLOADS: Final = 256
"""So many host arrays are kept for copies under way at most; then the host waits."""

FIRST_WITH_BF16: Final = (8, 0)
"""The lowest compute capability whose products may have a precision below float32."""

_EPILOGUES: Final = {
    Epilogue.NONE: LtEpilogue.DEFAULT,
    Epilogue.BIAS: LtEpilogue.BIAS,
    Epilogue.RELU: LtEpilogue.RELU_BIAS,
    Epilogue.RELU_MASK: LtEpilogue.RELU_AUX_BIAS,
    Epilogue.RELU_BACKWARD: LtEpilogue.DRELU_BGRAD,
    Epilogue.COLUMN_SUMS: LtEpilogue.BGRADA,
}
_TYPES: Final = {
    np.dtype(np.float32): DataType.R_32F,
    np.dtype(np.float64): DataType.R_64F,
    BF16: DataType.R_16BF,
}


class CudaRuntime:
    """CuPy's current GPU, and the stream that is the current one in each call.

    Parameters
    ----------
    dtype : float32 or float64
    precision : str
        The precision of products in float32.
    """

    def __init__(self, dtype: Any, *, precision: str = "float32") -> None:
        self._cupy: Any = import_module("cupy")
        self._cuda: Any = self._cupy.cuda
        self._device = self._cuda.Device()
        self._stream: Any = None
        if precision != "float32" and _capability(self._device) < FIRST_WITH_BF16:
            raise InputError(
                f"precision={precision!r} needs a GPU of compute capability 8.0, and this one has "
                f"{'.'.join(map(str, _capability(self._device)))}: take precision='float32'."
            )
        dtype = np.dtype(dtype)
        self.cells = BF16 if precision == "bf16" else dtype
        self.shared_bytes = int(self._device.attributes["MaxSharedMemoryPerBlockOptin"])
        self.processors = int(self._device.attributes["MultiProcessorCount"])
        self._kernels = _kernels(dtype, self._device.id, precision == "bf16")
        self._products = _products(self._device.id)
        single = Compute.F32_FAST_TF32 if precision == "tf32" else Compute.F32
        self._compute = Compute.F64 if dtype == np.float64 else single
        self._workspace: Array = None
        self._copies: Any = None
        self._uploaded: list[NDArray[Any]] = []

    @contextmanager
    def active(self) -> Iterator[None]:
        processes.require_own()
        with self._device:
            # The workspace is one: work of the call before may still run on another stream.
            stream, before = self._cuda.get_current_stream(), self._stream
            if before is not None and before.ptr != stream.ptr:
                stream.wait_event(before.record())
            self._stream = stream
            yield

    # --- memory ----------------------------------------------------------------------------------

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Array:
        return empty(self._cupy, shape, dtype)

    def to_device(self, values: NDArray[Any]) -> Array:
        return to_device(self._cupy, values)

    def to_host(self, values: Array) -> NDArray[Any]:
        host = np.asarray(self._cupy.asnumpy(values))
        self._uploaded.clear()
        return host

    def upload(self, into: Array, values: NDArray[Any]) -> None:
        # The copy may still be under way when `set` returns: the array has to live until a wait.
        if len(self._uploaded) == UPLOADS:
            self.wait(self.mark())
            self._uploaded.clear()
        self._uploaded.append(values)
        into.set(values)

    def copy(self, into: Array, values: Array) -> None:
        into.data.copy_from_device_async(values.data, values.nbytes)

    def address(self, values: Array) -> int:
        return int(values.data.ptr)

    def pinned(self, shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
        return pinned(self._cupy, shape, dtype)

    def mark(self) -> Any:
        return self._cuda.get_current_stream().record()

    def feed(self, pairs: Sequence[tuple[Array, NDArray[Any]]], after: Any) -> Any:
        if self._copies is None:
            self._copies = self._cuda.Stream(non_blocking=True)
        self._copies.wait_event(self.mark() if after is None else after)
        for into, values in pairs:
            into.set(values, stream=self._copies)
        copied = self._copies.record()
        self._cuda.get_current_stream().wait_event(copied)
        return copied

    def wait(self, mark: Any) -> None:
        if mark is not None:
            mark.synchronize()

    # --- kernels ---------------------------------------------------------------------------------

    def launch(
        self, kernel: str, shape: tuple[int, int], *arguments: Array | int | float | None
    ) -> None:
        grid, block = loader.launch_shape(kernel, *shape, BLOCK)
        self._kernels[kernel](grid, block, arguments)

    def specialise(self, text: str, kernel: str, shared_bytes: int) -> Callable[..., None]:
        function = compiled(self._cupy, text).get_function(kernel)
        function.max_dynamic_shared_size_bytes = shared_bytes

        def launch(blocks: int, threads: int, *arguments: Any) -> None:
            block = loader.WARP, threads // loader.WARP
            function((blocks,), block, arguments, shared_mem=shared_bytes)

        return launch

    def capture(self, work: Callable[[], None]) -> Callable[[], None]:
        return captures.capture(self._cuda, work)

    # --- products --------------------------------------------------------------------------------

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
        problem = self._problem(epilogue, out, a, b, transpose_a, transpose_b, vector, mask)
        given = Operands(out, a, b, transpose_a, transpose_b, vector, mask)

        def seconds(work: Callable[[], None]) -> float:
            return captures.seconds(self._cuda, work, captures.first_run(self._cuda, work))

        return self._products.gain(problem, lambda: fusion.saving(self, epilogue, given, seconds))

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
        problem = self._problem(epilogue, out, a, b, transpose_a, transpose_b, vector, mask)
        if self._workspace is None:
            self._workspace = self.empty((WORKSPACE_BYTES,), np.uint8)
        vector_at, mask_at = (0 if v is None else v.data.ptr for v in (vector, mask))
        # cublasLt is column-major, so it sees every array transposed: out.T = b.T @ a.T.
        arrays = out.data.ptr, b.data.ptr, a.data.ptr
        workspace = self._workspace.data.ptr, WORKSPACE_BYTES
        if self._products.run(problem, vector_at, mask_at, arrays, workspace):
            return
        if epilogue is not Epilogue.NONE:
            message = f"cublasLt has no algorithm for the product {problem}."
            raise CublasError(message, Status.NOT_SUPPORTED)
        kernel = "product_cells" if out.dtype == self.cells else "product_numbers"
        sizes = problem.n, problem.m, problem.k
        flips = int(transpose_a), int(transpose_b)
        self.launch(kernel, out.shape, out, a, b, *flips, *sizes)

    def _problem(
        self,
        epilogue: Epilogue,
        out: Array,
        a: Array,
        b: Array,
        transpose_a: bool,
        transpose_b: bool,
        vector: Array | None,
        mask: Array | None,
    ) -> Problem:
        rows, columns = out.shape
        inner = a.shape[0] if transpose_a else a.shape[1]
        kinds = _TYPES[a.dtype], _TYPES[out.dtype], self._compute, _EPILOGUES[epilogue]
        aligned = (_alignment(v) for v in (b, a, out, vector, mask))
        return Problem(columns, rows, inner, transpose_b, transpose_a, *kinds, *aligned)


def _alignment(values: Array | None) -> int:
    """Return the power of two, up to `ALIGNMENT`, that divides address and bytes of a row.

    A batch begins at a row of its window. So it has the same alignment, and gets the same
    algorithm, wherever in the window that is.
    """
    if values is None:
        return ALIGNMENT
    row = values.shape[1] * values.dtype.itemsize if values.ndim == 2 else ALIGNMENT
    return math.gcd(int(values.data.ptr), row, ALIGNMENT)


@once
def _products(device: int) -> Products:
    """Return the `Products` of the current device; `device` is its number, for the cache."""
    cupy: Any = import_module("cupy")
    properties = cupy.cuda.runtime.getDeviceProperties(device)
    return Products(cupy, CublasLt(library_path()), properties["name"].decode())


def library_path() -> str:
    """Return the path of cublasLt in the version that CuPy is built for."""
    pathfinder: Any = import_module("cuda.pathfinder")
    found = pathfinder.load_nvidia_dynamic_lib("cublasLt")
    return str(found.abs_path)


def library_major() -> int:
    """Return the major version of CUDA that the loaded cublasLt is of; needs no driver."""
    return CublasLt(library_path()).version // 10000


def _capability(device: Any) -> tuple[int, int]:
    text = str(device.compute_capability)
    return int(text[:-1]), int(text[-1])


@once
def _kernels(dtype: np.dtype[Any], device: int, bf16: bool) -> dict[str, Any]:
    """Return the compiled kernels on the current device; `device` is its number, for the cache."""
    cupy: Any = import_module("cupy")
    module = compiled(cupy, loader.source(dtype, BLOCK, bf16=bf16))
    return {name: module.get_function(name).kernel for name in loader.KERNELS}


def compiled(cupy: Any, text: str) -> Any:
    """Return the compiled module of a CUDA source text."""
    module = cupy.RawModule(code=text, options=loader.OPTIONS)
    try:
        module.compile()
    except OSError as error:
        # CuPy keeps compiled kernels on disk; without that, each process compiles them.
        warn(
            f"CuPy's kernel cache cannot be used ({first_line(error)}); kernels are compiled anew "
            f"in each process. CUPY_CACHE_DIR can name another folder.",
        )
        os.environ["CUPY_CACHE_IN_MEMORY"] = "1"
        module = cupy.RawModule(code=text, options=loader.OPTIONS)
        module.compile()
    return module


def first_line(error: Exception) -> str:
    """Return an error's class and the first line of its message."""
    text = str(error).strip().split("\n")[0].rstrip(":.")
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
