"""Parquet files, which need the optional pyarrow, and what is said without it."""

import sys
from contextlib import suppress
from decimal import Decimal

import numpy as np
import pytest

from fastnet.data import load
from fastnet.errors import DataError, InputError


def test_without_pyarrow_the_error_says_how_to_install_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    path = tmp_path / "table.parquet"
    path.write_bytes(b"PAR1")
    with pytest.raises(DataError, match=r"pip install 'fastnet-mlp\[data\]'"):
        load(path, target="y")


@pytest.fixture
def write(tmp_path):
    arrow = pytest.importorskip("pyarrow", reason="needs the extra 'data' (pyarrow)")
    parquet = pytest.importorskip("pyarrow.parquet")

    def write(columns, name="table.parquet", names=None):
        if names is None:
            table = arrow.table(columns)
        else:
            table = arrow.Table.from_arrays([arrow.array(c) for c in columns], names=names)
        path = tmp_path / name
        parquet.write_table(table, path)
        return path

    return write


def test_numbers_and_texts_are_read(write):
    data = load(
        write(
            {
                "n": np.arange(3, dtype=np.int8),
                "flag": [True, False, True],
                "color": ["red", "blue", "red"],
                "price": [Decimal("1.5"), Decimal("2.5"), Decimal("0.5")],
                "y": ["cat", "dog", "cat"],
            }
        ),
        target="y",
    )
    assert data.schema.feature_names == ("n", "flag", "color=blue", "color=red", "price")
    assert data.x.tolist() == [[0, 1, 0, 1, 1.5], [1, 0, 1, 0, 2.5], [2, 1, 0, 1, 0.5]]
    assert data.x.dtype == np.float32
    assert data.y.tolist() == [0, 1, 0]


def test_dictionary_columns_are_texts(write):
    arrow = pytest.importorskip("pyarrow")
    words = arrow.array(["u", "v", "u"]).dictionary_encode()
    data = load(write({"w": words, "y": [0.5, 1.0, 1.5]}), target="y")
    assert data.x.tolist() == [[1, 0], [0, 1], [1, 0]]


def test_a_new_file_is_encoded_by_the_schema(write):
    schema = load(write({"a": [1, 2], "w": ["u", "v"], "y": [0, 1]}), target="y").schema
    data = load(write({"w": ["v"], "note": [None], "a": [5]}), schema=schema)
    assert data.x.tolist() == [[5, 0, 1]]
    assert data.y is None


def test_a_missing_target_lists_the_columns(write):
    with pytest.raises(InputError, match="Columns: a, y"):
        load(write({"a": [1], "y": [1]}))


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ([1.0, None], "row 2, column 'a': the value is missing"),
        ([1.0, float("nan")], "row 2, column 'a': nan is not a finite number"),
        (["u", None], "row 2, column 'a': the value is missing"),
        ([[1], [2]], "column 'a' has type list"),
        (np.array(["2020-01-01", "2020-01-02"], "M8[s]"), "column 'a' has type timestamp"),
    ],
)
def test_cells_that_cannot_be_learned_from_are_refused(write, column, message):
    with pytest.raises(DataError, match=message):
        load(write({"a": column, "y": [0, 1]}), target="y")


def test_two_columns_of_one_name_are_refused(write):
    with pytest.raises(DataError, match="two columns named 'a'"):
        load(write([[1], [2], [3]], names=["a", "a", "y"]), target="y")


def test_no_rows_are_refused(write):
    arrow = pytest.importorskip("pyarrow")
    path = write({"a": arrow.array([], arrow.float64()), "y": arrow.array([], arrow.float64())})
    with pytest.raises(DataError, match="has no rows"):
        load(path, target="y")


def test_damaged_files_are_refused(write):
    path = write({"a": list(range(100)), "y": list(range(100))})
    good = path.read_bytes()
    rng = np.random.default_rng(5)
    for _ in range(200):
        data = bytearray(good)
        for at in rng.integers(0, len(data), rng.integers(1, 4)):
            data[at] = rng.integers(256)
        path.write_bytes(bytes(data))
        with suppress(DataError):
            load(path, target="y")
    for content in (b"", b"PAR1", good[: len(good) // 2]):
        path.write_bytes(content)
        with pytest.raises(DataError, match="not a readable Parquet file"):
            load(path, target="y")
