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

Array = NDArray[Any]


def plain(value: Any) -> Any:
    """Return a value as JSON reads it back."""
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    return value


def fields(row: Any) -> dict[str, Any]:
    """Return the name of a layer or a loss, and its attributes."""
    named = {field.name: plain(getattr(row, field.name)) for field in dataclasses.fields(row)}
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
        "schema": None,
        "preprocessor": None,
    }
    if net.schema is not None:
        found["schema"] = {
            "columns": [plain([c.name, c.kind, c.categories]) for c in net.schema.columns],
            "targets": plain(net.schema.targets),
            "label_names": plain(net.schema.label_names),
            "named": net.schema.named,
            "feature_names": plain(net.schema.feature_names),
        }
    if net.preprocessor is not None:
        made, target = net.preprocessor, net.preprocessor.target
        found["preprocessor"] = {
            "columns": [plain([c.name, c.kind, c.categories, c.indicator]) for c in made.columns],
            "numeric_embedding": made.numeric_embedding,
            "named": made.named,
            "feature_names": plain(made.feature_names),
            "target": None if target is None else plain([target.names, target.labels]),
        }
    return found


def held(net: fn.Network) -> dict[str, Array]:
    """Return the arrays in a model, by name."""
    found = {"parameters": np.array(net.parameters), "state": np.array(net.state)}
    if net.scaler is not None:
        found |= {"scaler.mean": net.scaler.mean, "scaler.scale": net.scaler.scale}
    made = net.preprocessor
    if made is not None:
        found |= {f"table.{name}": getattr(made, name) for name in ("center", "factor", "knots")}
        if made.target is not None:
            found |= {"target.center": made.target.center, "target.scale": made.target.scale}
    return found


def encoded(net: fn.Network, rows: Any) -> tuple[Any, dict[str, Array]]:
    """Return the rows as ``predict`` takes them, and what they become before the first layer.

    The second is empty where they are taken as they are.
    """
    if isinstance(rows, Path) and net.preprocessor is not None:
        rows = fn.tables.read_frame(rows, preprocessor=net.preprocessor)
    elif isinstance(rows, Path):
        rows = fn.data.load(rows, schema=net.schema).x
    if net.preprocessor is not None:
        # Roots and sines may differ in their last bit from machine to machine; in float32, the
        # usual dtype, nothing is left of that.
        found = {"encoded": net.preprocessor.transform(rows, np.float32)}
        if net.dtype == np.float64:
            found["encoded64"] = net.preprocessor.transform(rows, np.float64)
        return rows, found
    if net.scaler is None:
        return rows, {} if net.schema is None else {"encoded": rows}
    return rows, {"encoded": net.scaler.transform(rows, net.dtype)}


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
