"""Conversion of objects to plain JSON values and back. Every value from a file is checked."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import fields
from typing import Any, TypeVar

from fastnet.errors import DataError, InputError, suggest

T = TypeVar("T")


def describe(kind: str, row: Any) -> dict[str, Any]:
    """Return a dict of the fields of a dataclass, with its name under the key `kind`."""
    return {kind: row.name, **{field.name: getattr(row, field.name) for field in fields(row)}}


def build(kind: str, table: Mapping[str, type[T]], values: Any) -> T:
    """Return the object that `describe` described; raise `InputError` for anything else.

    Parameters
    ----------
    kind : str
        The key of the name; messages call the object so.
    table : dict of str to class
        The classes by name.
    """
    if not isinstance(values, dict):
        raise InputError(f"a {kind} must be described by a dict, got {values!r}.")
    options = dict(values)
    name = options.pop(kind, None)
    if not isinstance(name, str) or name not in table:
        raise InputError(f"unknown {kind} {name!r}{suggest(name, table)}")
    try:
        return table[name](**options)
    except TypeError as error:
        raise InputError(f"a {kind} {name!r} cannot be made from {options!r}: {error}.") from None


def read_fields(
    data: Any, what: str, names: Collection[str], optional: Collection[str] = ()
) -> dict[str, Any]:
    """Return a JSON object that has exactly these names; raise `DataError` for anything else."""
    if not isinstance(data, dict) or not set(names) <= set(data) <= {*names, *optional}:
        wanted = ", ".join(sorted(names)) or "no key"
        more = f", and besides only {', '.join(sorted(optional))}" if optional else ""
        raise DataError(f"expected {what} to have exactly {wanted}{more}.")
    return data


def read_texts(data: Any, what: str) -> tuple[str, ...]:
    """Return a JSON list of strings as a tuple; raise `DataError` for anything else."""
    if not isinstance(data, list) or not all(isinstance(item, str) for item in data):
        raise DataError(f"expected {what} to be a list of texts.")
    return tuple(data)


def read_value(data: Any, what: str, kind: type[T]) -> T:
    """Return a JSON value of one type; raise `DataError` for anything else."""
    if type(data) is not kind:
        raise DataError(f"expected {what} to be {_KINDS[kind]}, got {data!r:.60}.")
    return data


_KINDS: dict[type, str] = {bool: "true or false", str: "a text", list: "a list", dict: "an object"}
