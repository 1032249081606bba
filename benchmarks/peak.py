"""What this machine can do, measured: fused multiply-adds per second, and memory copied per second.

The shares in the tables are shares of this. The FMA rate comes from a loop of independent vector
FMAs in registers, the most that a kernel could reach; without Numba, from the fastest BLAS product.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Final

import numpy as np

from fastnet.benchmarks.pinning import limited_pools

_ITERATIONS: Final = 400_000
_BYTES: Final = 64 * 2**20


@dataclass(frozen=True)
class Peak:
    """What was measured.

    Attributes
    ----------
    one_thread : float
        float32 GFLOP/s of a single thread.
    all_threads : float
        Of `threads` threads side by side, in all.
    threads : int
    method : str
    copy_gbs : float
        GB/s (10^9 bytes, read plus written) of one thread copying long arrays.
    """

    one_thread: float
    all_threads: float
    threads: int
    method: str
    copy_gbs: float

    def of(self, threads: int) -> float:
        """Return the GFLOP/s of so many threads: cores may be slower when all of them work."""
        return self.one_thread if threads == 1 else self.all_threads * threads / self.threads

    def best_of(self, other: Peak) -> Peak:
        """Return the higher of each of the rates: other work on the machine only lowers them."""
        return replace(
            self,
            one_thread=max(self.one_thread, other.one_thread),
            all_threads=max(self.all_threads, other.all_threads),
            copy_gbs=max(self.copy_gbs, other.copy_gbs),
        )


def measure(threads: int, seconds: float) -> Peak:
    """Measure with that many threads side by side, and with one, about so long each."""
    rate: Callable[[int, float], float]
    try:
        _, lanes, count = fma_loop()
        rate, method = _fma_rate, f"FMA loop, {count} accumulators of {lanes} float32"
    except ImportError:
        rate, method = _blas_rate, "fastest BLAS product"
    one = rate(1, seconds)
    # A neighbour on the machine can hold up one of the threads.
    together = max(one, rate(threads, seconds)) if threads > 1 else one
    return Peak(one, together, threads, method, _copy_rate(seconds))


def best_rate(call: Callable[[], Any], work: float, seconds: float) -> float:
    """Return the highest rate, work per second, seen in so many seconds."""
    best, end = 0.0, time.perf_counter() + seconds
    while best == 0.0 or time.perf_counter() < end:
        start = time.perf_counter()
        call()
        best = max(best, work / (time.perf_counter() - start))
    return best


def _fma_rate(threads: int, seconds: float) -> float:
    loop, lanes, accumulators = fma_loop()
    loop(1)
    work = 2.0 * lanes * accumulators * _ITERATIONS
    if threads == 1:
        return best_rate(lambda: loop(_ITERATIONS), work, seconds) / 1e9
    with ThreadPoolExecutor(threads) as pool:
        rate = best_rate(
            lambda: list(pool.map(loop, [_ITERATIONS] * threads)), work * threads, seconds
        )
    return rate / 1e9


def _blas_rate(threads: int, seconds: float) -> float:
    rates = []
    with limited_pools(threads):
        for size in (256, 512, 1024):
            a, out = np.ones((2, size, size), np.float32)
            call = lambda a=a, out=out: np.matmul(a, a, out=out)  # noqa: E731
            rates.append(best_rate(call, 2.0 * size**3, seconds / 3) / 1e9)
    return max(rates)


def _copy_rate(seconds: float) -> float:
    source = np.ones(_BYTES // 4, np.float32)
    target = np.zeros_like(source)
    return best_rate(lambda: np.copyto(target, source), 2.0 * _BYTES, seconds) / 1e9


@cache
def fma_loop() -> tuple[Callable[[int], float], int, int]:
    """Return a compiled loop of vector FMAs, its vector's lanes, and its accumulators.

    Enough accumulators to hide the latency (4 cycles, on 2 to 4 units), few enough for the
    registers. It runs without the GIL.

    Raises
    ------
    ImportError
        Numba is not installed.
    """
    import llvmlite.binding as llvm
    from llvmlite import ir
    from numba import njit, types
    from numba.core import cgutils
    from numba.extending import intrinsic

    features = llvm.get_host_cpu_features()
    if features.get("avx512f"):
        lanes, count = 16, 20
    elif features.get("avx2") and features.get("fma"):
        lanes, count = 8, 12
    else:
        lanes, count = 4, 20
    f32, i64 = ir.FloatType(), ir.IntType(64)
    vector = ir.VectorType(f32, lanes)

    def splat(value: float) -> ir.Constant:
        return ir.Constant(vector, [value] * lanes)

    @intrinsic  # type: ignore[untyped-decorator, unused-ignore]
    def fma_chain(typing_context: Any, iterations: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            fma = cgutils.get_or_insert_function(
                builder.module,
                ir.FunctionType(vector, [vector] * 3),
                f"llvm.fma.v{lanes}f32",
            )
            before = builder.block
            loop, done = builder.append_basic_block("loop"), builder.append_basic_block("done")
            builder.branch(loop)
            builder.position_at_end(loop)
            step = builder.phi(i64)
            sums = [builder.phi(vector) for _ in range(count)]
            # x <- 0.999 x + 0.001 goes to 1: neither overflow nor denormal numbers.
            moved = [builder.call(fma, [x, splat(0.999), splat(0.001)]) for x in sums]
            following = builder.add(step, ir.Constant(i64, 1))
            step.add_incoming(ir.Constant(i64, 0), before)
            step.add_incoming(following, loop)
            for index, (x, y) in enumerate(zip(sums, moved, strict=True)):
                x.add_incoming(splat(index / count), before)
                x.add_incoming(y, loop)
            builder.cbranch(builder.icmp_signed("<", following, args[0]), loop, done)
            builder.position_at_end(done)
            total = moved[0]
            for y in moved[1:]:
                total = builder.fadd(total, y)
            return builder.extract_element(total, ir.Constant(ir.IntType(32), 0))

        return types.float32(types.int64), generate

    @njit(nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
    def loop(iterations: int) -> float:
        return fma_chain(types.int64(iterations))  # type: ignore[no-any-return]

    return loop, lanes, count
