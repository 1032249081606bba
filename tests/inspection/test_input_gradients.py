"""Gradients with respect to inputs: against central differences, and the same on every backend."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from numpy.typing import NDArray

import fastnet as fn
from fastnet.backends.base import Backend
from fastnet.inspection import input_gradients
from fastnet.nn.activations import ACTIVATIONS
from fastnet.nn.layers import Layer
from fastnet.preprocessing.scaler import Scaler
from tests.closeness import assert_close
from tests.exports import disturbed, drawn_networks

Array = NDArray[Any]
STEP = 1e-5


def on(backend: Backend, net: fn.Network) -> fn.Network:
    """Return the network on a backend, which need not be one that users can name."""
    return net._copy_to(backend, "float32")


def differences(net: fn.Network, x: Array) -> Array:
    """Return the Jacobian (N, O, I) by central differences, in float64."""
    columns = []
    scale = net.preprocessor.input_scale()
    for i in range(x.shape[1]):
        step = np.zeros_like(x)
        step[:, i] = STEP if scale is None else STEP * scale[i]
        columns.append((net.predict(x + step) - net.predict(x - step)) / (2 * step[:, i, None]))
    return np.stack(columns, axis=2)


def assert_agrees(actual: Array, expected: Array, tolerance: float) -> None:
    """Compare over the largest derivative of each row: the step costs all of it alike."""
    size = np.abs(expected).max(axis=(1, 2), keepdims=True)
    size = np.maximum(size, size.mean()) + 1e-12
    assert (np.abs(actual - expected) / size).max() <= tolerance


def network(output: str, hidden: str = "tanh") -> fn.Network:
    layers: list[Layer] = [
        fn.Dense(9, hidden), fn.BatchNorm(hidden), fn.Dropout(0.5), fn.Dense(7),
        fn.LayerNorm(hidden), fn.Dense(3, output),
    ]  # fmt: skip
    return disturbed(fn.Network(layers, inputs=4, dtype="float64", seed=1, backend="numpy"))


def rows(net: fn.Network, count: int, seed: int = 0) -> Array:
    x = np.random.default_rng(seed).normal(size=(count, net.inputs))
    made = net.preprocessor
    return x * made.scale + made.mean if isinstance(made, Scaler) else x


@pytest.mark.parametrize("output", ACTIVATIONS)
def test_the_jacobian_is_that_of_central_differences(backend: Backend, output: str) -> None:
    hidden = "tanh" if output in ("softmax", "exp", "identity") else output
    net = on(backend, network(output, hidden))
    x = rows(net, 5)
    actual = net.jacobian(x)
    assert actual.shape == (5, 3, 4)
    assert_agrees(actual, differences(net, x), 1e-6)


@given(net=drawn_networks())
def test_it_is_for_any_network(net: fn.Network) -> None:
    wide = fn.Network(net.layers, inputs=net.inputs, dtype="float64", backend="numpy")
    wide.parameters, wide.state, wide.preprocessor = net.parameters, net.state, net.preprocessor
    x = rows(wide, 3)
    actual = wide.jacobian(x)
    assert actual.shape == (3, net.outputs, net.inputs)
    assert_agrees(actual, differences(wide, x), 1e-5)  # no row is that near to a kink


@pytest.mark.parametrize("count", [0, 1, 63, 64, 65, 130])
def test_rows_of_every_number_are_blocks(backend: Backend, count: int) -> None:
    net = on(backend, network("softmax"))
    x = rows(net, count)
    whole = net.jacobian(x)
    assert whole.shape == (count, 3, 4)
    for n in range(0, count, 29):
        one = net.jacobian(x[n : n + 1])[0]
        assert_close(whole[n], one, terms=50, what=f"row {n}")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_backends_agree(backend: Backend, dtype: str) -> None:
    source = network("softmax", "gelu")
    net = fn.Network(source.layers, inputs=4, dtype=dtype, backend="numpy")
    net.parameters, net.state = source.parameters, source.state
    net.preprocessor = source.preprocessor
    x = rows(net, 70)
    expected, actual = net.jacobian(x), on(backend, net).jacobian(x)
    assert actual.dtype == dtype
    size = np.abs(expected).max()
    assert_close(actual, expected.astype(np.float64), terms=200, scale=float(size))


def test_a_linear_network_has_its_weights(backend: Backend) -> None:
    net = fn.Network([3, 2], dtype="float64", seed=4, backend="numpy")
    net.preprocessor = Scaler(np.ones(3), np.array([1.0, 2.0, 4.0]))
    expected = net.weights[0].T / net.preprocessor.scale
    actual = on(backend, net).jacobian(np.zeros((2, 3)))
    assert_close(actual[0], expected)
    assert_close(actual[1], expected)


def test_input_gradients_are_rows_of_the_jacobian(backend: Backend) -> None:
    net = on(backend, network("softmax"))
    x = rows(net, 6)
    whole, index = net.jacobian(x), np.arange(6)
    chosen = np.array([0, 1, 2, 2, 1, 0])
    assert (net.input_gradients(x, 1) == whole[:, 1]).all()
    best = net.predict(x).argmax(axis=1)
    # The softmax's derivative is taken for other outputs beside them: the same but for rounding.
    assert_close(net.input_gradients(x, chosen), whole[index, chosen], terms=20)
    assert_close(net.input_gradients(x), whole[index, best], terms=20)


def test_the_network_and_its_engine_are_left_alone(backend: Backend) -> None:
    net = on(backend, network("sigmoid"))
    x = rows(net, 5)
    before, y = np.array(net.backend_object.to_host(net.parameters)), net.predict(x)
    net.jacobian(x)
    assert (net.backend_object.to_host(net.parameters) == before).all()
    assert (net.predict(x) == y).all()


def test_large_outputs_do_not_disturb_the_delta(backend: Backend) -> None:
    for dtype in ("float32", "float64"):
        net = fn.Network([1, 1], dtype=dtype, backend="numpy")
        net.parameters = [1e6, 1e12]
        assert on(backend, net).jacobian([[7.0]]).ravel().tolist() == [1e6]


@pytest.mark.parametrize("output", [3, -1, 0.5, [0], [[0], [1]], "first", True])
def test_an_output_that_is_not_there_is_refused(output: Any) -> None:
    with pytest.raises(fn.InputError, match="output must be a whole number from 0 to 2"):
        network("softmax").input_gradients(np.zeros((2, 4)), output)


def test_a_wrong_delta_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    net = network("softmax")
    x = rows(net, 5)
    expected = differences(net, x)
    monkeypatch.setattr(input_gradients, "_FAR_BELOW", -3.0)  # then exp of it adds to the delta
    with pytest.raises(AssertionError):
        assert_agrees(net.jacobian(x), expected, 1e-6)
