"""What is taken for a class and what for a value, and how classes are named and ordered."""

import numpy as np
import pytest

from fastnet.data import load
from fastnet.errors import DataError, InputError


@pytest.fixture
def learn(tmp_path):
    def learn(cells, **options):
        path = tmp_path / "table.csv"
        rows = "".join(f"{i},{cell}\n" for i, cell in enumerate(cells))
        path.write_text(f"a,y\n{rows}", encoding="utf-8")
        return load(path, target="y", **options)

    return learn


def test_few_integers_are_classes_in_numeric_order(learn):
    data = learn([10, -1, 2, 10])
    assert data.task == "classification"
    assert data.label_names == ("-1", "2", "10")
    assert data.y.tolist() == [2, 0, 1, 2]
    assert data.y.dtype == np.int64
    assert (data.classes, data.outputs) == (3, 3)


def test_integers_may_be_written_with_a_point(learn):
    assert learn(["1.0", "0.0", "1"]).label_names == ("0", "1")


def test_numbers_that_are_no_integers_are_values(learn):
    data = learn([0, 1, 0.5])
    assert data.task == "regression"
    assert data.label_names is None
    assert data.classes is None
    assert data.y.dtype == np.float32
    assert data.outputs == 1


@pytest.mark.parametrize(
    ("rows", "values", "task"),
    [
        (100, 20, "classification"),
        (100, 21, "regression"),
        (900, 30, "classification"),
        (900, 31, "regression"),
    ],
)
def test_integers_are_classes_up_to_20_or_the_root_of_the_rows(learn, rows, values, task):
    assert learn([i % values for i in range(rows)]).task == task


def test_texts_are_classes_in_alphabetic_order_however_many(learn):
    data = learn([f"w{i % 45:02}" for i in range(100)])
    assert data.task == "classification"
    assert data.label_names == tuple(f"w{i:02}" for i in range(45))


def test_texts_that_nearly_all_differ_are_not_taken_for_classes(learn):
    prices = [f"${i}" for i in range(60)]
    with pytest.raises(DataError, match=r"60 different texts in 60 rows, such as '\$0'"):
        learn(prices)
    assert learn(prices, task="classification").classes == 60


def test_the_task_can_be_given(learn):
    assert learn([0, 1, 0], task="regression").y.dtype == np.float32
    assert learn([0.5, 1, 0.5], task="classification").label_names == ("0.5", "1")
    assert learn(range(200), task="classification").classes == 200


def test_labels_that_mix_numbers_and_words_need_the_task(learn):
    with pytest.raises(DataError, match="row 3, column 'y': 'x' is not a number"):
        learn([0, 1, "x"])
    assert learn([0, 1, "x"], task="classification").label_names == ("0", "1", "x")


def test_words_cannot_be_values(learn):
    with pytest.raises(DataError, match="row 1, column 'y': 'u' is not a number"):
        learn(["u", "v"], task="regression")


@pytest.mark.parametrize("task", ["auto", "classification", "regression"])
@pytest.mark.parametrize("cell", ["", "nan", "inf"])
def test_a_missing_or_infinite_target_is_named_with_its_row(learn, cell, task):
    with pytest.raises(DataError, match="row 2, column 'y'"):
        learn([1, cell, 0], task=task)


def test_a_missing_label_is_named_with_its_row(learn):
    with pytest.raises(DataError, match="row 2, column 'y': the value is missing"):
        learn(["u", "", "v"])


def test_classification_has_one_target(tmp_path):
    path = tmp_path / "two.csv"
    path.write_text("a,u,v\n1,0,1\n", encoding="utf-8")
    with pytest.raises(InputError, match="one target column, got 2"):
        load(path, target="u,v", task="classification")


def test_an_unknown_task_is_told_the_nearest(learn):
    with pytest.raises(InputError, match="did you mean 'regression'"):
        learn([1, 2], task="regresion")


def test_a_task_that_contradicts_the_schema_is_refused(learn):
    schema = learn([0, 1]).schema
    with pytest.raises(InputError, match="schema is for classification"):
        learn([0, 1], schema=schema, task="regression")
    assert learn([0, 1], schema=schema, task="classification").task == "classification"


def test_numeric_labels_keep_their_names_in_a_new_file(learn):
    schema = learn([3, 7, 3]).schema
    assert learn(["7.0", "3"], schema=schema).y.tolist() == [1, 0]
    with pytest.raises(DataError, match="row 1, column 'y': the label '4' is none of"):
        learn([4, 3], schema=schema)
    with pytest.raises(DataError, match="row 2, column 'y': the label 'w' is none of"):
        learn([3, "w"], schema=schema)
