"""The part of an ONNX graph that encodes a table's columns.

The graph's ``x`` (rows, C) has one number for each column, in float64 whatever the network's dtype:
the number itself or the index of the category, NaN where it is missing, and any other number, such
as -1, for a category that is not known. A graph cannot refuse a row: a number that is infinite, or
too large, becomes NaN, and so do the row's outputs. Nodes treat all columns of one kind together.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fastnet.export.columns import LARGEST, LARGEST_SCALED, InputColumn, InputTable
from fastnet.export.encodings import Columns, codes_in, places_in
from fastnet.export.onnx.graph import Graph
from fastnet.preprocessing.scaling import SMOOTH_CLIP, Scaling

Part = tuple[str, list[int]]
"""The name of inputs (rows, K), and which of the network's inputs they are."""


def add(g: Graph, table: InputTable, x: str) -> str:
    """Add the nodes that encode x; return the name of the network's inputs (rows, I)."""
    kinds: dict[str, list[tuple[int, InputColumn]]] = {}
    for index, column in enumerate(table.columns):
        kinds.setdefault(_kind(column), []).append((index, column))
    parts: list[Part] = []
    if "numeric" in kinds:
        parts += _numbers(g, table, x, kinds["numeric"])
    if "two" in kinds:
        parts.append(_twos(g, x, kinds["two"]))
    if "one-hot" in kinds:
        parts.append(_one_hots(g, x, kinds["one-hot"]))
    value = parts[0][0] if len(parts) == 1 else g.op("Concat", *(p[0] for p in parts), axis=1)
    order = np.argsort([place for _, places in parts for place in places])
    if (order == np.arange(table.inputs)).all():
        return value
    return g.op("Gather", value, g.constant(order.astype(np.int64), "table.order"), axis=1)


def own_columns(g: Graph, table: InputTable, columns: Columns, x: str) -> str:
    """Add what makes the columns of one encoding of those of the file; return their name."""
    places = places_in(columns, table)
    if places != [*range(len(columns.columns))]:
        x = _taken(g, "columns", x, places)
    known = [columns.columns[place].categories for place in places]
    codes = [codes_in(*pair) for pair in zip(table.columns, known, strict=True)]
    if all(own is None for own in codes):
        return x
    # A table of all codes: those of a column one after the other, then -1 for all other numbers.
    # Where codes stay as they are, it has those of no category.
    sizes = np.array([0 if own is None else len(own) for own in codes])
    parts = [np.append([] if own is None else own, -1) for own in codes]
    listed = g.constant(np.concatenate(parts).astype(np.float64), "table.own_codes")
    begins = g.constant(np.cumsum([0, *(sizes[:-1] + 1)]), "table.begins")
    rounded = g.op("Floor", x)
    there = g.op("And", g.op("Equal", rounded, x), g.op("GreaterOrEqual", x, _zero(g)))
    there = g.op("And", there, g.op("Less", x, _constant(g, "sizes", sizes)))
    place = g.cast(g.op("Where", there, x, _constant(g, "last", sizes)), np.int64)
    own = g.op("Gather", listed, g.op("Add", place, begins), axis=0)
    moved = g.constant(np.array([one is not None for one in codes]), "table.moved")
    return g.op("Where", moved, own, x)


def described(columns: Columns) -> list[dict[str, Any]]:
    """Return the columns of x for the metadata: name, kind and categories."""
    return [
        {"name": column.name, "kind": column.kind}
        | ({"categories": list(column.categories)} if column.categories else {})
        for column in columns.columns
    ]


def _kind(column: InputColumn) -> str:
    if column.kind != "categorical":
        return column.kind
    return "one-hot" if column.one_hot else "two"


def _zero(g: Graph) -> str:
    return _constant(g, "zero", 0.0)


def _constant(g: Graph, name: str, values: Any) -> str:
    """Add a constant in double precision."""
    return g.constant(np.asarray(values, np.float64), f"table.{name}")


def _taken(g: Graph, name: str, x: str, indices: Sequence[int]) -> str:
    """Take columns of x."""
    return g.op("Gather", x, g.constant(np.array(indices, np.int64), f"table.{name}"), axis=1)


