"""The answer of each format: a network is exported, and predicts rows or the rows of a table."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

import fastnet as fn
from fastnet.export import from_torch
from fastnet.export.columns import InputTable, table_of
from fastnet.export.onnx.model import content as onnx_content
from fastnet.export.python.source import content as python_content
from fastnet.export.torch.module import modules_of
from tests.export import compiled

Answer = Callable[[fn.Network, Any, Path], NDArray[Any]]


def by_c(net: fn.Network, rows: Any, folder: Path) -> NDArray[Any]:
    """Return what the compiled file computes."""
    loaded = compiled.library(folder, net)
    x = rows if table_of(net) is None else compiled.encode(loaded, net, rows)
    return compiled.predict(loaded, net, x)


def by_numpy(net: fn.Network, rows: Any, folder: Path) -> NDArray[Any]:
    """Return what the Python file computes."""
    module = python_module(net)
    y: NDArray[Any] = module.predict(rows if table_of(net) is None else module.encode(rows))
    assert y.ndim == (1 if net.target_axes == 1 and net.outputs == 1 else 2)
    return y.reshape(len(y), net.outputs)


def by_onnx(net: fn.Network, rows: Any, folder: Path) -> NDArray[Any]:
    """Return what ONNX Runtime computes."""
    table = table_of(net)
    x = np.asarray(rows, net.dtype) if table is None else as_numbers(table, rows)
    return run_onnx(onnx_content(net, "net"), x)


def by_modules(net: fn.Network, rows: Any, folder: Path) -> NDArray[Any]:
    """Return what the modules of PyTorch compute, read back without PyTorch."""
    if table_of(net) is not None:
        assert net.preprocessor is not None
        rows = net.preprocessor.transform(rows, net.dtype)
    return from_torch(stand_in(net), backend="numpy").predict(rows)


ANSWERS: dict[str, Answer] = {
    "c": by_c,
    "numpy": by_numpy,
    "onnx": by_onnx,
    "modules": by_modules,
}


def python_module(net: fn.Network) -> SimpleNamespace:
    """Return the exported Python file as it is when it has been imported."""
    namespace: dict[str, Any] = {"__name__": "exported"}
    exec(python_content(net, "net").decode("ascii"), namespace)
    return SimpleNamespace(**namespace)


def run_onnx(model: bytes, x: NDArray[Any]) -> NDArray[Any]:
    """Return y of a graph."""
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    assert [value.name for value in session.get_inputs()] == ["x"]
    (y,) = session.run(["y"], {"x": x})
    return np.asarray(y)


def as_numbers(table: InputTable, rows: Mapping[str, Any]) -> NDArray[np.float64]:
    """Return x (N, C) as a graph takes it: numbers, indices of categories, and NaN."""
    count = len(next(iter(rows.values())))
    x = np.full((count, len(table.columns)), np.nan)
    for j, column in enumerate(table.columns):
        for i, cell in enumerate(compiled.cells_of(column, rows)):
            if column.kind == "categorical" and cell is not None:
                known = cell in column.categories
                x[i, j] = column.categories.index(cell) if known else -1
            elif column.kind == "numeric" and cell is not None:
                x[i, j] = cell
    return x


class Sequential(tuple[Any, ...]):
    """A stand-in for ``nn.Sequential``."""


class Residual(Sequential):
    """A stand-in for the class of that name in what `to_torch` writes."""

    adds_its_input = True


def module(kind: str, **attributes: Any) -> Any:
    """Return a stand-in for a PyTorch module of that class."""
    return type(kind, (SimpleNamespace,), {})(**attributes)


def stand_in(net: fn.Network) -> Sequential:
    """Return what `to_torch` makes of a network, of stand-ins."""
    calls = [(ast.parse(text, mode="eval").body, state) for text, state in modules_of(net)]
    return Sequential(_stand_in(call, state) for call, state in calls)


def _stand_in(call: ast.expr, state: dict[str, Any]) -> Any:
    assert isinstance(call, ast.Call)
    kind = ast.unparse(call.func).removeprefix("nn.")
    if kind == "Residual":
        inside = []
        for index, inner in enumerate(call.args):
            begin = f"{index}."
            own = {k.removeprefix(begin): v for k, v in state.items() if k.startswith(begin)}
            inside.append(_stand_in(inner, own))
        return Residual(inside)
    options = {k.arg: ast.unparse(k.value) for k in call.keywords}
    first = ast.literal_eval(call.args[0]) if call.args else None
    own: dict[str, Any] = {"negative_slope": first, "alpha": 1.0, "beta": 1.0, "p": first}
    own["approximate"] = "none"
    own |= {"num_features": first, "normalized_shape": (first,)}
    own |= {name: ast.literal_eval(k) for name, k in options.items() if name != "dtype"}
    return module(kind, **own, **state)
