"""The machine that runs CUDA kernels on the CPU: what it does, and which mistakes it finds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.cuda.host_module import WHY_NOT, HostModule, KernelError
from tests.cuda.host_runtime import HostRuntime
from tests.cuda.runtimes import SCHEDULES
from tests.cuda.strict import memory_of

pytestmark = pytest.mark.skipif(WHY_NOT is not None, reason=str(WHY_NOT))

THREADS = 64

KERNELS = """
extern "C" __global__ void place(long long* out)
{
    const unsigned block = blockIdx.y * gridDim.x + blockIdx.x;
    const unsigned thread = threadIdx.y * blockDim.x + threadIdx.x;
    out[block * blockDim.x * blockDim.y + thread] = 1000 * block + thread;
}

extern "C" __global__ void turn(long long* out, const long long* in)
{
    __shared__ long long seen[64];
    seen[threadIdx.x] = in[threadIdx.x];
#ifndef WITHOUT_BARRIER
    __syncthreads();
#endif
    out[threadIdx.x] = seen[(threadIdx.x + 1) % blockDim.x];
}

extern "C" __global__ void turn_warps(long long* out, const long long* in)
{
    __shared__ long long seen[64];
    seen[threadIdx.x] = in[threadIdx.x];
    __syncwarp();
    out[threadIdx.x] = seen[threadIdx.x / 32 * 32 + (threadIdx.x + 1) % 32];
}

extern "C" __global__ void shuffles(long long* out, const long long* in)
{
    const long long own = in[threadIdx.x];
    const long long swapped = __shfl_xor_sync(0xFFFFFFFFu, own, 3);
    const long long later = __shfl_down_sync(0xFFFFFFFFu, own, 4);
    const long long first = __shfl_sync(0xFFFFFFFFu, own, 0);
    out[threadIdx.x] = 10000 * swapped + 100 * later + first;
}

extern "C" __global__ void half_a_warp(long long* out)
{
    out[threadIdx.x] = __shfl_sync(0x0000FFFFu, 1LL, 0);
}

extern "C" __global__ void branches(long long* out)
{
    if (threadIdx.x < 32)
        __syncthreads();
    else
        __syncthreads();
    out[threadIdx.x] = 1;
}

extern "C" __global__ void leaves(long long* out)
{
    if (threadIdx.x == 5)
        return;
    __syncthreads();
    out[threadIdx.x] = 1;
}

extern "C" __global__ void memory_of_a_block(long long* out)
{
    __shared__ long long fixed[1];
    long long* dynamic = emulator::dynamic_shared<long long>();
    if (threadIdx.x > 0)
        return;
    out[2 * blockIdx.x] = fixed[0];
    out[2 * blockIdx.x + 1] = dynamic[0];
    fixed[0] = dynamic[0] = 7;
}

extern "C" __global__ void tickets(long long* out, unsigned* next)
{
    out[atomicAdd(next, 1u)] = 1;
}

