"""Machine code of kernels: found on disk, else compiled and kept; loaded and called without Numba.

To import Numba and to load what its own cache holds takes several times as long as a short
training. So what is kept is the machine code alone: a process that finds it needs LLVM's loader and
no compiler. A process that compiles loads its code in the same way, so the bits are the same. It
starts from the LLVM code that came with the package, or else has Numba make that.

The code is kept in a private folder of the user's cache. A fault (no home, read-only or full disk,
damaged file, a file of somebody else) costs a compilation and one warning.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import json
import os
import sys
import threading
import time
import warnings
import zlib
from functools import cache
from pathlib import Path
from typing import Any, Final

import llvmlite
import llvmlite.binding as llvm
import numpy as np

from fastnet.kernels import code_files
from fastnet.kernels.cache_dir import kernel_cache
from fastnet.kernels.cpu import machine, prepared
from fastnet.kernels.cpu.back_end import Kernel, load, machine_code, optimised

ENTRIES: Final = {
    "run": "fastnet.kernels.cpu.epoch",
    "train_members": "fastnet.kernels.cpu.members",
    "blocked": "fastnet.kernels.cpu.blocks",
    "dot_product": "fastnet.kernels.cpu.pair_products",
    "tile_product": "fastnet.kernels.cpu.pair_products",
    "round_panels": "fastnet.kernels.cpu.pair_products",
}
"""The module of each kernel that Python or another kernel calls; it is imported to compile it."""

FOR_ALL: Final = ("run", "blocked", "train_members")
"""Those that every processor can run, in each precision."""

_SETTINGS: Final = (
    "OPT", "BOUNDSCHECK", "LOOP_VECTORIZE", "SLP_VECTORIZE", "ENABLE_AVX", "DISABLE_INTEL_SVML",
    "DEBUGINFO", "EXTEND_VARIABLE_LIFETIMES", "LLVM_REFPRUNE_PASS", "LLVM_REFPRUNE_FLAGS",
)  # fmt: skip
"""The variables ``NUMBA_...`` that code depends on, besides those that `machine` reads."""


class CacheWarning(UserWarning):
    """The kernel cache cannot be used; kernels are compiled anew."""


def kernel(name: str, dtype: Any) -> Kernel:
    """Return the kernel of `ENTRIES` for a dtype: loaded already, kept on disk, or compiled now."""
    key = name, np.dtype(dtype).name
    if key not in _loaded:
        with _one_at_a_time:
            if key not in _loaded:
                _loaded[key] = _read(*key) or _compile(*key)
    return _loaded[key]


def needs_numba(name: str, dtype: Any) -> bool:
    """Return whether only Numba can make the code of a kernel: none is kept or prepared."""
    dtype = np.dtype(dtype).name
    try:
        if _prepared(name, dtype) is not None:
            return False
        entry, _ = _entry(name, dtype)
        return not code_files.has(kernel_cache(), entry)
    except OSError:  # no folder for a cache, or no file that can be read
        return True


_loaded: dict[tuple[str, str], Kernel] = {}
_one_at_a_time = threading.Lock()


def _read(name: str, dtype: str) -> Kernel | None:
    """Load a kernel from the cache; return None if it must be compiled."""
    try:
        entry, _ = _entry(name, dtype)
        content = code_files.read(kernel_cache(), entry)
        return None if content is None else load(name, content)
    except Exception as error:
        _warn_once(error)
        return None


def _compile(name: str, dtype: str) -> Kernel:
    """Compile a kernel, keep its code, and load it."""
    _say("fastnet: compiling the CPU kernels, once on this machine ... ")
    started = time.perf_counter()
    content, for_all = _prepared_code(name, dtype), True
    if content is None:
        from fastnet.kernels.cpu import jit

        content, for_all = machine_code(llvm_code(name, dtype)), not jit.has_own_settings()
    _say(f"done in {time.perf_counter() - started:.1f} s\n")
    if for_all:
        try:
            entry, facts = _entry(name, dtype)
            code_files.write(kernel_cache(), entry, content, facts)
        except Exception as error:
            # On Windows another process may hold the file open at this moment.
            if not (os.name == "nt" and isinstance(error, PermissionError)):
                _warn_once(error)
    return load(name, content)


def llvm_code(name: str, dtype: str) -> bytes:
    """Return the LLVM code that Numba makes of a kernel, optimised."""
    from fastnet.kernels.cpu import jit

    return optimised(jit.front_end(getattr(importlib.import_module(ENTRIES[name]), name), dtype))


def _prepared_code(name: str, dtype: str) -> bytes | None:
    """Return machine code from the LLVM code that came with the package, if that fits."""
    found = _prepared(name, dtype)
    try:
        return None if found is None else machine_code(found.bitcode())
    except (OSError, RuntimeError, zlib.error):
        return None  # a damaged installation: Numba makes the same code


def _prepared(name: str, dtype: str) -> prepared.Prepared | None:
    changed = any(_settings()[setting] is not None for setting in _SETTINGS)
    return None if changed or _settings_file() else prepared.find(name, dtype, source_of(name))


# --- entries of the cache -------------------------------------------------------------------------


def _entry(name: str, dtype: str) -> tuple[str, dict[str, Any]]:
    """Return the name of an entry, and all that its code depends on.

    Folders and times of files are not among it: two installations of the same version share an
    entry, and two versions have two.
    """
    found = _prepared(name, dtype)
    facts = {
        "kernel": name,
        "dtype": dtype,
        "source": source_of(name),
        "machine": [machine.KIND, machine.NAME, machine.FEATURES],
        "python": sys.version,
        "numba": version_of_numba() if found is None else found.numba,
        "llvmlite": llvmlite.__version__,
        "llvm": llvm.llvm_version_info,
        "numpy": np.__version__,
        "settings": _settings(),
        "settings file": _settings_file(),
    }
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
    return f"{name}.{dtype}.{digest[:24]}", facts


def source_of(name: str) -> str:
    """Return the digest of all that the code of a kernel is made from."""
    if getattr(sys, "frozen", False):  # the sources are within the application's file
        status = Path(sys.executable).stat()
        return f"{status.st_size} {status.st_mtime_ns}"
    module = importlib.util.find_spec(ENTRIES[name])
    assert module is not None and module.origin is not None
    return _digest_of(Path(module.origin))


def _settings() -> dict[str, str | None]:
    return {name: os.environ.get(f"NUMBA_{name}") for name in _SETTINGS}


def _settings_file() -> str:
    return _content_of(Path(".numba_config.yaml"))


def version_of_numba() -> str:
    """Return what says which version of Numba is installed, without importing it.

    Raises
    ------
    ImportError
        There is none.
    """
    spec = importlib.util.find_spec("numba")
    if spec is None:
        raise ImportError("No module named 'numba'")
    file = Path(spec.origin or "").with_name("_version.py")
    if file.is_file():
        return _content_of(file)
    return str(importlib.import_module("numba").__version__)  # within an application's file


def _content_of(file: Path) -> str:
    """Return the SHA-256 of a small file, or nothing if there is none."""
    return hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else ""


@cache
def _digest_of(own: Path) -> str:
    """Return the SHA-256 of the files whose functions a kernel may contain, names included."""
    here = Path(__file__).parent
    digest = hashlib.sha256()
    for file in dict.fromkeys((here.with_name("abi.py"), *sorted(here.glob("*.py")), own)):
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
