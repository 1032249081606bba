"""scikit-learn's perceptrons become networks with the same predictions."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler

import fastnet as fn
from fastnet.export import from_sklearn
from fastnet.export.columns import scaling_of
from tests.exports import LIMIT, relative_difference

X = np.random.default_rng(0).normal(3, 10, size=(60, 4))
NUMBERS = np.stack([X[:, 0] - X[:, 1], X[:, 2]], axis=1)
TEXTS = np.array(["ham", "egg", "tea"])[np.arange(60) % 3]
OPTIONS = {"hidden_layer_sizes": (5, 1), "max_iter": 5, "random_state": 0}


def fitted(estimator: Any, y: Any, x: Any = X) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # five iterations are not meant to converge
        return estimator.fit(x, y)


@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_activation_is_taken_over(activation: str, dtype: str) -> None:
    x = X.astype(dtype)
    options = OPTIONS | {"activation": activation}
    for estimator, y in [
        (MLPRegressor(**options), NUMBERS),
        (MLPRegressor(**options), NUMBERS[:, 0]),
        (MLPClassifier(**options), TEXTS),
        (MLPClassifier(**options), TEXTS == "ham"),
        (MLPClassifier(**options), NUMBERS > 0),
    ]:
        mlp = fitted(estimator, y, x)
        net = from_sklearn(mlp, backend="numpy")
        classes = hasattr(mlp, "predict_proba")
        expected = mlp.predict_proba(x) if classes else mlp.predict(x).reshape(60, -1)
        actual = net.predict_columns(x)
        if classes and net.outputs == 1:
            actual = np.hstack([1 - actual, actual])
        assert relative_difference(actual, np.asarray(expected, dtype)) <= LIMIT[dtype]


def test_the_names_of_the_classes_come_with_it() -> None:
    net = from_sklearn(fitted(MLPClassifier(**OPTIONS), TEXTS))
    assert net.label_names == ("egg", "ham", "tea")
    assert net.loss == fn.losses.CrossEntropy()
    net = from_sklearn(fitted(MLPClassifier(**OPTIONS), TEXTS == "ham"))
    assert net.label_names == ("False", "True")
    one = from_sklearn(fitted(MLPClassifier(**OPTIONS), TEXTS[[0] * 60]))
    assert (one.outputs, one.label_names) == (1, None)
    several = from_sklearn(fitted(MLPClassifier(**OPTIONS), NUMBERS > 0))
    assert several.label_names is None


@pytest.mark.parametrize("options", [{}, {"with_mean": False}, {"with_std": False}])
def test_a_standard_scaler_becomes_the_scaler(options: dict[str, bool]) -> None:
    model = fitted(make_pipeline(StandardScaler(**options), MLPRegressor(**OPTIONS)), NUMBERS)
    net = from_sklearn(model)
    assert scaling_of(net) is not None
    assert relative_difference(net.predict(X), model.predict(X)) <= LIMIT["float64"]


def test_a_softmax_of_one_output_is_refused() -> None:
    mlp = fitted(MLPClassifier(**OPTIONS), TEXTS)
    mlp.coefs_[-1], mlp.intercepts_[-1] = mlp.coefs_[-1][:, :1], mlp.intercepts_[-1][:1]
    with pytest.raises(fn.InputError, match="1 for every row"):
        from_sklearn(mlp, backend="numpy")


def test_training_goes_on() -> None:
    net = from_sklearn(fitted(MLPClassifier(**OPTIONS), TEXTS), backend="numpy")
    labels = np.searchsorted(["egg", "ham", "tea"], TEXTS)
    before = net.evaluate(X, labels)["loss"]
    net.fit(X, labels, epochs=20, optimizer=fn.Adam(1e-2))
    assert net.evaluate(X, labels)["loss"] < before


def test_what_is_no_fitted_perceptron_is_refused() -> None:
    with pytest.raises(fn.InputError, match="MLPClassifier is not fitted"):
        from_sklearn(MLPClassifier())
    with pytest.raises(fn.InputError, match="or an MLPRegressor, got StandardScaler"):
        from_sklearn(StandardScaler())
    with pytest.raises(fn.InputError, match="StandardScaler is not fitted"):
        from_sklearn(make_pipeline(StandardScaler(), MLPRegressor()))
    with pytest.raises(fn.InputError, match="expected StandardScaler alone .* got MinMaxScaler"):
        from_sklearn(make_pipeline(MinMaxScaler(), MLPRegressor()))
