"""The bundled digits: what is in them, how they are split, and that they are the original."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastnet.data
from fastnet.data import Dataset, load
from fastnet.errors import InputError

FOLDER = Path(fastnet.data.__file__).parent


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load("digits")


def test_digits_are_float32_pixels_from_0_to_1_and_int64_classes(digits: Dataset) -> None:
    assert digits.test is not None
    assert (digits.name, digits.test.name, digits.test.test) == ("digits", "digits (test)", None)
    assert digits.label_names == digits.test.label_names == tuple("0123456789")
    for part, rows in ((digits, 1437), (digits.test, 360)):
        assert part.x.shape == (rows, 64)
        assert part.x.dtype == np.float32
        assert part.x.flags.c_contiguous
        assert (part.x.min(), part.x.max()) == (0.0, 1.0)
        assert part.y.dtype == np.int64
        assert set(part.y) == set(range(10))
    assert 35 <= np.bincount(digits.test.y).min() <= np.bincount(digits.test.y).max() <= 37


def test_loading_digits_twice_gives_the_same_split(digits: Dataset) -> None:
    again = load("digits")
    np.testing.assert_array_equal(again.x, digits.x)
    assert again.test is not None and digits.test is not None
    np.testing.assert_array_equal(again.test.y, digits.test.y)


def test_digits_are_those_of_scikit_learn(digits: Dataset) -> None:
    original = pytest.importorskip("sklearn.datasets").load_digits()
    test = np.zeros(1797, dtype=bool)
    test[np.argsort(original.target, kind="stable")[::5]] = True
    for part, rows in ((digits, ~test), (digits.test, test)):
        assert part is not None
        np.testing.assert_array_equal(part.x, (original.data[rows] / 16).astype(np.float32))
        np.testing.assert_array_equal(part.y, original.target[rows])


def test_the_bundled_file_is_small_and_comes_with_its_licence() -> None:
    assert (FOLDER / "digits.npz").stat().st_size < 100_000
    licence = (FOLDER / "digits.LICENSE.txt").read_text(encoding="utf-8")
    for words in ("CC BY 4.0", "E. Alpaydin and C. Kaynak, 1998", "10.24432/C50P49"):
        assert words in licence


@pytest.mark.parametrize("wrong", [{"target": "species"}, {"task": "regression"}])
def test_digits_cannot_be_asked_for_another_target_or_task(wrong: Any) -> None:
    with pytest.raises(InputError, match="label"):
        load("digits", **wrong)
