"""`DeviceArray`: has NumPy's memory and refuses what ``cupy.ndarray`` refuses.

No buffer, no ``__array__``, no arithmetic with host arrays: `get` is the way back. It knows its
device, and refuses to be computed with while another one is current, while a stream is captured,
or on a stream that has not waited for the one that used it last.
Written after CuPy 14.2 (``_core/core.pyx``, ``_core/_routines_indexing.pyx``).
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np

from tests.cuda.order import Timeline, Trace, default_timeline, host_waited

Array = np.ndarray[Any, Any]

KNOWN: Final = frozenset(
    json.loads(Path(__file__).with_name("cupy_names.json").read_text(encoding="utf-8"))
)
"""The public names of CuPy 14.2; `test_strict` compares them with a CuPy that is installed."""

_FROM_HOST: Final = {"array", "asarray", "ascontiguousarray", "from_dlpack"}
"""What makes a device array of a host array, as in ``np.asarray(host, like=on_device)``."""


class Refused:
    """What marks an error as a refusal of the device."""


class RefusedTypeError(TypeError, Refused):
    """An array of the wrong kind."""


class RefusedValueError(ValueError, Refused):
    """Values that cannot be taken."""


class RefusedRuntimeError(RuntimeError, Refused):
    """What CUDA would call an illegal access, or forbids in a capture."""


class Current(threading.local):
    """What CUDA keeps for each thread.

    Attributes
    ----------
    device : int
        The number of the current device.
    recording : list or None
        What was queued since the current stream has been captured; None: it is not.
    streams : dict of int to list
        The streams that were entered and not left, of each device; without one, the default
        stream is the current one.
    clock : float
        Milliseconds that the work of the device has taken.
    """

    device: int = 0
    recording: list[Callable[[], None]] | None = None
    clock: float = 0.0

    def __init__(self) -> None:
        self.streams: dict[int, list[Any]] = {}

    @property
    def stream(self) -> Any:
        """The current stream of the current device; None: the default one."""
        entered = self.streams.get(self.device)
        return entered[-1] if entered else None

    def timeline(self, device: int | None = None) -> Timeline:
        """Return the work of the current stream of a device."""
        number = self.device if device is None else device
        entered = self.streams.get(number)
        return entered[-1].timeline if entered else default_timeline(number)


CURRENT: Final = Current()


def queue(work: Callable[[], None]) -> None:
    """Do what a stream is given, or write it down."""
    if CURRENT.recording is None:
        work()
    else:
        CURRENT.recording.append(work)


def refuse_in_capture(what: str) -> None:
    """Raise what CUDA raises for memory, copies and waits in a capture."""
    if CURRENT.recording is not None:
        raise RefusedRuntimeError(f"{what}: operation not permitted when stream is capturing")


def on_current_device(what: str, values: Any, *, writes: bool = False) -> None:
    """Queue work on all device arrays among values (nested); raise unless they are in reach.

    They have to be on the current device, and the current stream after those that used them.
    """
    if isinstance(values, DeviceArray):
        if values.size and values.device.id != CURRENT.device:
            raise RefusedRuntimeError(
                f"{what}: an illegal memory access was encountered: the array is on device "
                f"{values.device.id}, and the current one is {CURRENT.device}"
            )
        trace = values.trace
        queue(lambda: touch(what, trace, CURRENT.timeline(), writes=writes))
    elif isinstance(values, list | tuple):
        for value in values:
            on_current_device(what, value, writes=writes)


def touch(what: str, trace: Trace, timeline: Timeline, *, writes: bool = False) -> None:
    """Queue work of a stream on some memory; raise unless it comes after the work before on it."""
    if not timeline.touch(trace, writes=writes):
        raise RefusedRuntimeError(
            f"{what}: a race: another stream has worked on the array, and this one has not waited"
        )


def memory_of(values: Any) -> Any:
    """Return values with NumPy's memory in place of each device array (nested)."""
    if isinstance(values, DeviceArray):
        return values.memory
    if isinstance(values, list | tuple):
        return type(values)(map(memory_of, values))
    return values


def on_device(values: Any) -> Any:
    """Return device arrays in place of NumPy's arrays and numbers (nested in tuples and lists)."""
    if isinstance(values, np.ndarray | np.generic):
        return DeviceArray(np.asarray(values))
    if isinstance(values, tuple | list):
        return type(values)(map(on_device, values))
    return values


