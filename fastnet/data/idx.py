"""IDX files, the format of MNIST: a type code, the sizes of the axes, and the values.

Two zero bytes, a type, a number of axes; one big-endian 32-bit size per axis; then the values,
big-endian, last axis fastest. Files may be compressed by gzip.
"""

from __future__ import annotations

import gzip
import math
import re
import struct
import zlib
from io import BufferedIOBase
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnet.data.arrays import Arrays
from fastnet.data.columns import Target
from fastnet.data.limits import MAX_RATIO, require_possible
from fastnet.errors import DataError, DataNotFoundError, InputError

TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_MAX_AXES = 32


def read_idx(path: Path) -> NDArray[Any]:
    """Return the array in an IDX file, plain or compressed by gzip, in native byte order.

    Raises
    ------
    DataError
        If it is no IDX file, damaged, or its size is not what it claims.
    """
    size = path.stat().st_size
    try:
        with path.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            if not packed:
                return _read(file, size, str(path))
            with gzip.open(file) as unpacked:
                return _read(unpacked, size * MAX_RATIO, str(path), packed=size)
    except (gzip.BadGzipFile, EOFError, MemoryError, zlib.error, struct.error) as error:
        raise DataError(f"{path} is damaged: {error}.") from error


def _read(file: BufferedIOBase, size: int, source: str, packed: int | None = None) -> NDArray[Any]:
    """Return the array; `size` is the most bytes, header included, that there can be."""
    zeros, code, axes = struct.unpack(">HBB", file.read(4))
    if zeros or code not in TYPES or not 1 <= axes <= _MAX_AXES:
        raise DataError(f"{source} is not an IDX file.")
    shape = struct.unpack(f">{axes}I", file.read(4 * axes))
    dtype = np.dtype(TYPES[code])
    claimed = math.prod(shape) * dtype.itemsize
    if not 0 < claimed <= size - 4 - 4 * axes:
        raise DataError(f"{source} claims shape {shape}: nothing, or more than it can hold.")
    if packed is not None:
        require_possible(source, packed, claimed)
    values = np.empty(math.prod(shape), dtype=dtype)  # its pages are taken only as they are filled
    view, filled = values.view(np.uint8).data, 0
    while filled < claimed and (count := file.readinto(view[filled:])):
        filled += count
    if filled < claimed or file.read(1):
        raise DataError(f"{source} does not hold exactly the {claimed} bytes that it claims.")
    return values.reshape(shape).astype(dtype.newbyteorder("="), copy=False)


def read_idx_pair(path: Path, target: Target) -> Arrays:
    """Read inputs from an IDX file, and the labels from the file that `target` names.

    Without `target`, the labels are in the file beside it that is called alike, as in
    ``train-images-idx3-ubyte`` and ``train-labels-idx1-ubyte``; if there is none, y is None.

    Raises
    ------
    DataNotFoundError
        If the file that `target` names is not there.
    """
    if target is None:
        labels = _labels_beside(path)
    elif isinstance(target, str):
        labels = next((p for p in (path.parent / target, Path(target)) if p.is_file()), None)
        if labels is None:
            raise DataNotFoundError(f"There is no IDX file {target!r} with the labels of {path}.")
    else:
        raise InputError(f"{path}: expected the target as the name of an IDX file, got {target!r}.")
    y = None if labels is None else read_idx(labels)
    return Arrays(str(path), read_idx(path), y, "label")


def _labels_beside(path: Path) -> Path | None:
    name = re.sub(r"images([.-]idx)\d", r"labels\g<1>1", path.name)
    if name == path.name:
        return None
    plain = name.removesuffix(".gz")
    choices = (path.with_name(name), path.with_name(plain), path.with_name(f"{plain}.gz"))
    return next((choice for choice in choices if choice.is_file()), None)
