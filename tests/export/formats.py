"""The answer of each format: a network is exported, and predicts rows or the rows of a table."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

import fastnet as fn
from fastnet.export import from_torch
from fastnet.export.combination import Member, Predictor, combination_of
from fastnet.export.encodings import Columns
from fastnet.export.onnx.model import content as onnx_content
from fastnet.export.python.source import content as python_content
from fastnet.export.torch.module import constructor, modules_of, state_dict
from tests.export import compiled, torch_on_numpy

Answer = Callable[[Predictor, Any, Path], NDArray[Any]]


def by_c(net: Predictor, rows: Any, folder: Path) -> NDArray[Any]:
    """Return what the compiled file computes."""
    loaded = compiled.library(folder, net)
    x = compiled.encode(loaded, net, rows) if combination_of(net).takes_tables else rows
    return compiled.predict(loaded, net, x)


def by_numpy(net: Predictor, rows: Any, folder: Path) -> NDArray[Any]:
    """Return what the Python file computes."""
    module, whole = python_module(net), combination_of(net)
    y: NDArray[Any] = module.predict(module.encode(rows) if whole.takes_tables else rows)
    assert y.ndim == (1 if whole.first.target_axes == 1 and net.outputs == 1 else 2)
    return y.reshape(len(y), net.outputs)


def by_onnx(net: Predictor, rows: Any, folder: Path) -> NDArray[Any]:
    """Return what ONNX Runtime computes."""
    whole = combination_of(net)
    columns = whole.columns
    x = np.asarray(rows, whole.dtype) if columns is None else as_numbers(columns, rows)
    return run_onnx(onnx_content(net, "net"), x)


def by_modules(net: Predictor, rows: Any, folder: Path) -> NDArray[Any]:
    """Return what the modules of PyTorch compute, read back without PyTorch."""
    whole = combination_of(net)
    if whole.takes_tables:
        parts = [whole.of(one)[0][1].network.preprocessor for one in whole.encodings]
        rows = np.hstack([part.transform(rows, whole.dtype) for part in parts])
    members = [partial(_by_member, member) for member in whole.members]
    if whole.mean is None:
        return members[0](rows)
    return torch_on_numpy.ensemble(constructor(net), state_dict(net), members)(rows)


def _by_member(member: Member, rows: Any) -> NDArray[Any]:
    modules = of_member(member)
    if type(modules[0]).__name__ == "Columns":
        rows, modules = rows[:, slice(*modules[0].places)], Sequential(modules[1:])
    return from_torch(modules, backend="numpy").predict_columns(rows)


ANSWERS: dict[str, Answer] = {
    "c": by_c,
    "numpy": by_numpy,
    "onnx": by_onnx,
    "modules": by_modules,
}


def python_module(net: Predictor) -> SimpleNamespace:
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


def as_numbers(table: Columns, rows: Mapping[str, Any]) -> NDArray[np.float64]:
    """Return x (N, C) as a graph takes it: numbers, indices of categories, and NaN."""
    count = len(next(iter(rows.values())))
    x = np.full((count, len(table.columns)), np.nan)
    for j, column in enumerate(table.columns):
        for i, cell in enumerate(compiled.cells_of(column, rows)):
            if column.kind == "categorical" and cell is not None:
                text = cell.strip()
                known = text in column.categories
                x[i, j] = column.categories.index(text) if known else -1
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
    return of_member(combination_of(net).members[0])


def of_member(member: Member) -> Sequential:
    """Return what `to_torch` makes of a network of a file, of stand-ins."""
    calls = [(ast.parse(text, mode="eval").body, state) for text, state in modules_of(member)]
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
    own["places"] = tuple(map(ast.literal_eval, call.args[:2]))
    own |= {"num_features": first, "normalized_shape": (first,)}
    own |= {name: ast.literal_eval(k) for name, k in options.items() if name != "dtype"}
    return module(kind, **own, **state)
