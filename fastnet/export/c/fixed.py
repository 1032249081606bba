"""A network in whole numbers, for processors that have no others: its scales, and its C text.

A number of a row is stored as an integer q of at most `Kind.most`, and stands for ``q scale``; a
weight is stored likewise, with a scale for each output. So the sum of products of a layer is exact,
and stands for ``sum scale_x scale_w``. It is brought to the scale of the next layer by an integer
factor and a shift, and through tanh and sigmoid by a table. The last sums become floating-point
outputs. Scales come from rows: the largest magnitude in each layer becomes `Kind.most`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastnet.errors import InputError
from fastnet.export.columns import scaling_of
from fastnet.export.combination import Combination
from fastnet.export.steps import Add, Affine, Normalize, Scale, Step
from fastnet.network import Network
from fastnet.utils.names import FixedName

Array = NDArray[Any]

_CALLED: Final[dict[type[Step], str]] = {
    Add: "a residual connection",
    Normalize: "a LayerNorm",
    Scale: "a BatchNorm behind an activation, or scaled targets",
}

_ROWS: Final = 1000
_WIDEST: Final = 1 << 16  # so that no sum overflows
_HIDDEN: Final = ("identity", "relu", "tanh", "sigmoid")
RANGES: Final = {"tanh": 8.0, "sigmoid": 16.0}
"""Where a table ends: beyond it the function differs from its limit by 4e-7 at most."""

FINE: Final = 1 << 19
"""A sum before a table is brought to steps of the range over this."""


class Kind(NamedTuple):
    """A row of the table of kinds.

    Attributes
    ----------
    type, sum : str
        The C types of a stored number, and of a sum of products.
    most : int
        The largest stored number.
    digits : int
        Of the factor that brings a sum to another scale, in bits.
    table : int
        Bits of the index of a table.
    """

    type: str
    sum: str
    most: int
    digits: int
    table: int


KINDS: Final = {
    "int8": Kind("int8_t", "int32_t", 127, 30, 8),
    "q15": Kind("int16_t", "int64_t", 32767, 15, 10),
}


@dataclass(frozen=True, eq=False)
class Layer:
    """A layer in whole numbers: ``sum = q @ w + b``.

    Attributes
    ----------
    w : (I, O) integers
    b : (O,) integers
    factor, shift : (O,) integers
        What brings a sum to the scale of the next layer, or to that of a table.
    unit : (O,) float
        What a sum of 1 stands for.
    activation : str
    """

    w: Array
    b: Array
    factor: Array
    shift: Array
    unit: Array
    activation: str


@dataclass(frozen=True, eq=False)
class Fixed:
    """A network in whole numbers.

    Attributes
    ----------
    name : str
    kind : Kind
    scale : float
        Of the preprocessed inputs.
    layers : tuple of Layer
    about : str
        A sentence on how its outputs differ from those in floating point.
    """

    name: str
    kind: Kind
    scale: float
    layers: tuple[Layer, ...]
    about: str = ""


def fixed_for(
    whole: Combination,
    name: FixedName | None,
    rows: Any = None,
    *,
    jacobian: bool = False,
) -> Fixed | None:
    """Return a network in whole numbers, with the error measured on the rows; None without a name.

    Parameters
    ----------
    rows : (N, I), optional
        Rows as in training, which choose the scales. Default: normal numbers of the mean and the
        deviation that the network standardises its inputs by.

    Raises
    ------
    InputError
        The network has layers or a table that whole numbers are not for, or rows are needed.
    """
    if name is None:
        return None
    if whole.mean is not None:
        raise InputError(
            "fixed is for one network, and this is an ensemble: export one of its members, or "
            "leave fixed out."
        )
    network, steps = whole.first, whole.steps
    if jacobian:
        raise InputError("fixed has no derivatives: leave jacobian out.")
    if name not in KINDS:
        raise InputError(f"fixed must be int8 or q15, got {name!r}.")
    if whole.takes_tables:
        raise InputError("fixed is for networks of arrays, and this one takes a table.")
    layers = [step for step in steps if isinstance(step, Affine)]
    odd = [_CALLED[type(step)] for step in steps if not isinstance(step, Affine)]
    odd += [step.activation for step in layers[:-1] if step.activation not in _HIDDEN]
    odd += [step.activation for step in layers[-1:] if step.activation not in (*_HIDDEN, "softmax")]
    if odd:
        raise InputError(
            f"fixed is for dense layers with {', '.join(_HIDDEN)} and a last softmax, and this "
            f"network has {odd[0]}: leave fixed out."
        )
    if max(len(step.w) for step in layers) > _WIDEST:
        raise InputError(f"fixed is for layers of at most {_WIDEST:,} inputs: leave it out.")
    x = _rows(network, rows)
    z = network.preprocessor.transform(x, network.dtype)
    made = _with_scales(layers, z.astype(np.float64), name)
    wanted = network.predict_columns(x).astype(np.float64)
    return Fixed(name, made.kind, made.scale, made.layers, _difference(network, made, z, wanted))


def _rows(network: Network, rows: Any) -> Any:
    if rows is not None:
        return rows
    scaling = scaling_of(network)
    if scaling is None:
        raise InputError(
            "fixed needs rows as in training, which choose the scales: the network has no mean and "
            "deviation of its inputs. Give rows."
        )
    mean, scale = scaling
    drawn = np.random.default_rng(0).standard_normal((_ROWS, network.inputs))
    return (drawn * scale + mean).astype(network.dtype)


def _with_scales(layers: Sequence[Affine], z: Array, name: str) -> Fixed:
    """Return layers in whole numbers, for rows of preprocessed inputs (N, I)."""
    kind, made = KINDS[name], []
    first = scale = _scale(z, kind)
    for index, layer in enumerate(layers):
        w, b = layer.w.astype(np.float64), layer.b.astype(np.float64)
        z = _ACTIVATE[layer.activation](z @ w + b) if index < len(layers) - 1 else z
        # Of the largest weight; larger where a bias would not fit into a sum.
        unit = np.maximum(np.abs(w).max(axis=0) / kind.most, np.abs(b) / (scale * 2.0**29))
        unit = np.where(unit > 0, unit, 1.0)
        sums = scale * unit
        after = RANGES[layer.activation] / FINE if layer.activation in RANGES else _scale(z, kind)
        factor, shift = _as_shift(sums / after, kind.digits)
        integers = np.rint(w / unit).astype(np.int64), np.rint(b / sums).astype(np.int64)
        made.append(Layer(*integers, factor, shift, sums, layer.activation))
        scale = 1 / kind.most if layer.activation in RANGES else after
    return Fixed(name, kind, first, tuple(made))


def _scale(values: Array, kind: Kind) -> float:
    largest = float(np.abs(values).max(initial=0))
    return largest / kind.most if largest > 0 else 1.0


def _as_shift(ratio: Array, digits: int) -> tuple[Array, Array]:
    """Return integers with ``factor / 2**shift`` near a ratio; factors have that many bits."""
    exponent = np.frexp(ratio)[1]
    shift = np.clip(digits - exponent, 1, 62)
    factor = np.minimum(np.rint(ratio * 2.0**shift), 2.0**digits)
    return factor.astype(np.int64), shift.astype(np.int64)


def _softmax(z: Array) -> Array:
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return np.asarray(e / e.sum(axis=1, keepdims=True))


_ACTIVATE: Final[dict[str, Callable[[Array], Array]]] = {
    "identity": lambda z: z,
    "relu": lambda z: np.maximum(z, 0),
    "tanh": np.tanh,
    "sigmoid": lambda z: np.asarray(1 / (1 + np.exp(-z))),
    "softmax": _softmax,
}


def table_for(activation: str, kind: Kind) -> Array:
    """Return the values of a function between both ends of its range, times 32767."""
    ends = RANGES[activation]
    z = np.linspace(-ends, ends, (1 << kind.table) + 1)
    return np.asarray(np.rint(_ACTIVATE[activation](z) * 32767), np.int64)


def answers(network: Fixed, z: Array) -> Array:
    """Return what the C file computes for preprocessed inputs (N, I), but for its last roundings.

    The result is (N, O) float64.
    """
    kind = network.kind
    q = np.rint(z * z.dtype.type(1 / network.scale))
    q = np.clip(q, -kind.most, kind.most).astype(np.int64)
    for layer in network.layers[:-1]:
        sums = q @ layer.w + layer.b
        moved = (sums * layer.factor + (np.int64(1) << (layer.shift - 1))) >> layer.shift
        if layer.activation in RANGES:
            at = np.clip(moved, -FINE, FINE - 1) + FINE
            table, bits = table_for(layer.activation, kind), 20 - kind.table
            k, rest = at >> bits, at & ((1 << bits) - 1)
            value = table[k] + (((table[k + 1] - table[k]) * rest + (1 << (bits - 1))) >> bits)
            q = value if kind.most == 32767 else (value * kind.most + 16384) >> 15
        else:
            lowest = 0 if layer.activation == "relu" else -kind.most
            q = np.clip(moved, lowest, kind.most)
    last = network.layers[-1]
    sums = (q @ last.w + last.b) * last.unit
    return np.asarray(_ACTIVATE[last.activation](sums))


def _difference(network: Network, made: Fixed, z: Array, wanted: Array) -> str:
    """Return a sentence on the error of the outputs for some rows."""
    outputs = answers(made, z)
    worst, largest = np.abs(outputs - wanted).max(), np.abs(wanted).max()
    text = (
        f"Fixed point ({made.name}): for {len(z):,} rows outputs differ by at most {worst:.2g} "
        f"from those of the network, of which the largest is {largest:.3g}"
    )
    if network.output_schema.class_names is not None:
        schema = network.output_schema
        same = np.mean(schema.answers(outputs) == schema.answers(wanted))
        text += f"; {100 * same:.1f} % have the same likeliest class"
    return f"{text}."
