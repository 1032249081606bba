"""The machine, and the part of it that this process may use."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Final

GROUPS: Final = Path("/sys/fs/cgroup")
OWN_GROUPS: Final = Path("/proc/self/cgroup")


@cache
def this_machine() -> str:
    """Return what tells this machine, since it was started, from others."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def cores() -> int:
    """Return the number of cores that this process may use.

    On Linux these are the cores of its affinity mask, or fewer where its control groups (of a
    container, a service, a batch job) give it less time than so many cores have. Elsewhere they are
    all cores of the machine.
    """
    if hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    else:
        count = os.cpu_count() or 1
    return max(1, min([count, *map(int, _quotas())]))


def _quotas() -> list[float]:
    """Return how many cores' time each control group above this process may use."""
    try:
        lines = OWN_GROUPS.read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    found = []
    for line in [*lines, "0::/", "1:cpu:/"]:  # in a container, its own group is the root
        _, controllers, name = [*line.split(":", 2), "", ""][:3]
        if controllers and "cpu" not in controllers.split(","):
            continue
        group = PurePosixPath(name)
        for place in (group, *group.parents):
            folder = GROUPS / controllers / str(place).lstrip("/")
            found.append(_version_1(folder) if controllers else _version_2(folder))
    return [quota for quota in found if quota is not None]


def _version_2(folder: Path) -> float | None:
    try:
        quota, period = (folder / "cpu.max").read_text(encoding="utf-8").split()
        return int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):  # "max" is no number
        return None


def _version_1(folder: Path) -> float | None:
    try:
        quota, period = (
            int((folder / f"cpu.cfs_{name}_us").read_text(encoding="utf-8"))
            for name in ("quota", "period")
        )
        return quota / period if quota > 0 else None  # -1 is no limit
    except (OSError, ValueError, ZeroDivisionError):
        return None
