"""Exported C files, compiled as shared libraries and called through ctypes."""

from __future__ import annotations

import ctypes
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray

from fastnet.export import export
from fastnet.export.c.tables import row_of
from fastnet.export.columns import InputColumn
from fastnet.export.combination import Predictor, combination_of
from fastnet.preprocessing.columns import TableColumn, values_of
from fastnet.tables import as_frame
from tests import toolchain

COMPILER = toolchain.compiler("C")
STRICT = (
    "-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", "-Wconversion",
    "-Wmissing-prototypes", "-Wstrict-prototypes", "-O1",
)  # fmt: skip


def compile_c(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the C compiler, which may warn of nothing, in a folder."""
    if COMPILER is None:
        pytest.skip("there is no C compiler (cc; the variable CC names another)")
    return subprocess.run(
        [COMPILER, *STRICT, *arguments, "-lm"], cwd=folder, capture_output=True, text=True
    )


def library(folder: Path, net: Predictor, *options: str) -> ctypes.CDLL:
    """Return a network as a loaded library, whose names begin with ``net_``."""
    # A library of the same path would be the one that is loaded already.
    home = folder / f"library{len(list(folder.iterdir()))}"
    home.mkdir()
    export(net, home / "net.c", to="c")
    done = compile_c(home, *options, "-shared", "-fPIC", "net.c", "-o", "net.so")
    assert done.returncode == 0, done.stderr
    try:
        return ctypes.CDLL(str(home / "net.so"))
    except OSError as error:
        if "failed to map segment" not in str(error):
            raise
        pytest.skip(f"temporary files may not be executed here: {error}")


def row_type(net: Predictor) -> type[ctypes.Structure]:
    """Return the struct of a row as a class of ctypes."""
    row = row_of(combination_of(net), "")
    assert row is not None
    kinds = {"numeric": ctypes.c_double, "categorical": ctypes.c_char_p}
    fields = [(name, kinds[column.kind]) for name, column in row.fields]
    return type("Row", (ctypes.Structure,), {"_fields_": fields})


def encode_row(
    loaded: ctypes.CDLL, net: Predictor, cells: Sequence[Any]
) -> tuple[int, NDArray[Any]]:
    """Return the result of ``net_encode``, and x (I,), for the values of the fields in order.

    None is a missing value: it keeps what ``net_missing`` has there.
    """
    kind = row_type(net)
    row = kind.from_buffer_copy(cast("Any", kind.in_dll(loaded, "net_missing")))
    for (name, *_), cell in zip(kind._fields_, cells, strict=True):
        if cell is not None:
            setattr(row, name, cell.encode() if isinstance(cell, str) else cell)
    whole = combination_of(net)
    x = np.full(whole.inputs, 7, whole.dtype)
    return loaded.net_encode(ctypes.byref(row), ctypes.c_void_p(x.ctypes.data)), x


def cells_of(column: InputColumn, rows: Mapping[str, Any]) -> Sequence[Any]:
    """Return a column of rows as all formats but that for NumPy take it: numbers and texts."""
    cells = rows[column.source]
    if not (column.part or column.truths):
        return list(cells)
    description = TableColumn(column.source, "numeric", part=column.part, truths=column.truths)
    numbers: Any = values_of(description, as_frame({"x": cells}).columns["x"], "rows")
    return [None if np.isnan(number) else number for number in numbers.tolist()]


def encode(loaded: ctypes.CDLL, net: Predictor, table: Mapping[str, Sequence[Any]]) -> NDArray[Any]:
    """Return x (N, I) for the columns of a table."""
    whole = combination_of(net)
    assert whole.columns is not None
    used = [column for column in whole.columns.columns if column.kind != "empty"]
    columns = [cells_of(column, table) for column in used]
    made = [encode_row(loaded, net, cells) for cells in zip(*columns, strict=True)]
    assert [result for result, _ in made] == [0] * len(made)
    return np.array([x for _, x in made], whole.dtype).reshape(-1, whole.inputs)


def predict(loaded: ctypes.CDLL, net: Predictor, x: Any) -> NDArray[Any]:
    """Return the outputs (N, O) of ``net_predict_rows``."""
    dtype = combination_of(net).dtype
    x = np.ascontiguousarray(x, dtype)
    y = np.full((len(x), net.outputs), np.nan, dtype)
    loaded.net_predict_rows(
        ctypes.c_void_p(x.ctypes.data), ctypes.c_size_t(len(x)), ctypes.c_void_p(y.ctypes.data)
    )
    return y
