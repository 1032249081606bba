"""Arrow files (``.arrow``, ``.feather``), read by pyarrow, an optional extra."""

from __future__ import annotations

import importlib
import struct
from pathlib import Path
from typing import Any

from fastnet.data.arrow_sizes import MAGIC, unpacked_bytes
from fastnet.data.columns import check_names
from fastnet.data.frame import Frame, as_frame
from fastnet.data.limits import require_plausible
from fastnet.data.parquet import CELL_BYTES, DAMAGE, damaged
from fastnet.errors import DataError


def read_arrow(path: Path) -> Frame:
    """Return the columns of an Arrow file.

    The file is in the file format (as Feather 2 is) or in the stream format.

    Raises
    ------
    DataError
        If pyarrow is not installed, the file is damaged, or a column holds neither numbers nor
        texts.
    """
    return as_frame(read_table(path), source=str(path))


def read_table(path: Path) -> Any:
    """Return the ``pyarrow.Table`` in a file; raise `DataError` as `read_arrow` does."""
    try:
        arrow = importlib.import_module("pyarrow")
        ipc = importlib.import_module("pyarrow.ipc")
    except ImportError as error:
        raise DataError("Arrow files need pyarrow: pip install 'fastnet-mlp[data]'.") from error
    source = str(path)
    # Read whole, as pyarrow would keep the file open or mapped for as long as the table lives.
    content = path.read_bytes()
    try:
        require_plausible(source, len(content), unpacked_bytes(content))
        opener = ipc.open_file if content.startswith(MAGIC) else ipc.open_stream
        table = opener(arrow.BufferReader(content)).read_all()
        table.validate(full=True)  # pyarrow believes every offset in a column otherwise
        names = tuple(table.column_names)
    except DataError:
        raise
    except (arrow.ArrowException, struct.error, *DAMAGE) as error:
        raise damaged(source, error, "Arrow") from error
    check_names(source, names)
    # Columns may share their bytes, or have none: a column of nulls is its length alone.
    require_plausible(source, len(content), table.num_rows * len(names) * CELL_BYTES)
    return table
