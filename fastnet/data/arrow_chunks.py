"""Parquet and Arrow files that are read a group of rows at a time, as tables or as numbers."""

from __future__ import annotations

import importlib
import struct
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnet.data.arrow_sizes import MAGIC, unpacked_bytes
from fastnet.data.columns import check_names
from fastnet.data.frame import Frame, as_frame
from fastnet.data.limits import require_plausible
from fastnet.data.parquet import CELL_BYTES, DAMAGE, damaged, is_text, with_words
from fastnet.data.places import RowsOf
from fastnet.errors import DataError

Array = NDArray[Any]


class ArrowSource:
    """A file whose groups of rows are read whole, one of which is kept until the next one.

    Parameters
    ----------
    name, kind : str
        What messages call the file, and what it is.
    names : tuple of str
        Of the columns.
    schema : pyarrow.Schema
    counts : sequence of int
        Rows in each group.
    read_group : callable
        It returns a group as a ``pyarrow.Table``.
    row_bytes : int

    Attributes
    ----------
    matrix : bool
        Whether all columns are numbers, so that `read` gives an array.
    """

    named = True

    def __init__(
        self,
        name: str,
        kind: str,
        names: tuple[str, ...],
        schema: Any,
        counts: Sequence[int],
        read_group: Callable[[int], Any],
        row_bytes: int,
    ) -> None:
        self.name, self.names = name, names
        check_names(name, self.names)
        self._kind, self._read_group = kind, read_group
        self._arrow = importlib.import_module("pyarrow")
        types = self._arrow.types
        self.matrix = all(
            types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind)
            for kind in schema.types
        )
        self._words = [field.name for field in schema if is_text(types, field.type)]
        self._starts = np.cumsum([0, *counts])
        self.rows, self.columns = int(self._starts[-1]), len(self.names)
        self.row_bytes = max(1, row_bytes)
        # The number of the newest group, and what was read of it.
        self._kept: tuple[int, Any] = (-1, None)
        self._values: tuple[int, Array] = (-1, np.zeros((0, 0)))

    def read(self, start: int, stop: int) -> Array:
        """Return rows as a new array (stop - start, columns), NaN where a number is missing."""
        parts = [self._values_of(group)[rows] for group, rows in self._parts(start, stop)]
        return np.concatenate(parts) if len(parts) != 1 else parts[0].copy()

    def frame(
        self,
        start: int,
        stop: int,
        texts: Collection[str] = (),
        as_written: Collection[str] = (),
        only: Collection[str] | None = None,
    ) -> Frame:
        """Return rows as a table; their types are those of the file."""
        tables = []
        for group, rows in self._parts(start, stop):
            table = self._table_of(group)
            names = [name for name in self.names if only is None or name in only]
            tables.append(table.select(names).slice(rows.start, rows.stop - rows.start))
        return self._as_frame(self._arrow.concat_tables(tables), RowsOf.after(self.name, start))

    def every(self, step: int, first: int) -> Any:
        """Return each step-th row as one ``pyarrow.Table``, beginning with the first or later."""
        tables = []
        for group, rows in self._parts(0, self.rows):
            table = self._table_of(group)
            begin = int(self._starts[group]) + first
            at = np.arange(-begin % step, rows.stop, step)
            tables.append(table.take(self._arrow.array(at)))
        return self._arrow.concat_tables(tables)

    def _as_frame(self, table: Any, source: str) -> Frame:
        return with_words(as_frame(table, source=source), self._words)

    def _parts(self, start: int, stop: int) -> list[tuple[int, slice]]:
        """Return the groups that hold some rows, and where these are in them."""
        parts, first = [], start
        while first < stop:
            group = int(np.searchsorted(self._starts, first, side="right")) - 1
            begin, end = int(self._starts[group]), min(int(self._starts[group + 1]), stop)
            parts.append((group, slice(first - begin, end - begin)))
            first = end
        return parts

    def _table_of(self, group: int) -> Any:
        if group != self._kept[0]:
            self._kept = -1, None
            self._kept = group, self._checked(group)
        return self._kept[1]

    def _values_of(self, group: int) -> Array:
        if group != self._values[0]:
            self._values = -1, np.zeros((0, 0))
            self._values = group, self._numbers(self._checked(group))
            self._arrow.default_memory_pool().release_unused()
        return self._values[1]

    def _checked(self, group: int) -> Any:
        try:
            table = self._read_group(group)
            if not self.matrix:
                table.validate(full=True)  # pyarrow believes every offset in a column otherwise
        except (self._arrow.ArrowException, *DAMAGE) as error:
            raise damaged(self.name, error, self._kind) from error
        return table

    def _numbers(self, table: Any) -> Array:
        """Return a table of numbers as an array; float32 if that holds all of them."""
        single = all(field.type.bit_width <= 32 for field in table.schema)
        floats = all(self._arrow.types.is_floating(field.type) for field in table.schema)
        values = np.empty(
            (table.num_rows, self.columns), np.float32 if single and floats else float
        )
        for j in range(self.columns):
            values[:, j] = table.column(j).to_numpy()
        return values


