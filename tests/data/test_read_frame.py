"""read_frame and as_frame: tables as columns of numbers or texts, whose values may be missing."""

from __future__ import annotations

import re
from datetime import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import fastnet as fn
from fastnet.data.frame import Frame, as_frame, is_table
from fastnet.data.frame_files import read_frame
from tests.data.tables import cells, table

# --- columns that are texts whatever their cells are ----------------------------------------------


def test_text_columns_stay_texts_though_all_cells_are_numbers(write: Any) -> None:
    asked = []

    def text_columns(names: Any, named: bool, source: str) -> set[str]:
        asked.append((tuple(names), named, source))
        return {"code"}

    path = write("code,x\n01,1\nNA,2\n3.0,\n")
    frame = read_frame(path, text_columns=text_columns)
    assert table(frame) == {"code": ["01", None, "3.0"], "x": [1, 2, None]}
    assert asked == [(("code", "x"), True, str(path))]
    assert table(read_frame(path))["code"] == [1, None, 3]


def test_categories_and_labels_of_a_preprocessor_are_texts(write: Any) -> None:
    made = fn.tables.TablePreprocessor.fit(
        {"x": [1.0, 2.0, 3.0], "code": ["7", "8", "x"], "y": ["0", "1", "a"]},
        "y",
        categorical=["code"],
    )
    frame = read_frame(write("y,code,x\n0,7,1\n1,8,2\n"), preprocessor=made)
    assert table(frame) == {"y": ["0", "1"], "code": ["7", "8"], "x": [1, 2]}


# --- to be learned from ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (["1", "oops", "2"], "column 'a' must hold numbers, got 'oops' in row 2"),
        (
            ['"1,5"', '"2,5"'],
            "row 1, column 'a': '1,5' is a number only for people: write numbers with a",
        ),
        (['"1,200"', '"2,300"', "40"], "row 1, column 'a': '1,200' is a number only for people"),
        (["900", '"1,200"', '"1,300"'], "row 2, column 'a': '1,200' is a number only for people"),
        (["900", "800", '"1,200"'], "column 'a' must hold numbers, got '1,200' in row 3"),
        (["12%", "7%", "x"], "row 1, column 'a': '12%' is a number only for people"),
        (["x", "$3.50", '"$1,000.00"'], "row 2, column 'a': '$3.50' is a number only for people"),
        (["x", "1.5 €", "1.200 €"], "row 2, column 'a': '1.5 €' is a number only for people"),
        (["31.12.2023", "5/7/23", "x"], "row 1, column 'a': '31.12.2023' may be a date, but which"),
    ],
)
def test_numbers_in_disguise_are_refused(write: Any, column: list[str], message: str) -> None:
    path = write("a,y\n" + "".join(f"{cell},1\n" for cell in column))
    with pytest.raises(fn.DataError, match=re.escape(message)):
        read_frame(path, learning=True)
    with pytest.raises(fn.DataError, match=re.escape(message.partition("column")[2])):
        fn.tables.TablePreprocessor.fit({"a": [cell.strip('"') for cell in column]})
    assert len(read_frame(path)) == len(column)  # who predicts is told by the preprocessor


@pytest.mark.parametrize("words", [["u,v", "1,5", "w"], ["12a", "12b", "13"]])
def test_words_of_which_few_are_numbers_are_words(write: Any, words: list[str]) -> None:
    path = write("a\n" + "".join(f'"{word}"\n' for word in words))
    assert table(read_frame(path, learning=True)) == {"a": words}


# --- what cannot be read --------------------------------------------------------------------------


def test_no_rows_are_refused(tmp_path: Path) -> None:
    for suffix, save in (("feather", "to_feather"), ("parquet", "to_parquet")):
        getattr(pd.DataFrame({"a": [], "b": []}), save)(tmp_path / f"x.{suffix}")
        with pytest.raises(fn.DataError, match=f"x.{suffix} has no rows"):
            read_frame(tmp_path / f"x.{suffix}")


@pytest.mark.parametrize("suffix", ["parquet", "feather"])
@pytest.mark.parametrize(("values", "kind"), [([[1], [2]], "List"), ([time(7), time(8)], "Time")])
def test_a_column_of_another_kind_is_named_with_its_file(
    suffix: str, values: Any, kind: str, tmp_path: Path
) -> None:
    path = tmp_path / f"x.{suffix}"
    frame = pl.DataFrame({"a": values})
    frame.write_parquet(path) if suffix == "parquet" else frame.write_ipc(path)
    with pytest.raises(fn.DataError, match=rf"x\.{suffix}: column 'a' holds {kind}.*: expected n"):
        read_frame(path)


