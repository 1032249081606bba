"""The end of a residual connection: adds two arrays, element by element."""

from __future__ import annotations

from typing import Any

from fastnet.kernels.cpu.jit import inner
from fastnet.kernels.cpu.lanes import load, store
from fastnet.kernels.cpu.vectors import lanes_of


@inner
def add(like: Any, out: Any, a: Any, b: Any, count: Any) -> None:
    """Write ``out = a + b`` for `count` elements; all are addresses, and out may be a or b."""
    size, lanes = like.itemsize, lanes_of(like)
    for i in range(0, count, lanes):
        offset, left = i * size, count - i
        store(out + offset, load(like, a + offset, left) + load(like, b + offset, left), left)
