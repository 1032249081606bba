"""IDX files: every type of the format, plain and by gzip, and sizes that are not believed."""

import gzip
import struct
import tracemalloc

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fastnet.data import load
from fastnet.data.idx import TYPES, read_idx
from fastnet.errors import DataError, DataNotFoundError, InputError

NAME = "a-images-idx3-ubyte"
CODES = {np.dtype(name): code for code, name in TYPES.items()}


def idx_bytes(array):
    """Return `array` in the IDX format."""
    big = array.astype(array.dtype.newbyteorder(">"))
    head = struct.pack(f">HBB{array.ndim}I", 0, CODES[big.dtype], array.ndim, *array.shape)
    return head + big.tobytes()


arrays = st.sampled_from(["u1", "i1", "i2", "i4", "f4", "f8"]).flatmap(
    lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=1, max_dims=4, max_side=5))
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(arrays, st.booleans())
def test_what_is_written_is_read(write, array, packed):
    content = idx_bytes(array)
    back = read_idx(write(gzip.compress(content, 1) if packed else content, NAME))
    assert back.dtype == array.dtype
    assert back.dtype.isnative
    np.testing.assert_array_equal(back, array)


@pytest.mark.parametrize(
    "name",
    [
        "train-images-idx3-ubyte",
        "train-images-idx3-ubyte.gz",
        "train-images.idx3-ubyte",
        "rows.idx",
        "rows.idx.gz",
        "ROWS.IDX",
    ],
)
def test_idx_files_are_known_by_their_names_and_gzip_by_its_content(write, name):
    array = np.arange(6, dtype=np.int16).reshape(3, 2)
    assert load(write(idx_bytes(array), name)).x.tolist() == array.tolist()
    assert load(write(gzip.compress(idx_bytes(array)), name)).x.tolist() == array.tolist()


@pytest.mark.parametrize("suffixes", [("", ""), (".gz", ".gz"), (".gz", ""), ("", ".gz")])
def test_labels_are_taken_from_the_file_beside(write, suffixes):
    images = np.arange(2 * 2 * 3, dtype=np.uint8).reshape(2, 2, 3)
    pack = {"": bytes, ".gz": gzip.compress}
    path = write(pack[suffixes[0]](idx_bytes(images)), f"t10k-images-idx3-ubyte{suffixes[0]}")
    assert load(path).y is None
    labels = pack[suffixes[1]](idx_bytes(np.array([7, 3], np.uint8)))
    write(labels, f"t10k-labels-idx1-ubyte{suffixes[1]}")
    data = load(path)
    assert data.y.tolist() == [7, 3]
    assert (data.target_names, data.label_names) == (("label",), None)
    np.testing.assert_array_equal(data.x, images.reshape(2, 6).astype(np.float32) / 255)


def test_the_target_names_the_file_of_the_labels(write):
    path = write(idx_bytes(np.ones((2, 3), np.float32)), "rows.idx")
    labels = write(idx_bytes(np.array([1, 0], np.uint8)), "classes.idx")
    assert load(path, target="classes.idx").y.tolist() == [1, 0]
    assert load(path, target=str(labels)).y.tolist() == [1, 0]
    with pytest.raises(DataNotFoundError, match=r"no IDX file 'other\.idx'"):
        load(path, target="other.idx")
    with pytest.raises(InputError, match="name of an IDX file"):
        load(path, target=3)


def test_labels_are_no_rows_and_must_fit_them(write):
    labels = write(idx_bytes(np.zeros(3, np.uint8)), "labels-idx1-ubyte")
    with pytest.raises(DataError, match=r"expected rows of numbers, got uint8 of shape \(3,\)"):
        load(labels)
    with pytest.raises(DataError, match="a target for each of 2 rows"):
        load(write(idx_bytes(np.ones((2, 3), np.uint8)), "rows.idx"), target=labels.name)


GOOD = idx_bytes(np.arange(12, dtype=np.uint8).reshape(3, 4))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "damaged"),
        (b"\0\0\x08", "damaged"),
        (GOOD[:7], "damaged"),
        (b"PK\x03\x04" + GOOD, "not an IDX file"),
        (b"\0\0\x0a" + GOOD[3:], "not an IDX file"),
        (b"\0\0\x08\0" + GOOD[4:], "not an IDX file"),
        (b"\0\0\x08\xff" + bytes(2000), "not an IDX file"),
        (GOOD[:-1], "more than it can hold"),
        (GOOD + b"\0", "exactly the 12 bytes"),
        (b"\0\0\x08\x02" + struct.pack(">II", 0, 4), "nothing"),
        (b"\0\0\x0e\x04" + b"\xff" * 16 + bytes(100), "more than it can hold"),
    ],
)
@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
def test_a_damaged_file_is_refused(write, content, message, packed):
    if packed:
        content = gzip.compress(content)
        message = message.replace("more than it can hold", "more than it can hold|exactly")
    with pytest.raises(DataError, match=message):
        read_idx(write(content, NAME))


@pytest.mark.parametrize("cut", [1, 8, 9, 12])
def test_gzip_that_breaks_off_is_refused(write, cut):
    with pytest.raises(DataError, match="damaged"):
        read_idx(write(gzip.compress(GOOD)[:-cut], NAME))


def test_a_wrong_gzip_checksum_is_noticed(write):
    packed = bytearray(gzip.compress(GOOD))
    packed[-8] ^= 1
    with pytest.raises(DataError, match="CRC check failed"):
        read_idx(write(bytes(packed), NAME))


def peak_of(path):
    tracemalloc.start()
    with pytest.raises(DataError):
        read_idx(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def test_a_gzip_bomb_takes_no_more_memory_than_its_header_claims(write):
    bomb = gzip.compress(GOOD[:12] + bytes(100_000_000))
    assert len(bomb) > 90_000  # so the claim of 12 bytes is what bounds it
    assert peak_of(write(bomb, NAME)) < 2_000_000


def test_a_header_may_not_claim_more_than_gzip_can_pack(write):
    small = gzip.compress(b"\0\0\x08\x02" + struct.pack(">II", 1 << 31, 1 << 20) + bytes(1000))
    assert peak_of(write(small, NAME)) < 2_000_000


def test_a_header_may_claim_what_gzip_can_pack(write):
    zeros = np.zeros((1000, 1000), np.uint8)  # the best that deflate can do, 1,030 : 1
    assert read_idx(write(gzip.compress(idx_bytes(zeros)), NAME)).shape == (1000, 1000)
