"""The part of the machine that this process may use."""

from __future__ import annotations

import os


def cores() -> int:
    """Return the number of cores that this process may use.

    On Linux these are the cores of its affinity mask, elsewhere all cores of the machine.
    """
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
