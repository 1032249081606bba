"""Export: a trained network in a form that runs without fastnet.

A format is a row of the table: where its writer is. A writer takes the network and returns the
content of the file.
"""

from __future__ import annotations

import importlib
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from fastnet.container import write_atomically
from fastnet.errors import InputError, suggest

if TYPE_CHECKING:
    from fastnet.network import Network


class Format(NamedTuple):
    """A row of the table of formats."""

    module: str
    function: str
    suffix: str
    summary: str


FORMATS: Final = {
    "numpy": Format(
        "fastnet.export.numpy_source", "numpy_source", ".py", "one Python file that needs NumPy"
    ),
}


def export(network: Network, path: str | PathLike[str], *, to: str) -> None:
    """Write `network` to `path` in another format, replacing an existing file in one step.

    Parameters
    ----------
    to : {"numpy"}

    Raises
    ------
    InputError
        There is no such format.
    ModelFileError
        The file cannot be written.
    """
    if to not in FORMATS:
        raise InputError(f"unknown format {to!r}{suggest(to, FORMATS)}")
    row = FORMATS[to]
    content: bytes = getattr(importlib.import_module(row.module), row.function)(network)
    write_atomically(Path(path), content)
