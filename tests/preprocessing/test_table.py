"""From tables of every kind to inputs: what columns become, and what is refused."""

from __future__ import annotations

import math
import warnings
from contextlib import nullcontext
from datetime import time
from typing import Any

import numpy as np
import pytest

import fastnet as fn
from fastnet.data.text import Texts
from fastnet.data.values import known_texts, of_cells
from fastnet.tables import Frame, TableColumn, TablePreprocessor, as_frame
from tests.closeness import assert_close

pd = pytest.importorskip("pandas")
pl = pytest.importorskip("polars")
pa = pytest.importorskip("pyarrow")

COLUMNS: dict[str, list[Any]] = {
    "size": [1.5, 2.0, None, 9.0, -3.0, 2.0],
    "count": [1, 2, 3, None, 2, 7],
    "kind": ["a", "b", None, "c", "a", "a"],
    "new": [True, False, True, True, False, False],
    "side": ["left", "right", "left", None, "left", "left"],
}
KINDS = {
    "dict": dict,
    "pandas": pd.DataFrame,
    "pandas, nullable": lambda c: pd.DataFrame(c).convert_dtypes(),
    "pandas, categories": lambda c: pd.DataFrame(c).astype({"kind": "category"}),
    "pandas, objects": lambda c: pd.DataFrame(c, dtype=object),
    "polars": pl.DataFrame,
    "polars, categories": lambda c: pl.DataFrame(c).with_columns(
        pl.col("kind").cast(pl.Categorical)
    ),
    "polars, enum": lambda c: pl.DataFrame(c).with_columns(pl.col("kind").cast(pl.Enum("abcd"))),
    "arrow": pa.table,
    "arrow, dictionary": lambda c: pa.table(c | {"kind": pa.array(c["kind"]).dictionary_encode()}),
}
each_kind = pytest.mark.parametrize("make", KINDS.values(), ids=KINDS.keys())
INPUTS = TablePreprocessor.fit(COLUMNS).transform(COLUMNS, np.float64)


def scaled(value: float, center: float, spread: float) -> float:
    z = (value - center) / spread
    return z / math.sqrt(1 + (z / 3) ** 2)


# --- what columns become --------------------------------------------------------------------------


@each_kind
def test_every_kind_of_frame_becomes_the_same_inputs(make: Any) -> None:
    table = make(COLUMNS)
    made = TablePreprocessor.fit(table)
    assert np.array_equal(made.transform(table, np.float64), INPUTS)
    assert np.array_equal(TablePreprocessor.fit(COLUMNS).transform(table, np.float64), INPUTS)


def test_a_different_table_becomes_different_inputs() -> None:
    changed = COLUMNS | {"size": [1.5, 2.0, None, 9.0, -3.0, 2.5]}
    assert not np.array_equal(TablePreprocessor.fit(changed).transform(changed, np.float64), INPUTS)


def test_numbers_are_scaled_by_median_and_quartiles_and_clipped_smoothly() -> None:
    x = [0.0, 1.0, 2.0, 3.0, 1000.0]
    made = TablePreprocessor.fit({"x": x})
    expected = [scaled(value, 2, 2) for value in x]
    assert_close(made.transform({"x": x}, np.float64)[:, 0], expected, terms=8)
    assert made.transform({"x": [1e308]})[0, 0] == 3


def test_without_quartiles_apart_half_the_range_counts() -> None:
    made = TablePreprocessor.fit({"x": [0.0] * 9 + [10.0]})
    assert_close(made.transform({"x": [10.0]}, np.float64)[0], [scaled(10, 0, 5)], terms=8)


@pytest.mark.parametrize("value", [0.0, 7.5, -1e300])
def test_a_constant_stays_constant_whatever_comes(value: float) -> None:
    made = TablePreprocessor.fit({"x": [value] * 4, "y": [1.0, 2.0, 3.0, 4.0]})
    assert made.transform({"x": [123.0], "y": [2.5]})[0].tolist() == [0, 0]


@pytest.mark.parametrize("spread", [1e-310, 1e-200, 1e200, 1e307])
def test_the_smallest_and_the_largest_numbers_give_finite_inputs(spread: float) -> None:
    x = np.array([0.0, 1.0, 2.0, 3.0, 17.0]) * spread
    inputs = TablePreprocessor.fit({"x": x}).transform({"x": [*x, 1e308, -1e308]})
    assert np.isfinite(inputs).all()
    assert (np.diff(inputs[:5, 0]) >= 0).all()


