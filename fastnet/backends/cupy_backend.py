"""The CuPy backend: whether a GPU can be used, and what the engine asks of it.

CuPy gives memory, module loading and cuBLAS; the arithmetic is in ``kernels/cuda`` and the order of
it in `gpu_engine`. CuPy is imported when the backend is asked for, never before.
"""

from __future__ import annotations

import math
import os
import warnings
from functools import cache
from importlib import import_module, metadata
from importlib.util import find_spec
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from fastnet.backends.base import Array, Backend, Engine
from fastnet.backends.gpu_engine import GpuEngine
from fastnet.errors import FastNetWarning
from fastnet.kernels.cuda import loader
from fastnet.plan import Plan

BLOCK: Final = 256
"""Threads in a block."""

_BUILDS: Final = ("cupy", "cupy-cuda11x", "cupy-cuda12x", "cupy-cuda13x")
"""The distributions that bring a ``cupy`` package: at most one may be installed."""

_INSUFFICIENT_DRIVER, _NO_DEVICE = 35, 100
"""Numbers of ``cudaError_t``."""


class CudaRuntime:
    """The engine's `Runtime` on CuPy's current device and stream.

    Parameters
    ----------
    dtype : float32 or float64
    """

    def __init__(self, dtype: Any) -> None:
        self._cupy: Any = import_module("cupy")
        self._cublas: Any = self._cupy.cuda.cublas
        dtype = np.dtype(dtype)
        self._kernels = _kernels(dtype, self._cupy.cuda.Device().id)
        self._gemm = self._cublas.sgemm if dtype == np.float32 else self._cublas.dgemm
        self._one, self._zero = np.ones(1, dtype), np.zeros(1, dtype)
        # Strict float32: TensorFloat-32 would keep 10 bits of the 23.
        self._cublas.setMathMode(self._handle(), self._cublas.CUBLAS_DEFAULT_MATH)

    def _handle(self) -> int:
        return int(self._cupy.cuda.device.get_cublas_handle())

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Array:
        try:
            return self._cupy.empty(shape, dtype)
        except MemoryError:
            raise _out_of_memory(self._cupy, _bytes(shape, dtype)) from None

    def to_device(self, values: NDArray[Any]) -> Array:
        return _to_device(self._cupy, values)

    def to_host(self, values: Array) -> NDArray[Any]:
        return np.asarray(self._cupy.asnumpy(values))

    def upload(self, into: Array, values: NDArray[Any]) -> None:
        into.set(values)

    def copy(self, into: Array, values: Array) -> None:
        into.data.copy_from_device_async(values.data, values.nbytes)

    def launch(
        self, kernel: str, shape: tuple[int, int], *arguments: Array | int | float | None
    ) -> None:
        grid, block = loader.launch_shape(kernel, *shape, BLOCK)
        self._kernels[kernel](grid, block, arguments)

    def gemm(
        self,
        out: Array,
        a: Array,
        b: Array,
        *,
        transpose_a: bool = False,
        transpose_b: bool = False,
    ) -> None:
        # cuBLAS counts columns first and so sees every array transposed: out.T = b.T @ a.T.
        operation = self._cublas.CUBLAS_OP_N, self._cublas.CUBLAS_OP_T
        inner = a.shape[0] if transpose_a else a.shape[1]
        one, zero = self._one.ctypes.data, self._zero.ctypes.data
        self._gemm(
            *(self._handle(), operation[transpose_b], operation[transpose_a]),
            *(out.shape[1], out.shape[0], inner, one),
            *(b.data.ptr, b.shape[1], a.data.ptr, a.shape[1], zero),
            *(out.data.ptr, out.shape[1]),
        )


class CupyBackend(Backend):
    """Runs on one NVIDIA GPU."""

    name: ClassVar[str] = "cupy"
    install: ClassVar[str] = "pip install 'fastnet-mlp[cuda13]'"

    def why_unavailable(self) -> str | None:
        return (
            _why_not_installed() or _why_not_importable() or _why_no_device() or _why_no_libraries()
        )

    def engine(
        self, plan: Plan, parameters: Array, state: Array, *, threads: int | None = None
    ) -> Engine:
        return GpuEngine(plan, parameters, state, CudaRuntime(parameters.dtype))

    def asarray(self, values: NDArray[Any]) -> Array:
        return _to_device(import_module("cupy"), values)

    def to_host(self, values: Array) -> NDArray[Any]:
        return np.asarray(import_module("cupy").asnumpy(values))

    def describe(self) -> dict[str, str]:
        cupy: Any = import_module("cupy")
        runtime = cupy.cuda.runtime
        device = runtime.getDeviceProperties(runtime.getDevice())
        return {
            "cupy": cupy.__version__,
            "device": device["name"].decode(),
            "compute capability": f"{device['major']}.{device['minor']}",
            "memory": _size(device["totalGlobalMem"]),
            "driver": f"CUDA {_version(runtime.driverGetVersion())}",
            "runtime": f"CUDA {_version(runtime.runtimeGetVersion())}",
        }


