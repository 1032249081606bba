"""The backend "cupy" of tests without a GPU: NumPy's engine behind device arrays.

It runs at NumPy's speed and needs no compiler, so that all tests of networks can be run on it. What
it shows is whatever would reach a device array as if it were NumPy's: outside of the GPU engine.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from types import FunctionType
from typing import Any, Final

import numpy as np

import fastnet.backends
from fastnet.backends.engine import Engine, while_active
from fastnet.backends.gpu.backend import CupyBackend
from fastnet.backends.gpu.engine import GpuEngine
from fastnet.backends.gpu.host_rows import HostRows
from fastnet.backends.numpy_backend import NumpyBackend
from fastnet.nn.batch import Array, Batch
from fastnet.nn.plan import Plan
from fastnet.utils import device_arrays
from tests.cuda.fake_cupy import FakeCupy, FakeRuntime
from tests.cuda.strict import DeviceArray, RefusedTypeError, on_current_device, on_device

COMPOSED: Final = {
    *("active", "blocks", "rows_of_a_block"),
    *("trains_ahead", "train_epochs", "lanes_for", "train_members"),
}
"""What an engine need not do itself: it is composed of the other methods."""

OWN: Final = {
    name
    for name, method in inspect.getmembers(GpuEngine, inspect.isfunction)
    if method.__qualname__ == f"GpuEngine.{name}" and not name.startswith("_")
} - COMPOSED
"""The methods that `GpuEngine` does not inherit and that NumPy's engine answers."""

WRITTEN: Final = {"moments"}
"""Arguments of an engine that it writes to."""

ON_HOST: Final = {"coefficients", "row"}
"""Arguments of an engine that are NumPy arrays on every backend."""


def _memory(name: str, value: Any) -> Any:
    """Return an argument of the GPU engine as NumPy's engine takes it."""
    if isinstance(value, HostRows):
        for field in value.fields:
            assert field is None or type(field) is np.ndarray
        return Batch(*value.fields)
    if isinstance(value, Batch):
        return Batch(*(_memory(name, field) for field in value.fields))
    if isinstance(value, DeviceArray):
        assert name not in ON_HOST, f"{name} is a host array"
        assert value.flags.c_contiguous, f"{name}: kernels take an address, and this has gaps"
        on_current_device(name, value, writes=name in WRITTEN)
        return value.memory
    if isinstance(value, np.ndarray) and name not in ON_HOST:
        raise RefusedTypeError(f"{name}: expected a device array, got {type(value)}")
    return value


def _there(value: Any) -> Any:
    """Return what NumPy's engine made as the GPU engine returns it."""
    if isinstance(value, Batch):
        return Batch(*map(_there, value.fields))
    if isinstance(value, tuple):
        return tuple(map(_there, value))
    return on_device(value)


def _handed_on(method: FunctionType) -> Callable[..., Any]:
    """Return a method of the GPU engine that NumPy's engine answers."""
    signature = inspect.signature(method)
    name = method.__name__

    @wraps(method)
    def call(self: StrictEngine, *args: Any, **kwargs: Any) -> Any:
        given = signature.bind(self, *args, **kwargs).arguments
        del given["self"]
        plain = {key: _memory(key, value) for key, value in given.items()}
        made = getattr(self.inner, name)(**plain)
        return made if name == "predict_one" else _there(made)

    return call


@while_active
class StrictEngine(Engine):
    """What `GpuEngine` does itself is NumPy's; the rest is composed of that, as there."""

    def __init__(self, inner: Engine, parameters: Array, state: Array) -> None:
        super().__init__(inner.plan, parameters, state)
        self.inner = inner
        self.gradients = DeviceArray(inner.gradients)
        self.tally = DeviceArray(inner.tally)

    def active(self) -> Any:
        return CUPY.cuda.Device(self.parameters.device.id)

    for _name, _method in vars(GpuEngine).items():
        if isinstance(_method, FunctionType) and _name in OWN:
            locals()[_name] = _handed_on(_method)


class StrictBackend(CupyBackend):
    """`CupyBackend` on a stand-in for CuPy with two devices."""

    def _cupy(self) -> Any:
        return CUPY

    def why_unavailable(self) -> str | None:
        return None

    def plain_engine(
        self,
        plan: Plan,
        parameters: Array,
        state: Array,
        *,
        threads: int | None = None,
        precision: str = "float32",
    ) -> Engine:
        with self.active():
            memory = _memory("parameters", parameters), _memory("state", state)
            return StrictEngine(NumpyBackend().plain_engine(plan, *memory), parameters, state)


CUPY: Final = FakeCupy(FakeRuntime(devices=2))


def stand_in() -> None:
    """Give the name "cupy" to `StrictBackend` unless a GPU can be used."""
    if fastnet.backends.find("cupy").why_unavailable() is None:
        return
    device_arrays.cupy = lambda: CUPY  # type: ignore[assignment]
    fastnet.backends._HOMES["cupy"] = __name__, "StrictBackend"
    fastnet.backends._load.cache_clear()


def stands_in() -> bool:
    """Return whether "cupy" is `StrictBackend`."""
    return fastnet.backends._HOMES["cupy"][0] == __name__
