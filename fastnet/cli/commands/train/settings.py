"""The options of ``fastnet train``, grouped by the code that reads them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Final, Literal, Self

import click

from fastnet.cli.chunks import in_chunks
from fastnet.cli.sources import text_format
from fastnet.data import BUILT_IN
from fastnet.data.chunk_files import KINDS, expanded
from fastnet.data.frame_files import ending
from fastnet.data.text_format import TextFormat
from fastnet.tables.preset import MEMBERS, TOGETHER
from fastnet.training.checkpoints.writer import is_of_0_1
from fastnet.utils.names import ActivationName

_OF_A_PLAIN_NETWORK: Final = ("dropout", "schedule", "momentum")
"""Options that no preset has."""

_OF_0_1: Final = {
    "preset": "none",
    "activation": "relu",
    "optimizer": "adam",
    "epochs": 10,
    "batch_size": 128,
}
"""The defaults of version 0.1."""

_ARRAYS: Final = (".npz",)
"""Files of arrays whose inputs are standardised by default."""


@dataclass(frozen=True, kw_only=True)
class DataSettings:
    """The data, and how it becomes inputs."""

    data: tuple[str, ...]
    target: str | None
    task: Literal["auto", "classification", "regression"]
    id: str | None
    weight: str | None
    categorical: str | None
    features: str | None
    drop: str | None
    validation_data: str | None
    data_dir: str | None
    form: TextFormat
    standardize: bool | None
    chunk_rows: int | None
    numeric_embedding: Literal["periodic", "piecewise"] | None
    distributed: bool

    @property
    def standardizes_arrays(self) -> bool:
        """Whether arrays are standardised; by default images (0..1) are not."""
        if self.standardize is not None:
            return self.standardize
        array = Path(self.source).suffix.lower() in _ARRAYS
        return self.source not in BUILT_IN and (self.in_chunks or array)

    @property
    def source(self) -> str:
        """The data set, or the first of several files."""
        return self.data[0]

    @property
    def read(self) -> list[str]:
        """All files that are read."""
        validation = [] if self.validation_data is None else [self.validation_data]
        return [*(str(path) for path in expanded(list(self.data)) or ()), *validation]

    @property
    def in_chunks(self) -> bool:
        """Whether a part of the rows is in memory at a time, or on each rank."""
        shared = self.distributed and ending(Path(self.source)) in KINDS
        return shared or self.chunk_rows is not None or in_chunks(self.data)

    @property
    def scaling(self) -> Literal["robust", "standard", "none"]:
        """The scaling of a table's columns."""
        if self.standardize is None:
            return "robust"
        return "standard" if self.standardize else "none"


@dataclass(frozen=True, kw_only=True)
class ModelSettings:
    """The layers, and their precision and backend."""

    hidden: tuple[int, ...]
    activation: ActivationName | None
    dropout: float
    embedding_size: int | None
    dtype: str
    seed: int
    backend: str
    precision: str
    device: int | None

    @property
    def where(self) -> dict[str, Any]:
        """The options of a `Network` for dtype, seed, backend and device."""
        names = "dtype", "seed", "backend", "precision", "device"
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """The loss, the optimizer and the options of the training."""

    loss: str | None
    label_smoothing: float
    class_weight: str | dict[str, float] | None
    optimizer: str | None
    learning_rate: float | None
    schedule: str | None
    momentum: float | None
    l1: float
    l2: float
    weight_decay: float | None
    clip_norm: float | None
    epochs: int | None
    batch_size: int | None
    validation: float | None
    early_stopping: int | None
    metric: tuple[str, ...]
    calibrate: bool
    n_estimators: int | None
    threads: int | None
    distributed: bool
    parts: int | None
    checkpoint: Path | None
    checkpoint_every: str | None
    resume: bool


@dataclass(frozen=True, kw_only=True)
class OutputSettings:
    """The files and lines to write."""

    out: Path
    html: Path | None
    log: Path | None
    quiet: bool


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All options, and the names of those on the command line.

    Attributes
    ----------
    preset : str
        The name of a preset, or "auto" or "none".
    given : set of str
        The names of the options on the command line.
    as_0_1 : bool
        Whether a run of version 0.1 is resumed, whose defaults still hold.
    """

    data: DataSettings
    model: ModelSettings
    training: TrainingSettings
    output: OutputSettings
    preset: str
    given: frozenset[str]
    as_0_1: bool

    @classmethod
    def read(cls, values: Mapping[str, Any], given: frozenset[str]) -> Self:
        """Return the options by name."""
        values = {**values, "form": text_format(dict(values))}
        if values["validation_data"] is not None and "validation" in given:
            raise click.UsageError("give --validation-data or --validation, not both.")
        if values["preset"] not in ("auto", "none"):
            for name in _OF_A_PLAIN_NETWORK:
                if name in given:
                    raise click.UsageError(f"--{name} does not go with --preset.")
        as_0_1 = is_of_0_1(values["checkpoint"], values["resume"])
        if as_0_1 and values["preset"] in ("auto", "none"):
            values |= {name: value for name, value in _OF_0_1.items() if name not in given}
        groups: dict[str, Any] = {
            "data": DataSettings,
            "model": ModelSettings,
            "training": TrainingSettings,
            "output": OutputSettings,
        }
        made = {
            name: kind(**{field.name: values[field.name] for field in fields(kind)})
            for name, kind in groups.items()
        }
        return cls(**made, preset=values["preset"], given=given, as_0_1=as_0_1)

    @property
    def names_a_preset(self) -> bool:
        """Whether a preset is asked for by its name."""
        return self.preset not in ("auto", "none")

    @property
    def members(self) -> list[Self]:
        """The settings of the members of an ensemble, which take turns; of one network, itself."""
        names = TOGETHER.get(self.preset, (self.preset,))
        return [replace(self, preset=name) for name in names]

    @property
    def n_members(self) -> int | None:
        """How many networks an ensemble has; None for one network."""
        asked = self.training.n_estimators
        return MEMBERS if asked is None and self.preset in TOGETHER else asked

    @property
    def describes_a_network(self) -> bool:
        """Whether an option describes layers or an optimizer: a plain network's."""
        options = ("hidden", "activation", "optimizer", "learning_rate", *_OF_A_PLAIN_NETWORK)
        return any(name in self.given for name in options)

    @property
    def may_hold_out(self) -> bool:
        """Whether there may be rows to validate on; the number of rows decides it."""
        training = self.training
        if self.data.validation_data is not None:
            return True
        if training.validation is not None:
            return training.validation > 0
        decided = training.epochs is not None and training.early_stopping is None
        return not decided or self.names_a_preset
