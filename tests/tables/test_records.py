"""Rows with names, whatever they are kept in, go by name; and answers come as labels."""

from __future__ import annotations

import sqlite3
from collections import namedtuple
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fastnet as fn
from fastnet.data.records import are_records, columns_of, named_row

pd = pytest.importorskip("pandas")
pl = pytest.importorskip("polars")

RNG = np.random.default_rng(11)
FRAME = pd.DataFrame(
    {
        "width": RNG.normal(3, 1, 160),
        "depth": RNG.normal(0, 5, 160),
        "wood": RNG.choice(["oak", "pine", "fir"], 160),
    }
)
FRAME.loc[::13, "width"] = np.nan
FRAME["weight"] = 4 * FRAME["width"].fillna(3) - FRAME["depth"] + 2 * (FRAME["wood"] == "oak")
X = FRAME.drop(columns="weight")
SHUFFLED = ["depth", "wood", "width"]


def train(**options: Any) -> fn.Network:
    given = {"preset": None, "epochs": 20, "hidden": [8], "backend": "numpy"} | options
    return fn.tables.train(FRAME, "weight", **given)


NET = train()


def records(frame: Any, columns: list[str] | None = None) -> list[dict[str, Any]]:
    return [dict(row) for row in frame[columns or list(frame)].to_dict("records")]


# --- predict_one ----------------------------------------------------------------------------------


def of_sqlite(row: dict[str, Any]) -> Any:
    with sqlite3.connect(":memory:") as base:
        base.row_factory = sqlite3.Row
        names = ", ".join(f"? AS {name}" for name in row)
        return base.execute(f"SELECT {names}", list(row.values())).fetchone()


def of_numpy(row: dict[str, Any]) -> Any:
    kinds = [(name, "U9" if isinstance(value, str) else float) for name, value in row.items()]
    return np.array([tuple(row.values())], kinds)[0]


ROWS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "dict": dict,
    "Series": pd.Series,
    "named tuple": lambda row: namedtuple("Row", row)(**row),  # type: ignore[misc]
    "itertuples": lambda row: next(pd.DataFrame([row]).itertuples()),
    "a row of polars": lambda row: pl.DataFrame([row]).row(0, named=True),
    "a record of NumPy": of_numpy,
    "a row of SQLite": of_sqlite,
    "a frame of one row": lambda row: pd.DataFrame([row]),
    "a frame of polars": lambda row: pl.DataFrame([row]),
}


@pytest.mark.parametrize("make", ROWS.values(), ids=ROWS)
def test_a_row_with_names_goes_by_name(make: Callable[[dict[str, Any]], Any]) -> None:
    row = {name: FRAME[name].iloc[4] for name in SHUFFLED}
    row = {name: value if isinstance(value, str) else float(value) for name, value in row.items()}
    expected = NET.predict(X.iloc[[4]])[0]
    assert np.array_equal(NET.predict_one(make(row)), expected)
    # The control: position means something else.
    numbers = [row["depth"], row["width"], row["wood"]]
    assert not np.array_equal(NET.predict_one(numbers), expected)


@pytest.mark.parametrize("make", [dict, pd.Series], ids=["dict", "Series"])
def test_a_name_that_is_missing_is_named(make: Callable[[Any], Any]) -> None:
    with pytest.raises(fn.DataError, match="no column 'depth'; did you mean 'Depth'"):
        NET.predict_one(make({"width": 3.0, "Depth": 1.0, "wood": "fir"}))
    with pytest.raises(fn.DataError, match="no column 'width'"):
        NET.predict_one(pd.Series([3.0, 1.0, 2.0]))  # names that are numbers are names


def test_rows_that_are_several_or_ambiguous_are_refused() -> None:
    with pytest.raises(fn.InputError, match="row must be one row, got a table of 2: use predict"):
        NET.predict_one(X.iloc[:2])
    twice = pd.Series([1.0, 2.0, 3.0], index=["width", "width", "wood"])
    with pytest.raises(fn.DataError, match="the row has two columns named 'width'"):
        NET.predict_one(twice)


# --- lists of rows --------------------------------------------------------------------------------


@pytest.mark.parametrize("make", list(ROWS.values())[:7], ids=list(ROWS)[:7])
def test_a_list_of_rows_is_a_table(make: Callable[[dict[str, Any]], Any]) -> None:
    rows = [make(row) for row in records(X.iloc[1:9], SHUFFLED)]
    assert np.array_equal(NET.predict(rows), NET.predict(X.iloc[1:9]))


