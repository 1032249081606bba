"""scikit-learn's fitted multi-layer perceptrons as networks.

Estimators are known by their attributes, so scikit-learn is not imported.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from fastnet.data.labels import class_names
from fastnet.errors import InputError
from fastnet.network import Network
from fastnet.nn import losses
from fastnet.nn.layers import Dense
from fastnet.preprocessing.scaler import Scaler

_NAMES: Final = {
    "identity": "identity",
    "logistic": "sigmoid",
    "tanh": "tanh",
    "relu": "relu",
    "softmax": "softmax",
    "exp": "exp",
}
"""scikit-learn's names of activations."""


def from_sklearn(estimator: Any, *, backend: str = "auto") -> Network:
    """Return a fitted MLPClassifier or MLPRegressor as a network with the same predictions.

    The names of the classes come with it. A ``Pipeline`` of a StandardScaler and one of these
    becomes a network with a scaler.

    Parameters
    ----------
    estimator : MLPClassifier, MLPRegressor, or Pipeline
    backend : {"auto", "numpy", "numba", "cupy"}

    Raises
    ------
    InputError
        The estimator is of another kind, or was not fitted.
    """
    scaler = None
    if hasattr(estimator, "steps"):
        *before, (_, estimator) = estimator.steps
        scalers = [step for _, step in before if step not in (None, "passthrough")]
        if len(scalers) > 1 or any(type(step).__name__ != "StandardScaler" for step in scalers):
            names = ", ".join(type(step).__name__ for step in scalers)
            raise InputError(f"expected StandardScaler alone before the perceptron, got {names}.")
        scaler = _scaler(scalers[0]) if scalers else None
    kind = type(estimator).__name__
    if kind not in ("MLPClassifier", "MLPRegressor"):
        raise InputError(f"expected an MLPClassifier or an MLPRegressor, got {kind}.")
    if not hasattr(estimator, "coefs_"):
        raise InputError(f"the {kind} is not fitted: there are no weights to take over.")
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
    if scaler is not None:
        network.preprocessor = scaler
    network.target_axes = 1  # as scikit-learn predicts a single target
    network.loss = losses.get(None, network.plan.output_activation.name)
    if kind == "MLPClassifier" and (last == 1 or network.loss.name == "cross_entropy"):
        network.label_names = class_names(estimator.classes_)
    return network


def _scaler(estimator: Any) -> Scaler:
    """Return a fitted StandardScaler as a `Scaler`."""
    if not hasattr(estimator, "n_features_in_"):
        raise InputError("the StandardScaler is not fitted.")
    width = estimator.n_features_in_
    mean = estimator.mean_ if estimator.with_mean else np.zeros(width)
    scale = estimator.scale_ if estimator.with_std else np.ones(width)
    return Scaler(mean, scale)
