"""Arrow files (``.arrow``, ``.feather``), read by pyarrow, an optional extra."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastnet.data.arrow_sizes import DAMAGE as HEADER_DAMAGE
from fastnet.data.arrow_sizes import MAGIC, unpacked_bytes
from fastnet.data.limits import require_plausible
from fastnet.data.parquet import DAMAGE, column_of, damaged
from fastnet.data.table import Table, check_names
from fastnet.data.text import Kind
from fastnet.errors import DataError


@dataclass(frozen=True)
class ArrowFile:
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


def open_arrow(path: Path) -> ArrowFile:
    """Read an Arrow file, in the file or in the stream format (Feather 2 is the file format).

    Raises
    ------
    DataError
        If pyarrow is not installed, or the file is damaged or has two columns of one name.
    """
    table = read_arrow(path)
    return ArrowFile(str(path), tuple(table.column_names), table)


def read_arrow(path: Path) -> Any:
    """Return the ``pyarrow.Table`` in a file; raise `DataError` as `open_arrow` does."""
    try:
        arrow = importlib.import_module("pyarrow")
        ipc = importlib.import_module("pyarrow.ipc")
    except ImportError as error:
        raise DataError("Arrow files need pyarrow: pip install 'fastnet-mlp[data]'.") from error
    # Read whole, as pyarrow would keep the file open or mapped for as long as the table lives.
    content = path.read_bytes()
    try:
        unpacked = unpacked_bytes(content)
    except HEADER_DAMAGE as error:
        raise damaged(str(path), error, "Arrow") from error
    require_plausible(str(path), len(content), unpacked)
    try:
        opener = ipc.open_file if content.startswith(MAGIC) else ipc.open_stream
        table = opener(arrow.BufferReader(content)).read_all()
        table.validate(full=True)  # pyarrow believes every offset in a column otherwise
        names = tuple(table.column_names)
    except (arrow.ArrowException, *DAMAGE) as error:
        raise damaged(str(path), error, "Arrow") from error
    check_names(str(path), names)
    return table
