"""The order of work on streams: of one network in turn, of several trainings side by side.

Side by side, each thread trains on a stream of its own, with engines, recordings and memory of its
own, so a training has the bits that it has alone. What the threads share, compiled kernels and the
choice of algorithms, is made once (`cupy_runtime`, `products`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Final

from fastnet.backends.base import TrainingSize
from fastnet.backends.gpu.engine import GpuEngine
from fastnet.backends.gpu.epoch import WINDOW_BYTES
from fastnet.backends.gpu.members import ORDER_BYTES
from fastnet.backends.gpu.products import WORKSPACE_BYTES

MOST: Final = 8
"""More streams than the hardware has connections (``CUDA_DEVICE_MAX_CONNECTIONS`` is 8 by default)
wait for each other. Not measured."""

MEMORY_SHARE: Final = 0.5
"""All trainings take at most this share of the free memory by `bytes_of`.

So each finds the room that it would find alone: the data of none are streamed from the host, and no
block of rows is made smaller, which would change the order of its sums.
"""

_COPIES: Final = 7
"""Parameters, gradients, a rounded copy, rates, two snapshots and the best: of each parameter."""

_ROW_BYTES: Final = 32
"""What a row takes beside its numbers: place, label, weight, loss and score."""


def bytes_of(size: TrainingSize) -> int:
    """Return at most how many bytes a training takes on a GPU."""
    plan, itemsize = size.plan, size.itemsize
    numbers = (_COPIES + size.moments) * plan.size * size.networks * itemsize
    row = (plan.inputs + 2 * plan.outputs) * itemsize + _ROW_BYTES  # targets, and outputs
    every = size.rows + size.held_out * size.networks
    window = max(size.batch, min(size.rows, WINDOW_BYTES // row))
    cells = (plan.width + plan.inputs + plan.outputs) * itemsize + _ROW_BYTES
    blocks = max(3 * size.batch, min(every, GpuEngine.workspace_bytes // cells))
    orders = min(4 * size.rows * size.networks, max(4 * size.rows, ORDER_BYTES))
    return numbers + (every + 2 * window) * row + blocks * cells + orders + WORKSPACE_BYTES


def queues_for(sizes: Sequence[TrainingSize], free: int) -> int:
    """Return how many of these trainings have room at a time in so many bytes, at most `MOST`."""
    largest = max(map(bytes_of, sizes))
    return max(1, min(MOST, int(MEMORY_SHARE * free // largest)))


def turns(
    active: Callable[[], AbstractContextManager[Any]],
) -> Callable[[], AbstractContextManager[Any]]:
    """Return what makes contexts as `active` does, each after the work of those before.

    A caller may use a network under one stream of CuPy and then under another: the second waits.

    Parameters
    ----------
    active : callable
        ``CupyBackend.active``.
    """
    last: Any = None

    @contextmanager
    def turn() -> Iterator[Any]:
        nonlocal last
        with active() as cupy:
            stream = cupy.cuda.get_current_stream()
            if last is not None and last.ptr != stream.ptr:
                stream.wait_event(last.record())
            last = stream
            yield cupy

    return turn


class Queues:
    """The streams of one GPU that nobody uses.

    They are kept: CuPy keeps the memory that was freed on a stream for that stream.
    """

    def __init__(self) -> None:
        self._free: list[Any] = []

    def after_the_current(
        self, active: Callable[[], AbstractContextManager[Any]]
    ) -> Callable[[], AbstractContextManager[Any]]:
        """Return what makes a context whose work is on a stream of its own.

        It comes after the work that is on the calling thread's stream now.

        Parameters
        ----------
        active : callable
            ``CupyBackend.active``.
        """
        with active() as cupy:
            before = cupy.cuda.get_current_stream().record()

        @contextmanager
        def queue() -> Iterator[None]:
            with active() as cupy:
                try:
                    stream = self._free.pop()
                except IndexError:
                    stream = cupy.cuda.Stream(non_blocking=True)
                stream.wait_event(before)
                try:
                    with stream:
                        yield
                finally:
                    # Whoever reads the results knows nothing of this stream.
                    stream.synchronize()
                    self._free.append(stream)

        return queue
