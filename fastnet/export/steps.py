"""Steps: a network as prediction needs it, in the form that every format is written from.

Dropout is gone; batch normalisation, whose running statistics are constants here, is folded into
the dense layer before it where that has no activation of its own, and is a scale and a shift
elsewhere. What is folded is computed in float64 and rounded once, to the network's dtype.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastnet.errors import InputError
from fastnet.layers import BatchNorm, Dense, Dropout, LayerNorm

if TYPE_CHECKING:
    from fastnet.network import Network

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
    """Return the parameters and running statistics by name, on the host."""
    to_host = network.backend_object.to_host
    named = {**network.named_parameters(), **network.named_state()}
    return {name: np.ascontiguousarray(to_host(values)) for name, values in named.items()}


def steps_of(network: Network) -> list[Step]:
    """Return what `network` computes in prediction, after the scaler.

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
    return [
        replace(step, w=step.w.astype(network.dtype), b=step.b.astype(network.dtype))
        for step in steps
    ]


def activations_of(steps: Sequence[Step]) -> list[str]:
    """Return the activations that the steps use, each once, identity left out."""
    used = dict.fromkeys(step.activation for step in steps)
    return [name for name in used if name != "identity"]
