"""A backend that runs the GPU engine on the CPU, for suites that compare backends."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from fastnet.backends.base import PRECISIONS, Backend
from fastnet.backends.gpu.engine import GpuEngine
from fastnet.nn.batch import Array, Batch
from fastnet.nn.plan import Plan
from tests.cuda.host_module import WHY_NOT
from tests.cuda.host_runtime import HostRuntime
from tests.cuda.strict import DeviceArray


class HostBackend(Backend):
    """The CuPy backend's engine and kernels on emulated threads.

    Parameters
    ----------
    **options
        Those of `HostRuntime` without ``bf16``.
    """

    name: ClassVar[str] = "cupy-host"
    install: ClassVar[str] = "apt-get install g++"
    precisions: ClassVar[tuple[str, ...]] = PRECISIONS

    def __init__(self, **options: Any) -> None:
        self.options = options

    def why_unavailable(self) -> str | None:
        return WHY_NOT

    def plain_engine(
        self,
        plan: Plan,
        parameters: Array,
        state: Array,
        *,
        threads: int | None = None,
        precision: str = "float32",
    ) -> GpuEngine:
        how = {**self.options, "bf16": precision == "bf16"}
        return host_engine(plan, parameters, state, **how)

    def asarray(self, values: NDArray[Any]) -> Array:
        return DeviceArray(np.array(values))

    def to_host(self, values: Array) -> NDArray[Any]:
        host: NDArray[Any] = values.get()
        return host

    def describe(self) -> dict[str, str]:
        return {"kernels": "emulated"}


def host_engine(plan: Plan, parameters: Array, state: Array, **options: Any) -> GpuEngine:
    """Return a GPU engine on the CPU, on copies of host arrays; `options`: see `HostRuntime`."""
    runtime = HostRuntime(parameters.dtype, **options)
    return GpuEngine(plan, put(parameters), put(state), runtime)


def put(values: Any) -> Any:
    """Return device arrays with the values of host arrays, of a batch too; others unchanged."""
    if isinstance(values, Batch):
        return Batch(*map(put, values.fields))
    return DeviceArray(values.copy()) if isinstance(values, np.ndarray) else values
