"""Networks for the tests of export, and what an exported one is measured by."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

import fastnet as fn
from fastnet.export.columns import scaling_of
from fastnet.nn import losses
from fastnet.nn.activations import ACTIVATIONS
from fastnet.nn.layers import Layer
from fastnet.nn.losses import LOSSES
from fastnet.preprocessing.scaler import Scaler
from fastnet.tables import TablePreprocessor
from tests.networks import LOSS_OUTPUTS, exact
from tests.on_backends import on_host

PAIRS = [pair for pair in LOSS_OUTPUTS if pair[0] not in ("mae", "huber") or "identity" in pair]
"""Losses and outputs: what is exported for the absolute errors is that for the squared ones."""

LIMIT = {"float32": 1e-5, "float64": 1e-13}
"""Largest relative difference between an exported network and the network itself."""

HIDDEN = [row.name for row in ACTIVATIONS.values() if not row.output_only]
ODD_NAMES = ('quote"', "back\\slash", "new\nline", "\N{SNOWMAN}\N{GRINNING FACE}", "'''??/*/")


def relative_difference(actual: Any, expected: NDArray[Any]) -> float:
    """Return the largest difference over the largest magnitude of its row.

    A row in which everything happens to cancel is measured by what rows usually are.
    """
    got, want = np.asarray(actual), np.asarray(expected)
    assert got.shape == want.shape
    want = want.astype(got.dtype)  # scaled targets are predicted in float64
    assert np.isfinite(want).all()
    size = np.abs(want.astype(np.float64)).max(axis=1)
    size = np.maximum(size, size.mean())
    return float((np.abs(got.astype(np.float64) - want).max(axis=1) / size).max())


def assert_same_outputs(actual: Any, network: fn.Network, x: NDArray[Any]) -> None:
    """Fail unless these are the network's predictions for x but for rounding."""
    assert (
        relative_difference(actual, network.predict_columns(x).astype(network.dtype))
        <= LIMIT[network.dtype.name]
    )


def disturbed(network: fn.Network, seed: int = 0, *, scaled: bool = True) -> fn.Network:
    """Return the network with no parameter and no statistic at its initial value."""
    rng = np.random.default_rng(seed)
    asarray, dtype = network.backend_object.asarray, network.dtype
    values = on_host(network) + 0.1 * rng.standard_normal(network.plan.size)
    network.parameters[...] = asarray(values.astype(dtype))
    network.state[...] = asarray(rng.uniform(0.5, 2.0, len(network.state)).astype(dtype))
    if scaled:
        width = network.inputs
        standardise(network, 100 * rng.normal(size=width), rng.uniform(0.5, 2, size=width))
    return network


def standardise(network: fn.Network, mean: Any, scale: Any) -> None:
    """Give a network a mean and a scale of its inputs."""
    network.preprocessor = Scaler(np.asarray(mean, float), np.asarray(scale, float))


def for_table(table: Any, outputs: int = 2, **options: Any) -> fn.Network:
    """Return a network for a table that learned nothing; `options` are of the preprocessor."""
    preprocessor = TablePreprocessor.fit(table, **options)
    net = fn.Network([preprocessor.inputs, outputs], backend="numpy")
    net.preprocessor = preprocessor
    return disturbed(net, scaled=False)


def inputs_for(network: fn.Network, rows: int = 40, seed: int = 3) -> NDArray[np.float64]:
    """Return inputs of the order that the network was made for, exact in float32."""
    mean, scale = scaling_of(network) or (0.0, 1.0)
    return exact(np.random.default_rng(seed).normal(size=(rows, network.inputs)) * scale + mean)


