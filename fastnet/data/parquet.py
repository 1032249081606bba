"""Parquet files, read by pyarrow, which is an optional extra and imported here only."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnet.data.limits import require_plausible
from fastnet.data.table import Table, check_names
from fastnet.data.text import Kind, Texts, place, resolve
from fastnet.errors import DataError

_CELL_BYTES = 8

DAMAGE = (KeyError, MemoryError, OSError, OverflowError, TypeError, ValueError)
"""What pyarrow was seen to raise for damaged files, beside exceptions of its own."""


@dataclass(frozen=True)
class ParquetFile:
    """A Parquet file whose column names are known; implements ``TableFile``."""

    source: str
    names: tuple[str, ...]
    file: Any
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


def open_parquet(path: Path) -> ParquetFile:
    """Read the column names of a Parquet file.

    Raises
    ------
    DataError
        If pyarrow is not installed, or the file is damaged or has two columns of one name.
    """
    try:
        arrow = importlib.import_module("pyarrow")
        parquet = importlib.import_module("pyarrow.parquet")
    except ImportError as error:
        raise DataError("Parquet files need pyarrow: pip install 'fastnet-mlp[data]'.") from error
    source = str(path)
    try:
        # Read whole, as pyarrow would keep the file open or mapped for as long as the table lives.
        content = path.read_bytes()
        schema = parquet.read_schema(arrow.BufferReader(content))
        texts = [field.name for field in schema if _is_text(arrow.types, field.type)]
        # Texts stay encoded: a long one that stands in every row takes its memory once.
        file = parquet.ParquetFile(arrow.BufferReader(content), read_dictionary=texts)
        names = tuple(schema.names)
        cells = file.metadata.num_rows * len(names)
    except (arrow.ArrowException, *DAMAGE) as error:
        raise damaged(source, error) from error
    check_names(source, names)
    require_plausible(source, len(content), cells * _CELL_BYTES)
    return ParquetFile(source, names, file)


def column_of(
    arrow: Any, column: Any, kind: Kind, source: str, name: str
) -> NDArray[np.float64] | Texts:
    """Return an Arrow column as its kind asks; raise `DataError` for a value that is missing."""
    types = arrow.types
    if column.null_count:
        row = int(np.argmax(column.is_null().to_numpy()))
        raise DataError(f"{place(source, row, name)}: the value is missing.")
    if types.is_dictionary(column.type):
        if _is_text(types, column.type.value_type):
            return resolve(_texts(arrow, column, source, name), kind, source, name)
        column = column.cast(column.type.value_type)
    if _is_text(types, column.type):
        return resolve(Texts.of(column.to_pylist()), kind, source, name)
    number = types.is_integer(column.type) or types.is_floating(column.type)
    if not (number or types.is_boolean(column.type) or types.is_decimal(column.type)):
        raise DataError(
            f"{source}: column {name!r} has type {column.type}: expected numbers or texts."
        )
    numbers = np.asarray(column.cast(arrow.float64(), safe=False).to_numpy(), dtype=np.float64)
    return Texts.of_numbers(numbers) if kind == "text" else numbers


def _is_text(types: Any, kind: Any) -> bool:
    view = getattr(types, "is_string_view", types.is_string)  # as polars writes; pyarrow from 16 on
    return bool(types.is_string(kind) or types.is_large_string(kind) or view(kind))


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


def damaged(source: str, error: Exception, kind: str = "Parquet") -> DataError:
    """Return the error for a file that pyarrow cannot read."""
    reason = str(error).strip().split("\n")[0] or type(error).__name__
    return DataError(f"{source} is not a readable {kind} file: {reason}")
