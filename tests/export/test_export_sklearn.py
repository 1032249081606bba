"""scikit-learn's perceptrons become networks with the same predictions."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.compose import TransformedTargetRegressor, make_column_transformer
from sklearn.decomposition import PCA
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.model_selection import GridSearchCV, HalvingGridSearchCV, RandomizedSearchCV
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, RobustScaler, StandardScaler

import fastnet as fn
from fastnet.export import from_sklearn
from fastnet.export.columns import scaling_of
from fastnet.preprocessing.scaler import Scaler
from fastnet.sklearn import FastNetClassifier, FastNetRegressor, mlp
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


# --- fastnet's own estimators ---------------------------------------------------------------------

FITTED: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "classes": (FastNetClassifier, TEXTS, {}),
    "two classes": (FastNetClassifier, TEXTS == "ham", {}),
    "two softmax outputs": (FastNetClassifier, TEXTS == "ham", {"loss": "cross_entropy"}),
    "labels": (FastNetClassifier, NUMBERS > 0, {}),
    "standardised": (FastNetClassifier, TEXTS, {"standardize": True}),
    "number": (FastNetRegressor, NUMBERS[:, 0], {}),
    "numbers": (FastNetRegressor, NUMBERS, {}),
    "scaled targets": (FastNetRegressor, NUMBERS, {"standardize_targets": True}),
    "layers": (FastNetRegressor, NUMBERS, {"normalization": "layer", "dropout": 0.2}),
    "deviations": (FastNetRegressor, NUMBERS[:, 0], {"loss": "gaussian_nll"}),
    "table": (FastNetRegressor, NUMBERS, {"table": True}),
}


def outputs(model: Any, x: Any) -> Any:
    """Return what a model predicts as the outputs of its network (N, O)."""
    last = model[-1] if hasattr(model, "steps") else model
    if not hasattr(model, "predict_proba"):
        mean = model.predict(x)
        return mean.reshape(len(x), -1)
    made = model.predict_proba(x)
    one = not getattr(last, "_several", False) and made.shape[1] == 2
    return made[:, 1:] if one and last.network_.outputs == 1 else made


def assert_same_predictions(model: Any, x: Any = X) -> fn.Network:
    net = from_sklearn(model, backend="numpy")
    expected = outputs(model, x)
    actual = net.predict_columns(x)[:, : expected.shape[1]]
    assert relative_difference(actual, expected) <= LIMIT["float64"]
    return net


def own(name: str) -> tuple[Any, Any]:
    """Return a new estimator of that case, and its targets."""
    kind, y, options = FITTED[name]
    return kind((5,), epochs=3, random_state=0, backend="numpy", dtype="float64", **options), y


@pytest.mark.parametrize("name", FITTED)
def test_the_networks_of_fastnets_estimators_come_as_copies(name: str) -> None:
    model, y = own(name)
    model.fit(X, y)
    net = assert_same_predictions(model)
    assert np.array_equal(net.predict(X), model.network_.predict(X))
    assert (net.loss, net.label_names) == (model.network_.loss, model.network_.label_names)
    net.parameters[...] = 0
    assert model.network_.parameters.any()


SCALERS = {
    "standard": [StandardScaler()],
    "range": [MinMaxScaler((-2, 3))],
    "maximum": [MaxAbsScaler()],
    "quartiles": [RobustScaler()],
    "quartiles, shifted alone": [RobustScaler(with_scaling=False)],
    "two": [StandardScaler(with_std=False), "passthrough", MinMaxScaler()],
    "three": [make_pipeline(RobustScaler(), MinMaxScaler()), StandardScaler()],
}


@pytest.mark.parametrize("scalers", SCALERS.values(), ids=SCALERS)
@pytest.mark.parametrize("name", [*FITTED, "MLPClassifier", "MLPRegressor"])
def test_scalers_become_one_scaler(name: str, scalers: list[Any]) -> None:
    if name == "MLPClassifier":
        model, y = mlp.MLPClassifier(**OPTIONS), TEXTS
    elif name == "MLPRegressor":
        model, y = mlp.MLPRegressor(**OPTIONS), NUMBERS
    else:
        model, y = own(name)
    fitted_model = fitted(clone(make_pipeline(*scalers, model)), y)
    if name == "table":
        with pytest.raises(fn.InputError, match="leave out the scaler before it"):
            from_sklearn(fitted_model)
        return
    net = assert_same_predictions(fitted_model)
    assert isinstance(net.preprocessor, Scaler)
    here, elsewhere = (net.predict_columns(x) for x in (X, X + X.std(axis=0)))
    assert relative_difference(here, elsewhere) > 1e-6


def test_a_table_comes_with_its_preprocessor() -> None:
    frame = pd.DataFrame({"a": X[:, 0], "kind": TEXTS}).mask(X[:, :2] > 15)
    model = FastNetRegressor((5,), epochs=2, random_state=0, backend="numpy").fit(frame, X[:, 0])
    net = from_sklearn(model, backend="numpy")
    assert np.array_equal(net.predict(frame), model.predict(frame))


@pytest.mark.parametrize("search", [GridSearchCV, RandomizedSearchCV, HalvingGridSearchCV])
@pytest.mark.parametrize("kind", [FastNetRegressor, MLPRegressor, mlp.MLPRegressor])
def test_of_a_search_the_best_estimator_is_taken(search: Any, kind: Any) -> None:
    small = {"epochs": 2, "backend": "numpy"} if kind is FastNetRegressor else {"max_iter": 3}
    pipe = make_pipeline(StandardScaler(), kind(random_state=0, **small))
    step = kind.__name__.lower()
    more = {"n_iter": 2, "random_state": 0} if search is RandomizedSearchCV else {}
    name = "learning_rate" if kind is FastNetRegressor else "learning_rate_init"
    found = search(pipe, {f"{step}__{name}": [1e-3, 1e-2]}, cv=2, **more)
    with pytest.raises(fn.InputError, match="has no best estimator: fit it, with refit=True"):
        from_sklearn(found)
    assert_same_predictions(fitted(found, X[:, 0]).best_estimator_)
    net = from_sklearn(found, backend="numpy")
    best = from_sklearn(found.best_estimator_, backend="numpy")
    assert np.array_equal(net.predict(X), best.predict(X))


COLUMNS = make_column_transformer((StandardScaler(), [0, 1]), remainder="passthrough")


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (MLPClassifier(), "the MLPClassifier is not fitted"),
        (FastNetClassifier(), "the FastNetClassifier is not fitted"),
        (StandardScaler(), "a Pipeline or a search of one, got StandardScaler"),
        (make_pipeline(StandardScaler(), MLPRegressor()), "the StandardScaler is not fitted"),
        (make_pipeline(MinMaxScaler(clip=True).fit(X), MLPRegressor()), "clip=True"),
        (make_pipeline(COLUMNS, MLPRegressor()), "ColumnTransformer .* no counterpart: give FastN"),
        (make_pipeline(PCA(), MLPRegressor()), "the PCA before the network has no counterpart"),
        (TransformedTargetRegressor(MLPRegressor()), "got TransformedTargetRegressor"),
    ],
)
def test_what_has_no_counterpart_is_refused(model: Any, words: str) -> None:
    with pytest.raises(fn.InputError, match=words):
        from_sklearn(model)
