"""Threads: the same number for every contender."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from fastnet.errors import InputError
from fastnet.utils.machine import cores
from fastnet.utils.param_validation import check_int


def check_threads(threads: int | None) -> int | None:
    """Return `threads`; raise `InputError` when there are not so many processors."""
    if threads is None:
        return None
    count, most = check_int("threads", threads), cores()
    if count > most:
        raise InputError(f"threads must be at most {most}, the processors here, got {threads}.")
    return count


@contextmanager
def on_cores(threads: int | None) -> Iterator[None]:
    """Keep this thread, and threads started from now on, on the first few processors.

    Thread pools that are made later (of JAX, of PyTorch) take their size from it. None, or an
    operating system without affinity (macOS, Windows): no change.
    """
    if threads is None or not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, set(sorted(before)[:threads]))
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def limited_pools(threads: int | None) -> AbstractContextManager[object]:
    """Return a context in which the BLAS and OpenMP pools loaded so far use so many threads."""
    if threads is None:
        return nullcontext()
    import threadpoolctl

    limits: AbstractContextManager[object] = threadpoolctl.threadpool_limits(threads)
    return limits
