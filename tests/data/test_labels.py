"""encode_labels: integers become classes by a table, with the results of the way by texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from fastnet.data.labels import encode_labels
from fastnet.data.text import Texts, canonical
from fastnet.errors import DataError

NUMBERS = [0.0, -0.0, 1.0, 2.0, 7.0, -3.0, 0.5, 0.1, 1e300, 2.0**53, 2.0**53 + 2, 5e-324, 1e16]
INTEGERS = ["0", "1", "2", "7", "-3", str(2**53), str(2**53 + 2)]
# Some are written as no number is ("7.0", "1e0"), or are none.
LABELS = [*dict.fromkeys(map(canonical, NUMBERS)), "7.0", "1e0", "-0", "red", "", "nan", "inf"]


def by_numbers(column: NDArray[Any], labels: Sequence[str]) -> Any:
    return encode_labels(column, tuple(labels), "t.csv", "y")


def by_texts(column: NDArray[Any], labels: Sequence[str]) -> Any:
    """The naive twin: each number as the text it would be."""
    return encode_labels(Texts.of_numbers(column), tuple(labels), "t.csv", "y")


def outcome(encode: Any, column: NDArray[Any], labels: Sequence[str]) -> Any:
    """Classes, or the sentence of the refusal."""
    try:
        return encode(column, labels).tolist()
    except DataError as error:
        return str(error)


@given(
    st.lists(st.sampled_from(NUMBERS), max_size=12),
    st.one_of(*(st.lists(st.sampled_from(some), unique=True) for some in (INTEGERS, LABELS))),
)
def test_numbers_are_encoded_as_their_texts_are(column: list[float], labels: list[str]) -> None:
    values = np.array(column)
    assert outcome(by_numbers, values, labels) == outcome(by_texts, values, labels)


@pytest.mark.parametrize("dtype", ["?", "u1", "i8", ">i4", "f2", "f4", ">f8"])
def test_numbers_of_every_dtype_are_encoded(dtype: str) -> None:
    column = np.array([1, 0, 1], dtype)
    for labels in (("0", "1"), ("1", "0"), ("-1", "1", "x", "0")):
        expected = [labels.index(str(int(number))) for number in column]
        codes = by_numbers(column, labels)
        assert codes.dtype == np.int64
        assert codes.tolist() == by_texts(column, labels).tolist() == expected
    assert len(by_numbers(column[:0], ("0", "1"))) == 0
    many = np.random.default_rng(1).integers(0, 2, 9001).astype(dtype)  # blocks
    assert by_numbers(many, ("1", "0")).tolist() == by_texts(many, ("1", "0")).tolist()


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ([0, 4, 5], "t.csv, row 2, column 'y': the label '4' is none of the known ones ('0', '7')"),
        ([7, 0.5], "row 2, column 'y': the label '0.5' is none"),
        ([0, np.nan], "row 2, column 'y': nan is not a finite number"),
        ([np.inf, 0], "row 1, column 'y': inf is not a finite number"),
    ],
)
def test_a_number_that_is_no_label_is_named_with_its_row(column: Any, message: str) -> None:
    with pytest.raises(DataError) as caught:
        by_numbers(np.array(column), ("0", "7"))
    assert message in str(caught.value)


def test_texts_are_left_to_labels_that_are_no_near_integers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def sorting(*_numbers: Any) -> None:
        raise AssertionError("the rows were sorted")

    monkeypatch.setattr(Texts, "of_numbers", sorting)
    assert by_numbers(np.array([3.0, -1, 3]), ("3", "-1")).tolist() == [0, 1, 0]
    for labels in (("3", "-1", "red"), ("3", "-1", "0.5"), ("3", "-1", "100000"), ("3.0", "-1")):
        with pytest.raises(AssertionError, match="were sorted"):
            by_numbers(np.array([3.0, -1, 3]), labels)
