"""From tables of every kind to inputs: what columns become, and what is refused."""

from __future__ import annotations

import math
import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import fastnet as fn
from fastnet.data.frame import of_cells, words_of
from fastnet.data.text import Texts
from fastnet.preprocessing import columns, serialize
from fastnet.tables import Frame, TableColumn, TablePreprocessor, TableTarget, as_frame
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
    assert not made.transform({"k": ["z", None]}).any()


def test_blanks_around_a_text_do_not_count() -> None:
    made = TablePreprocessor.fit({"k": ["a", "b ", "c"]})
    assert np.array_equal(made.transform({"k": [" b"]}), made.transform({"k": ["b"]}))


def test_numbers_where_categories_were_are_their_texts() -> None:
    made = TablePreprocessor.fit({"k": ["1", "2", "30"]})
    assert made.columns[0].kind == "categorical"
    assert np.array_equal(made.transform({"k": [30.0]}), made.transform({"k": ["30"]}))


def test_texts_that_are_numbers_are_taken_where_numbers_were() -> None:
    made = TablePreprocessor.fit({"x": [1.0, 2.0, 3.0]})
    texts = made.transform({"x": ["1.5", "NA", ""]})
    assert np.array_equal(texts, made.transform({"x": [1.5, None, None]}))


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
    assert serialize.to_json(made) == serialize.to_json(alone)
    assert all(
        np.array_equal(a, serialize.arrays(alone)[k]) for k, a in serialize.arrays(made).items()
    )


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
    "dates": (
        lambda: TablePreprocessor.fit(pl.DataFrame({"day": pd.date_range("2020", periods=3)})),
        "column 'day' holds Datetime",
    ),
    "dates in NumPy": (
        lambda: TablePreprocessor.fit({"day": np.array(["2020-01-01"], "M8[D]")}),
        "column 'day' holds datetime64",
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
    "one axis": (lambda: TablePreprocessor.fit([1.0, 2.0]), "must have two axes"),
    "embedding": (
        lambda: TablePreprocessor.fit({"x": [1.0]}, numeric_embedding="periodical"),  # type: ignore[arg-type]
        "unknown numeric embedding 'periodical'; did you mean 'periodic'",
    ),
}