@pytest.mark.parametrize("x", [1e308, -1e308])
@pytest.mark.parametrize("center", [-1e308, 1e308])
def test_a_number_beyond_all_differences_from_a_constant_is_no_nan(x: float, center: float) -> None:
    made = TablePreprocessor.fit({"x": [center] * 4, "more": [1, 2, 3, 4]})
    with np.errstate(over="ignore"):
        assert np.isinf(1e308 - made.center[0]) == (center < 0)
    assert made.factor[0] == 0
    inputs = made.transform({"x": [x, None], "more": [x, 0]}, np.float64)
    assert inputs[:, 0].tolist() == [0, 0]
    assert np.isfinite(inputs).all()


def test_a_missing_number_is_the_median_and_has_an_indicator() -> None:
    made = TablePreprocessor.fit({"x": [1.0, None, 3.0, 2.0]})
    assert made.feature_names == ("x", "x is missing")
    inputs = made.transform({"x": [None, 2.0]})
    assert inputs[0, 0] == inputs[1, 0] == 0
    assert inputs[0, 1] > inputs[1, 1]


def test_a_number_missing_only_at_prediction_is_the_median() -> None:
    made = TablePreprocessor.fit({"x": [1.0, 2.0, 3.0]})
    assert made.feature_names == ("x",)
    assert made.transform({"x": [math.nan, 2.0]}).tolist() == [[0], [0]]
    assert made.transform({"x": [None, None]}).tolist() == [[0], [0]]


def test_two_categories_are_one_input_and_more_are_one_each() -> None:
    made = TablePreprocessor.fit({"t": ["u", "v", "u", "v"], "k": ["a", "b", "c", "a"]})
    assert made.feature_names == ("t=u", "k=a", "k=b", "k=c")
    inputs = made.transform({"t": ["u", "v", "w", None], "k": ["c", "a", "z", None]}, np.float64)
    assert_close(inputs[:, 0], [scaled(1, 0, 2), scaled(-1, 0, 2), 0, 0], terms=8)
    # Of 4 rows, a has 2: median and quartiles of 1, 0, 0, 1 are 0.5, 0 and 1.
    high, low = scaled(1, 0.5, 1), scaled(0, 0.5, 1)
    assert_close(inputs[:, 1], [low, high, low, low], terms=8)


@pytest.mark.parametrize("count", [3, 4, 5, 8, 9, 21, 100])
def test_one_hot_inputs_are_scaled_as_the_columns_they_are(count: int) -> None:
    """Against the quantiles of the column of zeros and ones itself."""
    codes = np.random.default_rng(count).choice(3, size=count, p=[0.6, 0.3, 0.1])
    codes[:3] = [0, 1, 2]
    made = TablePreprocessor.fit({"k": np.array(["a", "b", "c"])[codes]})
    for k in range(3):
        column = (codes == k).astype(float)
        first, middle, third = np.quantile(column, [0.25, 0.5, 0.75])
        spread = third - first if third > first else (column.max() - column.min()) / 2
        assert_close(made.center[k], middle, terms=8, scale=1.0)
        assert_close(made.factor[k], 1 / spread, terms=8)


def test_unknown_and_missing_categories_are_zero_where_none_is_frequent() -> None:
    made = TablePreprocessor.fit({"k": list("abcdefgh")})
    assert not made.transform({"k": ["z", None, "a"]})[:2].any()


def test_blanks_around_a_text_do_not_count() -> None:
    made = TablePreprocessor.fit({"k": ["a", "b ", "c"]})
    assert np.array_equal(made.transform({"k": [" b"]}), made.transform({"k": ["b"]}))


def test_numbers_where_categories_were_are_their_texts() -> None:
    made = TablePreprocessor.fit({"k": ["1", "2", "30"]}, categorical=["k"])
    assert made.columns[0].kind == "categorical"
    assert np.array_equal(made.transform({"k": [30.0]}), made.transform({"k": ["30"]}))


def test_texts_that_are_numbers_are_taken_where_numbers_were() -> None:
    made = TablePreprocessor.fit({"x": [1.0, 2.0, 3.0]})
    texts = made.transform({"x": ["1.5", "NA", ""]})
    assert np.array_equal(texts, made.transform({"x": [1.5, None, None]}))


# --- other scalings -------------------------------------------------------------------------------


