"""Tables with missing values, presets and embeddings on the command line."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import click
import numpy as np
from numpy.typing import NDArray

from fastnet.cli.commands.train.build import Settings
from fastnet.data import BUILT_IN, Column, TableSchema
from fastnet.data.columns import match_targets
from fastnet.data.dataset import Part
from fastnet.errors import DataError, InputError
from fastnet.network import Network
from fastnet.nn.losses import Loss
from fastnet.nn.optimizers import Optimizer
from fastnet.nn.schedules import CosLog
from fastnet.preprocessing.edge import targets, training_rows
from fastnet.tables import PRESETS, Frame, Preset, TablePreprocessor, read_frame
from fastnet.tables.preset import BestEpoch
from fastnet.tables.train import in_units, make_layers
from fastnet.training.callbacks import EarlyStopping


@dataclass(frozen=True, eq=False)
class TableDataset:
    """A table for a network with a preprocessor; as `fastnet.data.Dataset` for those without.

    Attributes
    ----------
    name : str
    x : Frame
        All columns, those of the target too.
    preprocessor : TablePreprocessor
    target_names : tuple of str
        The target's columns; empty where the table does not have them.
    """

    name: str
    x: Frame
    preprocessor: TablePreprocessor
    target_names: tuple[str, ...]
    test: None = None

    @property
    def answers(self) -> list[str]:
        """What ``fit`` and ``evaluate`` take as y."""
        return list(self.target_names)

    @cached_property
    def y(self) -> NDArray[Any] | None:
        """Class indices (N,), or numbers (N, T) in their unit; None without a target."""
        if not self.target_names:
            return None
        return targets(self.preprocessor, self.x, self.answers)

    def part(self, index: slice | NDArray[np.intp]) -> Part:
        """Return some rows, which must have answers."""
        if self.y is None:
            raise DataError(f"{self.name} has no answers.")
        return Part(self.x.take(index), self.answers, self.y[index])

    @property
    def task(self) -> Literal["classification", "regression"] | None:
        """What the target asks for."""
        target = self.preprocessor.target
        return None if target is None else target.task

    @property
    def label_names(self) -> tuple[str, ...] | None:
        """Name of each class."""
        return self.preprocessor.label_names

    @property
    def classes(self) -> int | None:
        """Number of classes."""
        return None if self.label_names is None else len(self.label_names)

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.x)

    @property
    def at_hand(self) -> int:
        """How many rows are in memory: all."""
        return self.rows

    @property
    def features(self) -> int:
        """Inputs of a network for this table."""
        return self.preprocessor.inputs

    @cached_property
    def schema(self) -> TableSchema:
        """The names, for those who want names only."""
        columns = tuple(Column(column.name) for column in self.preprocessor.columns)
        named, target = self.preprocessor.named, self.preprocessor.target
        known = self.target_names or (() if target is None else target.names)
        return TableSchema(columns, known, self.label_names if known else None, named)


def with_preset(settings: Settings) -> Settings:
    """Return the options with the preset's own for those that were not given."""
    preset = _preset(settings)
    if preset is None:
        return settings
    for name in ("dropout", "schedule", "momentum"):
        if name in settings.given:
            raise click.UsageError(f"--{name} does not go with --preset.")
    own = {
        "hidden": preset.hidden,
        "epochs": preset.epochs,
        "batch_size": preset.batch_size,
        "validation": preset.validation_split,
    }
    changes: dict[str, Any] = {k: v for k, v in own.items() if k not in settings.given}
    return replace(settings, **changes)


def load(settings: Settings) -> TableDataset:
    """Return the table to train on, its preprocessor learned from the rows that train."""
    if settings.standardize is not None:
        raise click.UsageError("--standardize does not go with a table: its columns are scaled.")
    if settings.data in BUILT_IN:
        raise click.UsageError("--preset, --table and embeddings go with tables in files.")
    frame = read_frame(settings.data, learning=True)
    if settings.target is None:
        raise InputError(f"{frame.source} needs a target: name the column to learn with --target.")
    names = match_targets(settings.target, tuple(frame.columns), frame.named, frame.source)
    preprocessor = TablePreprocessor.fit(
        frame,
        list(names),
        task=settings.task,
        numeric_embedding=settings.numeric_embedding,
        seed=settings.seed,
        rows=training_rows(len(frame), settings.validation_share, settings.seed, None),
    )
    return TableDataset(Path(settings.data).name, frame, preprocessor, names)


def load_for(network: Network, source: str, target: str | None) -> TableDataset:
    """Return a table as a network with a preprocessor takes it."""
    preprocessor = network.preprocessor
    assert preprocessor is not None
    frame, known = read_frame(source, preprocessor=preprocessor), preprocessor.target
    names = () if known is None else known.names
    if target is not None:
        names = match_targets(target, tuple(frame.columns), frame.named, frame.source)
    elif not set(names) <= set(frame.columns):
        names = ()
    return TableDataset(Path(source).name, frame, preprocessor, names)


def make_network(settings: Settings, dataset: TableDataset, loss: Loss) -> Network:
    """Return the network that the options describe, with the table's preprocessor."""
    preset, activation = _preset(settings), settings.activation
    if preset is not None and "activation" not in settings.given:
        activation = preset.activation[_task(dataset)]
    sizes = settings.hidden, activation, settings.embedding_size
    layers = make_layers(dataset.preprocessor, preset, loss, *sizes, dropout=settings.dropout)
    network = Network(layers, inputs=dataset.features, **settings.where)
    network.preprocessor = in_units(dataset.preprocessor, loss, network)
    network.label_names = dataset.label_names
    return network


def preset_loss(settings: Settings, dataset: TableDataset) -> Loss | None:
    """Return the preset's loss, where there is a preset and nothing else is asked for."""
    preset = _preset(settings)
    if preset is None or settings.given & {"loss", "label_smoothing"}:
        return None
    return preset.loss(_task(dataset))


def preset_optimizer(settings: Settings, dataset: TableDataset) -> Optimizer | None:
    """Return the preset's optimizer, with the options that are given; None for another one."""
    preset = _preset(settings)
    if preset is None or "optimizer" in settings.given:
        return None
    made = preset.optimizer(_task(dataset), settings.epochs)
    options: dict[str, Any] = {
        name: getattr(settings, name)
        for name in ("l1", "l2", "weight_decay", "clip_norm")
        if name in settings.given
    }
    if settings.learning_rate is not None:
        options["learning_rate"] = CosLog(settings.learning_rate, epochs=settings.epochs)
    return replace(made, **options)


def stopping(settings: Settings, dataset: object) -> EarlyStopping | int | None:
    """Return what chooses the epoch whose weights are kept."""
    chooses = settings.preset is not None and settings.validation_share
    if isinstance(dataset, TableDataset) and chooses and not settings.early_stopping:
        return BestEpoch(_task(dataset), settings.epochs)
    return settings.early_stopping


def _preset(settings: Settings) -> Preset | None:
    return None if settings.preset is None else PRESETS[settings.preset]


def _task(dataset: TableDataset) -> Literal["classification", "regression"]:
    return "regression" if dataset.label_names is None else "classification"
