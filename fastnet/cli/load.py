"""What ``predict`` and ``evaluate`` share: data encoded for a model, and its answers by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from fastnet import data
from fastnet.cli.options import Name
from fastnet.data import BUILT_IN, Dataset, TableSchema
from fastnet.errors import InputError
from fastnet.network import Network

if TYPE_CHECKING:
    from fastnet.cli.tables import TableDataset

SPLIT: Final = Name("split", ("auto", "train", "test"))


def load_for(
    network: Network, source: str, *, target: str | None, folder: str | None, split: str
) -> Dataset | TableDataset:
    """Return the data set, or file, `source`, encoded as the network's training data were.

    With ``split="auto"`` it is the test split where there is one.
    """
    if folder is not None and source not in BUILT_IN:
        raise click.UsageError("--data-dir goes with fashion-mnist only; give DATA as a path.")
    if network.preprocessor is not None:
        from fastnet.cli import tables

        if split == "test":
            raise InputError(f"{source} has no test split: leave out --split.")
        return tables.load_for(network, source, target)
    schema = network.schema or _plain_schema(network, target)
    dataset = data.load(source, target=target, schema=schema, folder=folder)
    if split == "test" and dataset.test is None:
        raise InputError(f"{dataset.name} has no test split: leave out --split.")
    if dataset.test is not None and split != "train":
        dataset = dataset.test
    if dataset.features != network.inputs:
        raise InputError(
            f"the model takes {network.inputs} inputs, and {dataset.name} has {dataset.features}."
        )
    return dataset


def _plain_schema(network: Network, target: str | None) -> TableSchema:
    """Return the schema of a model that was saved without one: columns by their position."""
    return TableSchema.of_matrix(network.inputs, target or "y", network.output_schema.class_names)
