"""load_raw: what a data set holds, as it stands in its file; and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastnet as fn
from fastnet.data import BUILT_IN, Frame, RawDataset, load_raw
from fastnet.data.text import Texts
from fastnet.errors import DataError, DataNotFoundError, InputError

X = np.arange(12, dtype=np.float64).reshape(6, 2) / 7
Y = np.array([0, 1, 2, 0, 1, 2])


@pytest.fixture
def npz(tmp_path: Path) -> Callable[..., Path]:
    def npz(**arrays: Any) -> Path:
        np.savez(tmp_path / "data.npz", **arrays)
        return tmp_path / "data.npz"

    return npz


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    def write(text: str) -> Path:
        (tmp_path / "table.csv").write_text(text, encoding="utf-8")
        return tmp_path / "table.csv"

    return write


def frame_of(data: RawDataset) -> Frame:
    assert isinstance(data.x, Frame)
    return data.x


def texts(column: Any) -> list[str]:
    assert isinstance(column, Texts)
    return [column.values[code] for code in column.codes]


# --- built-in data sets and arrays ----------------------------------------------------------------


def test_digits_are_arrays_and_class_indices() -> None:
    data = load_raw("digits")
    assert data.test is not None
    assert (data.rows, data.test.rows) == (1437, 360)
    assert data.x.dtype == np.float32  # type: ignore[union-attr]
    assert data.y.dtype == np.int64  # type: ignore[union-attr]
    assert data.label_names == tuple("0123456789")
    assert data.name == "digits"
    assert data.test.name == "digits (test)"
    old = fn.data.load("digits")
    np.testing.assert_array_equal(data.x, old.x)
    np.testing.assert_array_equal(data.y, old.y)


@pytest.mark.parametrize("wrong", [{"target": "species"}, {"task": "regression"}])
def test_digits_cannot_be_asked_for_another_target_or_task(wrong: Any) -> None:
    with pytest.raises(InputError, match="label"):
        load_raw("digits", **wrong)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        *(("f8", "f8"), (">f8", "f8"), ("g", "f8"), ("i4", "f8"), ("i8", "f8")),
        *(("f4", "f4"), ("f2", "f4"), ("u1", "f4"), ("i2", "f4"), ("?", "f4")),
    ],
)
def test_inputs_are_floats_that_hold_the_numbers_of_the_file(
    npz: Any, given: str, kept: str
) -> None:
    x = (X * 7).astype(given) if given not in ("f8", ">f8") else X.astype(given)
    data = load_raw(npz(x=x, y=Y))
    assert data.x.dtype == np.dtype(kept)  # type: ignore[union-attr]
    assert data.x.flags.c_contiguous  # type: ignore[union-attr]
    np.testing.assert_array_equal(data.x, x)


def test_images_are_divided_by_255(npz: Any) -> None:
    data = load_raw(npz(x=np.full((2, 2, 3), 255, np.uint8), y=Y[:2]))
    np.testing.assert_array_equal(data.x, np.ones((2, 6), np.float32))


def test_targets_stand_as_in_the_file(npz: Any) -> None:
    assert load_raw(npz(x=X, y=Y)).y.dtype == Y.dtype  # type: ignore[union-attr]
    assert load_raw(npz(x=X, y=Y[:, None])).y.tolist() == Y.tolist()  # type: ignore[union-attr]
    both = load_raw(npz(x=X, y=X))
    np.testing.assert_array_equal(both.y, X)
    assert both.target_names == ("y[0]", "y[1]")
    assert both.label_names is None
    assert load_raw(npz(x=X)).y is None
    assert load_raw(npz(x=X)).target_names == ()


def test_texts_of_an_archive_are_words_or_numbers(npz: Any) -> None:
    assert texts(load_raw(npz(x=X[:2], y=np.array([b"cat", b"dog"]))).y) == ["cat", "dog"]
    for kind in "US":
        numbers = load_raw(npz(x=X[:2], y=np.array(["1", "2.5"]).astype(kind))).y
        assert numbers.tolist() == [1, 2.5]  # type: ignore[union-attr]
        several = load_raw(npz(x=X[:1], y=np.array([["1", "2"]]).astype(kind))).y
        assert several.tolist() == [[1, 2]]  # type: ignore[union-attr]
    with pytest.raises(DataError, match=r"column 'y\[1\]' must hold numbers, got 'x' in row 1"):
        load_raw(npz(x=X[:1], y=np.array([["1", "x"]])))


def test_a_test_split_is_a_data_set_too(npz: Any) -> None:
    data = load_raw(npz(x_train=X[:4], y_train=Y[:4], x_test=X[4:], y_test=Y[4:]))
    assert data.test is not None
    assert data.test.y.tolist() == [1, 2]  # type: ignore[union-attr]
    assert data.target_names == data.test.target_names == ("y",)


def test_the_array_of_the_targets_is_named_or_usual(npz: Any) -> None:
    path = npz(x=X, labels=Y)
    assert load_raw(path, target="labels").target_names == ("labels",)
    assert load_raw(path, usual_target="labels").target_names == ("labels",)
    assert load_raw(path, learning=False).y is None
    with pytest.raises(DataError, match="no array 'y'; name the target: it has x, labels"):
        load_raw(path)
    with pytest.raises(InputError, match="name of an array"):
        load_raw(path, target=-1)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.ones(3), r"expected rows of numbers, got float64 of shape \(3,\)"),
        (np.ones((0, 3)), "no rows or no columns"),
        (np.ones((2, 2), complex), "dtype complex128: expected real numbers"),
        (np.array([["a", "b"]]), "expected rows of numbers"),
        (np.array([[1, None]], dtype=object), "holds Python objects"),
        (np.array([[1.0, np.nan], [np.inf, 1]]), "row 1, column 'x1': nan is not a finite"),
        (np.zeros((1, 100_001), np.int8), "100001 columns, more than 100,000"),
    ],
)
def test_arrays_that_cannot_be_learned_from_are_refused(npz: Any, x: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        load_raw(npz(x=x))


@pytest.mark.parametrize("y", [Y[:5], np.ones((6, 2, 2)), np.float64(1)])
def test_targets_that_do_not_fit_the_rows_are_refused(npz: Any, y: Any) -> None:
    with pytest.raises(DataError, match="expected a target for each of 6 rows, got 'y' of shape"):
        load_raw(npz(x=X, y=y))


def test_a_matrix_is_a_table_and_more_axes_are_an_array(tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    np.save(path, X)
    table = load_raw(path, target=-1)
    assert list(frame_of(table).columns) == ["x0"]
    np.testing.assert_array_equal(table.y, X[:, 1])
    assert load_raw(path).y is None
    assert list(frame_of(load_raw(path)).columns) == ["x0", "x1"]
    np.save(path, np.arange(12, dtype=np.uint8).reshape(2, 2, 3))
    np.testing.assert_array_equal(
        load_raw(path).x, np.divide(np.arange(12, dtype="f4").reshape(2, 6), np.float32(255))
    )
    np.save(path, np.arange(12).reshape(2, 2, 3))
    some = load_raw(path, target="x1,x5")
    assert list(frame_of(some).columns) == ["x0", "x2", "x3", "x4"]
    assert some.y.tolist() == [[1, 5], [7, 11]]  # type: ignore[union-attr]
    assert some.target_names == ("x1", "x5")


def test_idx_files_are_images_and_their_labels(tmp_path: Path) -> None:
    head = b"\0\0\x08"
    (tmp_path / "images-idx3-ubyte").write_bytes(
        head + b"\3" + np.array([2, 1, 2], ">u4").tobytes() + bytes([0, 255, 255, 0])
    )
    (tmp_path / "labels-idx1-ubyte").write_bytes(
        head + b"\1" + np.array([2], ">u4").tobytes() + bytes([7, 3])
    )
    data = load_raw(tmp_path / "images-idx3-ubyte")
    assert data.x.tolist() == [[0, 1], [1, 0]]  # type: ignore[union-attr]
    assert data.y.tolist() == [7, 3]  # type: ignore[union-attr]


# --- tables ---------------------------------------------------------------------------------------


def test_a_table_is_a_frame_without_its_target(write: Any) -> None:
    data = load_raw(write("a,color,y\n1,red,cat\n,,dog\n"), target="y")
    assert list(frame_of(data).columns) == ["a", "color"]
    assert texts(data.y) == ["cat", "dog"]
    assert data.target_names == ("y",)
    assert data.rows == 2
    assert data.name == "table.csv"


def test_several_targets_are_a_matrix(write: Any) -> None:
    path = write("a,u,v\n1,2,3\n4,5,6\n")
    for target in ("u,v", ["u", "v"]):
        data = load_raw(path, target=target)
        assert data.y.tolist() == [[2, 3], [5, 6]]  # type: ignore[union-attr]
        assert data.target_names == ("u", "v")
    with pytest.raises(InputError, match="Classification needs one target column, got 2"):
        load_raw(path, target="u,v", task="classification")


def test_labels_may_look_like_numbers_in_classification_only(write: Any) -> None:
    path = write("a,y\n1,7\n2,8\n3,x\n")
    assert texts(load_raw(path, target="y", task="classification").y) == ["7", "8", "x"]
    with pytest.raises(DataError, match="column 'y' must hold numbers, got 'x' in row 3"):
        load_raw(path, target="y")


def test_a_table_to_predict_needs_no_target_and_keeps_all_columns(write: Any) -> None:
    path = write("a,y\n1,2\noops,3\n4,5\n")
    data = load_raw(path, learning=False)
    assert data.y is None
    assert list(frame_of(data).columns) == ["a", "y"]
    known = data.with_targets(["y"])
    assert known.y.tolist() == [2, 3, 5]  # type: ignore[union-attr]
    assert list(frame_of(known).columns) == ["a"]
    with pytest.raises(DataError, match="column 'a' must hold numbers, got 'oops'"):
        load_raw(path, target="y")
    with pytest.raises(InputError, match="needs a target: name the column to learn. Columns: a, y"):
        load_raw(path)


def test_a_table_of_targets_only_has_nothing_to_learn_from(write: Any) -> None:
    with pytest.raises(DataError, match="no column beside the target"):
        load_raw(write("y\n1\n2\n"), target="y")


def test_text_columns_reach_the_reader(write: Any) -> None:
    path = write("code,y\n1,2\n3,4\n")
    data = load_raw(path, target="y", text_columns=lambda names, named, source: {"code"})
    assert texts(frame_of(data).columns["code"]) == ["1", "3"]


# --- rows, and what is refused --------------------------------------------------------------------


@pytest.mark.parametrize("index", [slice(1, 3), np.array([1, 2]), np.array([False, True, True])])
def test_taken_rows_are_those_of_all_parts(write: Any, npz: Any, index: Any) -> None:
    table = load_raw(write("a,y\n1,u\n2,v\n3,w\n"), target="y").take(index)
    assert texts(table.y) == ["v", "w"]
    assert frame_of(table).columns["a"].tolist() == [2, 3]  # type: ignore[union-attr]
    arrays = load_raw(npz(x_train=X[:3], y_train=Y[:3], x_test=X, y_test=Y)).take(index)
    np.testing.assert_array_equal(arrays.x, X[1:3])
    np.testing.assert_array_equal(arrays.y, Y[1:3])
    assert arrays.test is None


def test_parts_that_do_not_fit_are_refused() -> None:
    with pytest.raises(DataError, match="x has 6 rows, but y has 5"):
        RawDataset("d", X, Y[:5])
    with pytest.raises(DataError, match=r"x of shape \(N, I\)"):
        RawDataset("d", X[0], None)


@pytest.mark.parametrize("name", ["Digits", "digit", "fashion_mnist", "fashionmnist"])
def test_a_wrong_name_is_told_the_nearest_data_set(name: str) -> None:
    with pytest.raises(DataNotFoundError, match="did you mean") as caught:
        load_raw(name)
    for known in BUILT_IN:
        assert known in str(caught.value)


def test_a_wrong_file_is_told_the_nearest_in_its_folder(write: Any, tmp_path: Path) -> None:
    write("a,y\n1,2\n")
    with pytest.raises(DataNotFoundError, match=r"no file .*; did you mean 'table\.csv'"):
        load_raw(tmp_path / "tabel.csv")
    with pytest.raises(DataNotFoundError, match="no folder"):
        load_raw(tmp_path / "nowhere" / "table.csv")


def test_other_sources_are_refused(tmp_path: Path) -> None:
    (tmp_path / "table.xlsx").write_bytes(b"PK")
    kinds = ".csv, .tsv, .parquet, .feather, .arrow, .npy, .npz, IDX, got '.xlsx'"
    with pytest.raises(DataError, match=f"expected one of {kinds}"):
        load_raw(tmp_path / "table.xlsx")
    with pytest.raises(DataError, match="is not a file"):
        load_raw(tmp_path)
    with pytest.raises(InputError, match="folder is for"):
        load_raw(tmp_path / "a.csv", folder=tmp_path)
    with pytest.raises(InputError, match="no task 'ranking'"):
        load_raw("digits", task="ranking")  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["table.csv", "data.npz"])
def test_a_file_that_cannot_be_read_says_why(
    name: str, write: Any, npz: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("a,y\n1,2\n")
    path = npz(x=X, y=Y).with_name(name)

    def refuse(*_args: Any, **_options: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.open" if name.endswith("csv") else "zipfile.ZipFile", refuse)
    with pytest.raises(DataError, match="cannot be read: Permission denied"):
        load_raw(path, target="y")
