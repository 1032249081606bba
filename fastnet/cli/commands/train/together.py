"""``fastnet train --n-estimators``: an ensemble instead of one network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import click
import numpy as np

from fastnet.cli import output
from fastnet.cli.commands.train.build import Training, fit_options
from fastnet.cli.commands.train.data import TrainingData
from fastnet.cli.commands.train.settings import Settings
from fastnet.populations.together import Recipe, train_together

_ONE_NETWORK_ONLY: Final[dict[str, Callable[[Settings], object]]] = {
    "--checkpoint": lambda settings: settings.training.checkpoint,
    "--calibrate": lambda settings: settings.training.calibrate,
    "--chunk-rows, or several files": lambda settings: settings.data.in_chunks,
    "--html": lambda settings: settings.output.html,
    "--log": lambda settings: settings.output.log,
}


def refuse_for_ensembles(settings: Settings) -> None:
    """Refuse options that only one network has."""
    for name, given in _ONE_NETWORK_ONLY.items():
        if given(settings):
            raise click.UsageError(f"{name} does not go with --n-estimators.")


def together(settings: Settings, data: TrainingData, made: Training) -> None:
    """Train and save an ensemble; write its scores on rows that its members were not trained on."""
    count = settings.training.n_estimators
    assert count is not None
    recipes = [Recipe(made.network, fit_options(settings, data, made))]
    ensemble = train_together(recipes, data.x, data.y, count)
    ensemble.save(settings.output.out)
    outputs = ensemble.out_of_fold
    if outputs is not None:
        rows = np.flatnonzero(np.isfinite(outputs).all(axis=1))
        weight = None if data.weight is None else data.weight[rows]
        scores = ensemble.scores(outputs[rows], data.x[rows], data.y[rows], sample_weight=weight)
        for name, value in scores.items():
            click.echo(f"out-of-fold {name} {output.short(value)} ({len(rows):,} rows)")
    size = output.size(settings.output.out.stat().st_size)
    click.echo(
        f"ensemble of {len(ensemble)} networks {output.printable(settings.output.out)} ({size})"
    )
