"""Randomness: the published Philox answers, frozen words, and the statistics of what is drawn."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastnet.kernels import abi
from fastnet.nn import random

# --- Philox ---------------------------------------------------------------------------------------

# Counter, key and answer of philox4x32-10, from the known-answer tests of Random123.
KNOWN_ANSWERS = [
    (
        "00000000 00000000 00000000 00000000",
        "00000000 00000000",
        "6627e8d5 e169c58d bc57ac4c 9b00dbd8",
    ),
    (
        "ffffffff ffffffff ffffffff ffffffff",
        "ffffffff ffffffff",
        "408f276d 41c83b0e a20bc7c6 6d5451fd",
    ),
    (
        "243f6a88 85a308d3 13198a2e 03707344",
        "a4093822 299f31d0",
        "d16cfe09 94fdcceb 5001e420 24126ea1",
    ),
]


def hexadecimal(text: str) -> list[int]:
    return [int(word, 16) for word in text.split()]


@pytest.mark.parametrize(("counter", "key", "answer"), KNOWN_ANSWERS)
def test_philox_gives_the_published_answers(counter: str, key: str, answer: str) -> None:
    block, step, stream, purpose = hexadecimal(counter)
    low, high = hexadecimal(key)
    words = random.philox(np.array([block], np.uint32), step, stream, purpose, low | high << 32)
    assert words.tolist() == [hexadecimal(answer)]
    assert words.dtype == np.uint32


def test_philox_takes_many_blocks_at_once() -> None:
    blocks = np.array([0, 1, 5, 2**32 - 1], np.uint32)
    together = random.philox(blocks, 1, 2, 3, 4)
    alone = [random.philox(blocks[k : k + 1], 1, 2, 3, 4) for k in range(4)]
    assert together.tolist() == np.concatenate(alone).tolist()


def test_words_are_the_lanes_of_the_blocks_in_turn() -> None:
    lanes = random.philox(np.arange(3, dtype=np.uint32), 7, 8, abi.DROP, 9)
    words = random.words(10, step=7, stream=8, purpose=abi.DROP, seed=9)
    assert words.tolist() == [int(lanes[i // 4, i % 4]) for i in range(10)]


@pytest.mark.parametrize("count", [0, 1, 3, 4, 5])
def test_a_shorter_draw_is_the_beginning_of_a_longer_one(count: int) -> None:
    key: dict[str, int] = {"step": 1, "stream": 2, "purpose": 3, "seed": 4}
    assert random.words(count, **key).tolist() == random.words(9, **key)[:count].tolist()


@pytest.mark.parametrize("part", ["step", "stream", "purpose", "seed"])
def test_every_part_of_the_key_gives_another_stream(part: str) -> None:
    key: dict[str, int] = {"step": 1, "stream": 2, "purpose": 3, "seed": 4}
    words = random.words(64, **key)
    for other in (key[part] + 1, key[part] + 2**16, 2**31):
        assert not (words == random.words(64, **(key | {part: other}))).any()


def test_both_halves_of_the_seed_are_used() -> None:
    key: dict[str, int] = {"step": 0, "stream": 0, "purpose": 0}
    assert not (random.words(64, seed=5, **key) == random.words(64, seed=5 + 2**32, **key)).any()


# --- numbers --------------------------------------------------------------------------------------

COUNT = 200_000


def deviations(value: float, expected: float, variance: float, count: int = COUNT) -> float:
    """How many standard errors the mean of `count` numbers is away from what was expected."""
    return abs(value - expected) / math.sqrt(variance / count)


@pytest.mark.parametrize("seed", [0, 1, 2**63])
def test_uniform_numbers_have_the_moments_of_the_uniform_distribution(seed: int) -> None:
    u = random.uniform(COUNT, stream=0, purpose=abi.INITIALIZE, seed=seed)
    assert 0 < u.min() < 1e-4
    assert 1 - 1e-4 < u.max() < 1
    for power in range(1, 5):
        mean, variance = 1 / (power + 1), 1 / (2 * power + 1) - 1 / (power + 1) ** 2
        assert deviations(float((u**power).mean()), mean, variance) < 4.5
    products = (u[1:] - 0.5) * (u[:-1] - 0.5)
    assert deviations(float(products.mean()), 0.0, 1 / 144) < 4.5


def test_a_uniform_number_is_never_0_or_1(monkeypatch: pytest.MonkeyPatch) -> None:
    for word, bound in [(0, 2.0**-53), (0xFFFFFFFF, 1 - 2.0**-53)]:
        fixed = np.full(2, word, np.uint32)
        monkeypatch.setattr(random, "words", lambda *a, fixed=fixed, **k: fixed)
        assert random.uniform(1, stream=0, purpose=0, seed=0)[0] == bound


@pytest.mark.parametrize("seed", [0, 1, 2**63])
def test_normal_numbers_have_the_moments_of_the_normal_distribution(seed: int) -> None:
    n = random.normal(COUNT, stream=0, purpose=abi.INITIALIZE, seed=seed)
    # Moments 1 to 4, and their variances: E[z^2k] - E[z^k]^2 with E[z^2k] = (2k - 1)!!.
    for power, mean, variance in [(1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)]:
        assert deviations(float((n**power).mean()), mean, variance) < 4.5
    assert 4 < np.abs(n).max() < 6.5


@pytest.mark.parametrize("count", [0, 1, 2, 3, 8])
def test_as_many_normal_numbers_come_as_were_asked_for(count: int) -> None:
    numbers = random.normal(count, stream=0, purpose=0, seed=0)
    assert numbers.shape == (count,)
    assert numbers.dtype == np.float64


def test_streams_are_not_correlated() -> None:
    draws = [
        random.normal(COUNT // 10, stream=stream, purpose=purpose, seed=seed)
        for stream, purpose, seed in itertools.product((0, 1), (0, 1), (0, 1, 2**32))
    ]
    for a, b in itertools.combinations(draws, 2):
        assert deviations(float((a * b).mean()), 0.0, 1.0, len(a)) < 4.5


# --- dropout --------------------------------------------------------------------------------------


def mask(rows: int, columns: int, rate: float, **key: int) -> Any:
    key = {"step": 0, "stream": 0, "seed": 0} | key
    return random.dropout_mask(np.empty((rows, columns)), rate=rate, **key)


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5, 0.9])
def test_a_mask_drops_at_its_rate_and_keeps_the_mean(rate: float) -> None:
    factors = mask(500, 400, rate)
    kept = factors != 0
    assert set(np.unique(factors)) <= {0.0, 1.0 / (1.0 - rate)}
    variance = max(rate * (1 - rate), 1e-12)
    assert deviations(float(kept.mean()), 1 - rate, variance) < 4.5
    for axis in (0, 1):
        spread = kept.mean(axis=axis).std() / math.sqrt(variance / kept.shape[axis])
        assert rate == 0 or 0.85 < spread < 1.15


@pytest.mark.parametrize("part", ["step", "stream", "seed"])
def test_another_step_stream_or_seed_draws_another_mask(part: str) -> None:
    one, other = mask(100, 100, 0.5), mask(100, 100, 0.5, **{part: 1})
    assert deviations(float((one == other).mean()), 0.5, 0.25, one.size) < 4.5


def test_the_first_rows_of_a_mask_do_not_depend_on_how_many_follow() -> None:
    assert mask(3, 7, 0.5).tolist() == mask(10, 7, 0.5)[:3].tolist()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_mask_fills_the_array_it_is_given(dtype: type) -> None:
    out = np.full((3, 5), np.nan, dtype)
    assert random.dropout_mask(out, rate=0.3, step=0, stream=0, seed=0) is out
    assert set(np.unique(out)) == {dtype(0), dtype(1 / 0.7)}


@pytest.mark.parametrize(
    ("rate", "threshold"), [(0.5, 2**31), (0.25, 3 * 2**30), (0.75, 2**30), (0.0, 2**32)]
)
def test_words_below_the_threshold_are_kept(rate: float, threshold: int) -> None:
    assert random.keep_threshold(rate) == threshold


# --- the shuffle ----------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [*range(0, 70), 127, 128, 129, 1000, 1024, 1025, 70000])
def test_a_permutation_visits_every_row_once(count: int) -> None:
    order = random.permutation(count, seed=3, epoch=5)
    assert order.dtype == np.intp
    assert np.sort(order).tolist() == list(range(count))


@pytest.mark.parametrize("bits", range(2, 15))
def test_the_bijection_is_one_on_its_whole_domain(bits: int) -> None:
    assert random.feistel_bits(2**bits) == bits
    order = random.permutation(2**bits, seed=1, epoch=1)  # without cycle walking
    assert len(set(order.tolist())) == 2**bits


def test_the_domain_is_the_smallest_that_holds_all_rows() -> None:
    sizes = [1, 2, 3, 4, 5, 8, 9, 2**20, 2**20 + 1, 2**32]
    assert [random.feistel_bits(n) for n in sizes] == [2, 2, 2, 2, 3, 3, 4, 20, 21, 32]


def chi_square(seen: Counter[Any], cells: int) -> float:
    """Return how many deviations chi-square is above what independent draws give.

    By Wilson and Hilferty (1931): the cube root of chi-square over its freedom is nearly normal.
    """
    expected = seen.total() / cells
    value = sum((n - expected) ** 2 / expected for n in seen.values())
    value += (cells - len(seen)) * expected
    freedom = cells - 1
    spread = 2 / (9 * freedom)
    return ((value / freedom) ** (1 / 3) - (1 - spread)) / math.sqrt(spread)


def orders(count: int, draws: int, *, by: str) -> list[tuple[int, ...]]:
    """Return many permutations, of successive seeds or of one seed's successive epochs."""
    keys = [
        {"seed": k, "epoch": 0} if by == "seed" else {"seed": 0, "epoch": k} for k in range(draws)
    ]
    return [tuple(random.permutation(count, **key).tolist()) for key in keys]


