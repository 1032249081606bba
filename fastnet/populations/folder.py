"""The folder of a population in training: the members that are done, each with its results.

A member is done once its file of results is there, which is written after the file of the network.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from functools import partial
from os import PathLike
from pathlib import Path
from types import CodeType, FunctionType, MethodType
from typing import Any, Final

import numpy as np

from fastnet.data.frame import as_frame, is_table
from fastnet.data.text import Texts
from fastnet.errors import CheckpointError, ModelFileError
from fastnet.network import Network, load
from fastnet.training.checkpoints.folder import Folder
from fastnet.utils.files import write_atomically
from fastnet.utils.param_validation import check_folder

_VERSION: Final = 1
_BASIS: Final = "population.json"


class PopulationFolder:
    """Members that are done, by number.

    Parameters
    ----------
    path : str or path
        Created if missing.
    resume : bool
        Whether to take over the members that are done.

    Raises
    ------
    InputError
        The path is none.
    """

    def __init__(self, path: str | PathLike[str], resume: bool) -> None:
        self.path, self._resume = check_folder("checkpoint", path), resume

    @contextmanager
    def opened(self, basis: Mapping[str, Any]) -> Iterator[None]:
        """Lock the folder; `basis` has what decides the results, as JSON values.

        Raises
        ------
        CheckpointError
            It has another population, one that is not to be resumed, or cannot be written to.
        """
        with Folder(self.path).opened():
            here = {"version": _VERSION, **basis}
            if (file := self.path / _BASIS).exists():
                self._compare(here, _read(file))
            elif any(self.path.glob("member-*.json")):
                raise CheckpointError(
                    f"{self.path} has members, but no {_BASIS}, which says of what population they "
                    "are: give another folder."
                )
            write_atomically(file, json.dumps(here).encode())
            yield

    def _compare(self, here: dict[str, Any], there: Any) -> None:
        if not self._resume:
            raise CheckpointError(
                f"{self.path} has the members of a population: give resume=True (or --resume) to "
                "go on with it, or another folder."
            )
        if not isinstance(there, dict):
            raise CheckpointError(f"{self.path / _BASIS} is damaged.")
        for name, value in here.items():
            if there.get(name) != value:
                raise CheckpointError(
                    f"{self.path} has another population: its {name} differ. Give the same "
                    "arguments as before, or another folder."
                )

    def done(self) -> list[int]:
        """Return the numbers of the members that are to be taken over."""
        found = self.path.glob("member-*.json") if self._resume else ()
        numbers = (file.stem.removeprefix("member-") for file in found)
        return sorted(int(number) for number in numbers if number.isdecimal())

    def read(self, number: int) -> tuple[Network, dict[str, Any]]:
        """Return a member that is done, on NumPy, and its results."""
        model, results = self._files(number)
        row = _read(results)
        if not isinstance(row, dict) or "seconds" not in row:  # what each row of results has
            raise CheckpointError(f"{results} is damaged: remove it to train the member again.")
        try:
            network = load(model, backend="numpy")
        except ModelFileError as error:
            raise CheckpointError(f"{error} Remove it and {results} to train it again.") from None
        return network, row

    def write(self, number: int, network: Network, row: dict[str, Any]) -> None:
        """Write a member that is done."""
        model, results = self._files(number)
        network.save(model, optimizer=True)
        write_atomically(results, json.dumps(row).encode())

    def _files(self, number: int) -> tuple[Path, Path]:
        name = f"member-{number:06d}"
        return self.path / f"{name}.safetensors", self.path / f"{name}.json"


def _read(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None


def fingerprint(value: Any) -> str:
    """Return a checksum of the content of arrays, frames, settings, layers and what holds them."""
    checksum = hashlib.sha256()
    for part in _parts(value):
        checksum.update(len(part).to_bytes(8, "little") + part)
    return checksum.hexdigest()


def _parts(value: Any) -> Iterator[bytes]:
    if isinstance(value, np.ndarray) and value.dtype != object:
        yield f"{value.dtype.str} {value.shape}".encode()
        yield np.ascontiguousarray(value).reshape(-1).view(np.uint8).tobytes()
    elif isinstance(value, Texts):
        yield from _parts([value.codes, list(value.values)])
    elif not isinstance(value, Mapping | list | tuple) and is_table(value):
        yield from _parts(dict(as_frame(value).columns))
    elif isinstance(value, Mapping):
        yield f"{len(value)} entries".encode()
        for name, part in value.items():
            yield str(name).encode()
            yield from _parts(part)
    elif isinstance(value, list | tuple | np.ndarray):
        yield f"{len(value)} parts".encode()
        for part in value:
            yield from _parts(part)
    elif isinstance(value, set | frozenset):
        yield from _parts(sorted(map(repr, value)))
    elif isinstance(value, type):
        yield f"{value.__module__}.{value.__qualname__}".encode()
    elif is_dataclass(value):
        yield type(value).__name__.encode()
        for field in fields(value):
            yield from _parts(getattr(value, field.name))
    elif isinstance(value, FunctionType):
        yield from _function(value)
    elif isinstance(value, CodeType):
        yield from _parts([value.co_name, value.co_code, value.co_consts, value.co_names])
    elif isinstance(value, partial):
        yield from _parts([value.func, value.args, value.keywords])
    elif isinstance(value, MethodType):
        yield from _parts([value.__func__, value.__self__])
    elif has_address(value):
        yield from _parts([type(value), getattr(value, "__dict__", {})])
    else:
        yield repr(value).encode()


def has_address(value: Any) -> bool:
    """Return whether the text of a value has its address, which is another one each time."""
    written = any("__repr__" in vars(kind) for kind in type(value).__mro__[:-1])
    return isinstance(value, FunctionType | MethodType | partial) or not written


def _function(value: FunctionType) -> Iterator[bytes]:
    """Yield name, code, defaults and closure: of functions with one name, each is another."""
    yield f"{value.__module__}.{value.__qualname__}".encode()
    yield from _parts([value.__code__, value.__defaults__, value.__kwdefaults__])
    for cell in value.__closure__ or ():
        try:
            held = cell.cell_contents
        except ValueError:  # empty as yet
            held = None
        # A function that calls itself holds itself.
        yield from _parts(held.__qualname__ if isinstance(held, FunctionType) else held)
