"""Calibration by one temperature: predicted probabilities match observed frequencies.

A calibrated network computes ``softmax(z / T)`` or ``sigmoid(z / T)``, with the T that maximises
the likelihood of held-out targets (Guo et al., 2017, "On calibration of modern neural networks").
The order of the classes stays the same. Since z is ``x @ w + b`` of the last layer, T is folded
into its weights and biases. So backends, exports and model files need not know of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from fastnet.errors import InputError
from fastnet.model import Model
from fastnet.nn.function_loss import FunctionLoss
from fastnet.nn.layers import Dense
from fastnet.nn.losses import BinaryCrossEntropy, CrossEntropy, Loss
from fastnet.nn.member_plan import MemberPlan
from fastnet.nn.plan import make_plan
from fastnet.preprocessing.samples import Samples
from fastnet.utils.device_arrays import on_host

M = TypeVar("M", bound=Model)

Array = NDArray[Any]

BOUNDS: Final = 0.01, 100.0
"""Bounds of the temperature; without them T goes to 0 if every prediction is correct."""

_STEPS: Final = 200


def pre_activations(model: Model, x: Array) -> Array:
    """Return z (N, O) of the last layer for checked, scaled inputs, in float64."""
    last = model.layers[-1]
    assert isinstance(last, Dense)
    layers = *model.layers[:-1], replace(last, activation="identity")
    backend = model.backend_object
    # Only the last activation differs, so the parameters stay where they are.
    engine = backend.engine(make_plan(model.inputs, layers), model.parameters, model.state)
    return np.asarray(on_host("x", backend.outputs(engine, x)), np.float64)


def fit_temperature(model: Model, checked: Samples) -> float:
    """Return the temperature with the smallest mean loss on these rows."""
    kind = model.plan.output_activation.name
    require_probabilities(kind)
    if isinstance(model.plan, MemberPlan):
        raise InputError(
            "a network with Members has a last layer for each of them, and no temperature in "
            "common: calibrate fn.Ensemble(net.members()), which predicts the same."
        )
    return temperature_of(pre_activations(model, checked.rows.x), checked, kind)


def require_probabilities(kind: str) -> None:
    """Raise `InputError` unless an output activation makes probabilities."""
    if kind not in PROBABILITIES:
        raise InputError(
            f"only probabilities can be calibrated: the output activation is {kind!r}, expected "
            "'softmax' or 'sigmoid'."
        )


def temperature_of(z: Array, checked: Samples, kind: str) -> float:
    """Return the temperature for which ``kind(z / T)`` is the most likely, of z (N, O) float64.

    Parameters
    ----------
    checked : Samples
        The targets and weights of the rows.
    kind : {"softmax", "sigmoid"}
    """
    labels, target, weight = (on_host("y", a) for a in checked.rows.fields[1:])
    if labels is not None:
        target = np.zeros_like(z)
        np.put_along_axis(target, labels[:, None], 1, axis=1)
    assert target is not None
    weights = np.ones(len(z)) if weight is None else weight.astype(np.float64)
    probabilities = PROBABILITIES[kind]

    def slope(sharpness: float) -> float:
        """Return the derivative of the loss by 1/T, in which the loss is convex."""
        return float(weights @ np.sum((probabilities(sharpness * z) - target) * z, axis=1))

    return 1.0 / _root(slope, 1.0 / BOUNDS[1], 1.0 / BOUNDS[0])


def apply_temperature(model: Model, temperature: float) -> None:
    """Divide z of the last layer by `temperature`."""
    last = f"layers.{len(model.layers) - 1}"
    for name, values in model.named_parameters().items():
        if name.rpartition(".")[0] == last:
            values *= 1.0 / temperature


def likelihood(model: Model) -> Loss:
    """Return the loss for which `fit_temperature` needs targets: a function's could be any."""
    own = model.loss
    return model.default_loss if isinstance(own, FunctionLoss) else model.loss_or_own(None)


def calibrated_loss(model: Model) -> Loss:
    """Return the loss that `fit_temperature` minimises: the network's without label smoothing."""
    loss = model.loss_or_own(None)
    if isinstance(loss, CrossEntropy | BinaryCrossEntropy):
        return replace(loss, label_smoothing=0.0)
    return loss


def uncalibrated(model: M) -> M:
    """Return a copy of the network without its calibration."""
    other = model.copy()
    if other.temperature is not None:
        apply_temperature(other, 1.0 / other.temperature)
        other.temperature = None
    return other


def _softmax(z: Array) -> Array:
    e = np.exp(z - z.max(axis=1, keepdims=True))
    result: Array = e / e.sum(axis=1, keepdims=True)
    return result


def _sigmoid(z: Array) -> Array:
    result: Array = np.exp(np.minimum(z, 0)) / (1 + np.exp(-np.abs(z)))
    return result


PROBABILITIES: Final = {"softmax": _softmax, "sigmoid": _sigmoid}
"""From z (N, O) of the last layer in float64, by the name of its activation."""


def _root(slope: Callable[[float], float], low: float, high: float) -> float:
    """Return the zero of an increasing function by bisection of the logarithm, or a bound."""
    if slope(low) >= 0:
        return low
    if slope(high) <= 0:
        return high
    for _ in range(_STEPS):
        middle = (low * high) ** 0.5
        if not low < middle < high:
            break
        low, high = (middle, high) if slope(middle) < 0 else (low, middle)
    return float((low * high) ** 0.5)
