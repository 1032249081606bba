"""Chunks: rows that stay in their files, or in a mapped array, and are read a chunk at a time."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from fastnet.data import chunk_files
from fastnet.data.chunk_files import ArraySource, Source, sources_of
from fastnet.data.columns import Names, named_columns, no_column
from fastnet.data.frame import Frame
from fastnet.data.frame_files import text_columns_of
from fastnet.data.places import RowsOf, row_number
from fastnet.data.roles import Roles, weights_of
from fastnet.data.text import Texts
from fastnet.data.text_format import TextFormat
from fastnet.data.values import Values, known_texts, numbers_of, texts_of
from fastnet.errors import DataError, InputError
from fastnet.utils.param_validation import check_int

Array = NDArray[Any]

CHUNK_BYTES: Final = 32 * 2**20
"""Size of a chunk in its file, where nothing else is said."""

_PIECE_BYTES: Final = 2**20
"""Rows are checked, converted and scaled in pieces of about this size: that bounds the memory."""

NEED_TARGETS: Final = "Chunks need targets: give y, or target= with columns of x."


class Piece(NamedTuple):
    """Some rows of one file.

    Attributes
    ----------
    place : int
        The number of the first among all rows.
    names : tuple of str
        What messages call x, y and the weights.
    x : (B, I) array, or Frame
    y : (B,) or (B, T) array, Texts, or None
    weight : (B,) array or None
    ids : Values or None
    """

    place: int
    names: tuple[str, str, str]
    x: Any
    y: Any
    weight: Array | None
    ids: Values | None


class Chunks:
    """Rows for ``fit``, ``predict`` and ``evaluate`` of a `Network` that need not fit into memory.

    In each epoch the chunks come in an order drawn by the network's seed, two at a time, and the
    rows of these two are shuffled together; so the rows of a batch come from two chunks. Everything
    is decided by seed and epoch, and the same on every backend. With one chunk that holds all rows,
    training is what it is in memory, bit by bit; only the last digits of a `Scaler`, whose sums are
    made chunk by chunk, may differ.

    Parameters
    ----------
    x : path, pattern, sequence of paths, or (N, C) array
        A ``.npy``, ``.parquet``, ``.csv``, ``.tsv``, ``.feather`` or ``.arrow`` file; several of
        one kind with the same columns; or a pattern such as ``"part-*.csv"``, whose files come in
        the order of their names. ``np.memmap``, or anything with a shape that gives arrays for
        slices of rows. Of ``.csv.gz`` an unpacked copy is kept in the folder for temporary files.
    y : path or (N,) or (N, T) array, optional
        The targets, where they are no columns of x. Without targets rows can be predicted only.
    target : int, str, or sequence of these, optional
        The columns of x that are to be learned: indices, negative from the end, or names in a
        table.
    weight : int or str, optional
        The column of x that holds the weights of the rows.
    id, features, drop : str or sequence of str, optional
        Of a table: the column that says which row it is, and the columns that are inputs, or those
        that are none.
    chunk_rows : int, optional
        Rows in a chunk; default: as many as take 32 MB where they are stored. ``fit`` takes the
        next lower multiple of its batch size, so that every batch is full but for the last one.
    labels : (K,) array of numbers, optional
        What the classes are called in the targets; default: 0, 1, ...
    sep, decimal, thousands, encoding : str
        How text files are written; see `fastnet.tables.read_frame`.

    Attributes
    ----------
    names : tuple of str
        Of all columns of x; empty where they have none.
    columns : int
        Number of inputs.
    is_matrix : bool
        Whether all columns are numbers in arrays or Parquet files, so that any network takes them.
        The columns of other files become inputs by a `TablePreprocessor`.
    """

    def __init__(
        self,
        x: Any,
        y: Any = None,
        *,
        target: int | str | Sequence[int | str] | None = None,
        weight: int | str | None = None,
        id: str | None = None,
        features: Names = None,
        drop: Names = None,
        chunk_rows: int | None = None,
        labels: Any = None,
        sep: str | None = None,
        decimal: str = ".",
        thousands: str | None = None,
        encoding: str = "utf-8",
    ) -> None:
        self._form = TextFormat(sep, decimal, thousands, encoding)
        self._files = sources_of(x, "x", self._form)
        self._starts = np.cumsum([0, *(file.rows for file in self._files)])
        first = self._files[0]
        self.names = first.names if first.named else ()
        self.is_matrix = all(file.matrix for file in self._files)
        if not len(self):
            raise InputError("x is empty: there are no rows.")
        self._y: ArraySource | None = None
        if y is not None:
            if target is not None:
                raise InputError(NEED_TARGETS)
            self._y = _array_of(y)
            if self._y.rows != len(self):
                raise InputError(f"x has {len(self)} rows, and y has {self._y.rows}.")
        column = None if weight is None else first.names[self._column(weight)]
        self._roles = Roles(id, column, features, drop)
        self._set_targets(target)
        bytes_of_row = max(file.row_bytes for file in self._files)
        default = max(1, CHUNK_BYTES // bytes_of_row)
        self.chunk_rows = default if chunk_rows is None else check_int("chunk_rows", chunk_rows)
        self.labels = None if labels is None else np.asarray(labels)

    def _set_targets(self, target: Any) -> None:
        """Find the columns of the targets and of the inputs."""
        first = self._files[0]
        several = target is not None and not isinstance(target, int | str)
        wanted: Any = () if target is None else target if several else (target,)
        self._axes = 2 if several else 1
        self._targets = [first.names[self._column(name)] for name in wanted]
        weight = self._roles.weight
        taken = [*self._targets, *([] if weight is None else [weight])]
        if len(set(taken)) != len(taken):
            raise InputError("target and weight must all be different columns.")
        if self.names:
            empty = Frame(0, {name: np.zeros(0) for name in self.names}, True, self.name)
            frame = self._roles.split(empty, self._targets).frame
            self._inputs = [name for name in frame.columns if name not in self._targets]
        else:
            if self._roles != Roles(weight=weight):
                raise InputError(
                    "id, features and drop choose columns by name, and x has no names."
                )
            self._inputs = [name for name in first.names if name not in taken]
        if not self._inputs:
            raise InputError("x has no column beside targets and weights.")

    def __len__(self) -> int:
        return int(self._starts[-1])

    @property
    def name(self) -> str:
        """What messages call the rows."""
        more = f" and {len(self._files) - 1} more" if len(self._files) > 1 else ""
        return f"{self._files[0].name}{more}"

    @property
    def columns(self) -> int:
        """Number of inputs."""
        return len(self._inputs)

    @property
    def target_columns(self) -> int:
        """Number of columns of the targets."""
        return len(self._targets) if self._y is None else len(self._y.names)

    @property
    def target_names(self) -> tuple[str, ...]:
        """Names of the targets, where there are names."""
        return tuple(self._targets) if self.names else ()

    @property
    def targets(self) -> tuple[str, ...]:
        """The columns that are targets; ``x4`` where columns have no names."""
        return tuple(self._targets)

    @property
    def id(self) -> str | None:
        """The column that says which row it is."""
        return self._roles.id

    @property
    def weight(self) -> str | None:
        """The column of the weights; ``x4`` where columns have no names."""
        return self._roles.weight

    @property
    def target_axes(self) -> int:
        """1 if the targets are an array (N,) or one column that was named alone, else 2."""
        return self._axes if self._y is None else self._y.axes

    def with_roles(self, target: Any, roles: Roles) -> Self:
        """Return the same rows, with other columns for other things; the files stay open."""
        made = copy.copy(self)
        made._roles = roles
        made._set_targets(target)
        return made

    def _column(self, name: int | str) -> int:
        names, count = self._files[0].names, len(self._files[0].names)
        if isinstance(name, str) and self.names:
            if name not in names:
                raise no_column(self.name, name, names)
            return names.index(name)
        if isinstance(name, int) and not isinstance(name, bool) and -count <= name < count:
            return name % count
        raise InputError(f"x has {count} columns: expected an index of one, got {name!r}.")

    # --- reading ---------------------------------------------------------------------------------

    def pieces(self, start: int, stop: int, preprocessor: Any = None) -> Iterator[Piece]:
        """Yield rows from `start` to `stop` with their targets, about a megabyte at a time.

        Parameters
        ----------
        preprocessor : Preprocessor, optional
            The one that the rows are for: that of a table gets tables, any other gets arrays.
        """
        if self._y is None and not self._targets:
            raise InputError(NEED_TARGETS)
        yield from self._pieces(start, stop, preprocessor, learns=True)

    def inputs(self, start: int, stop: int, preprocessor: Any = None) -> Iterator[Piece]:
        """Yield rows as `pieces` does; targets and weights may be anything, and are None."""
        yield from self._pieces(start, stop, preprocessor, learns=False)

    def _pieces(self, start: int, stop: int, preprocessor: Any, *, learns: bool) -> Iterator[Piece]:
        table = hasattr(preprocessor, "text_columns")
        by_name = table and (bool(self.names) or not self.is_matrix)
        for file, place, first, last in self._ranges(start, stop):
            called = [self._named(one, file, first, place) for one in ("x", "y", "weight")]
            names = called[0], called[1], called[2]
            if by_name or not self.is_matrix:
                frame = self._frame(file, first, last, preprocessor, learns=learns)
                yield self._of_frame(frame, place, names, by_name=by_name, learns=learns)
                continue
            values = file.read(first, last)
            at = {name: k for k, name in enumerate(file.names)}
            y: Any = None
            weight = None
            if learns:
                targets = [at[name] for name in self._targets]
                y = (
                    values[:, targets]
                    if self._y is None
                    else self._y.read(place, place + len(values))
                )
                weight = None if self.weight is None else values[:, at[self.weight]]
                y = self._classes(y[:, 0] if y.shape[1] == 1 else y, names[1])
            inputs = [at[name] for name in self._inputs]
            x = values if inputs == list(range(values.shape[1])) else values[:, inputs]
            yield Piece(place, names, x, y, weight, None)

    def _named(self, what: str, file: Source, first: int, place: int) -> RowsOf:
        """Return what messages call x, y or the weights of some rows."""
        several = len(self._files) > 1
        return RowsOf.after(
            f"{what} in {file.name}" if several else what, first if several else place
        )

    def _frame(
        self, file: Source, first: int, last: int, preprocessor: Any, *, learns: bool
    ) -> Frame:
        texts: set[str] = set()
        if hasattr(preprocessor, "text_columns"):
            targets = list(self._targets) or None
            texts = text_columns_of(preprocessor, targets)(file.names, file.named, file.name)
        written = self._roles.as_written(file.names, self._form)
        apart = {self._roles.id, *(self._targets if learns else ())}
        apart |= {self._roles.weight} if learns else set()
        only = {name for name in file.names if name in self._inputs or name in apart}
        return file.frame(first, last, texts, written, only)

    def _of_frame(
        self, frame: Frame, place: int, names: Any, *, by_name: bool, learns: bool
    ) -> Piece:
        columns, source = frame.columns, frame.source
        inputs = {name: columns[name] for name in self._inputs}
        x: Any = Frame(frame.rows, inputs, frame.named, source)
        y: Any = None
        weight = None
        if learns:
            parts = [columns[name] for name in self._targets]
            y = parts[0]
            if len(parts) > 1 or not by_name:
                pairs = zip(parts, self._targets, strict=True)
                y = np.stack([numbers_of(part, name, source) for part, name in pairs], axis=1)
                y = y[:, 0] if len(parts) == 1 else y
            if not isinstance(y, Texts):
                y = self._classes(y, names[1])
            if self.weight is not None:
                weight = weights_of(columns[self.weight], self.weight, source)
        ids = None if self.id is None else columns[self.id]
        return Piece(place, names, x if by_name else x.matrix(), y, weight, ids)

    def _ranges(self, start: int, stop: int) -> Iterator[tuple[Source, int, int, int]]:
        """Yield a file, the number of a row among all, and a range of its rows from there on."""
        for file, begin in zip(self._files, self._starts, strict=False):
            step = max(1, _PIECE_BYTES // file.row_bytes)
            end = min(stop, int(begin) + file.rows)
            for place in range(max(start, int(begin)), end, step):
                first = place - int(begin)
                yield file, place, first, min(first + step, end - int(begin))

    def sample(self, most: int, texts: Names = None) -> tuple[Frame, list[Values], Array | None]:
        """Return the inputs, targets and weights of at most so many rows, spread evenly.

        Parameters
        ----------
        texts : str or sequence of str
            Columns of text files that are texts, even if all of them are numbers.
        """
        names = self._files[0].names
        how = set(named_columns(texts, names, self.name)), self._roles.as_written(names, self._form)
        frame = chunk_files.sample(self._files, most, *how)
        frame, _, weight = self._roles.split(frame, self._targets)
        targets = [frame.columns[name] for name in self._targets]
        weights = None
        if weight is not None:
            weights = weights_of(weight, self.weight or "", frame.source)
        return frame.without(self._targets), targets, weights

    def _classes(self, y: Array, name: str) -> Array:
        """Return labels as the numbers of their classes."""
        if self.labels is None:
            return y
        codes = np.searchsorted(self.labels, y)
        known = self.labels[np.minimum(codes, len(self.labels) - 1)] == y
        if not known.all():
            row = int(np.argmax(~known))
            where = f"{name}, row {row_number(name, row)}"
            raise DataError(f"{where}: the label {y[row]} is none of the known ones.")
        return codes

    def target_values(self, most: int) -> Array | None:
        """Return the different numbers of a single target, None where there are more than `most`.

        Missing ones are left out.
        """
        found: Array = np.zeros(0)
        if self.target_columns != 1:
            return None
        for piece in self.pieces(0, len(self)) if self._y is not None else ():
            found = np.union1d(found, piece.y)
            if len(found) > most:
                return None
        for column, source in self._target_column(set()) if self._y is None else ():
            numbers = numbers_of(column, self._targets[0], source)
            found = np.union1d(found, numbers[~np.isnan(numbers)])
            if len(found) > most:
                return None
        return found

    def target_texts(self, most: int) -> tuple[str, ...] | None:
        """Return the different texts of a target, as `target_values` returns numbers."""
        found: set[str] = set()
        for column, _ in self._target_column({*self._targets}):
            texts = known_texts(texts_of(column))
            found |= {texts.values[code] for code in np.unique(texts.codes) if code >= 0}
            if len(found) > most:
                return None
        return tuple(sorted(found))

    def _target_column(self, texts: set[str]) -> Iterator[tuple[Values, str]]:
        (name,) = self._targets
        for file, _, first, last in self._ranges(0, len(self)):
            frame = file.frame(first, last, texts, (), {name})
            yield frame.columns[name], frame.source


def _array_of(y: Any) -> ArraySource:
    sources = sources_of(y, "y")
    if len(sources) > 1 or not isinstance(sources[0], ArraySource):
        raise InputError("y must be one array, or one .npy file.")
    return sources[0]
