"""The defaults of `FastNetClassifier` and `FastNetRegressor`: what suits the number of rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn")

import fastnet as fn
from fastnet.preprocessing.base import Passthrough
from fastnet.preprocessing.scaler import Scaler
from fastnet.sklearn import FastNetClassifier, FastNetRegressor
from fastnet.training.budget import Budget

RNG = np.random.default_rng(0)
X = RNG.normal(size=(1_200, 5)) * [1.0, 10.0, 100.0, 0.1, 1.0] + [0.0, 5.0, 1e3, 0.0, 0.0]
Y = 1e6 + X[:, 0] + 0.02 * X[:, 2] + 0.3 * RNG.normal(size=1_200)
SIDE = np.where(X[:, 0] > 0, "right", "left")
FEW = slice(0, 90)

each_class = pytest.mark.parametrize(
    ("estimator", "y"), [(FastNetClassifier, SIDE), (FastNetRegressor, Y)]
)


@each_class
def test_few_rows_are_all_trained_on(estimator: Any, y: Any) -> None:
    model = estimator(random_state=0).fit(X[FEW], y[FEW])
    budget = Budget.of(90)
    assert "val_loss" not in model.history_.records
    assert model.n_iter_ == budget.epochs
    assert model.history_.best_epoch is None
    assert model.network_.optimizer_state.optimizer == budget.optimizer(model.network_.layers)


@each_class
def test_of_many_rows_some_are_held_out_and_choose_the_weights(estimator: Any, y: Any) -> None:
    model = estimator(random_state=0, hidden_layers=8).fit(X, y)
    budget = Budget.of(1_200)
    assert (budget.validation_split, budget.rows, budget.keeps_best) == (0.1, 1_080, True)
    assert len(model.history_["val_loss"]) == model.n_iter_ == budget.epochs
    assert model.history_.best_epoch in model.history_.epochs


@each_class
def test_a_number_of_epochs_is_that_number_on_all_rows(estimator: Any, y: Any) -> None:
    model = estimator(random_state=0, hidden_layers=8, epochs=3).fit(X, y)
    assert (model.n_iter_, model.history_.best_epoch) == (3, None)
    assert "val_loss" not in model.history_.records


def test_inputs_and_targets_are_scaled_where_a_loss_allows_it() -> None:
    model = FastNetRegressor(8, epochs=1, random_state=0).fit(X, Y)
    preprocessor: Any = model.network_.preprocessor
    assert isinstance(preprocessor, Scaler)
    assert np.allclose(preprocessor.target.center, Y.mean())
    counts = FastNetRegressor(8, epochs=1, loss="poisson").fit(X, np.abs(Y - 1e6))
    assert counts.network_.preprocessor.target is None
    plain = FastNetRegressor(8, epochs=1, standardize=False, standardize_targets=False)
    assert isinstance(plain.fit(X, Y).network_.preprocessor, Passthrough)


def test_a_stream_is_not_scaled_and_a_later_fit_keeps_it_so() -> None:
    model = FastNetRegressor(8, epochs=1, warm_start=True, random_state=0).partial_fit(X, Y)
    assert isinstance(model.network_.preprocessor, Passthrough)
    assert isinstance(model.fit(X, Y).network_.preprocessor, Passthrough)
    scaled = FastNetRegressor(8, epochs=1, random_state=0).fit(X, Y)
    before = scaled.network_.preprocessor
    assert scaled.partial_fit(X, Y).network_.preprocessor is before


def test_more_patience_than_epochs_is_pointed_out() -> None:
    with pytest.warns(fn.FastNetWarning, match="after 10 epochs .* cannot happen in 10 epochs"):
        FastNetRegressor(8, epochs=10, early_stopping=10).fit(X, Y)


def test_none_and_false_hold_nothing_out() -> None:
    for none in (None, False):
        model = FastNetRegressor(4, early_stopping=none, batch_size=None).fit(X, Y)
        assert "val_loss" not in model.history_.records


def test_what_is_decided_by_rows_counts_a_row_of_weight_two_twice() -> None:
    rng = np.random.default_rng(5)
    x, times = rng.normal(size=(50, 2)), rng.integers(1, 4, 50)
    y, index = x[:, 0] - 2 * x[:, 1], np.repeat(np.arange(50), times)
    how: dict[str, Any] = {"epochs": 4, "batch_size": None, "shuffle": False, "random_state": 0}

    def predicted(rows: Any, weight: Any) -> Any:
        model = FastNetRegressor((5,), backend="numpy", dtype="float64", **how)
        return model.fit(x[rows], y[rows], sample_weight=weight).predict(x)

    weighed, repeated = predicted(np.arange(50), times / 3), predicted(index, None)
    np.testing.assert_allclose(weighed, repeated, rtol=1e-10)
    assert np.abs(predicted(np.arange(50), None) - repeated).max() > 1e-3
