"""Extreme numbers: no warning, no NaN, saturated outputs; a loss too large is a clear error."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import fastnet as fn
from fastnet.nn.activations import ACTIVATIONS
from tests import normal
from tests.on_backends import BACKENDS

pytestmark = pytest.mark.parametrize("backend", BACKENDS)

EXTREMES = np.array([0.0, -0.0, 1e-45, -1e-45, 1e-38, 1.0, -1.0, 88.8, -103.9, 1e4, 1e30, -1e30])


@pytest.fixture(autouse=True)
def every_warning_counts() -> Iterator[None]:
    with warnings.catch_warnings(), np.errstate(over="raise", invalid="raise", divide="raise"):
        warnings.simplefilter("error")
        yield


def one_unit(activation: str, backend: str, dtype: str) -> fn.Network:
    net = fn.Network([fn.Dense(1, activation)], inputs=1, backend=backend, dtype=dtype)
    net.weights[0][...] = 1
    return net


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("activation", [n for n in ACTIVATIONS if n not in ("exp", "softmax")])
def test_activations_of_inputs_up_to_1e30_are_numbers(
    activation: str, dtype: str, backend: str
) -> None:
    y = one_unit(activation, backend, dtype).predict(EXTREMES[:, None])
    assert np.isfinite(y).all()
    order = np.argsort(EXTREMES)
    if activation in ("sigmoid", "tanh", "relu", "softplus", "elu", "selu", "leaky_relu"):
        assert (np.diff(y[order, 0]) >= 0).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_sigmoid_tanh_and_softmax_saturate_exactly(dtype: str, backend: str) -> None:
    large = np.array([[-1e30], [1e30]])
    assert one_unit("sigmoid", backend, dtype).predict(large).ravel().tolist() == [0, 1]
    assert one_unit("tanh", backend, dtype).predict(large).ravel().tolist() == [-1, 1]
    net = fn.Network([fn.Dense(3, "softmax")], inputs=3, backend=backend, dtype=dtype)
    net.weights[0] = np.eye(3)
    y = net.predict([[1e30, 0, -1e30], [-1e30, -1e30, -1e30], [1e30, 1e30, 1e30]])
    assert y[0].tolist() == [1, 0, 0]
    assert np.allclose(y[1:], 1 / 3, rtol=1e-6, atol=0)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_gelu_keeps_its_digits_however_small_it_is(dtype: str, backend: str) -> None:
    lowest = -12 if dtype == "float32" else -37
    z = np.linspace(lowest, 9, 500).astype(dtype)
    y = one_unit("gelu", backend, dtype).predict(z[:, None])[:, 0]
    for got, at in zip(y.tolist(), z.tolist(), strict=True):
        want = normal.gelu(at)
        assert abs(normal.Decimal(got) - want) <= abs(want) * 8 * normal.Decimal(
            float(np.finfo(dtype).eps)
        )


@pytest.mark.parametrize(
    ("output", "loss", "y"),
    [
        ("softmax", "cross_entropy", [0, 1]),
        ("sigmoid", "binary_cross_entropy", [[0.0, 1.0], [1.0, 0.0]]),
        ("identity", "huber", [[0.0, 1.0], [1.0, 0.0]]),
        ("identity", "mae", [[0.0, 1.0], [1.0, 0.0]]),
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_losses_and_gradients_of_saturated_outputs_are_finite(
    output: str, loss: str, y: Any, dtype: str, backend: str
) -> None:
    net = fn.Network([2, 2], output_activation=output, backend=backend, dtype=dtype)
    x = np.array([[1e30, -1e30], [-1e30, 1e30]])
    assert np.isfinite(net.evaluate(x, y, loss=loss)["loss"])
    assert all(np.isfinite(g).all() for g in net.gradients(x, y, loss=loss).values())


def test_denormal_weights_train(backend: str) -> None:
    net = fn.Network([2, 4, 1], activation="tanh", backend=backend)
    net.parameters[...] = 1e-42
    history = net.fit(np.eye(2), [1.0, -1.0], epochs=3, optimizer=fn.SGD(0.1, momentum=0.9))
    assert np.isfinite(history["loss"]).all()
    assert np.isfinite(net.predict(np.eye(2))).all()


def test_a_loss_that_overflows_names_the_place_and_what_to_do(backend: str) -> None:
    net = fn.Network([2, 1], backend=backend)
    before = net.parameters.tobytes()
    with pytest.raises(fn.DivergenceError, match=r"epoch 1, step 1 of 1.*learning_rate"):
        net.fit(np.full((2, 2), 1e30), [1.0, 2.0], loss="mse")
    assert net.parameters.tobytes() == before
