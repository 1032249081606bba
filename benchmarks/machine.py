"""What machine this is: processor, operating system, versions, threads."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import fastnet as fn
from fastnet.utils.machine import cores

PACKAGES: Final = ("numpy", "numba", "llvmlite", "scipy", "cupy", "cupy-cuda12x", "cupy-cuda13x")

STEERING: Final = (
    "BLIS_", "GOTO_", "JAX_", "KMP_", "MKL_", "NUMBA_", "OMP_", "OPENBLAS_", "TORCH_", "XLA_",
)  # fmt: skip
"""Beginnings of environment variables by which libraries can be held back."""

# The widest first, of each family: (flag as Linux or LLVM names it, name).
_SIMD: Final = (
    ("avx512f", "AVX-512"),
    ("avx512_bf16", "AVX-512 BF16"),
    ("avx512bf16", "AVX-512 BF16"),
    ("avx2", "AVX2"),
    ("fma", "FMA"),
    ("sve", "SVE"),
    ("asimd", "NEON"),
    ("neon", "NEON"),
)


def describe(threads: int | None = None) -> dict[str, Any]:
    """Return the machine as plain JSON values.

    Parameters
    ----------
    threads : int or None
        What the run is limited to; None: each contender's own choice.
    """
    return {
        "cpu": cpu_model(),
        "processors": os.cpu_count() or 1,
        "usable_processors": cores(),
        "simd": simd(),
        "memory_gib": memory_gib(),
        "os": f"{platform.system()} {platform.release()}",
        "architecture": platform.machine(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "packages": versions(PACKAGES),
        "pools": pools(),
        "environment": environment(),
        "threads": threads,
        "fastnet": fn.__version__,
        "commit": commit(),
    }


def environment() -> dict[str, str]:
    """Return the variables that choose kernels or threads for libraries."""
    return {name: value for name, value in os.environ.items() if name.startswith(STEERING)}


def cpu_model() -> str:
    """Return the name of the processor."""
    info = _cpuinfo()
    name = info.get("model name") or info.get("Model") or ""
    if sys.platform == "darwin":
        name = _run("sysctl", "-n", "machdep.cpu.brand_string") or name
    if info.get("cpu family"):
        name += f" (family {info['cpu family']}, model {info.get('model', '?')})"
    return name or platform.processor() or platform.machine()


def simd() -> list[str]:
    """Return the vector instruction sets that matter here, as far as they are known."""
    info = _cpuinfo()
    flags = set((info.get("flags") or info.get("Features") or "").split())
    if not flags and platform.machine() in ("arm64", "aarch64"):
        flags = {"neon"}
    return list(dict.fromkeys(name for flag, name in _SIMD if flag in flags))


def memory_gib() -> float | None:
    """Return the size of the memory, where the operating system tells."""
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (AttributeError, OSError, ValueError):
        return None


def versions(packages: tuple[str, ...]) -> dict[str, str]:
    """Return the versions of those packages that are installed."""
    found = {}
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def pools() -> list[str]:
    """Return the BLAS and OpenMP libraries that are loaded, with version and threads."""
    import threadpoolctl

    found = set()
    for pool in threadpoolctl.threadpool_info():
        name = f"{pool['internal_api']} {pool['version'] or ''}".strip()
        kernels = f"{pool['architecture']} kernels, " if pool.get("architecture") else ""
        threads = pool["num_threads"]
        found.add(f"{name} ({kernels}{threads} thread{'s' * (threads != 1)})")
    return sorted(found)


def commit() -> str | None:
    """Return the git commit that fastnet runs from, ``-dirty`` if changed; None elsewhere."""
    here = Path(__file__).resolve()
    git = "git", "-C", str(here.parent)
    # An installed copy may lie inside the checkout of something else.
    if _run(*git, "ls-files", "--error-unmatch", here.name) is None:
        return None
    revision = _run(*git, "rev-parse", "--short=12", "HEAD")
    changed = _run(*git, "status", "--porcelain", "--untracked-files=no")
    return f"{revision}-dirty" if revision and changed else revision


def _cpuinfo() -> dict[str, str]:
    """Return the first processor's lines of ``/proc/cpuinfo``."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}
    pairs = (line.split(":", 1) for line in text.split("\n\n")[0].splitlines() if ":" in line)
    return {key.strip(): value.strip() for key, value in pairs}


def _run(*command: str) -> str | None:
    """Return what a command prints, or None when it cannot run or fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
