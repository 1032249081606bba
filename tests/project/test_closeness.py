"""The comparison fails wherever it should."""

from __future__ import annotations

import numpy as np
import pytest

from tests.closeness import assert_close, rounding

DTYPES = [np.float32, np.float64]
EXPECTED = np.array([[1.0, -2.0, 3.0], [0.25, 0.0, -0.5]])


def differs(actual: object, expected: object, **options: float) -> None:
    with pytest.raises(AssertionError):
        assert_close(actual, expected, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("dtype", DTYPES)
def test_rounding_passes_and_a_few_times_as_much_fails(dtype: type) -> None:
    assert_close(EXPECTED.astype(dtype), EXPECTED)
    step = 3.0 * rounding(dtype)  # 3 is the largest magnitude
    assert_close((EXPECTED + 7 * step).astype(dtype), EXPECTED)
    differs((EXPECTED + 10 * step).astype(dtype), EXPECTED)
    assert_close((EXPECTED + 10 * step).astype(dtype), EXPECTED, terms=4)
    differs((EXPECTED + 10 * step).astype(dtype), EXPECTED, factor=4, terms=4)
    differs((EXPECTED + 7 * step).astype(dtype), EXPECTED, scale=1.0)


@pytest.mark.parametrize("index", range(EXPECTED.size))
def test_a_single_wrong_element_fails_wherever_it_is(index: int) -> None:
    wrong = EXPECTED.copy()
    wrong.flat[index] += 1e-12
    differs(wrong, EXPECTED)


@pytest.mark.parametrize("magnitude", [1.0, 1e-9, 1e-30])
def test_zeros_are_not_close_to_anything_else_however_small(magnitude: float) -> None:
    differs(np.zeros((2, 3)), EXPECTED * magnitude)
    differs(np.zeros(3, np.float32), np.full(3, magnitude))
    differs(EXPECTED * magnitude, np.zeros((2, 3)))


def test_zeros_expected_among_larger_terms_need_a_scale() -> None:
    assert_close(np.zeros(3), -np.zeros(3))
    residue = np.full(3, 1e-16)
    differs(residue, np.zeros(3))
    assert_close(residue, np.zeros(3), scale=1.0)


@pytest.mark.parametrize("special", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_must_match_in_place_and_sign(special: float) -> None:
    expected = np.array([1.0, special, 2.0])
    assert_close(expected.copy(), expected)
    differs(np.array([special, 1.0, 2.0]), expected)
    differs(np.array([1.0, 1.0, 2.0]), expected)
    differs(np.array([1.0, special, special]), expected)
    differs(expected, np.array([1.0, 1.0, 2.0]))
    differs(np.array([1.0, special, 2.1]), expected)


def test_infinities_and_nans_are_not_each_other() -> None:
    for one, other in [(np.inf, -np.inf), (np.inf, np.nan), (np.nan, np.inf)]:
        differs(np.array([one]), np.array([other]))
        differs(np.array([one, 1.0]), np.array([other, 1.0]))
    for scale in (np.inf, np.nan):
        differs(np.ones(2), np.ones(2), scale=scale)


def test_shapes_must_match_without_broadcasting() -> None:
    for one, other in [((3,), (1, 3)), ((3, 1), (3,)), ((), (1,)), ((0,), (1,)), ((0, 3), (0, 4))]:
        differs(np.ones(one), np.ones(other))
    assert_close(np.empty((0, 3)), np.empty((0, 3)))


def test_only_float32_and_float64_are_compared_and_only_with_what_is_as_precise() -> None:
    for dtype in (np.int64, np.float16, complex):
        differs(np.ones(3, dtype), np.ones(3))
    differs(np.ones(3, np.float64), np.ones(3, np.float32))
    assert_close(np.ones(3, np.float32), np.ones(3, np.float64))


def test_the_message_names_the_element() -> None:
    with pytest.raises(AssertionError, match=r"weights: 1 of 6.*\n  \(1, 2\): got"):
        wrong = EXPECTED.copy()
        wrong[1, 2] = 7
        assert_close(wrong, EXPECTED, what="weights")
