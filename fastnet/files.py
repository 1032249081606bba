"""Model files: one safetensors file with weights, architecture, scaler and names; no pickle.

The tensors are the named parameters and running statistics and, with a scaler, ``scaler.mean`` and
``scaler.scale``; with a preprocessor of tables, its numbers as ``table.center`` and so on. The
metadata has one entry, ``fastnet``: a line with the SHA-256 over all the rest, since the format
itself has no checksum, and a JSON text with everything that is no tensor.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import stat
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from fastnet import checks, layers, losses
from fastnet.arguments import several, whole
from fastnet.errors import FastNetError, ModelFileError
from fastnet.layers import Layer
from fastnet.plan import Plan, make_plan

if TYPE_CHECKING:
    from fastnet.network import Network
    from fastnet.tables import TablePreprocessor

FORMAT_VERSION: Final = 1
_HEADER_LIMIT: Final = 2**20
_LAYER_LIMIT: Final = 1000
_TABLE: Final = "table."

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
    preprocessor = network.preprocessor
    if preprocessor is not None:
        from fastnet.tables import storing

        arrays = storing.arrays(preprocessor)
        tensors |= {_TABLE + name: np.ascontiguousarray(values) for name, values in arrays.items()}
    description = {
        "version": FORMAT_VERSION,
        "inputs": network.inputs,
        "layers": [layers.to_dict(layer) for layer in network.layers],
        "dtype": network.dtype.name,
        "seed": network.seed,
        "label_names": network.label_names and [str(name) for name in network.label_names],
        "loss": None if network.loss is None else losses.to_dict(network.loss),
        "schema": None if network.schema is None else network.schema.to_json(),
    }
    if preprocessor is not None:
        description["preprocessor"] = storing.to_json(preprocessor)
    text = json.dumps(description)
    metadata = {"fastnet": f"{_checksum(text, tensors)}\n{text}"}
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
    from fastnet.tables import storing

    file = Path(path)
    description, tensors = _read(file)
    try:
        plan = make_plan(whole("inputs", description["inputs"]), _layers(description["layers"]))
        table = {k: tensors.pop(k) for k in list(tensors) if k.startswith(_TABLE)}
        preprocessor = None
        if table or "preprocessor" in description:
            arrays = {name.removeprefix(_TABLE): values for name, values in table.items()}
            preprocessor = storing.restore(description["preprocessor"], arrays)
            _require_fit(preprocessor, plan)
        # Before a network is made: what it takes in memory is now known to be in the file.
        _require_tensors(plan, checks.dtype_of(description["dtype"]), tensors)
        network = Network(
            plan.layers,
            inputs=plan.inputs,
            dtype=description["dtype"],
            seed=description["seed"],
            backend="numpy",
        )
        network.preprocessor = preprocessor
        labels, loss, schema = (description[key] for key in ("label_names", "loss", "schema"))
        if labels is not None:
            network.label_names = tuple(str(name) for name in several("label_names", labels))
        if loss is not None:
            network.loss = losses.from_dict(loss, plan.output_activation.name)
        if schema is not None:
            network.schema = TableSchema.from_json(schema)
        if "scaler.mean" in tensors:
            network.scaler = Scaler(tensors["scaler.mean"], tensors["scaler.scale"])
    except (KeyError, TypeError, ValueError, FastNetError) as error:
        raise ModelFileError(f"{file}: the description is not valid: {error}") from None
    for name, view in {**network.named_parameters(), **network.named_state()}.items():
        view[...] = tensors[name]
    return network.to(backend)


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that a reader, or a crash, meets the old content or the new, never a mix.

    Temporary file in the same folder, sync, rename, sync of the folder (Pillai et al., OSDI 2014).
    Where `path` is a link, the file it points to is replaced.
    """
    try:
        path = path.resolve()
        mode = path.stat().st_mode if path.exists() else None
        if mode is not None and not stat.S_ISREG(mode):
            raise ModelFileError(f"{path} cannot be written: it is there and is not a file.")
        temporary = path.with_name(f".{secrets.token_hex(8)}.tmp")
        try:
            with open(temporary, "wb") as file:
                if mode is not None:
                    os.chmod(temporary, stat.S_IMODE(mode))
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        if hasattr(os, "O_DIRECTORY"):
            folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
    except ModelFileError:
        raise
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ModelFileError(f"{path} cannot be written: {reason}.") from error


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
    except (SafetensorError, TypeError, AttributeError) as error:
        # The latter two: a type of numbers that NumPy does not have.
        raise ModelFileError(f"{foreign}, or it is damaged: {error}.") from None
    except ModelFileError:
        raise
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ModelFileError(f"{file} cannot be read: {reason}.") from error
    digest, _, text = metadata["fastnet"].partition("\n")
    if digest != _checksum(text, tensors):
        raise ModelFileError(f"{file} is damaged: its checksum does not match its content.")
    try:
        description = json.loads(text)
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
        # As bytes: a type of numbers that comes from another package has no buffer of its own.
        digest.update(values.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def _layers(descriptions: Any) -> tuple[Layer, ...]:
    if not isinstance(descriptions, list) or not 0 < len(descriptions) <= _LAYER_LIMIT:
        raise ModelFileError(f"there must be from 1 to {_LAYER_LIMIT} layers.")
    return tuple(layers.from_dict(values) for values in descriptions)


def _require_fit(preprocessor: TablePreprocessor, plan: Plan) -> None:
    """Raise unless a network has the inputs and the outputs that its preprocessor makes."""
    if preprocessor.inputs != plan.inputs:
        raise ModelFileError(
            f"the table becomes {preprocessor.inputs} inputs, and the network has {plan.inputs}."
        )
    target = preprocessor.target
    if target is not None and target.labels is not None:
        fits = len(target.labels) == (2 if plan.outputs == 1 else plan.outputs)
    else:
        fits = target is None or plan.outputs % len(target.center) == 0
    if not fits:
        raise ModelFileError(f"the table's target does not fit {plan.outputs} outputs.")


def _require_tensors(plan: Plan, dtype: np.dtype[Any], tensors: Tensors) -> None:
    """Raise unless the file has just the tensors that the network needs, and they are sound."""
    wanted = {tensor.name: (tensor.shape, dtype) for tensor in (*plan.parameters, *plan.state)}
    if "scaler.mean" in tensors or "scaler.scale" in tensors:
        for name in ("scaler.mean", "scaler.scale"):
            wanted[name] = (plan.inputs,), np.dtype(np.float64)
    odd = sorted(set(tensors).symmetric_difference(wanted))
    if odd:
        raise ModelFileError(f"the tensors do not fit the layers: {', '.join(odd[:3])}.")
    for name, (shape, kind) in wanted.items():
        values = tensors[name]
        if values.shape != shape or values.dtype != kind:
            raise ModelFileError(
                f"the tensor {name} has the dtype {values.dtype} and the shape "
                f"{list(values.shape)}, expected {kind} and {list(shape)}."
            )
        if not np.isfinite(values).all():
            raise ModelFileError(f"the tensor {name} holds values that are not finite.")
        if name.endswith("running_var") and (values < 0).any():
            raise ModelFileError(f"the tensor {name} holds a negative variance.")
