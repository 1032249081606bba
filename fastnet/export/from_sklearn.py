"""Fitted estimators of scikit-learn's kind as networks: its perceptrons, and fastnet's own.

Estimators are known by their names and attributes, so scikit-learn is not imported.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

import numpy as np

from fastnet.data.labels import class_names
from fastnet.errors import InputError
from fastnet.network import Network
from fastnet.nn import losses
from fastnet.nn.layers import Dense
from fastnet.preprocessing.base import Passthrough
from fastnet.preprocessing.scaler import Scaler
from fastnet.utils.names import ActivationName, Auto, BackendName

_NAMES: Final[dict[str, ActivationName]] = {
    "identity": "identity",
    "logistic": "sigmoid",
    "tanh": "tanh",
    "relu": "relu",
    "softmax": "softmax",
    "exp": "exp",
}
"""scikit-learn's names of activations."""

_OWN: Final = ("FastNetClassifier", "FastNetRegressor")
_PERCEPTRONS: Final = ("MLPClassifier", "MLPRegressor")

_SCALERS: Final[dict[str, Callable[[Any], tuple[Any, Any]]]] = {
    "StandardScaler": lambda s: (s.mean_ if s.with_mean else 0, s.scale_ if s.with_std else 1),
    "MinMaxScaler": lambda s: (-s.min_ / s.scale_, 1 / s.scale_),
    "MaxAbsScaler": lambda s: (0, s.scale_),
    "RobustScaler": lambda s: (
        s.center_ if s.with_centering else 0,
        s.scale_ if s.with_scaling else 1,
    ),
}
"""The mean and the scale of ``(x - mean) / scale`` that a fitted scaler computes."""


def from_sklearn(estimator: Any, *, backend: BackendName | Auto = "auto") -> Network:
    """Return a fitted estimator as a network with the same predictions.

    The names of the classes come with it, and scalers before it become the network's `Scaler`.

    Parameters
    ----------
    estimator : estimator, Pipeline, or search
        ``MLPClassifier`` or ``MLPRegressor`` of scikit-learn or of fastnet, ``FastNetClassifier``
        or ``FastNetRegressor``; a ``Pipeline`` of StandardScaler, MinMaxScaler, MaxAbsScaler or
        RobustScaler and one of them; or a search such as ``GridSearchCV`` for any of these, whose
        best estimator is taken. The outputs are those of ``predict_proba`` or ``predict``.
    backend : {"auto", "numpy", "numba", "cupy"}

    Raises
    ------
    InputError
        The estimator is of another kind, or was not fitted; or a step before it has no counterpart.
    """
    steps = _steps(estimator)
    last = steps.pop()
    kind = type(last).__name__
    if kind not in (*_OWN, *_PERCEPTRONS):
        raise InputError(
            f"expected {', '.join(_PERCEPTRONS)}, {' or '.join(_OWN)}, a Pipeline or a search of "
            f"one, got {kind}."
        )
    scaler = _composed([_scaler(step) for step in steps])
    if not hasattr(last, "network_" if kind in _OWN else "coefs_"):
        raise InputError(f"the {kind} is not fitted: there are no weights to take over.")
    network = _own(last, backend) if kind in _OWN else _perceptron(last, backend)
    if scaler is not None:
        network.preprocessor = _before(network.preprocessor, scaler)
    return network


def _steps(estimator: Any) -> list[Any]:
    """Return the fitted steps of an estimator, the perceptron last."""
    if hasattr(estimator, "cv") and hasattr(estimator, "estimator") and hasattr(estimator, "refit"):
        if not hasattr(estimator, "best_estimator_"):
            raise InputError(
                f"the {type(estimator).__name__} has no best estimator: fit it, with refit=True."
            )
        return _steps(estimator.best_estimator_)
    if not hasattr(estimator, "steps"):
        return [estimator]
    parts = [step for _, step in estimator.steps if step not in (None, "passthrough")]
    return [step for part in parts for step in _steps(part)]


def _own(estimator: Any, backend: BackendName | Auto) -> Network:
    """Return a copy of the network of one of fastnet's estimators."""
    if hasattr(estimator, "ensemble_"):
        raise InputError(
            f"this {type(estimator).__name__} has several networks: take its ensemble_, which "
            "fastnet.export.export writes as one file."
        )
    network: Network = estimator.network_.copy()
    return network.to(backend)


def _perceptron(estimator: Any, backend: BackendName | Auto) -> Network:
    """Return a network with the weights of a perceptron."""
    weights, biases = estimator.coefs_, estimator.intercepts_
    *hidden, last = (w.shape[1] for w in weights)
    layers = [Dense(int(units), _NAMES[estimator.activation]) for units in hidden]
    layers.append(Dense(int(last), _NAMES[estimator.out_activation_]))
    network = Network(
        layers, inputs=int(weights[0].shape[0]), dtype=weights[0].dtype, backend=backend
    )
    asarray = network.backend_object.asarray
    for view, values in zip((*network.weights, *network.biases), (*weights, *biases), strict=True):
        view[...] = asarray(np.ascontiguousarray(values))
    network.target_axes = 1  # as scikit-learn predicts a single target
    network.loss = losses.get(None, network.plan.output_activation.name)
    classes = hasattr(estimator, "classes_")
    if classes and (last == 1 or network.loss.name == "cross_entropy"):
        network.label_names = class_names(estimator.classes_)
    return network


def _scaler(step: Any) -> Scaler:
    """Return a fitted scaler as a `Scaler`."""
    kind = type(step).__name__
    if kind not in _SCALERS:
        raise InputError(
            f"the {kind} before the network has no counterpart: give FastNetClassifier or "
            "FastNetRegressor the table itself (table=True encodes its columns), or convert the "
            "last step alone, pipeline[-1], and transform rows before the network gets them."
        )
    if not hasattr(step, "n_features_in_"):
        raise InputError(f"the {kind} is not fitted.")
    if getattr(step, "clip", False):
        raise InputError(f"the {kind} has clip=True, and a network does not clip: fit one without.")
    pair = (np.broadcast_to(part, step.n_features_in_) for part in _SCALERS[kind](step))
    mean, scale = (np.asarray(part, np.float64) for part in pair)
    return Scaler(mean, scale)


def _composed(scalers: list[Scaler]) -> Scaler | None:
    """Return the scaler that does what these do one after the other."""
    if not scalers:
        return None
    mean, scale = scalers[0].mean, scalers[0].scale
    for scaler in scalers[1:]:
        mean, scale = mean + scaler.mean * scale, scale * scaler.scale
    return Scaler(mean, scale)


def _before(preprocessor: Any, scaler: Scaler) -> Scaler:
    """Return the preprocessor that scales arrays before another one gets them."""
    if isinstance(preprocessor, Passthrough):
        return replace(scaler, target=preprocessor.target)
    if not isinstance(preprocessor, Scaler):
        raise InputError(
            "the network scales the columns of its table itself: leave out the scaler before it."
        )
    both = _composed([scaler, preprocessor])
    assert both is not None
    return replace(both, target=preprocessor.target)