@cache
def networks() -> dict[str, fn.Network]:
    """Return every activation before and after every kind of layer, every loss, odd widths.

    All tests share them, and leave them as they are. Of a loss only its output is exported, which
    has both dtypes among the activations: four losses in one and four in the other by turns.
    """
    made: dict[str, fn.Network] = {}
    for dtype in ("float32", "float64"):
        for name in HIDDEN:
            layers: list[Layer] = [
                fn.Dense(7, name),
                fn.Dropout(0.4),
                fn.BatchNorm(name),
                fn.Dense(6),
                fn.BatchNorm(),
                fn.Dense(5),
                fn.LayerNorm(name, epsilon=1e-3),
                fn.Dense(1),
                fn.Dropout(0.5),
                fn.BatchNorm(name),
                fn.Dense(3, name),
            ]
            net = fn.Network(layers, inputs=4, dtype=dtype, seed=1, backend="numpy")
            made[f"{name}_{dtype}"] = disturbed(net)
        for scaled in (False, True):
            # Connections around the inputs, after a layer that must not be folded into, around one
            # another, and with a normalisation behind that must not be folded into them.
            layers = [
                fn.Residual([fn.Dropout(0.2), fn.BatchNorm("gelu"), fn.Dense(4, "tanh")]),
                fn.Dense(6),
                fn.Dropout(0.1),
                fn.Residual([fn.BatchNorm("relu"), fn.Dense(6)]),
                fn.BatchNorm(),
                fn.Residual([fn.Residual([fn.Dense(6, "silu")]), fn.Dense(9), fn.Dense(6)]),
                fn.Residual([fn.Dropout(0.1)]),
                fn.Dense(3),
            ]
            net = fn.Network(layers, inputs=4, dtype=dtype, seed=1, backend="numpy")
            made[f"residual_{dtype}_{scaled}"] = disturbed(net, scaled=scaled)
    for index, (loss, output) in enumerate(PAIRS):
        dtype = ("float32", "float64")[index // 4 % 2]
        count = 3 * LOSSES[loss]().outputs_per_target
        first: list[Layer] = [fn.BatchNorm(), fn.LayerNorm("tanh"), fn.Dropout(0.1)]
        layers = [*first[: index % 4], fn.Dense(1 + index % 9, "relu"), fn.Dense(count, output)]
        # Of a few units a layer normalisation leaves next to nothing but their order.
        width = 1 + index % 5 if index % 4 < 2 else 5 + index % 3
        net = fn.Network(layers, inputs=width, dtype=dtype, seed=2, backend="numpy")
        net.loss = losses.get(loss, output)
        made[f"{loss}_{output}_{dtype}"] = disturbed(net, index, scaled=index % 2 == 0)
    return made


@st.composite
def drawn_networks(draw: st.DrawFn) -> fn.Network:
    """Draw a network of any layers and widths, its parameters disturbed."""
    width = st.integers(1, 20)
    hidden = st.sampled_from([name for name in HIDDEN if name != "exp"])
    inputs = draw(width)
    layers: list[Layer] = []
    if draw(st.booleans()):  # what it adds is what the preprocessing makes
        layers.append(fn.Residual([fn.Dropout(0.1), fn.Dense(inputs, draw(hidden))]))
    for _ in range(draw(st.integers(0, 3))):
        units = draw(width)
        layers.append(fn.Dense(units, draw(hidden)))
        if draw(st.booleans()):
            layers.append(fn.Dropout(0.5))
        if draw(st.booleans()):
            layers.append(fn.BatchNorm(draw(hidden)))
        if draw(st.booleans()):
            inside: list[Layer] = [fn.BatchNorm(draw(hidden)), fn.Dense(units, draw(hidden))]
            inside = [fn.Residual(inside), *inside] if draw(st.booleans()) else inside
            layers += [fn.Residual(inside), *([fn.BatchNorm()] if draw(st.booleans()) else [])]
        # Of a few units next to nothing is left but their order: rounding is magnified.
        if units > 4 and draw(st.booleans()):
            # Rounding in units that are nearly equal is magnified by 1 / sqrt(epsilon).
            layers.append(fn.LayerNorm(draw(hidden), epsilon=1e-2))
    row = ACTIVATIONS[draw(st.sampled_from(list(ACTIVATIONS)))]
    layers.append(fn.Dense(draw(st.integers(2 if row.output_only else 1, 20)), row.name))
    dtype = draw(st.sampled_from(["float32", "float64"]))
    net = fn.Network(layers, inputs=inputs, dtype=dtype, backend="numpy")
    return disturbed(net, draw(st.integers(0, 9)), scaled=draw(st.booleans()))
