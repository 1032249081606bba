"""Chunks: rows that stay in their file, or in a mapped array, and are read a chunk at a time."""

from __future__ import annotations

import importlib
import mmap
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from fastnet.data.columns import no_column
from fastnet.data.limits import require_plausible
from fastnet.data.parquet import CELL_BYTES, DAMAGE, damaged
from fastnet.errors import DataError, DataNotFoundError, InputError
from fastnet.utils.param_validation import check_int, refuse_masked

Array = NDArray[Any]

CHUNK_BYTES: Final = 32 * 2**20
"""Size of a chunk in its file, where nothing else is said."""

_PIECE_BYTES: Final = 2**20
"""Rows are checked, converted and scaled in pieces of about this size: that bounds the memory."""


class Source(Protocol):
    """Rows of numbers that are read in ranges.

    Attributes
    ----------
    rows, row_bytes : int
        Number of rows, and the size of one where it is stored.
    names : tuple of str
        Of the columns; empty where they have none.
    columns : int
    """

    rows: int
    row_bytes: int
    names: tuple[str, ...]
    columns: int

    def read(self, start: int, stop: int) -> Array:
        """Return rows as a new array (stop - start, columns) of numbers."""
        ...


class Chunks:
    """Rows for ``fit``, ``predict`` and ``evaluate`` of a `Network` that need not fit into memory.

    In each epoch the chunks come in an order drawn by the network's seed, two at a time, and the
    rows of these two are shuffled together; so the rows of a batch come from two chunks. Everything
    is decided by seed and epoch, and the same on every backend. With one chunk that holds all rows,
    training is what it is in memory, bit by bit.

    Parameters
    ----------
    x : path or (N, C) array
        A ``.npy`` or ``.parquet`` file, ``np.memmap``, or anything with a shape that gives arrays
        for slices of rows.
    y : path or (N,) or (N, T) array, optional
        The targets, where they are no columns of x.
    target : int, str, or sequence of these, optional
        The columns of x that are to be learned: indices, negative from the end, or names in a
        Parquet file.
    weight : int or str, optional
        The column of x that holds the weights of the rows.
    chunk_rows : int, optional
        Rows in a chunk; default: as many as take 32 MB where they are stored. ``fit`` takes the
        next lower multiple of its batch size, so that every batch is full but for the last one.
    labels : (K,) array of numbers, optional
        What the classes are called in the targets; default: 0, 1, ...

    Attributes
    ----------
    columns : int
        Number of inputs.
    """

    def __init__(
        self,
        x: Any,
        y: Any = None,
        *,
        target: int | str | Sequence[int | str] | None = None,
        weight: int | str | None = None,
        chunk_rows: int | None = None,
        labels: Any = None,
    ) -> None:
        self._x = _source(x, "x")
        self._y = None if y is None else _source(y, "y")
        if (y is None) == (target is None):
            raise InputError("Chunks need targets: give y, or target= with columns of x.")
        if self._y is not None and self._y.rows != self._x.rows:
            raise InputError(f"x has {self._x.rows} rows, and y has {self._y.rows}.")
        if not self._x.rows:
            raise InputError("x is empty: there are no rows.")
        several = target is not None and not isinstance(target, int | str)
        wanted: Any = () if target is None else target if several else (target,)
        self._targets = [self._column(name) for name in wanted]
        self._weight = None if weight is None else self._column(weight)
        taken = [*self._targets, *([] if self._weight is None else [self._weight])]
        if len(set(taken)) != len(taken):
            raise InputError("target and weight must all be different columns.")
        self._inputs = [i for i in range(self._x.columns) if i not in taken]
        if not self._inputs:
            raise InputError("x has no column beside targets and weights.")
        default = max(1, CHUNK_BYTES // self._x.row_bytes)
        self.chunk_rows = default if chunk_rows is None else check_int("chunk_rows", chunk_rows)
        self.labels = None if labels is None else np.asarray(labels)

    def __len__(self) -> int:
        return self._x.rows

    @property
    def columns(self) -> int:
        """Number of inputs."""
        return len(self._inputs)

    @property
    def target_columns(self) -> int:
        """Number of columns of the targets."""
        return len(self._targets) if self._y is None else self._y.columns

    @property
    def target_names(self) -> tuple[str, ...]:
        """Names of the targets, where there are names."""
        return tuple(self._x.names[i] for i in self._targets) if self._x.names else ()

    def _column(self, name: int | str) -> int:
        names, count = self._x.names, self._x.columns
        if isinstance(name, str) and name in names:
            return names.index(name)
        if isinstance(name, str) and names:
            raise no_column("x", name, names)
        if isinstance(name, int) and not isinstance(name, bool) and -count <= name < count:
            return name % count
        raise InputError(f"x has {count} columns: expected an index of one, got {name!r}.")

    def pieces(self, start: int, stop: int) -> Iterator[tuple[int, Array, Array, Array | None]]:
        """Yield place, x, y and weight of rows from `start` to `stop`, a megabyte at a time."""
        for first, last, values in self._ranges(start, stop):
            y = values[:, self._targets] if self._y is None else self._y.read(first, last)
            weight = None if self._weight is None else values[:, self._weight]
            y = self._classes(y[:, 0] if y.shape[1] == 1 else y, first)
            yield first, self._inputs_of(values), y, weight

    def inputs(self, start: int, stop: int) -> Iterator[tuple[int, Array]]:
        """Yield place and x of rows as `pieces` does; targets and weights may be anything."""
        for first, _, values in self._ranges(start, stop):
            yield first, self._inputs_of(values)

    def _ranges(self, start: int, stop: int) -> Iterator[tuple[int, int, Array]]:
        step = max(1, _PIECE_BYTES // self._x.row_bytes)
        for first in range(start, stop, step):
            last = min(first + step, stop)
            yield first, last, self._x.read(first, last)

    def _inputs_of(self, values: Array) -> Array:
        return values if len(self._inputs) == self._x.columns else values[:, self._inputs]

    def _classes(self, y: Array, first: int) -> Array:
        """Return labels as the numbers of their classes."""
        if self.labels is None:
            return y
        codes = np.searchsorted(self.labels, y)
        known = self.labels[np.minimum(codes, len(self.labels) - 1)] == y
        if not known.all():
            row = int(np.argmax(~known))
            raise DataError(f"row {first + row + 1}: the label {y[row]} is none of the known ones.")
        return codes

    def target_values(self, most: int) -> Array | None:
        """Return the different values of a single target, None where there are more than `most`."""
        found: Array = np.zeros(0)
        if self.target_columns != 1:
            return None
        for _, _, y, _ in self.pieces(0, len(self)):
            found = np.union1d(found, y)
            if len(found) > most:
                return None
        return found


def _source(values: Any, name: str) -> Source:
    if isinstance(values, str | os.PathLike):
        path = Path(values)
        if not path.is_file():
            raise DataNotFoundError(f"There is no file {str(path)!r}.")
        if path.suffix.lower() == ".parquet":
            return ParquetSource.open(path)
        if path.suffix.lower() != ".npy":
            raise DataError(f"{path}: expected a .npy or a .parquet file.")
        values = importlib.import_module("fastnet.data.npy").map_npy(path)
    refuse_masked(name, values)
    shape = getattr(values, "shape", None)
    if shape is None or len(shape) not in (1, 2):
        got = type(values).__name__ if shape is None else f"the shape {shape}"
        raise InputError(f"{name} must be a file or an array of rows, got {got}.")
    if np.dtype(values.dtype).kind not in "biuf":
        raise InputError(f"{name} must hold numbers, got {values.dtype}.")
    columns = 1 if len(shape) == 1 else int(shape[1])
    return ArraySource(values, int(shape[0]), columns, columns * values.dtype.itemsize)


@dataclass(eq=False)
class ArraySource:
    """An array, mapped or not."""

    values: Any
    rows: int
    columns: int
    row_bytes: int
    names: tuple[str, ...] = ()

    def read(self, start: int, stop: int) -> Array:
        part = np.array(self.values[start:stop])
        if isinstance(self.values, np.memmap):
            release(self.values)
        return part.reshape(len(part), self.columns)


def release(values: Any) -> None:
    """Give back the pages of a mapped file that were read: they count as this process's memory."""
    mapped = getattr(values, "_mmap", None)
    # In mode "c" the pages hold changes that are nowhere else.
    if mapped is not None and values.mode != "c" and hasattr(mmap, "MADV_DONTNEED"):
        mapped.madvise(mmap.MADV_DONTNEED)


class ParquetSource:
    """A Parquet file of numbers; a group of rows is read whole, and kept until the next one."""

    def __init__(self, source: str, size: int, file: Any, arrow: Any) -> None:
        self._source, self._file, self._arrow = source, file, arrow
        schema = file.schema_arrow
        self.names = tuple(schema.names)
        types = arrow.types
        for field in schema:
            kind = field.type
            if not (types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind)):
                raise DataError(
                    f"{source}: column {field.name!r} has type {kind}: chunks hold numbers only."
                )
        counts = [file.metadata.row_group(i).num_rows for i in range(file.metadata.num_row_groups)]
        self._starts = np.cumsum([0, *counts])
        # A group of rows is in memory as a whole.
        largest = max(counts, default=0) * len(self.names) * CELL_BYTES
        require_plausible(source, size, largest)
        self.rows, self.columns = int(self._starts[-1]), len(self.names)
        self.row_bytes = max(1, sum(field.type.bit_width for field in schema) // 8)
        self._group, self._values = -1, np.zeros((0, 0))

    @classmethod
    def open(cls, path: Path) -> ParquetSource:
        """Return a file; raise `DataError` when it cannot be read."""
        try:
            arrow = importlib.import_module("pyarrow")
            parquet = importlib.import_module("pyarrow.parquet")
        except ImportError as error:
            message = "Parquet files need pyarrow: pip install 'fastnet-mlp[data]'."
            raise DataError(message) from error
        try:
            return cls(str(path), path.stat().st_size, parquet.ParquetFile(path), arrow)
        except DataError:
            raise
        except (arrow.ArrowException, *DAMAGE) as error:
            raise damaged(str(path), error) from error

    def read(self, start: int, stop: int) -> Array:
        parts, first = [], start
        while first < stop:
            group = int(np.searchsorted(self._starts, first, side="right")) - 1
            begin, end = int(self._starts[group]), min(int(self._starts[group + 1]), stop)
            parts.append(self._rows_of(group)[first - begin : end - begin])
            first = end
        return np.concatenate(parts) if len(parts) != 1 else parts[0].copy()

    def _rows_of(self, group: int) -> Array:
        if group != self._group:
            self._values = np.zeros((0, 0))
            try:
                table = self._file.read_row_group(group, use_threads=False)
                single = all(field.type.bit_width <= 32 for field in table.schema)
                floats = all(self._arrow.types.is_floating(field.type) for field in table.schema)
                dtype = np.float32 if single and floats else np.float64
                values = np.empty((table.num_rows, self.columns), dtype)
                for j in range(self.columns):
                    values[:, j] = table.column(j).to_numpy()  # NaN where one is missing
            except (self._arrow.ArrowException, OSError) as error:
                raise damaged(self._source, error) from error
            self._group, self._values = group, values
            del table
            self._arrow.default_memory_pool().release_unused()
        return self._values
