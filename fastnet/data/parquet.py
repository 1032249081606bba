"""Parquet files, read by pyarrow, which is an optional extra and imported here only."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastnet.data.columns import check_names
from fastnet.data.frame import Frame, as_frame
from fastnet.data.limits import require_plausible
from fastnet.data.text import Texts
from fastnet.errors import DataError

CELL_BYTES = 8
"""Of a number, once it is read."""

DAMAGE = (EOFError, KeyError, MemoryError, OSError, OverflowError, TypeError, ValueError)
"""What pyarrow was seen to raise for damaged files, beside exceptions of its own."""


@dataclass(frozen=True)
class ParquetFile:
    """A Parquet file whose column names are known; `file` is pyarrow's.

    `texts` are the names of the columns of texts, which are read encoded, as categories are.
    """

    source: str
    names: tuple[str, ...]
    texts: list[str]
    file: Any


def read_parquet(path: Path) -> Frame:
    """Return the columns of a Parquet file.

    Raises
    ------
    DataError
        If pyarrow is not installed, the file is damaged, or a column holds neither numbers nor
        texts.
    """
    opened = open_parquet(path)
    file = opened.file
    arrow = importlib.import_module("pyarrow")
    try:
        table = file.read()
        table.validate(full=True)  # pyarrow believes every offset in a column otherwise
        return with_words(as_frame(table, source=str(path)), opened.texts)
    except DataError:
        raise
    except (arrow.ArrowException, *DAMAGE) as error:
        raise damaged(str(path), error) from error


def with_words(frame: Frame, names: list[str]) -> Frame:
    """Return a table in which the columns of those names are texts, and no categories."""
    columns = dict(frame.columns)
    for name in columns.keys() & set(names):
        column = columns[name]
        if isinstance(column, Texts):
            columns[name] = Texts(column.codes, column.values)
    return Frame(frame.rows, columns, frame.named, frame.source)


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
        texts = [field.name for field in schema if is_text(arrow.types, field.type)]
        # Texts stay encoded: a long one that stands in every row takes its memory once.
        file = parquet.ParquetFile(arrow.BufferReader(content), read_dictionary=texts)
        names = tuple(schema.names)
        groups = (file.metadata.row_group(k) for k in range(file.metadata.num_row_groups))
        unpacked = sum(group.total_byte_size for group in groups)
        cells = file.metadata.num_rows * len(names)
    except (arrow.ArrowException, *DAMAGE) as error:
        raise damaged(source, error) from error
    check_names(source, names)
    require_plausible(source, len(content), max(unpacked, cells * CELL_BYTES))
    return ParquetFile(source, names, texts, file)


def is_text(types: Any, kind: Any) -> bool:
    """Tell whether a type of Arrow is that of texts."""
    view = getattr(types, "is_string_view", types.is_string)  # as polars writes; pyarrow from 16 on
    return bool(types.is_string(kind) or types.is_large_string(kind) or view(kind))


def damaged(source: str, error: Exception, kind: str = "Parquet") -> DataError:
    """Return the error for a file that pyarrow cannot read."""
    reason = str(error).strip().split("\n")[0] or type(error).__name__
    return DataError(f"{source} is not a readable {kind} file: {reason}")
