"""``fastnet train --n-estimators``: an ensemble instead of one network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import click
import numpy as np

from fastnet.cli import output
from fastnet.cli.commands.train import data as training_data
from fastnet.cli.commands.train.build import build, fit_options
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
            raise click.UsageError(
                f"{name} does not go with --n-estimators, nor with an ensemble as a preset."
            )


def together(settings: Settings, count: int) -> None:
    """Train and save an ensemble; write its scores on rows that its members were not trained on."""
    dataset = training_data.read(settings.data)
    every = [(one, training_data.prepare(one, dataset)) for one in settings.members]
    made = [build(one, data) for one, data in every]
    recipes = [
        Recipe(built.network, fit_options(one, data, built))
        for (one, data), built in zip(every, made, strict=True)
    ]
    data = every[0][1]
    if not settings.output.quiet:
        click.echo(f"{data.name}: {len(data):,} rows; {count} networks of")
        for built in made:
            click.echo(f"  {built.network.plan.size:,} parameters, {built.loss.name}")
    ensemble = train_together(recipes, data.x, data.y, count)
    ensemble.save(settings.output.out)
    outputs = ensemble.out_of_fold
    if outputs is not None:
        rows = np.flatnonzero(np.isfinite(outputs).all(axis=1))
        weight = None if data.weight is None else data.weight[rows]
        how: dict[str, Any] = {"metrics": settings.training.metric, "sample_weight": weight}
        scores = ensemble.scores(outputs[rows], data.x[rows], data.y[rows], **how)
        for name, value in scores.items():
            click.echo(f"out-of-fold {name} {output.short(value)} ({len(rows):,} rows)")
    size = output.size(settings.output.out.stat().st_size)
    networks = "1 network" if len(ensemble) == 1 else f"{len(ensemble)} networks"
    click.echo(f"ensemble of {networks} {output.printable(settings.output.out)} ({size})")
