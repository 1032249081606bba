"""A table's preprocessor as JSON values and arrays, and back: what a model file holds of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnet.data.table import MAX_COLUMNS
from fastnet.errors import DataError
from fastnet.preprocessing.columns import TableColumn
from fastnet.preprocessing.table import TablePreprocessor
from fastnet.preprocessing.target import TableTarget

Array = NDArray[np.float64]


def to_json(table: TablePreprocessor) -> dict[str, Any]:
    """Return everything but `arrays` as plain lists, dicts and texts."""
    columns = [
        {"name": c.name, "kind": c.kind}
        | ({"categories": list(c.categories)} if c.categories else {})
        | ({"indicator": True} if c.indicator else {})
        for c in table.columns
    ]
    target = None
    if table.target is not None:
        labels = table.target.labels
        names = list(table.target.names)
        target = {"names": names, "labels": None if labels is None else list(labels)}
    embedding = table.numeric_embedding
    return {"columns": columns, "embedding": embedding, "named": table.named, "target": target}


def arrays(table: TablePreprocessor) -> dict[str, Array]:
    """Return all numbers, by name."""
    assert table.knots is not None
    found = {"center": table.center, "factor": table.factor, "knots": table.knots}
    if table.target is not None:
        found |= {"target_center": table.target.center, "target_scale": table.target.scale}
    return found


def restore(data: Any, arrays: Mapping[str, NDArray[Any]]) -> TablePreprocessor:
    """Return what `to_json` and `arrays` gave; both may come from a hostile file.

    Raises
    ------
    DataError
        Anything is missing, unknown, of a wrong type or size, or contradicts something else.
    """
    fields = _fields(data, "the table", {"columns", "embedding", "named", "target"})
    columns, target = fields["columns"], fields["target"]
    if not isinstance(columns, list) or not 0 < len(columns) <= MAX_COLUMNS:
        raise DataError("the table: expected a list of columns.")
    if not isinstance(fields["named"], bool):
        raise DataError("the table: expected 'named' to be true or false.")
    if not isinstance(fields["embedding"], str | None):
        raise DataError("the table: expected the name of an embedding, or null.")
    wanted = {"center", "factor", "knots"}
    wanted |= {"target_center", "target_scale"} if target is not None else set()
    if set(arrays) != wanted or any(a.dtype != np.float64 for a in arrays.values()):
        raise DataError(f"the table: expected {', '.join(sorted(wanted))}, in float64.")
    embedding: Any = fields["embedding"]  # TablePreprocessor checks it
    made = None
    if target is not None:
        parts = _fields(target, "the table's target", {"names", "labels"})
        labels = None if parts["labels"] is None else _texts(parts["labels"], "labels")
        scales = arrays["target_center"], arrays["target_scale"]
        made = TableTarget(_texts(parts["names"], "names"), labels, *scales)
    return TablePreprocessor(
        tuple(map(_column, columns)),
        arrays["center"],
        arrays["factor"],
        embedding,
        arrays["knots"],
        fields["named"],
        made,
    )


def _fields(data: Any, what: str, names: set[str], optional: frozenset[str] = frozenset()) -> Any:
    if not isinstance(data, dict) or not names <= set(data) <= names | optional:
        raise DataError(f"expected {what} to have exactly {', '.join(sorted(names))}.")
    return data


def _texts(data: Any, what: str) -> tuple[str, ...]:
    if not isinstance(data, list) or not all(isinstance(item, str) for item in data):
        raise DataError(f"the table: expected {what!r} to be a list of texts.")
    return tuple(data)


def _column(data: Any) -> TableColumn:
    optional = frozenset({"categories", "indicator"})
    fields = _fields(data, "a column of the table", {"name", "kind"}, optional)
    indicator = fields.get("indicator", False)
    if not isinstance(fields["name"], str) or not isinstance(fields["kind"], str):
        raise DataError("the table: expected the name and the kind of a column as texts.")
    if not isinstance(indicator, bool):
        raise DataError("the table: expected 'indicator' to be true or false.")
    categories = _texts(fields.get("categories", []), "categories")
    kind: Any = fields["kind"]  # TableColumn checks it
    return TableColumn(fields["name"], kind, categories, indicator)
