"""The file of an ensemble: the descriptions and tensors of its members in one safetensors file."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any, Final

from numpy.typing import NDArray

from fastnet.errors import FastNetError, ModelFileError
from fastnet.network import Network, from_model_file
from fastnet.serialization import model_file, safetensors_file
from fastnet.serialization.model_file import ModelFile
from fastnet.utils.files import write_atomically
from fastnet.utils.param_validation import check_float, check_list

_KIND: Final = safetensors_file.ENSEMBLE
_VERSION: Final = 1
MOST: Final = 1000


def write(
    path: str | PathLike[str],
    members: Sequence[ModelFile],
    weights: NDArray[Any],
    temperature: float | None,
) -> None:
    """Write members, replacing an existing file in one step.

    Raises
    ------
    ModelFileError
        There are too many of them, or the file cannot be written.
    """
    if len(members) > MOST:
        raise ModelFileError(f"a file holds at most {MOST:,} members, not {len(members):,}.")
    described = [model_file.describe(one) for one in members]
    tensors = {f"{k}.{n}": v for k, (_, found) in enumerate(described) for n, v in found.items()}
    description = {
        "version": _VERSION,
        "members": [description for description, _ in described],
        "weights": weights.tolist(),
        "temperature": temperature,
    }
    write_atomically(Path(path), safetensors_file.pack(_KIND, description, tensors))


def is_one(path: str | PathLike[str]) -> bool:
    """Return whether a file says that it holds an ensemble; False for what is no such file."""
    return _KIND in safetensors_file.kinds(Path(path))


def read(path: str | PathLike[str]) -> tuple[list[Network], list[float], float | None]:
    """Return members on NumPy, their weights, and the temperature.

    Raises
    ------
    ModelFileError
        The file is missing, damaged, or not one of an ensemble.
    """
    file = Path(path)
    description, found = safetensors_file.unpack(file, _KIND, "ensemble", "Ensemble.save")
    safetensors_file.require_version(file, description, _VERSION)
    parts: dict[str, dict[str, NDArray[Any]]] = {}
    for name, values in found.items():
        number, _, rest = name.partition(".")
        parts.setdefault(number, {})[rest] = values
    try:
        members = check_list("members", description["members"])
        if not 0 < len(members) <= MOST or not all(isinstance(one, dict) for one in members):
            raise ModelFileError(f"there must be from 1 to {MOST:,} members.")
        if parts.keys() != {str(k) for k in range(len(members))}:
            raise ModelFileError("the tensors are not those of the members.")
        weights = [
            check_float("a weight", one, least=0)
            for one in check_list("weights", description["weights"])
        ]
        temperature = description["temperature"]
        if temperature is not None:
            temperature = check_float("temperature", temperature, above=0)
    except KeyError as error:
        raise ModelFileError(f"{path}: the description is not valid: {error} is missing.") from None
    except (TypeError, ValueError, FastNetError) as error:
        raise ModelFileError(f"{path}: the description is not valid: {error}") from None
    contents = [model_file.restore(file, one, parts[str(k)]) for k, one in enumerate(members)]
    return [from_model_file(one, path) for one in contents], weights, temperature
