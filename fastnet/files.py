"""Model files: one safetensors file with weights, architecture, scaler and names; no pickle.

The tensors are the named parameters and running statistics and, with a scaler, ``scaler.mean`` and
``scaler.scale``. The metadata has two entries: ``fastnet``, a JSON text with everything else, and
``sha256``, over that text and the tensors, since the format itself has no checksum.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from fastnet import layers, losses
from fastnet.errors import FastNetError, ModelFileError
from fastnet.layers import Layer

if TYPE_CHECKING:
    from fastnet.network import Network

FORMAT_VERSION: Final = 1
_HEADER_LIMIT: Final = 2**20
_LAYER_LIMIT: Final = 1000

Tensors = Mapping[str, NDArray[Any]]


def save(network: Network, path: str | PathLike[str]) -> None:
    """Write `network` to `path`, replacing an existing file in one step."""
    from safetensors.numpy import save as to_bytes

    to_host = network.backend_object.to_host
    named = {**network.named_parameters(), **network.named_state()}
    tensors = {name: np.ascontiguousarray(to_host(values)) for name, values in named.items()}
    if network.scaler is not None:
        tensors["scaler.mean"] = network.scaler.mean
        tensors["scaler.scale"] = network.scaler.scale
    description = {
        "version": FORMAT_VERSION,
        "inputs": network.inputs,
        "layers": [layers.to_dict(layer) for layer in network.layers],
        "dtype": network.dtype.name,
        "seed": network.seed,
        "label_names": network.label_names,
        "loss": None if network.loss is None else losses.to_dict(network.loss),
        "schema": None if network.schema is None else network.schema.to_json(),
    }
    text = json.dumps(description)
    metadata = {"fastnet": text, "sha256": _checksum(text, tensors)}
    write_atomically(Path(path), to_bytes(tensors, metadata=metadata))


def load(path: str | PathLike[str], *, backend: str = "auto") -> Network:
    """Read a network that ``net.save`` wrote, onto any backend.

    Raises
    ------
    ModelFileError
        The file is missing, damaged, or not one of fastnet's.
    BackendUnavailableError
        The backend cannot run here.
    """
    from fastnet.data import Scaler, TableSchema
    from fastnet.network import Network

    file = Path(path)
    description, tensors = _read(file)
    try:
        chain = _layers(description["layers"])
        network = Network(
            chain,
            inputs=_whole(description["inputs"]),
            dtype=description["dtype"],
            seed=_whole(description["seed"]),
            backend="numpy",
        )
        labels, schema = description["label_names"], description["schema"]
        network.label_names = None if labels is None else tuple(str(name) for name in labels)
        loss = description["loss"]
        if loss is not None:
            network.loss = losses.from_dict(loss, network.plan.output_activation.name)
        network.schema = None if schema is None else TableSchema.from_json(schema)
    except (KeyError, TypeError, FastNetError) as error:
        raise ModelFileError(f"{file}: the description is not valid: {error}") from None
    expected = {**network.named_parameters(), **network.named_state()}
    scaler = {"scaler.mean", "scaler.scale"} & set(tensors)
    if set(tensors) - scaler != set(expected) or len(scaler) == 1:
        odd = sorted(set(tensors).symmetric_difference(expected))[:3]
        raise ModelFileError(f"{file}: the tensors do not fit the layers: {', '.join(odd)}.")
    for name, view in expected.items():
        _require_tensor(file, name, tensors[name], view.shape, view.dtype)
        view[...] = tensors[name]
    if scaler:
        for name in scaler:
            _require_tensor(file, name, tensors[name], (network.inputs,), np.dtype(np.float64))
        network.scaler = Scaler(tensors["scaler.mean"], tensors["scaler.scale"])
    return network.to(backend)


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that a reader, or a crash, meets the old content or the new, never a mix.

    Temporary file in the same folder, sync, rename, sync of the folder (Pillai et al., OSDI 2014).
    Where `path` is a link, the file it points to is replaced.
    """
    if path.exists() and not path.is_file():
        raise ModelFileError(f"{path} cannot be written: it is there and is not a file.")
    path = path.resolve()
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        try:
            with open(temporary, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise ModelFileError(f"{path} cannot be written: {error.strerror}.") from error
    if hasattr(os, "O_DIRECTORY"):
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _read(file: Path) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Return the description and the tensors of a model file, their checksum verified."""
    from safetensors import SafetensorError, safe_open

    foreign = f"{file} is not a fastnet model"
    try:
        if not file.is_file():
            what = "is not a file" if file.exists() else "does not exist"
            raise ModelFileError(f"{file} {what}; a model comes from net.save or fastnet train.")
        with open(file, "rb") as stream:
            # safetensors allows headers of 100 MB, which take seconds and a gigabyte to parse.
            header = int.from_bytes(stream.read(8), "little")
        if not 0 < header <= min(_HEADER_LIMIT, file.stat().st_size):
            raise ModelFileError(f"{foreign}: it does not begin like a safetensors file.")
        with safe_open(file, framework="numpy") as opened:
            metadata = opened.metadata() or {}
            if "fastnet" not in metadata:
                raise ModelFileError(f"{foreign}: it has no description of a network.")
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ModelFileError(f"{foreign}, or it is damaged: {error}.") from None
    except OSError as error:
        if isinstance(error, ModelFileError):
            raise
        raise ModelFileError(f"{file} cannot be read: {error.strerror or error}.") from error
    if metadata.get("sha256") != _checksum(metadata["fastnet"], tensors):
        raise ModelFileError(f"{file} is damaged: its checksum does not match its content.")
    try:
        description = json.loads(metadata["fastnet"])
        version = description["version"]
    except (ValueError, TypeError, KeyError, RecursionError):
        raise ModelFileError(f"{foreign}: its description cannot be read.") from None
    if version != FORMAT_VERSION:
        raise ModelFileError(
            f"{file} has the format version {version!r}; this fastnet reads {FORMAT_VERSION}."
        )
    return description, tensors


def _checksum(text: str, tensors: Tensors) -> str:
    """Return the SHA-256 over the description and every tensor's name, type, shape and bytes."""
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        values = np.ascontiguousarray(tensors[name])
        digest.update(f"\n{name} {values.dtype.str} {values.shape}\n".encode())
        digest.update(values.data)
    return digest.hexdigest()


def _layers(descriptions: Any) -> list[Layer]:
    if not isinstance(descriptions, list) or not 0 < len(descriptions) <= _LAYER_LIMIT:
        raise ModelFileError(f"there must be from 1 to {_LAYER_LIMIT} layers")
    return [layers.from_dict(values) for values in descriptions]


def _whole(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise ModelFileError(f"expected a whole number, got {value!r}")
    return value


def _require_tensor(
    file: Path, name: str, values: NDArray[Any], shape: tuple[int, ...], dtype: np.dtype[Any]
) -> None:
    if values.shape != shape or values.dtype != dtype:
        raise ModelFileError(
            f"{file}: the tensor {name} is {values.dtype}{list(values.shape)}, expected "
            f"{dtype}{list(shape)}."
        )
    if not np.isfinite(values).all():
        raise ModelFileError(f"{file}: the tensor {name} holds values that are not finite.")
