"""Frame: columns by name, numbers or texts with missing values, from any kind of data frame.

pandas, polars, Arrow and other frames are read through narwhals, which is an optional extra and
imported here only.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastnet.data.columns import check_names, unnamed
from fastnet.data.records import are_records, columns_of
from fastnet.data.text import MISSING, Texts, is_number, quoted
from fastnet.errors import DataError, InputError

Values = NDArray[np.float64] | Texts
"""A column of N rows: numbers, NaN where one is missing; or texts, code -1 where one is."""


class Columns(Protocol):
    """A data frame of any kind."""

    @property
    def columns(self) -> Any:
        """Its columns, or their names."""


Inputs = ArrayLike | Mapping[str, Any] | Columns | Sequence[Mapping[str, Any]]
"""What x may be: an array (N, I), or a table: a data frame, a dict of columns, a list of dicts."""


_GIVEN: Final = "the table"

NO_WORD: Final = MISSING - {"-", "none"}
"""What a cell of a text file holds where a word is missing; the two others may be words."""


@dataclass(frozen=True, eq=False)
class Frame:
    """Columns of equal length.

    Attributes
    ----------
    rows : int
        N.
    columns : dict of str to (N,) float64 or Texts
        Missing values are NaN and the code -1.
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
            not isinstance(column, Texts) and np.isfinite(column).all()
            for column in self.columns.values()
        )


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
    if hasattr(values, "toarray"):
        raise InputError(f"{name} is a sparse matrix: give a dense one ({name}.toarray()).")
    if isinstance(values, Mapping):
        return _of_mapping(values, source)
    if are_records(values):
        return _of_mapping(columns_of(values, name), source)
    if is_table(values):
        return _of_native(values, source)
    try:
        array = np.asarray(values)
    except ValueError:
        raise InputError(f"{name} must be a rectangular table.") from None
    if array.ndim != 2:
        raise InputError(f"{name} must have two axes, (rows, columns), got {array.shape}.")
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
        raise InputError(
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
    if kind.is_numeric() or kind == nw.Boolean:
        # By way of float64 where it can be: a column of whole numbers with gaps has no dtype of
        # NumPy's own.
        numbers = series if kind != nw.Boolean else series.cast(nw.Int8)
        try:
            return np.asarray(numbers.cast(nw.Float64).to_numpy(), np.float64)
        except ValueError:  # Arrow's, of whole numbers that float64 rounds
            return column_of(np.array(series.to_list(), dtype=object), name, source)
    if kind in (nw.String, nw.Categorical) or isinstance(kind, nw.Enum):
        native = series.to_native()
        if hasattr(native, "unify_dictionaries"):
            return _of_arrow(native, name, source)
        return _texts(series.cast(nw.String).to_list())
    if kind in (nw.Object, nw.Unknown):
        return column_of(np.array(series.to_list(), dtype=object), name, source)
    raise _unreadable(name, str(kind), source)


def _of_arrow(column: Any, name: str, source: str) -> Texts:
    """Return an Arrow column of texts or categories; one in many rows is held once."""
    encoded = column.dictionary_encode().unify_dictionaries().combine_chunks()
    words = encoded.dictionary.to_pylist()
    if not all(word is None or isinstance(word, str | int | float) for word in words):
        raise _unreadable(name, str(column.type), source)
    # Categories may be numbers, as those of pandas.
    texts = _texts([None if is_missing(word) else str(word) for word in words])
    codes = np.append(texts.codes, -1)  # the last is that of a missing cell
    index = np.asarray(encoded.indices.fill_null(len(words)), np.int64)
    return Texts(codes[index], texts.values)


def column_of(array: NDArray[Any], name: str, source: str = _GIVEN) -> Values:
    """Return a NumPy array (N,) as a column."""
    if array.ndim != 1:
        raise DataError(f"{source}: column {name!r} has the shape {array.shape}, expected (N,).")
    kind = array.dtype.kind
    if kind in "biuf":
        return array.astype(np.float64)
    if kind in "UT":
        return _texts(array.tolist())
    if kind != "O":
        raise _unreadable(name, str(array.dtype), source)
    cells = [None if is_missing(cell) else cell for cell in array.tolist()]
    numbers = bool(cells) and all(
        cell is None or isinstance(cell, int | float | np.number | np.bool_) for cell in cells
    )
    if numbers:
        try:
            return np.array([np.nan if cell is None else float(cell) for cell in cells])
        except OverflowError:
            raise DataError(
                f"{source}: column {name!r} has a whole number that is too large for float64."
            ) from None
    if all(cell is None or isinstance(cell, str | int | float | np.generic) for cell in cells):
        return _texts([None if cell is None else str(cell) for cell in cells])
    odd = next(c for c in cells if not (c is None or isinstance(c, str | int | float)))
    raise _unreadable(name, type(odd).__name__, source)


def is_missing(cell: Any) -> bool:
    """Tell whether a cell is None, NaN, or pandas' NA or NaT."""
    if cell is None or type(cell).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(cell, float | np.floating) and bool(np.isnan(cell))


def _unreadable(name: str, kind: str, source: str) -> DataError:
    return DataError(
        f"{source}: column {name!r} holds {kind}: expected numbers or texts; turn it into one of "
        "them, or leave it out."
    )


def _texts(cells: Sequence[Any]) -> Texts:
    """Return cells as a column; None and NaN are missing, blanks around a text are dropped."""
    index: dict[str, int] = {}
    codes = np.empty(len(cells), np.int64)
    for row, cell in enumerate(cells):
        known = isinstance(cell, str)
        codes[row] = index.setdefault(cell.strip(), len(index)) if known else -1
    return Texts(codes, tuple(index))


def of_cells(texts: Texts) -> Values:
    """Return a column of a text file: numbers if all its cells are, "" and "NA" being missing.

    A column with few words among many numbers stays texts, so that whoever needs numbers can name
    the word.
    """
    gaps = np.array([value.lower() in MISSING for value in texts.values], bool)
    if all(gap or is_number(value) for gap, value in zip(gaps, texts.values, strict=True)):
        pairs = zip(gaps, texts.values, strict=True)
        numbers = np.array([np.nan if gap else float(value) for gap, value in pairs], np.float64)
        return numbers[texts.codes]
    return words_of(texts)


def words_of(texts: Texts) -> Texts:
    """Return a column of a text file as texts, whatever they are, "" and "NA" being missing."""
    gaps = np.array([value.lower() in NO_WORD for value in texts.values], bool)
    codes = np.where(gaps, -1, np.cumsum(~gaps) - 1)
    kept = tuple(value for gap, value in zip(gaps, texts.values, strict=True) if not gap)
    return Texts(codes[texts.codes], kept)


def numbers_of(column: Values, name: str, source: str) -> NDArray[np.float64]:
    """Return a column as numbers, NaN where one is missing.

    Raises
    ------
    DataError
        Naming the first text that is no number, or number that is infinite, and its column.
    """
    numbers = column
    if isinstance(column, Texts):
        table = np.full(len(column.values) + 1, np.nan)
        for code, value in enumerate(column.values):
            if is_number(value):
                table[code] = float(value)
            elif value.lower() not in MISSING:
                row = int(np.argmax(column.codes == code))
                raise DataError(
                    f"{source}: column {name!r} must hold numbers, got {quoted(value)} in row "
                    f"{row + 1}."
                )
        numbers = table[column.codes]
    assert isinstance(numbers, np.ndarray)
    wrong = np.isinf(numbers)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise DataError(
            f"{source}: column {name!r} must hold finite numbers, got {numbers[row]} in row "
            f"{row + 1}."
        )
    return numbers


def texts_of(column: Values) -> Texts:
    """Return a column as texts, numbers in their canonical form; code -1 where one is missing."""
    if isinstance(column, Texts):
        return column
    missing = np.isnan(column)
    texts = Texts.of_numbers(np.where(missing, 0.0, column))
    return Texts(np.where(missing, -1, texts.codes), texts.values)
