"""The training data of ``fastnet train`` in chunks: files, and the preprocessor learned on them."""

from __future__ import annotations

from dataclasses import replace

import click

from fastnet.cli.chunks import columns_of, open_chunks
from fastnet.cli.commands.train.decisions import Decisions
from fastnet.cli.commands.train.settings import DataSettings, Settings
from fastnet.data import Chunks
from fastnet.data.columns import cut
from fastnet.data.labels import AUTO_CLASSES, require_classes
from fastnet.data.roles import Roles
from fastnet.data.text import MAX_CATEGORIES, canonical
from fastnet.errors import InputError
from fastnet.preprocessing.base import Passthrough, Preprocessor
from fastnet.preprocessing.target import TableTarget
from fastnet.training.checkpoints.writer import known_categories, knows_no_table
from fastnet.training.chunk_learning import learn_chunks

_NEED_ALL_ROWS = ("validation", "calibrate")


def open_for_training(settings: Settings) -> tuple[Chunks, Chunks | None]:
    """Open the files, and the file of ``--validation-data``.

    Raises
    ------
    click.UsageError
        An option needs all rows at once.
    """
    wanted = settings.data
    _refuse_options(settings)
    files = open_chunks(wanted.data, wanted.form, wanted.chunk_rows)
    if wanted.target is None:
        raise InputError(f"{files.name} needs a target: name the column with --target.")
    held_out = None
    if wanted.validation_data is not None:
        others = open_chunks([wanted.validation_data], wanted.form, wanted.chunk_rows)
        held_out = _with_roles(others, replace(wanted, id=None, features=None, drop=None))
    return _with_roles(files, wanted), held_out


def learn(settings: Settings, chunks: Chunks, decisions: Decisions) -> Preprocessor:
    """Return the preprocessor of the rows of some files.

    Raises
    ------
    click.UsageError
        An option needs the columns of a table.
    """
    wanted, training = settings.data, settings.training
    of_preset = None if decisions.preset is None else decisions.preset.numeric_embedding
    # A table is encoded, but where a run of version 0.1 goes on.
    old = training.resume and training.checkpoint and knows_no_table(training.checkpoint)
    preprocessor: Preprocessor
    if chunks.names and not (old and chunks.is_matrix):
        preprocessor = learn_chunks(
            chunks,
            task=wanted.task,
            seed=settings.model.seed,
            numeric_embedding=wanted.numeric_embedding or of_preset,
            scaling=wanted.scaling,
            categorical=(
                *cut(wanted.categorical, chunks.names),
                *known_categories(training.checkpoint, training.resume),
            ),
        )
        preprocessor = replace(preprocessor, id=wanted.id, weight=wanted.weight)
    elif chunks.is_matrix:
        if wanted.numeric_embedding or settings.model.embedding_size or wanted.categorical:
            raise click.UsageError("--categorical and embeddings go with tables.")
        preprocessor = Passthrough(chunks.columns, _target_of_numbers(chunks, wanted))
    else:
        raise InputError(f"{chunks.name} has no header: a table in chunks needs one.")
    return preprocessor


def _refuse_options(settings: Settings) -> None:
    if settings.training.distributed:  # a rank has its rows in memory
        return
    for name in _NEED_ALL_ROWS:
        if name in settings.given:
            instead = ": give --validation-data" if name == "validation" else ""
            raise click.UsageError(
                f"--{name} does not go with --chunk-rows or several files{instead}."
            )
    if settings.names_a_preset:
        raise click.UsageError(
            f"--preset {settings.preset} does not go with --chunk-rows or several files: it holds "
            "rows out."
        )
    if settings.training.metric and settings.data.validation_data is None:
        raise click.UsageError(
            "--metric does not go with --chunk-rows or several files without --validation-data."
        )


def _with_roles(chunks: Chunks, wanted: DataSettings) -> Chunks:
    assert wanted.target is not None
    roles = Roles(wanted.id, wanted.weight, wanted.features, wanted.drop)
    return chunks.with_roles(columns_of(chunks, wanted.target), roles)


def _target_of_numbers(chunks: Chunks, wanted: DataSettings) -> TableTarget:
    """Return the target of an array; it is read once, to find the task."""
    labels = None if wanted.task == "regression" else _labels(chunks, wanted.task)
    return TableTarget.plain(chunks.targets, labels, chunks.target_columns)


def _labels(chunks: Chunks, task: str) -> tuple[str, ...] | None:
    """Return the classes of a file's target; None for regression."""
    values = chunks.target_values(AUTO_CLASSES if task == "auto" else MAX_CATEGORIES)
    if values is not None and (task == "classification" or (values == values.round()).all()):
        labels = tuple(canonical(float(value)) for value in values)
        return require_classes(labels, len(chunks), chunks.name, (*chunks.targets, "y")[0])
    if task == "classification":
        raise InputError(f"the target has more than {MAX_CATEGORIES:,} values: no classes.")
    return None
