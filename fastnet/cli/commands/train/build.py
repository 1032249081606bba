"""From the options of ``fastnet train`` to a network, a loss and an optimizer."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal

import click

from fastnet.cli.datasets import AnyDataset
from fastnet.data import BUILT_IN
from fastnet.errors import InputError
from fastnet.network import Network
from fastnet.nn import schedules
from fastnet.nn.layers import Dense, Dropout, Layer
from fastnet.nn.losses import LOSSES, BinaryCrossEntropy, CrossEntropy, Loss
from fastnet.nn.optimizers import LBFGS, OPTIMIZERS, SGD, Optimizer
from fastnet.nn.schedules import Schedule

DEFAULT_VALIDATION: Final = 0.1
"""The share of the rows that validates when early stopping is asked for and nothing else said."""

SCHEDULES: Final = ("constant", "cosine", "exponential", "one_cycle", "reduce_on_plateau", "step")

_TABLES: Final = (".csv", ".tsv", ".parquet", ".arrow", ".feather", ".npz", ".npy")
_OUTPUTS: Final = {"binary_cross_entropy": "sigmoid", "poisson": "exp"}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The options of ``fastnet train``, by name."""

    data: str
    target: str | None
    task: Literal["auto", "classification", "regression"]
    data_dir: str | None
    validation: float | None
    standardize: bool | None
    class_weight: str | None
    hidden: tuple[int, ...]
    activation: str
    dropout: float
    dtype: str
    loss: str | None
    optimizer: str
    learning_rate: float | None
    schedule: str
    momentum: float | None
    epochs: int
    batch_size: int
    early_stopping: int | None
    l1: float
    l2: float
    weight_decay: float | None
    clip_norm: float | None
    label_smoothing: float
    metric: tuple[str, ...]
    seed: int
    backend: str
    precision: str
    device: int | None
    threads: int | None
    out: Path
    calibrate: bool
    history: tuple[Path, ...]
    html: Path | None
    log: Path | None
    checkpoint: Path | None
    checkpoint_every: str | None
    resume: bool
    quiet: bool
    preset: str | None = None
    table: bool = False
    embedding_size: int | None = None
    numeric_embedding: Literal["periodic", "piecewise"] | None = None
    chunk_rows: int | None = None
    given: frozenset[str] = frozenset()  # the names of the options that are not defaults

    @property
    def prepares(self) -> bool:
        """Whether a `TablePreprocessor` makes the inputs."""
        others = (self.preset, self.embedding_size, self.numeric_embedding)
        return self.table or any(option is not None for option in others)

    @property
    def where(self) -> dict[str, Any]:
        """The options of a `Network` that say how and where it computes."""
        names = "dtype", "seed", "backend", "precision", "device"
        return {name: getattr(self, name) for name in names}

    @property
    def validation_share(self) -> float:
        """Share of the training rows to validate on."""
        if self.validation is None:
            return DEFAULT_VALIDATION if self.early_stopping else 0.0
        return self.validation

    @property
    def standardizes(self) -> bool:
        """Whether inputs are standardised: where not said, tables are, pictures (0..1) are not."""
        if self.standardize is None:
            return self.data not in BUILT_IN and Path(self.data).suffix.lower() in _TABLES
        return self.standardize


def make_loss(settings: Settings, dataset: AnyDataset) -> Loss:
    """Return the loss for the task of the data; refuse one for the other task."""
    name, smoothing = settings.loss, settings.label_smoothing
    if dataset.task == "classification":
        classes = dataset.classes or 0
        if classes < 2:
            raise InputError(
                f"{dataset.name}: the target has one class only, {dataset.label_names!r}: there "
                "is nothing to learn."
            )
        if name in (None, "cross_entropy"):
            return CrossEntropy(smoothing)
        if name == "binary_cross_entropy" and classes == 2:
            return BinaryCrossEntropy(smoothing)
        need = "two classes" if name == "binary_cross_entropy" else "numbers"
        raise InputError(
            f"the loss {name!r} needs {need}, and the target of {dataset.name} has {classes} "
            "classes: use cross_entropy, or --task regression if they are numbers."
        )
    if name == "cross_entropy":
        raise InputError(
            f"the loss 'cross_entropy' needs classes, and the target of {dataset.name} has "
            "numbers: use mse, or --task classification if they are classes."
        )
    if name == "binary_cross_entropy":
        return BinaryCrossEntropy(smoothing)
    if smoothing:
        raise click.UsageError("--label-smoothing goes with classification only.")
    return LOSSES[name or "mse"]()


def make_network(settings: Settings, dataset: AnyDataset, loss: Loss) -> Network:
    """Return the network that the options describe, with the names from the data."""
    layers: list[Layer] = []
    for units in settings.hidden:
        layers.append(Dense(units, settings.activation))
        if settings.dropout:
            layers.append(Dropout(settings.dropout))
    if isinstance(loss, CrossEntropy):
        assert dataset.classes is not None
        layers.append(Dense(dataset.classes, "softmax"))
    else:
        targets = 1 if dataset.y is None or dataset.y.ndim == 1 else dataset.y.shape[1]
        outputs = targets * loss.outputs_per_target
        layers.append(Dense(outputs, _OUTPUTS.get(loss.name, "identity")))
    network = Network(layers, inputs=dataset.features, **settings.where)
    network.schema, network.label_names = dataset.schema, dataset.label_names
    return network


def make_optimizer(settings: Settings) -> Optimizer | LBFGS:
    """Return the optimizer that the options describe; refuse options that it does not have."""
    base = OPTIMIZERS[settings.optimizer]()
    if settings.momentum is not None and not isinstance(base, SGD):
        raise click.UsageError("--momentum goes with --optimizer sgd only.")
    if isinstance(base, LBFGS):
        given = {
            "--learning-rate": settings.learning_rate,
            "--weight-decay": settings.weight_decay,
            "--clip-norm": settings.clip_norm,
            "--schedule": None if settings.schedule == "constant" else settings.schedule,
        }
        for name, value in given.items():
            if value is not None:
                raise click.UsageError(f"{name} does not go with --optimizer lbfgs.")
        return replace(base, l1=settings.l1, l2=settings.l2)
    rate = base.schedule.start if settings.learning_rate is None else settings.learning_rate
    options: dict[str, Any] = {
        "learning_rate": make_schedule(settings, rate),
        "l1": settings.l1,
        "l2": settings.l2,
        "momentum": settings.momentum,
        "weight_decay": settings.weight_decay,
        "clip_norm": settings.clip_norm,
    }
    return replace(base, **{name: value for name, value in options.items() if value is not None})


def make_schedule(settings: Settings, rate: float) -> Schedule:
    """Return the schedule of that name, spread over the epochs asked for."""
    epochs = settings.epochs
    match settings.schedule:
        case "cosine":
            return schedules.Cosine(rate, epochs=epochs)
        case "one_cycle":
            return schedules.OneCycle(rate, epochs=epochs)
        case "exponential":  # to a hundredth at the end
            return schedules.Exponential(rate, factor=0.01 ** (1 / epochs))
        case "step":  # to a tenth after each third
            return schedules.Step(rate, every=max(1, round(epochs / 3)), factor=0.1)
        case "reduce_on_plateau":  # in time to matter before early stopping ends it
            patience = max(1, (settings.early_stopping or 10) // 2)
            return schedules.ReduceOnPlateau(rate, factor=0.3, patience=patience)
        case _:
            return schedules.get(rate)
