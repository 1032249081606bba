"""TableSchema: encoding by name and by position, and its JSON form."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastnet.data import Column, TableSchema
from fastnet.errors import DataError

SCHEMA = TableSchema(
    (Column("age"), Column("color", "categorical", ("blue", "red")), Column("size")),
    ("kind",),
    ("cat", "dog"),
)


def test_text_columns_become_one_hot_inputs_called_name_equals_category():
    assert SCHEMA.feature_names == ("age", "color=blue", "color=red", "size")


def test_columns_are_matched_by_name_and_further_ones_are_ignored():
    x = SCHEMA.encode(
        {"size": [7, 8], "note": [None, "?"], "color": ["red", "blue"], "age": [1.5, 2]}
    )
    assert x.dtype == np.float32
    assert x.tolist() == [[1.5, 0, 1, 7], [2, 1, 0, 8]]


def test_a_category_not_seen_in_training_becomes_zeros():
    x = SCHEMA.encode({"age": [1], "color": ["green"], "size": [2]})
    assert x.tolist() == [[1, 0, 0, 2]]


def test_texts_are_compared_without_surrounding_blanks():
    x = SCHEMA.encode({"age": [1], "color": [" red "], "size": [2]})
    assert x.tolist() == [[1, 0, 1, 2]]


def test_a_missing_column_is_named_with_the_near_one():
    with pytest.raises(DataError, match="no column 'color'; did you mean 'Color'") as caught:
        SCHEMA.encode({"age": [1], "Color": ["red"], "size": [2]})
    assert "Columns: age, Color, size" in str(caught.value)


def test_a_message_lists_at_most_twenty_columns():
    with pytest.raises(DataError, match="and 780 more") as caught:
        SCHEMA.encode({f"p{i}": [0] for i in range(800)})
    assert len(str(caught.value)) < 400


def test_rows_as_an_array_are_matched_by_position():
    x = SCHEMA.encode(np.array([[1, "red", 2], [3, "blue", 4]], dtype=object))
    assert x.tolist() == [[1, 0, 1, 2], [3, 1, 0, 4]]


def test_for_data_without_names_only_the_number_of_columns_is_checked():
    schema = TableSchema.of_matrix(3)
    assert schema.feature_names == ("x0", "x1", "x2")
    assert schema.encode([[1, 2, 3]]).tolist() == [[1, 2, 3]]
    assert schema.encode({"a": [1], "b": [2], "c": [3]}).tolist() == [[1, 2, 3]]
    assert TableSchema.of_matrix(1, "y").encode({"y": [1], "x0": [2]}).tolist() == [[2]]
    with pytest.raises(DataError, match="expected 3 columns, got 2"):
        schema.encode([[1, 2]])
    with pytest.raises(DataError, match=r"rows of shape \(N, I\), got \(3,\)"):
        schema.encode([1, 2, 3])


def test_no_rows_encode_to_no_rows():
    assert TableSchema.of_matrix(3).encode(np.empty((0, 3))).shape == (0, 3)


def test_a_categorical_column_takes_numbers_for_their_texts():
    schema = TableSchema((Column("n"), Column("floor", "categorical", ("1", "2", "attic"))))
    assert schema.encode({"n": [0, 0], "floor": [2, 1.0]}).tolist() == [[0, 0, 1, 0], [0, 1, 0, 0]]
    assert schema.encode(np.array([[9, 2]])).tolist() == [[9, 0, 1, 0]]


@pytest.mark.parametrize(
    ("ages", "message"),
    [
        ([1, "x"], "row 2, column 'age': 'x' is not a number"),
        ([1, None], "row 2, column 'age': the value is missing"),
        ([1, np.nan], "row 2, column 'age': nan is not a finite number"),
        ([np.inf, 1], "row 1, column 'age': inf is not a finite number"),
        ([1, 1e300], r"row 2, column 'age': 1e\+300 is too large for float32"),
        ([1], "column 'color' has 2 rows, not 1"),
        ([[1], [2]], r"column 'age' of shape \(N,\), got \(2, 1\)"),
        (np.array(["2020-01-01", "2020-01-02"], dtype="M8[D]"), "datetime64"),
        ([[1], [1, 2]], "Expected an array"),
    ],
)
def test_a_wrong_value_is_named_with_its_row_and_column(ages, message):
    with pytest.raises(DataError, match=message):
        SCHEMA.encode({"age": ages, "color": ["red", "red"], "size": [1, 2]})


def test_labels_become_class_indices():
    assert SCHEMA.task == "classification"
    y = SCHEMA.encode_target(["dog", "cat", " dog"])
    assert y.dtype == np.int64
    assert y.tolist() == [1, 0, 1]


def test_an_unknown_label_is_named_with_its_row():
    with pytest.raises(DataError, match=r"row 2, column 'kind': the label 'cow'.*'cat', 'dog'"):
        SCHEMA.encode_target(["dog", "cow", "sow"])


def test_numeric_labels_match_however_they_are_written():
    schema = TableSchema((Column("a"),), ("y",), ("-1", "2", "10"))
    for values in (
        [2, 10, -1],
        [2.0, 10.0, -1.0],
        ["2", "10.0", "-1"],
        np.array([2, 10, -1], "i1"),
    ):
        assert schema.encode_target(values).tolist() == [1, 2, 0]
    with pytest.raises(DataError, match="the label '3'"):
        schema.encode_target([3])
    with pytest.raises(DataError, match="nan is not a finite number"):
        schema.encode_target([2, np.nan])


def test_values_for_regression_are_float32_of_their_own_shape():
    one = TableSchema((Column("a"),), ("y",))
    two = TableSchema((Column("a"),), ("y", "z"))
    assert one.task == "regression"
    assert one.encode_target([1, 2]).dtype == np.float32
    assert one.encode_target([1, 2]).shape == (2,)
    assert two.encode_target([[1, 2]]).shape == (1, 2)
    for schema, wrong in ((one, [[1, 2]]), (two, [1, 2]), (two, [[1, 2, 3]])):
        with pytest.raises(DataError, match="Expected targets of shape"):
            schema.encode_target(wrong)
    with pytest.raises(DataError, match="row 2, column 'z': nan"):
        two.encode_target([[1, 2], [3, np.nan]])


# --- JSON ------------------------------------------------------------------------------------

names = st.text(min_size=1, max_size=8)
columns = st.builds(
    lambda name, categories: Column(name, "categorical" if categories else "numeric", categories),
    names,
    st.lists(names, max_size=4, unique=True).map(tuple),
)


@st.composite
def schemas(draw):
    cols = draw(st.lists(columns, min_size=1, max_size=6, unique_by=lambda column: column.name))
    used = {column.name for column in cols}
    targets = draw(
        st.lists(names.filter(lambda name: name not in used), max_size=2, unique=True).map(tuple)
    )
    labels = None
    if len(targets) == 1:
        labels = draw(st.none() | st.lists(names, min_size=1, max_size=4, unique=True).map(tuple))
    return TableSchema(tuple(cols), targets, labels, draw(st.booleans()))


@given(schemas())
def test_json_gives_the_same_schema_back(schema):
    assert TableSchema.from_json(json.loads(json.dumps(schema.to_json()))) == schema


def test_columns_without_names_are_written_as_their_number():
    schema = TableSchema.of_matrix(784, "label", ("0", "1"))
    written = schema.to_json()
    assert written == {"columns": 784, "targets": ["label"], "labels": ["0", "1"], "named": False}
    assert TableSchema.from_json(written) == schema


def hostile(**changes):
    good = TableSchema((Column("a"),), ("y",), ("0", "1")).to_json()
    return good | changes


def test_the_schema_that_the_hostile_ones_are_made_of_is_good():
    assert TableSchema.from_json(hostile()).task == "classification"


@pytest.mark.parametrize(
    "data",
    [
        None,
        [],
        "schema",
        {},
        hostile(extra=1),
        {k: v for k, v in hostile().items() if k != "named"},
        hostile(named=1),
        hostile(named=None),
        hostile(columns=[]),
        hostile(columns=None),
        hostile(columns=3),
        hostile(columns=True, named=False),
        hostile(columns=0, named=False),
        hostile(columns=-1, named=False),
        hostile(columns=10**12, named=False),
        hostile(columns=1e3, named=False),
        hostile(columns=[{}] * 100_001),
        hostile(columns={"a": 1}),
        hostile(columns=[[]]),
        hostile(columns=[{"name": "a"}]),
        hostile(columns=[{"name": 1, "kind": "numeric"}]),
        hostile(columns=[{"name": "", "kind": "numeric"}]),
        hostile(columns=[{"name": "a", "kind": "object"}]),
        hostile(columns=[{"name": "a", "kind": ["numeric"]}]),
        hostile(columns=[{"name": "a", "kind": "numeric", "categories": ["b"]}]),
        hostile(columns=[{"name": "a", "kind": "categorical"}]),
        hostile(columns=[{"name": "a", "kind": "categorical", "categories": []}]),
        hostile(columns=[{"name": "a", "kind": "categorical", "categories": ["b", "b"]}]),
        hostile(columns=[{"name": "a", "kind": "categorical", "categories": "bc"}]),
        hostile(columns=[{"name": "a", "kind": "categorical", "categories": [1]}]),
        hostile(columns=[{"name": "a", "kind": "numeric"}] * 2),
        hostile(targets=None),
        hostile(targets="y"),
        hostile(targets=["a"]),
        hostile(targets=["y", "y"]),
        hostile(targets=["y", "z"]),
        hostile(targets=[]),
        hostile(labels=[]),
        hostile(labels=["0", "0"]),
        hostile(labels=[0, 1]),
        hostile(labels={"0": 1}),
    ],
)
def test_a_hostile_schema_is_refused_in_one_line(data):
    with pytest.raises(DataError) as caught:
        TableSchema.from_json(data)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


def test_too_many_inputs_after_one_hot_encoding_are_refused():
    many = tuple(str(i) for i in range(60_000))
    with pytest.raises(DataError, match="120,000 inputs"):
        TableSchema((Column("a", "categorical", many), Column("b", "categorical", many)))
