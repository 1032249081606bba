"""Dataset and load: a built-in data set or a file, as it stands; nothing is encoded or scaled."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal, cast, overload

import numpy as np
from numpy.typing import NDArray

from fastnet.data.arrays import Arrays, as_matrix
from fastnet.data.columns import Names, Target, TextColumns, match_targets, missing_target
from fastnet.data.frame import Frame
from fastnet.data.frame_files import (
    FRAME_FILES,
    kind_of_file,
    learned,
    read_file,
    require_default,
    text_columns_of,
)
from fastnet.data.labels import check_task
from fastnet.data.roles import Roles, weights_of
from fastnet.data.text import Texts, place
from fastnet.data.text_format import TextFormat
from fastnet.data.values import Values, numbers_of, of_cells
from fastnet.errors import DataError, DataNotFoundError, InputError, suggest

BUILT_IN = ("digits", "fashion-mnist")
IN_A_FOLDER = "fashion-mnist"
"""Names of the data sets that `load` knows without a file."""

FILES: Final = (*FRAME_FILES, ".npz", "IDX")
"""The kinds of files that `load` reads."""

Task = Literal["auto", "classification", "regression"]
_BLOCK_ROWS: Final = 4096


@dataclass(frozen=True, eq=False)
class Dataset:
    """Inputs and targets of one data set, as they stand in its file.

    Attributes
    ----------
    name : str
        The built-in name, or the file's name without its folder.
    x : (N, I) float32 or float64, or Frame
        Arrays of floats, all finite; or the columns of a table without those of the target.
    y : (N,) numbers or Texts, (N, T) numbers, or None
        The targets; class indices where there are `label_names`; None where there are none.
    label_names : tuple of str, or None
        Name of each class, where the data set itself has them.
    target_names : tuple of str
        Name of each column of `y`.
    test : Dataset or None
        The official test split, where the data set has one.
    ids, weight : (N,) array, Texts or None
        The columns of a table that say which row it is, and how much it weighs, as they stand.
    weight_name : str
        Name of the column of weights.

    Raises
    ------
    DataError
        If the parts do not fit together.
    """

    name: str
    x: Any
    y: Any
    label_names: tuple[str, ...] | None = None
    target_names: tuple[str, ...] = ()
    test: Dataset | None = None
    ids: Values | None = None
    weight: Values | None = None
    weight_name: str = ""

    def __post_init__(self) -> None:
        """Check that the parts fit together."""
        if not isinstance(self.x, Frame) and self.x.ndim != 2:
            raise DataError(f"{self.name}: expected x of shape (N, I), got {self.x.shape}.")
        if self.y is not None and len(self.y) != self.rows:
            raise DataError(f"{self.name}: x has {self.rows} rows, but y has {len(self.y)}.")
        test = self.test
        if test is not None and self.x.shape[1] != test.x.shape[1]:
            raise DataError(
                f"{test.name}: expected {self.x.shape[1]} columns, got {test.x.shape[1]}."
            )

    @property
    def rows(self) -> int:
        """N, the number of rows."""
        return len(self.x)

    def take(self, index: slice | NDArray[Any]) -> Dataset:
        """Return the rows of an index, a mask or a slice; without the test split."""
        columns = (self.y, self.ids, self.weight)
        y, ids, weight = (None if values is None else values[index] for values in columns)
        return replace(self, x=self.x[index], y=y, test=None, ids=ids, weight=weight)

    @property
    def sample_weight(self) -> NDArray[np.float64] | None:
        """The weights (N,) as numbers; raises `DataError` for one that is missing or negative."""
        if self.weight is None:
            return None
        return weights_of(self.weight, self.weight_name, self.name)

    def joined(self) -> tuple[Frame, str | list[str]]:
        """Return a table with its targets, and their names: what `with_targets` took apart."""
        assert isinstance(self.x, Frame)
        names = list(self.target_names)
        parts = [self.y] if len(names) == 1 else list(self.y.T)
        table = self.x.joined(dict(zip(names, parts, strict=True)))
        return table, names[0] if len(names) == 1 else names

    def with_targets(self, names: Sequence[str], task: Task = "auto") -> Dataset:
        """Return the same table with some of its columns as the targets.

        Raises
        ------
        InputError
            If several columns are asked for classification.
        DataError
            If no column is left, or one of several targets holds something else than numbers.
        """
        assert isinstance(self.x, Frame)
        source, columns = self.x.source, [self.x.columns[name] for name in names]
        _check_task(task, len(columns))
        x = self.x.without(names)
        if not x.columns:
            raise DataError(f"{source} has no column beside the target.")
        y: Values | NDArray[Any] = columns[0]
        if len(columns) > 1:
            pairs = zip(columns, names, strict=True)
            y = np.stack([numbers_of(column, name, source) for column, name in pairs], axis=1)
        return replace(self, x=x, y=y, target_names=tuple(names))


class SplitDataset(Dataset):
    """What type checkers know of the built-in data sets: they have rows for a test."""

    test: Dataset


@overload
def load(
    source: Literal["digits", "fashion-mnist"],
    *,
    target: Target = None,
    folder: str | os.PathLike[str] | None = None,
) -> SplitDataset: ...
@overload
def load(
    source: str | os.PathLike[str],
    *,
    target: Target = None,
    task: Task = "auto",
    id: str | None = None,
    weight: str | None = None,
    features: Names = None,
    drop: Names = None,
    learning: bool = True,
    text_columns: TextColumns | None = None,
    preprocessor: Any = None,
    usual_target: str = "y",
    folder: str | os.PathLike[str] | None = None,
    sep: str | None = None,
    decimal: str = ".",
    thousands: str | None = None,
    encoding: str = "utf-8",
    name: str | None = None,
) -> Dataset: ...
def load(
    source: str | os.PathLike[str],
    *,
    target: Target = None,
    task: Task = "auto",
    id: str | None = None,
    weight: str | None = None,
    features: Names = None,
    drop: Names = None,
    learning: bool = True,
    text_columns: TextColumns | None = None,
    preprocessor: Any = None,
    usual_target: str = "y",
    folder: str | os.PathLike[str] | None = None,
    sep: str | None = None,
    decimal: str = ".",
    thousands: str | None = None,
    encoding: str = "utf-8",
    name: str | None = None,
) -> Dataset:
    """Load a data set: its inputs and targets as they stand in the file.

    Parameters
    ----------
    source : str or path
        ``digits``, ``fashion-mnist``, or a ``.csv``, ``.tsv``, ``.npz``, ``.npy``, ``.parquet``,
        ``.arrow``, ``.feather`` or IDX file (such as ``train-images-idx3-ubyte.gz``). Text may be
        compressed (``.csv.gz``). A file called like a data set is ``./digits``.
    target : str, int or sequence of these, optional
        What is to be learned. Tables: a column's name, or several with commas; without a header,
        and in NPY files: a name ``x0``, ``x1``, ... or an index, negative from the end. NPZ: the
        name of an array, by default `usual_target`. IDX: the file of the labels, by default the one
        beside it.
    task : {"auto", "classification", "regression"}
        With "classification" the cells of the target may be texts although most are numbers.
    id, weight : str, optional
        The columns of a table that say which row it is, and how much it weighs: no inputs. ``fit``
        and ``evaluate`` of the data set weigh its rows. Default: the columns of the preprocessor,
        if the table has them.
    features, drop : str or sequence of str, optional
        The columns of a table that are inputs, or those that are none.
    learning : bool, default True
        Whether it is about to be learned from. Then tables in text or Arrow files need a target,
        and a column of texts of which at least half are numbers must hold numbers only.
    text_columns, preprocessor
        As in `read_frame`.
    usual_target : str
        The array of an NPZ file that holds the targets where `target` is None.
    folder : str or path, optional
        Where the files of ``fashion-mnist`` are, or in its subfolder ``fashion-mnist``.
    sep, decimal, thousands, encoding : str
        How a text file is written; see `fastnet.tables.read_frame`.
    name : str, optional
        What messages call a text file; default: its path.

    Raises
    ------
    DataNotFoundError
        If there is no such data set or file; names the nearest.
    DataError
        If the file is damaged, or a column, a value or a label is missing or wrong; names the
        first row, counted from 1 without the header, and its column.
    InputError
        If an argument is wrong, or a target is needed and none is given.

    Notes
    -----
    Arrays of unsigned bytes with several axes per row are images: they are divided by 255.
    """
    check_task(task)
    form = TextFormat(sep, decimal, thousands, encoding)
    roles = Roles(id, weight, features, drop)
    if folder is not None and source != IN_A_FOLDER:
        raise InputError(f"folder is for {IN_A_FOLDER} only; give the path as the source.")
    if isinstance(source, str) and source in BUILT_IN:
        if target not in (None, "label") or task == "regression":
            raise InputError(f"{source} is for classification of its target 'label'.")
        roles.require_none(source)
        require_default(form, source)
        return _of_arrays(_function(source.replace("-", "_"), "read")(folder), source)
    path = Path(source)
    if path.suffix == "" and path.name == str(source) and not path.exists():
        raise DataNotFoundError(
            f"There is no data set or file {str(source)!r}{suggest(source, BUILT_IN)}"
        )
    kind = kind_of_file(path, FILES)
    if kind not in FRAME_FILES or kind == ".npy":
        try:
            arrays = _arrays_in(path, kind, target, learning=learning, usual=usual_target)
        except DataError:
            raise
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error.strerror or error}.") from error
        if arrays is not None:
            roles.require_none(path.name)
            require_default(form, path.name)
            dataset = _of_arrays(arrays, path.name)
            _check_task(task, len(dataset.target_names))
            return dataset
    if preprocessor is not None and text_columns is None:
        text_columns = text_columns_of(preprocessor, target)
    roles = roles.with_known(preprocessor)
    written = partial(roles.as_written, form=form)
    frame = read_file(path, form, text_columns, as_written=written, source=name)
    names: tuple[str, ...] = ()
    if target is not None:
        names = match_targets(target, tuple(frame.columns), frame.named, frame.source)
    elif learning and kind != ".npy":
        raise missing_target(tuple(frame.columns), frame.source)
    frame, ids, weights = roles.split(frame, names)
    if learning:
        frame = learned(frame, text_columns, but=names if task == "classification" else ())
    apart = ids, weights, roles.weight or ""
    dataset = Dataset(name or path.name, frame, None, None, (), None, *apart)
    return dataset.with_targets(names, task) if names else dataset


def _check_task(task: Task, targets: int) -> None:
    if task == "classification" and targets > 1:
        raise InputError(f"Classification needs one target column, got {targets}.")


def _function(module: str, name: str) -> Callable[..., Any]:
    """Return a function of a module that is imported on first use."""
    function: Callable[..., Any] = getattr(importlib.import_module(f"fastnet.data.{module}"), name)
    return function


def _arrays_in(
    path: Path, kind: str, target: Target, *, learning: bool, usual: str
) -> Arrays | None:
    """Return what a file of arrays holds; None for an NPY file that is a table.

    That is a matrix, or further axes of which some columns are the targets.
    """
    if kind == "IDX":
        return cast(Arrays, _function("idx", "read_idx_pair")(path, target))
    if kind == ".npz":
        read = _function("npy", "read_npz")
        return cast(Arrays, read(path, target, optional=not learning, usual=(usual,)))
    array = _function("npy", "map_npy")(path)
    if array.ndim <= 2 or target is not None:
        return None
    return Arrays(str(path), np.array(array), None)


def _of_arrays(arrays: Arrays, name: str) -> Dataset:
    """Return arrays as a data set."""
    x = _floats(as_matrix(arrays.x, arrays.source), arrays.source)
    test = None if arrays.test is None else _of_arrays(arrays.test, f"{name} (test)")
    y = arrays.y
    if y is None:
        return Dataset(name, x, None, test=test)
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim not in (1, 2) or len(y) != len(x):
        raise DataError(
            f"{arrays.source}: expected a target for each of {len(x)} rows, "
            f"got {arrays.target!r} of shape {y.shape}."
        )
    names: tuple[str, ...] = (arrays.target,)
    if y.ndim == 2:
        names = tuple(f"{arrays.target}[{i}]" for i in range(y.shape[1]))
    values: Values | NDArray[Any] = y.astype(np.int64) if arrays.label_names is not None else y
    if y.dtype.kind in "SU":
        columns = [_cells(part) for part in (y.T if y.ndim == 2 else [y])]
        values = columns[0]
        if y.ndim == 2:
            pairs = zip(columns, names, strict=True)
            values = np.stack([numbers_of(c, n, arrays.source) for c, n in pairs], axis=1)
    return Dataset(name, x, values, arrays.label_names, names, test)


def _cells(texts: NDArray[Any]) -> Values:
    """Return an array of texts (N,) as a column: numbers if all of them are."""
    if texts.dtype.kind == "S":
        texts = np.char.decode(texts, "utf-8", "replace")
    return of_cells(Texts.of(texts.tolist()))


def _floats(matrix: NDArray[Any], source: str) -> NDArray[Any]:
    """Return (N, I) numbers as floats that hold them exactly: float32 for small integers.

    Raises
    ------
    DataError
        Naming the row and column of the first value that is NaN or infinite.
    """
    dtype = np.result_type(matrix.dtype, np.float32)
    floats = np.ascontiguousarray(matrix, dtype if dtype.itemsize <= 8 else np.float64)
    for start in range(0, len(floats), _BLOCK_ROWS):  # bounds the memory of the mask
        bad = ~np.isfinite(floats[start : start + _BLOCK_ROWS])
        if bad.any():
            row, column = (int(i) for i in np.argwhere(bad)[0])
            value = floats[start + row, column]
            where = place(source, start + row, f"x{column}")
            gaps = "; in tables (csv, npy, parquet) values may be missing"
            raise DataError(
                f"{where}: {value} is not a finite number: replace it, or leave the row out"
                f"{gaps if np.isnan(value) else ''}."
            )
    return floats
