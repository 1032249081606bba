"""TableSchema: what each column of a table is, so that every file is encoded alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastnet.data.labels import encode_labels
from fastnet.data.table import (
    MAX_COLUMNS,
    Table,
    as_column,
    check_names,
    kinds_of,
    match_features,
    to_float32,
    unnamed,
)
from fastnet.errors import DataError

_GIVEN = "the data"  # what messages call columns that were passed in, not read from a file


@dataclass(frozen=True)
class Column:
    """One input column of a table.

    Attributes
    ----------
    name : str
    kind : {"numeric", "categorical"}
    categories : tuple of str
        The texts that become one-hot columns, in that order; empty for a numeric column.
    """

    name: str
    kind: Literal["numeric", "categorical"] = "numeric"
    categories: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check that the categories are of a text column, and all different."""
        if (self.kind == "categorical") != bool(self.categories):
            raise DataError(f"Schema: expected categories of exactly the text columns: {self}.")
        if len(set(self.categories)) != len(self.categories):
            raise DataError(f"Schema: column {self.name!r} lists a category twice.")

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the inputs that this column becomes: itself, or ``name=category`` for each."""
        return tuple(f"{self.name}={c}" for c in self.categories) or (self.name,)


@dataclass(frozen=True)
class TableSchema:
    """What the columns of a table are.

    A numeric column becomes one input. A text column becomes one input per category (one-hot);
    a text that was not there in training becomes zeros in all of them.

    Attributes
    ----------
    columns : tuple of Column
        Input columns, in the order of a network's inputs.
    targets : tuple of str
        Names of the target columns; empty if there are none.
    label_names : tuple of str, or None
        Name of each class, for classification; None for regression.
    named : bool
        False for data without column names, whose columns are called ``x0``, ``x1``, ... and are
        matched by position: only their number is checked.

    Raises
    ------
    DataError
        If the names contradict each other.
    """

    columns: tuple[Column, ...]
    targets: tuple[str, ...] = ()
    label_names: tuple[str, ...] | None = None
    named: bool = True

    def __post_init__(self) -> None:
        """Check that the names do not contradict each other."""
        check_names("Schema", [column.name for column in self.columns])
        width = sum(len(column.categories) or 1 for column in self.columns)
        if width > MAX_COLUMNS:
            raise DataError(f"Schema: {width:,} inputs after one-hot encoding, more than 100,000.")
        names = {column.name for column in self.columns}
        if len(set(self.targets)) != len(self.targets) or names.intersection(self.targets):
            raise DataError(f"Schema: the targets {self.targets} are given twice or are inputs.")
        labels = self.label_names
        if labels is not None and (not labels or len(set(labels)) != len(labels)):
            raise DataError("Schema: expected label names that are there and all different.")
        if labels is not None and len(self.targets) != 1:
            raise DataError("Schema: expected one target column with the label names.")

    @classmethod
    def of_matrix(
        cls, count: int, target: str | None = None, label_names: tuple[str, ...] | None = None
    ) -> TableSchema:
        """Return the schema of `count` numeric columns without names."""
        targets = () if target is None else (target,)
        columns = tuple(Column(name) for name in unnamed(count))
        return cls(columns, targets, label_names, named=False)

    @property
    def task(self) -> Literal["classification", "regression"] | None:
        """What the targets ask for; None if there are none."""
        if not self.targets:
            return None
        return "regression" if self.label_names is None else "classification"

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the inputs of a network, in order; one-hot ones are called ``color=red``."""
        return tuple(name for column in self.columns for name in column.feature_names)

    def encode(self, columns: Mapping[str, ArrayLike] | ArrayLike) -> NDArray[np.float32]:
        """Return the inputs of a network, (N, F) float32, for new rows.

        The result may share memory with a float32 array that is given.

        Parameters
        ----------
        columns : mapping of name to (N,) numbers or texts, or (N, I) array
            A mapping (or a data frame) is matched by name and may have further columns; an array,
            and any table for a schema without names, by position.

        Raises
        ------
        DataError
            If a column is missing (naming the near one), the number of columns is wrong, or a
            value is missing, not a number or not finite.
        """
        table: Any = columns  # a data frame has keys too, but is no Mapping
        named = hasattr(table, "keys")
        if named:
            given = {str(name): _array(table[name]) for name in table.keys()}  # noqa: SIM118
        else:
            array = _array(columns)
            if array.ndim != 2:
                raise DataError(f"Expected rows of shape (N, I), got {array.shape}.")
            given = dict(zip(unnamed(array.shape[1]), array.T, strict=True))
        features = match_features(self, tuple(given), named, (), _GIVEN)
        if not named and array.dtype.kind in "biuf":
            return self.encode_table(Table.of_matrix(_GIVEN, array), features)
        kinds = kinds_of(self, features, ())
        read = {name: as_column(given[name], kinds[name], _GIVEN, name) for name in features}
        return self.encode_table(Table.of_columns(_GIVEN, read), features)

    def encode_target(self, values: ArrayLike) -> NDArray[Any]:
        """Return targets for training or evaluation.

        Parameters
        ----------
        values : (N,) labels, or (N,) or (N, O) numbers

        Returns
        -------
        (N,) int64 class indices, or float32 values of the shape of `values`

        Raises
        ------
        DataError
            If a label is unknown (naming it and its row) or a value is not a finite number.
        """
        array = _array(values)
        name = self.targets[0] if self.targets else "target"
        if self.label_names is not None:
            return encode_labels(
                as_column(array, "label", _GIVEN, name), self.label_names, _GIVEN, name
            )
        outputs = max(1, len(self.targets))
        if array.ndim not in (1, 2) or (array.shape[1:] or (1,)) != (outputs,):
            raise DataError(f"Expected targets of shape (N, {outputs}), got {array.shape}.")
        names = self.targets or (name,)
        matrix = array.reshape(-1, outputs)
        read = {n: as_column(v, "numeric", _GIVEN, n) for n, v in zip(names, matrix.T, strict=True)}
        y = to_float32(Table.of_columns(_GIVEN, read).numbers(names), names, _GIVEN)
        return y.reshape(array.shape)

    def encode_table(self, table: Table, features: tuple[str, ...]) -> NDArray[np.float32]:
        """Return the inputs, (N, F) float32; ``features[i]`` is the table's name of column i."""
        numeric = [n for n, c in zip(features, self.columns, strict=True) if not c.categories]
        numbers = to_float32(table.numbers(numeric), numeric, table.source)
        if len(numeric) == len(features):
            return numbers
        x = np.zeros((table.rows, len(self.feature_names)), dtype=np.float32)
        rows = np.arange(table.rows)
        at = taken = 0
        for name, column in zip(features, self.columns, strict=True):
            if not column.categories:
                x[:, at] = numbers[:, taken]
                taken += 1
            else:
                texts = table.text(name)
                index = {text: k for k, text in enumerate(column.categories)}
                codes = np.array([index.get(v, -1) for v in texts.values], dtype=np.int64)
                hot = codes[texts.codes]
                known = hot >= 0
                x[rows[known], at + hot[known]] = 1.0
            at += len(column.categories) or 1
        return x

    def encode_target_table(self, table: Table, targets: tuple[str, ...]) -> NDArray[Any]:
        """Return the targets, like `encode_target`; ``targets[i]`` is the table's name of one."""
        if self.label_names is not None:
            column = table.column(targets[0])
            return encode_labels(column, self.label_names, table.source, targets[0])
        y = to_float32(table.numbers(targets), targets, table.source)
        return y[:, 0] if len(targets) == 1 else y

    def to_json(self) -> dict[str, Any]:
        """Return the schema as plain lists, dicts and texts.

        Columns without names that are all numeric and start at ``x0`` are written as their number.
        """
        columns: object = [
            {"name": c.name, "kind": c.kind}
            | ({"categories": list(c.categories)} if c.categories else {})
            for c in self.columns
        ]
        if not self.named and self.columns == tuple(map(Column, unnamed(len(self.columns)))):
            columns = len(self.columns)
        labels = None if self.label_names is None else list(self.label_names)
        return {
            "columns": columns,
            "targets": list(self.targets),
            "labels": labels,
            "named": self.named,
        }

    @classmethod
    def from_json(cls, data: object) -> TableSchema:
        """Return the schema that `to_json` wrote; `data` may come from a hostile file.

        Raises
        ------
        DataError
            If anything is missing, unknown, of a wrong type, or contradicts something else.
        """
        fields = _fields(data, "the schema", {"columns", "targets", "labels", "named"})
        columns, labels, named = fields["columns"], fields["labels"], fields["named"]
        if not isinstance(named, bool):
            raise DataError("Schema: expected 'named' to be true or false.")
        if type(columns) is int and not named and 0 < columns <= MAX_COLUMNS:
            parsed = tuple(map(Column, unnamed(columns)))
        elif isinstance(columns, list) and len(columns) <= MAX_COLUMNS:
            parsed = tuple(map(_column, columns))
        else:
            raise DataError("Schema: expected 'columns' to be a list, or their number if unnamed.")
        label_names = None if labels is None else _texts(labels, "labels")
        return cls(parsed, _texts(fields["targets"], "targets"), label_names, named)


def _array(values: object) -> NDArray[Any]:
    try:
        return np.asarray(values)
    except ValueError as error:
        raise DataError(f"Expected an array of numbers or texts: {error}.") from error


def _fields(data: object, what: str, names: set[str]) -> dict[str, Any]:
    if not isinstance(data, dict) or set(data) != names:
        raise DataError(f"Schema: expected {what} to have exactly {', '.join(sorted(names))}.")
    return data


def _texts(data: object, what: str) -> tuple[str, ...]:
    if not isinstance(data, list) or not all(isinstance(item, str) for item in data):
        raise DataError(f"Schema: expected {what!r} to be a list of texts.")
    return tuple(data)


def _column(data: object) -> Column:
    kind = data.get("kind") if isinstance(data, dict) else None
    keys = {"name", "kind", "categories"} if kind == "categorical" else {"name", "kind"}
    fields = _fields(data, "a column", keys)
    if not isinstance(fields["name"], str) or kind not in ("numeric", "categorical"):
        raise DataError("Schema: expected a column's name, and numeric or categorical as its kind.")
    return Column(fields["name"], kind, _texts(fields.get("categories", []), "categories"))
