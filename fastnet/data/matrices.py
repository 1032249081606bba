"""Arrays without column names, x (N, ...) and y (N, ...), as data sets."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fastnet.data.arrays import Arrays, as_matrix
from fastnet.data.dataset import Dataset
from fastnet.data.labels import infer_labels
from fastnet.data.table import Table, as_column, match_features
from fastnet.data.text import Texts, is_number
from fastnet.errors import DataError, InputError
from fastnet.preprocessing.schema import TableSchema


def dataset_of(
    arrays: Arrays,
    name: str,
    schema: TableSchema | None,
    task: Literal["auto", "classification", "regression"],
) -> Dataset:
    """Return arrays as a data set, encoded by `schema` if there is one.

    A schema whose label names are words also takes class indices, since arrays seldom hold words.

    Raises
    ------
    DataError
        If x and y do not fit together, or not to the schema.
    InputError
        If classification was asked for and `y` has several columns.
    """
    matrix = as_matrix(arrays.x, arrays.source)
    y = arrays.y
    if y is not None:
        if y.ndim == 2 and y.shape[1] == 1:
            y = y[:, 0]
        if y.ndim not in (1, 2) or len(y) != len(matrix):
            raise DataError(
                f"{arrays.source}: expected a target for each of {len(matrix)} rows, "
                f"got {arrays.target!r} of shape {y.shape}."
            )
    if schema is None:
        schema = _schema_of(arrays, matrix.shape[1], y, task)
    table = Table.of_matrix(arrays.source, matrix)
    features = match_features(schema, table.numeric_names, False, (), arrays.source)
    x = schema.encode_table(table, features)
    target = None if y is None or not schema.targets else _encode_y(arrays, y, schema)
    test = None
    if arrays.test is not None:
        test = dataset_of(arrays.test, f"{name} (test)", schema, task)
    return Dataset(name, x, target, schema.task, schema.label_names, schema, test)


def _schema_of(
    arrays: Arrays,
    columns: int,
    y: NDArray[Any] | None,
    task: Literal["auto", "classification", "regression"],
) -> TableSchema:
    if y is None:
        return TableSchema.of_matrix(columns)
    if y.ndim == 1:
        names = arrays.label_names
        if names is None:
            column = as_column(y, "label", arrays.source, arrays.target)
            names = infer_labels(column, task, arrays.source, arrays.target)
        return TableSchema.of_matrix(columns, arrays.target, names)
    if task == "classification":
        raise InputError(f"Classification needs targets of shape (N,), got {y.shape}.")
    targets = tuple(f"{arrays.target}[{i}]" for i in range(y.shape[1]))
    return replace(TableSchema.of_matrix(columns), targets=targets)


def _encode_y(arrays: Arrays, y: NDArray[Any], schema: TableSchema) -> NDArray[Any]:
    outputs = y.shape[1] if y.ndim == 2 else 1
    if outputs != len(schema.targets):
        raise DataError(
            f"{arrays.source}: expected {len(schema.targets)} target columns, got {outputs}."
        )
    kind: Literal["numeric", "label"] = "numeric" if schema.label_names is None else "label"
    parts = [y] if y.ndim == 1 else list(y.T)
    columns = {
        name: as_column(part, kind, arrays.source, name)
        for name, part in zip(schema.targets, parts, strict=True)
    }
    names = arrays.label_names
    labels = schema.label_names
    if names is None and labels is not None and not any(map(is_number, labels)):
        names = labels
    column = columns[schema.targets[0]]
    if labels is not None and names is not None and not isinstance(column, Texts):
        columns[schema.targets[0]] = _name_indices(column, names)
    return schema.encode_target_table(Table.of_columns(arrays.source, columns), schema.targets)


def _name_indices(indices: NDArray[Any], names: tuple[str, ...]) -> Texts:
    """Return class indices as the names of the classes; what is no index stays, as a text."""
    texts = Texts.of_numbers(indices.astype(np.float64))
    index = {str(k): name for k, name in enumerate(names)}
    return Texts(texts.codes, tuple(index.get(value, value) for value in texts.values))
