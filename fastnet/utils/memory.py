"""Checks before an allocation that enough memory is free."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

from fastnet.errors import OutOfMemoryError

ASKED_FROM: Final = 2**28
"""Smaller requests are not checked: asking the system takes longer than a small network's step."""

LESS: Final = "fewer or smaller layers, a smaller batch_size or dtype='float32'"


def require(bytes_needed: int, what: str, less: str = LESS) -> None:
    """Raise `OutOfMemoryError`, with both numbers, if fewer than `bytes_needed` bytes are free.

    `what` names the user of the memory; `less` names settings that need less of it.
    """
    if bytes_needed < ASKED_FROM:
        return
    there = available_bytes()
    if there is not None and bytes_needed > there:
        raise OutOfMemoryError(
            f"{what} takes about {bytes_needed / 1e9:,.1f} GB, and {there / 1e9:,.1f} GB of memory "
            f"are free: use {less}."
        )


def available_bytes() -> int | None:
    """Return how much memory this process can still get, or None if the system does not say."""
    limits = _of_the_machine(), _of_the_process(), _of_the_group()
    return min((limit for limit in limits if limit is not None), default=None)


def _of_the_machine() -> int | None:
    try:
        text = Path("/proc/meminfo").read_text(encoding="utf-8")
    except OSError:
        return None
    return 1024 * sum(
        int(kilobytes)
        for kilobytes in re.findall(r"^(?:MemAvailable|SwapFree):\s+(\d+)", text, re.M)
    )


def _of_the_process() -> int | None:
    """Return the bytes left under ``ulimit -v``."""
    try:
        import resource

        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        used = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[0]) * os.sysconf(
            "SC_PAGE_SIZE"
        )
    except (ImportError, OSError, ValueError):
        return None
    return None if limit == resource.RLIM_INFINITY else max(0, limit - used)


def _of_the_group() -> int | None:
    """Return the container's limit, from control groups version 2, else version 1."""
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        try:
            return int(Path("/sys/fs/cgroup", name).read_text(encoding="utf-8"))
        except (OSError, ValueError):  # "max" is no number
            continue
    return None
