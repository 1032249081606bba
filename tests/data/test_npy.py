"""NPY and NPZ files: which array is what, and that nothing in them is believed unchecked."""

import io
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest

from fastnet.data import load
from fastnet.errors import DataError, InputError

X = np.arange(12, dtype=np.float64).reshape(6, 2)
Y = np.array([0, 1, 2, 0, 1, 2])


@pytest.fixture
def npz(tmp_path):
    def npz(name="data.npz", **arrays):
        path = tmp_path / name
        np.savez(path, **arrays)
        return path

    return npz


@pytest.fixture
def npy(tmp_path):
    def npy(array, name="data.npy"):
        path = tmp_path / name
        np.save(path, array)
        return path

    return npy


# --- npz -------------------------------------------------------------------------------------


@pytest.mark.parametrize("x", ["x", "X"])
@pytest.mark.parametrize("y", ["y", "Y"])
def test_x_and_y_are_found_in_upper_and_lower_case(npz, x, y):
    data = load(npz(**{x: X, y: Y}))
    np.testing.assert_array_equal(data.x, X.astype(np.float32))
    assert data.x.dtype == np.float32
    assert data.y.tolist() == Y.tolist()
    assert data.label_names == ("0", "1", "2")
    assert data.schema.feature_names == ("x0", "x1")
    assert not data.schema.named


@pytest.mark.parametrize("test", [True, False])
def test_x_train_and_its_like_are_a_data_set_with_a_test_split(npz, test):
    arrays = {"X_train": X[:4], "y_train": Y[:4]}
    if test:
        arrays |= {"X_test": X[4:], "y_test": Y[4:]}
    data = load(npz(**arrays))
    assert data.rows == 4
    assert (data.test is not None) == test
    if test:
        assert data.test.y.tolist() == [1, 2]
        assert data.test.schema is data.schema


def test_a_label_that_only_the_test_split_has_is_refused(npz):
    path = npz(x_train=X, y_train=np.zeros(6, int), x_test=X, y_test=Y)
    with pytest.raises(DataError, match=r"\(test\), row 2, column 'y': the label '1'"):
        load(path)


def test_the_target_names_the_array(npz):
    path = npz(x=X, labels=Y, y=X[:, 0] / 4)
    assert load(path, target="labels").y.tolist() == Y.tolist()
    assert load(path, target="labels").schema.targets == ("labels",)
    assert load(path).task == "regression"
    with pytest.raises(DataError, match=r"no array 'kind'.*it has x, labels, y"):
        load(path, target="kind")
    with pytest.raises(InputError, match="name of an array"):
        load(path, target=-1)


def test_an_archive_with_x_only_has_no_targets(npz):
    data = load(npz(x=X))
    assert data.y is None
    assert data.task is None
    assert data.outputs is None


def test_an_archive_whose_targets_have_another_name_asks_for_it(npz):
    with pytest.raises(DataError, match="no array 'y'; name the target: it has x, labels"):
        load(npz(x=X, labels=Y))


def test_an_archive_without_x_lists_what_it_has(npz):
    with pytest.raises(DataError, match="no array 'x' or 'x_train'; it has inputs, y"):
        load(npz(inputs=X, y=Y))


def test_a_schema_finds_its_targets_or_does_without(npz):
    schema = load(npz(x=X, labels=Y), target="labels").schema
    assert load(npz(x=X, labels=Y), schema=schema).y.tolist() == Y.tolist()
    assert load(npz(x=X, other=Y), schema=schema).y is None
    with pytest.raises(DataError, match="expected 2 columns, got 3"):
        load(npz(x=np.ones((4, 3))), schema=schema)
    with pytest.raises(DataError, match="row 1, column 'labels': the label '9'"):
        load(npz(x=X, labels=Y + 9), schema=schema)


def test_texts_are_labels(npz):
    data = load(npz(x=X, y=np.array(["b", "a", "c", "b", "a", "c"])))
    assert data.label_names == ("a", "b", "c")
    assert data.y.tolist() == [1, 0, 2, 1, 0, 2]
    as_bytes = load(npz(x=X, y=np.array([b"b", b"a", b"c", b"b", b"a", b"c"])))
    assert as_bytes.label_names == data.label_names


def test_a_schema_with_words_for_labels_takes_class_indices_too(npz):
    schema = load(npz(x=X, y=np.array(["b", "a", "c", "b", "a", "c"]))).schema
    assert load(npz(x=X, y=Y), schema=schema).y.tolist() == Y.tolist()
    with pytest.raises(DataError, match="row 6, column 'y': the label '3' is none of"):
        load(npz(x=X, y=np.array([0, 1, 2, 0, 1, 3])), schema=schema)


def test_several_columns_of_y_are_values(npz):
    data = load(npz(x=X, y=X * 2))
    assert data.task == "regression"
    assert data.outputs == 2
    np.testing.assert_array_equal(data.y, X * 2)
    assert load(npz(x=X, y=X), schema=data.schema).y.shape == (6, 2)
    with pytest.raises(DataError, match="expected 2 target columns, got 1"):
        load(npz(x=X, y=Y), schema=data.schema)
    with pytest.raises(InputError, match=r"targets of shape \(N,\)"):
        load(npz(x=X, y=X), task="classification")