# --- why not -------------------------------------------------------------------------------------


def _why_not_installed() -> str | None:
    """Look at what is installed, without importing it."""
    found = [name for name in _BUILDS if _is_installed(name)]
    if len(found) > 1:
        return (
            f"{' and '.join(found)} are installed together and overwrite each other's files: "
            f"uninstall all of them (pip uninstall {' '.join(found)}), then install one "
            f"({CupyBackend.install})."
        )
    if not found and find_spec("cupy") is None:
        return (
            f"CuPy is not installed: {CupyBackend.install}, or [cuda12] where the driver is older "
            f"than CUDA 13."
        )
    return None


def _why_not_importable() -> str | None:
    try:
        import_module("cupy")
    except Exception as error:
        cache = "CUPY_CACHE_DIR must name a folder that can be written to."
        hint = cache if isinstance(error, OSError) else f"Reinstall it: {CupyBackend.install}."
        return f"importing CuPy failed ({_first_line(error)}). {hint}"
    return None


def _why_no_device() -> str | None:
    """Ask the driver for devices; no context is created."""
    runtime: Any = import_module("cupy").cuda.runtime
    try:
        count = int(runtime.getDeviceCount())
    except Exception as error:
        status = getattr(error, "status", None)
        if status == _INSUFFICIENT_DRIVER:
            return _why_driver(runtime)
        if status != _NO_DEVICE:
            return f"CUDA does not start ({_first_line(error)})."
        count = 0
    if count == 0:
        return (
            "there is an NVIDIA driver, but no GPU to be seen: is one built in, and does "
            "CUDA_VISIBLE_DEVICES hide it?"
        )
    return None


def _why_driver(runtime: Any) -> str:
    try:
        driver = int(runtime.driverGetVersion())
    except Exception:
        driver = 0
    if not driver:
        return "no NVIDIA driver found: CuPy is installed, but libcuda is missing."
    needed = int(runtime.runtimeGetVersion())
    other = f", or pip install 'fastnet-mlp[cuda{driver // 1000}]'" if driver >= 12000 else ""
    return (
        f"the NVIDIA driver is for CUDA {_version(driver)}, and the installed CuPy needs CUDA "
        f"{_version(needed)}: update the driver{other}."
    )


def _why_no_libraries() -> str | None:
    """Load the libraries that CuPy does not bring along; its attributes find them."""
    cuda: Any = import_module("cupy").cuda
    library = "NVRTC"
    try:
        cuda.nvrtc.getVersion()
        library = "cuBLAS"
        _ = cuda.cublas
    except Exception as error:
        return (
            f"CuPy is installed, but not the CUDA library {library} ({_first_line(error)}): "
            f"{CupyBackend.install}."
        )
    return None


def _is_installed(distribution: str) -> bool:
    try:
        metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return False
    return True


def _first_line(error: Exception) -> str:
    text = str(error).strip().split("\n")[0].rstrip(":.")
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _version(number: int) -> str:
    """Return "13.2" for 13020."""
    return f"{number // 1000}.{number % 1000 // 10}"


# --- kernels and memory --------------------------------------------------------------------------


@cache
def _kernels(dtype: np.dtype[Any], device: int) -> dict[str, Any]:
    """Return the compiled kernels for a dtype on the current device, which `device` names."""
    cupy: Any = import_module("cupy")
    text = loader.source(dtype, BLOCK)
    module = cupy.RawModule(code=text, options=loader.OPTIONS)
    try:
        module.compile()
    except OSError as error:
        # CuPy keeps compiled kernels on disk. Without that, they are compiled in each process.
        warnings.warn(
            f"CuPy's kernel cache cannot be used ({_first_line(error)}); kernels are compiled anew "
            f"in each process. CUPY_CACHE_DIR can name another folder.",
            FastNetWarning,
            stacklevel=2,
        )
        os.environ["CUPY_CACHE_IN_MEMORY"] = "1"
        module = cupy.RawModule(code=text, options=loader.OPTIONS)
        module.compile()
    return {name: module.get_function(name).kernel for name in loader.KERNELS}


def _to_device(cupy: Any, values: NDArray[Any]) -> Array:
    try:
        return cupy.array(values)
    except MemoryError:
        raise _out_of_memory(cupy, values.nbytes) from None


def _out_of_memory(cupy: Any, needed: int) -> MemoryError:
    free, total = cupy.cuda.runtime.memGetInfo()
    free += cupy.get_default_memory_pool().free_bytes()
    return MemoryError(
        f"an array of {_size(needed)} does not fit into the GPU's memory, of which {_size(free)} "
        f"of {_size(total)} are free: choose a smaller batch_size, or the numba backend."
    )


def _bytes(shape: tuple[int, ...], dtype: Any) -> int:
    return math.prod(shape) * int(np.dtype(dtype).itemsize)


def _size(count: float) -> str:
    """Return a number of bytes for people."""
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if count < 1024 or unit == "GiB":
            break
        count /= 1024
    return f"{count:.{0 if unit == 'bytes' else 1}f} {unit}"
