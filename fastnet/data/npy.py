"""NPY and NPZ files, read without pickle and without believing a size before it was checked."""

from __future__ import annotations

import math
import struct
import tokenize
import warnings
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from fastnet.data.columns import Target
from fastnet.data.limits import require_possible
from fastnet.data.matrices import Arrays, as_matrix
from fastnet.data.table import Table, listing, unnamed
from fastnet.data.text import Kind
from fastnet.errors import DataError, InputError
from fastnet.preprocessing.schema import TableSchema

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


@dataclass(frozen=True, eq=False)
class MatrixFile:
    """A matrix from an NPY file, with columns ``x0``, ``x1``, ...; implements ``TableFile``."""

    source: str
    names: tuple[str, ...]
    matrix: NDArray[Any]
    named: bool = False

    def read(self, kinds: Mapping[str, Kind]) -> Table:
        """Return all columns, whatever is in `kinds`: they are there already, and numbers."""
        return Table(self.source, len(self.matrix), self.names, self.matrix)


def open_npy(path: Path) -> MatrixFile:
    """Read an NPY file of numbers, (N, I) or (N, ...).

    Raises
    ------
    DataError
        If the file is damaged, or holds something else.
    """
    source = str(path)
    with _wrapped(source), path.open("rb") as file:
        matrix = as_matrix(_read_array(file, path.stat().st_size, source), source)
    return MatrixFile(source, unnamed(matrix.shape[1]), matrix)


def map_npy(path: Path) -> NDArray[Any]:
    """Return the array in an NPY file without reading it: its rows are, when they are asked for.

    Raises
    ------
    DataError
        If the file is damaged, or holds something else than numbers or texts.
    """
    source = str(path)
    with _wrapped(source), path.open("rb") as file:
        shape, fortran_order, dtype = _read_header(file, path.stat().st_size, source)
        order: Any = "F" if fortran_order else "C"
        if not math.prod(shape):
            return np.zeros(shape, dtype)
        return np.memmap(path, dtype, "r", file.tell(), shape, order)


def read_npz(path: Path, target: Target, schema: TableSchema | None) -> Arrays:
    """Read the arrays x and y (or ``x_train``, ``y_train``, ``x_test``, ``y_test``) of an NPZ file.

    Upper and lower case are the same. `target` names the array of the targets; without it, it is
    the one that `schema` was made with, or y.

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
        x, y, x_test, y_test = _choose(list(members), target, schema, source)

        def read(name: str) -> NDArray[Any]:
            return _read_member(archive, members[name], f"{source}, array {name!r}")

        label = target or y.removesuffix("_train") or "y"
        test = None
        if x_test:
            test = Arrays(f"{source} (test)", read(x_test), read(y_test) if y_test else None, label)
        return Arrays(source, read(x), read(y) if y else None, label, test=test)


def _choose(
    names: list[str], target: str | None, schema: TableSchema | None, source: str
) -> tuple[str, str, str, str]:
    """Return the names of x, y, x_test and y_test; empty where there is none."""
    split = "x" not in names and "x_train" in names
    suffix = "_train" if split else ""
    x = f"x{suffix}"
    if x not in names:
        raise DataError(f"{source} has no array 'x' or 'x_train'; it has {listing(names)}.")
    known = [schema.targets[0].split("[")[0]] if schema and schema.targets else []
    wanted = [target] if target is not None else [*known, "y"]
    for name in (name.casefold() for name in wanted):
        for y in dict.fromkeys((f"{name}{suffix}", name)):
            if y in names and y != x:
                stem = y.removesuffix("_train")
                test = (f"{n}_test" if split and f"{n}_test" in names else "" for n in ("x", stem))
                return x, y, next(test), next(test)
    if target is None and (schema is not None or set(names) <= {"x", "x_train", "x_test"}):
        return x, "", "x_test" if split and "x_test" in names else "", ""
    raise DataError(
        f"{source} has no array {wanted[-1]!r}; name the target: it has {listing(names)}."
    )


def _read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, source: str) -> NDArray[Any]:
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise DataError(f"{source} is compressed in a way that NumPy does not write.")
    require_possible(source, info.compress_size, info.file_size)
    with archive.open(info) as file:
        array = _read_array(file, info.file_size, source)
        file.read(1)  # the checksum is compared when the end is reached
    return array


def _read_array(file: IO[bytes], size: int, source: str) -> NDArray[Any]:
    """Return the array in an open NPY file of `size` bytes."""
    shape, fortran_order, dtype = _read_header(file, size, source)
    bytes_claimed = math.prod(shape) * dtype.itemsize
    data = file.read(bytes_claimed)
    if len(data) < bytes_claimed:
        raise DataError(f"{source} ends early.")
    order: Any = "F" if fortran_order else "C"
    return np.frombuffer(data, dtype=dtype).reshape(shape, order=order)


def _read_header(
    file: IO[bytes], size: int, source: str
) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Return shape, whether columns come first, and dtype, all of which the file can hold."""
    version = np.lib.format.read_magic(file)
    if version not in _HEADERS:
        raise DataError(f"{source}: NPY version {version} is not supported.")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of a header in the style of Python 2
        shape, fortran_order, dtype = _HEADERS[version](file)
    if dtype.hasobject:
        raise DataError(f"{source} holds Python objects: save plain numbers or texts.")
    if dtype.kind not in "biufUS" or dtype.itemsize == 0:
        raise DataError(f"{source} has dtype {dtype}: expected real numbers or texts.")
    if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize > size - file.tell():
        raise DataError(f"{source} claims shape {shape}, more than the file holds.")
    return shape, fortran_order, dtype


@contextmanager
def _wrapped(source: str) -> Iterator[None]:
    try:
        yield
    except (DataError, InputError):
        raise
    except _DAMAGE as error:
        raise DataError(f"{source} is not a readable NumPy file: {error}") from error