def _numbers(
    g: Graph, table: InputTable, x: str, numeric: list[tuple[int, InputColumn]]
) -> list[Part]:
    """Add the inputs of numeric columns: scaled numbers, embeddings and indicators."""
    columns = [column for _, column in numeric]
    taken = _taken(g, "numbers", x, [index for index, _ in numeric])
    missing, zero = g.op("IsNaN", taken), _zero(g)

    # Scaled numbers, 0 where x is missing, and NaN where the network refuses x.
    z = g.op("Where", missing, zero, _scaled(g, table.scaling, taken, columns))
    if table.scaling == "robust":
        z = g.op("Where", g.op("IsInf", taken), _constant(g, "refused", np.nan), z)
    level = g.cast(z)
    if table.scaling != "robust":
        refused = g.constant(np.array(np.nan, g.dtype), "table.refused")
        level = g.op("Where", g.op("IsInf", level), refused, level)
    parts = [(level, [column.at for column in columns])]

    # Embeddings, 0 where x is missing.
    if table.embedding is not None:
        embedded, count = _embedding(g, table.embedding, taken, z, columns)
        axis = g.constant(np.array([2], np.int64), "table.axis")
        embedded = g.op("Where", g.op("Unsqueeze", missing, axis), zero, embedded)
        flat = g.constant(np.array([0, len(columns) * count], np.int64), "table.flat")
        places = [column.at + 1 + k for column in columns for k in range(count)]
        parts.append((g.cast(g.op("Reshape", embedded, flat)), places))

    # Indicators of missing numbers.
    flagged = [(index, column) for index, column in numeric if column.indicator.size]
    if flagged:
        states = np.array([column.indicator for _, column in flagged], g.dtype)
        gaps = g.op("IsNaN", _taken(g, "indicators", x, [index for index, _ in flagged]))
        there = g.constant(states[:, 0], "table.there")
        gone = g.constant(states[:, 1], "table.missing")
        last = [column.at + column.width - 1 for _, column in flagged]
        parts.append((g.op("Where", gaps, gone, there), last))
    return parts


def _scaled(g: Graph, scaling: Scaling, x: str, columns: Sequence[InputColumn]) -> str:
    """Add the formula that scales numbers x (rows, n); return the name of its output."""
    center = _constant(g, "center", [column.center for column in columns])
    factor = _constant(g, "factor", [column.factor for column in columns])
    if scaling == "float32":
        x = g.cast(g.cast(x, np.float32), np.float64)
    z = g.op("Sub", x, center)
    if scaling != "robust":
        return g.op("Div", z, factor)
    z = g.op("Clip", z, _constant(g, "least", -LARGEST), _constant(g, "most", LARGEST))
    z = g.op("Mul", z, factor)
    # ONNX has no hypot: beyond the root of the largest number squares overflow.
    bound = np.sqrt(LARGEST_SCALED)
    z = g.op("Clip", z, _constant(g, "low", -bound), _constant(g, "high", bound))
    fraction = g.op("Div", z, _constant(g, "smooth", SMOOTH_CLIP))
    root = g.op("Sqrt", g.op("Add", g.op("Mul", fraction, fraction), _constant(g, "one", 1.0)))
    return g.op("Div", z, root)


def _embedding(
    g: Graph, name: str, x: str, z: str, columns: Sequence[InputColumn]
) -> tuple[str, int]:
    """Add the embedding of numbers x, scaled z (rows, n); return its name (rows, n, K), and K."""
    knots = np.array([column.knots for column in columns])
    axis = g.constant(np.array([2], np.int64), "table.axis")
    z = g.op("Unsqueeze", z, axis)
    if name == "periodic":
        turns = g.op("Mul", z, _constant(g, "turn", 2 * np.pi))
        angles = g.op("Mul", turns, _constant(g, "frequencies", knots))
        return g.op("Concat", g.op("Sin", angles), g.op("Cos", angles), axis=2), 2 * knots.shape[1]
    low, size = knots[:, :-1], np.diff(knots)
    below = _constant(g, "ends", low)
    fraction = g.op("Div", g.op("Sub", z, below), _constant(g, "bins", np.where(size > 0, size, 1)))
    if not (size > 0).all():
        # A bin without width is a step of the number itself.
        steps = _constant(g, "steps", [column.steps for column in columns])
        step = g.cast(g.op("Greater", g.op("Unsqueeze", x, axis), steps), dtype=np.float64)
        fraction = g.op("Where", g.constant(size > 0, "table.wide"), fraction, step)
    fraction = g.op("Clip", fraction, _constant(g, "zero", 0.0), _constant(g, "one", 1.0))
    return fraction, size.shape[1]


def _twos(g: Graph, x: str, columns: list[tuple[int, InputColumn]]) -> Part:
    """Add the inputs of columns of two categories, one for each column."""
    code = _taken(g, "twos", x, [index for index, _ in columns])
    hot = np.array([column.hot for _, column in columns], g.dtype)
    value = g.constant(np.concatenate([c.cold for _, c in columns]).astype(g.dtype), "table.none")
    for k in range(2):
        chosen = g.op("Equal", code, _constant(g, f"category.{k}", float(k)))
        value = g.op("Where", chosen, g.constant(hot[:, k].copy(), f"table.hot.{k}"), value)
    return value, [column.at for _, column in columns]


def _one_hots(g: Graph, x: str, columns: list[tuple[int, InputColumn]]) -> Part:
    """Add the one-hot inputs of all other categorical columns."""
    sources = [index for index, column in columns for _ in column.categories]
    codes = [k for _, column in columns for k in range(len(column.categories))]
    hot, cold = (
        np.concatenate([getattr(column, part) for _, column in columns]).astype(g.dtype)
        for part in ("hot", "cold")
    )
    chosen = g.op("Equal", _taken(g, "categories", x, sources), _constant(g, "codes", codes))
    value = g.op("Where", chosen, g.constant(hot, "table.hot"), g.constant(cold, "table.cold"))
    return value, [column.at + k for _, column in columns for k in range(len(column.categories))]
