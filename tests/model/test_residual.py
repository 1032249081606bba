"""Residual connections through the front door: trained, derived, saved, resumed, described.

`tests/backends/test_engines.py` compares their arithmetic with the reference on every backend, and
`tests/export` what is exported.
"""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import fastnet as fn
from fastnet.nn import layers as layer_table
from fastnet.nn.layers import MOST_NESTED
from fastnet.serialization import safetensors_file
from tests.closeness import assert_close
from tests.exports import disturbed
from tests.inspection.test_input_gradients import assert_agrees, differences
from tests.on_backends import each_backend, everything, on_host, same

Array = NDArray[Any]

rng = np.random.default_rng(0)
X = rng.normal(size=(96, 4)).astype(np.float32)
Y = (np.sin(X[:, :1]) + X[:, 1:2] * X[:, 2:3]).astype(np.float32)

BLOCK = fn.Residual([fn.LayerNorm(), fn.Dense(24, "gelu"), fn.Dropout(0.1), fn.Dense(16)])
LAYERS = [
    fn.Residual([fn.Dense(4, "tanh")]),
    fn.Dense(16, "relu"),
    BLOCK,
    fn.Residual([fn.Residual([fn.BatchNorm("silu")]), fn.Dense(16)]),
    fn.Dense(1),
]


def network(backend: str = "numpy", dtype: str = "float32", layers: Any = LAYERS) -> fn.Network:
    return fn.Network(layers, inputs=4, backend=backend, dtype=dtype, seed=3)


# --- what it computes -----------------------------------------------------------------------------


@each_backend
def test_a_connection_whose_layers_are_zero_changes_nothing(backend: str) -> None:
    plain = network(backend, layers=[fn.Dense(16, "relu"), fn.Dense(1)])
    net = network(backend, layers=[fn.Dense(16, "relu"), BLOCK, fn.Dense(1)])
    named = net.named_parameters()
    for name, values in plain.named_parameters().items():
        named[name.replace("layers.1", "layers.2")][...] = values
    named["layers.1.layers.3.weight"][...] = 0
    assert on_host(net, net.predict(X)).tobytes() == on_host(plain, plain.predict(X)).tobytes()
    named["layers.1.layers.3.bias"][...] = 1  # and what they make is added
    assert not np.allclose(net.predict(X), plain.predict(X), rtol=0.01)


@each_backend
def test_it_is_the_input_plus_what_its_layers_make(backend: str) -> None:
    net = network(backend, layers=[fn.Residual([fn.Dense(4)]), fn.Dense(4)])
    for w, b in zip(net.weights, net.biases, strict=True):
        w[...], b[...] = 0, 0
    net.weights[1] = np.eye(4)
    net.weights[0] = np.diag([1.0, 2.0, 3.0, 4.0])
    net.biases[0] = [0.5, 0, 0, 0]
    expected = X * [2, 3, 4, 5] + [0.5, 0, 0, 0]
    assert_close(net.predict(X), expected, terms=4)
    assert_close(net.predict_one(X[3]), expected[3], terms=4)


@each_backend
def test_gradients_are_those_of_central_differences(backend: str) -> None:
    net = disturbed(network(backend, "float64"), scaled=False)
    x, y = X.astype(np.float64), Y.astype(np.float64)
    found = net.gradients(x, y, loss="mse")
    flat = np.concatenate([found[t.name].ravel() for t in net.plan.parameters])
    order = np.concatenate([np.arange(t.offset, t.offset + t.size) for t in net.plan.parameters])
    start = on_host(net)
    size = np.abs(flat).max()
    for k, place in enumerate(order):
        if k % 7:
            continue
        sides = []
        for step in (1e-6, -1e-6):
            moved = start.copy()
            moved[place] += step
            net.parameters = net.backend_object.asarray(moved)
            sides.append(net.evaluate(x, y, loss="mse")["loss"])
        assert abs((sides[0] - sides[1]) / 2e-6 - flat[k]) <= 1e-6 * size


