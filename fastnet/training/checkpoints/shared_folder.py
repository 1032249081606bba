"""The folder of checkpoints of several ranks: rank 0 alone reads and writes it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from fastnet.distributed.group import Group
from fastnet.training.checkpoints.folder import Content, Folder


class SharedFolder(Folder):
    """Checkpoints that every rank can read, wherever the folder is.

    An error on rank 0 reaches the others by their group.
    """

    def __init__(self, path: Path, group: Group) -> None:
        super().__init__(path)
        self._group = group

    @contextmanager
    def opened(self) -> Iterator[None]:
        if not self._group.is_first:
            yield
            return
        with super().opened():
            yield

    def files(self) -> list[Path]:
        return super().files() if self._group.is_first else []

    def read(self) -> Content | None:
        group = self._group
        content = super().read() if group.is_first else None
        described = group.of_first(None if content is None else _outline(content))
        if described is None:
            return None
        description, shapes = described
        tensors = {}
        for name, (dtype, shape) in shapes.items():
            array = None if content is None else content[1][name]
            tensors[name] = group.array_of_first(array, np.dtype(dtype), shape)
        return description, tensors

    def write(self, steps: int, description: dict[str, Any], tensors: dict[str, Any]) -> None:
        if self._group.is_first:
            super().write(steps, description, tensors)


def _outline(content: Content) -> tuple[dict[str, Any], dict[str, tuple[str, list[int]]]]:
    description, tensors = content
    return description, {n: (a.dtype.str, list(a.shape)) for n, a in tensors.items()}
