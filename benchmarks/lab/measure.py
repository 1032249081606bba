"""The laboratory's run: each version shown to be right, then all of them timed in turn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, Final

import numpy as np
from numba import njit

from fastnet.benchmarks import timing
from fastnet.benchmarks.lab import elementwise, products, rows, updates
from fastnet.benchmarks.lab.kernel import FLAGS, Case, Kernel, Run
from fastnet.benchmarks.peak import Peak, best_rate
from fastnet.benchmarks.reports.report import KernelRow, KernelTable, Limit
from fastnet.benchmarks.timing import Budget

KERNELS: Final = (*products.KERNELS, *elementwise.KERNELS, *rows.KERNELS, *updates.KERNELS)

FULL: Final = Budget(rounds=5, samples=2, seconds=0.005)
QUICK: Final = Budget(rounds=3, samples=1, seconds=0.001)

_LEAST: Final = 1024
"""Bytes of the smallest arrays whose memory rate is measured: below, a loop hardly begins."""
_SECONDS: Final = 0.05


def measure(
    quick: bool, peak: Peak, say: Callable[[str], None], kernels: Sequence[Kernel] = KERNELS
) -> list[KernelTable]:
    """Return the tables of all kernels. The caller keeps the process on one processor."""
    return [_table(kernel, quick, peak, say) for kernel in kernels]


def _table(kernel: Kernel, quick: bool, peak: Peak, say: Callable[[str], None]) -> KernelTable:
    versions = {version.name: version.why for version in kernel.versions}
    table = KernelTable(kernel.name, kernel.limit, kernel.unit, versions, kernel.versions[-1].name)
    for case in kernel.cases(quick):
        say(f"{kernel.name}, {case.size}")
        _measure_case(table, kernel, case, QUICK if quick else FULL, peak)
    return table


def _measure_case(
    table: KernelTable, kernel: Kernel, case: Case, budget: Budget, peak: Peak
) -> None:
    runs: dict[str, Run] = {}
    errors: dict[str, float] = {}
    for version in kernel.versions:
        arguments = case.make()
        run = version.prepare(*arguments)
        if run is None:
            continue
        run(1)
        error = errors[version.name] = case.error(arguments)
        if error <= case.bound:
            runs[version.name] = run
        else:
            table.failures.append(
                f"{kernel.name}, {version.name}, at {case.size}: wrong by {error:.1f} "
                f"{kernel.unit}, at most {case.bound:.1f} are allowed."
            )
    repeats = {name: timing.calibrate_loop(run, budget.seconds) for name, run in runs.items()}
    calls = {name: _call(run, repeats[name]) for name, run in runs.items()}
    most = limit_of(kernel.limit, case.footprint, peak)
    # A sample is one call of the loop: calibrated already.
    for name, found in timing.interleave(calls, budget, repeats=1).items():
        us = 1e6 * found.typical / repeats[name]
        rate = case.work / us / 1e3
        table.rows.append(
            KernelRow(
                size=case.size,
                version=name,
                us=us,
                us_rounds=[1e6 * min(samples) / repeats[name] for samples in found.rounds],
                rate=rate,
                share=rate / most,
                error=errors[name],
            )
        )


def _call(run: Run, times: int) -> timing.Call:
    return lambda: run(times)


def limit_of(limit: Limit, footprint: int, peak: Peak) -> float:
    """Return what one thread reached here: GFLOP/s, or GB/s with arrays of that many bytes."""
    if limit == "fma":
        return peak.one_thread
    # By powers of two: caches have sizes, and a rate for every kernel would take long.
    return _memory_rate(limit, 1 << max(footprint, _LEAST).bit_length() - 1)


@cache
def _memory_rate(limit: Limit, footprint: int) -> float:
    """Return GB/s of copying (read and written), or of reading, arrays of that many bytes."""
    if limit == "copy":
        half = np.ones(footprint // 8, np.float32)
        arguments: tuple[Any, ...] = np.zeros_like(half), half
        loop: Any = _copy
    else:
        arguments, loop = (np.ones(footprint // 4, np.float32),), _read
    loop(1, *arguments)
    times = max(1, 2_000_000 // footprint)
    return best_rate(lambda: loop(times, *arguments), footprint * times, _SECONDS) / 1e9


@njit(**FLAGS)
def _copy(times: int, target: Any, source: Any) -> None:
    for _ in range(times):
        for i in range(len(target)):
            target[i] = source[i]


# The order of the additions is free: the sum of a vector's lanes, several at a time.
@njit(fastmath={"reassoc", "nsz"}, **FLAGS)
def _read(times: int, source: Any) -> Any:
    total = np.float32(0)
    for _ in range(times):
        for i in range(len(source)):
            total += source[i]
    return total