def test_one_column_of_y_is_a_vector(npz):
    data = load(npz(x=X, y=Y[:, None]))
    assert data.y.tolist() == Y.tolist()
    assert data.task == "classification"


@pytest.mark.parametrize("dtype", ["?", "i1", "u2", "<i8", ">i4", "f2", "<f4", ">f8"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_any_real_dtype_and_order_is_read(npz, npy, dtype, order):
    x = np.array([[0, 1], [1, 1], [1, 0]], dtype=dtype, order=order)
    expected = [[0, 1], [1, 1], [1, 0]]
    assert load(npz(x=x)).x.tolist() == expected
    assert load(npy(x)).x.tolist() == expected


def test_images_of_bytes_are_scaled_and_flattened_and_matrices_of_bytes_are_not(npz):
    x = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)
    x[1, 2, 3] = 255
    image = load(npz(x=x)).x
    assert image.shape == (2, 12)
    assert image[1, 11] == 1.0
    np.testing.assert_array_equal(image, x.reshape(2, 12).astype(np.float32) / 255)
    np.testing.assert_array_equal(load(npz(x=x.reshape(2, 12))).x, x.reshape(2, 12))


def test_compressed_archives_are_read(tmp_path):
    np.savez_compressed(tmp_path / "c.npz", x=X, y=Y)
    assert load(tmp_path / "c.npz").rows == 6


# --- npy -------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", [-1, "-1", 2, "2", "x2"])
def test_the_target_of_a_matrix_is_an_index(npy, target):
    data = load(npy(np.column_stack([X, Y])), target=target)
    assert data.task == "classification"
    assert data.y.tolist() == Y.tolist()
    np.testing.assert_array_equal(data.x, X)


def test_a_matrix_without_target_has_no_y(npy):
    data = load(npy(X))
    assert data.y is None
    assert data.task is None
    assert data.features == 2


@pytest.mark.parametrize("target", [3, -4, "y", "x3", "", "9" * 5000])
def test_a_column_that_the_matrix_does_not_have_is_refused(npy, target):
    with pytest.raises(DataError, match="expected x0 to x2, or an index"):
        load(npy(np.ones((2, 3))), target=target)


def test_a_new_matrix_is_matched_by_position_with_or_without_its_target(npy):
    schema = load(npy(np.column_stack([Y, X])), target=0).schema
    whole = load(npy(np.column_stack([Y, X])), schema=schema)
    assert whole.y.tolist() == Y.tolist()
    np.testing.assert_array_equal(whole.x, X)
    part = load(npy(X), schema=schema)
    assert part.y is None
    np.testing.assert_array_equal(part.x, X)
    with pytest.raises(DataError, match="expected 2 columns, got 5"):
        load(npy(np.ones((2, 5))), schema=schema)


# --- what is refused -------------------------------------------------------------------------


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
        (np.array([[1.0, np.nan], [np.inf, 1]]), "row 1, column 'x1': nan is not a finite"),
        (np.array([[1.0, 2], [1e300, 1]]), r"row 2, column 'x0': 1e\+300 is too large"),
        (np.zeros((1, 100_001), np.int8), "100001 columns, more than 100,000"),
    ],
)
def test_arrays_that_cannot_be_learned_from_are_refused(npz, npy, x, message):
    for path in (npy(x), npz(x=x)):
        with pytest.raises(DataError, match=message):
            load(path)


@pytest.mark.parametrize("y", [Y[:5], np.ones((6, 2, 2)), np.float64(1), np.array([None] * 6)])
def test_targets_that_do_not_fit_the_rows_are_refused(npz, y):
    with pytest.raises(DataError):
        load(npz(x=X, y=y))


def header(shape, descr="<f8", version=(1, 0)):
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
def test_a_damaged_file_or_an_absurd_size_costs_one_error_and_no_memory(tmp_path, content):
    path = tmp_path / "bad.npy"
    path.write_bytes(content)
    archive = tmp_path / "bad.npz"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("x.npy", content)
    tracemalloc.start()
    for bad in (path, archive):
        with pytest.raises(DataError):
            load(bad)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10_000_000


def test_an_archive_that_claims_more_than_it_can_hold_is_refused(tmp_path):
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
def test_compression_that_numpy_does_not_write_is_refused(tmp_path, method):
    buffer = io.BytesIO()
    np.save(buffer, X)
    with zipfile.ZipFile(tmp_path / "odd.npz", "w", method) as file:
        file.writestr("x.npy", buffer.getvalue())
    with pytest.raises(DataError, match="compressed in a way"):
        load(tmp_path / "odd.npz")


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_wrong_checksum_is_noticed(tmp_path, save):
    path = tmp_path / "data.npz"
    save(path, x=X)
    data = bytearray(path.read_bytes())
    data[data.rfind(b"PK\x01\x02") + 16] ^= 1  # one bit of the checksum
    path.write_bytes(data)
    with pytest.raises(DataError, match="CRC"):
        load(path)
