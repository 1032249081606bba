"""What `Chunks` read: arrays, and files whose rows are found by their number."""

from __future__ import annotations

import glob
import importlib
import mmap
import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from fastnet.data.columns import unnamed
from fastnet.data.frame import Frame, as_frame
from fastnet.data.frame_files import kind_of_file, require_default
from fastnet.data.places import RowsOf
from fastnet.data.text_format import DEFAULT, TextFormat
from fastnet.errors import DataError, DataNotFoundError, InputError
from fastnet.utils.param_validation import refuse_masked

Array = NDArray[Any]

KINDS: Final = (".npy", ".parquet", ".csv", ".tsv", ".csv.gz", ".tsv.gz", ".feather", ".arrow")


class Source(Protocol):
    """Rows that are read in ranges.

    Attributes
    ----------
    name : str
        What messages call it.
    rows, row_bytes : int
        Number of rows, and the size of one where it is stored.
    names : tuple of str
    named : bool
        Whether the names are the data's own; else they are ``x0``, ``x1``, ...
    matrix : bool
        Whether all columns are numbers, so that `read` works.
    """

    @property
    def name(self) -> str: ...
    @property
    def rows(self) -> int: ...
    @property
    def row_bytes(self) -> int: ...
    @property
    def names(self) -> tuple[str, ...]: ...
    @property
    def named(self) -> bool: ...
    @property
    def matrix(self) -> bool: ...

    def read(self, start: int, stop: int) -> Array:
        """Return rows as a new array (stop - start, columns) of numbers."""
        ...

    def frame(
        self,
        start: int,
        stop: int,
        texts: Collection[str] = (),
        as_written: Collection[str] = (),
        only: Collection[str] | None = None,
    ) -> Frame:
        """Return rows as a table; see `fastnet.data.csv_columns.read_cells`."""
        ...


@dataclass(eq=False)
class ArraySource:
    """An array, or the file of one, which is open only while it is read: files may be many.

    Attributes
    ----------
    values : array or Path
    """

    name: str
    values: Any
    shape: tuple[int, ...]
    itemsize: int
    matrix: bool = True
    named: bool = False

    @classmethod
    def of(cls, name: str, values: Any) -> ArraySource:
        """Return an array, or a file, as a source; raise `InputError` if it holds no rows."""
        refuse_masked(name, values)
        array = _mapped(values)
        shape = getattr(array, "shape", None)
        if shape is None or len(shape) not in (1, 2):
            got = type(array).__name__ if shape is None else f"the shape {shape}"
            raise InputError(f"{name} must be a file or an array of rows, got {got}.")
        dtype = np.dtype(array.dtype)
        if dtype.kind not in "biuf":
            raise InputError(f"{name} must hold numbers, got {dtype}.")
        return cls(name, values, tuple(map(int, shape)), dtype.itemsize)

    @property
    def rows(self) -> int:
        return self.shape[0]

    @property
    def axes(self) -> int:
        """1 if a row is a number, not several."""
        return len(self.shape)

    @property
    def names(self) -> tuple[str, ...]:
        return unnamed(1 if self.axes == 1 else self.shape[1])

    @property
    def row_bytes(self) -> int:
        return max(1, len(self.names) * self.itemsize)

    def read(self, start: int, stop: int, step: int = 1) -> Array:
        """Return rows, all of them or at equal distances, as a new array of numbers."""
        values = _mapped(self.values)
        part = np.array(values[start:stop:step] if step > 1 else values[start:stop])
        if isinstance(values, np.memmap):
            release(values)
        return part.reshape(len(part), len(self.names))

    def frame(
        self,
        start: int,
        stop: int,
        texts: Collection[str] = (),
        as_written: Collection[str] = (),
        only: Collection[str] | None = None,
    ) -> Frame:
        frame = as_frame(self.read(start, stop), source=RowsOf.after(self.name, start))
        return frame if only is None else frame.without([n for n in self.names if n not in only])


def _mapped(values: Any) -> Any:
    if isinstance(values, Path):
        return importlib.import_module("fastnet.data.npy").map_npy(values)
    return values


def release(values: Any) -> None:
    """Give back the pages of a mapped file that were read: they count as this process's memory."""
    mapped = getattr(values, "_mmap", None)
    # In mode "c" the pages hold changes that are nowhere else.
    if mapped is not None and values.mode != "c" and hasattr(mmap, "MADV_DONTNEED"):
        mapped.madvise(mmap.MADV_DONTNEED)


