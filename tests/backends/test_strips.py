"""Layers with blocks on the CPU: products of strips are those with the whole matrix."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import fastnet as fn
from fastnet.backends import numpy_layer
from fastnet.nn import strips
from fastnet.nn.layers import Block, Dense, Layer, LayerNorm
from fastnet.nn.plan import Plan
from tests.closeness import assert_close

Array = NDArray[Any]
Table = Callable[..., Array]
TABLE = strips.table

BLOCKS: dict[str, tuple[Block, ...]] = {
    "one": (Block(20, 37),),
    "equal": (Block(17, 8),) * 9,
    "unequal": (Block(5, 3), Block(1, 1), Block(40, 33), Block(2, 20), Block(7, 1), Block(3, 39)),
    "rates": (Block(17, 8, rate=3.0), Block(1, 1, "ones", 6.0), Block(9, 40, rate=0.0)) * 2,
    "width 1": (Block(3, 1),) * 50,
    "dot products at the end": (Block(17, 11),) * 6,
    "dot products alone": (Block(117, 9), Block(160, 9)),
}


def layers_of(blocks: tuple[Block, ...], *, first: bool) -> tuple[list[Layer], int]:
    """Return a network whose first or third layer has the blocks, and its number of inputs."""
    inputs, units = sum(b.inputs for b in blocks), sum(b.outputs for b in blocks)
    blocked = Dense(units, "tanh", blocks=blocks, bias_initializer="normal", bias_rate=0.5)
    if first:
        return [blocked, LayerNorm(), Dense(9, "silu"), Dense(3)], inputs
    return [Dense(inputs, "relu"), blocked, Dense(3)], 5


class Trained:
    """All that a network with blocks computes, after a training."""

    def __init__(
        self, layers: list[Layer], inputs: int, backend: str, dtype: str, **fit: Any
    ) -> None:
        self.net = fn.Network(layers, inputs=inputs, backend=backend, dtype=dtype, seed=3)
        rng = np.random.default_rng(0)
        self.x = rng.standard_normal((50, inputs))
        self.y = rng.standard_normal((50, 3))
        self.fit(**fit)

    def fit(self, **fit: Any) -> None:
        self.net.fit(self.x, self.y, epochs=2, batch_size=21, **fit)

    def results(self) -> dict[str, Array]:
        net, x = self.net, self.x
        gradients = net.gradients(x, self.y)
        return {
            "parameters": np.array(net.parameters),
            "prediction": net.predict(x),
            "prediction of one row": net.predict_one(x[3]),
            "jacobian": net.jacobian_one(x[3]),
            "input gradients": net.input_gradients(x, 1),
            # Outside of the blocks it is 0 with either sign.
            **{f"gradient of {name}": values + 0.0 for name, values in gradients.items()},
        }

    def bits(self) -> dict[str, bytes]:
        return {name: values.tobytes() for name, values in self.results().items()}


def whole(plan: Plan, width: int, **options: Any) -> Array:
    """Return a table by which every layer is computed as the whole matrix."""
    return TABLE(plan, width, whole=True)


def short(plan: Plan, width: int, **options: Any) -> Array:
    """Return a table whose first strip of columns lacks a row of its block."""
    table = TABLE(plan, width)
    table[table[:, 0].min(initial=len(plan.ops)), 1] -= 1
    return table


@pytest.fixture
def three_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("numba", reason="Numba is not installed")
    monkeypatch.setattr("fastnet.backends.numba_engine.cores", lambda: 3)


OPTIMIZERS = {True: fn.Adam(0.01, weight_decay=0.1, l1=0.01), False: fn.Adam(0.01, clip_norm=0.01)}
"""Of networks whose blocks come first, and between other layers."""


@pytest.mark.usefixtures("three_cores")
@pytest.mark.parametrize("first", [True, False], ids=["first", "between"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("blocks", BLOCKS.values(), ids=BLOCKS)
def test_on_numba_the_bits_are_those_of_the_whole_matrix(
    blocks: tuple[Block, ...], dtype: str, first: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    arguments, optimizer = (*layers_of(blocks, first=first), "numba", dtype), OPTIMIZERS[first]
    made = [
        Trained(*arguments, threads=threads, optimizer=optimizer).bits() for threads in (1, 2, 3)
    ]
    monkeypatch.setattr(strips, "table", whole)
    expected = Trained(*arguments, threads=1, optimizer=optimizer).bits()
    for bits in made:
        assert bits == expected


@pytest.mark.usefixtures("three_cores")
@pytest.mark.parametrize("table", [TABLE, short], ids=["right", "short"])
def test_a_wrong_strip_is_noticed(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = *layers_of(BLOCKS["equal"], first=True), "numba", "float32"
    expected = Trained(*arguments).bits()
    monkeypatch.setattr(strips, "table", table)
    bits = Trained(*arguments).bits()
    assert all(bits[name] == expected[name] for name in bits) == (table is TABLE)
    assert (bits["prediction of one row"] == expected["prediction of one row"]) == (table is TABLE)


@pytest.mark.usefixtures("three_cores")
def test_a_run_goes_on_from_moments_of_the_whole_matrix(monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = *layers_of(BLOCKS["equal"], first=True), "numba", "float32"
    runs = []
    for table in (TABLE, whole):
        monkeypatch.setattr(strips, "table", table)
        runs.append(Trained(*arguments))
    moments = [np.asarray(run.net.optimizer_state.moments) for run in runs]
    outside = strips.outside(runs[0].net.plan)
    assert not (moments[0][:, outside] == moments[1][:, outside]).all()
    assert (moments[0][:, ~outside] == moments[1][:, ~outside]).all()
    expected = Trained(*arguments)
    expected.fit()
    for run in runs:
        # A copy begins with an engine of its own, and with strips.
        monkeypatch.setattr(strips, "table", TABLE)
        run.net = run.net.to("numba")
        run.fit()
        assert run.net.parameters.tobytes() == expected.net.parameters.tobytes()


@pytest.mark.usefixtures("three_cores")
def test_only_strips_are_updated() -> None:
    """A layer of many blocks is not computed as the whole matrix after all."""
    layers, inputs = layers_of((Block(17, 8),) * 30, first=True)
    run = Trained(layers, inputs, "numba", "float32")
    moments = np.asarray(run.net.optimizer_state.moments)[:, : inputs * 240]
    assert 1 / 30 <= np.count_nonzero(moments[0]) / moments[0].size < 1 / 3


@pytest.mark.parametrize("width", [1, 8])
@pytest.mark.parametrize("first", [True, False], ids=["first", "between"])
@pytest.mark.parametrize("blocks", BLOCKS.values(), ids=BLOCKS)
def test_on_numpy_they_are_those_of_the_whole_matrix_but_for_rounding(
    blocks: tuple[Block, ...], first: bool, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = *layers_of(blocks, first=first), "numpy", "float64"
    optimizer = fn.SGD(0.01, momentum=0.9)
    monkeypatch.setattr(numpy_layer, "STRIP", 10**9)
    expected = Trained(*arguments, optimizer=optimizer).results()
    monkeypatch.setattr(numpy_layer, "STRIP", width)
    got = Trained(*arguments, optimizer=optimizer).results()
    for name, values in expected.items():
        assert_close(got[name], values, terms=5000, what=name)


def test_an_infinite_number_goes_through_its_own_block(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("numba", reason="Numba is not installed")
    net = fn.Network([Dense(128, blocks=(Block(3, 64), Block(2, 64)))], inputs=5, backend="numba")
    row = np.array([[np.finfo(np.float32).max, 1, 1, 1, 1]], np.float32)
    net.weights[0][0, :64] = 4.0
    got = net.predict(row)[0]
    assert np.isinf(got[:64]).all()
    assert np.isfinite(got[64:]).all()
