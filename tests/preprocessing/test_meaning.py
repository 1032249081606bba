"""A column means the same in every container, in training, in prediction, in either direction."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastnet as fn
from fastnet.data.frame_files import read_frame
from fastnet.data.times import PARTS, part_of
from fastnet.tables import TablePreprocessor

ROWS = 24
RNG = np.random.default_rng(3)


def csv(column: Any, folder: Path, made: TablePreprocessor | None) -> Any:
    path = folder / "t.csv"
    pd.DataFrame({"c": column, "z": range(len(column))}).to_csv(path, index=False)
    return read_frame(path, preprocessor=made).without(["z"] if made is None else [])


def parquet(column: Any, folder: Path, made: TablePreprocessor | None) -> Any:
    pd.DataFrame({"c": column}).to_parquet(folder / "t.parquet")
    return read_frame(folder / "t.parquet", preprocessor=made)


def feather(column: Any, folder: Path, made: TablePreprocessor | None) -> Any:
    pd.DataFrame({"c": column}).to_feather(folder / "t.feather")
    return read_frame(folder / "t.feather")


CONTAINERS: dict[str, Callable[[Any, Path, TablePreprocessor | None], Any]] = {
    "csv": csv,
    "parquet": parquet,
    "feather": feather,
    "pandas": lambda c, *_: pd.DataFrame({"c": c}),
    "pandas, nullable": lambda c, *_: pd.DataFrame({"c": c}).convert_dtypes(),
    "pandas, arrow": lambda c, *_: pd.DataFrame({"c": c}).convert_dtypes(dtype_backend="pyarrow"),
    "polars": lambda c, *_: pl.DataFrame({"c": pl.Series(c)}),
    "arrow": lambda c, *_: pa.table({"c": pa.array(c)}),
    "dict of lists": lambda c, *_: {"c": list(c)},
    "dict of arrays": lambda c, *_: {"c": np.array(c)},
    "dict of objects": lambda c, *_: {"c": np.array(c, object)},
    "dict of series": lambda c, *_: {"c": pd.Series(c)},
}

TRUTH = RNG.random(ROWS) < 0.5
CODE = RNG.integers(1, 5, ROWS)
DAYS = [date(2023, 1, 31) + timedelta(int(k)) for k in RNG.integers(0, 900, ROWS)]


def spelled(no: Any, yes: Any) -> list[Any]:
    return [yes if truth else no for truth in TRUTH]


SPELLINGS: dict[str, dict[str, list[Any]]] = {
    "truth": {
        "bool": spelled(False, True),
        "0/1": spelled(0, 1),
        "0.0/1.0": spelled(0.0, 1.0),
        **{f"{no}/{yes}": spelled(no, yes) for no, yes in (
            ("False", "True"), ("false", "true"), ("FALSE", "TRUE"), ("no", "yes"), ("NO", "Yes"),
            ("f", "t"), ("F", "T"), ("n", "y"), ("off", "on"))},
    },
    "date": {
        "date": DAYS,
        "datetime": [datetime(d.year, d.month, d.day) for d in DAYS],
        "text": [d.isoformat() for d in DAYS],
        "text with slashes": [d.strftime("%Y/%m/%d") for d in DAYS],
        "text with a time": [f"{d}T00:00:00" for d in DAYS],
        "text with an offset": [f"{d} 00:00+09:00" for d in DAYS],
    },
    "duration": {
        "timedelta": [timedelta(minutes=int(k)) for k in CODE],
        "seconds": [60 * int(k) for k in CODE],
    },
    "number": {
        "floats": [k / 8 for k in CODE],
        "decimals": [Decimal(int(k)) / 8 for k in CODE],
    },
}  # fmt: skip
PAIRS = [(kind, a, b) for kind, ways in SPELLINGS.items() for a in ways for b in ways]


@pytest.mark.parametrize(("kind", "trained", "given"), PAIRS)
def test_a_column_learned_in_one_spelling_is_read_in_every_other(
    kind: str, trained: str, given: str
) -> None:
    ways = SPELLINGS[kind]
    made = TablePreprocessor.fit({"c": ways[trained]})
    expected = made.transform({"c": ways[trained]})
    assert len(np.unique(expected, axis=0)) > 1
    assert np.array_equal(made.transform({"c": ways[given]}), expected)
    one = made.transform_row({"c": ways[given][0]}, np.dtype("f4"))
    assert np.array_equal(one, expected[0])
    # And the networks that learn from them are the same.
    assert made.feature_names == TablePreprocessor.fit({"c": ways[given]}).feature_names


@pytest.mark.parametrize("trained", CONTAINERS)
@pytest.mark.parametrize(("kind", "way"), [(k, w) for k in SPELLINGS for w in SPELLINGS[k]])
def test_every_container_holds_the_same_column(
    kind: str, way: str, trained: str, tmp_path: Path
) -> None:
    column = SPELLINGS[kind][way]
    if kind == "duration" and trained == "csv" and way == "timedelta":
        column = SPELLINGS[kind]["seconds"]  # a text file has no durations
    expected = TablePreprocessor.fit({"c": column})
    made = TablePreprocessor.fit(CONTAINERS[trained](column, tmp_path, None))
    assert made.feature_names == expected.feature_names
    want = expected.transform({"c": column})
    for name, hold in CONTAINERS.items():
        if name == "csv" and way == "timedelta":
            continue
        assert np.array_equal(made.transform(hold(column, tmp_path, made)), want), name


# --- categories -----------------------------------------------------------------------------------

NUMBERS: dict[str, Any] = {
    "integers": CODE.tolist(),
    "floats": CODE.astype(float).tolist(),
    "text": [str(k) for k in CODE],
    "text with a point": [f"{k}.0" for k in CODE],
    "objects": [float(k) if k % 2 else str(k) for k in CODE],
    "category of integers": pd.Series(CODE).astype("category"),
    "category of floats": pd.Series(CODE.astype(float)).astype("category"),
    "category of text": pd.Series(CODE.astype(str)).astype("category"),
}


@pytest.mark.parametrize("trained", NUMBERS)
def test_a_category_that_is_a_number_is_one_however_it_is_written(trained: str) -> None:
    options = {} if trained.startswith("category") else {"categorical": ["c"]}
    made = TablePreprocessor.fit(pd.DataFrame({"c": NUMBERS[trained]}), **options)
    assert made.columns[0].kind == "categorical"
    assert len(made.columns[0].categories) == 4
    expected = made.transform(pd.DataFrame({"c": NUMBERS[trained]}))
    for name, column in NUMBERS.items():
        assert np.array_equal(made.transform(pd.DataFrame({"c": column})), expected), name


def test_columns_of_categories_are_named_one_by_one_or_in_one_text() -> None:
    table = {"zip": [1, 2, 3], "area": [7, 8, 9], "y": [0.5, 1.5, 2.5]}
    for named, kinds in (("zip", "cn"), ("zip,area", "cc"), (["area"], "nc"), ((), "nn")):
        made = TablePreprocessor.fit(table, "y", categorical=named)
        assert [column.kind[0] for column in made.columns] == list(kinds)
        net = fn.tables.train(table, "y", categorical=named, preset=None, epochs=1, backend="numpy")
        assert net.preprocessor.feature_names == made.feature_names
        with pytest.raises(fn.DataError, match="no column 'aera'; did you mean 'area'"):
            fn.tables.train(table, "y", categorical=["aera"], preset=None)


def test_spellings_that_only_look_alike_are_different_categories() -> None:
    words = ["1", "01", "1e0", "12345678901234567890", "12345678901234567891", "a"]
    made = TablePreprocessor.fit({"c": words}, categorical=["c"])
    assert set(made.columns[0].categories) == set(words)
    with pytest.warns(fn.FastNetWarning, match="'001' in row 1"):
        made.transform({"c": ["001", "12345678901234567892"]})


@pytest.mark.parametrize("name", ["NA", "?", "null", "", "n/a", "-"])
def test_a_category_with_the_name_of_a_gap_stays_one(name: str, tmp_path: Path) -> None:
    words = [name, "b", "c", "d"] * 6
    made = TablePreprocessor.fit({"c": words, "x": range(ROWS)})
    assert name in made.columns[0].categories
    path = tmp_path / "t.csv"
    path.write_text(
        "c,x\n" + "".join(f'"{w}",{k}\n' for k, w in enumerate(words)), encoding="utf-8"
    )
    found = made.transform(read_frame(path, preprocessor=made))
    assert np.array_equal(found, made.transform({"c": words, "x": range(ROWS)}))
    # Learned from the file, it is a gap.
    other = TablePreprocessor.fit(read_frame(path))
    assert (name in other.columns[0].categories) == (name == "-")


@given(st.data())
def test_a_row_depends_on_that_row_alone(data: st.DataObject) -> None:
    """Whatever the cells of a column are, any cut of the rows gives the same inputs."""
    cells = st.sampled_from([1, 1.0, 2.5, "a", "1", "1.0", True, "yes", "NA", None, np.nan, "2.50"])
    column = data.draw(st.lists(cells, min_size=3, max_size=9))
    with warnings.catch_warnings(action="ignore"):
        try:
            made = TablePreprocessor.fit({"c": np.array(column, object), "z": range(len(column))})
        except fn.DataError:
            return
        whole = made.transform({"c": np.array(column, object), "z": range(len(column))})
        cut = data.draw(st.integers(1, len(column) - 1))
        for part in (slice(0, cut), slice(cut, None), slice(cut - 1, cut)):
            rows = {"c": np.array(column, object)[part], "z": range(len(column))[part]}
            assert np.array_equal(made.transform(rows), whole[part])
        one = made.transform_row({"c": column[cut], "z": cut}, np.dtype("f4"))
        assert np.array_equal(one, whole[cut])


# --- times ----------------------------------------------------------------------------------------


def test_the_parts_of_times_are_those_of_the_calendar() -> None:
    moments = [datetime(2024, 2, 29, 18, 30), datetime(1969, 12, 31, 23, 59), datetime(2100, 7, 4)]
    for moment in moments:
        times = np.array([moment, None], "M8[us]")
        turns = {
            "month": (moment.month - 1) / 12,
            "day": (moment.day - 1) / 31,
            "weekday": moment.weekday() / 7,
            "hour": (moment.hour + moment.minute / 60) / 24,
        }
        for part in PARTS:
            value, missing = part_of(times, part)
            assert np.isnan(missing)
            name, _, wave = part.partition(", ")
            if wave:
                wanted = {"sine": np.sin, "cosine": np.cos}[wave](2 * np.pi * turns[name])
                assert value == round(wanted, 12)
        assert part_of(times, "year")[0] == moment.year
        days = part_of(times, "elapsed days")[0]
        assert datetime(1970, 1, 1) + timedelta(days=days) == moment


def test_a_time_is_that_of_the_place_where_it_was_noted() -> None:
    local = pd.Series(pd.date_range("2024-03-30 12:00", periods=4, freq="12h", tz="Europe/Berlin"))
    made = TablePreprocessor.fit({"c": local})
    naive = local.dt.tz_localize(None)
    for column in (
        naive,
        local.dt.strftime("%Y-%m-%dT%H:%M:%S%z"),
        [t.to_pydatetime() for t in local],
    ):
        assert np.array_equal(made.transform({"c": column}), made.transform({"c": local}))
    assert not np.array_equal(
        made.transform({"c": local.dt.tz_convert(UTC)}), made.transform({"c": local})
    )


def test_parts_that_are_all_the_same_are_left_out_and_gaps_are_marked_once() -> None:
    table = {"c": np.array(["2024-05-01", "2024-05-03", "NaT"], "M8[D]")}
    made = TablePreprocessor.fit(table)
    assert made.feature_names == (
        "c (elapsed days)", "c is missing", "c (day, sine)", "c (day, cosine)",
        "c (weekday, sine)", "c (weekday, cosine)",
    )  # fmt: skip
    assert not made.transform(table)[2, [0, 2, 3, 4, 5]].any()
    again = {"c": ["2024-05-01", "2024-05-03", "NA"]}
    assert np.array_equal(made.transform(again), made.transform(table))


# --- what is said ---------------------------------------------------------------------------------


def test_numbers_as_text_and_identifiers_are_named() -> None:
    unlike = [f"n{k}" for k in range(40)]
    for column, said in (
        ({"c": ["1.5", "2", "?"]}, "'c' holds numbers as texts, which are read as numbers"),
        ({"c": unlike}, "'c' has 40 different texts in 40 rows, such as 'n0': leave it out"),
        ({"user_id": range(7, 47)}, "'user_id' is a different number in each row: leave it out"),
        ({"Unnamed: 0": range(40)}, "'Unnamed: 0' is a different number in each row"),
    ):
        with pytest.warns(fn.FastNetWarning, match=said) as told:
            TablePreprocessor.fit(column)
        assert len(told) == 1
    for column in ({"c": range(40)}, {"id": [1, 2, 3]}, {"c": unlike[:20]}, {"c": unlike[:20] * 2}):
        TablePreprocessor.fit(column)


def test_unknown_categories_are_told_of_where_most_are() -> None:
    made = TablePreprocessor.fit({"c": ["a", "b", "c"]})
    said = r"'c' has 2 values of 3 that were not there in training, such as 'x' in row 2; known are"
    with pytest.warns(fn.FastNetWarning, match=said):
        made.transform({"c": ["a", "x", "x", None]})
    made.transform({"c": ["a", "x", None, None, "b"]})
    made.transform({"c": [None, None]})
    made.transform_row(["x"], np.dtype("f4"))


# --- targets --------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [30, 3000])
def test_the_task_does_not_depend_on_the_number_of_rows(rows: int) -> None:
    x = np.arange(rows) / 7
    whole = np.arange(rows) % 25

    def labels(y: Any) -> Any:
        return TablePreprocessor.fit({"x": x, "y": y}, "y").label_names

    assert labels(whole) is None and labels(whole.astype(float)) is None
    assert labels((whole % 3).astype(float)) is None
    assert labels(whole % 3) == ("0", "1", "2")
    assert labels(whole % 3 == 1) == ("False", "True")


@pytest.mark.parametrize("name", CONTAINERS)
def test_a_column_of_floats_is_regressed_from_every_container(name: str, tmp_path: Path) -> None:
    for column, classes in (([310.0, 520.0, 700.0] * 8, None), ([3, 5, 7] * 8, ("3", "5", "7"))):
        frame = CONTAINERS[name](column, tmp_path, None)
        made = TablePreprocessor.fit({"z": range(ROWS)}, fn.tables.as_frame(frame).columns["c"])
        if name.startswith("pandas, ") and classes is None:
            continue  # pandas itself makes integers of such floats
        assert made.label_names == classes


def test_labels_are_truths_in_every_spelling() -> None:
    target = TablePreprocessor.fit({"x": range(4), "y": ["no", "yes"] * 2}, "y").target
    assert target is not None
    for y in ([False, True], [0, 1], ["0", "1.0"], ["F", "TRUE"], np.array(["no", "yes"])):
        assert target.encode(y).tolist() == [0, 1]
    with pytest.raises(fn.DataError, match="the label 'maybe' is none of the known ones"):
        target.encode(["maybe", "no"])


def test_a_target_with_a_large_offset_keeps_its_digits() -> None:
    x = np.linspace(0, 1, 64)
    y = 1.7e9 + x
    net = fn.tables.train({"x": x}, y, preset=None, hidden=[8], epochs=1, backend="numpy")
    found = net.predict({"x": x})
    assert found.dtype == np.float64
    assert len(np.unique(found)) > 32, "float32 has steps of 128 there"
    assert np.ptp(found) < 16