def sources_of(values: Any, name: str, form: TextFormat = DEFAULT) -> list[Source]:
    """Return what to read: an array, or one or several files.

    Parameters
    ----------
    values : array, path, pattern such as ``"part-*.csv"``, or sequence of these
    name : str
        What messages call it.
    form : TextFormat
        How text files are written.

    Raises
    ------
    DataNotFoundError
        There is no such file.
    DataError
        A file is damaged, or has other columns than the first.
    InputError
        It is neither a file nor rows of numbers.
    """
    paths = expanded(values)
    if paths is None:
        return [ArraySource.of(name, values)]
    several = len(paths) > 1
    found = [_opened(path, f"{name} in {path}" if several else name, form) for path in paths]
    for other in found[1:]:
        _require_alike(found[0], other)
    return found


def expanded(values: Any) -> list[Path] | None:
    """Return the files that paths and patterns name, in the order of their names; None for arrays.

    Raises
    ------
    DataNotFoundError
        A pattern fits no file.
    """
    if isinstance(values, str | os.PathLike):
        text = os.fspath(values)
        if not is_pattern(text):
            return [Path(text)]
        names = sorted(glob.glob(text, recursive=True))
        if not names:
            raise DataNotFoundError(f"There is no file that fits {text!r}.")
        return [Path(one) for one in names]
    paths = isinstance(values, list | tuple) and len(values) > 0
    if paths and all(isinstance(one, str | os.PathLike) for one in values):
        return [path for one in values for path in expanded(one) or ()]
    return None


def is_pattern(text: str) -> bool:
    """Tell whether a text is a pattern for names of files, and not itself the name of one."""
    return glob.has_magic(text) and not os.path.exists(text)


def _opened(path: Path, name: str, form: TextFormat) -> Source:
    kind = kind_of_file(path, KINDS)
    if kind == ".npy":
        require_default(form, path.name)
        return ArraySource.of(name, path)
    if kind.startswith((".csv", ".tsv")):
        source: Source = importlib.import_module("fastnet.data.csv_chunks").CsvSource.open(
            path, form
        )
        return source
    require_default(form, path.name)
    module = importlib.import_module("fastnet.data.arrow_chunks")
    opener = module.open_parquet_in_groups if kind == ".parquet" else module.open_arrow_in_groups
    opened: Source = opener(path)
    return opened


def _require_alike(first: Source, other: Source) -> None:
    """Raise `DataError` unless two files have the same columns; their order may differ."""
    if type(first) is not type(other):
        raise DataError(f"{first.name} and {other.name} are files of different kinds.")
    lacking = [name for name in first.names if name not in other.names]
    more = [name for name in other.names if name not in first.names]
    if first.named != other.named or lacking or more:
        name = (lacking or more or ["header"])[0]
        has, hasnt = (first, other) if lacking else (other, first)
        raise DataError(
            f"{hasnt.name} has no column {name!r}, unlike {has.name}: files that are read together "
            "have the same columns."
        )


def sample(
    files: Sequence[Any], most: int, texts: Collection[str], as_written: Collection[str]
) -> Frame:
    """Return at most so many rows, spread evenly over some files, as one table.

    All rows are returned where there are no more; else rows at equal distances.
    """
    ends = np.cumsum([file.rows for file in files])
    every = _step(int(ends[-1]), most)

    def locate(row: int) -> tuple[int, str]:
        number = row * every
        file = int(np.searchsorted(ends, number, side="right"))
        within = number - (int(ends[file - 1]) if file else 0)
        return within, f" of {files[file].name}" if len(files) > 1 else ""

    more = f" and {len(files) - 1} more" if len(files) > 1 else ""
    source = RowsOf(f"{files[0].name}{more}", locate)
    if isinstance(files[0], ArraySource):
        starts = [-int(at) % every for at in (0, *ends[:-1])]
        parts = [f.read(at, f.rows, every) for f, at in zip(files, starts, strict=True)]
        return as_frame(np.concatenate(parts), source=source)
    if hasattr(files[0], "records"):
        module = importlib.import_module("fastnet.data.csv_chunks")
        frame: Frame = module.sample(files, every, source, texts, as_written)
    else:
        frame = importlib.import_module("fastnet.data.arrow_chunks").sample(files, every, source)
    return frame


def _step(rows: int, most: int) -> int:
    """Return the least step that leaves at most so many rows, a prime: a table may have rhythms."""
    step = -(-rows // most)
    while step > 1 and any(step % k == 0 for k in range(2, int(step**0.5) + 1)):
        step += 1
    return step
