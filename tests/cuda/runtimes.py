"""The runtimes that the kernels are tested on: emulated threads in several orders, and a GPU."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fastnet.backends.gpu.backend import CupyBackend
from fastnet.backends.gpu.cupy_runtime import CudaRuntime
from fastnet.backends.gpu.runtime import Runtime
from tests.cuda.host_module import WHY_NOT
from tests.cuda.host_runtime import HostRuntime

Array = NDArray[Any]

SCHEDULES = {"forwards": 0, "backwards": 1, "shuffled": 7}

each_dtype = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["f32", "f64"])
each_place = pytest.mark.parametrize(
    "place", [*SCHEDULES, pytest.param("gpu", marks=pytest.mark.gpu)]
)


def open_runtime(place: str, dtype: Any, *, shared_bytes: int = 0, bf16: bool = False) -> Runtime:
    """Return a runtime, or skip the test with the reason why there is none.

    Without shared memory, the engine trains even tiny networks step by step.
    """
    why_not = CupyBackend().why_unavailable() if place == "gpu" else WHY_NOT
    if why_not:
        pytest.skip(why_not)
    if place == "gpu":
        runtime = CudaRuntime(dtype, precision="bf16" if bf16 else "float32")
        runtime.shared_bytes = min(runtime.shared_bytes, shared_bytes)
        return runtime
    schedule = SCHEDULES[place]
    return HostRuntime(dtype, schedule=schedule, shared_bytes=shared_bytes, bf16=bf16)


def run(runtime: Runtime, kernel: str, shape: tuple[int, int], *arguments: Any) -> list[Array]:
    """Launch a kernel on copies of host arrays; return what the arrays hold afterwards.

    An array that is given twice is one array for the kernel, too.
    """
    there: dict[int, Any] = {}
    for argument in arguments:
        if isinstance(argument, np.ndarray) and id(argument) not in there:
            there[id(argument)] = runtime.to_device(argument)
    runtime.launch(kernel, shape, *(there.get(id(a), a) for a in arguments))
    return [runtime.to_host(there[id(a)]) for a in arguments if isinstance(a, np.ndarray)]


def blank(shape: tuple[int, ...] | int, dtype: Any) -> Array:
    """Return an array that no kernel should read: NaN, or -1."""
    return np.full(shape, -1 if np.dtype(dtype).kind in "iu" else np.nan).astype(dtype)
