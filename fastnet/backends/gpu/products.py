"""`Products`: decides by which algorithm each matrix product runs, and whether its epilogue pays.

Every decision is made once for a problem, when it comes up for the first time, and kept: in this
process, and on disk (`autotune`) for those to come. So a recording, which may neither measure nor
ask the library, finds it made.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from threading import RLock
from typing import Any, Final

from fastnet.backends.gpu.autotune import Choice, Choices, fastest
from fastnet.backends.gpu.captures import first_run, seconds
from fastnet.backends.gpu.cublaslt import (
    CublasError,
    CublasLt,
    LtEpilogue,
    Problem,
    Product,
    Status,
)
from fastnet.utils.warn import warn

WORKSPACE_BYTES: Final = 32 * 2**20
"""Memory for products that split their sums; cublasLt's fastest algorithms need so much."""

SLOW: Final = 2.0
"""An algorithm whose first run takes so many times the best one's is not measured further."""

CHEAP: Final = 1e-4
"""Of shorter first runs, in seconds, the host's delays are too large a part for that."""


class Products:
    """Runs the products of one GPU, each by the algorithm that was chosen for it.

    Parameters
    ----------
    cupy : module
    library : CublasLt
    name : str
        The GPU's.
    """

    def __init__(self, cupy: Any, library: CublasLt, name: str) -> None:
        self._cuda, self._library, self._handle = cupy.cuda, library, library.handle()
        self._choices = Choices(f"{name} cublasLt {library.version}")
        self._found: dict[Problem, tuple[Product, list[bytes]]] = {}
        self._chosen: dict[Problem, bytes | None] = {}
        self._gains: dict[Problem, float] = {}
        self._lock = RLock()  # A descriptor holds the vector's address: one call at a time.

    def gain(self, problem: Problem, measure: Callable[[], float]) -> float:
        """Return the seconds that an epilogue saves; minus infinity where it cannot be used.

        Parameters
        ----------
        measure : callable
            Runs the product and its other form, and returns what the epilogue saves; minus infinity
            where it computes something else.
        """
        with self._lock:
            if problem not in self._gains:
                self._gains[problem] = self._decide(problem, measure)
            return self._gains[problem]

    def _decide(self, problem: Problem, measure: Callable[[], float]) -> float:
        if not problem.is_supported:
            return -math.inf
        try:
            found = self._look_up(problem)[1]
            # What was found out about one algorithm says nothing about another.
            known = self._choices.get(problem.key)
            if known is not None and known.algorithm in found:
                return known.gain
            gain = measure() if found else -math.inf
        except (CublasError, MemoryError):
            return -math.inf  # It may be different in another process, so it is not kept.
        algorithm = self._chosen[problem] if found else None
        if algorithm is not None:
            self._choices.keep(problem.key, Choice(algorithm, gain))
        return gain

    def run(
        self,
        problem: Problem,
        vector: int,
        mask: int,
        arrays: tuple[int, int, int],
        workspace: tuple[int, int],
    ) -> bool:
        """Queue a product on the current stream; return False where the library has no way.

        The first time, its algorithms are measured on these arrays: that is harmless, since every
        algorithm writes the same product.

        Raises
        ------
        CublasError, OutOfMemoryError
            The library failed, in another way than by having no algorithm.
        """

        def run(algorithm: bytes) -> None:
            stream = self._cuda.get_current_stream().ptr
            product.run(self._handle, algorithm, *arrays, workspace, stream)

        with self._lock:
            product, found = self._look_up(problem)
            product.point(vector, mask)
            if problem not in self._chosen:
                self._chosen[problem] = self._choose(problem, found, run)
            algorithm = self._chosen[problem]
            if algorithm is not None:
                run(algorithm)
            return algorithm is not None

    def _look_up(self, problem: Problem) -> tuple[Product, list[bytes]]:
        """Return a problem's descriptors and its algorithms."""
        if problem not in self._found:
            product = Product(self._library, problem)
            try:
                found = product.algorithms(self._handle, WORKSPACE_BYTES)
                found = found or product.algorithms(self._handle, 0)
            except CublasError as error:
                if error.status != Status.INVALID_VALUE:
                    raise
                # The library refuses some shapes so, of one row or column for example.
                found = []
                _warn(problem, str(error))
            self._found[problem] = product, found
        return self._found[problem]

    def _choose(
        self, problem: Problem, found: list[bytes], run: Callable[[bytes], None]
    ) -> bytes | None:
        """Return the algorithm to use, or None where none runs."""
        known = self._choices.get(problem.key)
        if known is not None and known.algorithm in found:
            return known.algorithm
        best = math.inf

        def measured(number: int) -> float:
            nonlocal best

            def work() -> None:
                run(found[number])

            try:
                first = first_run(self._cuda, work)
                if first > max(SLOW * best, CHEAP):
                    return math.inf
                best = min(best, first)
                return seconds(self._cuda, work, first)
            except CublasError:
                return math.inf

        number = fastest(len(found), measured)
        if number is None:
            if found:
                _warn(problem, "none of its algorithms runs")
            return None
        # A product with an epilogue is kept together with what the epilogue saves.
        if problem.epilogue is LtEpilogue.DEFAULT:
            self._choices.keep(problem.key, Choice(found[number]))
        return found[number]


def _warn(problem: Problem, why: str) -> None:
    """Say that a plain product is done without the library; with an epilogue, it is not used."""
    if problem.epilogue is LtEpilogue.DEFAULT:
        shape = f"{problem.n} x {problem.k} by {problem.k} x {problem.m}"
        warn(
            f"cublasLt does not multiply {shape} ({why}): fastnet's own kernel does, which may be "
            f"slower.",
        )
