"""The trials of ``fastnet cv`` and ``fastnet sweep``: settings, folds, and their results."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import click

from fastnet.cli import options, output
from fastnet.cli.commands.train import data as training_data
from fastnet.cli.commands.train.build import Training, build, fit_options
from fastnet.cli.commands.train.data import TrainingData
from fastnet.cli.commands.train.options import TRAIN_OPTIONS
from fastnet.cli.commands.train.settings import Settings
from fastnet.cli.load import Rows, labelled
from fastnet.cli.options import F
from fastnet.data import Dataset
from fastnet.errors import InputError, suggest
from fastnet.nn.metrics import mode_of
from fastnet.populations import halfway
from fastnet.populations.crews import Threads, hired
from fastnet.populations.folder import fingerprint
from fastnet.populations.folds import Fold, labels_of, make_folds
from fastnet.populations.population import Population
from fastnet.populations.results import FOLD, SEED, Results
from fastnet.populations.runner import train_all, train_member
from fastnet.populations.settings import column_name
from fastnet.populations.work import Row, Trained
from fastnet.tables.preset import PRESETS

_UNUSED: Final[dict[str, Any]] = {
    "chunk_rows": None,
    "calibrate": False,
    "n_estimators": None,
    "distributed": False,
    "parts": None,
    "out": Path("model.safetensors"),
    "html": None,
    "log": None,
    "checkpoint": None,
    "checkpoint_every": None,
    "resume": False,
    "quiet": True,
}
"""Options of ``fastnet train`` that trials do not have, with their values."""

_SECTION: Final = "Trials"

_OPTIONS: Final = (
    options.option(
        "--by",
        metavar="SCORE",
        section=_SECTION,
        show_default="test_loss, or val_loss without folds",
        help="The score that says which settings are best.",
    ),
    options.option(
        "--json", "as_json", is_flag=True, default=False, section=_SECTION, help="Write JSON."
    ),
    options.option(
        "--html",
        type=click.Path(path_type=Path),
        metavar="FILE",
        section=_SECTION,
        help="Write an HTML page with all trials.",
    ),
    options.option(
        "--executor",
        metavar="WHERE",
        section=_SECTION,
        show_default="threads of this process",
        help="Where to train: processes or processes:4, dask:tcp://host:8786, or mpi. "
        "--threads are then those of each.",
    ),
    options.option(
        "--checkpoint",
        type=click.Path(path_type=Path),
        metavar="DIR",
        section=_SECTION,
        help="Folder that gets each trial that is done.",
    ),
    options.option(
        "--resume",
        is_flag=True,
        default=False,
        section=_SECTION,
        help="Take over the trials that are done, and go on with those that take long.",
    ),
    options.option(
        "--quiet",
        is_flag=True,
        default=False,
        section=_SECTION,
        help="Write no line for each trial that is done.",
    ),
)

TRIAL_OPTIONS: Final = options.by_name(_OPTIONS)
"""Decorators that add the options of trials, by their names."""


def trial_options(function: F) -> F:
    """Add the options of training, and those of trials, to a command's function."""
    kept = [add for name, add in TRAIN_OPTIONS.items() if name not in _UNUSED]
    return options.added([*TRIAL_OPTIONS.values(), *kept], function)


