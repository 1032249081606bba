"""`TablePreprocessor`: encoding of a table as inputs of a network, fitted to training rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from fastnet.data.columns import MAX_COLUMNS, Names, check_names
from fastnet.data.frame import Frame, as_frame, is_table
from fastnet.data.records import are_records, columns_of
from fastnet.data.values import Values
from fastnet.errors import DataError, InputError, suggest
from fastnet.nn.layers import Dense
from fastnet.nn.losses import Loss
from fastnet.preprocessing import columns as kinds
from fastnet.preprocessing import embeddings, validation
from fastnet.preprocessing.base import Description
from fastnet.preprocessing.columns import TableColumn, learn_columns, values_of
from fastnet.preprocessing.samples import counted_rows
from fastnet.preprocessing.scaling import APPLY, SCALINGS, Scaling, learn_scale, write_levels
from fastnet.preprocessing.target import TableTarget, split_target
from fastnet.utils.device_arrays import on_host

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class TablePreprocessor:
    """The preprocessor that encodes the columns of a table; it is saved with the network.

    A number becomes ``clip((x - median) / (third - first quartile))`` with the smooth
    ``clip(z) = z / sqrt(1 + (z / 3)^2)``, unless `scaling` says otherwise. A missing number becomes
    0; a second input marks it if numbers were missing in training. Truth values are 0 and 1, and
    times become several numbers. Text is one-hot encoded, or as 1 and -1 for two categories, and
    scaled likewise; an unseen or missing category is all zeros before. Columns are matched by name.

    Attributes
    ----------
    columns : tuple of TableColumn
    center, factor : (L,) float64
        The scale of every input that is no embedding; see `fastnet.preprocessing.scaling`.
    numeric_embedding : {None, "periodic", "piecewise"}
        Further inputs of each number: sines and cosines, or its position between quantiles.
    knots : (numeric columns, K) float64
        Frequencies or ends of bins; K is 0 without an embedding.
    named : bool
        Whether the training table named its columns; only then are new ones matched by name.
    target : TableTarget or None
    scaling : {"robust", "standard", "none", "float32"}
        See `fit`; ``"float32"`` computes as version 0.1 did for the columns of a file.
    id, weight : str or None
        The columns of the training table that said which row it was, and how much it weighed.

    Raises
    ------
    DataError
        The parts contradict each other.

    Examples
    --------
    >>> table = {"size": [1.0, 2.0, None, 9.0], "color": ["red", "blue", "red", None]}
    >>> pre = TablePreprocessor.fit(table)
    >>> pre.feature_names
    ('size', 'size is missing', 'color=blue')
    >>> pre.transform({"color": ["green", "red"], "size": [2.0, 1.0]}).round(2)
    array([[ 0.  ,  0.  ,  0.4 ],
           [-0.25,  0.  , -0.4 ]], dtype=float32)
    """

    columns: tuple[TableColumn, ...]
    center: Array
    factor: Array
    numeric_embedding: Literal["periodic", "piecewise"] | None = None
    knots: Array = field(default_factory=lambda: embeddings.NO_KNOTS)
    named: bool = True
    target: TableTarget | None = None
    scaling: Scaling = "robust"
    id: str | None = None
    weight: str | None = None

    def __post_init__(self) -> None:
        """Check all parts, which may come from a hostile file."""
        check_names("the table", [column.label for column in self.columns])
        numeric = sum(column.kind == "numeric" for column in self.columns)
        if self.knots is embeddings.NO_KNOTS:
            object.__setattr__(self, "knots", np.zeros((numeric, 0)))
        knots, levels = self.knots, sum(column.levels for column in self.columns)
        if self.center.shape != (levels,) or self.factor.shape != (levels,):
            raise DataError(f"the table: expected the scales of {levels} inputs.")
        embeddings.check_knots(self.numeric_embedding, knots, numeric)
        if not all(np.isfinite(part).all() for part in (self.center, self.factor, knots)):
            raise DataError("the table: expected finite numbers.")
        if self.scaling not in APPLY:
            raise DataError(f"the table: unknown scaling {self.scaling!r}.")
        if (self.factor < 0).any() or (self.scaling != "robust" and (self.factor == 0).any()):
            raise DataError("the table: expected factors of at least 0.")
        if not 0 < self.inputs <= MAX_COLUMNS:
            raise DataError(f"the table becomes {self.inputs:,} inputs, expected 1 to 100,000.")
        targets = self.target.names if self.target else ()
        apart = [name for name in (self.id, self.weight) if name is not None]
        roles = Counter([*{column.name for column in self.columns}, *targets, *apart])
        if (taken := roles.most_common(1)[0])[1] > 1:
            other = "the id or the weight too" if taken[0] in apart else "an input and a target"
            raise DataError(f"the table: {taken[0]!r} is {other}.")

    # --- fitting ---------------------------------------------------------------------------------

    @classmethod
    def fit(
        cls,
        table: Any,
        target: Any = None,
        *,
        task: Literal["auto", "classification", "regression"] = "auto",
        numeric_embedding: Literal["periodic", "piecewise"] | None = None,
        seed: int = 0,
        rows: NDArray[np.intp] | None = None,
        sample_weight: ArrayLike | None = None,
        scaling: Literal["robust", "standard", "none"] = "robust",
        categorical: Names = (),
    ) -> Self:
        """Fit the preprocessor to training rows.

        Parameters
        ----------
        table : data frame, dict of columns or (N, C) array
            A pandas, polars, Arrow or other data frame that narwhals supports.
        target : str, sequence of str, array or None
            One or several columns of the table, or the values themselves.
        task : {"auto", "classification", "regression"}
            See `fastnet.tables.train`.
        numeric_embedding : {None, "periodic", "piecewise"}
        seed : int
            Seed of the frequencies of "periodic".
        rows : (M,) intp, optional
            The training rows, if others are held out; labels come from all rows.
        sample_weight : (N,), optional
            How often each row counts, in ratio to one another.
        scaling : {"robust", "standard", "none"}, default "robust"
            By median and quartiles with a smooth clip, by mean and standard deviation, or none.
        categorical : str or sequence of str
            Columns whose numbers are names, such as postal codes.

        Raises
        ------
        DataError
            A column has values that are neither numbers nor text, an infinite number or too many
            categories; the message names it.

        Warns
        -----
        FastNetWarning
            A column has no value and is ignored, holds numbers written as texts, or looks like an
            identifier.
        """
        # Learn the kind of each column, and the target.
        if scaling not in SCALINGS:
            raise InputError(f"unknown scaling {scaling!r}{suggest(scaling, SCALINGS)}")
        frame, names, y = split_target(as_frame(table), target)
        if not len(frame):
            raise DataError(f"{frame.source} has no rows.")
        kept = task, rows, sample_weight, frame.source
        learned = None if y is None else TableTarget.learn(y, names, *kept)
        rows, times = counted_rows(len(frame), rows, sample_weight)
        frame = frame if rows is None else frame.take(rows)
        columns = learn_columns(frame, categorical)
        if all(column.kind == "empty" for column in columns):
            raise DataError(f"{frame.source} has no column with a value beside the target.")
        # Learn scales and embeddings.
        how = frame.source, scaling, times
        scales = [learn_scale(column, frame.columns[column.name], *how) for column in columns]
        center, factor = (np.concatenate(parts) for parts in zip(*scales, strict=True))
        scale = tuple(columns), center, factor
        made = cls(*scale, named=frame.named, target=learned, scaling=scaling)
        embeddings.check(numeric_embedding)
        numbers = [(c, made._places[k]) for k, c in enumerate(columns) if c.kind == "numeric"]
        if numeric_embedding is None or not numbers:
            return made
        knots = []
        for number, (column, place) in enumerate(numbers):
            x: Any = values_of(column, frame.columns[column.name], frame.source)
            z = APPLY[scaling](x, center[place], factor[place])
            knots.append(embeddings.learn(numeric_embedding, z, number, seed, times))
        return replace(made, numeric_embedding=numeric_embedding, knots=np.array(knots))

    def with_target(self, target: TableTarget) -> Self:
        """Return the same preprocessor with a target."""
        return replace(self, target=target)

    # --- transformation --------------------------------------------------------------------------

    @property
    def _places(self) -> list[int]:
        """Index in `center` of the first scale of each column."""
        return list(np.cumsum([0, *(column.levels for column in self.columns)]))

    @cached_property
    def steps(self) -> Array:
        """The `embeddings.step_points` (numeric columns, K - 1); K - 1 is 0 unless "piecewise"."""
        if self.numeric_embedding != "piecewise" or not len(self.knots):
            return np.zeros((len(self.knots), 0))
        pairs = zip(self.columns, self._places, strict=False)
        places = [place for column, place in pairs if column.kind == "numeric"]
        scale = APPLY[self.scaling], self.center[places], self.factor[places]
        return embeddings.step_points(*scale, self.knots)

    def widths(self, column: TableColumn) -> int:
        """Return the number of inputs of a column."""
        added = column.kind == "numeric" and self.knots.shape[1] > 0
        extra = embeddings.width(self.numeric_embedding, self.knots.shape[1]) if added else 0
        return column.levels + extra

    @property
    def label_names(self) -> tuple[str, ...] | None:
        """The classes of the target, if it has any."""
        return None if self.target is None else self.target.labels

    @property
    def inputs(self) -> int:
        """Number of inputs of a network for this table."""
        return sum(map(self.widths, self.columns))

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the inputs, in order."""
        found: list[str] = []
        for column in self.columns:
            if column.one_hot:
                found += [f"{column.name}={text}" for text in column.categories]
            elif column.kind == "categorical":
                found.append(f"{column.name}={column.categories[0]}")
            elif column.kind == "numeric":
                extra = self.widths(column) - column.levels
                found += [column.label, *(f"{column.label} ({k + 1})" for k in range(extra))]
                found += [f"{column.name} is missing"] * column.indicator
        return tuple(found)

    def transform(self, table: Any, dtype: DTypeLike = np.float32, name: str = "x") -> NDArray[Any]:
        """Return the inputs (N, I) for the rows of a table; messages call it `name`.

        Raises
        ------
        DataError
            A column is missing, their number is wrong, or a numeric column has text or an infinite
            number; the message names column and row, or the most similar column.

        Warns
        -----
        FastNetWarning
            Most values of a column are categories that training did not have.
        """
        return self._encoded(as_frame(table, name), dtype, name)

    def _encoded(
        self, frame: Frame, dtype: DTypeLike, name: str, *, warns: bool = True
    ) -> NDArray[Any]:
        out = np.empty((len(frame), self.inputs), dtype)
        at = number = 0
        parts = zip(self.columns, self._match(frame), self._places, strict=False)
        with np.errstate(over="ignore"):  # infinity is refused below
            for column, values, place in parts:
                if values is None:
                    continue
                width = self.widths(column)
                part = slice(place, place + column.levels)
                how = (self.center[part], self.factor[part]), APPLY[self.scaling], frame.source
                levels = np.empty((len(frame), column.levels), dtype)
                numbers = write_levels(levels, column, values, *how, warns=warns)
                extra = at + 1 + width - column.levels
                if numbers is None:
                    out[:, at : at + width] = levels
                else:
                    out[:, at], out[:, extra : at + width] = levels[:, 0], levels[:, 1:]
                    if extra > at + 1:
                        assert self.numeric_embedding is not None
                        knots = self.knots[number], self.steps[number]
                        block = out[:, at + 1 : extra]
                        embeddings.write(block, self.numeric_embedding, *numbers, *knots)
                    number += 1
                at += width
        # Robust scaling is bounded; other scalings may exceed the range of the dtype.
        return out if self.scaling == "robust" else validation.finite(f"{name} after scaling", out)

    def transform_row(self, row: Any, dtype: np.dtype[Any]) -> NDArray[Any]:
        """Return the inputs (I,) for one row: values with names, or values in training order."""
        row = on_host("row", row)
        table: Any = columns_of([row], "row") if are_records([row]) else row
        table = table if is_table(table) else np.array([list(row)], object)
        # Unknown categories are no surprise in single rows.
        rows = self._encoded(as_frame(table, "row"), dtype, "row", warns=False)
        if len(rows) != 1:
            raise InputError(f"row must be one row, got a table of {len(rows)}: use predict.")
        return np.asarray(rows[0])

    def encode(
        self, x: Any, y: Any, dtype: np.dtype[Any], name: str = "x"
    ) -> tuple[NDArray[Any], Any]:
        """Return inputs (N, I) and targets as the network learns them; x is converted once."""
        frame = as_frame(x, name)
        return self.transform(frame, dtype, name), self.encode_target(frame, y)

    def decode(self, outputs: NDArray[Any], loss: Loss | None) -> NDArray[Any]:
        """Return outputs (..., O) in the unit of the targets."""
        return outputs if self.target is None else self.target.decode(outputs, loss)

    def input_scale(self) -> None:
        """Return None: gradients are by the inputs in `feature_names`."""

    def description(self) -> Description:
        """Return columns, names and kinds as JSON values, and all numbers as arrays."""
        target, arrays = (None, {}) if self.target is None else self.target.description()
        content: dict[str, Any] = {
            "columns": [column.description() for column in self.columns],
            "embedding": self.numeric_embedding,
            "named": self.named,
            "target": target,
        }
        if self.scaling != "robust":
            content["scaling"] = self.scaling
        content |= {n: v for n, v in (("id", self.id), ("weight", self.weight)) if v is not None}
        found = {"center": self.center, "factor": self.factor, "knots": self.knots}
        return content, found | arrays

    def text_columns(self, names: Sequence[str], named: bool, source: str) -> set[str]:
        """Return the columns of a file that hold text whatever their cells are.

        These are the categories and the labels: a row's meaning must not depend on other rows.
        """
        matched = self.names_in(names, named=named, source=source)
        pairs = zip(self.columns, matched, strict=True)
        categorical = {name for c, name in pairs if c.kind == "categorical" or c.part}
        return categorical | ({*names}.difference(matched) if self.label_names else set())

    def _match(self, frame: Frame) -> list[Values | None]:
        """Return the frame's columns in the order of the preprocessor's; None for empty ones."""
        names = self.names_in(tuple(frame.columns), named=frame.named, source=frame.source)
        pairs = zip(self.columns, names, strict=True)
        return [frame.columns[name] if column.levels else None for column, name in pairs]

    def names_in(self, names: Sequence[str], *, named: bool, source: str) -> Sequence[str]:
        """Return the name of each training column in a table with columns `names`.

        Raises
        ------
        DataError
            A column is missing, or their number is wrong; the message has the most similar name.
        """
        if self.named and named:
            return kinds.known_columns(self.columns, names, source)
        targets = self.target.names if self.target and not named else ()
        return kinds.columns_by_position(self.columns, names, source, targets)

    def encode_target(self, table: Any, y: Any) -> Any:
        """Return the encoded targets.

        Parameters
        ----------
        table : data frame, dict of columns or array
        y : str or sequence of str, or values, or None
            Columns of the table, or values; None means the columns of training.
        """
        if y is None:
            if self.target is None or not self.target.names:
                raise DataError("expected targets: give y.")
            y = list(self.target.names)
        frame = as_frame(table)
        values = split_target(frame, y)[2]
        return values if self.target is None else self.target.encode(values, frame.source)

    def first_layer(self, embedding_size: int | None = 8, *, scale_rate: float = 1.0) -> Dense:
        """Return a linear layer that embeds each column separately.

        The inputs of a column with more than two categories, or of an embedded number, are mapped
        to an embedding of `embedding_size` outputs, or of fewer if there are fewer inputs. Every
        other input is multiplied by its own learned factor, which starts at 1.

        Parameters
        ----------
        embedding_size : int or None, default 8
            None: categories stay one-hot, each input with its factor; embedded numbers have 8.
        scale_rate : float, default 1
            Factor on the learning rate of these factors.
        """
        widths = [self.widths(column) for column in self.columns]
        return embeddings.first_layer(self.columns, widths, embedding_size, scale_rate)