def test_networks_fit_and_evaluate_lists_of_dicts() -> None:
    inputs = fn.tables.TablePreprocessor.fit(X).inputs
    nets = [fn.Network([inputs, 6, 1], backend="numpy") for _ in range(2)]
    histories = [
        net.fit(rows, "weight", epochs=3, validation_data=(rows, None))
        for net, rows in zip(nets, (FRAME, records(FRAME)), strict=True)
    ]
    assert histories[0].records == histories[1].records
    assert nets[1].evaluate(records(FRAME), None) == nets[0].evaluate(FRAME, None)
    answers = nets[1].predict(records(X))
    assert np.array_equal(answers, nets[0].predict(X))
    by_list = fn.tables.train(records(FRAME), "weight", preset=None, epochs=20, hidden=[8],
                              backend="numpy")  # fmt: skip
    assert np.array_equal(by_list.predict(X), NET.predict(X))


def test_a_row_that_lacks_a_name_is_named_with_its_row() -> None:
    rows = records(X.iloc[:3])
    rows[2]["wod"] = rows[2].pop("wood")
    hint = "row 3 has no 'wood'; did you mean 'wod'\\? Write None where a value is missing"
    with pytest.raises(fn.InputError, match=hint):
        NET.predict(rows)
    rows[2]["wood"] = None
    assert len(NET.predict(rows)) == 3
    with pytest.raises(fn.InputError, match="row 2 has no names, unlike row 1"):
        NET.predict([rows[0], [1.0, 2.0, "fir"]])


def test_none_is_a_missing_value_and_cells_keep_their_kind() -> None:
    columns = columns_of([{"a": 1.5, "b": "x"}, {"b": None, "a": "2"}])
    assert {name: column.tolist() for name, column in columns.items()} == {
        "a": [1.5, "2"],
        "b": ["x", None],
    }


@pytest.mark.parametrize(
    "values", [[], [[1.0, 2.0]], [(1.0, 2.0)], [1.0], np.zeros((2, 2)), "ab", [pd.DataFrame()]]
)
def test_other_values_are_no_records(values: Any) -> None:
    assert not are_records(values)
    assert named_row(pl.Series([1.0])) is None


@pytest.mark.parametrize("x", [[{"a": 1.0, "b": 2.0}], {"a": [1.0], "b": [2.0]}])
def test_a_network_of_arrays_refuses_names(x: Any) -> None:
    net = fn.Network([2, 1], backend="numpy")
    with pytest.raises(fn.InputError, match="x must hold numbers"):
        net.predict(x)


# --- labels ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("labels", "kind"),
    [
        (["fir", "oak", "pine"], str),
        (["fir", "oak"], str),
        ([3, 7, 40], int),
        ([False, True], bool),
        (["03", "7", "40"], str),
        (["1", "x"], str),
    ],
)
def test_tables_answer_with_the_labels_of_training(labels: list[Any], kind: type) -> None:
    y = np.array(labels)[np.arange(160) % len(labels)]
    net = fn.tables.train(X, y, preset=None, epochs=2, hidden=[4], backend="numpy",
                          task="classification")  # fmt: skip
    found = net.predict_labels(X)
    assert found.shape == (160,)
    assert {type(label) for label in found.tolist()} == {kind}
    assert set(found.tolist()) <= set(labels)
    names = np.array(net.label_names)[np.argmax(net.predict(X), axis=1)]
    assert [str(label) for label in found.tolist()] == names.tolist()


def test_arrays_answer_with_indices_and_names() -> None:
    x = RNG.normal(size=(30, 4)).astype(np.float32)
    net = fn.Network([4, 3], output_activation="softmax", backend="numpy")
    best = np.argmax(net.predict(x), axis=1)
    assert np.array_equal(net.predict_labels(x), best)
    net.label_names = ("a", "b", "c")
    assert net.predict_labels(x).tolist() == [("a", "b", "c")[k] for k in best]


def test_sigmoid_outputs_answer_above_one_half() -> None:
    x = RNG.normal(size=(30, 4)).astype(np.float32)
    one = fn.Network([4, 1], output_activation="sigmoid", backend="numpy")
    over = one.predict(x)[:, 0] > 0.5
    assert 0 < over.sum() < 30
    assert np.array_equal(one.predict_labels(x), over.astype(int))
    one.label_names = ("no", "yes")
    assert one.predict_labels(x).tolist() == np.where(over, "yes", "no").tolist()
    one.label_names = ("False", "True")
    assert np.array_equal(one.predict_labels(x), over)
    several = fn.Network([4, 3], output_activation="sigmoid", backend="numpy")
    assert np.array_equal(several.predict_labels(x), several.predict(x) > 0.5)
    assert several.predict_labels(x).dtype == bool


def test_numbers_have_no_labels() -> None:
    with pytest.raises(fn.InputError, match="predicts numbers and no classes.*use predict"):
        NET.predict_labels(X)


def test_a_bare_row_is_answered_with_the_way_to_give_one() -> None:
    row = X.iloc[0]
    for bare in (row, row.to_dict()):
        with pytest.raises(fn.FastNetError, match=r"give one row as (a list, )?\[\w+\]"):
            NET.predict(bare)
        assert NET.predict([bare]).ravel() == pytest.approx(NET.predict(X[:1]).ravel())
