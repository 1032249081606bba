"""Targets that an output activation cannot reach are pointed out, once for a training."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import fastnet as fn
from fastnet.data import Chunks
from fastnet.nn.activations import ACTIVATIONS
from fastnet.sklearn import FastNetRegressor
from fastnet.training.reach import REACH

X = np.linspace(-2, 2, 30)[:, None]


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_the_bounds_are_those_of_the_values(name: str) -> None:
    z = np.linspace(-30, 30, 120_001)
    if name == "softmax":
        z = np.stack([z, -z], axis=1)
    y, s, t = (np.empty_like(z) for _ in range(3))
    ACTIVATIONS[name].forward(y, z, s, t)
    low, high = REACH.get(name, (-math.inf, math.inf))
    assert low <= y.min() and y.max() <= high
    assert y.min() - low < 1e-4 if math.isfinite(low) else y.min() < -0.25
    assert high - y.max() < 1e-4 if math.isfinite(high) else y.max() > 25


def network(output: str, outputs: int = 1) -> fn.Network:
    return fn.Network([1, 3, outputs], output_activation=output, backend="numpy")  # type: ignore


CASES: dict[str, tuple[str, Any, Any, str]] = {
    "percent": ("sigmoid", "mse", 40 + 10 * X, "from 0 to 1, cannot reach: .* of 'sigmoid'"),
    "beyond one": ("tanh", "mae", 0.75 * X, "from -1 to 1, cannot .*standardize_targets=True"),
    "negative": ("relu", "huber", X, "of at least 0, cannot reach: .*'identity' instead of 'relu'"),
    "quantile": ("softplus", "quantile", X, "of at least 0, cannot"),
    "silu": ("silu", "mse", X / 4, "of at least -0.2785, cannot"),
}


@pytest.mark.parametrize(("output", "loss", "y", "says"), CASES.values(), ids=CASES)
def test_targets_out_of_reach_are_pointed_out(output: str, loss: Any, y: Any, says: str) -> None:
    net = network(output, 3 if loss == "quantile" else 1)
    with pytest.warns(fn.FastNetWarning, match=says) as found:
        net.fit(X, y, loss=loss, epochs=3)
    assert [warning.filename for warning in found] == [__file__]
    chunks = Chunks(np.hstack([X, y]), target=1, chunk_rows=8)
    with pytest.warns(fn.FastNetWarning, match=says) as found:
        net.fit(chunks, loss=loss, epochs=1)
    assert [warning.filename for warning in found] == [__file__]


def test_an_estimator_points_them_out_too() -> None:
    model = FastNetRegressor((3,), output_activation="softplus", epochs=2)
    with pytest.warns(fn.FastNetWarning, match="instead of 'softplus'"):
        model.fit(X, X[:, 0])


@pytest.mark.parametrize(
    ("output", "loss", "y"),
    [
        ("sigmoid", "mse", X > 0),  # the bounds themselves, as 0 and 1 mean no and yes
        ("tanh", "mse", np.float32(1 + 1e-7) * np.sign(X)),
        ("relu", "mae", np.abs(X)),
        ("leaky_relu", "mse", 100 * X),
        ("identity", "mse", 100 * X),
        ("exp", "poisson", np.abs(X)),
    ],
)
def test_targets_within_reach_are_no_matter(output: str, loss: Any, y: Any) -> None:
    network(output).fit(X, y, loss=loss, epochs=1)


def test_rows_of_weight_zero_do_not_count() -> None:
    y, weight = np.abs(X), np.ones(30)
    y[7], weight[7] = -5, 0
    network("relu").fit(X, y, sample_weight=weight, epochs=1)
    rows = Chunks(np.hstack([X, y, weight[:, None]]), target=1, weight=2, chunk_rows=11)
    network("relu").fit(rows, epochs=1)
