"""``fastnet cv``: how well training does on rows that it was not given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from fastnet.cli import options, output
from fastnet.cli.commands.populations import trials
from fastnet.cli.commands.populations.trials import Trials, trial_options
from fastnet.cli.commands.train.report import command_line


@click.command(
    "cv",
    cls=options.Command,
    epilog=options.examples(
        "fastnet cv flowers.csv --target species",
        "fastnet cv houses.csv --target price --folds 10 --preset tabular --json",
    ),
)
@click.argument("data", type=click.Path())
@options.option(
    "--folds", type=click.IntRange(min=2), metavar="K", default=5, section="Trials",
    help="Number of parts of the rows; each is tested on once.",
)  # fmt: skip
@options.option(
    "--seeds", type=click.IntRange(min=1), metavar="N", default=1, section="Trials",
    help="Train so many networks on each fold, with seeds from --seed on.",
)  # fmt: skip
@trial_options
@click.pass_context
def command(
    ctx: click.Context,
    /,
    data: str,
    folds: int,
    seeds: int,
    by: str | None,
    as_json: bool,
    html: Path | None,
    executor: str | None,
    checkpoint: Path | None,
    resume: bool,
    quiet: bool,
    **values: Any,
) -> None:
    """Cross-validate the training on DATA, with the options of 'train'.

    The rows are cut into folds with the same share of each class. For each fold, a network is
    trained on the other rows and evaluated on it; encoding and scale of the columns are learned
    from its training rows alone. No model is saved.
    """
    default = ParameterSource.DEFAULT
    given = frozenset(n for n in values if ctx.get_parameter_source(n) is not default)
    score = trials.check_score(by, folds=True)
    trials.check_files(checkpoint, html, data, resume=resume)
    asked = Trials({**values, "data": (data,)}, given, [{}], seeds, folds)
    verbose = not (quiet or as_json)
    how: dict[str, Any] = {"checkpoint": checkpoint, "resume": resume, "verbose": verbose}
    population = asked.run(score, named=by is not None, executor=executor, **how)
    results, means = population.results, population.results.mean()
    best = means.best(score)
    if html is not None:
        trials.write_page(html, command_line(ctx), data, results, means, best)
    if as_json:
        click.echo(trials.as_json(results, means, best))
        return
    trials.write(results, means, of_members=True)
    name = score.removeprefix("test_")
    spread = output.short(best[f"{score}_std"])
    click.echo(
        f"test {name} {output.short(best[score])}, standard deviation {spread} over the folds"
    )
    if html is not None:
        click.echo(f"report {output.printable(html)}")