@pytest.mark.parametrize("by", ["seed", "epoch"])
@pytest.mark.parametrize("count", [2, 3, 4])
def test_every_order_of_a_few_rows_is_as_likely_as_any_other(count: int, by: str) -> None:
    seen = Counter(orders(count, 1200, by=by))
    assert chi_square(seen, math.factorial(count)) < 4.5


@pytest.mark.parametrize("count", [5, 8, 11])
def test_every_row_is_as_likely_at_every_position(count: int) -> None:
    drawn = orders(count, 1000, by="seed")
    for position in range(count):
        assert chi_square(Counter(order[position] for order in drawn), count) < 4.5
    pairs = Counter((order[0], order[1]) for order in drawn)
    assert chi_square(pairs, count * (count - 1)) < 4.5


def test_the_chi_square_test_notices_a_preference() -> None:
    fair = Counter(dict.fromkeys(range(24), 100))
    assert chi_square(fair, 24) < 4.5
    assert chi_square(fair + Counter({0: 90, 1: 70}), 24) > 4.5
    assert chi_square(Counter(dict.fromkeys(range(12), 100)), 24) > 4.5


def test_the_order_says_nothing_about_the_row() -> None:
    count = 10_000
    positions = np.arange(count) - (count - 1) / 2
    before = None
    for epoch in range(8):
        order = random.permutation(count, seed=0, epoch=epoch) - (count - 1) / 2
        for other in (positions, before, np.roll(order, 1)):
            if other is not None:
                correlation = float((order * other).mean() / positions.var())
                assert deviations(correlation, 0.0, 1.0, count) < 4.5
        before = order


