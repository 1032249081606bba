"""`partial_fit`: one epoch a call, moments that carry over, early stopping over calls."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn")

import fastnet as fn
from fastnet.sklearn import FastNetClassifier, FastNetRegressor
from tests.on_backends import each_backend
from tests.sklearn.test_options import DIGIT, X, each_class, flat

pytestmark = pytest.mark.usefixtures("one_core")

NOISE = np.random.default_rng(0).permutation(DIGIT)


def first(estimator: Any) -> dict[str, Any]:
    """Return what the first call of `partial_fit` needs."""
    return {"classes": np.arange(10)} if estimator is FastNetClassifier else {}


@each_backend
@each_class
def test_a_call_is_an_epoch(estimator: Any, backend: str) -> None:
    options = {"random_state": 0, "backend": backend, "batch_size": 64}
    model = estimator(**options)
    for _ in range(4):
        model.partial_fit(X, DIGIT, **first(estimator))
    # A stream has no end, and its first rows no scale: the optimizer and the numbers are plain.
    options |= {"epochs": 4, "optimizer": "adam", "standardize": False}
    if estimator is FastNetRegressor:
        options["standardize_targets"] = False
    assert np.array_equal(flat(model), flat(estimator(**options).fit(X, DIGIT)))
    assert model.n_iter_ == len(model.loss_curve_) == 4


@each_class
def test_the_moments_carry_over(estimator: Any) -> None:
    model = estimator(random_state=0).fit(X, DIGIT)
    moments, updates = (
        model.network_.optimizer_state.moments.copy(),
        model.network_.optimizer_state.updates,
    )
    model.partial_fit(X, DIGIT)
    assert model.network_.optimizer_state.updates == updates + 3
    assert not np.array_equal(model.network_.optimizer_state.moments, moments)
    forgetful = estimator(random_state=0).fit(X, DIGIT)
    forgetful.network_.optimizer_state.forget()
    assert not np.array_equal(flat(forgetful.partial_fit(X, DIGIT)), flat(model))


@each_class
def test_a_series_goes_on_after_a_pickle(estimator: Any) -> None:
    model = estimator(random_state=0, early_stopping=2)
    model.partial_fit(X, DIGIT, **first(estimator), X_val=X, y_val=DIGIT)
    other = pickle.loads(pickle.dumps(model))
    for one in (model, other):
        one.partial_fit(X, DIGIT, X_val=X, y_val=DIGIT)
    assert np.array_equal(flat(model), flat(other))
    assert model.loss_curve_ == other.loss_curve_


def test_classes_that_come_later_are_known_from_the_first_call() -> None:
    model = FastNetClassifier((16,), learning_rate=0.01, random_state=0)
    parts = [np.flatnonzero(DIGIT < 5), np.flatnonzero(DIGIT >= 5)]
    model.partial_fit(X[parts[0]], DIGIT[parts[0]], classes=range(10))
    for _ in range(60):
        for part in parts:
            model.partial_fit(X[part], DIGIT[part])
    assert model.classes_.tolist() == list(range(10))
    assert model.score(X, DIGIT) > 0.9


def test_several_labels_come_in_parts_too() -> None:
    y = np.stack([DIGIT % 2, DIGIT > 4], axis=1).astype(int)
    model = FastNetClassifier((16,), learning_rate=0.01, random_state=0)
    for _ in range(40):
        model.partial_fit(X[:150], y[:150], classes=[0, 1])
        model.partial_fit(X[150:], y[150:])
    assert model.score(X, y) > 0.9


def test_classes_are_needed_and_stay() -> None:
    with pytest.raises(ValueError, match="classes must be passed on the first call"):
        FastNetClassifier().partial_fit(X, DIGIT)
    model = FastNetClassifier((4,)).partial_fit(X, DIGIT, classes=range(10))
    with pytest.raises(ValueError, match="not the same as on last call"):
        model.partial_fit(X, DIGIT, classes=range(11))
    with pytest.raises(ValueError, match="previously unseen labels"):
        model.partial_fit(X, DIGIT + 1)


@each_class
def test_early_stopping_remembers_between_calls(estimator: Any) -> None:
    # Noise is learnt by heart: the validation loss rises soon.
    model = estimator(random_state=0, learning_rate=0.01, early_stopping=3)
    calls = 0
    while not getattr(model, "stopped_", False):
        held = {"X_val": X[150:], "y_val": NOISE[150:]}
        model.partial_fit(X[:150], NOISE[:150], **first(estimator), **held)
        calls += 1
        assert calls < 500
    curve = model.history_["val_loss"]
    best = int(np.argmin(curve))
    assert calls == len(curve) == best + 4
    assert model.history_.best_epoch == best + 1
    labels = NOISE[150:] if estimator is FastNetClassifier else NOISE[150:].astype(float)
    assert model.network_.evaluate(X[150:], labels)["loss"] == curve[best]
    before = flat(model)
    assert np.array_equal(flat(model.partial_fit(X[:150], NOISE[:150])), before)
    assert model.n_iter_ == calls


@each_class
def test_without_early_stopping_a_series_never_stops(estimator: Any) -> None:
    model = estimator((4,), random_state=0, learning_rate=0.05)
    for _ in range(30):
        held = {"X_val": X[150:], "y_val": NOISE[150:]}
        model.partial_fit(X[:150], NOISE[:150], **first(estimator), **held)
    assert not model.stopped_
    assert model.n_iter_ == 30


@each_class
def test_fit_begins_a_stopped_series_anew(estimator: Any) -> None:
    options = {"early_stopping": 1, "epochs": 3, "optimizer": "sgd", "shuffle": False}
    model = estimator((4,), random_state=0, **options)
    model.set_params(learning_rate=1e-30)
    for _ in range(3):
        model.partial_fit(X, NOISE, **first(estimator))
    assert model.stopped_
    model.set_params(early_stopping=None, learning_rate=0.1).fit(X, DIGIT)
    assert not model.stopped_
    assert model.n_iter_ == 3


def test_what_needs_all_rows_is_refused() -> None:
    with pytest.raises(ValueError, match="class_weight='balanced' needs all rows at once"):
        FastNetClassifier(class_weight="balanced").partial_fit(X, DIGIT, classes=range(10))
    with pytest.raises(ValueError, match="optimizer='lbfgs' needs all data at once"):
        FastNetRegressor(optimizer="lbfgs").partial_fit(X, DIGIT)
    with pytest.raises(fn.InputError, match="at least 2 rows in a batch"):
        FastNetRegressor(normalization="batch").partial_fit(X[:1], DIGIT[:1])
