"""Ensembles whose members hold back different rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from fastnet.data.frame import Frame
from fastnet.errors import InputError
from fastnet.network import Network
from fastnet.populations.ensemble import Ensemble
from fastnet.populations.folds import Fold, labels_of, make_folds
from fastnet.populations.training import fit_many
from fastnet.preprocessing.target import by_row, split_target
from fastnet.utils.param_validation import check_float, plain


def train_together(
    network: Network, x: Any, y: Any, count: int, fit: Mapping[str, Any]
) -> Ensemble:
    """Return the ensemble of `count` networks, with seeds from the network's own on.

    Where a fraction of the rows is held back to choose the best epoch, each member holds back
    another one: member k the part k of so many parts, which have the same share of each class.

    Parameters
    ----------
    network : Network
        The template of all members, with the preprocessor that they share.
    x : Frame or (N, I)
    y : list of str, or (N,) or (N, T)
        The names of target columns in x, or targets.
    fit : dict
        Arguments of `Network.fit`.
    """
    fit = dict(fit)
    if fit.pop("checkpoint_every", None) is not None:
        raise InputError(
            "checkpoint_every goes with one network: of several, checkpoint keeps those that are "
            "done."
        )
    fraction, weight = plain(fit.pop("validation_split", None)), fit.pop("sample_weight", None)
    fraction = check_float("validation_split", 0.0 if fraction is None else fraction, least=0)
    inputs, names, values = split_target(x, y) if isinstance(x, Frame) else (x, (), y)
    settings: list[dict[str, Any]] = [
        {"seed": network.seed + k, "preprocessor": network.preprocessor} for k in range(count)
    ]
    parts: list[Fold] = []
    if fraction > 0.5:
        raise InputError(
            "members hold back one of several parts of the rows, so validation_split must be at "
            f"most 0.5, got {fraction}."
        )
    if fraction:
        values = values if names else by_row(values)
        classifies = network.loss_or_own(fit.get("loss")).metric == "accuracy"
        labels = labels_of(values, classifies=classifies)
        number = max(2, round(1 / fraction))
        if number > len(x):
            raise InputError(
                f"validation_split={fraction:g} makes {number} parts of the rows, and there are "
                f"{len(x)} of them: give a larger share."
            )
        parts = make_folds(len(x), number, seed=network.seed, labels=labels)
        shared = []
        for train, test in parts[:count]:
            targets = y if names else values[test]
            weights = () if weight is None else (np.asarray(weight)[test],)
            shared.append({"rows": train, "validation_data": (x[test], targets, *weights)})
        for k, one in enumerate(settings):
            one |= shared[k % len(parts)]  # however many members there are: the rows once
    members = fit_many(network, x, y, settings=settings, sample_weight=weight, **fit)
    for member in members:
        member.target_axes = 2  # columns are answered with columns
    ensemble = Ensemble(members)
    if parts:
        answers = np.full((len(x), network.outputs), np.nan)
        for k, test in enumerate(test for _, test in parts[:count]):
            group = members.networks[k :: len(parts)]
            if kept := [one for one in group if one in ensemble.networks]:  # others diverged
                answers[test] = Ensemble(kept).predict_columns(inputs[test])
        ensemble.out_of_fold = answers
    return ensemble