@each_backend
def test_the_jacobian_is_that_of_central_differences(backend: str) -> None:
    net = disturbed(network(backend, "float64"))
    assert_agrees(net.jacobian(X), differences(net, X.astype(np.float64)), 1e-6)
    one = net.input_gradients(X)
    np.testing.assert_allclose(one, net.jacobian(X)[:, 0], rtol=1e-12, atol=0)


# --- training -------------------------------------------------------------------------------------


def fit(net: fn.Network, **options: Any) -> fn.Network:
    net.fit(X, Y, epochs=6, batch_size=16, optimizer=fn.AdamW(0.01), **options)
    return net


@each_backend
def test_training_lowers_the_loss(backend: str) -> None:
    net = network(backend)
    before = net.evaluate(X, Y, loss="mse")["loss"]
    fit(net)
    assert net.evaluate(X, Y)["loss"] < before / 2


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_threads_change_no_bit(dtype: str) -> None:
    pytest.importorskip("numba", reason="Numba is not installed")
    wide = [fn.Dense(64, "relu"), fn.Residual([fn.Dense(128, "gelu"), fn.Dense(64)]), fn.Dense(1)]
    one, two = (fit(network("numba", dtype, wide), threads=threads) for threads in (1, 2))
    assert same(everything(one), everything(two))


@each_backend
def test_a_loop_of_ones_own_trains_as_fit_does(backend: str) -> None:
    # Too large for kernels of tiny networks.
    net, own = (network(backend, layers=[fn.Dense(40, "relu"), *LAYERS[1:]]) for _ in range(2))
    net.fit(X, Y, epochs=1, batch_size=None, shuffle=False, optimizer=fn.SGD(0.1), loss="mse")
    output = own.forward(X)
    own.backward(2 * (on_host(own, output) - Y) / len(X))
    own.update(fn.SGD(0.1))
    np.testing.assert_allclose(on_host(own), on_host(net), rtol=1e-4, atol=1e-6)


def test_backends_train_alike() -> None:
    pytest.importorskip("numba", reason="Numba is not installed")
    on = {backend: fit(network(backend, "float64")) for backend in ("numpy", "numba")}
    np.testing.assert_allclose(on["numba"].parameters, on["numpy"].parameters, rtol=1e-6, atol=1e-9)


# --- files ----------------------------------------------------------------------------------------


@each_backend
def test_a_saved_network_is_the_same_again(backend: str, tmp_path: Path) -> None:
    net = fit(network(backend))
    net.save(tmp_path / "net.safetensors")
    again = fn.load(tmp_path / "net.safetensors", backend=backend)
    assert again.layers == net.layers
    assert again.predict(X).tobytes() == net.predict(X).tobytes()
    assert pickle.loads(pickle.dumps(net)).predict(X).tobytes() == net.predict(X).tobytes()


