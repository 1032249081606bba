"""``fastnet train``: a network from a table."""

from __future__ import annotations

import importlib.util
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from fastnet import data
from fastnet.cli import INTERRUPTED, chunks, options, output, tables
from fastnet.cli.commands.train.build import Settings, make_loss, make_network, make_optimizer
from fastnet.cli.commands.train.epoch_lines import EpochLines
from fastnet.cli.commands.train.options import train_options
from fastnet.cli.commands.train.report import command_line, write_page
from fastnet.cli.datasets import AnyDataset
from fastnet.cli.tables import TableDataset
from fastnet.data import BUILT_IN
from fastnet.errors import DivergenceError, FastNetError, InputError
from fastnet.inspection.calibration import calibrated_loss
from fastnet.network import Network
from fastnet.nn.layers import Dense
from fastnet.nn.losses import Loss
from fastnet.nn.optimizers import LBFGS, Optimizer
from fastnet.nn.schedules import Constant
from fastnet.preprocessing.samples import split_index
from fastnet.training.callbacks import Callback
from fastnet.training.checkpoints.writer import DEFAULT_EVERY, Every
from fastnet.training.history import History
from fastnet.training.loggers import JsonLines


@click.command(
    "train",
    cls=options.Command,
    epilog=options.examples(
        "fastnet train digits --hidden 64 --epochs 30",
        "fastnet train flowers.csv --target species --validation 0.2 --early-stopping 10",
        "fastnet train houses.parquet --target price --loss huber --schedule cosine",
        "fastnet train houses.csv --target price --preset tabular",
        "fastnet train arrays.npz --backend numpy --dtype float64 --history run.json",
        "fastnet train digits --epochs 1000 --checkpoint run --checkpoint-every 5min --resume",
    ),
)
@click.argument("data")
@train_options
@click.pass_context
def command(ctx: click.Context, /, **values: Any) -> None:
    """Train a network on a table and save it.

    DATA is digits or fashion-mnist, or a .csv, .tsv, .parquet, .feather, .arrow, .npz, .npy or IDX
    file. A target of
    texts or of few integers is classified; other numbers are regressed. The model file holds all
    that 'predict' and 'evaluate' need: weights, scaler, column names, labels.

    Ctrl-C ends training early and saves what is learned. With --checkpoint, training that was
    interrupted or killed goes on with the same command and --resume.
    """
    default = ParameterSource.DEFAULT
    given = {name for name in values if ctx.get_parameter_source(name) is not default}
    settings = tables.with_preset(Settings(**values, given=frozenset(given)))
    ctx.exit(run(chunks.with_chunks(settings), command_line(ctx)))


def run(settings: Settings, command: str) -> int:
    """Train and save; return the exit code. `command` is the command line, for the report."""
    _check_outputs(settings)
    dataset = _load(settings)
    loss, optimizer, network = _make(settings, dataset)
    if settings.calibrate and loss.metric != "accuracy":
        raise InputError("--calibrate goes with classes: there are no probabilities here.")
    facts = _facts(settings, dataset, network, loss, optimizer)
    if not settings.quiet:
        output.facts(facts)
    replaced = settings.out.exists()
    interrupted = False
    try:
        network.fit(
            dataset.x,
            dataset.answers,
            loss=loss,
            optimizer=optimizer,
            epochs=settings.epochs,
            batch_size=settings.batch_size,
            validation_split=settings.validation_share,
            early_stopping=tables.stopping(settings, dataset),
            metrics=settings.metric,
            callbacks=_callbacks(settings),
            class_weight=settings.class_weight,
            standardize=settings.standardizes and not settings.prepares,
            threads=settings.threads,
            verbose=not settings.quiet,
            checkpoint=settings.checkpoint,
            checkpoint_every=settings.checkpoint_every or DEFAULT_EVERY,
            resume=settings.resume,
        )
    except SystemExit:
        output.message(f"terminated; no model was saved.{_how_to_go_on(settings)}")
        raise
    except DivergenceError as error:
        error.add_note("No model was saved.")
        raise
    except KeyboardInterrupt:
        # Pressed twice, it may have come in the middle of a step: then there is nothing to save.
        if network.history is None or network.history.stop_reason != "interrupted":
            output.message(f"interrupted; no model was saved.{_how_to_go_on(settings)}")
            return INTERRUPTED
        interrupted = True
    if settings.calibrate:
        _calibrate(settings, dataset, network)
    with _undisturbed():
        network.save(settings.out)
    history = network.history
    assert history is not None
    if interrupted:
        output.message(
            f"interrupted in epoch {len(history.epochs) + 1}; the model is saved."
            f"{_how_to_go_on(settings)}"
        )
    tested = _test(dataset, network, loss, settings)
    for path in settings.history:
        _write_history(path, history, tested)
    if settings.html is not None:
        write_page(settings.html, command, facts, settings, dataset, network, history, tested)
    _conclude(settings, dataset, history, tested, replaced)
    return INTERRUPTED if interrupted else 0


