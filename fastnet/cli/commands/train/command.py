"""``fastnet train``: a network from a table."""

from __future__ import annotations

import signal
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import click
from click.core import ParameterSource

from fastnet.cli import INTERRUPTED, options, output
from fastnet.cli.commands.train import data as training_data
from fastnet.cli.commands.train.build import Training, build, train
from fastnet.cli.commands.train.data import TrainingData
from fastnet.cli.commands.train.distributed import opened
from fastnet.cli.commands.train.epoch_lines import EpochLines
from fastnet.cli.commands.train.hints import hint
from fastnet.cli.commands.train.options import train_options
from fastnet.cli.commands.train.report import command_line, write_page
from fastnet.cli.commands.train.settings import OutputSettings, Settings, TrainingSettings
from fastnet.cli.commands.train.together import refuse_for_ensembles, together
from fastnet.cli.load import Rows
from fastnet.distributed.group import Group
from fastnet.errors import DivergenceError, FastNetWarning, InputError
from fastnet.inspection.calibration import calibrated_loss
from fastnet.network import Network
from fastnet.nn.layers import Dense
from fastnet.nn.losses import Loss
from fastnet.nn.optimizers import Optimizer
from fastnet.nn.schedules import Constant
from fastnet.preprocessing.samples import split_index
from fastnet.preprocessing.scaler import Scaler
from fastnet.preprocessing.table import TablePreprocessor
from fastnet.training.callbacks import Callback
from fastnet.training.checkpoints.writer import DEFAULT_EVERY, Every
from fastnet.training.history import History
from fastnet.training.loggers import JsonLines
from fastnet.training.progress import Bar

_NONE_HELD_BACK: Final = (
    "--calibrate needs rows held back: give --validation a share, or --validation-data."
)


@click.command(
    "train",
    cls=options.Command,
    epilog=options.examples(
        "fastnet train digits --hidden 64 --epochs 30",
        "fastnet train flowers.csv --target species --validation 0.2",
        "fastnet train houses.parquet --target price --loss huber --schedule cosine",
        "fastnet train houses.csv --target price --preset tabular-best",
        "fastnet train arrays.npz --backend numpy --dtype float64 --log run.jsonl",
        "fastnet train digits --epochs 1000 --checkpoint run --checkpoint-every 5min --resume",
    ),
)
@click.argument("data", nargs=-1, required=True, type=click.Path())
@train_options
@click.pass_context
def command(ctx: click.Context, /, **values: Any) -> None:
    """Train a network on a table and save it.

    DATA is digits or fashion-mnist, or a .csv, .tsv, .parquet, .feather, .arrow, .npz, .npy or IDX
    file; CSV may be compressed (.csv.gz) or come from standard input (-). Several files, or a
    pattern in quotes such as 'part-*.csv', are read a part at a time. A target of text or of few
    different integers is classified; other numbers are regressed. The model file holds all that
    'predict' and 'evaluate' need: weights, preprocessing, column names, labels.

    With --distributed, 'mpiexec -n 4 fastnet train DATA --distributed' trains one network on four
    processes; each reads its share of a table or a .npy file.

    Ctrl-C ends training early and saves the model. With --checkpoint, the same command with
    --resume continues a run that was interrupted or killed.
    """
    default = ParameterSource.DEFAULT
    given = {name for name in values if ctx.get_parameter_source(name) is not default}
    ctx.exit(run(Settings.read(values, frozenset(given)), command_line(ctx)))


def run(settings: Settings, command: str) -> int:
    """Train and save; return the exit code. `command` is the command line, for the report."""
    with opened(settings) as group:
        if group is None or group.is_first:
            return _run(settings, command, group)
        return _train_along(settings, group)


