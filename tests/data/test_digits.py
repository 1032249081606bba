"""The bundled digits: what is in them, how they are split, and that they are the original."""

from pathlib import Path

import numpy as np
import pytest

import fastnet.data
from fastnet.data import load
from fastnet.errors import DataNotFoundError, InputError

FOLDER = Path(fastnet.data.__file__).parent


@pytest.fixture(scope="module")
def digits():
    return load("digits")


def test_digits_have_1437_rows_for_training_and_360_for_testing(digits):
    assert (digits.rows, digits.test.rows, digits.features, digits.classes) == (1437, 360, 64, 10)
    assert digits.name == "digits"
    assert digits.test.test is None


def test_digits_are_float32_pixels_from_0_to_1_and_int64_classes(digits):
    for part in (digits, digits.test):
        assert part.x.dtype == np.float32
        assert part.x.flags.c_contiguous
        assert (part.x.min(), part.x.max()) == (0.0, 1.0)
        assert part.y.dtype == np.int64
        assert set(part.y) == set(range(10))
    assert digits.task == "classification"
    assert digits.label_names == tuple("0123456789")
    assert digits.outputs == 10


def test_the_test_split_has_35_to_37_rows_of_every_digit(digits):
    counts = np.bincount(digits.test.y)
    assert counts.min() >= 35
    assert counts.max() <= 37


def test_loading_digits_twice_gives_the_same_split(digits):
    again = load("digits")
    np.testing.assert_array_equal(again.x, digits.x)
    np.testing.assert_array_equal(again.test.y, digits.test.y)


def test_digits_are_those_of_scikit_learn(digits):
    original = pytest.importorskip("sklearn.datasets").load_digits()
    test = np.zeros(1797, dtype=bool)
    test[np.argsort(original.target, kind="stable")[::5]] = True
    for part, rows in ((digits, ~test), (digits.test, test)):
        np.testing.assert_array_equal(part.x, (original.data[rows] / 16).astype(np.float32))
        np.testing.assert_array_equal(part.y, original.target[rows])


def test_the_bundled_file_is_small_and_comes_with_its_licence():
    assert (FOLDER / "digits.npz").stat().st_size < 100_000
    licence = (FOLDER / "digits.LICENSE.txt").read_text(encoding="utf-8")
    for words in ("CC BY 4.0", "E. Alpaydin and C. Kaynak, 1998", "10.24432/C50P49"):
        assert words in licence


def test_digits_can_be_loaded_with_the_schema_of_digits(digits):
    again = load("digits", schema=digits.schema)
    np.testing.assert_array_equal(again.x, digits.x)
    np.testing.assert_array_equal(again.y, digits.y)


def test_a_misspelt_name_is_told_the_nearest():
    with pytest.raises(DataNotFoundError, match="did you mean 'digits'") as caught:
        load("digit")
    assert "fashion-mnist" in str(caught.value)
    assert isinstance(caught.value, FileNotFoundError)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("wrong", [{"target": "species"}, {"task": "regression"}])
def test_digits_cannot_be_asked_for_another_target_or_task(wrong):
    with pytest.raises(InputError, match="label"):
        load("digits", **wrong)
