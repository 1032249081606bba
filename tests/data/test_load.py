"""load: what a source can be, what is its target, and what is refused; see also its readers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastnet as fn
from fastnet.cli.load import load_for
from fastnet.cli.sources import Reading
from fastnet.data import BUILT_IN, Dataset, load
from fastnet.data.frame_files import read_frame
from fastnet.errors import DataError, DataNotFoundError, InputError
from fastnet.preprocessing.table import TablePreprocessor
from tests.data.tables import cells, table

X = np.arange(12, dtype=np.float64).reshape(6, 2) / 7
Y = np.array([0, 1, 2, 0, 1, 2])


def test_importing_fastnet_data_loads_no_reader_and_nothing_but_numpy() -> None:
    heavy = ("pandas", "pyarrow", "scipy", "sklearn", "urllib.request", "ssl", "numba")
    code = (
        "import sys, numpy; before = set(sys.modules); import fastnet.data\n"
        f"print([m for m in {heavy!r} if m in set(sys.modules) - before])\n"
        "print([m for m in sys.modules if m in ('fastnet.data.csv', 'fastnet.data.idx')])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.split() == ["[]", "[]"]


# --- sources --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["Digits", "digit", "fashion_mnist", "fashionmnist"])
def test_a_wrong_name_is_told_the_nearest_data_set(name: str) -> None:
    with pytest.raises(DataNotFoundError, match="did you mean") as caught:
        load(name)
    assert all(known in str(caught.value) for known in BUILT_IN)
    assert isinstance(caught.value, FileNotFoundError)
    assert isinstance(caught.value, ValueError)


def test_a_wrong_file_is_told_the_nearest_in_its_folder(write: Any, tmp_path: Path) -> None:
    write("a,y\n1,2\n")
    with pytest.raises(DataNotFoundError, match=r"no file .*; did you mean 'table\.csv'"):
        load(tmp_path / "tabel.csv")
    with pytest.raises(DataNotFoundError, match="no folder"):
        load(tmp_path / "nowhere" / "table.csv")


def test_a_path_may_be_a_text_or_a_path(write: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write("a,y\n1,2.5\n", "Table.CSV")
    for given in (path, str(path)):
        data = load(given, target="y")
        assert (data.name, data.y.tolist()) == ("Table.CSV", [2.5])
    monkeypatch.chdir(write("a,y\n1,2\n", "digits").parent)
    assert load("digits").rows == 1437
    with pytest.raises(DataError, match=r"expected one of \.csv"):  # found, and of no known kind
        load("./digits")


def test_other_sources_are_refused(write: Any, tmp_path: Path) -> None:
    kinds = ".csv, .tsv, .csv.gz, .tsv.gz, .parquet, .feather, .arrow, .npy, .npz, IDX, got '.xlsx'"
    with pytest.raises(DataError, match=f"expected one of {kinds}"):
        load(write(b"PK", "table.xlsx"))
    with pytest.raises(DataError, match="is not a file"):
        load(tmp_path)
    with pytest.raises(InputError, match="folder is for"):
        load(tmp_path / "a.csv", folder=tmp_path)
    with pytest.raises(InputError, match="folder is for fashion-mnist only"):
        load("digits", folder=tmp_path)
    with pytest.raises(InputError, match="no task 'regresion'; did you mean 'regression'"):
        load("digits", task="regresion")  # type: ignore[arg-type]


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
        load(path, target="y")


# --- tables and their targets ---------------------------------------------------------------------


def test_a_table_is_a_frame_without_its_target(write: Any) -> None:
    data = load(write("a,color,y\n1,red,cat\n,,dog\n"), target="y")
    assert table(data.x) == {"a": [1, None], "color": ["red", None]}
    assert cells(data.y) == ["cat", "dog"]
    assert (data.rows, data.target_names, data.label_names) == (2, ("y",), None)


def test_several_targets_are_a_matrix(write: Any) -> None:
    path = write("a,u,b,v\n1,2,3,4\n5,6,7,8\n")
    for target in ("v,u", "v, u", ["v", "u"], ("v", "u")):
        data = load(path, target=target)
        assert data.y.tolist() == [[4, 2], [8, 6]]
        assert data.target_names == ("v", "u")
        assert table(data.x) == {"a": [1, 5], "b": [3, 7]}
    assert load(write('a,"u,v"\n1,2.5\n'), target="u,v").y.tolist() == [2.5]
    with pytest.raises(DataError, match="column 'v' must hold numbers, got 'w' in row 1"):
        load(write("a,u,v\n1,2,w\n"), target="u,v")


@pytest.mark.parametrize("target", ["x0", "0", 0, -3, "-3"])
def test_the_target_of_a_table_without_header_is_an_index(write: Any, target: Any) -> None:
    data = load(write("1,2,3\n4,5,6\n"), target=target)
    assert data.y.tolist() == [1, 4]
    assert data.target_names == ("x0",)
    assert table(data.x) == {"x1": [2, 5], "x2": [3, 6]}


@pytest.mark.parametrize(
    ("text", "target", "error", "message"),
    [
        ("age,height,y\n1,2,3\n", None, InputError, "needs a target.*Columns: age, height, y"),
        ("age,height\n1,2\n", "heigth", DataError, "'heigth'; did you mean 'height'.*age, height"),
        ("5.1,3.5,setosa\n4.9,3.0,setosa\n", "species", DataError, "add a header row"),
        ("y\n1\n2\n", "y", DataError, "no column beside the target"),
        *(("1,2,3\n", wrong, DataError, "expected x0 to x2, or an index")
          for wrong in ("3", 3, -4, "x3", "a", "0.5")),
        *(("a,u\n1,2\n", wrong, InputError, "[Tt]arget")
          for wrong in ("u,u", [], [None], 1.5, True, [True])),
        *(("a,u\n1,2\n", wrong, DataError, "has no column") for wrong in ("", "u,", 1, "1")),
    ],
)  # fmt: skip
def test_a_target_that_is_not_there_or_makes_no_sense_is_refused(
    write: Any, text: str, target: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        load(write(text), target=target)


def test_labels_may_look_like_numbers_in_classification_only(write: Any) -> None:
    path = write("a,y\n1,7\n2,8\n3,x\n")
    assert cells(load(path, target="y", task="classification").y) == ["7", "8", "x"]
    with pytest.raises(DataError, match="column 'y' must hold numbers, got 'x' in row 3"):
        load(path, target="y")


def test_classification_has_one_target(write: Any, npz: Any) -> None:
    for path, target in ((write("a,u,v\n1,0,1\n"), "u,v"), (npz(x=X, y=X), None)):
        assert load(path, target=target).y.ndim == 2
        with pytest.raises(InputError, match="Classification needs one target column, got 2"):
            load(path, target=target, task="classification")


def test_a_table_to_predict_needs_no_target_and_keeps_all_columns(write: Any) -> None:
    path = write("a,y\n1,2\noops,3\n4,5\n")
    data = load(path, learning=False)
    assert data.y is None
    assert list(data.x.columns) == ["a", "y"]
    known = data.with_targets(["y"])
    assert known.y.tolist() == [2, 3, 5]
    assert cells(known.x.columns["a"]) == ["1", "oops", "4"]
    with pytest.raises(DataError, match="column 'a' must hold numbers, got 'oops' in row 2"):
        load(path, target="y")


def test_text_columns_reach_the_reader(write: Any) -> None:
    path = write("code,y\n1,2\n3,4\n")
    data = load(path, target="y", text_columns=lambda names, named, source: {"code"})
    assert table(data.x) == {"code": ["1", "3"]}


# --- data sets ------------------------------------------------------------------------------------


@pytest.mark.parametrize("index", [slice(1, 3), np.array([1, 2]), np.array([False, True, True])])
def test_taken_rows_are_those_of_all_parts(write: Any, npz: Any, index: Any) -> None:
    taken = load(write("a,y\n1,u\n2,v\n3,w\n"), target="y").take(index)
    assert cells(taken.y) == ["v", "w"]
    assert table(taken.x) == {"a": [2, 3]}
    arrays = load(npz(x_train=X[:3], y_train=Y[:3], x_test=X, y_test=Y)).take(index)
    np.testing.assert_array_equal(arrays.x, X[1:3])
    np.testing.assert_array_equal(arrays.y, Y[1:3])
    assert arrays.test is None


def test_parts_that_do_not_fit_are_refused() -> None:
    with pytest.raises(DataError, match="x has 6 rows, but y has 5"):
        Dataset("d", X, Y[:5])
    with pytest.raises(DataError, match=r"x of shape \(N, I\)"):
        Dataset("d", X[0], None)
    with pytest.raises(DataError, match="t: expected 2 columns, got 1"):
        Dataset("d", X, Y, test=Dataset("t", X[:, :1], Y))


# --- new files for a network ----------------------------------------------------------------------

NAMED = "a,color,y\n1,red,cat\n2,blue,dog\n3,green,cat\n"
CODES = "a,y\n1,007\n2,08\n3,x\n"
PLAIN = "a,b,y\n1,2,0\n3,4,1\n5,7,0\n"
BARE = "0,1,2\n1,3,4\n0,5,7\n"


def new_rows(write: Any, trained: str, text: str, given: str | None) -> tuple[Any, Any]:
    """Return what the commands make of a new file, for a network of the columns of another."""
    target = "x0" if trained == BARE else "y"
    frame = read_frame(write(trained))
    task = "classification" if trained == CODES else "auto"
    made = TablePreprocessor.fit(frame, target, task=task, scaling="none")
    net = fn.Network([made.inputs, 2])
    net.preprocessor = made
    rows = load_for(net, str(write(text, "new.csv")), Reading(), given)
    targets = None if rows.y is None else rows.true_values.tolist()
    return made.transform(rows.x).tolist(), targets


@pytest.mark.parametrize(
    ("trained", "text", "given", "x", "y"),
    [
        (
            NAMED,
            "y,no,color,a\ndog,,pink,7\ncat,!,red,8\n",
            None,
            [[7, 0, 0, 0], [8, 0, 0, 1]],
            [1, 0],
        ),
        (NAMED, "color,a\nblue,7\n", None, [[7, 1, 0, 0]], None),
        (NAMED, "color,a,is\nblue,7,dog\n", "is", [[7, 1, 0, 0]], [1]),
        (PLAIN, "5,6\n", None, [[5, 6]], None),
        (PLAIN, "5,6,1\n", "-1", [[5, 6]], [1]),
        (CODES, "a,is\n5,08\n", "is", [[5]], [1]),
        (BARE, "1,5,6\n", None, [[5, 6]], [1]),
        (BARE, "5,6\n", None, [[5, 6]], None),
        (BARE, "5,6,0\n", "-1", [[5, 6]], [0]),
    ],
)
def test_a_new_file_is_matched_by_name_or_position_with_or_without_its_target(
    write: Any, trained: str, text: str, given: str | None, x: Any, y: Any
) -> None:
    assert new_rows(write, trained, text, given) == (x, y)


@pytest.mark.parametrize(
    ("trained", "text", "given", "message"),
    [
        (NAMED, "colour,a\nred,1\n", None, "new.csv has no column 'color'; did you mean 'colour'"),
        (
            NAMED,
            "color,a\nred,w\n",
            None,
            "new.csv: column 'a' must hold numbers, got 'w' in row 1",
        ),
        (NAMED, "color,a,is\nblue,7,dog\n", "y", "no column 'y'"),
        (
            NAMED,
            "a,color,y\n7,blue,dog\n8,red,cow\n9,red,sow\n",
            None,
            "row 2, column 'y': the label 'cow' is none",
        ),
        (PLAIN, "5,6,1\n", None, "new.csv: expected 2 columns, got 3"),
        (BARE, "1,2,3,4\n", None, "new.csv: expected 2 columns, got 4"),
        (BARE, "2,3,4\n", None, "row 1, column 'x0': the label '2' is none"),
    ],
)
def test_a_new_file_that_does_not_fit_is_refused(
    write: Any, trained: str, text: str, given: str | None, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        new_rows(write, trained, text, given)
