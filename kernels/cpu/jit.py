"""Compiles kernels: the flags, and a disk cache whose faults are never errors.

``@kernel`` is ``numba.njit`` with this project's flags. It keeps compiled code in a private folder
of the user's cache. A fault there (no home, read-only or full disk, damaged file) costs a
compilation and one warning: plain ``cache=True`` raises an error in most of these cases.
"""

from __future__ import annotations

import gc
import hashlib
import os
import stat
import sys
import time
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, Final

import numba
from numba import njit
from numba.core import caching, codegen
from numba.core.compiler import Compiler

from fastnet.kernels.cache_dir import user_cache

# error_model="numpy": with Python's, a test for division by zero keeps loops scalar.
_FLAGS: Final[dict[str, Any]] = {"nogil": True, "error_model": "numpy"}

# For sums only: they may be added up in another order, which vectorises them. No "nnan" and no
# "ninf", which would let the compiler drop the tests for divergence.
FAST_MATH: Final = {"reassoc", "contract", "arcp", "nsz"}


class _PartLibrary(codegen.JITCodeLibrary):
    """The code of a function that only kernels call.

    Numba optimises every function and generates machine code for it, and then does both again
    within each of its callers. This class does neither, and leaves the function to the kernel that
    contains it: so the kernel compiles in half the time.
    """

    def _optimize_final_module(self) -> None:
        pass

    def _finalize_final_module(self) -> None:
        self._finalize_dynamic_globals()
        self._finalized = True

    def get_pointer_to_function(self, name: str) -> int:
        return 0

    @property
    def codegen(self) -> Any:
        # Numba calls the method below to write into machine code, and here there is none.
        return self

    def set_env(self, name: str, environment: Any) -> None:
        pass


class _PartCompiler(Compiler):
    def compile_extra(self, function: Any) -> Any:
        target = self.state.targetctx
        self.state.library = _PartLibrary(target.codegen(), function.__qualname__)
        return super().compile_extra(function)


_PART: Final = {
    **_FLAGS,
    "no_cpython_wrapper": True,
    "no_cfunc_wrapper": True,
    "pipeline_class": _PartCompiler,
}


class CacheWarning(UserWarning):
    """The kernel cache cannot be used; kernels are compiled anew."""


def cache_folder() -> Path:
    """Return the folder of compiled kernels: ``FASTNET_CACHE_DIR``, or the user's cache."""
    return user_cache() / "kernels"


def kernel(function: Callable[..., Any]) -> Any:
    """Compile `function` on its first call, with the flags above, and cache the result on disk."""
    dispatcher = njit(**_FLAGS)(function)
    if not numba.config.DISABLE_JIT:
        dispatcher._cache = _make_cache(function)
        dispatcher.compile = _without_collections(dispatcher.compile)
    return dispatcher


def _without_collections(compile_one: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that compiles with the garbage collector off.

    A compilation makes millions of objects and keeps most of them. Collections took a tenth of its
    time.
    """

    def compile_in_one_go(signature: Any) -> Any:
        collecting = gc.isenabled()
        gc.disable()
        try:
            return compile_one(signature)
        finally:
            if collecting:
                gc.enable()

    return compile_in_one_go


def inner(function: Callable[..., Any]) -> Any:
    """Compile `function` as a part of the kernels that call it.

    The function gets neither a cache entry nor a Python wrapper, which halves its compile time.
    Python can call it only through a kernel, or where ``NUMBA_DISABLE_JIT`` is set.
    """
    return njit(**_PART)(function)


def specialised(function: Callable[..., Any]) -> Any:
    """Compile like `inner`, and inline the function at each of its calls.

    There its arguments may be constants, so that a loop contains one branch instead of several.
    """
    return njit(forceinline=True, **_PART)(function)


def inner_sums(function: Callable[..., Any]) -> Any:
    """Compile like `inner`, and allow the compiler to reorder additions; see ``sums``."""
    return njit(fastmath=FAST_MATH, **_PART)(function)


def spliced(function: Callable[..., Any]) -> Any:
    """Inline the source of `function` into the one kernel that calls it: it compiles only once."""
    return njit(inline="always", **_PART)(function)


def _make_cache(function: Callable[..., Any]) -> Any:
    try:
        return _Cache(function)
    except Exception as error:
        _warn_once(error)
        return caching.NullCache()


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
        return f" {cache_folder()}"
    except OSError:
        return ""


_warned: list[bool] = []


class _Locator(caching._CacheLocator):
    """Places the cache of every kernel in `cache_folder`."""

    def __init__(self, function: Callable[..., Any], source: str) -> None:
        self._source = Path(source)
        self._line = function.__code__.co_firstlineno

    def ensure_cache_path(self) -> None:
        folder = cache_folder()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # The cache is unpickled: a folder that others may write to would let them run code.
        status = folder.stat()
        if hasattr(os, "getuid") and (
            status.st_uid != os.getuid() or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
        ):
            raise PermissionError(f"{folder} belongs to, or can be written by, somebody else")

    def get_cache_path(self) -> str:
        return str(cache_folder())

    def get_source_stamp(self) -> Any:
        # A kernel contains the functions it calls, so the source is all files of this folder.
        return _source_stamp()

    def get_disambiguator(self) -> str:
        return f"{self._source.stem}-{self._line}"

    @classmethod
    def from_function(cls, function: Callable[..., Any], source: str) -> _Locator:
        return cls(function, source)


@cache
def _source_stamp() -> tuple[Any, ...]:
    """Return what compiled code depends on besides the parts of Numba's own key."""
    files = sorted(Path(__file__).parent.glob("*.py"))
    status = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    return (numba.config.BOUNDSCHECK, *status)


class _Impl(caching.CompileResultCacheImpl):
    _locator_classes = [_Locator]  # noqa: RUF012 - Numba's name and form


class _Files(caching.IndexDataCacheFile):
    """Index and data files of one kernel, safe for processes that compile at the same moment."""

    def save(self, key: Any, data: Any) -> None:
        # Numba numbers the data files and writes the index first: two processes that save different
        # signatures can end with an index that points to the other's code. Here a file's name says
        # which signature it holds, and the index never runs ahead of it.
        digest = hashlib.sha256(repr(key).encode()).hexdigest()[:16]
        name = f"{self._index_name.removesuffix('.nbi')}.{digest}.nbc"
        self._save_data(name, data)
        self._save_index({**self._load_index(), key: name})


class _Cache(caching.FunctionCache):
    """Numba's cache of one kernel; every fault counts as a missing entry."""

    _impl_class = _Impl

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        self._cache_file = _Files(
            self._cache_path, self._impl.filename_base, self._impl.locator.get_source_stamp()
        )
        self._started = 0.0

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        loaded = None
        try:
            self._impl.locator.ensure_cache_path()
        except Exception as error:
            _warn_once(error)
        else:
            try:
                loaded = super().load_overload(sig, target_context)
            except Exception as error:
                _warn_once(error)
                self._discard()
        if loaded is None:
            self._started = time.perf_counter()
            _say("fastnet: compiling the CPU kernels, once on this machine ... ")
        return loaded

    def save_overload(self, sig: Any, data: Any) -> None:
        _say(f"done in {time.perf_counter() - self._started:.1f} s\n")
        try:
            super().save_overload(sig, data)
        except Exception as error:
            _warn_once(error)

    def _discard(self) -> None:
        """Remove a damaged index, so that the next process finds none."""
        try:
            self.flush()
        except Exception as error:
            _warn_once(error)