@each_backend
def test_a_run_goes_on_from_its_checkpoint_with_the_same_bits(backend: str, tmp_path: Path) -> None:
    def stop(run: fn.Run) -> None:
        if run.epoch == 3:
            raise KeyboardInterrupt

    whole = fit(network(backend), checkpoint=tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        fit(network(backend), checkpoint=tmp_path / "run", callbacks=[stop])
    again = fit(network(backend), checkpoint=tmp_path / "run", resume=True)
    assert same(everything(again), everything(whole))
    other = [*LAYERS[:2], fn.Residual([fn.Dense(16)]), *LAYERS[3:]]
    with pytest.raises(fn.InputError, match=r"layers\[2\]\.layers is 4 here|number of layers\[2\]"):
        fit(network(backend, layers=other), checkpoint=tmp_path / "run", resume=True)


def test_a_file_says_gelu_inside_of_a_connection_as_anywhere() -> None:
    described = [layer_table.to_dict(BLOCK)]
    stored = layer_table.to_stored(described)
    assert '"gelu_erf"' in json.dumps(stored)
    assert layer_table.from_stored(stored) == described


def deep(count: int) -> dict[str, Any]:
    """Return the description of residual connections inside of one another."""
    made: dict[str, Any] = {"layer": "dropout", "rate": 0.5}
    for _ in range(count):
        made = {"layer": "residual", "layers": [made]}
    return made


def test_a_description_that_is_too_deep_is_refused_in_a_sentence() -> None:
    assert layer_table.from_dict(deep(MOST_NESTED))
    for count in (MOST_NESTED + 1, 400):
        with pytest.raises(fn.InputError):
            layer_table.from_dict(layer_table.from_stored([deep(count)])[0])


def test_layers_inside_of_connections_count_towards_what_a_file_holds(tmp_path: Path) -> None:
    many = [fn.Residual([fn.Dropout(0.1)] * 60)] * 17
    net = network(layers=[*many, fn.Dense(1)])
    with pytest.raises(fn.ModelFileError, match="1,038 layers.*at most 1,000"):
        net.save(tmp_path / "net.safetensors")


HOSTILE: dict[str, Any] = {
    "too deep": [deep(MOST_NESTED + 1), {"layer": "dense", "units": 1}],
    "much too deep": [deep(400), {"layer": "dense", "units": 1}],
    "too many inside": [{"layer": "residual", "layers": [deep(1)] * 600}] * 2,
    "nothing inside": [{"layer": "residual", "layers": []}, {"layer": "dense", "units": 1}],
    "no list inside": [{"layer": "residual", "layers": 3}, {"layer": "dense", "units": 1}],
    "no layers inside": [{"layer": "residual", "layers": [3]}, {"layer": "dense", "units": 1}],
    "other widths": [
        {"layer": "residual", "layers": [{"layer": "dense", "units": 5}]},
        {"layer": "dense", "units": 1},
    ],
}


@pytest.mark.parametrize("described", HOSTILE.values(), ids=HOSTILE)
def test_a_file_with_connections_that_cannot_be_is_refused_in_a_sentence(
    described: Any, tmp_path: Path
) -> None:
    path = tmp_path / "net.safetensors"
    network(layers=[fn.Residual([fn.Dense(4)]), fn.Dense(1)]).save(path)
    description, tensors = safetensors_file.unpack(path, "fastnet", "model", "net.save")
    path.write_bytes(safetensors_file.pack("fastnet", description, tensors))
    fn.load(path)  # as it was
    changed = description | {"layers": described}
    path.write_bytes(safetensors_file.pack("fastnet", changed, tensors))
    with pytest.raises(fn.ModelFileError, match="the description is not valid"):
        fn.load(path)


# --- what is shown --------------------------------------------------------------------------------


def test_the_summary_has_a_line_for_every_layer() -> None:
    lines = network().summary().splitlines()
    assert [line.split("  ")[0] + "  " + line.split("  ")[1].strip() for line in lines[1:14]] == [
        "0.0  dense",
        "0  add",
        "1  dense",
        "2.0  layer norm",
        "2.1  dense",
        "2.2  dropout 0.1",
        "2.3  dense",
        "2  add",
        "3.0.0  batch norm",
        "3.0  add",
        "3.1  dense",
        "3  add",
        "4  dense",
    ]


def test_the_text_of_a_network_makes_it_again() -> None:
    net = network()
    names = {name: getattr(fn, name) for name in ("Network", "Residual", "Dense", "Dropout")}
    names |= {"BatchNorm": fn.BatchNorm, "LayerNorm": fn.LayerNorm}
    assert eval(repr(net), names).layers == net.layers


def test_estimators_take_residual_connections() -> None:
    sklearn = pytest.importorskip("fastnet.sklearn", reason="scikit-learn is not installed")
    model = sklearn.FastNetRegressor(hidden_layers=(16, BLOCK), epochs=2, random_state=0)
    model.fit(X, Y.ravel())
    assert model.network_.layers[1] == BLOCK
