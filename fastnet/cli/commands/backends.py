"""``fastnet backends``: which backends can run here, and why others cannot."""

from __future__ import annotations

import os
import platform
import sys
from typing import Any

import click

from fastnet import backends
from fastnet._version import version
from fastnet.backends.base import Backend
from fastnet.cli import options, output
from fastnet.data.download import cache_folder
from fastnet.errors import DataNotFoundError, FastNetError
from fastnet.kernels import code_files
from fastnet.kernels.cache_dir import kernel_cache
from fastnet.utils.machine import cores


@click.command(
    "backends",
    cls=options.Command,
    epilog=options.examples("fastnet backends", "fastnet backends --warm-up"),
)
@options.option("--json", "as_json", is_flag=True, default=False, help="Write JSON.")
@options.option(
    "--warm-up",
    is_flag=True,
    default=False,
    help="Compile the kernels now, so that the first training starts at once.",
)
@options.option(
    "--clear-cache",
    is_flag=True,
    default=False,
    help="Remove the compiled CPU kernels from the user's cache; the next training compiles anew.",
)
def command(as_json: bool, warm_up: bool, clear_cache: bool) -> None:
    """Show which backends can run here, and why others cannot: versions, threads, caches."""
    if clear_cache:
        _clear_cache()
    found = {name: _look(backends.find(name), warm_up) for name in backends.NAMES}
    machine = _machine()
    rule = (
        f"cupy from {backends.AUTO_GPU_PARAMETERS:,} parameters on, else numba, else numpy: the "
        "first that can run here"
    )
    if as_json:
        click.echo(output.as_json({"machine": machine, "backends": found, "auto": rule}))
        return
    output.facts(machine.items())
    click.echo()
    output.facts((name, _describe(said)) for name, said in found.items())
    click.echo(f"\n--backend auto takes {rule}.")


def _clear_cache() -> None:
    """Remove compiled kernels, and say how much that was."""
    try:
        folder = kernel_cache()
        files, size = code_files.clear(folder)
    except OSError as error:
        raise FastNetError(f"the cache of compiled kernels cannot be cleared: {error}.") from None
    output.message(f"removed {files} files ({size / 1e6:.1f} MB) of compiled kernels from {folder}")


def _look(backend: Backend, warm_up: bool) -> dict[str, Any]:
    """Return the facts about one backend."""
    reason = backend.why_unavailable()
    if reason is not None:
        return {"usable": False, "reason": reason, "install": backend.install}
    found: dict[str, Any] = {"usable": True, "details": backend.describe()}
    compile_all = getattr(backend, "warm_up", None)
    if warm_up and compile_all is not None:
        output.message(f"compiling the kernels of {backend.name} ...")
        found["warm_up_seconds"] = float(compile_all())
    return found


def _describe(found: dict[str, Any]) -> str:
    """Return the facts about one backend in one line."""
    if not found["usable"]:
        install = "" if found["install"] in found["reason"] else f" Install: {found['install']}"
        return f"cannot run here: {found['reason']}{install}"
    details = [f"{key} {value}" for key, value in found["details"].items()]
    if "warm_up_seconds" in found:
        details.append(f"compiled in {found['warm_up_seconds']:.1f} s")
    return f"ready: {', '.join(details)}"


def _machine() -> dict[str, str]:
    """Return versions and resources that do not depend on a backend."""
    from threadpoolctl import threadpool_info  # type: ignore[import-untyped, unused-ignore]

    pools = (
        f"{pool['internal_api']} {pool['version'] or '?'}, {pool['num_threads']} threads"
        for pool in threadpool_info()
        if pool["user_api"] == "blas"
    )
    limits = (name for name in os.environ if name.endswith("_NUM_THREADS"))
    return {
        "fastnet": version,
        "python": f"{sys.version.split()[0]} on {platform.system()} {platform.machine()}",
        "cores": str(cores()),
        "blas": "; ".join(dict.fromkeys(pools)) or "none found",
        "limits": ", ".join(f"{name}={os.environ[name]}" for name in sorted(limits)) or "none set",
        "data cache": _data_cache(),
    }


def _data_cache() -> str:
    """Return the folder of downloads, or the reason why there is none."""
    try:
        return str(cache_folder())
    except (DataNotFoundError, OSError) as error:
        return f"none: {error}"
