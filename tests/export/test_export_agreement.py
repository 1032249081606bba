"""Every format computes what the network computes, but for rounding."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings

import fastnet as fn
from fastnet.export import FORMATS, export
from fastnet.export.c.source import content as c_content
from fastnet.nn.activations import ACTIVATIONS
from fastnet.nn.layers import LAYERS
from tests.export.formats import ANSWERS, Answer
from tests.exports import (
    LIMIT,
    assert_same_outputs,
    disturbed,
    drawn_networks,
    inputs_for,
    networks,
    relative_difference,
    standardise,
)

NETWORKS = networks()
by_each_format = pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)


@by_each_format
@pytest.mark.parametrize("net", NETWORKS.values(), ids=NETWORKS)
def test_every_layer_activation_and_loss_is_exported(
    net: fn.Network, answer: Answer, tmp_path: Path
) -> None:
    x = inputs_for(net)
    assert_same_outputs(answer(net, x, tmp_path), net, x)


def test_the_networks_have_every_kind_of_layer() -> None:
    used = {type(layer) for net in NETWORKS.values() for layer in net.layers}
    # What `Members` are written as, tests/export/test_export_members.py compares.
    assert used == {*LAYERS.values()} - {fn.Members}


@by_each_format
@given(net=drawn_networks())
@settings(max_examples=12)
def test_any_network_is_exported(
    answer: Answer, tmp_path_factory: pytest.TempPathFactory, net: fn.Network
) -> None:
    x = inputs_for(net)
    assert_same_outputs(answer(net, x, tmp_path_factory.mktemp("any")), net, x)


@by_each_format
def test_a_wrong_weight_is_noticed(answer: Answer, tmp_path: Path) -> None:
    net = disturbed(fn.Network([3, 5, 2], backend="numpy"))
    x = inputs_for(net)
    y = answer(net, x, tmp_path)
    assert relative_difference(y, net.predict(x)) <= LIMIT["float32"]
    net.parameters[0] *= 1.001
    assert relative_difference(y, net.predict(x)) > LIMIT["float32"]


@by_each_format
def test_a_large_mean_costs_no_digits(answer: Answer, tmp_path: Path) -> None:
    net = fn.Network([2, 1], backend="numpy")
    standardise(net, [1e6, -1e6], [0.5, 2.0])
    x = np.array([[1000001.0, -999999.0]])
    assert_same_outputs(answer(net, x, tmp_path), net, x)


@by_each_format
@pytest.mark.parametrize(
    "name", ["softmax", "sigmoid", "softplus", "mish", "silu", "gelu", "gelu_tanh", "tanh", "elu"]
)
def test_a_saturated_activation_neither_overflows_nor_becomes_nan(
    answer: Answer, name: str, tmp_path: Path
) -> None:
    net = fn.Network([1, 3], output_activation=name, backend="numpy")
    net.parameters[...] = [1.0, 0.5, -1.0, 0.0, 0.0, 0.0]
    x = np.array([[-1e4], [-300.0], [-90.0], [0.0], [90.0], [300.0], [1e4]])
    assert_same_outputs(answer(net, x, tmp_path), net, x)


@pytest.mark.parametrize("answer", [ANSWERS[n] for n in ("c", "onnx")])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_what_is_not_finite_has_no_answer(
    answer: Answer, name: str, dtype: str, tmp_path: Path
) -> None:
    # These formats can refuse nothing; after the activation an infinite input might look plausible.
    net = fn.Network([2, 2], output_activation=name, dtype=dtype, backend="numpy", seed=2)
    rows = [[1.0, 2.0], [np.nan, 1.0], [np.inf, 1.0], [1.0, -np.inf], [0.5, 1.0]]
    y = answer(net, rows, tmp_path)
    assert np.isnan(y).all(axis=1).tolist() == [False, True, True, True, False]
    assert np.isfinite(y[[0, 4]]).all()
    for row in rows[1:4]:
        with pytest.raises(fn.InputError, match="finite"):
            net.predict([row])


@pytest.mark.parametrize("answer", [ANSWERS[n] for n in ("c", "onnx")])
def test_what_is_too_large_after_scaling_has_no_answer(answer: Answer, tmp_path: Path) -> None:
    net = fn.Network([1, 1], output_activation="sigmoid", backend="numpy")
    standardise(net, np.zeros(1), np.full(1, 1e-3))
    assert np.isnan(answer(net, [[1e37], [1.0]], tmp_path))[:, 0].tolist() == [True, False]
    with pytest.raises(fn.InputError, match="after scaling"):
        net.predict([[1e37]])


@by_each_format
@pytest.mark.parametrize("rows", [0, 1, 5])
def test_the_number_of_rows_is_free(answer: Answer, rows: int, tmp_path: Path) -> None:
    net = disturbed(fn.Network([3, 2], output_activation="softmax", backend="numpy"))
    assert answer(net, np.zeros((rows, 3)), tmp_path).shape == (rows, 2)


def test_weights_that_are_not_finite_are_refused() -> None:
    net = fn.Network([1, 1], backend="numpy")
    net.parameters[0] = np.nan
    with pytest.raises(fn.InputError, match="not finite"):
        c_content(net, "net")


def test_an_unknown_format_is_answered_with_the_nearest(tmp_path: Path) -> None:
    assert list(FORMATS) == ["c", "numpy", "onnx", "torch"]
    with pytest.raises(fn.InputError, match="did you mean 'numpy'"):
        export(fn.Network([2, 1], backend="numpy"), tmp_path / "net.py", to="numpi")
