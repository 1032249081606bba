"""Estimators of several networks: ``n_estimators`` and ``oob_score``."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from sklearn.base import is_classifier
from sklearn.metrics import accuracy_score, r2_score

from fastnet.errors import InputError
from fastnet.network import Network
from fastnet.populations.together import Recipe, train_together
from fastnet.utils.param_validation import check_flag, check_int, plain

_FITTED: Final = ("ensemble_", "oob_score_", "oob_decision_function_")


def forget(model: Any) -> None:
    """Remove what an earlier fit of several networks has left."""
    for name in _FITTED:
        model.__dict__.pop(name, None)


def train(
    model: Any, network: Network, x: Any, y: Any, how: dict[str, Any], kept: NDArray[np.bool_]
) -> None:
    """Train the networks of an estimator, and set its attributes.

    Parameters
    ----------
    network : Network
        The template.
    how : dict
        Arguments of `Network.fit`.
    kept : (N,) bool
        Which of the caller's rows x and y have: those that weigh something.
    """
    count = check_int("n_estimators", plain(model.n_estimators))
    scores = check_flag("oob_score", plain(model.oob_score))
    if scores and not how["validation_split"]:
        raise InputError(
            "oob_score needs rows that are held out: give validation_split a share, and no X_val."
        )
    recipe = Recipe(network, {**how, "verbose": bool(how["verbose"])})
    ensemble = train_together([recipe], x, y, count)
    first = ensemble[0]
    model._keep(first, first.history, True)
    model.ensemble_, model.stopped_ = ensemble, False
    if not scores:
        return
    outputs = ensemble.out_of_fold
    assert outputs is not None
    decisions = np.full((len(kept), outputs.shape[1]), np.nan)
    decisions[kept] = outputs
    model.oob_decision_function_ = decisions
    rows = np.flatnonzero(np.isfinite(outputs).all(axis=1))
    weight = how["sample_weight"]
    weight = None if weight is None else weight[rows]
    known, answers = y[rows], model._answers(outputs[rows])
    if not is_classifier(model):
        model.oob_score_ = float(r2_score(known, answers, sample_weight=weight))
        return
    named = known if known.ndim == 2 else model.classes_[known]
    model.oob_score_ = float(accuracy_score(named, answers, sample_weight=weight))