@dataclass(frozen=True)
class Trials:
    """What a command asks for.

    Attributes
    ----------
    values : dict of str to object
        The options of ``fastnet train`` by name.
    given : set of str
        Those on the command line.
    combinations : sequence of dict
        Options that replace them, for each of the settings to try.
    seeds : int
    folds : int or None
    """

    values: Mapping[str, Any]
    given: frozenset[str]
    combinations: Sequence[Mapping[str, Any]]
    seeds: int
    folds: int | None

    def settings(self, combination: Mapping[str, Any], seed: int) -> Settings:
        """Return the options of one trial."""
        values = {**self.values, **_UNUSED, **combination, "seed": seed}
        return Settings.read(values, self.given | combination.keys())

    def run(
        self,
        by: str,
        *,
        named: bool,
        executor: str | None,
        checkpoint: Path | None,
        resume: bool,
        verbose: bool,
    ) -> Population:
        """Train all of them, to compare them by a score; return networks and results.

        Parameters
        ----------
        named : bool
            Whether the caller names the score: else it may not be a loss where losses differ.
        """
        first = self.values["seed"]
        seeds = [first + k for k in range(self.seeds)]
        every = [(one, seed) for one in self.combinations for seed in seeds]
        chosen = [self.settings(one, seed) for one, seed in every]
        for one in chosen:
            if one.n_members is not None:
                raise click.UsageError(
                    f"--preset {one.preset} trains an ensemble, and each trial is one network: "
                    f"take --preset {' or '.join(PRESETS)}."
                )
        dataset = training_data.read(chosen[0].data)
        parts = [None] if self.folds is None else [*enumerate(self._parts(chosen[0], dataset))]
        jobs = [(k, part) for k in range(len(every)) for part in parts]
        threads = self.values["threads"]
        # Built once, to refuse what is wrong before anything is trained.
        prepared = [training_data.prepare(one, dataset) for one in chosen]
        built = [build(one, data) for one, data in zip(chosen, prepared, strict=True)]
        for one, data, made in zip(chosen, prepared, built, strict=True):
            _require_score(by, one, data, made, folds=self.folds is not None)
        losses = sorted({repr(made.loss) for made in built})
        if len(losses) > 1 and not named:
            raise InputError(
                f"the trials have different losses, {' and '.join(losses)}, so none of them says "
                "which is best: name a score that all have, such as --by test_r2."
            )
        held_out = [
            (one.x, one.y, one.weight)
            for one in (data.validation for data in prepared[:1])
            if isinstance(one, Rows)
        ]
        content = {
            "settings": [[_said(one) for one in chosen], parts],
            "rows": [dataset.x, dataset.y, dataset.weight, held_out],
        }
        work = _Trials(chosen, dataset, every, jobs)
        networks = [made.network for made in built]
        with hired(executor, threads, networks[0].backend) as workers:
            return train_all(
                len(jobs),
                work,
                tuple(
                    dict.fromkeys(
                        (SEED, *(column_name(n) for one in self.combinations for n in one))
                    )
                ),
                crew=workers or Threads.of(networks, threads, len(jobs)),
                verbose=verbose,
                checkpoint=checkpoint,
                resume=resume,
                basis=lambda: {name: fingerprint(part) for name, part in content.items()},
                place=lambda network: network.beside(networks[0]),
            )

    def _parts(self, settings: Settings, dataset: Dataset) -> list[Fold]:
        target = training_data.prepare(settings, dataset).target
        labels = labels_of(dataset.y, classifies=target.labels is not None)
        return make_folds(dataset.rows, self.folds or 0, seed=settings.model.seed, labels=labels)


def _said(settings: Settings) -> list[Any]:
    """Return what decides the results: not where files are, of which the rows are compared."""
    data = replace(settings.data, data=(Path(settings.data.source).name,), validation_data=None)
    training = replace(settings.training, threads=None)
    return [data, settings.model, training, settings.preset]


@dataclass(frozen=True, eq=False)
class _Trials:
    """The networks of `Trials`, with the rows that they are trained on; see `Work`."""

    chosen: Sequence[Settings]
    dataset: Dataset
    every: Sequence[tuple[Mapping[str, Any], int]]
    jobs: Sequence[tuple[int, tuple[int, Fold] | None]]

    def describe(self, number: int) -> Row:
        at, part = self.jobs[number]
        combination, seed = self.every[at]
        shown = {column_name(name): _shown(value) for name, value in combination.items()}
        return {SEED: seed, **shown, **({} if part is None else {FOLD: part[0]})}

    def train(
        self, numbers: Sequence[int], threads: int | None, folder: Path | None
    ) -> Iterator[Trained]:
        for number in numbers:
            yield _trial(self, number, threads, folder)


