"""Streams data that do not fit into the GPU's memory: they stay on the host and come in windows.

Two windows take turns. While the GPU trains on one, the host gathers the rows of the next into
pinned memory, and the GPU copies them while it computes. The order of the rows, and so the
training, is the same as with data on the device.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnet.backends.gpu.host_rows import HostRows
from fastnet.backends.gpu.memory import Memory
from fastnet.backends.gpu.runtime import Runtime
from fastnet.nn.batch import Batch


class Feeder:
    """Copies windows of host rows to the device.

    Parameters
    ----------
    runtime : Runtime
    memory : Memory
        The engine's device memory, which has the windows.
    rows : HostRows
    order : (N,) uint32 on the host, or None
        The order in which to take them.
    """

    def __init__(
        self,
        runtime: Runtime,
        memory: Memory,
        rows: HostRows,
        order: NDArray[np.uint32] | None,
    ) -> None:
        self._runtime, self._memory, self._rows, self._order = runtime, memory, rows, order
        self._pinned: list[dict[int, NDArray[Any]]] = [{}, {}]
        self._copied: list[Any] = [None, None]
        self._used: list[Any] = [None, None]
        self._slot = 0

    def window(self, start: int, stop: int) -> Batch:
        """Return rows ``order[start:stop]`` on the device, valid until the call after the next."""
        runtime, slot = self._runtime, self._slot
        window = self._memory.window(stop - start, self._rows, slot, numbers=True)
        runtime.wait(self._copied[slot])  # Then the pinned memory may be overwritten.
        pairs = []
        for field, (into, values) in enumerate(zip(window.fields, self._rows.fields, strict=True)):
            if into is not None and values is not None:
                room = self._room(slot, field, into)
                if self._order is None:
                    np.copyto(room, values[start:stop])
                else:
                    np.take(values, self._order[start:stop], axis=0, out=room, mode="clip")
                pairs.append((into, room))
        self._copied[slot] = runtime.feed(pairs, self._used[slot])
        return window

    def used(self) -> None:
        """Mark the end of the work on this window; the caller has queued all of it."""
        self._used[self._slot] = self._runtime.mark()
        self._slot = 1 - self._slot

    def _room(self, slot: int, field: int, like: Any) -> NDArray[Any]:
        """Return pinned memory of the shape of `like`, which is reused from window to window."""
        kept = self._pinned[slot].get(field)
        if kept is None or kept.shape[0] < like.shape[0]:
            kept = self._runtime.pinned(like.shape, like.dtype)
            self._pinned[slot][field] = kept
        return kept[: like.shape[0]]
