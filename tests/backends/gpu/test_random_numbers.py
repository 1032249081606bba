"""The random numbers of the CUDA kernels: bit for bit those of `fastnet.nn.random`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fastnet.kernels import abi
from fastnet.kernels.cuda import loader
from fastnet.nn import random
from tests.cuda.host_module import WHY_NOT, HostModule
from tests.cuda.runtimes import blank, each_dtype, each_place, open_runtime, run

SEEDS = [0, 7, -1, -(2**63), 2**63 - 1]
"""As kernels take them: 64 bits with a sign."""

PHILOX = """
extern "C" __global__ void philox_words(unsigned* out, integer block, integer step,
                                        integer stream, integer purpose, integer seed)
{
    const Words words = philox(unsigned(block), unsigned(step), unsigned(stream),
                               unsigned(purpose), (unsigned long long)(seed));
    for (int lane = 0; lane < 4; ++lane)
        out[lane] = words.lane[lane];
}
"""


@pytest.mark.skipif(WHY_NOT is not None, reason=str(WHY_NOT))
@pytest.mark.parametrize(
    ("counter", "seed", "expected"),
    [
        # The known answers of Random123, the authors' library.
        ((0, 0, 0, 0), 0, "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ((2**32 - 1,) * 4, -1, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            0x299F31D0A4093822,
            "d16cfe09 94fdcceb 5001e420 24126ea1",
        ),
    ],
)
def test_philox_gives_the_known_answers(counter: tuple[int, ...], seed: int, expected: str) -> None:
    module = HostModule(loader.source(np.dtype(np.float32), 32) + PHILOX)
    out = blank(4, np.uint32)
    module.launch("philox_words", (1,), (1,), (out, *counter, seed))
    assert " ".join(f"{word:08x}" for word in out) == expected


@each_place
@pytest.mark.parametrize("count", [1, 2, 3, 5, 64, 1000])
def test_an_epoch_s_order_is_that_of_every_backend(place: str, count: int) -> None:
    runtime = open_runtime(place, np.float32)
    for seed in SEEDS:
        for epoch in (0, 5, 2**32 + 3):
            key = random.feistel_bits(count), seed, epoch, abi.SHUFFLE
            order = blank(count, np.uint32)
            (order,) = run(runtime, "permutation", (1, count), order, count, *key)
            expected = random.permutation(count, seed=seed, epoch=epoch)
            np.testing.assert_array_equal(order, expected)


def clock(**fields: int) -> Any:
    """Return the record that tells kernels where training is."""
    assert set(fields) <= set(loader.CLOCK)
    return np.array([fields.get(name, 0) for name in loader.CLOCK])


@each_dtype
@each_place
@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (7, 33), (40, 8)], ids=str)
def test_dropout_masks_are_those_of_every_backend(
    place: str, dtype: Any, shape: tuple[int, int]
) -> None:
    runtime = open_runtime(place, dtype)
    x = np.random.default_rng(0).standard_normal(shape).astype(dtype)
    elements = x.size
    for seed in SEEDS:
        for rate, step, stream in ((0.5, 3, 1), (0.0, 2**32 + 1, 0), (0.9, 0, 250)):
            keep = random.keep_threshold(rate), 1 / (1 - rate)
            now = clock(step=step, seed=seed, start=-9, row=-9)
            arguments = blank(shape, dtype), blank(shape, dtype), x, now, stream, *keep, elements
            y, mask, *_ = run(runtime, "dropout_forward", (1, -(-elements // 4)), *arguments)
            expected = random.dropout_mask(
                np.empty(shape, dtype), rate=rate, step=step, stream=stream, seed=seed
            )
            np.testing.assert_array_equal(mask, expected)
            np.testing.assert_array_equal(y, x * expected)
            dx, *_ = run(
                runtime, "dropout_backward", (1, elements), blank(shape, dtype), x, mask, elements
            )
            np.testing.assert_array_equal(dx, x * expected)


@each_place
def test_the_clock_is_set(place: str) -> None:
    runtime = open_runtime(place, np.float32)
    (now,) = run(runtime, "clock_set", (1, 1), clock(row=5, halted=1), 11, -3, 40, 0)
    assert now.tolist() == clock(step=11, seed=-3, start=40).tolist()
