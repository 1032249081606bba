"""Steps: a network as prediction needs it, in the form that every format is written from.

Dropout is left out. Batch normalisation, whose running statistics are constants here, is folded
into the dense layer before it if that has no activation; otherwise it is a step that scales and
shifts. The scale of a table's targets is folded into the last layer, or becomes a step after it if
that has an activation. Folding is computed in float64 and rounded once, to the network's dtype.
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
from fastnet.nn.layers import BatchNorm, Dense, Dropout, Layer, LayerNorm

Array = NDArray[Any]


@dataclass(frozen=True)
class Affine:
    """``y = f(x @ w + b)``, w (I, O), b (O,)."""

    w: Array
    b: Array
    activation: str


@dataclass(frozen=True)
class Scale:
    """``y = f(x * w + b)``, element by element; w, b (O,)."""

    w: Array
    b: Array
    activation: str


@dataclass(frozen=True)
class Normalize:
    """``y = f((x - mean) / sqrt(var + epsilon) * w + b)``, mean and var of each row; w, b (O,)."""

    w: Array
    b: Array
    epsilon: float
    activation: str


Step = Affine | Scale | Normalize


def tensors_of(network: Network) -> dict[str, Array]:
    """Return the parameters and running statistics by name, on the host.

    If the last layer has no activation, the scale of a table's targets is folded into it; otherwise
    `scale_after` returns that scale.
    """
    to_host = network.backend_object.to_host
    named = {**network.named_parameters(), **network.named_state()}
    tensors = {name: np.ascontiguousarray(to_host(values)) for name, values in named.items()}
    target = target_scale(network)
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
    return repr(replace(layer, blocks=None) if isinstance(layer, Dense) else layer)


def steps_of(network: Network) -> list[Step]:
    """Return the steps from a network's preprocessed inputs to its outputs.

    Raises
    ------
    InputError
        A parameter is not finite.
    """
    if not network.is_finite():
        raise InputError("the network has parameters that are not finite: train it again.")
    named = {name: values.astype(np.float64) for name, values in tensors_of(network).items()}
    steps: list[Step] = []
    for index, layer in enumerate(network.layers):
        if isinstance(layer, Dropout):
            continue
        w, b = named[f"layers.{index}.weight"], named[f"layers.{index}.bias"]
        if isinstance(layer, Dense):
            steps.append(Affine(w, b, layer.activation))
        elif isinstance(layer, LayerNorm):
            steps.append(Normalize(w, b, layer.epsilon, layer.activation))
        else:
            assert isinstance(layer, BatchNorm)
            mean, var = (named[f"layers.{index}.running_{part}"] for part in ("mean", "var"))
            w = w / np.sqrt(var + layer.epsilon)
            before = steps[-1] if steps else None
            if isinstance(before, Affine | Scale) and before.activation == "identity":
                b = (before.b - mean) * w + b
                steps[-1] = replace(before, w=before.w * w, b=b, activation=layer.activation)
            else:
                steps.append(Scale(w, b - mean * w, layer.activation))
    after = scale_after(network)
    if after is not None:
        steps.append(Scale(*after, "identity"))
    return [
        replace(step, w=step.w.astype(network.dtype), b=step.b.astype(network.dtype))
        for step in steps
    ]


def activations_of(steps: Sequence[Step]) -> list[str]:
    """Return the activations that the steps use, each once, identity left out."""
    used = dict.fromkeys(step.activation for step in steps)
    return [name for name in used if name != "identity"]
