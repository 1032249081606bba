"""Puts the fake CuPy where the runtime looks for the real one."""

from __future__ import annotations

import sys
from importlib import metadata
from typing import Any

import pytest

import fastnet.backends
from fastnet.backends.gpu import backend as gpu_backend
from fastnet.backends.gpu import cupy_runtime
from fastnet.utils import device_arrays
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


def install_backend(
    monkeypatch: pytest.MonkeyPatch, cupy: Any, *distributions: str, importable: bool = True
) -> None:
    """Make `cupy` the package that is found, under the names of these distributions."""

    def version(name: str) -> str:
        if name not in distributions:
            raise metadata.PackageNotFoundError(name)
        return "14.0.0"

    home = "fastnet.backends.gpu.backend", "CupyBackend"
    monkeypatch.setitem(fastnet.backends._HOMES, "cupy", home)  # no stand-in
    monkeypatch.setattr(device_arrays, "cupy", lambda: cupy)
    fastnet.backends._load.cache_clear()
    monkeypatch.setattr(gpu_backend.metadata, "version", version)
    monkeypatch.setattr(gpu_backend, "find_spec", lambda name: cupy if importable else None)
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    monkeypatch.setattr(gpu_backend, "library_path", lambda: "libcublasLt.so")
    monkeypatch.setattr(gpu_backend, "headers_path", lambda: "include")
    monkeypatch.setattr(gpu_backend, "CublasLt", lambda path: cupy.library)
    monkeypatch.setattr(cupy_runtime, "library_path", lambda: "libcublasLt.so")
    monkeypatch.setattr(cupy_runtime, "CublasLt", lambda path: cupy.library)