def _how_to_go_on(settings: Settings) -> str:
    if settings.checkpoint is None:
        return ""
    return f" The same command with --resume goes on from {settings.checkpoint}."


def _check_outputs(settings: Settings) -> None:
    """Refuse, before any work, what could not be done or written after it."""
    if settings.calibrate and not settings.validation_share:
        raise click.UsageError("--calibrate needs rows held back: give --validation a share.")
    if settings.checkpoint is None:
        for name, given in (
            ("--resume", settings.resume),
            ("--checkpoint-every", settings.checkpoint_every is not None),
        ):
            if given:
                raise click.UsageError(f"{name} goes with --checkpoint only.")
    if settings.checkpoint_every is not None:
        Every.of(settings.checkpoint_every)
    outputs = [("--out", settings.out), *(("--history", path) for path in settings.history)]
    outputs += [
        (name, path)
        for name, path in (("--html", settings.html), ("--log", settings.log))
        if path is not None
    ]
    for name, path in outputs:
        output.check_writable(name, path, [settings.data])
        if path.exists() and not path.is_file():
            raise InputError(f"{name}: {path} is not a file; name one.")
    if len({path.absolute() for _, path in outputs}) < len(outputs):
        names = ", ".join(dict.fromkeys(name for name, _ in outputs))
        raise click.UsageError(f"{names} must all be different files.")
    for path in settings.history:
        if path.suffix.lower() not in (".json", ".png", ".svg", ".pdf"):
            raise click.UsageError(
                f"--history: expected a file that ends in .json, .png, .svg or .pdf, got {path}."
            )
        if path.suffix.lower() != ".json" and importlib.util.find_spec("matplotlib") is None:
            raise FastNetError(
                "--history: a picture needs matplotlib (pip install 'fastnet-mlp[plot]'); "
                "a .json file does not."
            )


def _make(settings: Settings, dataset: AnyDataset) -> tuple[Loss, Optimizer | LBFGS, Network]:
    """Return the loss, the optimizer and the network that the options describe."""
    if not isinstance(dataset, TableDataset):
        loss = make_loss(settings, dataset)
        return loss, make_optimizer(settings), make_network(settings, dataset, loss)
    loss = tables.preset_loss(settings, dataset) or make_loss(settings, dataset)
    optimizer = tables.preset_optimizer(settings, dataset) or make_optimizer(settings)
    return loss, optimizer, tables.make_network(settings, dataset, loss)


def _load(settings: Settings) -> AnyDataset:
    if settings.chunk_rows is not None:
        return chunks.load(settings)
    if settings.prepares:
        return tables.load(settings)
    if settings.data_dir is not None and settings.data not in BUILT_IN:
        raise click.UsageError("--data-dir goes with fashion-mnist only; give DATA as a path.")
    dataset = data.load(
        settings.data, target=settings.target, task=settings.task, folder=settings.data_dir
    )
    if dataset.y is None:
        raise InputError(
            f"{dataset.name} needs a target: name what to learn with --target (the column's "
            "index, -1 for the last; npz: the array's name)."
        )
    return dataset


def _callbacks(settings: Settings) -> list[Callback]:
    """Return what follows the training."""
    logs: list[Callback] = [] if settings.log is None else [JsonLines(settings.log)]
    return logs if settings.quiet else [EpochLines(settings.epochs), *logs]


def _facts(
    settings: Settings,
    dataset: AnyDataset,
    network: Network,
    loss: Loss,
    optimizer: Optimizer | LBFGS,
) -> list[tuple[str, object]]:
    """Return what is going to be trained, on what, and how."""
    outputs = f"{network.outputs} output{'s' * (network.outputs != 1)}"
    outputs = f"{dataset.classes} classes" if dataset.classes else outputs
    rows = f"{dataset.name}: {dataset.rows:,} rows, {dataset.features} inputs, {outputs}"
    fraction = settings.validation_share
    if fraction:
        why = " (for --early-stopping)" if settings.validation is None else ""
        rows += f"; {fraction:g} of the rows for validation{why}"
    sizes = "-".join(map(str, (network.inputs, *settings.hidden, network.outputs)))
    final = network.plan.output_activation.name
    hidden = [layer.activation for layer in network.layers[:-1] if isinstance(layer, Dense)]
    kinds = ", ".join([*hidden[-1:], final])
    training = f"{loss.name} by {optimizer.name}"
    if isinstance(optimizer, Optimizer):
        schedule = optimizer.schedule
        course = "" if isinstance(schedule, Constant) else f" ({schedule.name})"
        training += f", learning rate {optimizer.schedule.start:g}{course}"
        training += f", batches of {min(settings.batch_size, dataset.rows)}"
    every = settings.checkpoint_every or DEFAULT_EVERY
    every = f"{every} epochs" if every.strip().isdigit() else every
    kept = [("checkpoints", f"{settings.checkpoint}, every {every}")] if settings.checkpoint else []
    return [
        ("data", rows),
        ("inputs", _inputs(settings)),
        (
            "network",
            f"{sizes} ({kinds}), {network.plan.size:,} parameters, {network.dtype.name}, "
            f"seed {network.seed}",
        ),
        ("training", f"{training}, {settings.epochs} epochs"),
        ("backend", f"{network.backend}, {_threads(settings, network, dataset)}"),
        *kept,
    ]


