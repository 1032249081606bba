"""``fastnet sweep``: which settings of the training do best."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import click
from click.core import ParameterSource

from fastnet.cli import options, output
from fastnet.cli.commands.populations import trials
from fastnet.cli.commands.populations.trials import Trials, trial_options
from fastnet.cli.commands.train import data as training_data
from fastnet.cli.commands.train.build import build, train
from fastnet.cli.commands.train.report import command_line
from fastnet.errors import suggest
from fastnet.populations.settings import column_name

_NAMES: Final = (
    "preset",
    "embedding_size",
    "numeric_embedding",
    "hidden",
    "activation",
    "dropout",
    "loss",
    "optimizer",
    "learning_rate",
    "schedule",
    "momentum",
    "epochs",
    "batch_size",
    "early_stopping",
    "l1",
    "l2",
    "weight_decay",
    "clip_norm",
    "label_smoothing",
    "class_weight",
    "validation",
)
"""Options of ``fastnet train`` whose values may be tried."""


@click.command(
    "sweep",
    cls=options.Command,
    epilog=options.examples(
        "fastnet sweep flowers.csv --target species --grid hidden=32,64x32 --grid dropout=0,0.1",
        "fastnet sweep homes.csv --target price --grid l2=0,1e-3 --cv 5 --out best.safetensors",
        "fastnet sweep homes.csv --target price --grid epochs=9,99 --checkpoint run --resume",
    ),
)
@click.argument("data", type=click.Path())
@options.option(
    "--grid", metavar="NAME=V1,V2,...", multiple=True, required=True, section="Trials",
    help="Values to try of an option; repeatable: all combinations are trained. Two hidden layers "
    "are 64x32.",
)  # fmt: skip
@options.option(
    "--cv", "folds", type=click.IntRange(min=2), metavar="K", section="Trials",
    show_default="compare by the rows that are held out",
    help="Cross-validate each combination on K folds.",
)  # fmt: skip
@options.option(
    "--seeds", type=click.IntRange(min=1), metavar="N", default=1, section="Trials",
    help="Train each combination with so many seeds, from --seed on.",
)  # fmt: skip
@options.option(
    "--out", type=click.Path(path_type=Path), metavar="FILE", section="Trials",
    help="Train the best combination on all rows at the end, and save that model.",
)  # fmt: skip
@trial_options
@click.pass_context
def command(
    ctx: click.Context,
    /,
    data: str,
    grid: tuple[str, ...],
    folds: int | None,
    seeds: int,
    out: Path | None,
    by: str | None,
    as_json: bool,
    html: Path | None,
    executor: str | None,
    checkpoint: Path | None,
    resume: bool,
    quiet: bool,
    **values: Any,
) -> None:
    """Train on DATA with every combination of some options of 'train', and compare.

    Combinations are compared by the mean of a score over folds and seeds: without --cv by the rows
    that each training holds out. With --checkpoint, a sweep that was killed goes on with --resume:
    no trial is lost, and none is trained twice.
    """
    default = ParameterSource.DEFAULT
    given = frozenset(n for n in values if ctx.get_parameter_source(n) is not default)
    score = trials.check_score(by, folds=folds is not None)
    trials.check_files(checkpoint, html, data, out=out, resume=resume)
    combinations = _combinations(ctx, grid)
    for name in (name for one in combinations for name in one):
        if name in given:
            raise click.UsageError(f"--{_dashed(name)} is in --grid, too: give it once.")
    asked = Trials({**values, "data": (data,)}, given, combinations, seeds, folds)
    verbose = not (quiet or as_json)
    how: dict[str, Any] = {"checkpoint": checkpoint, "resume": resume, "verbose": verbose}
    population = asked.run(score, named=by is not None, executor=executor, **how)
    results, means = population.results, population.results.mean()
    best = means.best(score)
    if html is not None:
        trials.write_page(html, command_line(ctx), data, results, means, best)
    if out is not None:
        chosen = combinations[[*means].index(best)]
        settings = asked.settings(chosen, values["seed"])
        rows = training_data.load(settings)
        made = build(settings, rows)
        train(settings, rows, made, ())
        made.network.target_axes = 2
        made.network.save(out)
    if as_json:
        click.echo(trials.as_json(results, means, best))
        return
    trials.write(results, means, of_members=False)
    said = " ".join(
        f"--{_dashed(name)} {_as_option(best[column_name(name)])}" for name in combinations[0]
    )
    click.echo(f"best {score} {output.short(best[score])}: {said}")
    for name, path in (("report", html), ("model", out)):
        if path is not None:
            click.echo(f"{name} {output.printable(path)}")


def _as_option(value: object) -> str:
    """Return a value of the results as ``fastnet train`` takes it: sizes with commas."""
    return re.sub(r"(?<=\d)x(?=\d)", ",", str(value))


def _dashed(name: str) -> str:
    return name.replace("_", "-")


def _combinations(ctx: click.Context, grid: Iterable[str]) -> list[dict[str, Any]]:
    """Return all combinations of the values of ``--grid``, each of its option's type."""
    known = {parameter.name: parameter for parameter in ctx.command.params}
    values: dict[str, list[Any]] = {}
    for text in grid:
        name, _, several = text.partition("=")
        name = name.strip().lstrip("-").replace("-", "_")
        if name not in _NAMES:
            raise click.UsageError(f"--grid: unknown option {name!r}{suggest(name, _NAMES)}")
        if name in values:
            raise click.UsageError(f"--grid: {name} is there twice: give all its values at once.")
        parts = [part.strip() for part in several.split(",")]
        if not all(parts):
            raise click.UsageError(
                f"--grid: expected values after {name}=, such as {name}=A,B, got {text!r}."
            )
        if name == "hidden":
            parts = [part.replace("x", ",") for part in parts]
        option = known[name]
        values[name] = [option.type.convert(part, option, ctx) for part in parts]
        for k, (part, value) in enumerate(zip(parts, values[name], strict=True)):
            if value in values[name][:k]:
                raise click.UsageError(f"--grid: {name}={part} is there twice: give it once.")
    return [dict(zip(values, one, strict=True)) for one in itertools.product(*values.values())]
