"""Columns: a table's preprocessor in the form that every format is written from.

What does not depend on a number is computed here, by the preprocessor's own functions: an input
that belongs to a category, or that says where a number is missing, takes one of few values.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
from numpy.typing import NDArray

from fastnet.data.columns import unnamed
from fastnet.preprocessing.columns import scaled
from fastnet.preprocessing.schema import TableSchema
from fastnet.preprocessing.table import TablePreprocessor

if TYPE_CHECKING:
    from fastnet.network import Network

Array = NDArray[np.float64]

LARGEST: Final = float(np.finfo(np.float64).max)
"""Differences from the center beyond it are taken for it, as infinity times 0 is no number."""

LARGEST_SCALED: Final = 1e300
"""Scaled numbers beyond it are taken for it before they are clipped, as their squares overflow."""


@dataclass(frozen=True, eq=False)
class InputColumn:
    """A column of a table, and what becomes of it.

    Attributes
    ----------
    name : str
    kind : {"numeric", "categorical", "empty"}
        A number x becomes ``clip((x - center) * factor)``, 0 where it is missing; then come the
        inputs of its embedding, 0 where it is missing; then the indicator. An empty column becomes
        no input.
    categories : tuple of str
    at, width : int
        The first of its inputs, and how many there are.
    center, factor : float
        Of a number.
    knots : (K,) float64
        Of a number's embedding.
    steps : (K - 1,) float64, or (0,)
        For "piecewise": a bin without width is 1 where x is larger, else 0.
    indicator : (2,) float64, or (0,)
        The last input of a number, where one is there and where it is missing.
    hot : (C,) float64
        The input of each category in rows that have it.
    cold : (C,) or (1,) float64
        Each input in rows that do not; with two categories there is one input for both, and this
        its value for neither.
    """

    name: str
    kind: Literal["numeric", "categorical", "empty"]
    categories: tuple[str, ...]
    at: int
    width: int
    center: float
    factor: float
    knots: Array
    steps: Array
    indicator: Array
    hot: Array
    cold: Array


@dataclass(frozen=True, eq=False)
class InputTable:
    """The columns of a table that a network takes.

    Attributes
    ----------
    columns : tuple of InputColumn
    named : bool
        Whether they are matched by name; else by position.
    embedding : {None, "periodic", "piecewise"}
        Of the numbers.
    inputs : int
    features : tuple of str
        Names of the inputs.
    full : tuple of str, or None
        What the columns of a file without names are called that still holds the targets.
    """

    columns: tuple[InputColumn, ...]
    named: bool
    embedding: Literal["periodic", "piecewise"] | None
    inputs: int
    features: tuple[str, ...]
    full: tuple[str, ...] | None


def table_of(network: Network) -> InputTable | None:
    """Return what `network` makes of a table's columns; None if it takes numbers only."""
    preprocessor = network.preprocessor
    if preprocessor is None:
        return None
    targets = () if preprocessor.target is None else preprocessor.target.names
    wanted = [*(column.name for column in preprocessor.columns), *targets]
    full = unnamed(len(wanted))
    numeric = any(column.kind == "numeric" for column in preprocessor.columns)
    return InputTable(
        _columns(preprocessor),
        preprocessor.named,
        preprocessor.numeric_embedding if numeric else None,
        preprocessor.inputs,
        preprocessor.feature_names,
        full if targets and set(full) == set(wanted) else None,
    )


def _columns(preprocessor: TablePreprocessor) -> tuple[InputColumn, ...]:
    none, place, at, number = np.zeros(0), 0, 0, 0
    made = []
    for column in preprocessor.columns:
        part = slice(place, place + column.levels)
        center, factor = preprocessor.center[part], preprocessor.factor[part]
        numeric = column.kind == "numeric"
        knots = steps = none
        if numeric:
            assert preprocessor.knots is not None
            knots, steps = preprocessor.knots[number], preprocessor.steps[number]
        states = np.array([1.0, -1.0] if len(column.categories) == 2 else 1.0)
        categorical = column.kind == "categorical"
        made.append(
            InputColumn(
                column.name,
                column.kind,
                column.categories,
                at,
                preprocessor.widths(column),
                float(center[0]) if numeric else 0.0,
                float(factor[0]) if numeric else 0.0,
                knots,
                steps,
                scaled(np.array([0.0, 1.0]), center[1], factor[1]) if column.indicator else none,
                scaled(states, center, factor) if categorical else none,
                scaled(0.0, center, factor) if categorical else none,
            )
        )
        place, at, number = place + column.levels, at + made[-1].width, number + numeric
    return tuple(made)


def target_scale(network: Network) -> tuple[Array, Array] | None:
    """Return scale and center (O,) of the outputs in the unit of the targets; None if as they are.

    ``outputs * scale + center`` is what ``TableTarget.decode`` makes of outputs.
    """
    target = None if network.preprocessor is None else network.preprocessor.target
    if target is None or target.labels is not None:
        return None
    scale, center = target.units(network.outputs, network.loss)
    return None if (scale == 1).all() and (center == 0).all() else (scale, center)


def schema_of(network: Network) -> TableSchema:
    """Return the network's schema; that of columns without names where none was stored."""
    schema = network.schema
    if schema is not None and len(schema.feature_names) == network.inputs:
        return schema
    return TableSchema.of_matrix(network.inputs)
