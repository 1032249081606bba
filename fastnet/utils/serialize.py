"""Layers and losses as plain JSON values, and back: what a model file holds of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, TypeVar

from fastnet.errors import InputError, suggest

T = TypeVar("T")


def describe(kind: str, row: Any) -> dict[str, Any]:
    """Return the fields of a dataclass, and its name under `kind`."""
    return {kind: row.name, **{field.name: getattr(row, field.name) for field in fields(row)}}


def build(kind: str, table: Mapping[str, type[T]], values: Any) -> T:
    """Return what `describe` described; raise `InputError` for anything else.

    Parameters
    ----------
    kind : str
        What it is, in messages, and the key of its name.
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
        raise InputError(f"a {kind} {name!r} cannot be made from {options!r}: {error}") from None
