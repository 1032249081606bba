"""Keeps compiled kernels on disk: found again by content, and a fault there is never an error.

The code is kept in a private folder of the user's cache. A fault (no home, read-only or full disk,
damaged file, a file of somebody else) costs a compilation and one warning: Numba's own cache raises
an error in most of these cases, and unpickles whatever lies in its place.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import pickle
import sys
import time
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import llvmlite
import numba
import numpy as np
from numba.core import caching
from numba.core.compiler import CompileResult
from numba.core.serialize import dumps

from fastnet.kernels import code_files
from fastnet.kernels.cache_dir import kernel_cache


class CacheWarning(UserWarning):
    """The kernel cache cannot be used; kernels are compiled anew."""


class DiskCache(caching._Cache):
    """The cache of one kernel, as a dispatcher of Numba calls it.

    An entry is named by all that its code depends on, whatever folder and time the files of the
    installation have: two installations of the same version share an entry, and two versions have
    two.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self._started = 0.0

    @property
    def cache_path(self) -> str | None:
        """The folder of compiled kernels, for Numba's statistics."""
        try:
            return str(kernel_cache())
        except OSError:
            return None

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return the code for a signature, or None if it must be compiled."""
        loaded = None
        try:
            target_context.refresh()
            name, _ = self._entry(sig, target_context.codegen())
            code = code_files.read(kernel_cache(), name)
            if code is not None:
                loaded = CompileResult._rebuild(target_context, *pickle.loads(code))
        except Exception as error:
            _warn_once(error)
        if loaded is None:
            self._started = time.perf_counter()
            _say("fastnet: compiling the CPU kernels, once on this machine ... ")
        return loaded

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep the code for a signature."""
        _say(f"done in {time.perf_counter() - self._started:.1f} s\n")
        if data.lifted or data.library.has_dynamic_globals:
            return  # it holds addresses of this process
        try:
            name, facts = self._entry(sig, data.codegen)
            code_files.write(kernel_cache(), name, dumps(data._reduce()), facts)
        except Exception as error:
            # On Windows another process may hold the file open at this moment.
            if not (os.name == "nt" and isinstance(error, PermissionError)):
                _warn_once(error)

    def _entry(self, sig: Any, codegen: Any) -> tuple[str, dict[str, Any]]:
        """Return the name of an entry, and all that its code depends on."""
        file = Path(inspect.getfile(self._function))
        facts = {
            "kernel": f"{file.stem}.{self._function.__qualname__}",
            "signature": str(sig),
            "source": _digest_of(_sources(), file),
            "closure": [repr(cell.cell_contents) for cell in self._function.__closure__ or ()],
            "machine": [str(part) for part in codegen.magic_tuple()],
            "python": sys.version,
            "numba": numba.__version__,
            "llvmlite": llvmlite.__version__,
            "numpy": np.__version__,
            "options": {name: repr(getattr(numba.config, name, None)) for name in _OPTIONS},
        }
        digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
        stem = "".join(c if c.isalnum() or c in "._-" else "" for c in facts["kernel"])
        return f"{stem}.{digest[:24]}", facts

    def enable(self) -> None:
        """Do nothing: it is always enabled."""

    def disable(self) -> None:
        """Do nothing: it is always enabled."""

    def flush(self) -> None:
        """Do nothing: an entry that is compiled anew replaces the old one."""


_OPTIONS = (
    "OPT", "BOUNDSCHECK", "LOOP_VECTORIZE", "SLP_VECTORIZE", "ENABLE_AVX", "USING_SVML",
    "DEBUGINFO_DEFAULT", "EXTEND_VARIABLE_LIFETIMES", "LLVM_REFPRUNE_PASS", "LLVM_REFPRUNE_FLAGS",
)  # fmt: skip
"""Settings of Numba that its code depends on."""


@cache
def _sources() -> tuple[Path, ...]:
    """Return the files whose functions a kernel may contain."""
    here = Path(__file__).parent
    return (here.with_name("abi.py"), *sorted(here.glob("*.py")))


@cache
def _digest_of(sources: tuple[Path, ...], own: Path) -> str:
    """Return the SHA-256 of these files and of the kernel's own one, their names included."""
    if getattr(sys, "frozen", False):  # the sources are within the application's file
        status = Path(sys.executable).stat()
        return f"{status.st_size} {status.st_mtime_ns}"
    digest = hashlib.sha256()
    for file in dict.fromkeys((*sources, own)):
        content = file.read_bytes()
        digest.update(f"{file.name} {len(content)} ".encode() + content)
    return digest.hexdigest()


def _say(text: str) -> None:
    """Write to standard error if that is a terminal, for a user who waits for a compilation."""
    if sys.stderr is not None and sys.stderr.isatty():
        sys.stderr.write(text)
        sys.stderr.flush()


def _warn_once(error: BaseException) -> None:
    if not _warned:
        _warned.append(True)
        warnings.warn(
            f"the kernel cache{_named()} cannot be used ({error}); kernels are compiled anew. "
            f"FASTNET_CACHE_DIR names another folder.",
            CacheWarning,
            stacklevel=2,
        )


def _named() -> str:
    """Return the folder for a message, or nothing where there is none."""
    try:
        return f" {kernel_cache()}"
    except OSError:
        return ""


_warned: list[bool] = []
