"""Scaler: standardisation of arrays in float64, and what it refuses."""

import numpy as np
import pytest

from fastnet.errors import InputError
from fastnet.preprocessing.scaler import Scaler


def test_standardised_columns_have_mean_0_and_deviation_1():
    x = np.random.default_rng(0).normal(3.0, 7.0, (5000, 4)).astype(np.float32)
    z = Scaler.fit(x).transform(x, np.float64)
    np.testing.assert_allclose(z.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(z.std(axis=0), 1, rtol=1e-12)


def test_mean_and_scale_are_float64_and_equal_to_numpys():
    x = np.random.default_rng(1).normal(size=(9000, 3)).astype(np.float32)
    scaler = Scaler.fit(x)
    assert scaler.mean.dtype == scaler.scale.dtype == np.float64
    np.testing.assert_allclose(scaler.mean, x.mean(axis=0, dtype=np.float64), rtol=1e-10)
    np.testing.assert_allclose(scaler.scale, x.std(axis=0, dtype=np.float64), rtol=1e-12)


def test_a_large_mean_does_not_cancel_the_deviation():
    x = 1e9 + np.array([[0.0], [1.0], [2.0], [3.0]])
    np.testing.assert_allclose(Scaler.fit(x).scale, np.std([0, 1, 2, 3]), rtol=1e-12)


@pytest.mark.parametrize("value", [0.0, 0.1, -3.0, 1e30])
def test_a_constant_column_gets_scale_1_and_becomes_zeros(value):
    x = np.full((4099, 1), value)
    scaler = Scaler.fit(x)
    assert scaler.scale == [1.0]
    assert not scaler.transform(x).any()


def test_a_deviation_too_small_for_float64_gets_scale_1():
    assert Scaler.fit([[0.0], [1e-200]]).scale == [1.0]


def test_one_row_is_enough_to_fit():
    scaler = Scaler.fit([[2.0, 3.0]])
    assert scaler.mean.tolist() == [2.0, 3.0]
    assert scaler.scale.tolist() == [1.0, 1.0]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_transform_gives_the_asked_dtype_for_rows_and_for_one_row(dtype):
    scaler = Scaler(np.array([1.0, 2.0]), np.array([2.0, 4.0]))
    rows = scaler.transform([[3, 6], [1, 2]], dtype)
    assert rows.dtype == dtype
    assert rows.tolist() == [[1.0, 1.0], [0.0, 0.0]]
    one = scaler.transform_row([3, 6], np.dtype(dtype))
    assert one.dtype == dtype
    assert one.tolist() == [1.0, 1.0]


def test_blocks_of_rows_give_what_the_whole_would():
    x = np.random.default_rng(2).normal(size=(10_001, 2))
    scaler = Scaler.fit(x)
    np.testing.assert_array_equal(scaler.transform(x, np.float64), (x - scaler.mean) / scaler.scale)


def test_no_rows_can_be_transformed():
    assert Scaler.fit([[1.0, 2.0]]).transform(np.empty((0, 2))).shape == (0, 2)


@pytest.mark.parametrize(
    "x",
    [[1.0, 2.0], np.empty((0, 2)), [[np.nan]], [[1.0], [np.inf]], [["a"]], [[1.0], [1.0, 2.0]]],
    ids=["vector", "no rows", "NaN", "inf", "text", "ragged"],
)
def test_fit_refuses_what_is_not_a_matrix_of_finite_numbers(x):
    with pytest.raises(InputError):
        Scaler.fit(x)


def test_fit_names_the_column_that_is_not_finite():
    with pytest.raises(InputError, match="column 1"):
        Scaler.fit([[0.0, np.nan], [1.0, 0.0]])


def test_a_wrong_number_of_columns_says_what_was_expected_and_what_came():
    scaler = Scaler.fit([[1.0, 2.0]])
    with pytest.raises(InputError, match="x must have 2 columns, got 3"):
        scaler.transform([[1.0, 2.0, 3.0]])
    with pytest.raises(InputError, match=r"row must have the shape \(2,\), got \(3,\)"):
        scaler.transform_row([1.0, 2.0, 3.0], np.dtype(np.float32))


@pytest.mark.parametrize(
    ("mean", "scale"),
    [
        ([0.0], [0.0]),
        ([0.0], [-1.0]),
        ([np.nan], [1.0]),
        ([0.0], [np.inf]),
        ([0.0, 1.0], [1.0]),
        ([[0.0]], [[1.0]]),
        (["a"], [1.0]),
    ],
)
def test_a_scaler_from_a_hostile_file_is_refused(mean, scale):
    with pytest.raises(InputError, match="Scaler"):
        Scaler(mean, scale)


def test_a_value_that_is_too_far_from_the_mean_is_refused_and_another_is_not():
    scaler = Scaler.fit([[1e-3, 0.0], [3e-3, 1.0]])
    with pytest.raises(InputError, match="x after scaling holds inf at row 1, column 0"):
        scaler.transform([[1e-3, 0.0], [1e36, 0.0]])
    assert np.isfinite(scaler.transform([[1e36, 0.0]], np.float64)).all()
