"""`TableRows`: a table with its target, of which each member of a population takes some rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from fastnet.data.frame import Frame, as_frame
from fastnet.data.roles import weights_of
from fastnet.errors import DataError, InputError
from fastnet.populations.folds import labels_of
from fastnet.populations.settings import OF_FIT, checked_weight, own_callbacks
from fastnet.preprocessing.target import TableTarget, by_row, split_target
from fastnet.tables.prepare import TableSettings, TaskName
from fastnet.training.budget import Task

OF_TRAIN: Final = tuple(one.name for one in fields(TableSettings) if one.name != "fit")
"""The arguments of `train` that are none of `Network.fit`."""


@dataclass(frozen=True, eq=False)
class TableRows:
    """A table with its target.

    Attributes
    ----------
    frame : Frame
    target : str, sequence of str, or array
        The names of the target columns, or the targets, as the caller gives them.
    names : tuple of str
        The names of the target columns; empty if the caller gives values.
    values : (N,) or (N, T)
        The targets.
    task : {"classification", "regression"}
        That of all rows: some of them may have too few values to tell.
    """

    frame: Frame
    target: Any
    names: tuple[str, ...]
    values: Any
    task: Task

    @classmethod
    def of(cls, table: Any, target: Any, task: TaskName) -> Self:
        """Return the rows of a table.

        Raises
        ------
        InputError, DataError
            It has no rows, or the target does not fit it.
        """
        frame = as_frame(table, "the table")
        if not len(frame):
            raise DataError(f"{frame.source} has no rows.")
        if target is None:
            raise InputError("name the column to learn: target='price', or give its values.")
        _, names, values = split_target(frame, target)
        values = values if names else by_row(values)
        if isinstance(values, np.ndarray) and not values.ndim:
            raise InputError(f"the target must be a column's name, or values, got {target!r}.")
        if not names and len(values) != len(frame):
            raise InputError(f"the table has {len(frame)} rows, and the target has {len(values)}.")
        known = TableTarget.learn(values, names, task, None, None, frame.source)
        return cls(frame, target, names, values, known.task)

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def labels(self) -> Any:
        """The classes of the rows (N,); None for numbers."""
        return labels_of(self.values, classifies=self.task == "classification")

    def take(self, rows: Any) -> tuple[Frame, Any]:
        """Return some rows as `train` takes a table and its target; all of them for None."""
        if rows is None:
            return self.frame, self.target
        return self.frame.take(rows), self.target if self.names else self.values[rows]

    def settings(self, how: Mapping[str, Any], rows: Any) -> TableSettings:
        """Return the arguments of `train` and of `Network.fit` for some rows, or for all."""
        how = {**how, "task": how["task"] if how.get("task", "auto") != "auto" else self.task}
        options = {name: how[name] for name in OF_TRAIN if name in how}
        fit = {name: how[name] for name in OF_FIT if name in how and name not in OF_TRAIN}
        weight = options.get("sample_weight")
        if weight is not None and rows is not None:
            options["sample_weight"] = checked_weight(weight, len(self))[rows]
        return TableSettings(**options, fit=own_callbacks(fit))

    def weight(self, how: Mapping[str, Any], rows: Any) -> NDArray[np.float64] | None:
        """Return the weights of some rows, or of all, also those in a column; None without."""
        given, name = how.get("sample_weight"), how.get("weight")
        if given is not None:
            given = checked_weight(given, len(self))
        elif name is not None:
            given = weights_of(self.frame.columns[name], name, self.frame.source)
        return given if given is None or rows is None else given[rows]
