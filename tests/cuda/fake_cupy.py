"""A stand-in for CuPy on NumPy memory, for the lines that talk to CuPy.

It has the few names that the backend uses, with their signatures; `test_cuda_backend` compares
these with the real ones where CuPy is installed. Kernels run on the emulator.
"""

from __future__ import annotations

import ctypes
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.cuda.host_module import HostModule


class FakeArray(np.ndarray):  # type: ignore[type-arg]
    """An array that counts as one on the device."""

    @property
    def data(self) -> Any:
        return FakePointer(self)

    def set(self, values: NDArray[Any]) -> None:
        assert not isinstance(values, FakeArray), "expected a host array"
        assert values.shape == self.shape and values.dtype == self.dtype
        self[...] = values


class FakePointer:
    def __init__(self, array: FakeArray) -> None:
        assert array.flags.c_contiguous
        self._bytes = np.ndarray.view(array, np.ndarray).reshape(-1).view(np.uint8)
        self.ptr = int(array.ctypes.data)

    def copy_from_device_async(self, source: FakePointer, size: int) -> None:
        self._bytes[:size] = source._bytes[:size]


class CUDARuntimeError(RuntimeError):
    def __init__(self, status: int) -> None:
        super().__init__(f"cudaErrorNumber{status}: what CUDA says about it")
        self.status = status


class FakeRuntime:
    """``cupy.cuda.runtime`` with one device; an int instead of its count is an error's number."""

    def __init__(self, *, devices: int = 1, error: int | None = None, driver: int = 13000) -> None:
        self.devices, self.error, self.driver = devices, error, driver
        self.free, self.total = 3 * 2**30, 8 * 2**30

    def getDeviceCount(self) -> int:  # noqa: N802
        if self.error is not None:
            raise CUDARuntimeError(self.error)
        return self.devices

    def driverGetVersion(self) -> int:  # noqa: N802
        return self.driver

    def runtimeGetVersion(self) -> int:  # noqa: N802
        return 13020

    def getDevice(self) -> int:  # noqa: N802
        return 0

    def getDeviceProperties(self, device: int) -> dict[str, Any]:  # noqa: N802
        assert device == 0
        return {"name": b"NVIDIA Pretence", "major": 9, "minor": 0, "totalGlobalMem": self.total}

    def memGetInfo(self) -> tuple[int, int]:  # noqa: N802
        return self.free, self.total


class FakeBlas:
    """``cupy.cuda.cublas``: products of column-major matrices, given by their addresses."""

    CUBLAS_OP_N, CUBLAS_OP_T, CUBLAS_DEFAULT_MATH = 0, 1, 0

    def __init__(self) -> None:
        self.math_mode = -1

    def setMathMode(self, handle: int, mode: int) -> None:  # noqa: N802
        self.math_mode = mode

    def sgemm(self, *arguments: int) -> None:
        _gemm(ctypes.c_float, *arguments)

    def dgemm(self, *arguments: int) -> None:
        _gemm(ctypes.c_double, *arguments)


def _gemm(
    kind: Any,
    handle: int,
    transa: int,
    transb: int,
    m: int,
    n: int,
    k: int,
    alpha: int,
    a: int,
    lda: int,
    b: int,
    ldb: int,
    beta: int,
    c: int,
    ldc: int,
) -> None:
    assert handle == FakeCupy.HANDLE
    assert kind.from_address(alpha).value == 1 and kind.from_address(beta).value == 0

    def matrix(address: int, rows: int, columns: int, leading: int) -> NDArray[Any]:
        assert leading >= rows
        buffer = (kind * (leading * columns)).from_address(address)
        return np.frombuffer(buffer, kind).reshape(columns, leading).T[:rows]

    left = matrix(a, k, m, lda).T if transa else matrix(a, m, k, lda)
    right = matrix(b, n, k, ldb).T if transb else matrix(b, k, n, ldb)
    matrix(c, m, n, ldc)[...] = left @ right


class FakeModule:
    """``cupy.RawModule``; fails to compile while `broken_cache` is an error."""

    broken_cache: OSError | None = None

    def __init__(self, *, code: str, options: tuple[str, ...]) -> None:
        assert all(isinstance(option, str) for option in options)
        self._code = code

    def compile(self) -> None:
        if FakeModule.broken_cache is not None:
            error, FakeModule.broken_cache = FakeModule.broken_cache, None
            raise error
        self._module = HostModule(self._code)

    def get_function(self, name: str) -> Any:
        def kernel(grid: tuple[int, ...], block: tuple[int, ...], arguments: Any) -> None:
            for value in arguments:
                assert isinstance(value, FakeArray | int | float | None), "not on the device"
            self._module.launch(name, grid, block, tuple(arguments))

        return SimpleNamespace(kernel=kernel)


class FakeCupy(ModuleType):
    """The package."""

    HANDLE = 4711
    __version__ = "14.0.0"
    RawModule = FakeModule

    def __init__(self, runtime: FakeRuntime | None = None) -> None:
        super().__init__("cupy")
        self.runtime = runtime or FakeRuntime()
        self.blas = FakeBlas()
        self.cuda = SimpleNamespace(
            runtime=self.runtime,
            cublas=self.blas,
            nvrtc=SimpleNamespace(getVersion=lambda: (13, 0)),
            Device=lambda: SimpleNamespace(id=0),
            device=SimpleNamespace(get_cublas_handle=lambda: FakeCupy.HANDLE),
        )

    def empty(self, shape: tuple[int, ...], dtype: Any) -> FakeArray:
        size = np.empty(0, dtype).itemsize * int(np.prod(shape, dtype=float))
        if size > self.runtime.free:
            raise MemoryError("Out of memory")
        values = np.full(max(size, 1), 0xFF, np.uint8)[:size].view(dtype).reshape(shape)
        return values.view(FakeArray)

    def array(self, values: NDArray[Any]) -> FakeArray:
        array = self.empty(values.shape, values.dtype)
        array.set(np.asarray(values))
        return array

    def asnumpy(self, values: FakeArray) -> NDArray[Any]:
        assert isinstance(values, FakeArray), "expected a device array"
        return np.array(values, subok=False)

    def get_default_memory_pool(self) -> Any:
        return SimpleNamespace(free_bytes=lambda: 2**30)
