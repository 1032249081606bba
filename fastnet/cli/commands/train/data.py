"""The training data of ``fastnet train``: rows, and the preprocessor fitted to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import click
import numpy as np
from numpy.typing import NDArray

from fastnet import data
from fastnet.cli.commands.train.chunk_data import learn, open_for_training
from fastnet.cli.commands.train.decisions import Decisions, decide
from fastnet.cli.commands.train.settings import DataSettings, Settings
from fastnet.cli.load import Rows, labelled
from fastnet.cli.sources import file_of
from fastnet.data import Chunks, Dataset
from fastnet.data.columns import TextColumns, cut, listing, named_columns
from fastnet.data.dataset import IN_A_FOLDER
from fastnet.data.frame import Frame
from fastnet.data.text import matcher, quoted
from fastnet.data.values import stacked
from fastnet.errors import InputError, nearest
from fastnet.preprocessing.base import Passthrough, Preprocessor
from fastnet.preprocessing.legacy import learn_table_of_0_1
from fastnet.preprocessing.samples import training_rows
from fastnet.preprocessing.table import TablePreprocessor
from fastnet.preprocessing.target import TableTarget
from fastnet.training.budget import counted_rows
from fastnet.training.checkpoints.writer import known_categories, knows_no_table
from fastnet.training.chunk_learning import counted

_SHOWN: Final = 10_000
"""Number of rows of a large file that the report reads."""


@dataclass(frozen=True, eq=False)
class TrainingData:
    """Rows to train on.

    Attributes
    ----------
    name : str
    x, y : arguments of ``fit``
    preprocessor : Preprocessor
        The preprocessor of a new network for these rows; it describes the target.
    decisions : Decisions
    test : Rows or None
        The official test split, if the data set has one.
    weight : (N,) or None
        The weights of the rows.
    validation : Rows, Chunks or None
        Rows to validate on that are no part of these.
    """

    name: str
    x: Any
    y: Any
    preprocessor: Preprocessor
    decisions: Decisions
    test: Rows | None = None
    weight: NDArray[np.float64] | None = None
    validation: Rows | Chunks | None = None

    def __len__(self) -> int:
        return len(self.x)

    @property
    def target(self) -> TableTarget:
        """The description of the target."""
        target = self.preprocessor.target
        assert target is not None
        return target

    @property
    def classes(self) -> int | None:
        """Number of classes; None for regression."""
        return None if self.target.labels is None else len(self.target.labels)

    @property
    def at_hand(self) -> int:
        """Number of rows that a report may read; for a file in chunks, some rows of the first."""
        if isinstance(self.x, Chunks):
            return min(_SHOWN, self.x.chunk_rows, len(self))
        return len(self)

    def take(self, index: NDArray[np.intp]) -> Rows:
        """Return some rows; of a file, all rows between the first and the last are read."""
        if not isinstance(self.x, Chunks):
            rows = Rows(self.name, self.x, self.y, self.target, weight=self.weight)
            return rows.take(index)
        first = int(index.min())
        return self._read(self.x, first, int(index.max()) + 1).take(index - first)

    def first(self, chunks: Chunks) -> Rows:
        """Return the first rows of some chunks, as many as a report may read."""
        return self._read(chunks, 0, min(_SHOWN, chunks.chunk_rows, len(chunks)))

    def _read(self, chunks: Chunks, start: int, stop: int) -> Rows:
        pieces = list(chunks.pieces(start, stop, self.preprocessor))
        x: Any = [piece.x for piece in pieces]
        if isinstance(x[0], Frame):
            columns = {name: stacked([one.columns[name] for one in x]) for name in x[0].columns}
            x = Frame(stop - start, columns, x[0].named, chunks.name)
        else:
            x = np.concatenate(x)
        return Rows(self.name, x, stacked([piece.y for piece in pieces]), self.target)


def load(settings: Settings) -> TrainingData:
    """Load the data that the options name, and fit its preprocessor."""
    # Read the data set, and encode its target.
    wanted = settings.data
    if wanted.data_dir is not None and wanted.source != IN_A_FOLDER:
        raise click.UsageError("--data-dir goes with fashion-mnist only; give DATA as a path.")
    if wanted.in_chunks:
        chunks, apart = open_for_training(settings)
        called = Path(wanted.source).name if len(wanted.data) == 1 else chunks.name
        apart_rows = None if apart is None else len(apart)
        rows, number = counted(chunks)
        # A rank has its rows in memory, so there is a preset for a table, and rows are held out.
        whole = wanted.distributed
        how: dict[str, Any] = {"validation_rows": apart_rows, "holds_out": whole}
        table = whole and bool(chunks.names)
        decisions = decide(settings, rows, table=table, counted=number, **how)
        learned = learn(settings, chunks, decisions)
        return TrainingData(called, chunks, None, learned, decisions, validation=apart)
    return prepare(settings, read(wanted))


def read(wanted: DataSettings) -> Dataset:
    """Return the data set that the options name, as it stands; it has a target."""
    file, name = file_of(wanted.source)
    dataset = data.load(
        file,
        target=wanted.target,
        task=wanted.task,
        id=wanted.id,
        weight=wanted.weight,
        features=wanted.features,
        drop=wanted.drop,
        text_columns=_names(wanted.categorical),
        folder=wanted.data_dir,
        name=name,
        **wanted.form.keywords,
    )
    if dataset.y is None:
        raise InputError(
            f"{dataset.name} needs a target: name what to learn with --target (the column's "
            "index, -1 for the last; npz: the array's name)."
        )
    return dataset


def prepare(settings: Settings, dataset: Dataset) -> TrainingData:
    """Return rows of a data set as training takes them, with a preprocessor fitted to them."""
    wanted = settings.data
    weight = dataset.sample_weight
    decisions = _decide(settings, dataset, None)
    kept = training_rows(dataset.rows, decisions.validation_split, settings.model.seed)
    target = _target(dataset, wanted, kept, weight)
    y = labelled(dataset, target)
    class_weights(settings.training.class_weight, target)  # raise before training
    # Arrays are used directly.
    x = dataset.x
    if not isinstance(x, Frame):
        embedded = wanted.numeric_embedding or settings.model.embedding_size
        if settings.names_a_preset or embedded or wanted.categorical is not None:
            raise click.UsageError(
                "--preset, --categorical and embeddings go with tables in files."
            )
        passthrough = Passthrough(x.shape[1], target.unscaled())
        test = dataset.test
        tested = None
        if test is not None:
            tested = Rows(test.name, test.x, labelled(test, target), target)
            if tested.y is not None:  # raise for an unknown label before training
                target.encode(tested.y, tested.name)
        held_out = _validation(settings, dataset, target)
        decisions = _decide(settings, dataset, held_out)
        return TrainingData(dataset.name, x, y, passthrough, decisions, tested, None, held_out)
    # Tables are encoded, by the scaling of version 0.1 if its checkpoint is resumed.
    training = settings.training
    if training.resume and training.checkpoint and knows_no_table(training.checkpoint):
        standardize = wanted.standardize is not False
        old = learn_table_of_0_1(x, target, kept, standardize=standardize)
        held_out = _validation(settings, dataset, target, old)
        return TrainingData(dataset.name, x, y, old, decisions, None, weight, held_out)
    of_preset = None if decisions.preset is None else decisions.preset.numeric_embedding
    preprocessor = TablePreprocessor.fit(
        x,
        numeric_embedding=wanted.numeric_embedding or of_preset,
        seed=settings.model.seed,
        rows=kept,
        sample_weight=weight,
        scaling=wanted.scaling,
        categorical=(
            *cut(wanted.categorical, x.columns),
            *known_categories(training.checkpoint, training.resume),
        ),
    )
    preprocessor = replace(preprocessor, target=target, id=wanted.id, weight=wanted.weight)
    held_out = _validation(settings, dataset, target, preprocessor)
    decisions = _decide(settings, dataset, held_out)
    return TrainingData(dataset.name, x, y, preprocessor, decisions, None, weight, held_out)


def _decide(settings: Settings, dataset: Dataset, held_out: Rows | None) -> Decisions:
    """Return what suits the rows that have a weight."""
    weight, given = dataset.sample_weight, settings.data.validation_data is not None
    rows = dataset.rows if weight is None else int(np.count_nonzero(weight))
    validation_rows = (0 if held_out is None else len(held_out)) if given else None
    table = isinstance(dataset.x, Frame)
    how: dict[str, Any] = {"validation_rows": validation_rows, "counted": counted_rows(weight)}
    return decide(settings, rows, table=table, **how)


def _validation(
    settings: Settings,
    dataset: Dataset,
    target: TableTarget,
    preprocessor: TablePreprocessor | None = None,
) -> Rows | None:
    """Load the file of ``--validation-data``, and compare it with the training data.

    Raises
    ------
    DataError, InputError
        A column is missing, or a value is wrong.
    """
    wanted = settings.data
    if wanted.validation_data is None:
        return None
    file, name = file_of(wanted.validation_data)
    columns = isinstance(dataset.x, Frame)
    found = data.load(
        file,
        target=list(dataset.target_names) if columns else wanted.target,
        weight=wanted.weight,
        learning=False,
        preprocessor=preprocessor,
        name=name,
        **(wanted.form.keywords if columns else {}),
    )
    if isinstance(found.x, Frame) != columns or found.y is None:
        raise InputError(
            f"--validation-data: {found.name} must be of the kind of {dataset.name}, with targets."
        )
    rows = Rows(found.name, found.x, labelled(found, target), target, weight=found.sample_weight)
    encoder = preprocessor or Passthrough(dataset.x.shape[1])
    encoder.transform(rows.x, np.dtype(settings.model.dtype), rows.name)
    target.encode(rows.y, rows.name)
    return rows


def class_weights(
    given: Mapping[str, float] | str | None, target: TableTarget
) -> dict[str, float] | str | None:
    """Return the weights of classes by the labels of training, or "balanced".

    Raises
    ------
    InputError
        There is no such class, or there are none at all.
    """
    if given is None:
        return None
    if target.labels is None:
        raise InputError("--class-weight goes with classes, and the target holds numbers.")
    if isinstance(given, str):
        return given
    index = matcher(target.labels)
    for label in given:
        if index(label) < 0:
            raise InputError(
                f"--class-weight: there is no class {quoted(label)}"
                f"{nearest(label, target.labels)} Classes: {listing(target.labels)}."
            )
    return {target.labels[index(label)]: weight for label, weight in given.items()}


def _names(categorical: str | None) -> TextColumns | None:
    """Return the columns whose cells are names, for the reader of a file."""
    if categorical is None:
        return None
    return lambda names, named, source: set(named_columns(categorical, names, source))


def _target(
    dataset: Dataset,
    wanted: DataSettings,
    kept: NDArray[np.intp] | None,
    weight: NDArray[np.float64] | None,
) -> TableTarget:
    """Return the description of the target: classes, or numbers and their scale."""
    if dataset.label_names is not None:
        return TableTarget.plain(dataset.target_names, dataset.label_names)
    how = wanted.task, kept, weight, dataset.name
    return TableTarget.learn(dataset.y, dataset.target_names, *how)
