"""Steps: a network as prediction needs it, in the form that every format is written from.

Dropout is left out. Batch normalisation, whose running statistics are constants here, is folded
into the dense layer before it if that has no activation and no residual connection reads its
output; otherwise it is a step that scales and shifts. The scale of a table's targets is folded into
the last layer, or becomes a step after it if that has an activation. Folding is
computed in float64 and rounded once, to the network's dtype.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnet.errors import InputError
from fastnet.export.columns import target_scale
from fastnet.network import Network
from fastnet.nn.layers import BatchNorm, Dense, Dropout, Layer, LayerNorm, Residual

Array = NDArray[Any]


@dataclass(frozen=True)
class _Weighted:
    """A step with weights."""

    w: Array
    b: Array

    @property
    def width(self) -> int:
        """Number of outputs, O."""
        return len(self.b)

    @property
    def tensors(self) -> dict[str, Array]:
        """The weights by name."""
        return {"w": self.w, "b": self.b}


@dataclass(frozen=True)
class Affine(_Weighted):
    """``y = f(x @ w + b)``, w (I, O), b (O,)."""

    activation: str


@dataclass(frozen=True)
class Scale(_Weighted):
    """``y = f(x * w + b)``, element by element; w, b (O,)."""

    activation: str


@dataclass(frozen=True)
class Normalize(_Weighted):
    """``y = f((x - mean) / sqrt(var + epsilon) * w + b)``, mean and var of each row; w, b (O,)."""

    epsilon: float
    activation: str


@dataclass(frozen=True)
class Add:
    """``y = x + s``: the end of a residual connection.

    Attributes
    ----------
    skip : int
        The index of the step whose output is s; -1 stands for the network's preprocessed input.
    width : int
        Number of elements of a row.
    """

    skip: int
    width: int
    activation: str = "identity"

    @property
    def tensors(self) -> dict[str, Array]:
        """There are none."""
        return {}


Step = Affine | Scale | Normalize | Add


def tensors_of(network: Network, *, in_units: bool = True) -> dict[str, Array]:
    """Return the parameters and running statistics by name, on the host.

    If the last layer has no activation, the scale of a table's targets is folded into it; otherwise
    `scale_after` returns that scale. Outputs that are not to be in the unit of the targets need
    neither.
    """
    network.check_blocks()
    to_host = network.backend_object.to_host
    named = {**network.named_parameters(), **network.named_state()}
    tensors = {name: np.ascontiguousarray(to_host(values)) for name, values in named.items()}
    target = target_scale(network) if in_units else None
    if target is not None and scale_after(network) is None:
        scale, center = target
        last = f"layers.{len(network.layers) - 1}."
        w, b = (tensors[last + part].astype(np.float64) for part in ("weight", "bias"))
        tensors[last + "weight"] = (w * scale).astype(network.dtype)
        tensors[last + "bias"] = (b * scale + center).astype(network.dtype)
    return tensors


def scale_after(network: Network) -> tuple[Array, Array] | None:
    """Return scale and center of the targets, if the last layer has an activation; else None."""
    follows = network.plan.output_activation.name != "identity"
    return target_scale(network) if follows else None


def shown(layer: Layer) -> str:
    """Return a layer's text for a comment, without its blocks, which may be thousands."""
    return repr(_without_blocks(layer))


def _without_blocks(layer: Layer) -> Layer:
    if isinstance(layer, Residual):
        return Residual(tuple(map(_without_blocks, layer.layers)))
    return replace(layer, blocks=None) if isinstance(layer, Dense) else layer


def steps_of(network: Network, *, in_units: bool = True) -> list[Step]:
    """Return the steps from a network's preprocessed inputs to its outputs.

    Parameters
    ----------
    in_units : bool, default True
        Whether outputs are in the unit of the targets, or as the network learned them.

    Raises
    ------
    InputError
        A parameter is not finite.
    """
    if not network.is_finite():
        raise InputError("the network has parameters that are not finite: train it again.")
    tensors = tensors_of(network, in_units=in_units)
    named = {name: values.astype(np.float64) for name, values in tensors.items()}
    steps: list[Step] = []
    plan = network.plan
    made: list[int] = []  # the step that has the output of each layer
    kept: set[int] = set()  # steps whose outputs residual connections read
    for layer, name, op, ends in zip(plan.chain, plan.names, plan.ops, plan.ends, strict=True):
        if isinstance(layer, Residual):
            skip = int(op["skip"])
            steps.append(Add(made[skip] if skip >= 0 else -1, int(op["outputs"])))
        elif not isinstance(layer, Dropout):
            folds = len(steps) - 1 not in kept
            _add_step(steps, layer, name, named, folds=folds)
        made.append(len(steps) - 1)
        if ends:
            kept.add(made[-1])
    after = scale_after(network) if in_units else None
    if after is not None:
        steps.append(Scale(*after, "identity"))
    return [
        step
        if isinstance(step, Add)
        else replace(step, w=step.w.astype(network.dtype), b=step.b.astype(network.dtype))
        for step in steps
    ]


def _add_step(
    steps: list[Step], layer: Layer, name: str, named: dict[str, Array], *, folds: bool
) -> None:
    """Append the step of a layer, or fold it into the last one if that `folds`."""
    w, b = named[f"{name}.weight"], named[f"{name}.bias"]
    if isinstance(layer, Dense):
        steps.append(Affine(w, b, layer.activation))
    elif isinstance(layer, LayerNorm):
        steps.append(Normalize(w, b, layer.epsilon, layer.activation))
    else:
        assert isinstance(layer, BatchNorm)
        mean, var = (named[f"{name}.running_{part}"] for part in ("mean", "var"))
        w = w / np.sqrt(var + layer.epsilon)
        before = steps[-1] if steps and folds else None
        if isinstance(before, Affine | Scale) and before.activation == "identity":
            b = (before.b - mean) * w + b
            steps[-1] = replace(before, w=before.w * w, b=b, activation=layer.activation)
        else:
            steps.append(Scale(w, b - mean * w, layer.activation))


def activations_of(steps: Sequence[Step]) -> list[str]:
    """Return the activations that the steps use, each once, identity left out."""
    used = dict.fromkeys(step.activation for step in steps)
    return [name for name in used if name != "identity"]
