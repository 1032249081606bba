"""Ensembles for tables: each member holds back another part of the rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnet.populations.ensemble import Ensemble
from fastnet.populations.folds import labels_of, make_folds
from fastnet.populations.training import fit_many
from fastnet.preprocessing.target import split_target
from fastnet.tables.prepare import Prepared


def train_together(prepared: Prepared, count: int) -> Ensemble:
    """Return the ensemble of `count` networks, trained with seeds from the network's own on.

    Where a fraction of the rows is held back to choose the best epoch, each member holds back
    another one: member k the part k of so many parts, which have the same share of each class.
    """
    net, frame, fit = prepared.network, prepared.frame, dict(prepared.fit)
    fraction, weight = fit.pop("validation_split", 0.0) or 0.0, fit.pop("sample_weight", None)
    rows, names, values = split_target(frame, prepared.y)
    settings: list[dict[str, Any]] = [
        {"seed": net.seed + k, "preprocessor": net.preprocessor} for k in range(count)
    ]
    held: list[NDArray[np.int64]] = []
    if fraction:
        values = np.asarray(values) if isinstance(values, list | tuple) else values
        target = net.preprocessor.target
        classifies = target is not None and target.labels is not None
        labels = labels_of(values, classifies=classifies)
        parts = make_folds(len(frame), max(2, round(1 / fraction)), seed=net.seed, labels=labels)
        for k, one in enumerate(settings):
            train, test = parts[k % len(parts)]
            held.append(test)
            y = prepared.y if names else values[test]
            weights = () if weight is None else (np.asarray(weight)[test],)
            one |= {"rows": train, "validation_data": (frame.take(test), y, *weights)}
    members = fit_many(net, frame, prepared.y, settings=settings, sample_weight=weight, **fit)
    for member in members:
        member.target_axes = 2  # as `train` does
    ensemble = Ensemble(members)
    if held:
        sums = np.zeros((len(frame), net.outputs))
        counts = np.zeros((len(frame), 1))
        for member, test in zip(members, held, strict=True):
            if member not in ensemble.networks:  # it diverged
                continue
            sums[test] += member.predict_columns(rows.take(test))
            counts[test] += 1
        ensemble.out_of_fold = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
    return ensemble