def _trial(work: _Trials, number: int, threads: int | None, folder: Path | None) -> Trained:
    """Train one network on all rows or on those of a fold; return its row of the results."""
    at, part = work.jobs[number]
    settings, dataset = work.chosen[at], work.dataset
    rows = dataset if part is None else dataset.take(part[1][0])
    data = training_data.prepare(settings, rows)
    made = build(settings, data)
    shown = work.describe(number)

    def fit() -> None:
        how = fit_options(settings, data, made) | {"threads": threads}
        how |= halfway.options_for(folder, number, made.network.plan, len(data.x), how)
        made.network.fit(data.x, data.y, **how)
        made.network.target_axes = 2  # as `fastnet.tables.train` does

    if part is None:
        return train_member(made.network, fit, shown)
    fold, (_, test_rows) = part

    def test() -> dict[str, float]:
        held_out = dataset.take(test_rows)
        metrics, weight = settings.training.metric, held_out.sample_weight
        y = labelled(held_out, data.target)
        how: dict[str, Any] = {"metrics": metrics, "sample_weight": weight, "loss": made.loss}
        return made.network.evaluate(held_out.x, y, **how)

    return train_member(made.network, fit, shown, fold=fold, test=test)


def _shown(value: Any) -> Any:
    """Return a value as ``--grid`` takes it."""
    if isinstance(value, Mapping):
        return ",".join(f"{name}={part:g}" for name, part in value.items())
    if isinstance(value, tuple):
        return "x".join(map(str, value)) or "none"
    return value


# --- the results ----------------------------------------------------------------------------------


def check_score(by: str | None, *, folds: bool) -> str:
    """Return the score that decides."""
    name = by or ("test_loss" if folds else "val_loss")
    if mode_of(name.removeprefix("test_").removeprefix("val_")) is None:
        raise click.UsageError(f"--by: nothing tells whether a smaller {name!r} is better.")
    return name


def _require_score(
    by: str, settings: Settings, data: TrainingData, made: Training, *, folds: bool
) -> None:
    """Raise `InputError` unless each trial will have this score."""
    own = ("loss",) if made.loss.metric is None else ("loss", made.loss.metric)
    every = (*own, *settings.training.metric)
    validates = data.decisions.validation_split or data.validation is not None
    known = [
        *(f"test_{name}" for name in every if folds),
        *(f"val_{name}" for name in every if validates),
        *own,
    ]
    if by not in known:
        hint = " Give --cv, or --validation a share, to have one." if len(known) == len(own) else ""
        raise InputError(f"--by: there will be no score {by!r}{suggest(by, known)}{hint}")


def write(results: Results, means: Results, *, of_members: bool) -> None:
    """Write the means as a table, and every trial before them if that is asked for."""
    for one in (results, means) if of_members else (means,):
        columns = [name for name in one.columns if name not in ("seconds", "best_epoch")]
        rows = [[_cell(row.get(name)) for name in columns] for row in one]
        output.table(columns, rows, numbers=len(columns))
        click.echo()


def _cell(value: object) -> str:
    return output.short(value) if isinstance(value, float) else "" if value is None else str(value)


def write_page(
    path: Path,
    command: str,
    name: str,
    results: Results,
    means: Results,
    best: Mapping[str, Any],
    about: Sequence[tuple[str, object]] = (),
) -> None:
    """Write one HTML page with the means and all trials; `about` has further facts."""
    from fastnet.report.html import document, facts, section, table

    def rows(of: Results) -> list[list[str]]:
        return [[_cell(row.get(column)) for column in of.columns] for row in of]

    shown = [(column, _cell(best.get(column))) for column in means.columns]
    parts = [
        section(f"fastnet: {name}", command, facts([("trials", len(results)), *about])),
        section("Best", "The settings with the best mean.", facts(shown)),
        section("Means", "Over folds and seeds.", table(means.columns, rows(means))),
        section("All trials", "", table(results.columns, rows(results))),
    ]
    with output.replacing(path) as file:
        file.write(document(f"fastnet: {name}", parts))


def as_json(results: Results, means: Results, best: Mapping[str, Any]) -> str:
    """Return everything as JSON."""
    content = {"trials": [*results], "means": [*means], "best": best}
    return output.as_json(content)


def check_files(
    checkpoint: Path | None, html: Path | None, data: str, *, resume: bool, out: Path | None = None
) -> None:
    """Refuse, before any work, files that could not be written after it."""
    if resume and checkpoint is None:
        raise click.UsageError("--resume goes with --checkpoint only.")
    output.require_ending("--html", html, ".html", ".htm")
    for name, path in (("--html", html), ("--out", out)):
        if path is not None:
            output.check_writable(name, path, [data])
