"""Damaged files: whatever bytes change, load gives data or a DataError, never anything else."""

import gzip
import io

import numpy as np
import pytest

from fastnet.data import load
from fastnet.errors import DataError

MUTANTS = 400


def idx_file():
    array = np.arange(60, dtype=np.uint8).reshape(5, 3, 4)
    return b"\0\0\x08\x03" + np.array(array.shape, ">u4").tobytes() + array.tobytes()


def npy_file():
    out = io.BytesIO()
    np.save(out, np.arange(12.0).reshape(4, 3))
    return out.getvalue()


def npz_file(save):
    out = io.BytesIO()
    save(out, x=np.arange(12.0).reshape(4, 3), y=np.array(["a", "b", "a", "b"]))
    return out.getvalue()


CSV = b'a,"b c",word,y\r\n1,2.5,red,0\r\n-3e2,4,"blue, or",1\r\n5,.5,red,0\r\n'
FILES = {
    "rows.idx": (idx_file(), None),
    "packed.idx.gz": (gzip.compress(idx_file(), mtime=0), None),
    "rows.npy": (npy_file(), "-1"),
    "stored.npz": (npz_file(np.savez), None),
    "deflated.npz": (npz_file(np.savez_compressed), None),
    "mixed.csv": (CSV, "y"),
    "numbers.csv": (b"1,2,3\n4,5,6\n7,8,9\n", "x0"),
}


def mutant(good, rng):
    """Return `good` with a few bytes changed, cut out, put in or doubled."""
    data = bytearray(good)
    for _ in range(rng.integers(1, 4)):
        at = int(rng.integers(len(data) + 1))
        length = int(rng.integers(1, 9))
        kind = rng.integers(5)
        if kind == 0:
            data[at : at + 1] = rng.bytes(1)
        elif kind == 1:
            data[at : at + length] = rng.choice([b"\0", b"\xff", b"9", b'"', b",", b"\n"]) * length
        elif kind == 2:
            del data[at : at + length]
        elif kind == 3:
            data[at:at] = data[at : at + length * 4]
        else:
            del data[at:]
    return bytes(data)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", FILES)
def test_a_mutant_is_data_or_a_data_error(tmp_path, name):
    good, target = FILES[name]
    path = tmp_path / name
    path.write_bytes(good)
    assert load(path, target=target).rows >= 3  # the file that the mutants are made of is good
    rng = np.random.default_rng(7)
    refused = 0
    for number in range(MUTANTS):
        path.write_bytes(mutant(good, rng))
        try:
            data = load(path, target=target)
        except DataError as error:
            refused += 1
            assert "\n" not in str(error), number
        else:
            assert np.isfinite(data.x).all(), number
    assert refused > MUTANTS / 10  # the mutations do hit something
