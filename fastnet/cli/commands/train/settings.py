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
from fastnet.data.chunk_files import expanded
from fastnet.data.text_format import TextFormat
from fastnet.tables import PRESETS, Preset
from fastnet.training.callbacks import DEFAULT_VALIDATION

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
        """Whether a part of the rows is in memory at a time."""
        return self.chunk_rows is not None or in_chunks(self.data)

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
    activation: str
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
    optimizer: str
    learning_rate: float | None
    schedule: str
    momentum: float | None
    l1: float
    l2: float
    weight_decay: float | None
    clip_norm: float | None
    epochs: int
    batch_size: int
    validation: float | None
    early_stopping: int | None
    metric: tuple[str, ...]
    calibrate: bool
    threads: int | None
    checkpoint: Path | None
    checkpoint_every: str | None
    resume: bool

    @property
    def validation_split(self) -> float:
        """Fraction of the training rows to validate on."""
        if self.validation is None:
            return DEFAULT_VALIDATION if self.early_stopping else 0.0
        return self.validation


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
    given : set of str
        The names of the options on the command line.
    """

    data: DataSettings
    model: ModelSettings
    training: TrainingSettings
    output: OutputSettings
    preset: Preset | None
    given: frozenset[str]

    @classmethod
    def read(cls, values: Mapping[str, Any], given: frozenset[str]) -> Self:
        """Return the options by name, with the defaults of a preset if one is chosen."""
        values = {**values, "form": text_format(dict(values))}
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
        if values["validation_data"] is not None:
            if "validation" in given:
                raise click.UsageError("give --validation-data or --validation, not both.")
            made["training"] = replace(made["training"], validation=0.0)
        preset = None if values["preset"] is None else PRESETS[values["preset"]]
        if preset is not None:
            decided = given if values["validation_data"] is None else given | {"validation"}
            made["training"] = _with_preset(made["training"], preset, decided)
        return cls(**made, preset=preset, given=given)


def _with_preset(
    training: TrainingSettings, preset: Preset, given: frozenset[str]
) -> TrainingSettings:
    for name in ("dropout", "schedule", "momentum"):
        if name in given:
            raise click.UsageError(f"--{name} does not go with --preset.")
    own: dict[str, Any] = {
        "epochs": preset.epochs,
        "batch_size": preset.batch_size,
        "validation": preset.validation_split,
    }
    return replace(training, **{k: v for k, v in own.items() if k not in given})
