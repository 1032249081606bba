"""What is in a model, and what it makes of rows: by names that the index and the arrays use."""

from __future__ import annotations

import csv
import dataclasses
import io
from pathlib import Path
from typing import Any

import numpy as np
from click.testing import CliRunner
from numpy.typing import NDArray

import fastnet as fn
from fastnet.cli import group
from fastnet.preprocessing.base import Passthrough
from fastnet.preprocessing.scaler import Scaler
from fastnet.preprocessing.table import TablePreprocessor

Array = NDArray[Any]

NAMES_IN_0_1 = {"gelu_tanh": "gelu"}  # whose only form that was


def plain(value: Any) -> Any:
    """Return a value as JSON reads it back."""
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    return value


def fields(row: Any) -> dict[str, Any]:
    """Return the name of a layer or a loss, and its attributes."""
    named = {field.name: plain(getattr(row, field.name)) for field in dataclasses.fields(row)}
    if named.get("activation") in NAMES_IN_0_1:
        named["activation"] = NAMES_IN_0_1[named["activation"]]
    return {"name": row.name, **named}


def facts(net: fn.Network) -> dict[str, Any]:
    """Return what is in a model beside arrays."""
    found: dict[str, Any] = {
        "dtype": net.dtype.name,
        "seed": net.seed,
        "inputs": net.inputs,
        "outputs": net.outputs,
        "layers": [fields(layer) for layer in net.layers],
        "loss": None if net.loss is None else fields(net.loss),
        "label_names": plain(net.label_names),
        "temperature": net.temperature,
        "schema": schema_of(net),
        "preprocessor": None,
    }
    made = net.preprocessor
    if isinstance(made, TablePreprocessor) and made.scaling != "float32":
        target = made.target
        found["preprocessor"] = {
            "columns": [plain([c.name, c.kind, c.categories, c.indicator]) for c in made.columns],
            "numeric_embedding": made.numeric_embedding,
            "named": made.named,
            "feature_names": plain(made.feature_names),
            "target": None if target is None else plain([target.names, target.labels]),
        }
    return found


def schema_of(net: fn.Network) -> dict[str, Any] | None:
    """Return what version 0.1 stored of a table, or of arrays of a file, without a preprocessor."""
    made, target = net.preprocessor, net.preprocessor.target
    if isinstance(made, TablePreprocessor):
        if made.scaling != "float32":
            return None
        columns = [plain([c.name, c.kind, c.categories]) for c in made.columns]
        named, features = (
            made.named,
            [
                name
                for column in made.columns
                for name in [f"{column.name}={text}" for text in column.categories] or [column.name]
            ],
        )
    elif target is None:
        return None
    else:
        features = [f"x{index}" for index in range(made.inputs)]
        columns, named = [[name, "numeric", []] for name in features], False
    return {
        "columns": columns,
        "targets": [] if target is None else plain(target.names),
        "label_names": None if target is None else plain(target.labels),
        "named": named,
        "feature_names": features,
    }


def held(net: fn.Network) -> dict[str, Array]:
    """Return the arrays in a model, by the names that version 0.1 had for them."""
    found = {"parameters": np.array(net.parameters), "state": np.array(net.state)}
    made = net.preprocessor
    if isinstance(made, Scaler):
        found |= {"scaler.mean": made.mean, "scaler.scale": made.scale}
    elif isinstance(made, TablePreprocessor) and made.scaling == "float32":
        # A schema, and a scaler where the numbers were standardised.
        if (made.center != 0).any() or (made.factor != 1).any():
            found |= {"scaler.mean": made.center, "scaler.scale": made.factor}
    elif isinstance(made, TablePreprocessor):
        found |= {f"table.{name}": getattr(made, name) for name in ("center", "factor", "knots")}
        if made.target is not None:
            found |= {"target.center": made.target.center, "target.scale": made.target.scale}
    return found


def encoded(net: fn.Network, rows: Any) -> tuple[Any, dict[str, Array]]:
    """Return the rows as ``predict`` takes them, and what they become before the first layer.

    The second is empty where they are taken as they are.
    """
    made = net.preprocessor
    if isinstance(rows, Path) and isinstance(made, TablePreprocessor):
        rows = fn.tables.read_frame(rows, preprocessor=made)
    elif isinstance(rows, Path):
        rows = fn.data.load(rows, learning=False).x
        # As version 0.1 read files, before any scaling.
        rows = (rows.matrix() if hasattr(rows, "matrix") else rows).astype(np.float32)
    if isinstance(made, TablePreprocessor) and made.scaling != "float32":
        # Roots and sines may differ in their last bit from machine to machine; in float32, the
        # usual dtype, nothing is left of that.
        found = {"encoded": made.transform(rows, np.float32)}
        if net.dtype == np.float64:
            found["encoded64"] = made.transform(rows, np.float64)
        return rows, found
    if isinstance(made, Passthrough) and made.target is None:
        return rows, {}
    return rows, {"encoded": made.transform(rows, net.dtype)}


def labels(net: fn.Network, outputs: Array) -> list[str] | None:
    """Return the answers by name, where there are names."""
    names = net.label_names
    if names is None:
        return None
    best = outputs[:, 0] > 0.5 if outputs.shape[1] == 1 else outputs.argmax(axis=1)
    return [names[int(k)] for k in best]


def predict(path: Path, rows: Path, net: fn.Network) -> tuple[list[str], list[str] | None, Array]:
    """Return what ``fastnet predict`` makes: names of columns, labels if any, and numbers."""
    words = ["predict", str(path), str(rows), "--out", "-", "--backend", "numpy"]
    result = CliRunner().invoke(group, words, prog_name="fastnet")
    assert result.exit_code == 0, result.output
    names, *lines = csv.reader(io.StringIO(result.stdout))
    known = None
    if net.label_names is not None:
        known, lines = [line[0] for line in lines], [line[1:] for line in lines]
    return names, known, np.array(lines, net.dtype)
