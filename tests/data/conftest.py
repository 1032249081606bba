"""Files to read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Put a text or bytes into a file."""

    def write(content: str | bytes, name: str = "table.csv", encoding: str = "utf-8") -> Path:
        path = tmp_path / name
        path.write_bytes(content.encode(encoding) if isinstance(content, str) else content)
        return path

    return write


@pytest.fixture
def npz(tmp_path: Path) -> Callable[..., Path]:
    """Put arrays into an NPZ file."""

    def npz(**arrays: Any) -> Path:
        np.savez(tmp_path / "data.npz", **arrays)
        return tmp_path / "data.npz"

    return npz


@pytest.fixture
def npy(tmp_path: Path) -> Callable[[Any], Path]:
    """Put an array into an NPY file."""

    def npy(array: Any) -> Path:
        np.save(tmp_path / "data.npy", array)
        return tmp_path / "data.npy"

    return npy
