"""Conversion of preprocessors to parts of a model file, and back; the file may be hostile.

Each preprocessor describes itself (`Preprocessor.description`) as JSON values and arrays. A model
file holds the JSON values under ``preprocessor``, and the arrays as tensors: ``scaler.mean``,
``scaler.scale``, ``table.center`` and so on. Version 0.1 stored tables that had no preprocessor as
a ``schema``, with a scaler over the encoded inputs: `read` makes a `TablePreprocessor` of them too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fastnet.data.columns import MAX_COLUMNS, unnamed
from fastnet.errors import DataError
from fastnet.preprocessing.base import Passthrough, Preprocessor
from fastnet.preprocessing.columns import TableColumn
from fastnet.preprocessing.scaler import Scaler
from fastnet.preprocessing.table import TablePreprocessor
from fastnet.preprocessing.target import TableTarget
from fastnet.utils.serialize import read_fields, read_texts, read_value

Arrays = Mapping[str, NDArray[Any]]

TABLE: Final = "table."
SCALER: Final = "scaler."
TARGET: Final = "target."
"""Prefixes of the names of the tensors."""

_SCALER_ARRAYS: Final = {"mean", "scale"}
_TARGET_ARRAYS: Final = {"target_center", "target_scale"}


def write(preprocessor: Preprocessor) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Return the JSON values and the tensors of a preprocessor for a model file."""
    content, arrays = preprocessor.description()
    if isinstance(preprocessor, TablePreprocessor):
        return content, {TABLE + name: values for name, values in arrays.items()}
    prefixes = {name: SCALER if name in _SCALER_ARRAYS else TARGET for name in arrays}
    return content, {prefixes[name] + name: values for name, values in arrays.items()}


def is_tensor(name: str) -> bool:
    """Return whether a tensor of a model file belongs to its preprocessor."""
    return name.startswith((TABLE, SCALER, TARGET))


def read(data: Any, tensors: Arrays, inputs: int) -> Preprocessor:
    """Return the preprocessor that `write` wrote.

    Parameters
    ----------
    data : JSON value
        The value under ``preprocessor`` in the file.
    tensors : dict of str to array
        The tensors for whose names `is_tensor` is true.
    inputs : int
        The number of inputs of the network.

    Raises
    ------
    DataError
        Anything is missing, unknown, of a wrong type or size, or contradicts something else.
    """
    _require_float64(tensors)
    table = _with_prefix(tensors, TABLE)
    if table or (isinstance(data, dict) and "columns" in data):
        if len(table) != len(tensors):
            raise DataError("expected a table's numbers alone.")
        return restore_table(data, table)
    fields = read_fields(data, "the preprocessor", (), ("target",))
    scale, arrays = _scale(tensors), _with_prefix(tensors, TARGET)
    if set(arrays) != (_TARGET_ARRAYS if fields else set()):
        raise DataError("expected center and scale of exactly a target that is described.")
    target = _target(fields["target"], arrays) if fields else None
    return Scaler(scale["mean"], scale["scale"], target) if scale else Passthrough(inputs, target)


def read_version_1(data: Any, schema: Any, tensors: Arrays, inputs: int) -> Preprocessor:
    """Return the preprocessor of a file of version 0.1; it raises the errors of `read`.

    Parameters
    ----------
    data, schema : JSON value
        The values under ``preprocessor`` and ``schema`` in the file; None if missing.
    """
    if schema is None:
        return read({} if data is None else data, tensors, inputs)
    _require_float64(tensors)
    scale = _scale(tensors)
    if data is not None or len(scale) != len(tensors):
        raise DataError("expected a schema without a preprocessor, and a scaler's numbers alone.")
    return _of_schema(schema, scale, inputs)


def _require_float64(tensors: Arrays) -> None:
    if any(values.dtype != np.float64 for values in tensors.values()):
        raise DataError("expected the numbers of the preprocessor in float64.")


def _scale(tensors: Arrays) -> Arrays:
    """Return mean and scale of a scaler, or nothing."""
    scale = _with_prefix(tensors, SCALER)
    if scale and set(scale) != _SCALER_ARRAYS:
        raise DataError("expected mean and scale of a scaler.")
    return scale


