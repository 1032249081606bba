"""Which columns of a file are inputs and which are targets, with and without a schema."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from fastnet.data.table import column_hint, is_index, listing
from fastnet.data.text import Kind
from fastnet.errors import DataError, InputError

if TYPE_CHECKING:
    from fastnet.preprocessing.schema import TableSchema

Target = str | int | Sequence[str | int] | None

_READ_AS: Mapping[str, Kind] = {"numeric": "numeric", "categorical": "text"}
_TARGET_AS: Mapping[str, Kind] = {
    "auto": "auto",
    "classification": "label",
    "regression": "numeric",
}


def match_targets(
    target: Target, names: tuple[str, ...], named: bool, source: str
) -> tuple[str, ...]:
    """Return the names of the target columns that the caller means.

    Parameters
    ----------
    target : str, int or sequence of these
        A column's name or, in a file without names, its index (negative from the end); several
        are separated by commas or given as a sequence.

    Raises
    ------
    DataError
        If there is no such column; names the near one.
    InputError
        If one is given twice, or `target` has a wrong type.
    """
    if isinstance(target, str):
        wanted: Sequence[object] = [target] if target in names else target.split(",")
    elif isinstance(target, Sequence):
        wanted = target
    else:
        wanted = [target]
    found = tuple(_match_target(item, names, named, source) for item in wanted)
    if not found or len(set(found)) != len(found):
        raise InputError(f"Expected target columns that are all different, got {target!r}.")
    return found


def _match_target(item: object, names: tuple[str, ...], named: bool, source: str) -> str:
    if not isinstance(item, (str, int)) or isinstance(item, bool):
        raise InputError(f"Expected the target as a column's name or index, got {item!r}.")
    name = str(item).strip()
    if name in names:
        return name
    if not named and is_index(name) and -len(names) <= int(name) < len(names):
        return names[int(name)]
    if not named:
        raise DataError(
            f"{source} has no column {name!r}: expected x0 to x{len(names) - 1}, or an index."
        )
    hint = column_hint(name, names)
    if any(is_index(known.replace(".", "")) for known in names):
        hint += " The first row looks like data: add a header row."
    raise DataError(f"{source} has no column {name!r}{hint}")


def missing_target(names: tuple[str, ...], source: str) -> InputError:
    """Return the error for a table that needs a target and got none."""
    return InputError(
        f"{source} needs a target: name the column to learn. Columns: {listing(names)}."
    )


def match_features(
    schema: TableSchema,
    names: tuple[str, ...],
    named: bool,
    targets: tuple[str, ...],
    source: str,
) -> tuple[str, ...]:
    """Return, for each column of the schema, the name it has in a file with columns `names`.

    By name where both have names, else by position among the columns that are no target.

    Raises
    ------
    DataError
        If a column is missing, or the number of columns is wrong.
    """
    wanted = tuple(column.name for column in schema.columns)
    there = set(names)
    if named and schema.named:
        for name in wanted:
            if name not in there:
                raise DataError(f"{source} has no column {name!r}{column_hint(name, names)}")
        return wanted
    given = tuple(name for name in names if name not in targets)
    if len(given) == len(wanted):
        return given
    # A table that still holds the target, where it was in training.
    whole = len(given) == len(wanted) + len(schema.targets)
    if whole and there.issuperset(wanted + schema.targets):
        return wanted
    raise DataError(f"{source}: expected {len(wanted)} columns, got {len(given)}.")


def kinds_of(
    schema: TableSchema, features: tuple[str, ...], targets: tuple[str, ...]
) -> dict[str, Kind]:
    """Return how to read the columns of a file for a schema."""
    pairs = zip(features, schema.columns, strict=True)
    kinds = {name: _READ_AS[column.kind] for name, column in pairs}
    return kinds | dict.fromkeys(targets, _TARGET_AS[schema.task or "regression"])


def training_kinds(names: tuple[str, ...], targets: tuple[str, ...], task: str) -> dict[str, Kind]:
    """Return how to read the columns of a file that there is no schema for yet."""
    kinds: dict[str, Kind] = dict.fromkeys(names, "auto")
    return kinds | dict.fromkeys(targets, _TARGET_AS[task])


def match_schema_targets(
    schema: TableSchema, names: tuple[str, ...], named: bool
) -> tuple[str, ...]:
    """Return the names of the schema's targets in a file, or () if it does not have them.

    Where columns are matched by position, they count only if nothing else is left over.
    """
    by_name = named and schema.named
    whole = len(names) == len(schema.columns) + len(schema.targets)
    return schema.targets if (by_name or whole) and set(schema.targets) <= set(names) else ()