def _no_host_array(what: str, values: Any) -> None:
    if isinstance(values, np.ndarray):
        raise RefusedTypeError(f"{what}: Unsupported type <class 'numpy.ndarray'>")
    if isinstance(values, list | tuple):
        for value in values:
            _no_host_array(what, value)


def computed(what: str, call: Any, *args: Any, **kwargs: Any) -> Any:
    """Return what a call makes of device arrays, on the current device."""
    given = [*args, *kwargs.values()]
    refuse_in_capture(what)
    on_current_device(what, given)
    on_current_device(what, kwargs.get("out", ()), writes=True)
    with np.errstate(all="ignore"):  # a GPU says nothing
        return on_device(call(*memory_of(args), **{k: memory_of(v) for k, v in kwargs.items()}))


class Place:
    """``cupy.ndarray.device``."""

    def __init__(self, number: int) -> None:
        self.id = number

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Place) and other.id == self.id

    __hash__ = None  # type: ignore[assignment]


class Pointer:
    """``cupy.cuda.MemoryPointer``."""

    def __init__(self, array: DeviceArray) -> None:
        assert array.flags.c_contiguous, "the address of a view with gaps"
        self.array = array
        self.ptr = int(array.memory.ctypes.data) if array.size else 0

    def copy_from_device_async(self, source: Pointer, size: int) -> None:
        on_current_device("memcpy", source.array)
        on_current_device("memcpy", self.array, writes=True)
        into, values = (p.array.memory.reshape(-1).view(np.uint8) for p in (self, source))
        queue(lambda: np.copyto(into[:size], values[:size]))


