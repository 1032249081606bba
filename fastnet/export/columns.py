"""What a network does to its inputs and outputs, in the form that every format is written from.

This is the only module of the exporters that asks a network for its preprocessing: `scaling_of` and
`table_of` answer for the inputs, `target_scale` for the outputs. Values that do not depend on a
number, such as the inputs of a category, are computed here by the preprocessor's own functions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from fastnet.network import Network
from fastnet.preprocessing.scaler import Scaler
from fastnet.preprocessing.scaling import APPLY, Scaling
from fastnet.preprocessing.table import TablePreprocessor

Array = NDArray[np.float64]

LARGEST: Final = float(np.finfo(np.float64).max)
"""A difference from the center is clipped to this, because infinity times 0 is NaN."""

LARGEST_SCALED: Final = 1e300
"""A scaled number is clipped to this before the smooth clip, because its square would overflow."""


@dataclass(frozen=True, eq=False)
class InputColumn:
    """A column of a table, and the inputs it becomes.

    Attributes
    ----------
    name : str
        The column's; the part of its times in brackets, if it is one.
    source, part : str
        The column's name, and the part of its times; "" for numbers.
    truths : bool
        Whether the numbers are 0 and 1, which true and false stand for.
    kind : {"numeric", "categorical", "empty"}
        A number x becomes its scaled value, then the inputs of its embedding, then its indicator;
        the first two are 0 where x is missing. An empty column becomes no input.
    categories : tuple of str
    at, width : int
        The index of its first input, and the number of its inputs.
    center, factor : float
        The scale of a numeric column.
    knots : (K,) float64
        Of a numeric column's embedding.
    steps : (K - 1,) float64, or (0,)
        For "piecewise": a bin without width is 1 where x is larger than its step, else 0.
    indicator : (2,) float64, or (0,)
        The last input of a numeric column: its value for a number, and for a missing one.
    hot : (C,) float64
        The input of each category in rows that have it.
    cold : (C,) or (1,) float64
        The input of each category in rows that do not have it. Two categories share one input; then
        this is its value where a row has neither.
    """

    name: str
    source: str
    part: str
    truths: bool
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

    @property
    def one_hot(self) -> bool:
        """Whether every category has an input of its own."""
        return len(self.cold) == len(self.categories) > 0


@dataclass(frozen=True, eq=False)
class InputTable:
    """The columns of a table that a network takes.

    Attributes
    ----------
    columns : tuple of InputColumn
    scaling : {"robust", "standard", "none", "float32"}
        The formula that scales numbers; see `fastnet.preprocessing.scaling`.
    embedding : {None, "periodic", "piecewise"}
        Of the numeric columns.
    inputs : int
    features : tuple of str
        Names of the inputs.
    named : bool
        Whether columns go by name; else by position, and their names are ``x0``, ``x1``, ...
    identifier : str or None
        The column that says which row it is.
    """

    columns: tuple[InputColumn, ...]
    scaling: Scaling
    embedding: Literal["periodic", "piecewise"] | None
    inputs: int
    features: tuple[str, ...]
    named: bool
    identifier: str | None


def scaling_of(network: Network) -> tuple[Array, Array] | None:
    """Return mean and scale (I,) that standardise a network's inputs; None where nothing does."""
    scaler = network.preprocessor
    return (scaler.mean, scaler.scale) if isinstance(scaler, Scaler) else None


def table_of(network: Network) -> InputTable | None:
    """Return what `network` makes of a table's columns; None if it takes plain inputs."""
    preprocessor = network.preprocessor
    if not isinstance(preprocessor, TablePreprocessor):
        return None
    numeric = any(column.kind == "numeric" for column in preprocessor.columns)
    return InputTable(
        _columns(preprocessor),
        preprocessor.scaling,
        preprocessor.numeric_embedding if numeric else None,
        preprocessor.inputs,
        preprocessor.feature_names,
        preprocessor.named,
        preprocessor.id,
    )


def target_scale(network: Network) -> tuple[Array, Array] | None:
    """Return scale and center (O,) that bring outputs into the unit of the targets, or None.

    ``outputs * scale + center`` equals ``TableTarget.decode(outputs, loss)``. None means that the
    outputs are in that unit already.
    """
    target = network.output_schema.target
    if target is None or target.labels is not None:
        return None
    scale, center = target.units(network.outputs, network.loss)
    return None if (scale == 1).all() and (center == 0).all() else (scale, center)


def _columns(preprocessor: TablePreprocessor) -> tuple[InputColumn, ...]:
    none, place, at, number = np.zeros(0), 0, 0, 0
    scaled = APPLY[preprocessor.scaling]
    made = []
    for column in preprocessor.columns:
        part = slice(place, place + column.levels)
        center, factor = preprocessor.center[part], preprocessor.factor[part]
        numeric = column.kind == "numeric"
        knots = steps = none
        if numeric:
            knots, steps = preprocessor.knots[number], preprocessor.steps[number]
        states = np.array(1.0 if column.one_hot else [1.0, -1.0])
        categorical = column.kind == "categorical"
        made.append(
            InputColumn(
                column.label,
                column.name,
                column.part,
                column.truths,
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
