"""Rows brought to a backend batch by batch, which stay on the host where they would fill a GPU."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fastnet.nn.batch import Array, Batch


class Arrays(Protocol):
    """What moves arrays: a backend."""

    def asarray(self, values: NDArray[Any]) -> Array:
        """Return a host array as one of the backend."""

    def to_host(self, values: Array) -> NDArray[Any]:
        """Return an array of the backend as one of the host."""


def here(backend: Arrays, values: Array) -> Array:
    """Return an array on the backend, where it may have been on the host."""
    if type(values) is np.ndarray:
        return backend.asarray(np.ascontiguousarray(values))
    return values


def placed(backend: Arrays, rows: Batch) -> Batch:
    """Return rows on the backend, where they may have been on the host."""
    return Batch(*(here(backend, values) for values in rows.fields))


def gathered(backend: Arrays, rows: Batch, order: Array | None, start: int, stop: int) -> Batch:
    """Return the batch of rows ``order[start:stop]`` on the backend; None: as they are."""
    if order is None:
        return placed(backend, rows.part(start, stop))
    index = order[start:stop].astype(np.int64)
    if type(rows.x) is np.ndarray:  # on a GPU too, where they would fill its memory
        index = backend.to_host(index)
    return placed(backend, Batch(*(None if a is None else a[index] for a in rows.fields)))