def test_standard_is_by_mean_and_deviation_of_every_input() -> None:
    made = TablePreprocessor.fit(COLUMNS, scaling="standard")
    inputs = made.transform(COLUMNS, np.float64)
    assert made.feature_names[:2] == ("size", "size is missing")
    assert inputs[2, 0] == inputs[3, 2] == 0, "a missing number is the mean"
    assert_close(inputs.mean(axis=0), np.zeros(made.inputs), scale=1.0, terms=16)
    known = [1.5, 2.0, 9.0, -3.0, 2.0]
    size = (np.array([2.5, 1e6]) - np.mean(known)) / np.std(known)
    asked = {name: [values[0]] * 2 for name, values in COLUMNS.items()} | {"size": [2.5, 1e6]}
    assert_close(made.transform(asked, np.float64)[:, 0], size, terms=16)
    without_gaps = [name.startswith(("kind=", "size is", "count is", "new")) for name in
                    made.feature_names]  # fmt: skip
    deviations = inputs.std(axis=0)[without_gaps]
    assert_close(deviations, np.ones(len(deviations)), terms=16)


def test_none_leaves_numbers_and_categories_as_they_are() -> None:
    table = {"x": [1.5, None, -3.0], "t": ["u", "v", "u"], "k": ["a", "b", "c"]}
    made = TablePreprocessor.fit(table, scaling="none")
    assert made.feature_names == ("x", "x is missing", "t=u", "k=a", "k=b", "k=c")
    assert made.transform(table).tolist() == [
        [1.5, 0, 1, 1, 0, 0],
        [0, 1, -1, 0, 1, 0],
        [-3, 0, 1, 0, 0, 1],
    ]
    unseen = made.transform({"x": [1e6, 0], "t": ["w", "u"], "k": [None, None]})
    assert unseen[0].tolist() == [1e6, 0, 0, 0, 0, 0]


@pytest.mark.parametrize("scaling", ["standard", "none"])
def test_a_number_that_float32_cannot_hold_is_refused(scaling: Any) -> None:
    made = TablePreprocessor.fit({"x": [1.0, 2.0, 3.0]}, scaling=scaling)
    with pytest.raises(fn.InputError, match="x after scaling holds inf at row 1, column 0"):
        made.transform({"x": [1.0, 1e300]})
    assert np.isfinite(made.transform({"x": [1e300]}, np.float64)).all()


# --- names and order ------------------------------------------------------------------------------


@each_kind
def test_columns_are_found_by_name_in_any_order_and_others_are_ignored(make: Any) -> None:
    table = make({"more": [1] * 6} | {name: COLUMNS[name] for name in reversed(COLUMNS)})
    made = TablePreprocessor.fit(COLUMNS)
    assert np.array_equal(made.transform(table, np.float64), INPUTS)


def test_an_array_is_matched_by_position() -> None:
    array = np.array(list(zip(*COLUMNS.values(), strict=True)), dtype=object)
    made = TablePreprocessor.fit(COLUMNS)
    assert np.array_equal(made.transform(array, np.float64), INPUTS)
    with pytest.raises(fn.DataError, match="expected 5 columns, got 4"):
        made.transform(array[:, :4])


def test_a_preprocessor_of_an_array_has_no_names() -> None:
    made = TablePreprocessor.fit(np.array([[1.0, np.nan], [2.0, 3.0], [4.0, 5.0]]))
    assert not made.named
    assert made.feature_names == ("x0", "x1", "x1 is missing")
    frame = pd.DataFrame({"b": [1.0], "a": [2.0]})
    assert np.array_equal(made.transform(frame), made.transform([[1.0, 2.0]]))


def test_a_frame_whose_names_are_numbers_is_read() -> None:
    frame = pd.DataFrame(np.eye(3))
    assert TablePreprocessor.fit(frame).feature_names == ("0", "1", "2")


def test_only_rows_that_train_are_learned_from() -> None:
    rows = np.array([0, 1, 2])
    table = {"x": [1.0, 2.0, 3.0, 1e9], "k": ["a", "b", "c", "d"]}
    y = [1.5, 2.0, 3.0, 1e9]
    made = TablePreprocessor.fit(table, y, rows=rows)
    alone = TablePreprocessor.fit(as_frame(table).take(rows), y[:3])
    (content, arrays), (expected, numbers) = made.description(), alone.description()
    assert content == expected
    assert all(np.array_equal(values, numbers[name]) for name, values in arrays.items())


# --- bad input ------------------------------------------------------------------------------------

