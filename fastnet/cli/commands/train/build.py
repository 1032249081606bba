"""Construction of the network, loss and optimizer from the options of ``fastnet train``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import click

from fastnet.cli.commands.train.data import TrainingData, class_weights
from fastnet.cli.commands.train.distributed import placed, share
from fastnet.cli.commands.train.settings import Settings, TrainingSettings
from fastnet.cli.load import Rows
from fastnet.distributed.group import Group
from fastnet.errors import InputError
from fastnet.network import Network
from fastnet.nn import schedules
from fastnet.nn.layers import Dense, Dropout, Layer
from fastnet.nn.losses import LOSSES, BinaryCrossEntropy, CrossEntropy, Loss
from fastnet.nn.optimizers import LBFGS, OPTIMIZERS, SGD, Optimizer
from fastnet.nn.schedules import Schedule
from fastnet.preprocessing.embeddings import warn_of_size
from fastnet.preprocessing.learn import scales_targets
from fastnet.preprocessing.table import TablePreprocessor
from fastnet.tables import Overrides
from fastnet.tables.prepare import in_units, plain_layers
from fastnet.training.budget import ACTIVATION, Budget
from fastnet.training.callbacks import Callback, EarlyStopping
from fastnet.training.checkpoints.writer import DEFAULT_EVERY
from fastnet.utils.names import ActivationName

SCHEDULES: Final = ("constant", "cosine", "exponential", "one_cycle", "reduce_on_plateau", "step")


@dataclass(frozen=True)
class Training:
    """A network with its loss, optimizer and options of ``fit``."""

    network: Network
    loss: Loss
    optimizer: Optimizer | LBFGS
    early_stopping: int | EarlyStopping | None


def build(settings: Settings, data: TrainingData, group: Group | None = None) -> Training:
    """Return the network, the loss and the optimizer that the options describe.

    `group` has the processes that train together.
    """
    model, training, preprocessor = settings.model, settings.training, data.preprocessor
    decisions, activation = data.decisions, model.activation or ACTIVATION
    stopping: int | EarlyStopping | None
    optimizer: Optimizer | LBFGS
    if isinstance(preprocessor, TablePreprocessor):
        columns, numeric = preprocessor.columns, preprocessor.numeric_embedding
        warn_of_size(model.embedding_size, columns, numeric)
    if decisions.preset is not None and isinstance(preprocessor, TablePreprocessor):
        # Options of the command line replace those of the preset.
        overrides = _overrides(settings, data)
        validates = data.validation is not None
        how = preprocessor, data.target.task, overrides
        built = decisions.preset.build(*how, validates=validates)
        layers, loss, optimizer = built.layers, built.loss, built.optimizer
        stopping = built.fit.get("early_stopping")
    else:
        loss = make_loss(training, data)
        stopping = decisions.budget.stopping(data.target.task)
        if isinstance(preprocessor, TablePreprocessor):
            sizes = model.hidden, activation, model.embedding_size
            layers = plain_layers(preprocessor, loss, *sizes, dropout=model.dropout)
        else:
            layers = _layers(settings, activation, data, loss)
        optimizer = make_optimizer(training, decisions.budget, layers)
    network = Network(layers, inputs=preprocessor.inputs, **model.where)
    network = placed(network, settings, group)
    if isinstance(preprocessor, TablePreprocessor):
        preprocessor = in_units(preprocessor, loss, network)
    network.preprocessor, network.label_names = preprocessor, data.target.labels
    return Training(network, loss, optimizer, stopping)


def train(
    settings: Settings,
    data: TrainingData,
    made: Training,
    callbacks: Sequence[Callback],
    group: Group | None = None,
) -> None:
    """Train the network as the options say, together with the other processes of a group."""
    how, x, y = fit_options(settings, data, made), data.x, data.y
    if group is not None:
        x, y = share(group, data, how)
    made.network.fit(x, y, **how, callbacks=callbacks)


def fit_options(settings: Settings, data: TrainingData, made: Training) -> dict[str, Any]:
    """Return the arguments of `Network.fit`."""
    training, held_out, decisions = settings.training, data.validation, data.decisions
    arrays = not isinstance(data.preprocessor, TablePreprocessor)
    options = {
        "loss": made.loss,
        "optimizer": made.optimizer,
        "epochs": decisions.epochs,
        "batch_size": decisions.batch_size,
        "validation_split": decisions.validation_split,
        "validation_data": held_out.samples if isinstance(held_out, Rows) else held_out,
        "early_stopping": made.early_stopping,
        "metrics": training.metric,
        "sample_weight": data.weight,
        "class_weight": class_weights(training.class_weight, data.target),
        "standardize": arrays and settings.data.standardizes_arrays,
        "standardize_targets": arrays and not settings.as_0_1 and _scales_targets(made),
        "threads": training.threads,
    }
    if training.checkpoint is not None:
        options["checkpoint"], options["resume"] = training.checkpoint, training.resume
        options["checkpoint_every"] = training.checkpoint_every or DEFAULT_EVERY
    return options


def _scales_targets(made: Training) -> bool:
    """Return whether numeric targets of arrays are scaled, as those of tables are."""
    network = made.network
    scales = scales_targets(made.loss, network.plan.output_activation.name)
    return scales and network.label_names is None


def _overrides(settings: Settings, data: TrainingData) -> Overrides:
    """Return the options of the command line that replace parts of a preset."""
    model, training, given = settings.model, settings.training, settings.given
    budget = data.decisions.budget
    names = ("l1", "l2", "weight_decay", "clip_norm")
    return Overrides(
        hidden=model.hidden if "hidden" in given else None,
        activation=model.activation if "activation" in given else None,
        embedding_size=model.embedding_size,
        loss=make_loss(training, data) if given & {"loss", "label_smoothing"} else None,
        optimizer=make_optimizer(training, budget, ()) if training.optimizer else None,
        learning_rate=training.learning_rate,
        optimizer_options={name: getattr(training, name) for name in names if name in given},
        epochs=budget.epochs,
        batch_size=budget.batch_size,
        validation_split=budget.validation_split,
        early_stopping=training.early_stopping,
    )


def make_loss(training: TrainingSettings, data: TrainingData) -> Loss:
    """Return the loss for the task of the data; refuse a loss for the other task."""
    name, smoothing, classes = training.loss, training.label_smoothing, data.classes
    if classes is not None:
        if classes < 2:
            raise InputError(
                f"{data.name}: the target has one class only, {data.target.labels!r}: there "
                "is nothing to learn."
            )
        if name in (None, "cross_entropy"):
            return CrossEntropy(smoothing)
        if name == "binary_cross_entropy" and classes == 2:
            return BinaryCrossEntropy(smoothing)
        need = "two classes" if name == "binary_cross_entropy" else "numbers"
        raise InputError(
            f"the loss {name!r} needs {need}, and the target of {data.name} has {classes} "
            "classes: use cross_entropy, or --task regression if they are numbers."
        )
    if name == "cross_entropy":
        raise InputError(
            f"the loss 'cross_entropy' needs classes, and the target of {data.name} has "
            "numbers: use mse, or --task classification if they are classes."
        )
    if name == "binary_cross_entropy":
        return BinaryCrossEntropy(smoothing)
    if smoothing:
        raise click.UsageError("--label-smoothing goes with classification only.")
    return LOSSES[name or "mse"]()


def _layers(
    settings: Settings, activation: ActivationName, data: TrainingData, loss: Loss
) -> list[Layer]:
    """Return the layers of a network for arrays."""
    layers: list[Layer] = []
    for units in settings.model.hidden:
        layers.append(Dense(units, activation))
        if settings.model.dropout:
            layers.append(Dropout(settings.model.dropout))
    if isinstance(loss, CrossEntropy):
        outputs = data.classes or 0
    else:
        columns = 1 if data.target.labels is not None else len(data.target.center)
        outputs = columns * loss.outputs_per_target
    return [*layers, Dense(outputs, loss.output_activation)]


def make_optimizer(
    training: TrainingSettings, budget: Budget, layers: Sequence[Layer]
) -> Optimizer | LBFGS:
    """Return the optimizer of the options, by default the budget's; refuse options it has not."""
    asked = training.optimizer
    base = budget.optimizer(layers) if asked is None else OPTIMIZERS[asked]()
    if training.momentum is not None and not isinstance(base, SGD):
        raise click.UsageError("--momentum goes with --optimizer sgd only.")
    if isinstance(base, LBFGS):
        given = {
            "--learning-rate": training.learning_rate,
            "--weight-decay": training.weight_decay,
            "--clip-norm": training.clip_norm,
            "--schedule": None if training.schedule == "constant" else training.schedule,
        }
        for name, value in given.items():
            if value is not None:
                raise click.UsageError(f"{name} does not go with --optimizer lbfgs.")
        return replace(base, l1=training.l1, l2=training.l2)
    rate = base.schedule.start if training.learning_rate is None else training.learning_rate
    course = training.schedule or ("cosine" if training.optimizer is None else "constant")
    options: dict[str, Any] = {
        "learning_rate": make_schedule(course, rate, budget.epochs, training.early_stopping),
        "l1": training.l1,
        "l2": training.l2,
        "momentum": training.momentum,
        "weight_decay": training.weight_decay,
        "clip_norm": training.clip_norm,
    }
    return replace(base, **{name: value for name, value in options.items() if value is not None})


def make_schedule(name: str, rate: float, epochs: int, early_stopping: int | None) -> Schedule:
    """Return the schedule of that name, stretched to the number of epochs."""
    match name:
        case "cosine":
            return schedules.Cosine(rate, epochs=epochs)
        case "one_cycle":
            return schedules.OneCycle(rate, epochs=epochs)
        case "exponential":  # to a hundredth at the end
            return schedules.Exponential(rate, factor=0.01 ** (1 / epochs))
        case "step":  # to a tenth after each third
            return schedules.Step(rate, every=max(1, round(epochs / 3)), factor=0.1)
        case "reduce_on_plateau":  # early enough to help before early stopping
            patience = max(1, (early_stopping or 10) // 2)
            return schedules.ReduceOnPlateau(rate, factor=0.3, patience=patience)
        case _:
            return schedules.get(rate)