def _inputs(settings: Settings) -> str:
    if settings.prepares:
        return "columns of a table, scaled robustly"
    return "standardised" if settings.standardizes else "as they are"


def _threads(settings: Settings, network: Network, dataset: AnyDataset) -> str:
    """Return how many threads a step is going to use."""
    if network.backend == "cupy":
        return "on the GPU"
    engine = network._engine(settings.threads)
    count = engine.threads_for(min(settings.batch_size, dataset.rows))
    if settings.threads is None and count > 1:
        return f"up to {count} threads"
    return f"{count} thread{'s' if count > 1 else ''}"


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Let no further Ctrl-C come between a model and its file."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _calibrate(settings: Settings, dataset: AnyDataset, network: Network) -> None:
    """Fit the temperature to the rows that validated, and write what it changed."""
    _, held_out = split_index(dataset.rows, settings.validation_share, settings.seed)
    x, y, _ = dataset.part(held_out)
    loss = calibrated_loss(network)
    before = network.evaluate(x, y, loss=loss, metrics=["calibration_error"])
    temperature = network.calibrate(x, y)
    after = network.evaluate(x, y, loss=loss, metrics=["calibration_error"])
    changes = (
        f"{name.replace('_', ' ')} {output.short(before[name])} -> {output.short(after[name])}"
        for name in ("loss", "calibration_error")
    )
    click.echo(f"calibrated at temperature {output.short(temperature)}: {', '.join(changes)}")


def _test(
    dataset: AnyDataset, network: Network, loss: Loss, settings: Settings
) -> dict[str, float]:
    """Return what the network scores on the test split, if there is one."""
    test = dataset.test
    if test is None or test.y is None:
        return {}
    return network.evaluate(test.x, test.y, loss=loss, metrics=settings.metric)


def _write_history(path: Path, history: History, tested: dict[str, float]) -> None:
    if path.suffix.lower() != ".json":
        history.plot(str(path))
        return
    content = {
        "epochs": history.epochs,
        "records": history.records,
        "seconds": history.seconds,
        "stop_reason": history.stop_reason,
        "best_epoch": history.best_epoch,
        "test": tested,
    }
    with output.replacing(path) as file:
        file.write(output.as_json(content) + "\n")


def _conclude(
    settings: Settings,
    dataset: AnyDataset,
    history: History,
    tested: dict[str, float],
    replaced: bool,
) -> None:
    """Write the results, one a line: ``test accuracy 0.8783``."""
    epochs = len(history.epochs)
    last = history.epochs.index(history.best_epoch) if history.best_epoch else -1
    values = {name: record[last] for name, record in history.items() if name != "learning_rate"}
    for name, value in values.items():
        stem = name.removeprefix("val_")
        click.echo(f"{'training' if stem == name else 'validation'} {stem} {output.short(value)}")
    for name, value in tested.items():
        click.echo(f"test {name} {output.short(value)}")
    if history.best_epoch is not None:
        click.echo(f"weights of epoch {history.best_epoch}, the best of {epochs}")
    rows = dataset.rows - round(dataset.rows * settings.validation_share)
    speed = f", {rows * epochs / history.seconds:,.0f} samples/s" if history.seconds else ""
    click.echo(f"time {history.seconds:.2f} s for {epochs} epochs{speed}")
    for path in settings.history:
        click.echo(f"history {output.printable(path)}")
    for name, written in (("log", settings.log), ("report", settings.html)):
        if written is not None:
            click.echo(f"{name} {output.printable(written)}")
    size = output.size(settings.out.stat().st_size)
    note = ", replacing the file that was there" if replaced else ""
    click.echo(f"model {output.printable(settings.out)} ({size}{note})")