GOOD = TablePreprocessor.fit({"size": [1.0, 2.0, 3.0], "kind": ["a", "b", "c"]})
REFUSED: dict[str, tuple[Any, str]] = {
    "missing column": (
        lambda: GOOD.transform({"Size": [1.0], "kind": ["a"]}),
        "has no column 'size'; did you mean 'Size'",
    ),
    "text for number": (
        lambda: GOOD.transform({"size": ["1", "two"], "kind": ["a", "b"]}),
        "column 'size' must hold numbers, got 'two' in row 2",
    ),
    "infinity": (
        lambda: GOOD.transform({"size": [1.0, math.inf], "kind": ["a", "b"]}),
        "column 'size' must hold finite numbers, got inf in row 2",
    ),
    "infinity in training": (
        lambda: TablePreprocessor.fit({"x": [1.0, -math.inf]}),
        "column 'x' must hold finite numbers, got -inf in row 2",
    ),
    "dates where numbers were": (
        lambda: GOOD.transform({"size": np.array(["2020-01-01"], "M8[D]"), "kind": ["a"]}),
        "column 'size' must hold numbers, got dates",
    ),
    "a date as a target": (
        lambda: TablePreprocessor.fit({"x": [1.0, 2.0], "t": np.array([1, 2], "M8[D]")}, "t"),
        "column 't' must hold numbers, got dates",
    ),
    "times of day": (
        lambda: TablePreprocessor.fit(pl.DataFrame({"at": [time(7), time(8)]})),
        "column 'at' holds Time",
    ),
    "lists": (
        lambda: TablePreprocessor.fit(pl.DataFrame({"l": [[1], [2]]})),
        "column 'l' holds List",
    ),
    "objects": (
        lambda: TablePreprocessor.fit({"o": np.array([{}, {}], dtype=object)}),
        "column 'o' holds dict",
    ),
    "too many categories": (
        lambda: TablePreprocessor.fit({"id": [f"row {i}" for i in range(1001)]}),
        "column 'id' has 1,001 different texts",
    ),
    "only empty columns": (
        lambda: TablePreprocessor.fit({"a": [None], "b": [math.nan]}),
        "no column with a value beside the target",
    ),
    "no rows": (lambda: TablePreprocessor.fit({"a": np.zeros(0)}), "has no rows"),
    "lengths": (lambda: TablePreprocessor.fit({"a": [1], "b": [1, 2]}), "'b' has 2 rows, not 1"),
    "two of one name": (
        lambda: TablePreprocessor.fit(pd.DataFrame([[1, 2]], columns=["a", "a"])),
        "two columns named 'a'",
    ),
    "lazy": (lambda: TablePreprocessor.fit(pl.LazyFrame({"a": [1]})), "lazy"),
    "no such target": (
        lambda: TablePreprocessor.fit({"price": [1.0], "x": [1.0]}, "prize"),
        "no column 'prize'; did you mean 'price'",
    ),
    "one class": (
        lambda: TablePreprocessor.fit({"x": [1.0, 2.0], "t": ["a", "a"]}, "t"),
        "the target 't' has one class only, 'a'",
    ),
    "missing label": (
        lambda: TablePreprocessor.fit({"x": [1.0, 2.0], "t": ["a", None]}, "t"),
        "the target 't' is missing in row 2",
    ),
    "missing target": (
        lambda: TablePreprocessor.fit({"x": [1.0, 2.0], "t": [1.5, None]}, "t"),
        "the target 't' is missing in row 2",
    ),
    "infinite target": (
        lambda: TablePreprocessor.fit({"x": [1.0, 2.0], "t": [1.5, math.inf]}, "t"),
        "row 2, column 't': inf is not a finite number",
    ),
    "nothing but a target": (
        lambda: TablePreprocessor.fit({"t": [1.5, 2.0]}, "t"),
        "no column with a value beside the target",
    ),
    "name twice at prediction": (
        lambda: GOOD.transform(pd.DataFrame([[1, 2]], columns=["size", "size"])),
        "two columns named 'size'",
    ),
    "one axis": (lambda: TablePreprocessor.fit([1.0, 2.0]), "must have two axes"),
    "one axis at prediction": (lambda: GOOD.transform([1.0, 2.0]), "must have two axes"),
    "two axes in a column": (lambda: TablePreprocessor.fit({"a": [[1], [2]]}), "column 'a'"),
    "a ragged column": (lambda: TablePreprocessor.fit({"a": [[1], [1, 2]]}), "column 'a'"),
    "scaling": (
        lambda: TablePreprocessor.fit({"x": [1.0]}, scaling="standrad"),  # type: ignore[arg-type]
        "unknown scaling 'standrad'; did you mean 'standard'",
    ),
    "scaling of version 0.1": (
        lambda: TablePreprocessor.fit({"x": [1.0]}, scaling="float32"),  # type: ignore[arg-type]
        "unknown scaling 'float32'",
    ),
    "embedding": (
        lambda: TablePreprocessor.fit({"x": [1.0]}, numeric_embedding="periodical"),  # type: ignore[arg-type]
        "unknown numeric embedding 'periodical'; did you mean 'periodic'",
    ),
}


