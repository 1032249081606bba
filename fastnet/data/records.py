"""Rows with names: dicts, Series of pandas, named tuples, records of NumPy and of databases."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnet.data.columns import check_names
from fastnet.errors import InputError, nearest


def named_row(row: Any) -> dict[str, Any] | None:
    """Return the values of a row by name, or None if they have no names.

    Raises
    ------
    DataError
        Two values have the same name.
    """
    if isinstance(row, tuple):
        pairs = [*zip(row._fields, row, strict=True)] if hasattr(row, "_fields") else None
    elif isinstance(row, np.void):
        pairs = [(name, row[name]) for name in row.dtype.names or ()] or None
    elif not hasattr(row, "keys") or hasattr(row, "columns"):  # a frame has both
        pairs = None
    elif hasattr(row, "items"):
        pairs = [*row.items()]
    else:
        names = row.keys()
        pairs = [(name, row[name]) for name in names]
    if pairs is None:
        return None
    check_names("the row", [str(name) for name, _ in pairs])
    return {str(name): value for name, value in pairs}


def are_records(values: Any) -> bool:
    """Tell whether something is a list of rows with names."""
    return isinstance(values, list | tuple) and bool(values) and named_row(values[0]) is not None


def columns_of(rows: Sequence[Any], name: str = "x") -> dict[str, NDArray[Any]]:
    """Return the columns of rows with names; they are those of the first row.

    Raises
    ------
    InputError
        A row lacks one of them: a gap is written as None, since a name that is misspelt in one row
        must not become a missing value.
    """
    columns: dict[str, NDArray[Any]] = {}
    for index, given in enumerate(rows):
        row = named_row(given)
        if row is None:
            raise InputError(f"{name}: row {index + 1} has no names, unlike row 1.")
        if not index:
            columns = {key: np.empty(len(rows), object) for key in row}
        for key, column in columns.items():
            if key not in row:
                hint = f"{nearest(key, row)} Write None where a value is missing."
                raise InputError(f"{name}: row {index + 1} has no {key!r}{hint}")
            column[index] = row[key]
    return columns
