"""Puts the fake CuPy where the runtime looks for the real one."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from fastnet.backends.gpu import cupy_runtime
from tests.cuda.fake_cupy import FakeCupy


def install(monkeypatch: pytest.MonkeyPatch, **library: Any) -> FakeCupy:
    """Return a fake CuPy, in place for a process that knows nothing yet.

    `library` are the options of `FakeCublasLt`. Even tiny networks train product by product there.
    """
    cupy = FakeCupy(**library)
    cupy.shared_bytes = 0
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    monkeypatch.setattr(cupy_runtime, "library_path", lambda: "libcublasLt.so")
    monkeypatch.setattr(cupy_runtime, "CublasLt", lambda path: cupy.library)
    forget()
    return cupy


def forget() -> None:
    """Forget what belongs to another fake, or to another process."""
    cupy_runtime._kernels.cache_clear()
    cupy_runtime._products.cache_clear()
