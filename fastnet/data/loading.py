"""load: a built-in data set or a file, by name."""

from __future__ import annotations

import difflib
import importlib
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from fastnet.data.arrays import Arrays
from fastnet.data.columns import Target, match_targets, missing_target
from fastnet.data.dataset import Dataset
from fastnet.data.labels import infer_labels
from fastnet.data.matrices import dataset_of
from fastnet.data.table import (
    Kind,
    Table,
    TableFile,
    kinds_of,
    match_features,
    match_schema_targets,
    training_kinds,
)
from fastnet.data.text import MAX_CATEGORIES
from fastnet.errors import DataError, DataNotFoundError, InputError, suggest
from fastnet.preprocessing.schema import Column, TableSchema

BUILT_IN = ("digits", "fashion-mnist")
"""Names of the data sets that `load` knows without a file."""

_TASKS = ("auto", "classification", "regression")
_IDX_NAME = re.compile(r"[.-]idx\d?(-\w+)?(\.gz)?$")


class _Reader(NamedTuple):
    """A row of the table of file formats: where the reader is, and what it returns."""

    module: str
    function: str
    table: bool = True  # a TableFile, else Arrays
    needs_target: bool = True


_READERS = {
    ".csv": _Reader("table_files", "open_csv"),
    ".tsv": _Reader("table_files", "open_csv"),
    ".parquet": _Reader("table_files", "open_parquet"),
    ".arrow": _Reader("table_files", "open_arrow"),
    ".feather": _Reader("table_files", "open_arrow"),
    ".npy": _Reader("table_files", "open_npy", needs_target=False),
    ".npz": _Reader("npy", "read_npz", table=False),
    "IDX": _Reader("idx", "read_idx_pair", table=False),
}


def load(
    source: str | os.PathLike[str],
    *,
    target: Target = None,
    schema: TableSchema | None = None,
    task: Literal["auto", "classification", "regression"] = "auto",
    folder: str | os.PathLike[str] | None = None,
) -> Dataset:
    """Load a data set, ready for training, or encoded like the one a network was trained on.

    Parameters
    ----------
    source : str or path
        ``digits``, ``fashion-mnist``, or a ``.csv``, ``.tsv``, ``.npz``, ``.npy``, ``.parquet``,
        ``.arrow``, ``.feather`` or IDX file (such as ``train-images-idx3-ubyte.gz``). A file called
        like a data set is ``./digits``.
    target : str, int or sequence of these, optional
        What is to be learned. CSV and Parquet: a column's name, or several with commas; a CSV file
        without a header: a name ``x0``, ``x1``, ... or an index. NPY: a column's index, negative
        from the end, or None for no target. NPZ: the name of an array, by default y. IDX: the file
        of the labels, by default the one beside it.
    schema : TableSchema, optional
        Encode by this schema, for prediction and evaluation; the target may then be absent.
    task : {"auto", "classification", "regression"}
        "auto" takes texts for classes, and integers of at most ``max(20, sqrt(N))`` different
        values; everything else is regression.
    folder : str or path, optional
        Where the files of ``fashion-mnist`` are, or in its subfolder ``fashion-mnist``.

    Returns
    -------
    Dataset

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
    Text columns become one input per category (one-hot); a category that a schema does not know
    becomes zeros. A column is numeric if at least half of its cells are numbers, and then all must
    be. Arrays of unsigned bytes with several axes per row are images: they are divided by 255.
    """
    if task not in _TASKS:
        raise InputError(f"There is no task {task!r}{suggest(task, _TASKS)}")
    if schema is not None and task not in ("auto", schema.task):
        raise InputError(f"The schema is for {schema.task}, but task={task!r} was given.")
    if isinstance(source, str) and source in BUILT_IN:
        return _load_built_in(source, target, schema, task, folder)
    if folder is not None:
        raise InputError(f"folder is for {', '.join(BUILT_IN)} only; give the path as the source.")
    path = Path(source)
    try:
        reader = _reader_of(path, source)
        opened = _function(reader.module, reader.function)
        if not reader.table:
            return dataset_of(_arrays(opened, path, target, schema), path.name, schema, task)
        file: TableFile = opened(path)
        if schema is not None:
            return _encode(file, path.name, target, schema)
        if target is None and reader.needs_target:
            raise missing_target(file.names, file.source)
        return _learn(file, path.name, target, task)
    except DataError:
        raise
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.") from error


