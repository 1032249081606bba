"""``fastnet train --chunk-rows``: files that need not fit into memory."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

import click
import numpy as np
from numpy.typing import NDArray

from fastnet.cli.commands.train.build import Settings
from fastnet.data import Chunks, Column, TableSchema
from fastnet.data.dataset import Part
from fastnet.data.labels import AUTO_CLASSES
from fastnet.data.text import canonical
from fastnet.errors import InputError

_SUFFIXES = (".npy", ".parquet")

_SHOWN: Final = 10_000
"""Rows of the first chunk that a report is made of."""


@dataclass(frozen=True, eq=False)
class ChunkDataset:
    """A file of numbers that is read as it is needed; as `fastnet.data.Dataset` is in memory."""

    name: str
    x: Chunks
    schema: TableSchema
    answers: None = None
    y: None = None
    test: None = None

    def part(self, index: slice | NDArray[np.intp]) -> Part:
        """Return some rows; all between the first and the last of them are read."""
        rows = np.arange(*index.indices(self.rows)) if isinstance(index, slice) else index
        first = int(rows.min())
        pieces = [(x, y) for _, x, y, _ in self.x.pieces(first, int(rows.max()) + 1)]
        x, y = (np.concatenate(parts)[rows - first] for parts in zip(*pieces, strict=True))
        return Part(x, y, y)

    @property
    def at_hand(self) -> int:
        """How many rows a report may read: some of the first chunk."""
        return min(_SHOWN, self.x.chunk_rows, self.rows)

    @property
    def task(self) -> Literal["classification", "regression"]:
        """What the target asks for."""
        return "regression" if self.label_names is None else "classification"

    @property
    def label_names(self) -> tuple[str, ...] | None:
        """Name of each class."""
        return self.schema.label_names

    @property
    def classes(self) -> int | None:
        """Number of classes."""
        return None if self.label_names is None else len(self.label_names)

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.x)

    @property
    def features(self) -> int:
        """Number of inputs."""
        return self.x.columns


def with_chunks(settings: Settings) -> Settings:
    """Return the options for training by chunks; refuse those that need all rows at once."""
    if settings.chunk_rows is None:
        return settings
    if Path(settings.data).suffix.lower() not in _SUFFIXES:
        raise click.UsageError("--chunk-rows goes with .npy and .parquet files.")
    for name in ("validation", "class_weight", "metric", "calibrate"):
        if name in settings.given:
            option = name.replace("_", "-")
            raise click.UsageError(f"--{option} does not go with --chunk-rows.")
    if settings.prepares:
        raise click.UsageError("--preset, --table and embeddings do not go with --chunk-rows.")
    return replace(settings, validation=0.0)


def load(settings: Settings) -> ChunkDataset:
    """Return the file as chunks; its target is read once, to see what it is."""
    if settings.target is None:
        raise InputError(f"{settings.data} needs a target: name the column with --target.")
    text = settings.target.strip()
    number = text.removeprefix("-").isdecimal()
    target: int | str = int(text) if number and settings.data.endswith(".npy") else text
    chunks = Chunks(settings.data, target=target, chunk_rows=settings.chunk_rows)
    labels = None
    if settings.task != "regression":
        most = max(AUTO_CLASSES, int(math.sqrt(len(chunks))))
        values = chunks.target_values(most)
        whole = values is not None and bool((values == values.round()).all())
        if values is not None and (whole or settings.task == "classification"):
            labels = tuple(canonical(float(value)) for value in values)
            chunks.labels = values
        elif settings.task == "classification":
            raise InputError(f"the target has more than {most:,} different values: no classes.")
    names = chunks.input_names
    columns = tuple(Column(name) for name in names)
    if names:
        schema = TableSchema(columns, chunks.target_names, labels)
    else:
        schema = TableSchema.of_matrix(chunks.columns, "y", labels)
    return ChunkDataset(Path(settings.data).name, chunks, schema)
