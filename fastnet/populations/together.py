"""Ensembles whose members hold back different rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fastnet.data.frame import Frame
from fastnet.errors import InputError
from fastnet.network import Network
from fastnet.populations.ensemble import Ensemble
from fastnet.populations.folds import Fold, labels_of, make_folds
from fastnet.populations.population import Population
from fastnet.populations.results import Results
from fastnet.populations.training import fit_many
from fastnet.preprocessing.target import by_row, split_target
from fastnet.utils.param_validation import check_float, plain


@dataclass(frozen=True)
class Recipe:
    """How some members of an ensemble are trained.

    Attributes
    ----------
    network : Network
        Their template, with the preprocessor that they share.
    fit : dict
        Arguments of `Network.fit`.
    """

    network: Network
    fit: Mapping[str, Any]


def train_together(
    recipes: Sequence[Recipe], x: Any, y: Any, count: int, *, executor: Any = None
) -> Ensemble:
    """Return the ensemble of `count` networks: the recipes take turns, and seeds count up.

    Where a fraction of the rows is held back to choose the best epoch, each member holds back
    another one: member k the part k of so many parts, which have the same share of each class.

    Parameters
    ----------
    recipes : sequence of Recipe
    x : Frame or (N, I)
    y : list of str, or (N,) or (N, T)
        The names of target columns in x, or targets.
    executor : str or executor, optional
        See `fastnet.fit_many`.
    """
    inputs, names, values = split_target(x, y) if isinstance(x, Frame) else (x, (), y)
    values = values if names else by_row(values)
    first = recipes[0].network
    if any("checkpoint_every" in recipe.fit for recipe in recipes):
        raise InputError(
            "checkpoint_every goes with one network: of several, checkpoint keeps those that are "
            "done."
        )
    parts = _parts(recipes[0], len(x), values)
    networks, rows = [first] * count, [dict[str, Any]()] * count
    for number, recipe in enumerate(recipes):
        fit = {name: v for name, v in recipe.fit.items() if name != "validation_split"}
        weight = fit.pop("sample_weight", None)
        shared = []  # however many members hold back a part: its rows once
        for train, test in parts[:count]:
            targets = y if names else values[test]
            weights = () if weight is None else (np.asarray(weight)[test],)
            shared.append({"rows": train, "validation_data": (x[test], targets, *weights)})
        mine = range(number, count, len(recipes))
        if not mine:
            continue
        preprocessor = recipe.network.preprocessor
        fit["settings"] = [
            {"seed": first.seed + k, "preprocessor": preprocessor}
            | (shared[k % len(parts)] if parts else {})
            for k in mine
        ]
        if fit.get("checkpoint") is not None and len(recipes) > 1:
            fit["checkpoint"] = Path(fit["checkpoint"]) / f"recipe-{number}"
        made = fit_many(recipe.network, x, y, sample_weight=weight, executor=executor, **fit)
        for k, member, row in zip(mine, made, made.results, strict=True):
            member.target_axes = 2  # columns are answered with columns
            networks[k], rows[k] = member, dict(row)
    members = Population(tuple(networks), Results(rows, ("seed",)))
    ensemble = Ensemble(members)
    if parts:
        answers = np.full((len(x), first.outputs), np.nan)
        for k, test in enumerate(test for _, test in parts[:count]):
            group = members.networks[k :: len(parts)]
            if kept := [one for one in group if one in ensemble.networks]:  # others diverged
                answers[test] = Ensemble(kept).predict_columns(inputs[test])
        ensemble.out_of_fold = answers
    return ensemble


def _parts(recipe: Recipe, count: int, values: Any) -> list[Fold]:
    """Return the rows to train on and to hold back, one pair after the other; none without."""
    fraction, network = plain(recipe.fit.get("validation_split")), recipe.network
    fraction = check_float("validation_split", 0.0 if fraction is None else fraction, least=0)
    if fraction > 0.5:
        raise InputError(
            "members hold back one of several parts of the rows, so validation_split must be at "
            f"most 0.5, got {fraction}."
        )
    if not fraction:
        return []
    number = max(2, round(1 / fraction))
    if number > count:
        raise InputError(
            f"validation_split={fraction:g} makes {number} parts of the rows, and there are "
            f"{count} of them: give a larger share."
        )
    classifies = network.loss_or_own(recipe.fit.get("loss")).metric == "accuracy"
    labels = labels_of(values, classifies=classifies)
    return make_folds(count, number, seed=network.seed, labels=labels)