class DeviceArray(np.lib.mixins.NDArrayOperatorsMixin):
    """An array on a device.

    Parameters
    ----------
    memory : ndarray
        What it holds.
    device : int, optional
        The number of its device; by default the current one.
    trace : Trace, optional
        That of the array whose memory this is a view of. Memory that is new belongs to the current
        stream.
    """

    __array_priority__ = 100
    __hash__ = None  # type: ignore[assignment]

    def __init__(
        self, memory: Array, device: int | None = None, trace: Trace | None = None
    ) -> None:
        assert type(memory) is np.ndarray
        self.memory = memory
        self.device = Place(CURRENT.device if device is None else device)
        self.trace = Trace() if trace is None else trace
        if trace is None:
            CURRENT.timeline(self.device.id).touch(self.trace, writes=True)

    # --- what it refuses ---

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise RefusedTypeError(
            "Implicit conversion to a NumPy array is not allowed. Please use `.get()` to construct "
            "a NumPy array explicitly."
        )

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        name = ufunc.__name__
        _no_host_array(name, [*inputs, *kwargs.values()])
        if name not in KNOWN:
            return NotImplemented
        made = computed(name, getattr(ufunc, method), *inputs, **kwargs)
        return kwargs["out"][0] if "out" in kwargs else made

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        name = function.__name__
        if name not in KNOWN:
            return NotImplemented
        if name in _FROM_HOST:
            assert not any(isinstance(value, DeviceArray) for value in args)
            refuse_in_capture(name)
            return DeviceArray(np.array(*args, **kwargs))
        _no_host_array(name, [*args, *kwargs.values()])
        return computed(name, function, *args, **kwargs)

    # --- what it is ---

    shape = property(lambda self: self.memory.shape)
    dtype = property(lambda self: self.memory.dtype)
    size = property(lambda self: self.memory.size)
    ndim = property(lambda self: self.memory.ndim)
    nbytes = property(lambda self: self.memory.nbytes)
    itemsize = property(lambda self: self.memory.itemsize)
    strides = property(lambda self: self.memory.strides)
    flags = property(lambda self: self.memory.flags)
    data = property(lambda self: Pointer(self))
    T = property(lambda self: self._view(self.memory.T))

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {**self.memory.__array_interface__, "version": 3, "holds": self}

    def __dlpack_device__(self) -> tuple[int, int]:
        return 2, self.device.id

    def _view(self, memory: Array) -> DeviceArray:
        return DeviceArray(memory, self.device.id, self.trace)

    def __len__(self) -> int:
        return len(self.memory)

    def __iter__(self) -> Iterator[DeviceArray]:
        if not self.ndim:
            raise TypeError("iteration over a 0-d array")
        return (self[n] for n in range(len(self)))

    def __getitem__(self, index: Any) -> DeviceArray:
        parts = index if isinstance(index, tuple) else (index,)
        if all(p is None or p is ... or isinstance(p, slice | int | np.integer) for p in parts):
            # With an ellipsis a single element is a view, as in CuPy, and no scalar.
            return self._view(self.memory[parts if ... in parts else (*parts, ...)])
        found: DeviceArray = computed("take", lambda a, i: a[i], self, parts)
        return found

    def __setitem__(self, index: Any, value: Any) -> None:
        refuse_in_capture("assignment")
        on_current_device("assignment", [index, value])
        on_current_device("assignment", self, writes=True)
        new = value.memory if isinstance(value, DeviceArray) else self._scalar(value)
        self.memory[memory_of(index)] = new

    def _scalar(self, value: Any) -> Any:
        value = np.asarray(value, dtype=self.dtype)
        if value.shape != ():
            raise RefusedValueError("non-scalar numpy.ndarray cannot be used for fill")
        return value[()]

    def fill(self, value: Any) -> None:
        self[...] = value

    def get(self, *_: Any, **__: Any) -> Array:
        refuse_in_capture("get")
        timeline = CURRENT.timeline(self.device.id)
        touch("get", self.trace, timeline)
        host_waited(timeline.done())
        return np.array(self.memory, order="C")

    def set(self, values: Any, stream: Any = None) -> None:
        refuse_in_capture("set")
        if type(values) is not np.ndarray:
            raise RefusedTypeError("Only numpy.ndarray can be set to cupy.ndarray")
        if self.dtype != values.dtype:
            raise RefusedTypeError(f"{values.dtype} array cannot be set to {self.dtype} array")
        if self.shape != values.shape:
            raise RefusedValueError(f"Shape mismatch. {self.shape}, {values.shape}")
        if not self.flags.c_contiguous:
            raise RefusedRuntimeError("Cannot set to non-contiguous array")
        timeline = CURRENT.timeline(self.device.id) if stream is None else stream.timeline
        touch("set", self.trace, timeline, writes=True)
        self.memory[...] = values

    def item(self) -> Any:
        return self.get().item()

    def tolist(self) -> Any:
        return self.get().tolist()

    def tobytes(self) -> bytes:
        return self.get().tobytes()

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __bool__(self) -> bool:
        return bool(self.get())

    def __repr__(self) -> str:
        return repr(self.get())

    def __format__(self, spec: str) -> str:
        return format(self.get(), spec)

    def __reduce__(self) -> Any:
        return DeviceArray, (self.get(),)

    def copy(self, order: str = "C") -> DeviceArray:
        """Return a copy on the current device, also of an array of another one."""
        refuse_in_capture("copy")
        # CuPy lets it wait for the other device's.
        CURRENT.timeline().wait(CURRENT.timeline(self.device.id).done())
        touch("copy", self.trace, CURRENT.timeline())
        return DeviceArray(self.memory.copy(order="C"))

    def __copy__(self) -> DeviceArray:
        return self.copy()

    def __deepcopy__(self, memo: Any) -> DeviceArray:
        touch("copy", self.trace, CURRENT.timeline(self.device.id))
        return DeviceArray(self.memory.copy(order="C"), self.device.id)

    def astype(self, dtype: Any, order: str = "K", *, copy: bool = True) -> DeviceArray:
        if not copy and self.memory.astype(dtype, order=order, copy=False) is self.memory:
            return self
        made: DeviceArray = computed("astype", np.ndarray.astype, self, dtype, order)
        return made

    def reshape(self, *shape: Any) -> DeviceArray:
        made = self.memory.reshape(*shape)
        if not np.shares_memory(made, self.memory):
            return DeviceArray(made)
        return self._view(made)

    def view(self, dtype: Any = None) -> DeviceArray:
        return self._view(self.memory.view() if dtype is None else self.memory.view(dtype))

    def ravel(self) -> DeviceArray:
        return self.reshape(-1)

    def dot(self, other: Any) -> Any:
        return np.matmul(self, other)


def _method(name: str) -> Any:
    def call(self: DeviceArray, *args: Any, **kwargs: Any) -> Any:
        _no_host_array(name, [*args, *kwargs.values()])
        return computed(name, getattr(np.ndarray, name), self, *args, **kwargs)

    return call


_REDUCTIONS = "sum max min mean std var prod any all argmax argmin"
_OTHERS = "round transpose take cumsum squeeze argsort repeat clip flatten"
for _name in f"{_REDUCTIONS} {_OTHERS}".split():
    setattr(DeviceArray, _name, _method(_name))