def _train_along(settings: Settings, group: Group) -> int:
    """Train with the process that writes, and say nothing."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FastNetWarning)
        data = training_data.load(settings)
        made = build(settings, data, group)
        try:
            train(settings, data, made, [], group)
        except KeyboardInterrupt:
            history = made.network.history
            if history is None or history.stop_reason != "interrupted":
                raise
            return INTERRUPTED
    return 0


def _run(settings: Settings, command: str, group: Group | None) -> int:
    # Refuse bad options before any work; load the data and build the network.
    _check_outputs(settings)
    if settings.n_members is not None:
        together(settings, settings.n_members)
        return 0
    data = training_data.load(settings)
    if settings.training.calibrate and not (data.decisions.validation_split or data.validation):
        raise click.UsageError(_NONE_HELD_BACK)
    made = build(settings, data, group)
    network, loss = made.network, made.loss
    if settings.training.calibrate and loss.metric != "accuracy":
        raise InputError("--calibrate goes with classes: there are no probabilities here.")
    facts = _facts(settings, data, made, group)
    if not settings.output.quiet:
        output.facts(facts)
    replaced = settings.output.out.exists()

    # Train; Ctrl-C keeps the epochs so far.
    interrupted = False
    try:
        train(settings, data, made, _callbacks(settings, data.decisions.epochs), group)
    except SystemExit:
        output.message(f"terminated; no model was saved.{_how_to_resume(settings.training)}")
        raise
    except DivergenceError as error:
        error.add_note("No model was saved.")
        raise
    except KeyboardInterrupt:
        # A second Ctrl-C may come in the middle of a step; then there is nothing to save.
        if network.history is None or network.history.stop_reason != "interrupted":
            output.message(f"interrupted; no model was saved.{_how_to_resume(settings.training)}")
            return INTERRUPTED
        interrupted = True

    # Save the model, and write the results.
    if settings.training.calibrate:
        _calibrate(settings, data, network)
    network.target_axes = 2  # as `fastnet.tables.train` does
    with _undisturbed():
        network.save(settings.output.out)
    history = network.history
    assert history is not None
    if interrupted:
        output.message(
            f"interrupted in epoch {len(history.epochs) + 1}; the model is saved."
            f"{_how_to_resume(settings.training)}"
        )
    tested = _test(data, network, loss, settings.training.metric)
    if settings.output.html is not None:
        write_page(settings, command, facts, data, network, history, tested)
    _conclude(settings, data, history, tested, replaced)
    return INTERRUPTED if interrupted else 0


def _how_to_resume(training: TrainingSettings) -> str:
    if training.checkpoint is None:
        return ""
    return f" The same command with --resume goes on from {training.checkpoint}."


def _check_outputs(settings: Settings) -> None:
    """Refuse, before any work, options and files that would fail after it."""
    training, written = settings.training, settings.output
    if settings.n_members is not None:
        refuse_for_ensembles(settings)
    # In chunks, --calibrate is refused with the data.
    if training.calibrate and not (settings.data.in_chunks or settings.may_hold_out):
        raise click.UsageError(_NONE_HELD_BACK)
    if training.checkpoint is None:
        for name, given in (
            ("--resume", training.resume),
            ("--checkpoint-every", training.checkpoint_every is not None),
        ):
            if given:
                raise click.UsageError(f"{name} goes with --checkpoint only.")
    if training.checkpoint_every is not None:
        Every.of(training.checkpoint_every)
    output.require_ending("--html", written.html, ".html", ".htm")
    outputs = _outputs(written)
    for name, path in outputs:
        output.check_writable(name, path, settings.data.read)
        if path.exists() and not path.is_file():
            raise InputError(f"{name}: {path} is not a file; name one.")
    if len({path.absolute() for _, path in outputs}) < len(outputs):
        names = ", ".join(dict.fromkeys(name for name, _ in outputs))
        raise click.UsageError(f"{names} must all be different files.")


def _outputs(written: OutputSettings) -> list[tuple[str, Path]]:
    """Return the files that will be written, with their options."""
    outputs = (("--out", written.out), ("--html", written.html), ("--log", written.log))
    return [(name, path) for name, path in outputs if path is not None]


def _callbacks(settings: Settings, epochs: int) -> list[Callback]:
    """Return the callbacks that report the training."""
    log = settings.output.log
    logs: list[Callback] = [] if log is None else [JsonLines(log)]
    return logs if settings.output.quiet else [Bar(), EpochLines(epochs), *logs]


def _facts(
    settings: Settings, data: TrainingData, made: Training, group: Group | None
) -> list[tuple[str, object]]:
    """Return the facts about rows, network and training that are shown before training."""
    network, training, optimizer = made.network, settings.training, made.optimizer
    decisions = data.decisions

    # Describe the rows.
    outputs = f"{network.outputs} output{'s' * (network.outputs != 1)}"
    outputs = f"{data.classes} classes" if data.classes else outputs
    rows = f"{data.name}: {len(data):,} rows, {network.inputs} inputs, {outputs}"
    if decisions.validation_split:
        stops = training.early_stopping is not None and training.validation is None
        why = " (for --early-stopping)" if stops and decisions.preset is None else ""
        rows += f"; {decisions.validation_split:g} of the rows for validation{why}"
    if data.validation is not None:
        rows += f"; {len(data.validation):,} rows of {data.validation.name} for validation"

    # Describe the network.
    dense = [layer for layer in network.layers if isinstance(layer, Dense)]
    hidden = [layer for layer in dense[:-1] if layer.blocks is None]
    sizes = [network.inputs, *(layer.units for layer in hidden), network.outputs]
    final = network.plan.output_activation.name
    kinds = ", ".join([*(layer.activation for layer in hidden[-1:]), final])
    described = f"{'-'.join(map(str, sizes))} ({kinds}), {network.plan.size:,} parameters"

    # Describe the training.
    how = f"{made.loss.name} by {optimizer.name}"
    if isinstance(optimizer, Optimizer):
        schedule = optimizer.schedule
        course = "" if isinstance(schedule, Constant) else f" ({schedule.name})"
        how += f", learning rate {optimizer.schedule.start:g}{course}"
        how += f", batches of {min(decisions.batch_size, len(data))}"
    every = training.checkpoint_every or DEFAULT_EVERY
    every = f"{every} epochs" if every.strip().isdigit() else every
    kept = [("checkpoints", f"{training.checkpoint}, every {every}")] if training.checkpoint else []
    by_rows = decisions.line(settings, table=isinstance(network.preprocessor, TablePreprocessor))
    return [
        ("data", rows),
        ("inputs", _inputs(settings, network)),
        *_target(settings, network),
        ("network", f"{described}, {network.dtype.name}, seed {network.seed}"),
        ("training", f"{how}, {decisions.epochs} epochs"),
        *([("defaults", by_rows)] if by_rows else []),
        ("backend", f"{network.backend}, {_threads(training, network, data)}"),
        *([("processes", str(group.size))] if group is not None else []),
        *kept,
    ]


def _target(settings: Settings, network: Network) -> list[tuple[str, str]]:
    """Return the line about a table's target: what is decided from its values is said."""
    target = network.preprocessor.target
    if not isinstance(network.preprocessor, TablePreprocessor) or target is None:
        return []
    how = "classified" if target.labels is not None else "regressed"
    other = "regression" if target.labels is not None else "classification"
    decided = f", by its values; else give --task {other}" if settings.data.task == "auto" else ""
    return [("target", f"{', '.join(target.names)}: {how}{decided}")]


