"""``fastnet tune``: the best ensemble for a table that a search finds within some minutes."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import click

from fastnet.cli import options, output
from fastnet.cli.commands.populations.trials import (
    TRIAL_OPTIONS,
    check_files,
    write,
    write_page,
)
from fastnet.cli.commands.train import data as training_data
from fastnet.cli.commands.train.data import class_weights
from fastnet.cli.commands.train.options import TRAIN_OPTIONS
from fastnet.cli.commands.train.report import command_line
from fastnet.cli.commands.train.settings import DataSettings
from fastnet.cli.options import F, Name, option
from fastnet.cli.sources import text_format
from fastnet.data import Dataset
from fastnet.data.columns import cut
from fastnet.data.frame import Frame
from fastnet.errors import InputError
from fastnet.nn.metrics import METRICS
from fastnet.preprocessing.target import TableTarget
from fastnet.tables.board import TRIAL
from fastnet.tables.tune import tune
from fastnet.tables.tuned import Tuned

_SECTION: Final = "Search"

_OF_TRAIN: Final = (
    "target",
    "task",
    "id",
    "weight",
    "categorical",
    "features",
    "drop",
    "encoding",
    "class_weight",
    "embedding_size",
    "dtype",
    "loss",
    "metric",
    "seed",
    "backend",
    "threads",
)
_OF_TRIALS: Final = ("as_json", "html", "executor", "checkpoint", "resume", "quiet")

_OWN: Final = (
    option(
        "--minutes",
        type=click.FloatRange(min=0, min_open=True),
        metavar="MINUTES",
        default=10.0,
        section=_SECTION,
        help="Time to search. The first trial is trained in any case.",
    ),
    option(
        "--trials",
        type=click.IntRange(min=1),
        metavar="N",
        section=_SECTION,
        show_default="as many as there is time for",
        help="Most trials.",
    ),
    option(
        "--folds",
        type=click.IntRange(min=2),
        metavar="K",
        default=5,
        section=_SECTION,
        help="Networks of a trial; each holds out another part of the rows.",
    ),
    option(
        "--by",
        type=Name("score", ("loss", *METRICS)),
        metavar="SCORE",
        default="loss",
        section=_SECTION,
        help="The score that the search improves: loss, or a metric.",
    ),
    option(
        "--epochs",
        type=click.IntRange(min=1),
        metavar="N",
        section=_SECTION,
        show_default="256, and fewer of more than 50,000 rows",
        help="Passes over the data of each network.",
    ),
    option(
        "--out",
        type=click.Path(path_type=Path),
        metavar="FILE",
        default="model.safetensors",
        section=_SECTION,
        help="Where to save the ensemble; an existing file is replaced.",
    ),
)


def _options(function: F) -> F:
    several = [TRIAL_OPTIONS[name] for name in _OF_TRIALS]
    return options.added([*_OWN, *several, *(TRAIN_OPTIONS[name] for name in _OF_TRAIN)], function)


@click.command(
    "tune",
    cls=options.Command,
    epilog=options.examples(
        "fastnet tune homes.csv --target price --minutes 10 --out best.safetensors",
        "fastnet tune flowers.csv --target species --by accuracy --trials 20",
        "fastnet tune homes.csv --target price --minutes 60 --checkpoint run --resume",
    ),
)
@click.argument("data", type=click.Path())
@_options
@click.pass_context
def command(
    ctx: click.Context,
    /,
    data: str,
    minutes: float,
    trials: int | None,
    folds: int,
    by: str,
    out: Path,
    as_json: bool,
    html: Path | None,
    executor: str | None,
    checkpoint: Path | None,
    resume: bool,
    quiet: bool,
    **values: Any,
) -> None:
    """Search for the best networks for the table DATA, and save an ensemble of them.

    The first trials are the presets of 'train', the others are drawn from RealMLP's search space.
    Each trains a network for each fold, which answers for the rows that it holds out. By these
    answers, trials are compared and chosen for the ensemble. With --checkpoint, a search that was
    killed goes on with --resume, in the time that is left.
    """
    check_files(checkpoint, html, data, resume=resume, out=out)
    wanted = _data_settings(data, values)
    dataset = training_data.read(wanted)
    table, target = _table(dataset, wanted)
    tuned = tune(
        table,
        target,
        minutes=minutes,
        trials=trials,
        cv=folds,
        score=by,
        executor=executor,
        verbose=not (quiet or as_json),
        checkpoint=checkpoint,
        resume=resume,
        **_how(dataset, wanted, values),
    )
    tuned.save(out)
    if html is not None:
        write_page(
            *(html, command_line(ctx), data, tuned.fold_results, tuned.results, tuned.best_trial),
            about=_facts(tuned),
        )
    if as_json:
        click.echo(_as_json(tuned))
        return
    write(tuned.fold_results, tuned.results, of_members=False)
    click.echo(str(tuned))
    if html is not None:
        click.echo(f"report {output.printable(html)}")
    click.echo(f"model {output.printable(out)} ({output.size(out.stat().st_size)})")


def _data_settings(data: str, values: dict[str, Any]) -> DataSettings:
    """Return what to read; takes its options out of the values."""
    form = text_format(values)
    names = ("target", "task", "id", "weight", "categorical", "features", "drop")
    unused = ("validation_data", "data_dir", "standardize", "chunk_rows", "numeric_embedding")
    how: dict[str, Any] = {name: values.pop(name) for name in names} | dict.fromkeys(unused)
    how["distributed"] = False
    return DataSettings(data=(data,), form=form, **how)


def _table(dataset: Dataset, wanted: DataSettings) -> tuple[Frame, Any]:
    """Return the table with all its columns, and the target as `tune` takes it."""
    if not isinstance(dataset.x, Frame):
        raise InputError(f"tune goes with tables in files, and {dataset.name} holds arrays.")
    if not dataset.x.named:
        return dataset.x, dataset.y
    table, names = dataset.joined()
    apart = {wanted.id: dataset.ids, wanted.weight: dataset.weight}
    return table.joined(
        {name: one for name, one in apart.items() if name and one is not None}
    ), names


def _how(dataset: Dataset, wanted: DataSettings, values: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of `train` for all trials."""
    how = {name: value for name, value in values.items() if value is not None}
    how |= {"metrics": how.pop("metric"), "task": wanted.task}
    how |= {"id": wanted.id, "weight": wanted.weight}
    how["categorical"] = cut(wanted.categorical, dataset.x.columns)
    if "class_weight" in how:
        target = TableTarget.learn(dataset.y, dataset.target_names, wanted.task)
        how["class_weight"] = class_weights(how["class_weight"], target)
    return how


def _facts(tuned: Tuned) -> list[tuple[str, object]]:
    chosen = [str(row[TRIAL]) for row in tuned.results if row["weight"]]
    return [
        ("seconds", output.short(tuned.seconds)),
        ("networks of the ensemble", len(tuned)),
        ("trials of the ensemble", ", ".join(chosen)),
        *(
            (f"out-of-fold {name} of the ensemble", output.short(value))
            for name, value in tuned.out_of_fold_scores.items()
        ),
    ]


def _as_json(tuned: Tuned) -> str:
    return output.as_json(
        {
            "trials": [*tuned.results],
            "folds": [*tuned.fold_results],
            "best": tuned.best_trial,
            "ensemble": {"networks": len(tuned), "out_of_fold": tuned.out_of_fold_scores},
            "seconds": tuned.seconds,
        }
    )