extern "C" __global__ void beyond(double* out, long long count)
{
    out[count] = 1;
}
"""


@pytest.fixture(scope="module")
def module() -> HostModule:
    return HostModule(KERNELS)


def launch(
    module: HostModule, name: str, *arguments: Any, blocks: int = 1, schedule: int = 0
) -> None:
    module.schedule = schedule
    module.launch(name, (blocks,), (THREADS,), arguments, shared_bytes=8)


def blank(count: int = THREADS) -> np.ndarray[Any, np.dtype[np.int64]]:
    return np.full(count, -1)


@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
def test_every_thread_of_every_block_runs_once(module: HostModule, schedule: int) -> None:
    out = blank(6 * 12)
    module.schedule = schedule
    module.launch("place", (3, 2), (4, 3), (out,))
    assert out.tolist() == [1000 * block + thread for block in range(6) for thread in range(12)]


@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
@pytest.mark.parametrize("name", ["turn", "turn_warps"])
def test_a_barrier_orders_what_is_before_and_after(
    module: HostModule, name: str, schedule: int
) -> None:
    values, out = np.arange(THREADS) ** 2, blank()
    launch(module, name, out, values, schedule=schedule)
    groups = values.reshape(-1, THREADS if name == "turn" else 32)
    assert out.tolist() == np.roll(groups, -1, axis=1).ravel().tolist()


def test_a_missing_barrier_shows_in_some_order() -> None:
    broken = HostModule("#define WITHOUT_BARRIER\n" + KERNELS)
    values = np.arange(THREADS) ** 2
    wrong = []
    for schedule in SCHEDULES.values():
        out = blank()
        launch(broken, "turn", out, values, schedule=schedule)
        wrong.append(out.tolist() != np.roll(values, -1).tolist())
    assert any(wrong)


@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
def test_shuffles_take_the_values_of_other_lanes(module: HostModule, schedule: int) -> None:
    lanes, out = np.arange(THREADS), blank()
    launch(module, "shuffles", out, lanes, schedule=schedule)
    later = np.where(lanes % 32 < 28, lanes + 4, lanes)
    assert out.tolist() == (10000 * (lanes ^ 3) + 100 * later + lanes // 32 * 32).tolist()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("branches", "divergent barrier"),
        ("leaves", "deadlock: 63 of 64 threads wait"),
        ("half_a_warp", "only full masks"),
    ],
)
@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
def test_a_barrier_that_not_all_threads_reach_is_an_error(
    module: HostModule, name: str, message: str, schedule: int
) -> None:
    with pytest.raises(KernelError, match=message):
        launch(module, name, blank(), schedule=schedule)
    out = blank()
    launch(module, "turn", out, out)  # and the next launch is in order
    assert (out == -1).all()


def test_shared_memory_is_wiped_for_every_block(module: HostModule) -> None:
    out = np.zeros(6, np.int64)
    launch(module, "memory_of_a_block", out, blocks=3)
    assert out.tolist() == [-1] * 6


def test_atomics_count(module: HostModule) -> None:
    out, counter = blank(2 * THREADS), np.zeros(1, np.uint32)
    launch(module, "tickets", out, counter, blocks=2, schedule=7)
    assert (out == 1).all() and counter[0] == 2 * THREADS


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.zeros(3),), "takes 2 arguments"),
        ((np.zeros(3), 2.0), "expected an int, got 2.0"),
        ((np.zeros(3), np.int64(2)), "expected an int"),
        ((np.zeros(3, np.float32), 2), "expected D, got float32"),
        ((np.zeros((3, 2)).T, 2), "not contiguous"),
        ((3, 2), "expected an array"),
    ],
)
def test_arguments_must_be_what_the_kernel_declares(
    module: HostModule, arguments: tuple[Any, ...], message: str
) -> None:
    with pytest.raises(AssertionError, match=message):
        launch(module, "beyond", *arguments)


def test_a_write_next_to_an_array_is_found(module: HostModule) -> None:
    runtime = HostRuntime(np.float64)
    array = runtime.empty((3,), np.float64)
    memory = memory_of(array)
    launch(module, "beyond", memory, 2)
    runtime.to_host(array)
    launch(module, "beyond", memory, 3)
    with pytest.raises(AssertionError, match="next to an array of 24 bytes"):
        runtime.to_host(array)


def test_new_memory_is_poison() -> None:
    runtime = HostRuntime(np.float32)
    assert np.isnan(runtime.empty((2, 3), np.float32)).all()
    assert (runtime.empty((3,), np.int64) == -1).all()


@pytest.mark.parametrize("expression", ["x * 2.0", "double(x)"])
def test_a_float_kernel_that_computes_in_double_does_not_compile(expression: str) -> None:
    text = 'extern "C" __global__ void f(float* y, const float* a) { const float x = *a; *y = %s; }'
    with pytest.raises(AssertionError, match=r"-Werror=(double-promotion|float-conversion)"):
        HostModule(text % expression)
