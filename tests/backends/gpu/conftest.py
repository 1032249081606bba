"""The CuPy backend on the fake CuPy, whose kernels run on the emulator."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import fastnet.backends
from tests.cuda.fake_cupy import FakeCupy
from tests.cuda.installed import forget, install_backend
from tests.cuda.strict import CURRENT


@pytest.fixture
def no_kernels_from_before() -> Iterator[None]:
    """Forget compiled kernels: those of a fake are no good for another."""
    forget()
    CURRENT.device = 0
    yield
    CURRENT.device = 0
    fastnet.backends._load.cache_clear()
    forget()


@pytest.fixture
def cupy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, no_kernels_from_before: None) -> FakeCupy:
    """The backend "cupy" is the real one, on a fake of the package."""
    monkeypatch.setenv("FASTNET_CACHE_DIR", str(tmp_path))
    fake = FakeCupy()
    install_backend(monkeypatch, fake, "cupy-cuda13x")
    return fake
