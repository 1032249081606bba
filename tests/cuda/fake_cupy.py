"""A stand-in for CuPy on NumPy memory, for the lines that talk to CuPy.

It has the few names that the backend uses, with their signatures; `test_backend` compares these
with the real ones where CuPy is installed. Kernels run on the emulator.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.cuda.fake_cublaslt import FakeCublasLt
from tests.cuda.host_module import HostModule


class FakeArray(np.ndarray):  # type: ignore[type-arg]
    """An array that counts as one on the device."""

    @property
    def data(self) -> Any:
        return FakePointer(self)

    def set(self, values: NDArray[Any], stream: FakeStream | None = None) -> None:
        assert not isinstance(values, FakeArray), "expected a host array"
        assert values.shape == self.shape and values.dtype == self.dtype
        self[...] = values


class FakePointer:
    def __init__(self, array: FakeArray) -> None:
        assert array.flags.c_contiguous
        self._bytes = np.ndarray.view(array, np.ndarray).reshape(-1).view(np.uint8)
        self.ptr = int(array.ctypes.data)

    def copy_from_device_async(self, source: FakePointer, size: int) -> None:
        into, values = self._bytes[:size], source._bytes[:size]
        sys.modules["cupy"].queue(lambda: np.copyto(into, values))  # type: ignore[attr-defined]


class CUDARuntimeError(RuntimeError):
    def __init__(self, status: int) -> None:
        super().__init__(f"cudaErrorNumber{status}: what CUDA says about it")
        self.status = status


class FakeRuntime:
    """``cupy.cuda.runtime`` with one device; an int instead of its count is an error's number."""

    def __init__(self, *, devices: int = 1, error: int | None = None, driver: int = 13000) -> None:
        self.devices, self.error, self.driver = devices, error, driver
        self.free, self.total, self.capability = 3 * 2**30, 8 * 2**30, "90"

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
        assert device < self.devices
        major, minor = map(int, (self.capability[:-1], self.capability[-1]))
        name = b"NVIDIA Pretence"
        return {"name": name, "major": major, "minor": minor, "totalGlobalMem": self.total}

    def memGetInfo(self) -> tuple[int, int]:  # noqa: N802
        return self.free, self.total


class FakeEvent:
    def __init__(self, at: float) -> None:
        self.at = at  # milliseconds

    def synchronize(self) -> None: ...


class FakeStream:
    """Queues nothing: what it is given runs at once, or is written down while it is captured."""

    ptr = 7

    def __init__(self, owner: FakeCupy, non_blocking: bool = False) -> None:
        self._owner, self.non_blocking = owner, non_blocking

    def __enter__(self) -> FakeStream:
        self._before, self._owner.current = self._owner.current, self
        return self

    def __exit__(self, *_: object) -> None:
        self._owner.current = self._before

    def begin_capture(self) -> None:
        assert self.non_blocking and self._owner.recording is None
        self._owner.recording = []

    def end_capture(self) -> FakeGraph:
        recorded, self._owner.recording = self._owner.recording, None
        assert recorded is not None
        return FakeGraph(recorded)

    def record(self) -> FakeEvent:
        assert self._owner.recording is None
        return FakeEvent(self._owner.library.clock)

    def wait_event(self, event: FakeEvent) -> None:
        assert isinstance(event, FakeEvent)


class FakeGraph:
    def __init__(self, recorded: list[Callable[[], None]]) -> None:
        self._recorded = recorded

    def launch(self) -> None:
        for work in self._recorded:
            work()


class FakeDevice:
    """A GPU; `use` makes it the current one."""

    def __init__(self, owner: FakeCupy, number: int | None = None) -> None:
        self._owner, self.id = owner, owner.device if number is None else number
        self.attributes = {"MaxSharedMemoryPerBlockOptin": owner.shared_bytes}
        self.compute_capability = owner.runtime.capability

    def use(self) -> None:
        self._owner.device = self.id


class FakeKernel:
    """``cupy.RawKernel``, and the function within."""

    max_dynamic_shared_size_bytes = 48 * 2**10

    def __init__(self, owner: FakeCupy, module: HostModule, name: str) -> None:
        self._owner, self._module, self._name = owner, module, name
        self.kernel = self

    def __call__(
        self,
        grid: tuple[int, ...],
        block: tuple[int, ...],
        arguments: tuple[Any, ...],
        shared_mem: int = 0,
    ) -> None:
        assert shared_mem <= self.max_dynamic_shared_size_bytes
        assert shared_mem <= self._owner.shared_bytes
        for value in arguments:
            assert isinstance(value, FakeArray | int | float | None), "not on the device"
        launch = self._module.launch
        self._owner.queue(lambda: launch(self._name, grid, block, arguments, shared_mem))


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

    def get_function(self, name: str) -> FakeKernel:
        return FakeKernel(sys.modules["cupy"], self._module, name)


class FakeCupy(ModuleType):
    """The package, with as many devices as its runtime has."""

    __version__ = "14.0.0"
    RawModule = FakeModule

    def __init__(self, runtime: FakeRuntime | None = None, **library: Any) -> None:
        super().__init__("cupy")
        self.runtime = runtime or FakeRuntime()
        self.device, self.shared_bytes = 0, 99 * 2**10
        self.launch_milliseconds = 1.0
        self.recording: list[Callable[[], None]] | None = None
        self.current = FakeStream(self)
        self.library = FakeCublasLt(self.queue, **library)
        self.library.capturing = lambda: self.recording is not None
        self.cuda = SimpleNamespace(
            runtime=self.runtime,
            nvrtc=SimpleNamespace(getVersion=lambda: (13, 0)),
            Device=lambda number=None: FakeDevice(self, number),
            Stream=lambda non_blocking=False: FakeStream(self, non_blocking),
            get_current_stream=lambda: self.current,
            get_elapsed_time=lambda begin, end: end.at - begin.at,
            alloc_pinned_memory=lambda size: bytearray(size),
        )

    def queue(self, work: Callable[[], None]) -> None:
        """Do what a stream is given, which takes a while, or write it down."""

        def timed() -> None:
            work()
            self.library.clock += self.launch_milliseconds

        if self.recording is None:
            timed()
        else:
            self.recording.append(timed)

    def empty(self, shape: tuple[int, ...], dtype: Any) -> FakeArray:
        assert self.recording is None, "memory from inside a capture"
        size = np.empty(0, dtype).itemsize * int(np.prod(shape, dtype=float))
        if size > self.runtime.free:
            raise MemoryError("Out of memory")
        memory = np.full(size + 512, 0xFF, np.uint8)
        first = -memory.ctypes.data % 512  # as CuPy aligns it
        values = memory[first : first + size].view(dtype).reshape(shape)
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
