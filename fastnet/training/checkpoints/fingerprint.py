"""The fingerprint of a run, and its environment.

The fingerprint covers everything that the caller chose and that decides the bits: a run resumes
only with the same fingerprint. The environment (backend, versions, threads) may change between a
crash and the resumption; then results are correct but may round differently.
"""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fastnet._version import version
from fastnet.backends.engine import Engine
from fastnet.model import Model
from fastnet.nn import layers
from fastnet.nn.batch import Batch
from fastnet.nn.optimizers import LBFGS, Optimizer
from fastnet.preprocessing.base import Preprocessor
from fastnet.preprocessing.table import TablePreprocessor
from fastnet.training.state import TrainingJob
from fastnet.utils.device_arrays import on_host

_CONTENT: Final = "content"
WEIGHTS: Final = "weights"
_NOT_IN_0_1: Final = (WEIGHTS, "checkpoint_every")
"""Parts that version 0.1 did not write: there is nothing to compare where they are missing."""

_BITS_ARE_THE_SAME_FOR_ANY: Final = {"numba": ("threads", "kernel cache")}
"""Facts about a backend that do not change the bits of its results."""


def of_run(
    job: TrainingJob,
    optimizer: Optimizer | LBFGS,
    batch_size: int,
    shuffle: bool,
    rows: dict[str, Any],
) -> dict[str, Any]:
    """Return the fingerprint of a run as JSON values; `rows` has that of its rows."""
    model = job.model
    # L-BFGS begins afresh after each checkpoint, so their distance decides the bits.
    solver = isinstance(optimizer, LBFGS)
    return {
        "layers": _plain([layers.to_dict(layer) for layer in model.layers]),
        "inputs": model.inputs,
        "dtype": model.dtype.name,
        "seed": model.seed,
        "loss": _plain(job.loss),
        "optimizer": _plain(optimizer),
        "batch_size": batch_size,
        "shuffle": shuffle,
        "metrics": [name for name, _ in job.metrics],
        "checkpoint_every": job.checkpointer.iterations if solver else None,
        WEIGHTS: "count rows",
        **rows,
    }


class Checksum:
    """Checksum of rows that arrive in chunks; independent of the chunk sizes."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._rows = 0
        self._shape: list[int] | None = None  # of a row; None before the first piece

    def add(self, values: NDArray[Any]) -> None:
        """Add rows (B, ...)."""
        content = np.ascontiguousarray(on_host("the rows", values))
        self._hash.update(content.reshape(-1).view(np.uint8).data)
        self._rows, self._shape = self._rows + len(values), list(values.shape[1:])

    def to_json(self) -> dict[str, Any] | None:
        """Return the checksum as JSON values; None without rows."""
        if self._shape is None:
            return None
        return {"rows": self._rows, "shape": self._shape, _CONTENT: self._hash.hexdigest()}


class RowsChecksum:
    """Checksums of inputs, targets and weights."""

    def __init__(self) -> None:
        self._parts = {"x": Checksum(), "y": Checksum(), "sample_weight": Checksum()}

    def add(self, rows: Batch) -> None:
        """Add rows."""
        target = rows.target if rows.labels is None else rows.labels
        for part, values in zip(self._parts.values(), (rows.x, target, rows.weight), strict=True):
            if values is not None:
                part.add(values)

    def to_json(self, prefix: str = "") -> dict[str, Any]:
        """Return all parts by name."""
        return {prefix + name: part.to_json() for name, part in self._parts.items()}


def of_rows(rows: Batch | None, prefix: str = "") -> dict[str, Any]:
    """Return the fingerprint of encoded rows in memory."""
    made = RowsChecksum()
    if rows is not None:
        made.add(rows)
    return made.to_json(prefix)


def of_arrays(arrays: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    """Return the fingerprint of arrays by name."""
    made = {name: Checksum() for name in arrays}
    for name, values in arrays.items():
        made[name].add(values)
    return {name: checksum.to_json() for name, checksum in made.items()}


def of_preprocessor(preprocessor: Preprocessor) -> dict[str, Any]:
    """Return the fingerprint of a table's preprocessor, on which metrics depend too.

    Scalers of arrays, and tables of version 0.1, already change the fingerprint of the rows.
    """
    table = isinstance(preprocessor, TablePreprocessor) and preprocessor.scaling != "float32"
    if not table:
        return {"preprocessor": None}
    content, arrays = preprocessor.description()
    # What a column of 0 and 1 may hold later does not change a run, and older ones do not say it.
    columns = [{k: v for k, v in c.items() if k != "truths"} for c in content["columns"]]
    return {"preprocessor": content | {"columns": columns} | of_arrays(arrays)}


def _plain(value: Any) -> Any:
    """Return layers, a loss, an optimizer or a schedule as JSON reads them back."""
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if not is_dataclass(value):
        return value
    parts = {field.name: getattr(value, field.name) for field in fields(value)}
    # Of a function there is its name, in a part of its own.
    named = {name: _plain(part) for name, part in parts.items() if not callable(part)}
    return {"name": getattr(value, "name", type(value).__name__), **named}


def environment(model: Model, engine: Engine, batch_size: int) -> dict[str, Any]:
    """Return the facts that may change the rounding, as strings."""
    facts = {
        "fastnet": version,
        "machine": platform.machine(),
        "backend": model.backend,
        **model.backend_object.describe(),
        "threads": str(engine.threads_for(batch_size)),
    }
    for name in _BITS_ARE_THE_SAME_FOR_ANY.get(model.backend, ()):
        facts.pop(name, None)
    return facts


def difference(here: dict[str, Any], there: dict[str, Any]) -> str | None:
    """Return the first difference between two fingerprints as part of a sentence, or None."""
    here = {k: v for k, v in here.items() if k in there or k not in _NOT_IN_0_1}
    for name, mine, other in _differences("", here, there):
        if name.endswith(f".{_CONTENT}"):
            return f"{name.removesuffix(f'.{_CONTENT}')} holds other values than there"
        return f"{name} is {_short(mine)} here and {_short(other)} there"
    return None


def changes(here: dict[str, Any], there: dict[str, Any]) -> list[str]:
    """Return the differences between two environments: ``"numpy 2.1 (was 2.0)"``."""
    return [
        f"{name} {_short(mine)} (was {_short(other)})"
        for name, mine, other in _differences("", here, there)
    ]


def _differences(name: str, mine: Any, other: Any) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(mine, dict) and isinstance(other, dict):
        for key in dict.fromkeys((*mine, *other)):
            path = f"{name}.{key}" if name else str(key)
            yield from _differences(path, mine.get(key), other.get(key))
    elif isinstance(mine, list) and isinstance(other, list) and len(mine) == len(other):
        for index, pair in enumerate(zip(mine, other, strict=True)):
            yield from _differences(f"{name}[{index}]", *pair)
    elif isinstance(mine, list) and isinstance(other, list):
        yield f"the number of {name}", len(mine), len(other)
    elif mine != other:
        yield name, mine, other


def _short(value: Any) -> str:
    if value is None:
        return "absent"
    if isinstance(value, dict | list):
        return f"something with {len(value)} parts"
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
