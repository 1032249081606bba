"""Loading of data for an existing model, for ``predict``, ``evaluate`` and ``plot``."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import click
import numpy as np
from numpy.typing import NDArray

from fastnet import data
from fastnet.cli.models import Predictor
from fastnet.cli.sources import Reading, file_of
from fastnet.data import Dataset
from fastnet.data.dataset import IN_A_FOLDER
from fastnet.data.frame import Frame
from fastnet.data.text import Texts, is_number
from fastnet.data.values import Values
from fastnet.errors import InputError
from fastnet.preprocessing import validation
from fastnet.preprocessing.base import Preprocessor
from fastnet.preprocessing.table import TablePreprocessor
from fastnet.preprocessing.target import TableTarget


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows of a data set, in the form that a network takes.

    Attributes
    ----------
    name : str
    x, y : arguments of ``evaluate``; y is None without targets
    target : TableTarget or None
        The name and the classes of y.
    ids : Values or None
        What says which row it is.
    weight : (N,) or None
        The weights of the rows, where they are asked for.
    """

    name: str
    x: Any
    y: Any
    target: TableTarget | None
    ids: Values | None = None
    weight: NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self.x)

    def take(self, index: slice | NDArray[Any]) -> Rows:
        """Return some rows."""
        columns: Any = (self.y, self.ids, self.weight)
        taken = (None if values is None else values[index] for values in columns)
        y, ids, weight = taken
        return Rows(self.name, self.x[index], y, self.target, ids, weight)

    @property
    def samples(self) -> Any:
        """The rows as ``fit(validation_data=...)`` takes them."""
        return (self.x, self.y) if self.weight is None else (self.x, self.y, self.weight)

    @property
    def true_values(self) -> NDArray[Any]:
        """The targets as class indices (N,), or as numbers."""
        if self.target is None:
            return np.asarray(self.y)
        values: NDArray[Any] = self.target.decode(self.target.encode(self.y))
        return values


def load_for(
    network: Predictor,
    source: str,
    reading: Reading,
    target: str | None = None,
    *,
    id: str | None = None,
    weight: str | None = None,
    weighs: bool = False,
    compares: bool = True,
) -> Rows:
    """Load a data set or a file for a network.

    ``split="auto"`` takes the test split, if there is one.

    Parameters
    ----------
    id, weight : str, optional
        Columns with these roles; default: those of training, if the file has them.
    weighs : bool, default False
        Whether the weights of the rows count; else the column may hold anything.
    compares : bool, default True
        Whether the targets count; else they may hold anything.
    """
    folder, split = reading.folder, reading.split
    if folder is not None and source != IN_A_FOLDER:
        raise click.UsageError("--data-dir goes with fashion-mnist only; give DATA as a path.")
    preprocessor = network.preprocessor
    known = preprocessor.target
    file, name = file_of(source)
    dataset = data.load(
        file,
        target=target,
        learning=False,
        preprocessor=preprocessor if isinstance(preprocessor, TablePreprocessor) else None,
        usual_target=known.names[0].split("[")[0] if known and known.names else "y",
        folder=folder,
        id=id,
        weight=weight,
        name=name,
        **reading.form.keywords,
    )
    if split == "test" and dataset.test is None:
        raise InputError(f"{dataset.name} has no test split: leave out --split.")
    if dataset.test is not None and split != "train":
        dataset = dataset.test
    if target is None and known is not None:
        dataset = _with_known_targets(dataset, known, preprocessor)
    rows = rows_of(network, dataset if compares else replace(dataset, y=None))
    weights = dataset.sample_weight if weighs else None
    return replace(rows, ids=dataset.ids, weight=weights)


def _with_known_targets(
    dataset: Dataset, known: TableTarget, preprocessor: Preprocessor
) -> Dataset:
    """Return a table with its target columns split off, if it has them.

    They are found by name. If columns are matched by position, the others must be the inputs.
    """
    frame = dataset.x
    if not isinstance(frame, Frame) or not known.names:
        return dataset
    table = preprocessor if isinstance(preprocessor, TablePreprocessor) else None
    by_name = frame.named and (table is None or table.named)
    inputs = preprocessor.inputs if table is None else len(table.columns)
    whole = len(frame.columns) == inputs + len(known.names)
    if not (by_name or whole) or not set(known.names) <= set(frame.columns):
        return dataset
    return dataset.with_targets(known.names)


def rows_of(network: Predictor, dataset: Dataset) -> Rows:
    """Return the rows of a data set in the form that a network takes.

    Raises
    ------
    InputError, DataError
        The data set has another number of inputs, or targets that the network cannot have.
    """
    preprocessor, x = network.preprocessor, dataset.x
    source = x.source if isinstance(x, Frame) else dataset.name
    if not isinstance(preprocessor, TablePreprocessor):
        if isinstance(x, Frame):
            x = x.matrix()
        if x.shape[1] != network.inputs:
            raise InputError(
                f"the model takes {network.inputs} inputs, and {dataset.name} has {x.shape[1]}."
            )
        if isinstance(dataset.x, Frame):  # else x is the name of an array in the file
            x = validation.finite(source, x)
    target = preprocessor.target
    if dataset.y is None:
        return Rows(dataset.name, x, None, target)
    if target is not None:
        y = labelled(dataset, target)
        target.encode(y, source)  # raises by the name of the file
        return Rows(dataset.name, x, y, target)
    # The model has no target description, so classes are given by name or by number.
    columns = dataset.y.shape[1] if getattr(dataset.y, "ndim", 1) == 2 else 1
    plain = TableTarget.plain(dataset.target_names, network.output_schema.class_names, columns)
    return Rows(dataset.name, x, plain.encode(labelled(dataset, plain), source), None)


def labelled(dataset: Dataset, target: TableTarget) -> Any:
    """Return the targets of a data set, with class numbers replaced by class names.

    Arrays seldom hold text. So if no label is a number, the integers of an array are taken as class
    indices.
    """
    names, y = dataset.label_names, dataset.y
    words = target.labels is not None and not any(map(is_number, target.labels))
    if names is None and words and not isinstance(dataset.x, Frame):
        names = target.labels
    if names is None or isinstance(y, Texts) or getattr(y, "ndim", 1) != 1:
        return y
    numbers = Texts.of_numbers(np.asarray(y, np.float64))
    index = {str(k): name for k, name in enumerate(names)}
    return Texts(numbers.codes, tuple(index.get(value, value) for value in numbers.values))


Task = Literal["classification", "regression"]


def task_of(target: TableTarget | None) -> Task | None:
    """Return the task of a target, or None without a target."""
    return None if target is None else target.task
