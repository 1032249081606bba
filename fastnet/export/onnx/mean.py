"""The nodes of an ONNX graph that make one answer of the outputs of its members, in double."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fastnet.export.combination import Mean
from fastnet.export.onnx.graph import Graph
from fastnet.populations.ensemble import LEAST


def add(g: Graph, mean: Mean, outputs: Sequence[str]) -> str:
    """Add the mean of outputs (rows, O); return the name of its result, of the graph's dtype."""
    # (K, rows, O)
    first = g.constant(np.zeros(1, np.int64), "mean.axis")
    z = g.op("Concat", *(g.op("Unsqueeze", one, first) for one in outputs), axis=0)
    z = g.cast(z, np.float64)
    if mean.units is not None:
        scale, center = (part[:, None, :] for part in mean.units)
        z = g.op("Mul", z, g.constant(scale, "mean.target_scale"))
        z = g.op("Add", z, g.constant(center, "mean.target_center"))
    if mean.floors is not None:
        return g.cast(_mixture(g, mean, z))
    y = _weighted(g, mean, z)
    return g.cast(y if mean.temperature is None else _at_temperature(g, mean, y))


def _weighted(g: Graph, mean: Mean, z: str) -> str:
    """Add the weighted mean of z (K, rows, n)."""
    weights = g.constant(mean.weights[:, None, None], "mean.weights")
    first = g.constant(np.zeros(1, np.int64), "mean.axis")
    return g.op("ReduceSum", g.op("Mul", z, weights), first, keepdims=0)


def _mixture(g: Graph, mean: Mean, z: str) -> str:
    """Add the mean of a mixture of normal distributions, and the logarithm of its variance."""
    assert mean.floors is not None
    half = mean.floors.shape[1]
    means, log_variances = (
        g.op("Gather", z, g.constant(np.arange(half) + k * half, f"mean.half_{k}"), axis=2)
        for k in range(2)
    )
    floors = mean.floors.astype(np.float64)[:, None, :]
    own = g.op("Exp", g.op("Max", log_variances, g.constant(floors, "mean.floors")))
    center = _weighted(g, mean, means)
    apart = g.op("Sub", means, center)
    variance = _weighted(g, mean, g.op("Add", own, g.op("Mul", apart, apart)))
    return g.op("Concat", center, g.op("Log", variance), axis=1)


def _at_temperature(g: Graph, mean: Mean, p: str) -> str:
    """Add the probabilities at a temperature of mean probabilities p."""
    assert mean.temperature is not None
    least = _number(g, "least", LEAST)
    temperature = _number(g, "temperature", mean.temperature)
    logs = g.op("Log", g.op("Max", p, least))
    if mean.activation == "softmax":
        return g.op("Softmax", g.op("Div", logs, temperature), axis=1)
    one = _number(g, "one", 1.0)
    others = g.op("Log", g.op("Max", g.op("Sub", one, p), least))
    odds = g.op("Div", g.op("Sub", logs, others), temperature)
    e = g.op("Exp", g.op("Neg", g.op("Abs", odds)))
    above = g.op("Where", g.op("Less", odds, _number(g, "zero", 0.0)), e, one)
    return g.op("Div", above, g.op("Add", e, one))


def _number(g: Graph, name: str, value: float) -> str:
    return g.constant(np.array(value, np.float64), f"mean.{name}")
