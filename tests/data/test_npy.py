"""NPY and NPZ files: which array is what, and that nothing in them is believed unchecked."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastnet as fn
from fastnet.cli.load import load_for
from fastnet.cli.sources import Reading
from fastnet.data import load
from fastnet.errors import DataError, InputError
from tests.cli.calling import run
from tests.data.tables import cells, table

X = np.arange(12, dtype=np.float64).reshape(6, 2) / 7
Y = np.array([0, 1, 2, 0, 1, 2])

# --- npz ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("x", ["x", "X"])
@pytest.mark.parametrize("y", ["y", "Y"])
def test_x_and_y_are_found_in_upper_and_lower_case(npz: Any, x: str, y: str) -> None:
    data = load(npz(**{x: X, y: Y}))
    np.testing.assert_array_equal(data.x, X)
    np.testing.assert_array_equal(data.y, Y)
    assert (data.target_names, data.label_names, data.test) == (("y",), None, None)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        *(("f8", "f8"), (">f8", "f8"), ("g", "f8"), ("i4", "f8"), ("<i8", "f8"), ("u4", "f8")),
        *(("f4", "f4"), ("f2", "f4"), ("u1", "f4"), (">i2", "f4"), ("?", "f4")),
    ],
)
@pytest.mark.parametrize("order", ["C", "F"])
def test_inputs_are_floats_that_hold_the_numbers_of_the_file(
    npz: Any, npy: Any, given: str, kept: str, order: Any
) -> None:
    exact = X if np.dtype(given) == np.float64 else X * 7
    x = exact.astype(given, order=order)
    data = load(npz(x=x, y=Y))
    assert data.x.dtype == np.dtype(kept)
    assert data.x.flags.c_contiguous
    np.testing.assert_array_equal(data.x, x)
    np.testing.assert_array_equal(load(npy(x)).x.matrix(), x)


def test_images_of_bytes_are_scaled_and_flattened_and_matrices_of_bytes_are_not(
    npz: Any, npy: Any
) -> None:
    x = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)
    x[1, 2, 3] = 255
    for path in (npz(x=x), npy(x)):
        image = load(path).x
        assert image[1, 11] == 1.0
        np.testing.assert_array_equal(image, x.reshape(2, 12).astype(np.float32) / 255)
    np.testing.assert_array_equal(load(npz(x=x.reshape(2, 12))).x, x.reshape(2, 12))


def test_targets_stand_as_in_the_file(npz: Any) -> None:
    assert load(npz(x=X, y=Y)).y.dtype == Y.dtype
    assert load(npz(x=X, y=Y[:, None])).y.tolist() == Y.tolist()
    both = load(npz(x=X, y=X))
    np.testing.assert_array_equal(both.y, X)
    assert both.target_names == ("y[0]", "y[1]")
    none = load(npz(x=X))
    assert (none.y, none.target_names) == (None, ())


@pytest.mark.parametrize("kind", "US")
def test_texts_of_an_archive_are_words_or_numbers(npz: Any, kind: str) -> None:
    def targets(y: Any) -> Any:
        return load(npz(x=X[: len(y)], y=np.array(y).astype(kind))).y

    assert cells(targets(["cat", "dog"])) == ["cat", "dog"]
    assert targets(["1", "2.5"]).tolist() == [1, 2.5]
    assert targets([["1", "2"]]).tolist() == [[1, 2]]
    with pytest.raises(DataError, match=r"column 'y\[1\]' must hold numbers, got 'x' in row 1"):
        targets([["1", "x"]])


@pytest.mark.parametrize("test", [True, False])
def test_x_train_and_its_like_are_a_data_set_with_a_test_split(npz: Any, test: bool) -> None:
    arrays = {"X_train": X[:4], "y_train": Y[:4]}
    if test:
        arrays |= {"X_test": X[4:], "y_test": Y[4:]}
    data = load(npz(**arrays))
    assert (data.rows, data.target_names) == (4, ("y",))
    assert (data.test is not None) == test
    if data.test is not None:
        assert (data.test.name, data.test.target_names) == ("data.npz (test)", ("y",))
        assert data.test.y.tolist() == [1, 2]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y_test": Y}, "data.npz (test), row 3, column 'y': the label '2' is none of the known"),
        ({"x_test": X[:, :1]}, "data.npz (test): expected 2 columns, got 1"),
    ],
)
def test_a_test_split_that_does_not_fit_is_refused_before_the_training(
    npz: Any, change: dict[str, Any], message: str
) -> None:
    arrays = {"x_train": X, "y_train": Y % 2, "x_test": X, "y_test": Y % 2}
    for more, code in (({}, 0), (change, 1)):
        path = npz(**arrays | more)
        model = path.with_name(f"{code}.safetensors")
        options = ["--epochs", "1", "--backend", "numpy", "--quiet", "--out", str(model)]
        result = run("train", path, *options)
        assert (result.exit_code, model.exists()) == (code, not code), result.output
    assert message in result.stderr


def test_a_model_of_labels_that_are_words_takes_class_indices_too(npz: Any) -> None:
    words = np.array(list("bacbac"))
    path = npz(x=X, y=words)
    model = str(path.with_name("m.safetensors"))
    options = ["--epochs", "1", "--backend", "numpy", "--quiet", "--out", model]
    assert run("train", path, *options).exit_code == 0
    net = fn.load(model, backend="numpy")

    def classes(y: Any) -> list[int]:
        return load_for(net, str(npz(x=X[: len(y)], y=y)), Reading()).true_values.tolist()

    assert classes(words) == [1, 0, 2, 1, 0, 2]
    assert classes(Y) == Y.tolist()
    with pytest.raises(DataError, match="row 4, column 'y': the label '3' is none of"):
        classes(np.array([0, 1, 2, 3]))


def test_the_array_of_the_targets_is_named_or_usual(npz: Any) -> None:
    path = npz(x=X, labels=Y)
    assert load(path, target="labels").target_names == ("labels",)
    assert load(path, usual_target="labels").target_names == ("labels",)
    assert load(path, learning=False).y is None
    assert load(npz(x=X, labels=Y, y=X[:, 0]), target="labels").y.tolist() == Y.tolist()


@pytest.mark.parametrize(
    ("names", "target", "error", "message"),
    [
        (("x", "labels"), None, DataError, "no array 'y'; name the target: it has x, labels"),
        (("x", "labels", "y"), "kind", DataError, "no array 'kind'.*it has x, labels, y"),
        (("x", "y"), -1, InputError, "name of an array"),
        (("inputs", "y"), None, DataError, "no array 'x' or 'x_train'; it has inputs, y"),
    ],
)
def test_an_array_that_is_not_there_is_named(
    npz: Any, names: tuple[str, ...], target: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        load(npz(**dict.fromkeys(names, Y)), target=target)


def test_compressed_archives_are_read(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "c.npz", x=X, y=Y)
    assert load(tmp_path / "c.npz").rows == 6


# --- npy ------------------------------------------------------------------------------------------


def test_a_matrix_is_columns_by_number_whose_values_may_be_missing(npy: Any) -> None:
    matrix = np.asfortranarray([[1 + 1e-12, 2], [3, np.nan]])
    data = load(npy(matrix))
    assert table(data.x) == {"x0": [1 + 1e-12, 3], "x1": [2, None]}
    assert data.y is None
    assert not data.x.named


@pytest.mark.parametrize("target", [-1, "-1", 2, "2", "x2"])
def test_the_target_of_a_matrix_is_an_index(npy: Any, target: Any) -> None:
    data = load(npy(np.column_stack([X, Y])), target=target)
    assert data.y.tolist() == Y.tolist()
    np.testing.assert_array_equal(data.x.matrix(), X)


def test_further_axes_are_columns_where_some_are_targets(npy: Any) -> None:
    some = load(npy(np.arange(12).reshape(2, 2, 3)), target="x1,x5")
    assert list(some.x.columns) == ["x0", "x2", "x3", "x4"]
    assert some.y.tolist() == [[1, 5], [7, 11]]
    assert some.target_names == ("x1", "x5")


@pytest.mark.parametrize("target", [3, -4, "y", "x3", "", "9" * 5000])
def test_a_column_that_the_matrix_does_not_have_is_refused(npy: Any, target: Any) -> None:
    with pytest.raises(DataError, match="expected x0 to x2, or an index"):
        load(npy(np.ones((2, 3))), target=target)


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.ones(3), r"expected rows of numbers, got float64 of shape \(3,\)"),
        (np.float64(3), "expected rows of numbers"),
        (np.ones((0, 3)), "no rows or no columns"),
        (np.ones((3, 0)), "no rows or no columns"),
        (np.ones((2, 2), complex), "dtype complex128: expected real numbers"),
        (np.ones((2, 2), "M8[s]"), "dtype datetime64"),
        (np.zeros((2, 2), [("a", "f4")]), "expected real numbers"),
        (np.array([["a", "b"]]), "expected rows of numbers"),
        (np.array([[1, None]], dtype=object), "holds Python objects"),
        (np.array([[[1.0, np.nan]], [[np.inf, 1]]]), "row 1, column 'x1': nan is not a finite"),
        (np.zeros((1, 100_001), np.int8), "100001 columns, more than 100,000"),
    ],
)
def test_arrays_that_cannot_be_learned_from_are_refused(
    npz: Any, npy: Any, x: Any, message: str
) -> None:
    for path in (npy(x), npz(x=x)):
        with pytest.raises(DataError, match=message):
            load(path)


@pytest.mark.parametrize("value", [np.nan, -np.inf])
def test_the_first_value_that_is_not_finite_is_named_however_late(npz: Any, value: float) -> None:
    x = np.zeros((9000, 2))
    x[8999] = value
    with pytest.raises(DataError, match=f"row 9000, column 'x0': {value} is not a finite number"):
        load(npz(x=x))


@pytest.mark.parametrize("y", [Y[:5], np.ones((6, 2, 2)), np.float64(1)])
def test_targets_that_do_not_fit_the_rows_are_refused(npz: Any, y: Any) -> None:
    with pytest.raises(DataError, match="expected a target for each of 6 rows, got 'y' of shape"):
        load(npz(x=X, y=y))
    with pytest.raises(DataError, match="array 'y' holds Python objects"):
        load(npz(x=X, y=np.array([None] * 6)))


def header(shape: str, descr: str = "<f8", version: tuple[int, int] = (1, 0)) -> bytes:
    text = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    text += b" " * (-len(text) % 64) + b"\n"
    return b"\x93NUMPY" + bytes(version) + struct.pack("<H", len(text)) + text


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x93NUMPY",
        header("(3, 4)"),
        header("(50000000, 4)"),
        header("(10000000000, 4)"),
        header("(9223372036854775807, 9223372036854775807)"),
        header("(-1, 4)") + bytes(64),
        header("(-4, -4)") + bytes(1024),
        header("(3, 4)", "|O"),
        header("(1000000000000, 2)", "|S0"),
        header("(2, 2)", "<f8", (3, 0)) + bytes(64),
        header("(2, 2)", "<f8", (9, 9)) + bytes(64),
        header("(" * 5000 + ")" * 5000),
        header("'ab'"),
        b"PK\x03\x04" + bytes(100),
    ],
)
def test_a_damaged_file_or_an_absurd_size_costs_one_error_and_no_memory(
    write: Any, content: bytes
) -> None:
    path = write(content, "bad.npy")
    archive = path.with_suffix(".npz")
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("x.npy", content)
    tracemalloc.start()
    for bad in (path, archive):
        with pytest.raises(DataError):
            load(bad)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10_000_000


def test_an_archive_that_claims_more_than_it_can_hold_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("x.npy", header("(1000, 1000)") + bytes(8_000_000))
    data = bytearray(path.read_bytes())
    at = data.rfind(b"PK\x01\x02") + 24  # uncompressed size in the central directory
    data[at : at + 4] = struct.pack("<I", 4_000_000_000)
    path.write_bytes(data)
    with pytest.raises(DataError, match="claims 4,000,000,000 bytes"):
        load(path)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_compression_that_numpy_does_not_write_is_refused(tmp_path: Path, method: int) -> None:
    buffer = io.BytesIO()
    np.save(buffer, X)
    with zipfile.ZipFile(tmp_path / "odd.npz", "w", method) as file:
        file.writestr("x.npy", buffer.getvalue())
    with pytest.raises(DataError, match="compressed in a way"):
        load(tmp_path / "odd.npz")


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_wrong_checksum_is_noticed(tmp_path: Path, save: Any) -> None:
    path = tmp_path / "data.npz"
    save(path, x=X)
    data = bytearray(path.read_bytes())
    data[data.rfind(b"PK\x01\x02") + 16] ^= 1  # one bit of the checksum
    path.write_bytes(data)
    with pytest.raises(DataError, match="CRC"):
        load(path)


def test_a_header_that_numpy_explains_in_several_lines_is_refused_in_one(tmp_path: Path) -> None:
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (3, 2), }".ljust(20_479) + b"\n"
    (tmp_path / "x.npy").write_bytes(b"\x93NUMPY\1\0" + struct.pack("<H", 20_480) + header)
    with pytest.raises(ValueError, match=r"large[^\n]*\n"):
        np.load(tmp_path / "x.npy")
    with pytest.raises(DataError, match="Header info length .* is large") as caught:
        load(tmp_path / "x.npy")
    assert "\n" not in str(caught.value)