def _arrays(
    opened: Callable[..., Arrays], path: Path, target: Target, schema: TableSchema | None
) -> Arrays:
    """Return a file's arrays; its targets may be absent where a schema is there already."""
    if schema is None or opened.__name__ != "read_npz":
        return opened(path, target)
    known = tuple(name.split("[")[0] for name in schema.targets[:1])
    return opened(path, target, optional=True, usual=(*known, "y"))


def _function(module: str, name: str) -> Callable[..., Any]:
    function: Callable[..., Any] = getattr(importlib.import_module(f"fastnet.data.{module}"), name)
    return function


def _load_built_in(
    name: str,
    target: Target,
    schema: TableSchema | None,
    task: Literal["auto", "classification", "regression"],
    folder: str | os.PathLike[str] | None,
) -> Dataset:
    if target not in (None, "label") or task == "regression":
        raise InputError(f"{name} is for classification of its target 'label'.")
    arrays: Arrays = _function(name.replace("-", "_"), "read")(folder)
    return dataset_of(arrays, name, schema, task)


def _reader_of(path: Path, source: object) -> _Reader:
    suffix = "IDX" if _IDX_NAME.search(path.name.lower()) else path.suffix.lower()
    if not path.exists():
        if suffix == "" and path.name == str(source):
            raise DataNotFoundError(
                f"There is no data set or file {str(source)!r}{suggest(source, BUILT_IN)}"
            )
        raise DataNotFoundError(f"There is no file {str(source)!r}{_near_file(path)}")
    if not path.is_file():
        raise DataError(f"{path} is not a file.")
    if suffix not in _READERS:
        raise DataError(f"{path}: expected one of {', '.join(_READERS)}, got {suffix!r}.")
    return _READERS[suffix]


def _near_file(path: Path) -> str:
    try:
        names = os.listdir(path.parent)
    except OSError:
        return f": there is no folder {str(path.parent)!r}."
    near = difflib.get_close_matches(path.name, names, n=1)
    return f"; did you mean {near[0]!r}?" if near else "."


def _learn(
    file: TableFile,
    name: str,
    target: Target,
    task: Literal["auto", "classification", "regression"],
) -> Dataset:
    """Return a table as a data set, with a schema made from it."""
    targets: tuple[str, ...] = ()
    if target is not None:
        targets = match_targets(target, file.names, file.named, file.source)
    if task == "classification" and len(targets) != 1:
        raise InputError(f"Classification needs one target column, got {len(targets)}.")
    features = tuple(column for column in file.names if column not in targets)
    if not features:
        raise DataError(f"{file.source} has no column beside the target.")
    table = _rows_of(file, training_kinds(features, targets, task))
    label_names = None
    for column in targets:
        asked = task if len(targets) == 1 else "regression"
        label_names = infer_labels(table.column(column), asked, file.source, column)
    columns = tuple(_column(table, column) for column in features)
    schema = TableSchema(columns, targets, label_names, file.named)
    return _dataset(table, name, schema, features, targets)


def _encode(file: TableFile, name: str, target: Target, schema: TableSchema) -> Dataset:
    """Return a table as a data set, encoded by a schema made before."""
    if target is None:
        targets = match_schema_targets(schema, file.names, file.named)
    else:
        targets = match_targets(target, file.names, file.named, file.source)
        if len(targets) != len(schema.targets):
            raise InputError(f"Expected {len(schema.targets)} target columns, got {len(targets)}.")
    features = match_features(schema, file.names, file.named, targets, file.source)
    table = _rows_of(file, kinds_of(schema, features, targets))
    return _dataset(table, name, schema, features, targets)


def _rows_of(file: TableFile, kinds: Mapping[str, Kind]) -> Table:
    table = file.read(kinds)
    if not table.rows:
        raise DataError(f"{file.source} has no rows.")
    return table


def _dataset(
    table: Table,
    name: str,
    schema: TableSchema,
    features: tuple[str, ...],
    targets: tuple[str, ...],
) -> Dataset:
    x = schema.encode_table(table, features)
    y = schema.encode_target_table(table, targets) if targets else None
    return Dataset(name, x, y, schema.task, schema.label_names, schema)


def _column(table: Table, name: str) -> Column:
    texts = table.texts.get(name)
    if texts is None:
        return Column(name)
    if len(texts.values) > MAX_CATEGORIES:
        raise DataError(
            f"{table.source}: column {name!r} has {len(texts.values):,} different texts, more than "
            f"{MAX_CATEGORIES:,}: remove it, or make numbers or fewer categories of it."
        )
    return Column(name, "categorical", tuple(sorted(texts.values)))