# --- frames ---------------------------------------------------------------------------------------


class Matrix(dict[str, Any]):
    """As SciPy's dictionaries of keys: sparse, and a mapping."""

    def toarray(self) -> None:
        raise NotImplementedError


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (pd.DataFrame({"a": [1]}), True),
        (pl.DataFrame({"a": [1]}), True),
        (pl.LazyFrame({"a": [1]}), True),
        (pa.table({"a": [1]}), True),
        ({"a": [1]}, True),
        (Frame(1, {"a": np.zeros(1)}), True),
        (pd.Series([1], name="a"), False),
        (pl.Series([1]), False),
        (np.zeros((2, 2)), False),
        ([[1]], False),
        (Matrix(), False),
    ],
)
def test_tables_are_told_from_arrays(values: Any, expected: bool) -> None:
    assert is_table(values) == expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (
            pd.DataFrame({("x", "mean"): [1.0], ("x", "max"): [2.0]}),
            {"('x', 'mean')": [1], "('x', 'max')": [2]},
        ),
        (pd.DataFrame([[1, 2]], columns=[1, 0]), {"1": [1], "0": [2]}),  # in their order
    ],
)
def test_columns_that_are_called_by_no_texts_have_names(values: Any, expected: Any) -> None:
    assert table(as_frame(values)) == expected


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), fn.DataError, "two columns named 'a'"),
        (pd.DataFrame([[1, 2]], columns=[1, "1"]), fn.DataError, "two columns named '1'"),
        (
            pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"]),
            fn.DataError,
            "two columns named 'a'",
        ),
        ({1: [1], "1": [2]}, fn.DataError, "two columns named '1'"),
        (pl.LazyFrame({"a": [1]}), fn.InputError, r"lazy, and has no rows yet: give frame\.coll"),
        (pa.record_batch({"a": [1]}), fn.InputError, "this kind of data frame cannot be read"),
        (
            {"id": [10**400, 1]},
            fn.DataError,
            "column 'id' has a whole number that is too large for float64",
        ),
    ],
)
def test_frames_that_cannot_be_read_say_why(
    values: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        as_frame(values)


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pa.array(["x", None, " y", "x"]), ["x", None, "y", "x"]),
        (pa.array(["x", None, "y"], pa.large_string()), ["x", None, "y"]),
        (pa.array(["x", None, "", "y"], pa.string_view()), ["x", None, "", "y"]),
        (pa.chunked_array([["x"], ["y", None, "x"]]), ["x", "y", None, "x"]),
        (pa.chunked_array([["x"], ["y", "x"]]).dictionary_encode(), ["x", "y", "x"]),
        (pa.DictionaryArray.from_arrays([0, 1, None], [None, "x"]), [None, "x", None]),
        (pa.array([7, None, 8]).dictionary_encode(), ["7", None, "8"]),
        (pa.array([None, None], pa.string()), [None, None]),
    ],
)
def test_columns_of_arrow_are_texts(column: Any, expected: list[str | None]) -> None:
    assert cells(as_frame(pa.table({"w": column})).columns["w"]) == expected


def test_categories_are_the_same_in_a_frame_and_in_its_file(tmp_path: Path) -> None:
    frame = pd.DataFrame({"c": pd.Series([3, 1, 3], dtype="category"), "w": ["u", None, "v"]})
    frame.to_feather(tmp_path / "t.feather")
    expected = {"c": ["3", "1", "3"], "w": ["u", None, "v"]}
    assert table(as_frame(frame)) == expected
    assert table(read_frame(tmp_path / "t.feather")) == expected


def test_rows_of_a_frame_are_rows_of_all_columns() -> None:
    frame = as_frame({"a": [1.0, 2.0, 3.0], "w": ["u", None, "v"]})
    for index in (slice(1, None), np.array([1, 2]), np.array([False, True, True])):
        assert table(frame.take(index)) == {"a": [2, 3], "w": [None, "v"]}
        assert len(frame.take(index)) == 2


def test_whole_numbers_that_float64_rounds_are_the_same_in_every_container() -> None:
    ids = [2**62 + 1, None, -(2**60)]
    expected = [float(2**62), None, float(-(2**60))]
    for frame in (
        pa.table({"id": pa.array(ids, pa.int64())}),
        pl.DataFrame({"id": ids}),
        pd.DataFrame({"id": pd.array(ids, "Int64")}),
        {"id": ids},
    ):
        assert cells(as_frame(frame).columns["id"]) == expected