@pytest.mark.parametrize(("make", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_bad_input_is_one_sentence_that_names_the_column(make: Any, message: str) -> None:
    # fmt: off
    ignored = "only empty columns"
    with pytest.warns(fn.FastNetWarning) if make is REFUSED[ignored][0] else nullcontext(), \
            pytest.raises((fn.DataError, fn.InputError), match=message) as error:
        make()
    # fmt: on
    assert str(error.value).endswith(".")
    assert "\n" not in str(error.value)


def test_a_message_lists_at_most_twenty_columns() -> None:
    with pytest.raises(fn.DataError, match="and 780 more") as caught:
        GOOD.transform({f"p{i}": [0] for i in range(800)})
    assert len(str(caught.value)) < 400


def test_no_rows_become_no_inputs() -> None:
    assert GOOD.transform({"size": np.zeros(0), "kind": np.array([], object)}).shape == (0, 4)


def test_a_column_without_values_is_ignored_with_a_warning() -> None:
    with pytest.warns(fn.FastNetWarning, match="column 'empty' has no value: it is ignored"):
        made = TablePreprocessor.fit({"empty": [None, None], "x": [1.0, 2.0]})
    assert made.feature_names == ("x",)
    assert made.transform({"x": [1.0], "empty": ["what"]}).shape == (1, 1)
    assert made.transform({"x": [1.0]}).shape == (1, 1)


def test_without_narwhals_the_message_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "narwhals", None)
    with pytest.raises(fn.InputError, match=r"narwhals: pip install 'fastnet-mlp\[data\]'"):
        TablePreprocessor.fit(pd.DataFrame({"a": [1.0, 2.0]}))
    assert TablePreprocessor.fit({"a": [1.0, 2.0]}).inputs == 1


# --- text files -----------------------------------------------------------------------------------


def test_cells_of_text_files_are_numbers_where_all_that_are_there_are() -> None:
    numbers = of_cells(Texts.of(["1", "", "NA", "2.5", "nan"]))
    assert isinstance(numbers, np.ndarray)
    assert np.array_equal(numbers, [1, np.nan, np.nan, 2.5, np.nan], equal_nan=True)
    words = known_texts(of_cells(Texts.of(["a", "", "none", "?", "a"])))  # type: ignore[arg-type]
    assert isinstance(words, Texts)
    assert words.codes.tolist() == [0, -1, 1, -1, 0]
    assert words.values == ("a", "none")


def test_words_of_text_files_are_texts_though_all_be_numbers() -> None:
    words = known_texts(Texts.of(["1", "", "NA", "01", "-", "1"], "cells"))
    assert words.codes.tolist() == [0, -1, -1, 1, 2, 0]
    assert words.values == ("1", "01", "-")


def test_a_frame_knows_whether_it_is_as_good_as_an_array() -> None:
    assert as_frame({"a": [1, 2]}).plain
    assert not as_frame({"a": [1, None]}).plain
    assert not as_frame({"a": ["x", "y"]}).plain
    assert isinstance(as_frame({"a": [1, 2]})[np.array([True, False])], Frame)
    assert TableColumn("a", "numeric").levels == 1


def test_a_sparse_matrix_is_no_table() -> None:
    sparse = pytest.importorskip("scipy.sparse")
    for kind in (sparse.csr_matrix, sparse.dok_matrix):  # the latter is a mapping
        with pytest.raises(fn.InputError, match="sparse matrix"):
            TablePreprocessor.fit(kind(np.eye(3)))


def test_a_missing_number_may_be_any_nan() -> None:
    """A signalling NaN is one, too: only its bits are copied, so that it stays what it is."""
    bits = np.array([0x7FF0000000000001], np.uint64)
    column = np.concatenate([np.arange(9.0), bits.view(np.float64)])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made = TablePreprocessor.fit({"a": column})
        assert made.transform({"a": column})[9, 0] == 0
