"""Throughput against the hidden width: a cliff in the choice of kernels or threads would show.

Every width is timed once in every round, and widths are compared within a round, so that drift of
the machine is no cliff.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Final

from fastnet.benchmarks import parity, problems, timing
from fastnet.benchmarks.contenders import FastNet
from fastnet.benchmarks.ladder import Rung
from fastnet.benchmarks.reports.report import Curve, Fall
from fastnet.benchmarks.timing import Budget, Timing

WIDTHS: Final = (
    8, 9, 12, 15, 16, 17, 20, 24, 25, 31, 32, 33, 40, 47, 48, 49, 56, 63, 64, 65, 80, 95, 96, 97,
    112, 127, 128, 129, 144, 160, 176, 191, 192, 193, 208, 224, 240, 255, 256, 257, 288, 320, 352,
    384, 416, 447, 448, 449, 480, 511, 512, 640, 768, 896, 1023, 1024, 1025, 1280, 1536, 2047, 2048,
    2049, 3072, 4096,
)  # fmt: skip
QUICK_WIDTHS: Final = (8, 16, 17, 32, 33, 64)

INPUTS: Final = 64
OUTPUTS: Final = 10
BATCH: Final = 128
STEPS: Final = 16
"""Steps in an epoch, which is one call; of a wide network fewer, which take as long."""

ALLOWED: Final = 0.85
"""Least FLOP/s of a width over that of the width before."""

VECTOR: Final = 16
"""float32 in the longest vectors: a width is rounded up to them to see whether they explain."""

FULL: Final = Budget(rounds=7, samples=2, seconds=0.01)
QUICK: Final = Budget(rounds=3, samples=1, seconds=0.002)


def rung_of(width: int) -> Rung:
    """Return the network of that hidden width."""
    sizes = INPUTS, width, width, OUTPUTS
    return Rung(f"width-{width}", sizes, batch=BATCH, rows=steps_of(width) * BATCH)


def steps_of(width: int) -> int:
    """Return the steps in an epoch of that hidden width."""
    return max(2, min(STEPS, STEPS * 512**2 // width**2))


def measure(quick: bool, threads: int, say: Callable[[str], None]) -> list[Curve]:
    """Return the curve on one thread, and with leave to use `threads`.

    Raises
    ------
    ParityError
        fastnet does not train one of the networks like its reference.
    """
    widths = QUICK_WIDTHS if quick else WIDTHS
    for width in widths:
        say(f"width {width}: comparison")
        entry = parity.check_training(_numba, rung_of(width), 1)
        entry.require("fastnet numba", f"width {width}")
    curves = []
    for most in dict.fromkeys((1, threads)):
        say(f"widths: timing with at most {most} threads")
        # None: fastnet chooses how many threads pay.
        timings = _time(widths, 1 if most == 1 else None, QUICK if quick else FULL)
        curves.append(curve(timings, most))
    return curves


def _numba(problem: problems.Problem, threads: int | None) -> FastNet:
    return FastNet(problem, threads, "numba")


def _time(widths: Sequence[int], threads: int | None, budget: Budget) -> dict[int, Timing]:
    """Return the seconds of an epoch at each width."""
    calls = {}
    for width in widths:
        rung = rung_of(width)
        contender = _numba(problems.problem(rung, BATCH, rung.rows), threads)
        contender.train_epoch()
        calls[str(width)] = contender.train_epoch
    found = timing.interleave(calls, budget)
    return {width: found[str(width)] for width in widths}


def curve(timings: dict[int, Timing], threads: int) -> Curve:
    """Return the curve of an epoch's times."""
    widths = list(timings)
    seconds = [timings[width].typical / steps_of(width) for width in widths]
    flops = [rung_of(width).flops(BATCH) for width in widths]
    return Curve(
        threads=threads,
        layers=f"{INPUTS}-H-H-{OUTPUTS}",
        batch=BATCH,
        widths=widths,
        us=[1e6 * s for s in seconds],
        gflops=[f / s / 1e9 for f, s in zip(flops, seconds, strict=True)],
        falls=falls(timings),
    )


def falls(timings: dict[int, Timing]) -> list[Fall]:
    """Return the widths with less than `ALLOWED` of the FLOP/s of the width before."""
    found = []
    widths = list(timings)
    for before, width in pairwise(widths):
        steps = steps_of(width) / steps_of(before)
        slower = timings[width].ratio_to(timings[before]) / steps
        ratio = _flops(width) / _flops(before) / slower
        if ratio < ALLOWED:
            whole = _flops(_rounded(width)) / _flops(_rounded(before)) / slower
            found.append(Fall(width, before, ratio, vectors=whole >= ALLOWED))
    return found


def _flops(width: int) -> int:
    return rung_of(width).flops(BATCH)


def _rounded(width: int) -> int:
    return -(-width // VECTOR) * VECTOR
