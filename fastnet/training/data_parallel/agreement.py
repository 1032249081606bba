"""What all ranks must be given alike, and what each of them says of it."""

from __future__ import annotations

import hashlib
import platform
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fastnet._version import version
from fastnet.data.chunks import Chunks
from fastnet.data.dataset import Dataset
from fastnet.data.frame import Frame
from fastnet.distributed.group import Group
from fastnet.nn import layers
from fastnet.preprocessing.base import Preprocessor
from fastnet.preprocessing.table import TablePreprocessor
from fastnet.training.callbacks import EarlyStopping
from fastnet.training.fit import FitOptions

Array = NDArray[Any]

_OF_THE_PROCESS: Final = ("threads", "kernel cache", "device", "memory")
"""What a backend says of itself that changes no result, and may differ."""

_LOOKED_AT: Final = 4
"""So many rows of a file are compared, from the first to the last: others may be another file."""


def settings(options: FitOptions, group: Group, x: Any, validation_data: Any) -> dict[str, Any]:
    """Return what all ranks must be given alike, as JSON values by name."""
    model, state = options.model, options.model.optimizer_state
    to_host = model.backend_object.to_host
    arrays = {"parameters": model.parameters, "running statistics": model.state}
    if state is not None:
        arrays["moments of the optimizer"] = state.moments
    stopping = [one for one in options.callbacks if isinstance(one, EarlyStopping)]
    facts = model.backend_object.describe().items()
    return {
        "version of fastnet": version,
        "version of NumPy": np.__version__,
        "machine": platform.machine(),
        "backend": model.backend,
        "transport": group.ranks.transport,
        **{name: value for name, value in facts if name not in _OF_THE_PROCESS},
        "layers": str([layers.to_dict(layer) for layer in model.layers]),
        "number of inputs": model.inputs,
        "dtype": model.dtype.name,
        "seed": model.seed,
        "precision": model.precision,
        "loss": repr(options.loss),
        "optimizer": repr(options.optimizer),
        "epochs": options.epochs,
        "batch_size": options.batch_size,
        "shuffle": options.shuffle,
        "metrics": [name for name, _ in options.metrics],
        "early_stopping": [one.settings() for one in stopping],
        "class_weight": _in_order(options.class_weight),
        "standardize": options.standardize,
        "standardize_targets": options.standardize_targets,
        "validation_split": options.validation_split,
        "checkpoint": options.checkpointer.active,
        "checkpoint_every": options.checkpointer.every,
        "resume": options.checkpointer.resumes,
        "label_names": None if model.label_names is None else list(model.label_names),
        **_of_rows("x", x, model.preprocessor),
        **_of_rows("validation_data", validation_data, model.preprocessor),
        **of_preprocessor(model.preprocessor),
        **{name: _digest(to_host(array)) for name, array in arrays.items()},
        "steps so far": 0 if state is None else state.step,
    }


def of_preprocessor(preprocessor: Preprocessor) -> dict[str, Any]:
    """Return what the ranks compare of a preprocessor."""
    described, tensors = preprocessor.description()
    arrays = {f"preprocessor, {name}": _digest(array) for name, array in tensors.items()}
    return {"preprocessor": repr(described), **arrays}


def _of_rows(name: str, rows: Any, preprocessor: Preprocessor) -> dict[str, Any]:
    """Return what the ranks compare of rows: the kind, and of a file or a data set what it says."""
    kind = f"kind of {name}"
    if isinstance(rows, Chunks):
        return {
            kind: "Chunks",
            f"rows of {name}": len(rows),
            f"columns of {name}": list(rows.names),
            f"targets of {name}": list(rows.targets),
            f"weight of {name}": rows.weight,
            f"labels of {name}": None if rows.labels is None else np.asarray(rows.labels).tolist(),
            f"content of {name}": _glimpse(rows) if rows.is_matrix else None,
        }
    if isinstance(rows, Dataset):
        columns = list(rows.x.columns) if isinstance(rows.x, Frame) else None
        by_name = isinstance(preprocessor, TablePreprocessor)
        return {
            kind: "Dataset",
            f"columns of {name}": None if by_name else columns,
            f"targets of {name}": list(rows.target_names),
            f"labels of {name}": None if rows.label_names is None else list(rows.label_names),
        }
    # Arrays of many kinds may be the rows of one rank each; to give none is another matter.
    return {kind: None if rows is None else "rows"}


def _glimpse(chunks: Chunks) -> str:
    """Return a digest of some rows of arrays; tables are compared by what was learned of them."""
    content = hashlib.sha256()
    for row in np.linspace(0, len(chunks) - 1, _LOOKED_AT).astype(int).tolist():
        for piece in chunks.pieces(row, row + 1):
            for values in (piece.x, piece.y, piece.weight):
                content.update(b"" if values is None else np.ascontiguousarray(values).tobytes())
    return content.hexdigest()[:16]


def _in_order(class_weight: Any) -> Any:
    """Return the text of class weights, the same however a dict was built."""
    if isinstance(class_weight, list | tuple):
        return [_in_order(one) for one in class_weight]
    if isinstance(class_weight, dict):
        return sorted((repr(name), repr(value)) for name, value in class_weight.items())
    return repr(class_weight)


def _digest(array: Array) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()[:16]
