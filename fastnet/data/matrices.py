"""Arrays without column names, x (N, ...) and y (N, ...), as data sets."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fastnet.data.columns import match_features
from fastnet.data.dataset import Dataset
from fastnet.data.labels import infer_labels
from fastnet.data.table import MAX_COLUMNS, Table, as_column
from fastnet.data.text import Texts, is_number
from fastnet.errors import DataError, InputError
from fastnet.preprocessing.schema import TableSchema


@dataclass(frozen=True, eq=False)
class Arrays:
    """What a file of arrays holds, before encoding.

    Attributes
    ----------
    source : str
        What error messages call the file.
    x : (N, ...) of any real dtype
    y : (N,) numbers or texts, (N, O) numbers, or None
    target : str
        The name of `y`.
    label_names : tuple of str, or None
        Names of the classes, when `y` holds their indices; None to take the names from `y`.
    test : Arrays or None
        The test split.
    """

    source: str
    x: NDArray[Any]
    y: NDArray[Any] | None
    target: str = "y"
    label_names: tuple[str, ...] | None = None
    test: Arrays | None = None


def as_matrix(x: NDArray[Any], source: str) -> NDArray[Any]:
    """Return x (N, ...) as (N, I); unsigned bytes with several axes per row are divided by 255.

    Such arrays are images, whose pixels then are float32 in 0..1. A plain (N, I) matrix of bytes
    keeps its values.

    Raises
    ------
    DataError
        If `x` has fewer than two axes, no rows, no columns, or too many columns.
    """
    if x.ndim < 2 or x.dtype.kind not in "biuf":
        raise DataError(f"{source}: expected rows of numbers, got {x.dtype} of shape {x.shape}.")
    if x.size == 0:
        raise DataError(f"{source} has no rows or no columns: its shape is {x.shape}.")
    matrix: NDArray[Any] = x.reshape(len(x), -1)
    if matrix.shape[1] > MAX_COLUMNS:
        raise DataError(f"{source} has {matrix.shape[1]} columns, more than {MAX_COLUMNS:,}.")
    if x.dtype == np.uint8 and x.ndim > 2:
        # A division, as a product with 1/255 would not give 1.0 for every white pixel.
        matrix = np.divide(matrix, np.float32(255), dtype=np.float32)
    return matrix


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
