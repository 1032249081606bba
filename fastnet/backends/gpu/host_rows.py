"""Rows that stay in the host's memory because they would fill the GPU's."""

from __future__ import annotations

import numpy as np

from fastnet.backends.gpu.runtime import Runtime
from fastnet.nn.batch import Batch


class HostRows(Batch):
    """Rows as NumPy arrays, for an engine whose own arrays are on the GPU."""

    def part(self, start: int, stop: int) -> HostRows:
        return HostRows(*(None if a is None else a[start:stop] for a in self.fields))


def on_device(rows: Batch, runtime: Runtime) -> Batch:
    """Return rows on the device: copies of `HostRows`, and other rows unchanged."""
    if not isinstance(rows, HostRows):
        return rows
    put = runtime.to_device
    return Batch(*(None if a is None else put(np.ascontiguousarray(a)) for a in rows.fields))