# --- frozen ---------------------------------------------------------------------------------------

# Seeds stand for these numbers in every backend and every saved run: they must not change.


@pytest.mark.parametrize(
    ("count", "seed", "epoch", "first"),
    [
        (10, 0, 0, [4, 7, 8, 0, 9, 1, 2, 3, 6, 5]),
        (10, 0, 1, [4, 0, 7, 2, 9, 8, 6, 3, 1, 5]),
        (10, 1, 0, [8, 0, 1, 7, 6, 4, 2, 9, 5, 3]),
        (1000, 7, 3, [513, 262, 989, 632, 698, 797, 318, 901, 790, 278]),
        (70000, 123456789012345, 12, [180, 24855, 27874, 35399, 30101, 43837, 56834, 34608]),
    ],
)
def test_permutations_are_frozen(count: int, seed: int, epoch: int, first: list[int]) -> None:
    assert random.permutation(count, seed=seed, epoch=epoch)[: len(first)].tolist() == first


def test_words_masks_and_numbers_are_frozen() -> None:
    keys = "2dce73e5 1348e23f fcf8e0ec a287aadb e9535be3 510c4549 63517a4d 9a6323a7"
    assert random.feistel_keys(0, 0).tolist() == hexadecimal(keys)
    words = random.words(6, step=3, stream=2, purpose=abi.DROP, seed=2**40 + 5)
    frozen = "93ffd30c c0a8fe71 4834aae2 f548dea1 3ffda4c6 9ac856a3"
    assert words.tolist() == hexadecimal(frozen)
    dropped = [[2, 2, 0, 0, 2], [0, 0, 2, 2, 2], [2, 2, 2, 0, 2]]
    assert mask(3, 5, 0.5, step=1, stream=2, seed=3).tolist() == dropped
    uniform = ["0x1.989fa35785a72p-2", "0x1.78af58993601bp-1", "0x1.f1c99948b9641p-1"]
    drawn = random.uniform(3, stream=0, purpose=abi.INITIALIZE, seed=0).tolist()
    assert [number.hex() for number in drawn] == uniform
    assert (abi.INITIALIZE, abi.SHUFFLE, abi.DROP, abi.SPLIT) == (0, 1, 2, 3)


@given(st.integers(1, 200), st.integers(0, 9))
def test_an_order_in_pieces_is_the_order(count: int, seed: int) -> None:
    whole = random.permutation(count, seed=seed, epoch=3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(random, "_PIECE", 7)
        assert np.array_equal(random.permutation(count, seed=seed, epoch=3), whole)
