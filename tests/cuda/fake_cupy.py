"""A stand-in for CuPy on NumPy memory, for the lines that talk to CuPy.

It has the few names that the backend uses, with their signatures; `test_backend` compares these
with the real ones where CuPy is installed. Kernels run on the emulator.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.cuda.fake_cublaslt import FakeCublasLt
from tests.cuda.host_module import HostModule
from tests.cuda.order import Timeline, default_timeline, host_waited
from tests.cuda.strict import (
    CURRENT,
    DeviceArray,
    RefusedRuntimeError,
    RefusedTypeError,
    memory_of,
    on_current_device,
    queue,
    refuse_in_capture,
)

_INVALID_DEVICE = 101
"""The number of ``cudaErrorInvalidDevice``."""


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
        return CURRENT.device

    def deviceGetPCIBusId(self, device: int) -> str:  # noqa: N802
        assert device < self.devices
        return f"0000:{device:02X}:00.0"

    def getDeviceProperties(self, device: int) -> dict[str, Any]:  # noqa: N802
        assert device < self.devices
        major, minor = map(int, (self.capability[:-1], self.capability[-1]))
        name = b"NVIDIA Pretence"
        return {"name": name, "major": major, "minor": minor, "totalGlobalMem": self.total}

    def memGetInfo(self) -> tuple[int, int]:  # noqa: N802
        return self.free, self.total


class FakeEvent:
    """Knows the stream that it was recorded on, and when, in milliseconds."""

    def __init__(self, stream: FakeStream, at: float) -> None:
        self.stream, self.at, self.done = stream, at, stream.timeline.done()

    def synchronize(self) -> None:
        refuse_in_capture("synchronize")
        host_waited(self.done)


class FakeStream:
    """Queues nothing: what it is given runs at once, or is written down while it is captured.

    As in CuPy, a stream belongs to the device that was current when it was made, is entered while
    that one is, and is the current one of a thread there alone.

    Attributes
    ----------
    waited : list of FakeStream
        Those on whose events it waited.
    """

    def __init__(self, non_blocking: bool = False, *, default: bool = False) -> None:
        self.non_blocking = non_blocking
        self.ptr = 0 if default else id(self)
        self.device_id = -1 if default else CURRENT.device
        self.waited: list[FakeStream] = []
        self._own = None if default else Timeline()

    @property
    def timeline(self) -> Timeline:
        """Its work; the default stream is another one on each device."""
        return self._own or default_timeline(CURRENT.device)

    def __enter__(self) -> FakeStream:
        if self.device_id not in (-1, CURRENT.device):
            raise RefusedRuntimeError(
                f"The device that the stream is created on ({self.device_id}) does not match with "
                f"the current device ({CURRENT.device})"
            )
        CURRENT.streams.setdefault(CURRENT.device, []).append(self)
        return self

    def __exit__(self, *_: object) -> None:
        CURRENT.streams[CURRENT.device if self.device_id < 0 else self.device_id].pop()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FakeStream) and other.ptr == self.ptr

    __hash__ = None  # type: ignore[assignment]

    def begin_capture(self) -> None:
        assert self.non_blocking and CURRENT.recording is None
        CURRENT.recording = []

    def end_capture(self) -> FakeGraph:
        recorded, CURRENT.recording = CURRENT.recording, None
        assert recorded is not None
        return FakeGraph(recorded)

    def record(self) -> FakeEvent:
        assert CURRENT.recording is None
        return FakeEvent(self, CURRENT.clock)

    def wait_event(self, event: FakeEvent) -> None:
        assert isinstance(event, FakeEvent)
        self.waited.append(event.stream)
        self.timeline.wait(event.done)

    def synchronize(self) -> None:
        refuse_in_capture("synchronize")
        host_waited(self.timeline.done())


class FakeGraph:
    def __init__(self, recorded: list[Callable[[], None]]) -> None:
        self._recorded = recorded

    def launch(self) -> None:
        for work in self._recorded:
            work()


class FakeDevice:
    """A GPU: the current one within its context, or for good after `use`."""

    def __init__(self, owner: FakeCupy, number: int | None = None) -> None:
        self.id = CURRENT.device if number is None else number
        if not 0 <= self.id < owner.runtime.devices:
            raise CUDARuntimeError(_INVALID_DEVICE)
        self.attributes = {
            "MaxSharedMemoryPerBlockOptin": owner.shared_bytes,
            "MultiProcessorCount": 2,
        }
        self.compute_capability = owner.runtime.capability
        self._before: list[int] = []

    def use(self) -> None:
        CURRENT.device = self.id

    def __enter__(self) -> FakeDevice:
        self._before.append(CURRENT.device)
        CURRENT.device = self.id
        return self

    def __exit__(self, *_: object) -> None:
        CURRENT.device = self._before.pop()


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
        assert type(grid) is tuple and type(block) is tuple
        for value in arguments:
            if not isinstance(value, DeviceArray | int | float | None):
                raise RefusedTypeError(f"a kernel cannot take {type(value)}")
        for value, writes in zip(arguments, self._module.writes[self._name], strict=True):
            on_current_device(self._name, value, writes=writes)
        launch, plain = self._module.launch, memory_of(arguments)
        self._owner._queue(lambda: launch(self._name, grid, block, plain, shared_mem))


class FakeModule:
    """``cupy.RawModule``; fails to compile while `broken_cache` is an error."""

    broken_cache: OSError | None = None

    def __init__(self, owner: FakeCupy, code: str, options: tuple[str, ...]) -> None:
        assert all(isinstance(option, str) for option in options)
        self._owner, self._code = owner, code

    def compile(self) -> None:
        if FakeModule.broken_cache is not None:
            error, FakeModule.broken_cache = FakeModule.broken_cache, None
            raise error
        self._module = HostModule(self._code)

    def get_function(self, name: str) -> FakeKernel:
        return FakeKernel(self._owner, self._module, name)


class FakeCupy(ModuleType):
    """The package, with as many devices as its runtime has."""

    __version__ = "14.0.0"
    ndarray = DeviceArray

    def __init__(self, runtime: FakeRuntime | None = None, **library: Any) -> None:
        super().__init__("cupy")
        self.runtime = runtime or FakeRuntime()
        self.shared_bytes, self.launch_milliseconds = 99 * 2**10, 1.0
        self.default_stream = FakeStream(default=True)
        self.library = FakeCublasLt(self._queue, **library)
        self.library.capturing = lambda: CURRENT.recording is not None
        self.cuda = SimpleNamespace(
            runtime=self.runtime,
            nvrtc=SimpleNamespace(getVersion=lambda: (13, 0)),
            Device=lambda number=None: FakeDevice(self, number),
            Stream=FakeStream,
            get_current_stream=lambda: CURRENT.stream or self.default_stream,
            get_elapsed_time=lambda begin, end: end.at - begin.at,
            alloc_pinned_memory=lambda size: bytearray(size),
        )

    def _queue(self, work: Callable[[], None]) -> None:
        """Do what a stream is given, which takes a while, or write it down."""

        def timed() -> None:
            work()
            CURRENT.clock += self.launch_milliseconds

        queue(timed)

    def RawModule(self, *, code: str, options: tuple[str, ...]) -> FakeModule:  # noqa: N802
        return FakeModule(self, code, options)

    def empty(self, shape: tuple[int, ...], dtype: Any) -> DeviceArray:
        refuse_in_capture("memory")
        size = np.empty(0, dtype).itemsize * int(np.prod(shape, dtype=float))
        if size > self.runtime.free:
            raise MemoryError("Out of memory")
        memory = np.full(size + 512, 0xFF, np.uint8)
        first = -memory.ctypes.data % 512  # as CuPy aligns it
        return DeviceArray(memory[first : first + size].view(dtype).reshape(shape))

    def array(self, values: Any) -> DeviceArray:
        if isinstance(values, DeviceArray):
            return values.copy()
        if values.flags.fnc:
            raise RefusedTypeError("cupy.array would keep the order of Fortran")
        array = self.empty(values.shape, values.dtype)
        array.set(np.asarray(values))
        return array

    def asarray(self, values: Any) -> DeviceArray:
        """Take what is on the device as it is, and copy what is on another or on the host."""
        held = getattr(values, "__cuda_array_interface__", {}).get("holds", values)
        if isinstance(held, DeviceArray) and held.device.id == CURRENT.device:
            return held
        return self.array(held)

    def from_dlpack(self, values: Any) -> DeviceArray:
        """Take what is on the device; the stand-ins of tests hand over an array of ours."""
        kind, number = values.__dlpack_device__()
        assert (kind, number) == (2, CURRENT.device), "on another device"
        array: DeviceArray = values.__dlpack__()
        return array

    def asnumpy(self, values: DeviceArray) -> NDArray[Any]:
        if not isinstance(values, DeviceArray):
            raise RefusedTypeError("expected a device array")
        return values.get()

    def get_default_memory_pool(self) -> Any:
        return SimpleNamespace(free_bytes=lambda: 2**30, free_all_blocks=lambda: None)
