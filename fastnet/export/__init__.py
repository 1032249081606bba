"""Export: a trained network in a form that runs without fastnet; and import of foreign ones.

A format is a row of the table: the module of its writer. That has two functions:
``content(network, name)`` returns the bytes of the file, `name` being what the file is called
without its ending, and ``usage(network, path)`` returns a text on how to use it.

A network that was trained on a table is exported with what it does to the table's columns: C and
ONNX take one number for each column (NaN where it is missing, a category's index, -1 where it is
not known), NumPy the table itself, ``predict(encode(table))``, and all answer in the unit of the
targets. A PyTorch module takes what ``net.preprocessor.transform(table)`` returns.
"""

from __future__ import annotations

import importlib
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from fastnet.errors import InputError, suggest
from fastnet.export.from_sklearn import from_sklearn
from fastnet.export.torch.importer import from_torch
from fastnet.utils.files import write_atomically

if TYPE_CHECKING:
    from fastnet.network import Network

__all__ = ["FORMATS", "export", "from_sklearn", "from_torch", "to_torch", "usage"]


class Format(NamedTuple):
    """A row of the table of formats."""

    module: str
    suffix: str
    summary: str


FORMATS: Final = {
    "c": Format("c.source", ".c", "one C99 file that needs the standard library only"),
    "numpy": Format("python.source", ".py", "one Python file that needs NumPy"),
    "onnx": Format("onnx.model", ".onnx", "a graph for ONNX Runtime and others"),
    "torch": Format(
        "torch.module", ".torch.safetensors", "the state_dict of a PyTorch nn.Sequential"
    ),
}


def export(network: Network, path: str | PathLike[str], *, to: str) -> None:
    """Write `network` to `path` in another format, replacing an existing file in one step.

    The scaler is part of what is written, and so is a table's preprocessor, but for "torch", which
    takes what ``net.preprocessor.transform(table)`` returns. Outputs agree with ``network.predict``
    but for rounding.

    Parameters
    ----------
    to : {"c", "numpy", "onnx", "torch"}

    Raises
    ------
    InputError
        There is no such format.
    FastNetError
        The format needs a package that is not installed.
    ModelFileError
        The file cannot be written.
    """
    content: bytes = _writer(to).content(network, Path(path).stem)
    write_atomically(Path(path), content)


def usage(network: Network, path: str | PathLike[str], *, to: str) -> str:
    """Return how the file that `export` wrote is used, in some lines."""
    text: str = _writer(to).usage(network, Path(path))
    return text


def to_torch(network: Network) -> Any:
    """Return `network` as a ``torch.nn.Sequential`` in evaluation mode. Needs PyTorch.

    That of a network for tables takes what ``net.preprocessor.transform(table)`` returns, and
    answers in the unit of the targets.

    Raises
    ------
    FastNetError
        PyTorch is not installed.
    """
    from fastnet.export.torch import module

    return module.to_torch(network)


def _writer(to: str) -> Any:
    if to not in FORMATS:
        raise InputError(f"unknown format {to!r}{suggest(to, FORMATS)}")
    return importlib.import_module(f"fastnet.export.{FORMATS[to].module}")
