"""Files of tables, read column by column as a `TableSchema` asks; see `table`."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnet.data import csv, parquet
from fastnet.data.arrays import as_matrix
from fastnet.data.arrow import read_table
from fastnet.data.columns import unnamed
from fastnet.data.npy import map_npy
from fastnet.data.parquet import DAMAGE, damaged, is_text
from fastnet.data.table import Kind, Table, resolve
from fastnet.data.text import Texts, parse_numbers, place
from fastnet.errors import DataError

_CHUNK_ROWS = 4096


@dataclass(frozen=True)
class CsvTable(csv.CsvFile):
    """A CSV file; implements ``TableFile``."""

    def read(self, kinds: Mapping[str, Kind]) -> Table:
        """Return the columns in `kinds`; further columns are not looked at.

        Raises
        ------
        DataError
            If a row is ragged (naming its line), or a cell is missing or not a number (naming its
            row, counted from 1 after the header, and its column).
        """
        texts = {name for name, kind in kinds.items() if kind in ("text", "words")}
        if not texts:
            matrix = self.read_numbers()
            if matrix is not None:
                return Table(self.source, len(matrix), self.names, matrix)
        columns, late = self._read_columns(kinds, texts)
        if late:  # numbers so far, and words further down: the words' columns are read again
            columns, _ = self._read_columns(kinds, texts | late)
        resolved = {
            name: resolve(column, kinds[name], self.source, name)
            if isinstance(column, Texts)
            else column
            for name, column in columns.items()
        }
        return Table.of_columns(self.source, resolved)

    def _read_columns(
        self, kinds: Mapping[str, Kind], texts: set[str]
    ) -> tuple[dict[str, NDArray[np.float64] | Texts], set[str]]:
        """Return each column as numbers or texts, and the names found to be texts too late."""
        index: dict[str, dict[str, int]] = {name: {} for name in texts}
        parts: dict[str, list[NDArray[Any]]] = {name: [] for name in kinds}
        late: set[str] = set()
        positions = [(name, i) for i, name in enumerate(self.names) if name in kinds]
        records = self.rows()
        first = True
        while chunk := list(islice(records, _CHUNK_ROWS)):
            cells = list(zip(*chunk, strict=True))
            for name, position in positions:
                if name in late:
                    continue
                if name not in index:
                    numbers = parse_numbers(cells[position])
                    if numbers is not None:
                        parts[name].append(numbers)
                        continue
                    if not first:
                        late.add(name)
                        continue
                    index[name] = {}
                seen = index[name]
                codes = [seen.setdefault(cell.strip(), len(seen)) for cell in cells[position]]
                parts[name].append(np.array(codes, dtype=np.int64))
            first = False
        columns: dict[str, NDArray[np.float64] | Texts] = {}
        for name in kinds:
            if name not in late:
                whole = np.concatenate(parts[name])
                columns[name] = Texts(whole, tuple(index[name])) if name in index else whole
        return columns, late


@dataclass(frozen=True)
class ParquetTable(parquet.ParquetFile):
    """A Parquet file; implements ``TableFile``."""

    named: bool = True

    def read(self, kinds: Mapping[str, Kind]) -> Table:
        """Return the columns in `kinds`; the others are not read from the file.

        Raises
        ------
        DataError
            If a value is missing (naming its row and column), or a column holds neither numbers
            nor texts.
        """
        arrow = importlib.import_module("pyarrow")
        try:
            table = self.file.read(columns=list(kinds))
            columns = {
                name: column_of(arrow, table.column(name), kind, self.source, name)
                for name, kind in kinds.items()
            }
        except DataError:
            raise
        except (arrow.ArrowException, *DAMAGE) as error:
            raise damaged(self.source, error) from error
        return Table.of_columns(self.source, columns)


@dataclass(frozen=True)
class ArrowTable:
    """An Arrow file that was read; implements ``TableFile``."""

    source: str
    names: tuple[str, ...]
    table: Any
    named: bool = True

    def read(self, kinds: Mapping[str, Kind]) -> Table:
        """Return the columns in `kinds`.

        Raises
        ------
        DataError
            If a value is missing (naming its row and column), or a column holds neither numbers
            nor texts.
        """
        arrow = importlib.import_module("pyarrow")
        columns = {
            name: column_of(arrow, self.table.column(name), kind, self.source, name)
            for name, kind in kinds.items()
        }
        return Table.of_columns(self.source, columns)


@dataclass(frozen=True, eq=False)
class MatrixTable:
    """A matrix from an NPY file, with columns ``x0``, ``x1``, ...; implements ``TableFile``."""

    source: str
    names: tuple[str, ...]
    matrix: NDArray[Any]
    named: bool = False

    def read(self, kinds: Mapping[str, Kind]) -> Table:
        """Return all columns, whatever is in `kinds`: they are there already, and numbers."""
        return Table(self.source, len(self.matrix), self.names, self.matrix)


def open_csv(path: Path) -> CsvTable:
    """Find out the form of a CSV file."""
    return CsvTable(**vars(csv.open_csv(path)))


def open_parquet(path: Path) -> ParquetTable:
    """Read the column names of a Parquet file."""
    return ParquetTable(**vars(parquet.open_parquet(path)))


def open_arrow(path: Path) -> ArrowTable:
    """Read an Arrow file."""
    table = read_table(path)
    return ArrowTable(str(path), tuple(table.column_names), table)


def open_npy(path: Path) -> MatrixTable:
    """Read an NPY file of numbers, (N, I) or (N, ...)."""
    matrix = as_matrix(np.array(map_npy(path)), str(path))
    return MatrixTable(str(path), unnamed(matrix.shape[1]), matrix)


def column_of(
    arrow: Any, column: Any, kind: Kind, source: str, name: str
) -> NDArray[np.float64] | Texts:
    """Return an Arrow column as its kind asks; raise `DataError` for a value that is missing."""
    types = arrow.types
    if column.null_count:
        row = int(np.argmax(column.is_null().to_numpy()))
        raise DataError(f"{place(source, row, name)}: the value is missing.")
    if types.is_dictionary(column.type):
        if is_text(types, column.type.value_type):
            return resolve(_texts(arrow, column, source, name), kind, source, name)
        column = column.cast(column.type.value_type)
    if is_text(types, column.type):
        return resolve(Texts.of(column.to_pylist()), kind, source, name)
    number = types.is_integer(column.type) or types.is_floating(column.type)
    if not (number or types.is_boolean(column.type) or types.is_decimal(column.type)):
        raise DataError(
            f"{source}: column {name!r} has type {column.type}: expected numbers or texts."
        )
    numbers = np.asarray(column.cast(arrow.float64(), safe=False).to_numpy(), dtype=np.float64)
    return Texts.of_numbers(numbers) if kind == "text" else numbers


def _texts(arrow: Any, column: Any, source: str, name: str) -> Texts:
    """Return a column whose texts are in a dictionary."""
    encoded = column.unify_dictionaries().combine_chunks()
    used, codes = np.unique(encoded.indices.to_numpy(), return_inverse=True)
    words = encoded.dictionary.take(arrow.array(used)).to_pylist()
    if None in words:
        row = int(np.argmax(codes == words.index(None)))
        raise DataError(f"{place(source, row, name)}: the value is missing.")
    texts = Texts.of(words)
    return Texts(texts.codes[codes], texts.values)
