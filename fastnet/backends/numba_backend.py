"""The Numba backend: whether it can run here, its arrays and its engine."""

from __future__ import annotations

import importlib
import os
import sys
import time
from functools import cache
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from fastnet.backends.aligned import aligned
from fastnet.backends.base import Backend
from fastnet.backends.engine import Engine
from fastnet.backends.threads import cores
from fastnet.kernels.cache_dir import kernel_cache
from fastnet.nn.batch import Array
from fastnet.nn.plan import Plan


class NumbaBackend(Backend):
    """Compiled loops on the CPU."""

    name: ClassVar[str] = "numba"
    install: ClassVar[str] = "pip install numba"
    trains_side_by_side: ClassVar[bool] = True
    precisions: ClassVar[tuple[str, ...]] = ("float32", "bf16")

    def why_unavailable(self) -> str | None:
        return _why_unavailable()

    def plain_engine(
        self,
        plan: Plan,
        parameters: Array,
        state: Array,
        *,
        threads: int | None = None,
        precision: str = "float32",
    ) -> Engine:
        # Imported here because it needs Numba: without it, this module still says what is missing.
        if precision == "bf16":
            from fastnet.backends.numba_bf16 import BF16Engine

            return BF16Engine(plan, parameters, state, threads)
        from fastnet.backends.numba_engine import NumbaEngine

        return NumbaEngine(plan, parameters, state, threads)

    def why_not(self, precision: str) -> str | None:
        if precision != "bf16":
            return None
        from fastnet.backends.numba_bf16 import why_not

        return why_not()

    def asarray(self, values: NDArray[Any]) -> Array:
        return values

    def own(self, values: NDArray[Any]) -> Array:
        copy = aligned(values.shape, values.dtype)
        copy[...] = values
        return copy

    def to_host(self, values: Array) -> NDArray[Any]:
        return np.asarray(values)

    def describe(self) -> dict[str, str]:
        import numba

        from fastnet.kernels.cpu.machine import VECTOR_BYTES
        from fastnet.kernels.cpu.pairs import HAS_DOTS
        from fastnet.kernels.cpu.tiles import may_use_tiles

        bf16 = "AMX" if may_use_tiles() else "AVX512_BF16" if HAS_DOTS else "not on this processor"
        return {
            "numba": numba.__version__,
            "threads": str(cores()),
            "vectors": f"{VECTOR_BYTES * 8} bits",
            "bf16": bf16,
            "kernel cache": _kernel_cache(),
        }

    def warm_up(self) -> float:
        """Compile all kernels for both dtypes, or load them from the cache; return the seconds."""
        from fastnet.kernels.cpu import native

        started = time.perf_counter()
        for dtype in (np.float32, np.float64):
            for name in native.FOR_ALL:
                native.kernel(name, dtype)
        if self.why_not("bf16") is None:
            from fastnet.backends.numba_bf16 import product_kernel, round_kernel

            product_kernel()
            round_kernel()
        return time.perf_counter() - started


def _kernel_cache() -> str:
    """Return the folder of compiled kernels, or why there is none."""
    try:
        return str(kernel_cache())
    except OSError as error:
        return f"none: {error}"


@cache
def _why_unavailable() -> str | None:
    try:
        _require_numba()
    except ImportError as error:
        return f"Numba cannot be imported ({error}); {NumbaBackend.install} brings it."
    if _is_jit_disabled():
        hint = f"no {NumbaBackend.install} helps"
        return f"NUMBA_DISABLE_JIT is set, and its kernels run compiled or not at all ({hint})."
    return None


def _require_numba() -> None:
    """Raise `ImportError` unless Numba can be imported; import it only where it will be needed.

    Where its code for a kernel is there, that can be loaded without it.
    """
    from fastnet.kernels.cpu import native

    native.version_of_numba()
    if all(native.needs_numba("run", dtype) for dtype in ("float32", "float64")):
        importlib.import_module("numba")


def _is_jit_disabled() -> bool:
    numba = sys.modules.get("numba")
    if numba is not None:
        return bool(numba.config.DISABLE_JIT)
    return os.environ.get("NUMBA_DISABLE_JIT", "").strip() not in ("", "0")