@pytest.mark.parametrize(("make", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_bad_input_is_one_sentence_that_names_the_column(make: Any, message: str) -> None:
    # fmt: off
    with pytest.warns(fn.FastNetWarning) if "beside" in message else _nothing(), \
            pytest.raises((fn.DataError, fn.InputError), match=message) as error:
        make()
    # fmt: on
    assert str(error.value).endswith(".")
    assert "\n" not in str(error.value)


def _nothing() -> Any:
    from contextlib import nullcontext

    return nullcontext()


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


# --- embeddings -----------------------------------------------------------------------------------


def test_a_piecewise_embedding_is_the_share_of_each_bin_below_the_number() -> None:
    x = np.arange(17.0)  # one number at the end of every bin
    made = TablePreprocessor.fit({"x": x}, numeric_embedding="piecewise")
    inputs = made.transform({"x": [0.0, 16.0, 5.0, -9.0, 99.0, math.nan]}, np.float64)
    assert inputs.shape == (6, 17)
    shares = inputs[:, 1:]
    assert shares[0].tolist() == [0] * 16
    assert shares[1].tolist() == [1] * 16
    assert shares[2].tolist() == [1] * 5 + [0] * 11
    assert shares[3].tolist() == [0] * 16
    assert shares[4].tolist() == [1] * 16
    assert shares[5].tolist() == [0] * 16


def test_a_number_that_many_rows_have_is_a_step_of_the_embedding() -> None:
    x = np.array([0.0] * 50 + [1.0] * 50)
    made = TablePreprocessor.fit({"x": x}, numeric_embedding="piecewise")
    below, above = made.transform({"x": [0.0, 1.0]})[:, 1:]
    assert not below.any()
    assert above.any()


def test_a_bin_of_the_least_width_is_a_step_and_no_warning() -> None:
    pre = TablePreprocessor.fit({"x": [0.0, 1.0, 2.0]}, numeric_embedding="piecewise")
    knots = np.array([[-1.0, 0.0, 5e-324, 1.0]])
    x = pre.center[0] + np.array([-1.0, 1.0])
    inputs = replace(pre, knots=knots).transform({"x": x})
    assert inputs[:, 2].tolist() == [0.0, 1.0]


def test_a_periodic_embedding_is_sines_and_cosines_of_drawn_frequencies() -> None:
    table = {"x": [0.0, 1.0, 2.0, 3.0, 4.0], "y": [1.0, 2.0, 3.0, 5.0, None]}
    made = TablePreprocessor.fit(table, numeric_embedding="periodic", seed=3)
    again = TablePreprocessor.fit(table, numeric_embedding="periodic", seed=3)
    other = TablePreprocessor.fit(table, numeric_embedding="periodic", seed=4)
    assert made.knots is not None and again.knots is not None and other.knots is not None
    assert np.array_equal(made.knots, again.knots)
    assert not np.isin(made.knots, other.knots).any()
    assert not np.isin(made.knots[0], made.knots[1]).any()
    inputs = made.transform(table, np.float64)
    angles = 2 * np.pi * inputs[:, :1] * made.knots[0]
    assert_close(inputs[:, 1:9], np.sin(angles), terms=8, scale=1.0)
    assert_close(inputs[:, 9:17], np.cos(angles), terms=8, scale=1.0)
    assert not inputs[4, 18:34].any()


@pytest.mark.parametrize("embedding", [None, "periodic", "piecewise"])
@pytest.mark.parametrize("size", [None, 2, 8])
def test_the_first_layer_has_a_block_for_every_column(embedding: Any, size: int | None) -> None:
    made = TablePreprocessor.fit(COLUMNS, numeric_embedding=embedding)
    layer = made.first_layer(size, scale_rate=6.0)
    assert layer.blocks is not None
    net = fn.Network([layer, fn.Dense(1)], inputs=made.inputs, backend="numpy")
    w = np.asarray(net.weights[0])
    names = made.feature_names
    for j in range(w.shape[1]):
        columns = {names[i].split(" ")[0].split("=")[0] for i in np.flatnonzero(w[:, j])}
        assert len(columns) == 1, "an output looks at two columns"
    assert (w != 0).any(axis=1).all(), "an input goes nowhere"
    outputs = [block.outputs for block in layer.blocks if block.inputs == 3]
    assert outputs == ([] if size is None else [min(size, 3)])


@given(
    numbers=st.lists(st.integers(-(10**6), 10**6), min_size=2, max_size=6, unique=True),
    spread=st.sampled_from([1e-3, 1.0, 1e3]),
    ulps=st.sampled_from([-2, -1, 1, 2]),
)
def test_a_step_is_at_the_same_number_where_roots_are_rounded_otherwise(
    numbers: list[int], spread: float, ulps: int
) -> None:
    """A model that learned on one machine answers on another whose hypot has other last bits."""
    x = np.array(sorted(numbers) * 20) * spread
    here = TablePreprocessor.fit({"x": x}, numeric_embedding="piecewise")
    stored = serialize.to_json(here), serialize.arrays(here)
    assert here.knots is not None
    flat = np.diff(here.knots[0]) == 0
    assert flat.any()
    expected = here.transform({"x": x}, np.float64)[:, 1:]
    hypot = np.hypot
    # Each bin's own number: the largest that is scaled to its lower end.
    z = columns.scaled(x, here.center[0], here.factor[0])
    own = np.array([x[z <= low].max() for low in here.knots[0][:-1]])
    assert np.array_equal(expected[:, flat], (x[:, None] > own)[:, flat])

    def another(a: Any, b: Any) -> Any:
        root = hypot(a, b)
        return root + ulps * np.spacing(root)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(np, "hypot", another)
        there = serialize.restore(*stored)
        assert np.array_equal(there.transform({"x": x}, np.float64)[:, 1:][:, flat],
                              expected[:, flat])  # fmt: skip


def test_a_step_of_scaled_numbers_would_flip_where_roots_are_rounded_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    x = np.array([1.0, 2.0, 4.0] * 20)
    made = TablePreprocessor.fit({"x": x}, numeric_embedding="piecewise")
    assert made.knots is not None
    flat = np.diff(made.knots[0]) == 0
    before = made.transform({"x": x}, np.float64)[:, 1:][:, flat]
    hypot = np.hypot
    monkeypatch.setattr(np, "hypot", lambda a, b: np.nextafter(hypot(a, b), 0))
    z = columns.scaled(x, made.center[0], made.factor[0])
    assert not np.array_equal((z[:, None] > made.knots[0][:-1])[:, flat], before)
    assert np.array_equal(made.transform({"x": x}, np.float64)[:, 1:][:, flat], before)


# --- targets --------------------------------------------------------------------------------------


def test_numbers_are_scaled_and_come_back() -> None:
    y = np.array([[1.0, 10.0], [2.0, 30.0], [6.0, 50.0]])
    target = TableTarget.learn(y)
    z = target.encode(y)
    assert_close(z.mean(axis=0), [0, 0], scale=1.0, terms=8)
    assert_close(z.std(axis=0), [1, 1], terms=8)
    assert_close(target.decode(z), y, terms=8)
    assert_close(target.decode(np.hstack([z, z])), np.hstack([y, y]), terms=8)
    outputs = np.hstack([z, np.log(np.full_like(z, 0.25))])
    means, log_variances = np.hsplit(target.decode(outputs, fn.losses.GaussianNLL()), 2)
    assert_close(means, y, terms=8)
    assert_close(np.exp(log_variances / 2), np.tile(target.scale / 2, (len(y), 1)), terms=64)


@pytest.mark.parametrize("value", [0.0, 0.1, 1e300, -1e-300])
def test_a_constant_target_is_no_division_by_zero(value: float) -> None:
    target = TableTarget.learn([value] * 7, task="regression")
    assert np.isfinite(target.encode([value, value + 1])).all()
    assert target.decode(np.zeros((2, 1))).tolist() == [[target.center[0]]] * 2


@pytest.mark.parametrize(
    "labels", [["no", "yes", "no"], [0, 1, 0], [True, False, True], [3.0, 7.0, 3.0]]
)
def test_labels_become_class_numbers_of_every_kind_of_series(labels: list[Any]) -> None:
    for y in (labels, np.array(labels), pd.Series(labels), pl.Series(labels), pa.array(labels)):
        target = TableTarget.learn(y)
        codes = target.encode(y)
        assert codes.dtype == np.int64
        assert codes[0] == codes[2] != codes[1]


def test_a_target_that_cannot_be_scaled_is_named() -> None:
    target = TableTarget.learn([1e-3, 2e-3, 3e-3], ("size",))
    assert np.isfinite(target.encode([1e300])).all()
    with pytest.raises(fn.DataError, match="'size' is too far from its mean in row 2"):
        target.encode([1.0, 1e307])


def test_an_unknown_label_is_named() -> None:
    target = TableTarget.learn(["a", "b"], ("kind",))
    with pytest.raises(fn.DataError, match=r"row 2.*kind.*'c' is none of the known"):
        target.encode(["a", "c"])


# --- text files -----------------------------------------------------------------------------------


def test_cells_of_text_files_are_numbers_where_all_that_are_there_are() -> None:
    numbers = of_cells(Texts.of(["1", "", "NA", "2.5", "nan"]))
    assert isinstance(numbers, np.ndarray)
    assert np.array_equal(numbers, [1, np.nan, np.nan, 2.5, np.nan], equal_nan=True)
    words = of_cells(Texts.of(["a", "", "none", "?", "a"]))
    assert isinstance(words, Texts)
    assert words.codes.tolist() == [0, -1, 1, -1, 0]
    assert words.values == ("a", "none")


def test_words_of_text_files_are_texts_though_all_be_numbers() -> None:
    words = words_of(Texts.of(["1", "", "NA", "01", "-", "1"]))
    assert words.codes.tolist() == [0, -1, -1, 1, 2, 0]
    assert words.values == ("1", "01", "-")


# --- storing --------------------------------------------------------------------------------------

EXAMPLES = {
    "plain": TablePreprocessor.fit(COLUMNS),
    "classes": TablePreprocessor.fit(COLUMNS, ["x", "y"] * 3),
    "numbers": TablePreprocessor.fit(COLUMNS, [1.5, 2, 3, 4, 5, 6]),
    "column": TablePreprocessor.fit(COLUMNS, "new"),
    "periodic": TablePreprocessor.fit(COLUMNS, numeric_embedding="periodic"),
    "piecewise": TablePreprocessor.fit(COLUMNS, numeric_embedding="piecewise"),
    "unnamed": TablePreprocessor.fit(np.eye(3)),
}


@pytest.mark.parametrize("made", EXAMPLES.values(), ids=EXAMPLES.keys())
def test_a_preprocessor_comes_back_from_json_and_arrays(made: TablePreprocessor) -> None:
    import json

    data, arrays = json.loads(json.dumps(serialize.to_json(made))), serialize.arrays(made)
    back = serialize.restore(data, arrays)
    assert serialize.to_json(back) == serialize.to_json(made)
    table: Any = COLUMNS if made.named else np.eye(3)
    assert np.array_equal(back.transform(table), made.transform(table))


def forged(change: Any, example: str = "classes") -> tuple[Any, dict[str, NDArray[Any]]]:
    import copy

    made = EXAMPLES[example]
    data = copy.deepcopy(serialize.to_json(made))
    arrays = {name: values.copy() for name, values in serialize.arrays(made).items()}
    change(data, arrays)
    return data, arrays


FORGED: dict[str, tuple[Any, str]] = {
    "unknown key": (lambda d, a: d.update(more=1), "exactly"),
    "missing key": (lambda d, a: d.pop("named"), "exactly"),
    "columns no list": (lambda d, a: d.update(columns=3), "a list of columns"),
    "no columns": (lambda d, a: d.update(columns=[]), "a list of columns"),
    "column no dict": (lambda d, a: d["columns"].__setitem__(0, 3), "a column"),
    "column's key": (lambda d, a: d["columns"][0].update(dtype="O"), "a column"),
    "column's kind": (lambda d, a: d["columns"][0].update(kind="text"), "unknown kind 'text'"),
    "column's name": (lambda d, a: d["columns"][0].update(name=3), "as texts"),
    "two of a name": (lambda d, a: d["columns"][0].update(name="kind"), "two columns named"),
    "indicator": (lambda d, a: d["columns"][0].update(indicator=1), "true or false"),
    "indicator of texts": (lambda d, a: d["columns"][2].update(indicator=True), "is for numbers"),
    "categories": (lambda d, a: d["columns"][2].update(categories=[1]), "a list of texts"),
    "same category": (lambda d, a: d["columns"][2].update(categories=["a"] * 3), "twice"),
    "categories of a number": (lambda d, a: d["columns"][0].update(categories=["a"]), "exactly"),
    "more categories": (lambda d, a: d["columns"][2]["categories"].append("z"), "the scales of"),
    "named": (lambda d, a: d.update(named=1), "true or false"),
    "embedding": (lambda d, a: d.update(embedding="os.system"), "unknown numeric embedding"),
    "embedding no text": (lambda d, a: d.update(embedding=[]), "the name of an embedding"),
    "embedding without knots": (lambda d, a: d.update(embedding="periodic"), "knots"),
    "labels": (lambda d, a: d["target"].update(labels=["x", "x"]), "all different"),
    "labels and scale": (lambda d, a: d["target"].update(labels=None), "a scale of exactly"),
    "target's name": (lambda d, a: d["target"].update(names=["kind"]), "an input and a target"),
    "array missing": (lambda d, a: a.pop("factor"), "expected center, factor"),
    "array too many": (lambda d, a: a.update(more=np.zeros(1)), "expected center, factor"),
    "array's dtype": (lambda d, a: a.update(center=a["center"].astype("f4")), "in float64"),
    "array's shape": (lambda d, a: a.update(center=a["center"][:-1]), "the scales of"),
    "array's axes": (lambda d, a: a.update(knots=np.zeros(3)), "the knots of"),
    "nan": (lambda d, a: a["center"].fill(np.nan), "finite"),
    "negative": (lambda d, a: a["factor"].fill(-1), "at least 0"),
}  # fmt: skip


@pytest.mark.parametrize(("change", "message"), FORGED.values(), ids=FORGED.keys())
def test_what_is_not_a_preprocessor_is_refused(change: Any, message: str) -> None:
    with pytest.raises(fn.FastNetError, match=message):
        serialize.restore(*forged(change))


def test_bins_must_rise() -> None:
    def turn(data: Any, arrays: Any) -> None:
        arrays["knots"] = arrays["knots"][:, ::-1].copy()

    with pytest.raises(fn.DataError, match="rising order"):
        serialize.restore(*forged(turn, "piecewise"))


def test_what_was_not_changed_is_not_refused() -> None:
    serialize.restore(*forged(lambda d, a: None))


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
