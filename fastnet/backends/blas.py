"""The threads of BLAS, which are those of the whole process: NumPy's, and one that SciPy brings."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from threadpoolctl import ThreadpoolController, threadpool_info

FLOPS_PER_BLAS_THREAD: Final = 100_000_000
"""BLAS shares a product between threads when each gets so many operations.

Its threads wait for each other after each product, also for one that is not running. While other
programs used both cores, an epoch whose largest products take 17 million operations took 3 to 9 s
with two threads and 0.2 s with one; with products of 1,100 million 1.4 s and 0.5 s."""

BLAS_ALONE: Final = 2**19
"""OpenBLAS shares no product of fewer operations."""


class BlasThreads:
    """Bounds the number of threads.

    While several engines compute in Python threads, the least bound holds; after the last of them
    the number is what it was before the first.

    Parameters
    ----------
    of_scipy : bool, default False
        Whether it is about the library that SciPy's wheel has for itself, which must be imported by
        then, or about all others.
    """

    def __init__(self, *, of_scipy: bool = False) -> None:
        self._of_scipy = of_scipy
        self._lock = threading.Lock()
        self._bounds: list[int] = []
        self._before: list[int] = []

    @cached_property
    def _libraries(self) -> list[Any]:
        found = ThreadpoolController().select(user_api="blas").lib_controllers
        return [one for one in found if _is_scipys(one.filepath) == self._of_scipy]

    def most(self) -> int:
        """Return the number of threads of now."""
        return max((library.num_threads for library in self._libraries), default=1)

    @contextmanager
    def bounded(self, most: int) -> Iterator[None]:
        """Use at most so many threads in this context."""
        with self._lock:
            if not self._bounds:
                self._before = [library.num_threads for library in self._libraries]
            self._bounds.append(most)
            self._apply()
        try:
            yield
        finally:
            with self._lock:
                self._bounds.remove(most)
                self._apply()

    def _apply(self) -> None:
        for library, before in zip(self._libraries, self._before, strict=True):
            library.set_num_threads(min(self._bounds, default=before))


def _is_scipys(file: str) -> bool:
    """Return whether a library lies within SciPy, as in ``scipy.libs`` or ``scipy/.dylibs``."""
    return any(part.startswith("scipy") for part in Path(file).parts[-3:-1])


BLAS: Final = BlasThreads()

SCIPYS_BLAS: Final = BlasThreads(of_scipy=True)
"""Its threads wait actively: 200 iterations of L-BFGS on 18 parameters took 47 ms with two threads
while other programs used both cores, and 2 ms with one."""


def blas_pools() -> list[dict[str, Any]]:
    """Return threadpoolctl's records of the BLAS libraries in this process."""
    return [pool for pool in threadpool_info() if pool["user_api"] == "blas"]


def described() -> dict[str, str]:
    """Return the names and the threads of the BLAS libraries for people."""
    pools = blas_pools()
    return {
        "blas": ", ".join(f"{p['internal_api']} {p['version']}" for p in pools) or "none",
        "threads": ", ".join(str(p["num_threads"]) for p in pools) or "1",
    }
