"""Data frames of whichever library is installed, from columns."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import Any

from fastnet.errors import InputError


def to_frame(columns: Mapping[str, Sequence[Any]], library: str | None, instead: str) -> Any:
    """Return columns of equal length as a data frame.

    Parameters
    ----------
    library : {"pandas", "polars"} or None
        None: pandas if that is installed, else polars.
    instead : str
        What to use without either, for the message.

    Raises
    ------
    InputError
        The library is not installed, or there is no such one.
    """
    names = ("pandas", "polars") if library is None else (library,)
    if not set(names) <= {"pandas", "polars"}:
        raise InputError(f"library must be 'pandas' or 'polars', got {library!r}.")
    for name in names:
        try:
            frames = importlib.import_module(name)
        except ImportError:
            continue
        return frames.DataFrame(dict(columns))
    raise InputError(
        f"a data frame needs {' or '.join(names)}: pip install {names[0]}, or use {instead}."
    )