def _inputs(settings: Settings, network: Network) -> str:
    if isinstance(network.preprocessor, TablePreprocessor):
        how = {"robust": "scaled robustly", "standard": "standardised", "none": "not scaled"}
        return f"columns of a table, {how[settings.data.scaling]}"
    standardised = settings.data.standardizes_arrays or isinstance(network.preprocessor, Scaler)
    return "standardised" if standardised else "as they are"


def _threads(training: TrainingSettings, network: Network, data: TrainingData) -> str:
    """Return how many threads a step will use."""
    if network.backend == "cupy":
        return "on the GPU"
    engine = network.engine(training.threads)
    count = engine.threads_for(min(data.decisions.batch_size, len(data)))
    if training.threads is None and count > 1:
        return f"up to {count} threads"
    return f"{count} thread{'s' if count > 1 else ''}"


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Ignore Ctrl-C while the model is written."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _calibrate(settings: Settings, data: TrainingData, network: Network) -> None:
    """Fit the temperature on the validation rows, and write its effect."""
    fraction, seed = data.decisions.validation_split, settings.model.seed
    held_out = data.validation
    rows = (
        held_out
        if isinstance(held_out, Rows)
        else data.take(split_index(len(data), fraction, seed)[1])
    )
    weight, loss = rows.weight, calibrated_loss(network)
    how: dict[str, Any] = {"loss": loss, "metrics": ["calibration_error"], "sample_weight": weight}
    before = network.evaluate(rows.x, rows.y, **how)
    temperature = network.calibrate(rows.x, rows.y, sample_weight=weight)
    after = network.evaluate(rows.x, rows.y, **how)
    changes = (
        f"{name.replace('_', ' ')} {output.short(before[name])} -> {output.short(after[name])}"
        for name in ("loss", "calibration_error")
    )
    click.echo(f"calibrated at temperature {output.short(temperature)}: {', '.join(changes)}")


def _test(
    data: TrainingData, network: Network, loss: Loss, metrics: tuple[str, ...]
) -> dict[str, float]:
    """Return loss and metrics on the test split, if there is one."""
    test = data.test
    if test is None or test.y is None:
        return {}
    return network.evaluate(test.x, test.y, loss=loss, metrics=metrics)


def _conclude(
    settings: Settings,
    data: TrainingData,
    history: History,
    tested: dict[str, float],
    replaced: bool,
) -> None:
    """Write one result per line: ``test accuracy 0.8783``."""
    epochs, written = len(history.epochs), settings.output
    values = history.kept()
    values.pop("learning_rate", None)
    for name, value in values.items():
        stem = name.removeprefix("val_")
        click.echo(f"{'training' if stem == name else 'validation'} {stem} {output.short(value)}")
    for name, value in tested.items():
        click.echo(f"test {name} {output.short(value)}")
    if not written.quiet and (found := hint(settings, data, history, tested)):
        output.message(f"hint: {found}")
    if history.best_epoch is not None:
        by = f"{history.monitor} ({history.mode})"
        click.echo(f"weights of epoch {history.best_epoch}, the best of {epochs} by {by}")
    rows = len(data) - round(len(data) * data.decisions.validation_split)
    speed = f", {rows * epochs / history.seconds:,.0f} samples/s" if history.seconds else ""
    click.echo(f"time {history.seconds:.2f} s for {epochs} epochs{speed}")
    for name, other in (("log", written.log), ("report", written.html)):
        if other is not None:
            click.echo(f"{name} {output.printable(other)}")
    size = output.size(written.out.stat().st_size)
    note = ", replacing the file that was there" if replaced else ""
    click.echo(f"model {output.printable(written.out)} ({size}{note})")
