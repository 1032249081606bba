"""NPY and NPZ files, read by NumPy without pickle; no size is believed before it was checked."""

from __future__ import annotations

import math
import struct
import tokenize
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from fastnet.data.arrays import Arrays, as_matrix
from fastnet.data.columns import Target, listing, unnamed
from fastnet.data.frame import Frame
from fastnet.data.limits import require_possible
from fastnet.data.values import whole
from fastnet.errors import DataError, InputError

_DAMAGE = (
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    EOFError,
    OverflowError,
    SyntaxError,
    MemoryError,  # the parser's, for a header of ten thousand brackets
    RecursionError,
    NotImplementedError,
    RuntimeError,
    struct.error,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)
"""What NumPy and zipfile were seen to raise for damaged files."""

_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def map_npy(path: Path) -> NDArray[Any]:
    """Return the array in an NPY file without reading it: its rows are, when they are asked for.

    Raises
    ------
    DataError
        If the file is damaged, or holds something else than numbers or texts.
    """
    source = str(path)
    with _wrapped(source), path.open("rb") as file:
        _require_fit(file, path.stat().st_size, source)
        array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
        return array


def read_npy(path: Path) -> Frame:
    """Return the matrix (N, C) in an NPY file as columns ``x0``, ``x1``, ...

    Arrays with further axes are flattened, as `as_matrix` does.

    Raises
    ------
    DataError
        If the file is damaged, or holds something else than rows of numbers.
    """
    source = str(path)
    matrix = as_matrix(np.array(map_npy(path)), source)
    # All columns have one dtype; the integers among them may be labels.
    rows = map(whole, np.ascontiguousarray(matrix.T, np.float64))
    columns = dict(zip(unnamed(matrix.shape[1]), rows, strict=True))
    return Frame(len(matrix), columns, False, source)


def read_npz(
    path: Path, target: Target, *, optional: bool = False, usual: tuple[str, ...] = ("y",)
) -> Arrays:
    """Read the arrays x and y (or ``x_train``, ``y_train``, ``x_test``, ``y_test``) of an NPZ file.

    Parameters
    ----------
    path : Path
    target : str, optional
        The array of the targets. Upper and lower case are the same.
    optional : bool, default False
        Whether the targets may be absent though there are arrays of other names.
    usual : tuple of str
        The names that are looked for without `target`.

    Raises
    ------
    DataError
        If an array is not there, or the file is damaged or holds Python objects.
    """
    source = str(path)
    if target is not None and not isinstance(target, str):
        raise InputError(f"{source}: expected the target as the name of an array, got {target!r}.")
    with _wrapped(source), zipfile.ZipFile(path) as archive:
        members = {
            info.filename.removesuffix(".npy").casefold(): info for info in archive.infolist()
        }
        wanted = usual if target is None else (target,)
        optional = target is None and (optional or set(members) <= {"x", "x_train", "x_test"})
        x, y, x_test, y_test = _choose(list(members), wanted, optional, source)

        def read(name: str) -> NDArray[Any]:
            return _read_member(archive, members[name], f"{source}, array {name!r}")

        label = target or y.removesuffix("_train") or "y"
        test = None
        if x_test:
            test = Arrays(f"{source} (test)", read(x_test), read(y_test) if y_test else None, label)
        return Arrays(source, read(x), read(y) if y else None, label, test=test)


def _choose(
    names: list[str], wanted: tuple[str, ...], optional: bool, source: str
) -> tuple[str, str, str, str]:
    """Return the names of x, y, x_test and y_test; empty where there is none."""
    split = "x" not in names and "x_train" in names
    suffix = "_train" if split else ""
    x = f"x{suffix}"
    if x not in names:
        raise DataError(f"{source} has no array 'x' or 'x_train'; it has {listing(names)}.")
    for name in (name.casefold() for name in wanted):
        for y in dict.fromkeys((f"{name}{suffix}", name)):
            if y in names and y != x:
                stem = y.removesuffix("_train")
                test = (f"{n}_test" if split and f"{n}_test" in names else "" for n in ("x", stem))
                return x, y, next(test), next(test)
    if optional:
        return x, "", "x_test" if split and "x_test" in names else "", ""
    raise DataError(
        f"{source} has no array {wanted[-1]!r}; name the target: it has {listing(names)}."
    )


def _read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, source: str) -> NDArray[Any]:
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise DataError(f"{source} is compressed in a way that NumPy does not write.")
    require_possible(source, info.compress_size, info.file_size)
    with archive.open(info) as file:
        _require_fit(file, info.file_size, source)
        file.seek(0)
        array: NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)
        file.read(1)  # the checksum is compared when the end is reached
    return array


def _require_fit(file: IO[bytes], size: int, source: str) -> None:
    """Raise `DataError` unless `size` bytes can hold the array in an open NPY file.

    NumPy's reader would take the memory that a header claims before it reads on.
    """
    version = np.lib.format.read_magic(file)
    if version not in _HEADERS:
        raise DataError(f"{source}: NPY version {version} is not supported.")
    shape, _, dtype = _HEADERS[version](file)
    _require_plain(dtype, source)
    if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize > size - file.tell():
        raise DataError(f"{source} claims shape {shape}, more than the file holds.")


def _require_plain(dtype: np.dtype[Any], source: str) -> None:
    """Raise `DataError` for a dtype other than those of real numbers and texts."""
    if dtype.hasobject:
        raise DataError(f"{source} holds Python objects: save plain numbers or texts.")
    if dtype.kind not in "biufUS" or dtype.itemsize == 0:
        raise DataError(f"{source} has dtype {dtype}: expected real numbers or texts.")


@contextmanager
def _wrapped(source: str) -> Iterator[None]:
    """Turn what NumPy and zipfile raise for damaged files into `DataError`."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of a header in the style of Python 2
            yield
    except (DataError, InputError):
        raise
    except _DAMAGE as error:
        reason = str(error).partition("\n")[0]  # NumPy goes on about arguments of its own
        raise DataError(f"{source} is not a readable NumPy file: {reason}") from error
