"""A masked array with a value that is masked is refused everywhere, whatever is behind the mask."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fastnet as fn
from fastnet.preprocessing.scaler import Scaler
from fastnet.tables import TablePreprocessor

X = np.random.default_rng(0).normal(size=(20, 2))
Y = X[:, 0] - X[:, 1]
CLASSES = (Y > 0).astype(int)
ONES = np.ones(20)
ONCE: dict[str, Any] = {"epochs": 1}


def net(outputs: int = 1, output: str = "identity") -> fn.Network:
    return fn.Network([2, 3, outputs], output_activation=output, backend="numpy")


def trained(**options: Any) -> fn.Network:
    made = net()
    made.fit(X, Y, **ONCE, **options)
    return made


def table() -> fn.Network:
    return fn.tables.train(X, Y, preset=None, epochs=1, backend="numpy")


def softmax() -> fn.Network:
    made = net(2, "softmax")
    made.fit(X, CLASSES, epochs=1)
    return made


def stepped(act: Callable[[fn.Network, Any], Any]) -> Callable[[Any], Any]:
    def run(values: Any) -> Any:
        made = net()
        made.forward(X)
        made.backward(ONES[:, None])
        return act(made, values)

    return run


def weights(made: fn.Network, values: Any) -> None:
    made.weights[0] = values


def parameters(made: fn.Network, values: Any) -> None:
    made.parameters = values


# What takes an array, and an array that it takes.
CALLS: dict[str, tuple[Callable[[Any], Any], Any]] = {
    "fit x": (lambda v: net().fit(v, Y, **ONCE), X),
    "fit y": (lambda v: net().fit(X, v, **ONCE), Y),
    "fit weight": (lambda v: net().fit(X, Y, sample_weight=v, **ONCE), ONES),
    "validation x": (lambda v: net().fit(X, Y, validation_data=(v, Y), **ONCE), X),
    "validation y": (lambda v: net().fit(X, Y, validation_data=(X, v), **ONCE), Y),
    "validation weight": (lambda v: net().fit(X, Y, validation_data=(X, Y, v), **ONCE), ONES),
    "standardised x": (lambda v: net().fit(v, Y, standardize=True, **ONCE), X),
    "standardised y": (lambda v: net().fit(X, v, standardize_targets=True, **ONCE), Y),
    "partial_fit x": (lambda v: net().partial_fit(v, Y), X),
    "partial_fit y": (lambda v: net().partial_fit(X, v), Y),
    "predict": (lambda v: net().predict(v), X),
    "predict, scaled": (lambda v: trained(standardize=True).predict(v), X),
    "predict_labels": (lambda v: softmax().predict_labels(v), X),
    "predict_one": (lambda v: net().predict_one(v), X[0]),
    "predict_one, scaled": (lambda v: trained(standardize=True).predict_one(v), X[0]),
    "evaluate x": (lambda v: net().evaluate(v, Y), X),
    "evaluate y": (lambda v: net().evaluate(X, v), Y),
    "evaluate weight": (lambda v: net().evaluate(X, Y, sample_weight=v), ONES),
    "gradients": (lambda v: net().gradients(X, v), Y),
    "input_gradients": (lambda v: net().input_gradients(v), X),
    "input_gradients, outputs": (lambda v: net().input_gradients(X, v), np.zeros(20, int)),
    "jacobian": (lambda v: net().jacobian(v), X),
    "jacobian_one": (lambda v: net().jacobian_one(v), X[0]),
    "online_step x": (lambda v: net().online_step()(v, Y[0]), X[0]),
    "calibrate x": (lambda v: softmax().calibrate(v, CLASSES), X),
    "calibrate y": (lambda v: softmax().calibrate(X, v), CLASSES),
    "forward": (lambda v: net().forward(v), X),
    "backward": (stepped(lambda n, v: n.backward(v)), ONES[:, None]),
    "update": (stepped(lambda n, v: n.update(gradients=v)), np.ones(13)),
    "update by name": (stepped(lambda n, v: n.update(
        gradients=dict.fromkeys(n.named_parameters(), 0.0) | {"layers.0.bias": v} | {
            k: np.zeros(p.shape) for k, p in n.named_parameters().items() if k != "layers.0.bias"
        })), np.ones(3)),
    "weights of a layer": (stepped(weights), np.ones((2, 3))),
    "parameters": (stepped(parameters), np.ones(13)),
    "Chunks x": (lambda v: net().fit(fn.data.Chunks(v, Y), **ONCE), X),
    "Chunks y": (lambda v: net().fit(fn.data.Chunks(X, v), **ONCE), Y),
    "a table": (lambda v: fn.tables.train(v, Y, preset=None, **ONCE), X),
    "a column": (lambda v: fn.tables.train({"a": v, "b": Y}, "b", preset=None, **ONCE), X[:, 0]),
    "a target": (lambda v: fn.tables.train(X, v, preset=None, **ONCE), Y),
    "a target of texts": (
        lambda v: fn.tables.train(X, v, preset=None, **ONCE), np.array(["a", "b"])[CLASSES]
    ),
    "a target column": (
        lambda v: fn.tables.train({"a": Y, "b": v}, "b", preset=None, **ONCE), X[:, 0]
    ),
    "a table's weight": (
        lambda v: fn.tables.train(X, Y, preset=None, sample_weight=v, **ONCE), ONES
    ),
    "predict of a table": (lambda v: table().predict(v), X),
    "evaluate of a table": (lambda v: table().evaluate(X, v), Y),
    "Scaler": (Scaler.fit, X),
    "TablePreprocessor": (lambda v: TablePreprocessor.fit(X, v), Y),
    "as_frame": (fn.tables.as_frame, X),
}  # fmt: skip


def masked(values: Any) -> Any:
    """Return the array with its second cell masked."""
    mask = np.zeros(values.shape, bool)
    mask.flat[1] = True
    return np.ma.masked_array(values, mask)


@pytest.mark.parametrize(("call", "values"), CALLS.values(), ids=CALLS)
def test_masked_values_are_refused(call: Callable[[Any], Any], values: Any) -> None:
    with pytest.raises(fn.InputError, match="has masked values: fill them, or leave those rows"):
        call(masked(values))
    call(np.ma.masked_array(values, False))  # a mask of nothing


def estimators() -> list[Any]:
    pytest.importorskip("sklearn")
    from fastnet.sklearn import FastNetClassifier, FastNetRegressor, MLPClassifier, MLPRegressor

    own: dict[str, Any] = {"epochs": 1, "backend": "numpy"}
    theirs: dict[str, Any] = {"max_iter": 1, "backend": "numpy"}
    return [
        FastNetClassifier(**own), FastNetRegressor(**own), FastNetClassifier(table=True, **own),
        FastNetRegressor(table=True, **own), MLPClassifier(**theirs), MLPRegressor(**theirs),
    ]  # fmt: skip


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("which", range(6))
def test_estimators_refuse_them(which: int) -> None:
    model = estimators()[which]
    y = CLASSES if hasattr(model, "predict_proba") else Y
    more = {"classes": [0, 1]} if hasattr(model, "predict_proba") else {}
    calls: list[Callable[[], Any]] = [
        lambda: model.fit(masked(X), y),
        lambda: model.fit(X, masked(y)),
        lambda: model.partial_fit(masked(X), y, **more),
        lambda: model.partial_fit(X, masked(y), **more),
    ]
    if which < 4:
        calls += [
            lambda: model.fit(X, y, sample_weight=masked(ONES)),
            lambda: model.fit(X, y, X_val=masked(X), y_val=y),
            lambda: model.fit(X, y, X_val=X, y_val=masked(y)),
            lambda: model.fit(X, y, X_val=X, y_val=y, sample_weight_val=masked(ONES)),
        ]
    for call in calls:
        with pytest.raises(fn.InputError, match="has masked values"):
            call()
    model.fit(X, y)
    with pytest.raises(fn.InputError, match="has masked values"):
        model.predict(masked(X))