def _with_prefix(tensors: Arrays, prefix: str) -> dict[str, NDArray[Any]]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def restore_table(data: Any, arrays: Arrays) -> TablePreprocessor:
    """Return the table that `TablePreprocessor.description` describes.

    Raises
    ------
    DataError
        Anything is missing, unknown, of a wrong type or size, or contradicts something else.
    """
    names = {"columns", "embedding", "named", "target"}
    fields = read_fields(data, "the table", names, {"scaling", "id", "weight"})
    columns, target = read_value(fields["columns"], "columns", list), fields["target"]
    if not 0 < len(columns) <= MAX_COLUMNS:
        raise DataError("the table: expected a list of columns.")
    wanted = {"center", "factor", "knots"} | (_TARGET_ARRAYS if target is not None else set())
    if set(arrays) != wanted:
        raise DataError(f"the table: expected {', '.join(sorted(wanted))}.")
    # TablePreprocessor checks the names of embedding and scaling.
    embedding: Any = fields["embedding"]
    if embedding is not None:
        embedding = read_value(embedding, "the embedding", str)
    scaling: Any = read_value(fields.get("scaling", "robust"), "the scaling", str)
    return TablePreprocessor(
        tuple(map(_column, columns)),
        arrays["center"],
        arrays["factor"],
        embedding,
        arrays["knots"],
        read_value(fields["named"], "'named'", bool),
        None if target is None else _target(target, arrays),
        scaling,
        **{
            name: read_value(fields[name], f"the {name}", str)
            for name in ("id", "weight")
            if name in fields
        },
    )


def _target(data: Any, arrays: Arrays) -> TableTarget:
    parts = read_fields(data, "the target", {"names", "labels"})
    labels = None if parts["labels"] is None else read_texts(parts["labels"], "'labels'")
    scale = arrays["target_center"], arrays["target_scale"]
    return TableTarget(read_texts(parts["names"], "'names'"), labels, *scale)


def _column(
    data: Any,
    optional: frozenset[str] = frozenset({"categories", "indicator", "one_hot", "part", "truths"}),
) -> TableColumn:
    fields = read_fields(data, "a column of the table", {"name", "kind"}, optional)
    kind: Any = read_value(fields["kind"], "the kind of a column", str)  # TableColumn checks it
    one_hot = fields.get("one_hot")
    return TableColumn(
        read_value(fields["name"], "the name of a column", str),
        kind,
        read_texts(fields.get("categories", []), "'categories'"),
        read_value(fields.get("indicator", False), "'indicator'", bool),
        None if one_hot is None else read_value(one_hot, "'one_hot'", bool),
        read_value(fields.get("part", ""), "'part'", str),
        read_value(fields.get("truths", False), "'truths'", bool),
    )


def _of_schema(data: Any, scale: Arrays, inputs: int) -> Preprocessor:
    """Return the preprocessor of a table, or an array, of version 0.1."""
    fields = read_fields(data, "the schema", {"columns", "targets", "labels", "named"})
    named = read_value(fields["named"], "'named'", bool)
    count = fields["columns"]
    if type(count) is int and not named and 0 < count <= MAX_COLUMNS:
        columns = tuple(TableColumn(name, "numeric") for name in unnamed(count))
    elif isinstance(count, list) and len(count) <= MAX_COLUMNS:
        columns = tuple(_column(column, frozenset({"categories"})) for column in count)
        if any(column.kind == "empty" for column in columns):
            raise DataError("expected numeric and categorical columns in the schema.")
    else:
        raise DataError("expected the columns of the schema to be a list, or their number.")
    names = read_texts(fields["targets"], "'targets'")
    labels = None if fields["labels"] is None else read_texts(fields["labels"], "'labels'")
    if labels is not None and len(names) != 1:
        raise DataError("expected one target column with the label names.")
    target = TableTarget.plain(names, labels, len(names)) if names else None
    made = tuple(
        TableColumn(column.name, column.kind, column.categories, one_hot=True)
        if column.categories
        else column
        for column in columns
    )
    levels = sum(column.levels for column in made)
    if levels != inputs:
        raise DataError(f"the schema becomes {levels} inputs, and the network has {inputs}.")
    mean = scale["mean"] if scale else np.zeros(levels)
    deviation = scale["scale"] if scale else np.ones(levels)
    parts = {*(column.name for column in made), *names}
    numeric = all(column.kind == "numeric" for column in made)
    if not named and numeric and parts != set(unnamed(len(parts))):
        # An array whose targets were apart from it.
        return Scaler(mean, deviation, target) if scale else Passthrough(inputs, target)
    return TablePreprocessor(made, mean, deviation, named=named, target=target, scaling="float32")