def sample(files: Sequence[ArrowSource], every: int, source: RowsOf) -> Frame:
    """Return rows of some files at equal distances, as one table with the columns of the first."""
    tables, first = [], 0
    for file in files:
        tables.append(file.every(every, first).select(files[0].names))
        first += file.rows
    arrow = importlib.import_module("pyarrow")
    try:
        table = arrow.concat_tables([one.unify_dictionaries() for one in tables])
    except arrow.ArrowException as error:
        raise DataError(f"{source}: a column is of another type in another file: {error}") from None
    frame = files[0]._as_frame(table, source)
    return replace(frame, source=source)


def open_parquet_in_groups(path: Path) -> ArrowSource:
    """Open a Parquet file; raise `DataError` if it cannot be read."""
    arrow = _pyarrow("Parquet")
    try:
        parquet = importlib.import_module("pyarrow.parquet")
        schema = parquet.read_schema(path)
        names = tuple(schema.names)
        texts = [field.name for field in schema if is_text(arrow.types, field.type)]
        meta = parquet.read_metadata(path)
        groups = [meta.row_group(i) for i in range(meta.num_row_groups)]
        counts = [group.num_rows for group in groups]
        # A group of rows is in memory as a whole.
        largest = max(counts, default=0) * len(schema.names) * CELL_BYTES
        unpacked = max((group.total_byte_size for group in groups), default=0)
        require_plausible(str(path), path.stat().st_size, max(largest, unpacked))
        try:
            row_bytes = sum(field.type.bit_width for field in schema) // 8
        except ValueError:  # texts have no width
            row_bytes = sum(group.total_byte_size for group in groups) // max(sum(counts), 1)
    except DataError:
        raise
    except (arrow.ArrowException, *DAMAGE) as error:
        raise damaged(str(path), error) from error

    def read_group(group: int) -> Any:
        # Open only while it is read: files may be many.
        with parquet.ParquetFile(path, read_dictionary=texts) as file:
            return file.read_row_group(group, use_threads=False)

    return ArrowSource(str(path), "Parquet", names, schema, counts, read_group, row_bytes)


def open_arrow_in_groups(path: Path) -> ArrowSource:
    """Open an Arrow file (``.arrow``, ``.feather``); raise `DataError` if it cannot be read."""
    arrow = _pyarrow("Arrow")
    with path.open("rb") as raw:
        if not raw.read(len(MAGIC)).startswith(MAGIC):
            raise DataError(
                f"{path} is an Arrow stream, or none at all: only files (as Feather 2) are read in "
                "parts."
            )
        content = mmap(raw.fileno(), 0, access=ACCESS_READ)
    size = len(content)
    try:
        require_plausible(str(path), size, unpacked_bytes(content))
        ipc = importlib.import_module("pyarrow.ipc")
        reader = ipc.open_file(arrow.memory_map(str(path)))
        counts = [reader.get_batch(i).num_rows for i in range(reader.num_record_batches)]
        schema = reader.schema
        names = tuple(schema.names)
        del reader
    except DataError:
        raise
    except (arrow.ArrowException, struct.error, *DAMAGE) as error:
        raise damaged(str(path), error, "Arrow") from error

    def read_group(group: int) -> Any:
        # Open only while it is read: files may be many.
        batch = ipc.open_file(arrow.memory_map(str(path))).get_batch(group)
        require_plausible(str(path), size, batch.nbytes)
        return arrow.Table.from_batches([batch])

    row_bytes = size // max(sum(counts), 1)
    return ArrowSource(str(path), "Arrow", names, schema, counts, read_group, row_bytes)


def _pyarrow(kind: str) -> Any:
    try:
        return importlib.import_module("pyarrow")
    except ImportError as error:
        message = f"{kind} files need pyarrow: pip install 'fastnet-mlp[data]'."
        raise DataError(message) from error
