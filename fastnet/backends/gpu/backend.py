"""The CuPy backend: says whether a GPU can be used and which, and moves data there.

CuPy provides memory, module loading and libraries (`cupy_runtime`). The kernels are in
``kernels/cuda``, and `step` launches them in their order. CuPy is imported when somebody asks for
the backend, never before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib import import_module, metadata
from importlib.util import find_spec
from typing import Any, ClassVar, Final, Self

import numpy as np
from numpy.typing import NDArray

from fastnet.backends.base import PRECISIONS, Backend, TrainingSize
from fastnet.backends.engine import Engine
from fastnet.backends.gpu import processes
from fastnet.backends.gpu.cublaslt import CublasLt
from fastnet.backends.gpu.cupy_runtime import CudaRuntime, first_line, library_path
from fastnet.backends.gpu.engine import GpuEngine
from fastnet.backends.gpu.host_rows import HostRows
from fastnet.backends.gpu.queues import Queues, queues_for, turns
from fastnet.backends.gpu.transfers import free_memory, size_text, to_device, zeros
from fastnet.errors import InputError
from fastnet.nn.batch import Array, Batch
from fastnet.nn.plan import Plan
from fastnet.utils import device_arrays

_BUILDS: Final = ("cupy", "cupy-cuda11x", "cupy-cuda12x", "cupy-cuda13x")
"""The distributions that contain the package ``cupy``: at most one may be installed."""

DATA_SHARE: Final = 0.7
"""Data that need a larger share of the free memory stay on the host and are streamed."""

_OLDEST: Final = (7, 5)
"""The lowest compute capability that CUDA 13 compiles for."""

_INSUFFICIENT_DRIVER, _NO_DEVICE = 35, 100
"""Numbers of ``cudaError_t``."""


class CupyBackend(Backend):
    """Runs on one NVIDIA GPU, and leaves the caller's current one as it is.

    Parameters
    ----------
    device : int or None
        The number of the GPU; None means CuPy's current one at each call. Networks have a number.
    """

    name: ClassVar[str] = "cupy"
    install: ClassVar[str] = "pip install 'fastnet-mlp[cuda13]'"
    precisions: ClassVar[tuple[str, ...]] = PRECISIONS

    def __init__(self, device: int | None = None) -> None:
        self.device = device
        self._numbered: dict[int, Self] = {}
        self._queues = Queues()

    def why_unavailable(self) -> str | None:
        return (
            _why_not_installed()
            or _why_not_importable()
            or processes.why_forked()
            or _why_no_device()
            or _why_no_libraries()
        )

    def on(self, device: int | None) -> Self:
        """Return the backend for the GPU of that number; None: for its own, or the current one."""
        if device in (None, self.device) and self.device is not None:
            return self
        number = int(self._cupy().cuda.runtime.getDevice()) if device is None else device
        if number not in self._numbered:
            count = self.devices()
            if number >= count:
                there = "is 1 GPU, number 0" if count == 1 else f"are {count} GPUs, from 0 on"
                raise InputError(f"device={number} does not exist: there {there}.")
            self._numbered.setdefault(number, type(self)(number))  # one, whichever threads ask
        return self._numbered[number]

    def devices(self) -> int:
        return int(self._cupy().cuda.runtime.getDeviceCount())

    @contextmanager
    def active(self) -> Iterator[Any]:
        """Make its GPU the current one within the context; the context is the package ``cupy``."""
        processes.require_own()
        cupy = self._cupy()
        with nullcontext() if self.device is None else cupy.cuda.Device(self.device):
            yield cupy

    def turns(self) -> Callable[[], AbstractContextManager[Any]]:
        return turns(self.active)

    def queues_for(self, sizes: Sequence[TrainingSize]) -> int:
        with self.active() as cupy:
            return queues_for(sizes, free_memory(cupy)[0])

    def queues(self) -> Callable[[], AbstractContextManager[Any]]:
        return self._queues.after_the_current(self.active)

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
            runtime = CudaRuntime(parameters.dtype, precision=precision)
            return GpuEngine(plan, parameters, state, runtime)

    def asarray(self, values: Array) -> Array:
        """Return a host array as one on the GPU; one that is there already is the same array."""
        with self.active() as cupy:
            return values if isinstance(values, cupy.ndarray) else to_device(cupy, values)

    def own(self, values: Array) -> Array:
        with self.active() as cupy:
            return values.copy() if isinstance(values, cupy.ndarray) else super().own(values)

    def taken(self, name: str, values: Any) -> Any:
        """Return CuPy's array of the same memory; of another GPU, a copy."""
        with self.active() as cupy:
            array = device_arrays.shared(name, values)
            return array if array.device.id == cupy.cuda.Device().id else cupy.array(array)

    def back(self, values: Array, like: Array) -> Array:
        return self.to_host(values) if isinstance(like, np.ndarray) else values

    def zeros(self, shape: tuple[int, ...], dtype: Any) -> Array:
        with self.active() as cupy:
            return zeros(cupy, shape, dtype)

    def place(self, rows: Batch) -> Batch:
        """Return the rows on the GPU, or on the host where they would fill the GPU's memory."""
        needed = sum(a.nbytes for a in rows.fields if isinstance(a, np.ndarray))
        with self.active() as cupy:
            if needed > DATA_SHARE * free_memory(cupy)[0]:
                return HostRows(*rows.fields)
            return super().place(rows)

    def to_host(self, values: Array) -> NDArray[Any]:
        with self.active() as cupy:
            return np.asarray(cupy.asnumpy(values))

    def outputs(self, engine: Engine, x: Array) -> Array:
        """Return the outputs where x is; rows that would fill the GPU's memory go in pieces."""
        if not isinstance(x, np.ndarray):
            return super().outputs(engine, x)
        per_row = (engine.plan.inputs + engine.plan.outputs) * x.itemsize
        with self.active() as cupy:
            rows = int(DATA_SHARE * free_memory(cupy)[0] // per_row)
        if len(x) <= rows:
            return super().outputs(engine, x)
        # Pieces of whole blocks, so that blocks are the same as those of all rows at once.
        block = engine.rows_of_a_block()
        rows = rows // block * block or max(rows, 1)
        outputs = np.empty((len(x), engine.plan.outputs), x.dtype)
        for start in range(0, len(x), rows):
            piece = np.ascontiguousarray(x[start : start + rows])
            outputs[start : start + rows] = super().outputs(engine, piece)
        return outputs

    def _cupy(self) -> Any:
        return import_module("cupy")

    def describe(self) -> dict[str, str]:
        with self.active() as cupy:
            return _description(cupy)


def _description(cupy: Any) -> dict[str, str]:
    """Return what ``fastnet backends`` says of the current device."""
    runtime = cupy.cuda.runtime
    number = runtime.getDevice()
    device, count = runtime.getDeviceProperties(number), runtime.getDeviceCount()
    free, total = free_memory(cupy)
    return {
        "cupy": cupy.__version__,
        "device": device["name"].decode() + (f" (number {number} of {count})" if count > 1 else ""),
        "compute capability": f"{device['major']}.{device['minor']}",
        "memory": f"{size_text(total)} of which {size_text(free)} are free",
        "driver": f"CUDA {_version(runtime.driverGetVersion())}",
        "runtime": f"CUDA {_version(runtime.runtimeGetVersion())}",
    }


# --- why not -------------------------------------------------------------------------------------


def _why_not_installed() -> str | None:
    """Check the installed distributions without importing them."""
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
        return f"importing CuPy failed ({first_line(error)}). {hint}"
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
            return f"CUDA does not start ({first_line(error)})."
        count = 0
    if count == 0:
        return (
            "there is an NVIDIA driver, but no GPU to be seen: is one built in, and does "
            "CUDA_VISIBLE_DEVICES hide it?"
        )
    device = runtime.getDeviceProperties(0)
    capability = int(device["major"]), int(device["minor"])
    if capability < _OLDEST:
        return (
            f"the GPU is too old: it has the compute capability {capability[0]}.{capability[1]}, "
            f"and {_OLDEST[0]}.{_OLDEST[1]} (Turing, 2018) is needed."
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
    """Load the libraries that CuPy does not contain; reading its attributes finds them."""
    cuda: Any = import_module("cupy").cuda
    library = "NVRTC"
    try:
        cuda.nvrtc.getVersion()
        library = "cuBLAS"
        loaded = CublasLt(library_path()).version // 10000
    except Exception as error:
        return (
            f"CuPy is installed, but not the CUDA library {library} ({first_line(error)}): "
            f"{CupyBackend.install}."
        )
    needed = int(cuda.runtime.runtimeGetVersion()) // 1000
    if loaded != needed:
        return (
            f"CuPy is for CUDA {needed}, and cuBLAS in this process is that of CUDA {loaded}, "
            f"which another package has brought, such as PyTorch: install both for the same CUDA."
        )
    if not headers_path():
        return (
            f"CuPy is installed, but not CUDA's headers, with which it compiles kernels: "
            f"{CupyBackend.install}, or set CUDA_PATH to a CUDA toolkit."
        )
    return None


def headers_path() -> str | None:
    """Return the folder where CuPy finds CUDA's headers."""
    pathfinder: Any = import_module("cuda.pathfinder")
    folder: str | None = pathfinder.find_nvidia_header_directory("cudart")
    return folder


def _is_installed(distribution: str) -> bool:
    try:
        metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return False
    return True


def _version(number: int) -> str:
    """Return "13.2" for 13020."""
    return f"{number // 1000}.{number % 1000 // 10}"
