"""What this process may use of the machine."""

from __future__ import annotations

import os


def cores() -> int:
    """Return the number of cores that this process may use.

    Those of its affinity where the system has such a thing (Linux), else all of the machine.
    """
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
