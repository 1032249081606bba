"""Frame: columns by name, of numbers, truths, times or texts, from any kind of data frame.

pandas, polars, Arrow and other frames are read through narwhals, which is an optional extra and
imported here only.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastnet.data.columns import check_names, unnamed
from fastnet.data.records import are_records, columns_of
from fastnet.data.text import Origin, Texts
from fastnet.data.values import (
    Values,
    as_times,
    column_of,
    is_missing,
    numbers_of,
    unreadable,
    word,
)
from fastnet.errors import DataError, InputError
from fastnet.utils.device_arrays import on_host
from fastnet.utils.param_validation import refuse_masked


class Columns(Protocol):
    """A data frame of any kind."""

    @property
    def columns(self) -> Any:
        """Its columns, or their names."""


Inputs = ArrayLike | Mapping[str, Any] | Columns | Sequence[Mapping[str, Any]]
"""What x may be: an array (N, I), or a table: a data frame, a dict of columns, a list of dicts."""


_GIVEN: Final = "the table"


@dataclass(frozen=True, eq=False)
class Frame:
    """Columns of equal length.

    Attributes
    ----------
    rows : int
        N.
    columns : dict of str to (N,) array or Texts
        See `Values`.
    named : bool
        Whether the names are the data's own; else they are ``x0``, ``x1``, ...
    source : str
        What messages call it.
    """

    rows: int
    columns: Mapping[str, Values]
    named: bool = True
    source: str = _GIVEN

    def __len__(self) -> int:
        return self.rows

    def __getitem__(self, index: Any) -> Frame:
        return self.take(index)

    def take(self, index: Any) -> Frame:
        """Return the rows of an index or a mask."""
        taken = {name: column[index] for name, column in self.columns.items()}
        rows = len(np.arange(self.rows)[index])
        return Frame(rows, taken, self.named, self.source)

    def without(self, names: Sequence[str]) -> Frame:
        """Return the other columns."""
        kept = {name: column for name, column in self.columns.items() if name not in names}
        return Frame(self.rows, kept, self.named, self.source)

    def joined(self, columns: Mapping[str, Values]) -> Frame:
        """Return the frame with further columns."""
        return Frame(self.rows, {**self.columns, **columns}, self.named, self.source)

    def matrix(self) -> NDArray[np.float64]:
        """Return all columns as an array (N, C) of numbers, NaN where one is missing.

        Raises
        ------
        DataError
            A column holds something else than numbers.
        """
        named = self.columns.items()
        return np.stack([numbers_of(v, name, self.source) for name, v in named], axis=1)

    @property
    def plain(self) -> bool:
        """Whether all columns are finite numbers: then it is as good as an array."""
        return all(
            not isinstance(column, Texts) and column.dtype.kind != "M" and np.isfinite(column).all()
            for column in self.columns.values()
        )


class NoNarwhalsError(InputError):
    """A data frame of a library came, and narwhals is not installed to read it."""


def is_table(values: object) -> bool:
    """Tell whether something is a `Frame`, a data frame of any library or a dict of columns.

    A list of rows with names is one too. It looks at the interface alone: that needs no import, and
    arrays are what comes mostly.
    """
    if hasattr(values, "toarray"):  # a sparse matrix, of which one kind is a mapping
        return False
    if isinstance(values, Frame | Mapping) or are_records(values):
        return True
    # Series have the protocol too; only frames have several named columns.
    if hasattr(values, "collect_schema"):  # a lazy one would compute its columns
        return True
    frame = any(hasattr(values, name) for name in ("__arrow_c_stream__", "__dataframe__"))
    return frame and (hasattr(values, "columns") or hasattr(values, "column_names"))


def as_frame(values: Any, name: str = "x", *, source: str = _GIVEN) -> Frame:
    """Return a data frame, a dict of columns or an array (N, C) as a `Frame`.

    Parameters
    ----------
    values : data frame, dict of columns, list of rows with names, or array
    name : str
        What messages call an array.
    source : str
        What messages call a table.

    Raises
    ------
    InputError
        narwhals is not installed, or it is not a table.
    DataError
        A column holds something that is neither numbers nor texts (naming it).
    """
    if isinstance(values, Frame):
        return values
    if isinstance(values, str | PathLike):
        way = "read a file with fastnet.tables.read_frame(path)"
        raise InputError(f"expected a table, got {str(values)!r}: {way}.")
    if hasattr(values, "toarray"):
        raise InputError(f"{name} is a sparse matrix: give a dense one ({name}.toarray()).")
    if isinstance(values, Mapping):
        return _of_mapping(values, source)
    if are_records(values):
        return _of_mapping(columns_of(values, name), source)
    if is_table(values):
        return _of_native(values, source)
    refuse_masked(name, values)
    values = on_host(name, values)
    try:
        array = np.asarray(values)
    except ValueError:
        raise InputError(f"{name} must be a rectangular table.") from None
    if array.ndim != 2:
        hint = f"; give one row as [{name}]" if array.ndim == 1 else ""
        raise InputError(f"{name} must have two axes, (rows, columns), got {array.shape}{hint}.")
    columns = dict(zip(unnamed(array.shape[1]), array.T, strict=True))
    check_names(source, list(columns))
    made = {name: column_of(column, name, source) for name, column in columns.items()}
    return Frame(len(array), made, False, source)


def _of_mapping(values: Mapping[Any, Any], source: str) -> Frame:
    check_names(source, [str(name) for name in values])
    columns = {str(name): _of_values(values[name], str(name), source) for name in values}
    rows = len(next(iter(columns.values())))
    for name, column in columns.items():
        if len(column) != rows:
            raise DataError(f"{source}: column {name!r} has {len(column)} rows, not {rows}.")
    return Frame(rows, columns, True, source)


def _of_values(column: Any, name: str, source: str) -> Values:
    if isinstance(column, Texts):
        return column
    if hasattr(column, "dtype") and hasattr(column, "to_numpy"):
        try:  # a series may be of a type that NumPy does not have
            nw = importlib.import_module("narwhals")
            return _of_series(nw, nw.from_native(column, series_only=True), name, source)
        except (ImportError, TypeError):
            pass
    refuse_masked(f"{source}: column {name!r}", column)
    column = on_host(f"{source}: column {name!r}", column)
    try:
        array = np.asarray(column)
    except ValueError:
        raise DataError(f"{source}: column {name!r} must have one axis, (rows,).") from None
    return column_of(array, name, source)


def _of_native(values: Any, source: str) -> Frame:
    """Return a data frame of any library, read through narwhals."""
    try:
        nw = importlib.import_module("narwhals")
    except ImportError:
        raise NoNarwhalsError(
            "data frames need narwhals: pip install 'fastnet-mlp[data]', or give arrays."
        ) from None
    try:
        frame = nw.from_native(values, eager_only=True)
    except (TypeError, ValueError) as error:
        if hasattr(values, "collect_schema"):
            message = "this frame is lazy, and has no rows yet: give frame.collect()."
            raise InputError(message) from None
        # What narwhals refuses most often is two columns of one name.
        names = getattr(values, "column_names", None) or getattr(values, "columns", ["?"])
        check_names(source, [*map(str, names)])
        reason = str(error).strip().partition("\n")[0]
        raise InputError(f"this kind of data frame cannot be read: {reason}") from None
    names = [str(name) for name in frame.columns]
    check_names(source, names)
    columns = [frame.get_column(name) for name in frame.columns]
    pairs = zip(names, columns, strict=True)
    made = {name: _of_series(nw, series, name, source) for name, series in pairs}
    return Frame(len(frame), made, True, source)


def _of_series(nw: Any, series: Any, name: str, source: str) -> Values:
    kind = series.dtype
    if (kind.is_integer() or kind == nw.Boolean) and not series.null_count():
        return column_of(series.to_numpy(), name, source)
    if kind.is_numeric():
        try:
            return np.asarray(series.cast(nw.Float64).to_numpy(), np.float64)
        except ValueError:  # Arrow's, of whole numbers that float64 rounds
            return column_of(np.array(series.to_list(), dtype=object), name, source)
    if kind in (nw.Categorical, nw.Enum) or isinstance(kind, nw.Enum):
        return _of_words(nw, series, name, source, "categories")
    if kind == nw.String:
        return _of_words(nw, series, name, source, "words")
    if kind == nw.Date or isinstance(kind, nw.Datetime):
        local = series.cast(nw.Datetime("us")) if kind == nw.Date else series
        return as_times(local.dt.replace_time_zone(None).to_numpy())
    if isinstance(kind, nw.Duration):
        return np.asarray(series.dt.total_nanoseconds().cast(nw.Float64).to_numpy()) / 1e9
    if kind in (nw.Boolean, nw.Object, nw.Unknown):
        return column_of(np.array(series.to_list(), dtype=object), name, source)
    raise unreadable(name, str(kind), source)


def _of_words(nw: Any, series: Any, name: str, source: str, origin: Origin) -> Texts:
    native = series.to_native()
    if hasattr(native, "unify_dictionaries"):
        return _of_arrow(native, name, source, origin)
    return Texts.of(
        (cell if isinstance(cell, str) else None for cell in series.cast(nw.String).to_list()),
        origin,
    )


def _of_arrow(column: Any, name: str, source: str, origin: Origin) -> Texts:
    """Return an Arrow column of texts or categories; one in many rows is held once."""
    encoded = column.dictionary_encode().unify_dictionaries().combine_chunks()
    words = encoded.dictionary.to_pylist()
    if not all(cell is None or isinstance(cell, str | int | float) for cell in words):
        raise unreadable(name, str(column.type), source)
    # Categories may be numbers, as those of pandas.
    texts = Texts.of((None if is_missing(cell) else word(cell) for cell in words), origin)
    codes = np.append(texts.codes, -1)  # the last is that of a missing cell
    index = np.asarray(encoded.indices.fill_null(len(words)), np.int64)
    return Texts(codes[index], texts.values, origin)
