"""load: what a source can be, and what is said when there is none of that name."""

import subprocess
import sys

import numpy as np
import pytest

from fastnet.data import BUILT_IN, Dataset, TableSchema, load
from fastnet.errors import DataError, DataNotFoundError, InputError


def test_importing_fastnet_data_loads_no_reader_and_nothing_but_numpy():
    heavy = ("pandas", "pyarrow", "scipy", "sklearn", "urllib.request", "ssl", "numba")
    code = (
        "import sys, numpy; before = set(sys.modules); import fastnet.data\n"
        f"print([m for m in {heavy!r} if m in set(sys.modules) - before])\n"
        "print([m for m in sys.modules if m in ('fastnet.data.csv', 'fastnet.data.idx')])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.split() == ["[]", "[]"]


@pytest.mark.parametrize("name", ["Digits", "digit", "fashion_mnist", "fashionmnist"])
def test_a_wrong_name_is_told_the_nearest_data_set(name):
    with pytest.raises(DataNotFoundError, match="did you mean") as caught:
        load(name)
    for known in BUILT_IN:
        assert known in str(caught.value)


def test_a_wrong_file_is_told_the_nearest_in_its_folder(tmp_path):
    (tmp_path / "iris.csv").write_text("a,y\n1,2\n", encoding="utf-8")
    with pytest.raises(DataNotFoundError, match=r"no file .*; did you mean 'iris\.csv'"):
        load(tmp_path / "irsi.csv")
    with pytest.raises(DataNotFoundError, match="no folder"):
        load(tmp_path / "nowhere" / "iris.csv")


def test_a_file_called_like_a_data_set_needs_a_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "digits").write_text("a,y\n1,2\n", encoding="utf-8")
    assert load("digits").rows == 1437
    with pytest.raises(DataError, match=r"expected one of \.csv"):
        load("./digits")


def test_another_kind_of_file_is_told_which_are_known(tmp_path):
    (tmp_path / "table.xlsx").write_bytes(b"PK")
    with pytest.raises(
        DataError, match=r"expected one of .csv, .tsv, .parquet, .arrow, .feather, .npy, .npz, IDX"
    ):
        load(tmp_path / "table.xlsx")


def test_a_folder_is_not_a_file(tmp_path):
    with pytest.raises(DataError, match="is not a file"):
        load(tmp_path)


def test_a_file_that_cannot_be_read_says_why(tmp_path, monkeypatch):
    path = tmp_path / "table.csv"
    path.write_text("a,y\n1,2\n", encoding="utf-8")

    def refuse(*_args, **_options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.open", refuse)
    with pytest.raises(DataError, match="cannot be read: Permission denied"):
        load(path, target="y")


def test_a_folder_is_for_built_in_data_sets(tmp_path):
    with pytest.raises(InputError, match="folder is for"):
        load(tmp_path / "a.csv", folder=tmp_path)


def test_a_path_may_be_a_text_or_a_path(tmp_path):
    path = tmp_path / "Table.CSV"
    path.write_text("a,y\n1,2.5\n", encoding="utf-8")
    assert load(path, target="y").name == "Table.CSV"
    assert load(str(path), target="y").y.tolist() == [2.5]


def test_one_schema_serves_files_of_every_kind(tmp_path):
    x, y = np.arange(6.0).reshape(3, 2), np.array([0, 1, 0])
    np.savez(tmp_path / "a.npz", x=x, y=y)
    np.save(tmp_path / "a.npy", x)
    np.savetxt(tmp_path / "a.csv", x, delimiter=",")
    (tmp_path / "b.csv").write_text("p,q,y\n0,1,0\n2,3,1\n4,5,0\n", encoding="utf-8")
    for trained in (load(tmp_path / "a.npz"), load(tmp_path / "b.csv", target="y")):
        schema = TableSchema.from_json(trained.schema.to_json())
        for name in ("a.npz", "a.npy", "a.csv", "b.csv"):
            data = load(tmp_path / name, schema=schema)
            assert data.x.tolist() == x.tolist(), name
            if data.y is not None:
                assert data.y.tolist() == y.tolist(), name


def test_a_data_set_whose_parts_do_not_fit_is_refused():
    schema = TableSchema.of_matrix(2)
    x = np.ones((3, 2), np.float32)
    with pytest.raises(DataError, match="x has 3 rows, but y has 2"):
        Dataset("d", x, np.zeros(2, np.int64), "regression", None, schema)
    with pytest.raises(DataError, match=r"x of shape \(N, I\)"):
        Dataset("d", x[0], None, None, None, schema)
