"""Estimators of several networks."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.metrics import accuracy_score, r2_score

import fastnet as fn
from fastnet.sklearn import FastNetClassifier, FastNetRegressor
from tests.closeness import assert_close

RNG = np.random.default_rng(5)
X = RNG.standard_normal((200, 3)).astype(np.float32)
Y = X @ np.array([1.0, -2.0, 0.5], np.float32)
LABELS = np.array(["low", "mid", "high"])[np.digitize(Y, [-1, 1])]
HOW: dict[str, Any] = {"epochs": 8, "validation_split": 0.2, "learning_rate": 0.02}


@pytest.mark.parametrize("preset", [None, "tabular"])
def test_a_classifier_answers_with_the_mean(preset: Any) -> None:
    model = FastNetClassifier(
        n_estimators=5, oob_score=True, random_state=3, preset=preset, **HOW
    ).fit(X, LABELS)
    assert len(model.ensemble_) == 5
    assert [net.seed for net in model.ensemble_] == [3, 4, 5, 6, 7]
    each = np.stack([net.predict_columns(X) for net in model.ensemble_]).astype(float)
    assert_close(model.predict_proba(X), each.mean(axis=0))
    assert set(model.predict(X)) <= {"low", "mid", "high"}
    assert model.oob_decision_function_.shape == (200, 3)
    oob = model.classes_[model.oob_decision_function_.argmax(axis=1)]
    assert model.oob_score_ == accuracy_score(LABELS, oob)
    assert model.network_ is model.ensemble_[0]
    assert len(model.history_.epochs) == 8
    again = clone(model).fit(X, LABELS)
    assert np.array_equal(again.predict_proba(X), model.predict_proba(X))
    other = pickle.loads(pickle.dumps(model))
    assert np.array_equal(other.predict_proba(X), model.predict_proba(X))


def test_a_regressor_too_and_weights() -> None:
    weight = np.arange(200) % 3 + 1
    model = FastNetRegressor(n_estimators=3, oob_score=True, random_state=0, **HOW)
    model.fit(X, Y, weight)
    each = np.stack([net.predict_columns(X)[:, 0] for net in model.ensemble_]).astype(float)
    assert_close(model.predict(X), each.mean(axis=0), factor=16)
    rows = np.isfinite(model.oob_decision_function_[:, 0])
    assert 110 <= rows.sum() <= 130  # three parts of five
    expected = r2_score(Y[rows], model.oob_decision_function_[rows, 0], sample_weight=weight[rows])
    assert model.oob_score_ == expected
    model.set_params(n_estimators=1, oob_score=False).fit(X, Y)
    assert not hasattr(model, "ensemble_")
    assert not hasattr(model, "oob_score_")
    assert np.array_equal(model.predict(X), model.network_.predict(X))


def test_deviations_are_those_of_the_mixture() -> None:
    model = FastNetRegressor(n_estimators=2, loss="gaussian_nll", random_state=0, **HOW).fit(X, Y)
    mean, std = model.predict(X, return_std=True)
    found = model.ensemble_.predict(X, return_std=True)
    assert np.array_equal(std, np.reshape(found[1], -1))
    assert np.array_equal(mean, np.reshape(found[0], -1))


def test_what_several_networks_cannot_do_is_said() -> None:
    model = FastNetClassifier(n_estimators=2, random_state=0, **HOW)
    with pytest.raises(fn.InputError, match="are trained by fit, and anew each time"):
        model.partial_fit(X, LABELS, classes=["low", "mid", "high"])
    model.fit(X, LABELS)
    with pytest.raises(fn.InputError, match="are trained by fit, and anew each time"):
        model.set_params(warm_start=True).fit(X, LABELS)
    with pytest.raises(fn.InputError, match="several networks"):
        fn.export.from_sklearn(model)
    with pytest.raises(fn.InputError, match="n_estimators"):
        FastNetClassifier(n_estimators=0).fit(X, LABELS)
    with pytest.raises(fn.InputError, match="oob_score needs rows that are held out"):
        FastNetClassifier(n_estimators=2, oob_score=True, epochs=2).fit(X, LABELS)


def test_out_of_bag_answers_are_those_of_the_callers_rows() -> None:
    weight = np.ones(200)
    weight[::4] = 0
    model = FastNetRegressor(n_estimators=5, oob_score=True, random_state=3, **HOW)
    model.fit(X, Y, weight)
    kept = np.flatnonzero(weight)
    assert model.oob_decision_function_.shape == (200, 1)
    assert np.isnan(model.oob_decision_function_[::4]).all()
    assert model.oob_score_ == r2_score(Y[kept], model.oob_decision_function_[kept, 0])


def test_out_of_bag_scores_are_those_of_what_is_predicted() -> None:
    how: dict[str, Any] = {"n_estimators": 5, "oob_score": True, "random_state": 3, **HOW}
    quantiles = FastNetRegressor(loss="quantile", **how).fit(X, Y)
    assert quantiles.oob_score_ == r2_score(Y, quantiles.oob_decision_function_[:, 1])
    several = np.stack([Y > 0, X[:, 0] > 0.5], axis=1).astype(int)
    labels = FastNetClassifier(**how).fit(X, several)
    assert labels.oob_score_ == accuracy_score(several, labels.oob_decision_function_ > 0.5)


def test_one_network_has_no_out_of_bag_score() -> None:
    with pytest.raises(fn.InputError, match="oob_score needs several networks"):
        FastNetRegressor(oob_score=True, **HOW).fit(X, Y)
