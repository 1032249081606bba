"""Encodings: what the networks of a file do to its rows, each different one once.

Networks that do the same to a row share an encoding. A file of arrays takes x as it is, whatever
its networks standardise it by. A file of tables takes x of all encodings side by side: each has a
place in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastnet.data.text import matcher
from fastnet.errors import InputError
from fastnet.export.columns import InputColumn, InputTable, scaling_of, table_of
from fastnet.network import Network
from fastnet.preprocessing.scaling import Scaling

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Encoding:
    """What some networks do to a row.

    Attributes
    ----------
    suffix : str
        Of its names in the file; "" for the only one.
    at, inputs : int
        Its place in x: the index of the first number, and how many it takes.
    scaling : (mean, scale) or None
        What standardises an array, each (I,).
    table : InputTable or None
        What encodes the columns of a table.
    """

    suffix: str
    at: int
    inputs: int
    scaling: tuple[Array, Array] | None
    table: InputTable | None


@dataclass(frozen=True, eq=False)
class Columns:
    """The columns that the encodings of a file read, each once.

    Attributes
    ----------
    columns : tuple of InputColumn
        As the first encoding has it that makes inputs of it; with the categories of all.
    scalings : tuple of Scaling
        The formula of that encoding, for each column.
    """

    columns: tuple[InputColumn, ...]
    scalings: tuple[Scaling, ...]


class Sources(NamedTuple):
    """The columns of the tables that a file takes, as its user has them.

    Attributes
    ----------
    names : tuple of str
    named : bool
        Whether they go by name, or by position.
    identifier : str or None
        The column that says which row it is.
    """

    names: tuple[str, ...]
    named: bool
    identifier: str | None


def encodings_of(networks: Sequence[Network]) -> tuple[tuple[Encoding, ...], list[int]]:
    """Return the different encodings of networks, and the index of each network's own.

    Raises
    ------
    InputError
        There are no rows that all networks take.
    """
    found: dict[Any, Encoding] = {}
    chosen: list[int] = []
    for network in networks:
        scaling, table = scaling_of(network), table_of(network)
        key = _key((network.inputs, scaling, table))
        found.setdefault(key, Encoding("", 0, network.inputs, scaling, table))
        chosen.append(list(found).index(key))
    made = list(found.values())
    _require_common_rows(made)
    if len(made) > 1:
        places = np.cumsum([0, *(one.inputs if one.table else 0 for one in made)]).tolist()
        made = [replace(one, suffix=f"_{k}", at=places[k]) for k, one in enumerate(made)]
    return tuple(made), chosen


def _key(value: Any) -> Any:
    """Return what equal values have in common, arrays too, and what can be looked up."""
    if isinstance(value, np.ndarray):
        return value.shape, value.dtype.str, value.tobytes()
    if is_dataclass(value):
        return tuple(_key(getattr(value, field.name)) for field in fields(value))
    return tuple(map(_key, value)) if isinstance(value, tuple) else value


def _require_common_rows(encodings: Sequence[Encoding]) -> None:
    tables = [one.table for one in encodings if one.table is not None]
    odd = ""
    if tables and len(tables) < len(encodings):
        odd = "some take a table and others an array"
    elif tables and len({table.named for table in tables}) > 1:
        odd = "some take columns by their names and others by their places"
    elif tables and not tables[0].named and len({_sources(table) for table in tables}) > 1:
        odd = "they take tables of different numbers of columns"
    elif not tables and len({one.inputs for one in encodings}) > 1:
        odd = f"they take {' or '.join(str(one.inputs) for one in encodings)} inputs"
    if odd:
        raise InputError(
            f"the members of the ensemble take no common rows: {odd}. Export members that do."
        )


def _sources(table: InputTable) -> tuple[str, ...]:
    return tuple(dict.fromkeys(column.source for column in table.columns))


def sources_of(encodings: Sequence[Encoding]) -> Sources | None:
    """Return the columns of the tables that the encodings take; None if they take arrays."""
    tables = [one.table for one in encodings if one.table is not None]
    if not tables:
        return None
    names = dict.fromkeys(name for table in tables for name in _sources(table))
    return Sources(tuple(names), tables[0].named, tables[0].identifier)


def columns_of(encodings: Sequence[Encoding]) -> Columns | None:
    """Return the columns that the encodings of a file read together; None if they take arrays.

    Raises
    ------
    InputError
        One encoding has numbers, or times, in a column and another something else.
    """
    tables = [one.table for one in encodings if one.table is not None]
    if not tables:
        return None
    merged: dict[tuple[str, str, str], tuple[InputColumn, Scaling]] = {}
    for table in tables:
        for column in table.columns:
            key = column.name, column.source, column.part
            known, scaling = merged.get(key, (column, table.scaling))
            if known.kind == "empty":
                known, scaling = column, table.scaling
            merged[key] = _joined(known, column), scaling
    _require_one_kind([column for column, _ in merged.values()])
    return Columns(
        tuple(column for column, _ in merged.values()),
        tuple(scaling for _, scaling in merged.values()),
    )


def _joined(known: InputColumn, other: InputColumn) -> InputColumn:
    """Return a column as it is known, with the categories of another encoding too."""
    if other.kind == "empty":
        return known
    if known.kind != other.kind:
        raise _of_two_kinds(known.name, "numbers", "categories")
    categories = tuple(dict.fromkeys((*known.categories, *other.categories)))
    return replace(known, categories=categories, truths=known.truths and other.truths)


def _require_one_kind(columns: Sequence[InputColumn]) -> None:
    """Refuse a column whose times some read, and others something else."""
    parts = {column.source for column in columns if column.part}
    for column in columns:
        if column.kind != "empty" and not column.part and column.source in parts:
            others = "categories" if column.kind == "categorical" else "numbers"
            raise _of_two_kinds(column.source, "times", others)


def _of_two_kinds(name: str, one: str, other: str) -> InputError:
    return InputError(
        f"some members of the ensemble read {one} in the column {name!r} and others {other}, for "
        "which this format has one field: export to numpy."
    )


def places_in(columns: Columns, table: InputTable) -> list[int]:
    """Return the index in `columns` of each column of a table."""
    keys = {(one.name, one.source, one.part): k for k, one in enumerate(columns.columns)}
    return [keys[one.name, one.source, one.part] for one in table.columns]


def codes_in(column: InputColumn, categories: Sequence[str]) -> NDArray[np.int64] | None:
    """Return the index in a column of each of some categories, -1 for one that it does not know.

    None stands for the column's own categories.
    """
    if tuple(categories) == column.categories:
        return None
    return np.array([*map(matcher(column.categories), categories)], np.int64)
