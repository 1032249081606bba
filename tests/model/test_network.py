"""What a network is: sizes and layers, one flat buffer with views, seeds, copies, backends."""

from __future__ import annotations

import copy
import pickle
import threading
from itertools import permutations
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import fastnet as fn
from fastnet.preprocessing.scaler import Scaler
from tests.closeness import assert_close
from tests.on_backends import BACKENDS, each_backend, everything, on_host, same

Array = NDArray[Any]

each_dtype = pytest.mark.parametrize("dtype", ["float32", "float64"])

ALL_LAYERS = [
    fn.Dense(6, "tanh"),
    fn.BatchNorm("relu"),
    fn.Dropout(0.25),
    fn.Dense(5),
    fn.LayerNorm("silu"),
    fn.Dense(3, "softmax"),
]

X = np.random.default_rng(0).standard_normal((30, 4))
LABELS = np.random.default_rng(1).integers(0, 3, 30)


def all_layers(**options: Any) -> fn.Network:
    return fn.Network(ALL_LAYERS, inputs=4, **options)


def train(net: fn.Network, epochs: int = 2) -> fn.History:
    return net.fit(X, LABELS, epochs=epochs, batch_size=8)


# --- two ways to write one ------------------------------------------------------------------------


def test_sizes_and_layers_make_the_same_network() -> None:
    by_sizes = fn.Network([4, 6, 3], activation="tanh", output_activation="softmax", seed=7)
    layers = [fn.Dense(6, "tanh"), fn.Dense(3, "softmax")]
    by_layers = fn.Network(layers, inputs=4, seed=7)
    assert by_sizes.layers == by_layers.layers == tuple(layers)
    assert same(everything(by_sizes), everything(by_layers))


def test_by_sizes_hidden_layers_are_relu_and_the_last_is_linear() -> None:
    net = fn.Network([4, 6, 5, 3], backend="numpy")
    assert [layer.activation for layer in net.layers] == ["relu", "relu", "identity"]
    assert (net.inputs, net.outputs) == (4, 3)


@pytest.mark.parametrize("sizes", [[4, 2], (4, 2), np.array([4, 2]), range(4, 0, -2)])
def test_sizes_may_be_any_sequence_of_whole_numbers(sizes: Any) -> None:
    net = fn.Network(sizes, backend="numpy")
    assert [w.shape for w in net.weights] == [(4, 2)]


def test_a_network_without_hidden_layers_is_a_linear_model() -> None:
    net = fn.Network([4, 2], backend="numpy", dtype="float64")
    net.biases[0][:] = [1, -1]
    assert_close(net.predict(X), X @ net.weights[0] + [1, -1], terms=4)


def test_the_repr_says_what_it_is() -> None:
    text = repr(fn.Network([4, 6, 3], seed=3, backend="numpy", dtype="float64"))
    for part in (
        "Dense(units=6, activation='relu'",
        "Dense(units=3, activation='identity'",
        "inputs=4",
        "dtype='float64'",
        "seed=3",
        "backend='numpy'",
        "51 parameters",
    ):
        assert part in text


# --- one flat buffer ------------------------------------------------------------------------------


def test_the_parameters_are_one_flat_buffer_of_the_dtype() -> None:
    for dtype in ("float32", "float64"):
        net = all_layers(dtype=dtype, backend="numpy")
        assert net.parameters.shape == (net.plan.size,)
        assert net.parameters.dtype == net.dtype == np.dtype(dtype)


def test_parameters_are_named_in_the_order_of_the_layers() -> None:
    named = all_layers(backend="numpy").named_parameters()
    assert {name: values.shape for name, values in named.items()} == {
        "layers.0.weight": (4, 6),
        "layers.0.bias": (6,),
        "layers.1.weight": (6,),
        "layers.1.bias": (6,),
        "layers.3.weight": (6, 5),
        "layers.3.bias": (5,),
        "layers.4.weight": (5,),
        "layers.4.bias": (5,),
        "layers.5.weight": (5, 3),
        "layers.5.bias": (3,),
    }
    order = [(int(name.split(".")[1]), name.endswith("bias")) for name in named]
    assert order == sorted(order)


def test_running_statistics_are_named() -> None:
    named = all_layers(backend="numpy").named_state()
    assert {name: values.tolist() for name, values in named.items()} == {
        "layers.1.running_mean": [0.0] * 6,
        "layers.1.running_var": [1.0] * 6,
    }


def test_the_named_parameters_are_the_whole_buffer_and_do_not_overlap() -> None:
    net = all_layers(backend="numpy")
    net.parameters[...] = 0
    for values in net.named_parameters().values():
        values += 1
    assert net.parameters.tolist() == [1.0] * net.plan.size


def test_weights_and_biases_are_those_of_the_dense_layers() -> None:
    net = all_layers(backend="numpy")
    named = net.named_parameters()
    for k, index in enumerate((0, 3, 5)):
        assert np.shares_memory(net.weights[k], named[f"layers.{index}.weight"])
        assert np.shares_memory(net.biases[k], named[f"layers.{index}.bias"])
    assert len(net.weights) == len(net.biases) == 3


@each_backend
def test_a_weight_that_is_changed_changes_the_buffer_and_the_prediction(backend: str) -> None:
    net = fn.Network([4, 2], backend=backend, dtype="float64")
    net.predict(X)
    net.weights[0][...] = 0
    net.biases[0][...] = 0.5
    assert sorted(on_host(net)) == [0.0] * 8 + [0.5] * 2
    assert net.predict(X).tolist() == [[0.5, 0.5]] * len(X)


@each_backend
def test_a_buffer_that_is_changed_changes_the_weights(backend: str) -> None:
    net = fn.Network([4, 2], backend=backend)
    net.parameters[...] = 0.25
    assert on_host(net, net.weights[0]).tolist() == [[0.25, 0.25]] * 4


@each_backend
def test_training_moves_the_views_that_were_taken_before(backend: str) -> None:
    net = all_layers(backend=backend)
    view, before = net.weights[0], on_host(net, net.weights[0])
    train(net)
    assert not np.array_equal(on_host(net, view), before)
    assert np.array_equal(on_host(net, view), on_host(net, net.weights[0]))


# --- seeds ----------------------------------------------------------------------------------------


@each_dtype
def test_one_seed_gives_the_same_weights_on_every_backend(dtype: str) -> None:
    nets = [all_layers(seed=11, dtype=dtype, backend=backend) for backend in BACKENDS]
    for net in nets[1:]:
        assert same(everything(net), everything(nets[0]))


def test_float32_weights_are_the_rounded_float64_ones() -> None:
    single, double = (all_layers(dtype=dtype, seed=2) for dtype in ("float32", "float64"))
    assert np.array_equal(on_host(single), on_host(double).astype(np.float32))
    assert not np.array_equal(on_host(single).astype(np.float64), on_host(double))


@pytest.mark.parametrize("seed", [1, 2**32, 2**63, 2**64 - 1])
def test_other_seeds_give_other_weights(seed: int) -> None:
    net, other = all_layers(seed=0), all_layers(seed=seed)
    assert not np.array_equal(on_host(net, net.weights[0]), on_host(other, other.weights[0]))
    assert np.array_equal(on_host(other), on_host(all_layers(seed=seed)))


@each_backend
def test_every_seed_up_to_the_largest_can_train(backend: str) -> None:
    net = all_layers(seed=2**64 - 1, backend=backend)
    assert np.isfinite(train(net)["loss"]).all()


@each_backend
def test_initialize_forgets_all_training(backend: str) -> None:
    net = all_layers(backend=backend)
    first = everything(net)
    train(net)
    once = everything(net)
    net.initialize()
    assert same(everything(net), first)
    train(net)
    assert same(everything(net), once)


def test_initialize_takes_another_seed() -> None:
    net = all_layers(seed=0)
    net.initialize(5)
    assert net.seed == 5
    assert same(everything(net), everything(all_layers(seed=5)))


# --- copies ---------------------------------------------------------------------------------------


def round_trips() -> dict[str, Any]:
    ways: dict[str, Any] = {"copy": lambda net: net.copy(), "deepcopy": copy.deepcopy}
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        ways[f"pickle {protocol}"] = lambda net, p=protocol: pickle.loads(pickle.dumps(net, p))
    return ways


each_way = pytest.mark.parametrize("way", round_trips().values(), ids=round_trips().keys())


@each_backend
@each_way
@pytest.mark.parametrize("trained", [False, True], ids=["new", "trained"])
def test_a_copy_predicts_and_trains_on_bit_by_bit(way: Any, backend: str, trained: bool) -> None:
    net = all_layers(backend=backend)
    if trained:
        train(net)
    other = way(net)
    assert (other.backend, other.dtype, other.seed) == (net.backend, net.dtype, net.seed)
    assert np.array_equal(other.predict(X), net.predict(X))
    assert train(other).records == train(net).records
    assert same(everything(other), everything(net))


@each_backend
@pytest.mark.parametrize("way", [*round_trips().values(), copy.copy])
def test_a_copy_is_independent(way: Any, backend: str) -> None:
    net = all_layers(backend=backend)
    train(net)
    before = everything(net)
    other = way(net)
    train(other)
    assert same(everything(net), before)
    assert not same(everything(other), before)


@each_backend
def test_a_network_unpickled_from_read_only_memory_trains_on(backend: str) -> None:
    net = all_layers(backend=backend)
    train(net)
    buffers: list[pickle.PickleBuffer] = []
    content = pickle.dumps(net, 5, buffer_callback=buffers.append)
    assert buffers
    other = pickle.loads(content, buffers=[bytes(buffer) for buffer in buffers])
    assert train(other).records == train(net).records


@each_way
def test_a_copy_keeps_what_belongs_to_the_data(way: Any) -> None:
    net = all_layers(backend="numpy")
    net.label_names = ("a", "b", "c")
    history = net.fit(X, LABELS, epochs=2, standardize=True)
    other = way(net)
    assert other.label_names == ("a", "b", "c")
    assert isinstance(net.preprocessor, Scaler)
    assert np.array_equal(other.preprocessor.mean, net.preprocessor.mean)
    assert other.history.records == history.records
    assert np.array_equal(other.predict(X), net.predict(X))


# --- moving between backends ----------------------------------------------------------------------


@pytest.mark.parametrize("source", BACKENDS)
@pytest.mark.parametrize("target", BACKENDS)
def test_moving_there_and_back_changes_nothing(source: str, target: str) -> None:
    net = all_layers(backend=source)
    train(net)
    there = net.to(target)
    assert there.backend == target
    assert same(everything(there), everything(net))
    back = there.to(source)
    train(back)
    train(net)
    assert same(everything(back), everything(net))


@pytest.mark.parametrize(("source", "target"), list(permutations(BACKENDS, 2)))
def test_training_goes_on_on_another_backend(source: str, target: str) -> None:
    net = all_layers(backend=source, dtype="float64")
    train(net)
    moved = net.to(target)
    history, expected = train(moved), train(net)
    assert history.epochs == expected.epochs == [3, 4]
    assert_close(np.array(history["loss"]), expected["loss"], terms=100)
    untrained = all_layers(backend=target, dtype="float64")
    with pytest.raises(AssertionError):
        assert_close(np.array(train(untrained)["loss"]), expected["loss"], terms=100)


def test_moving_to_its_own_backend_gives_the_network_itself() -> None:
    net = fn.Network([2, 2], backend="numpy")
    assert net.to("numpy") is net


def test_moving_makes_an_independent_network() -> None:
    net = fn.Network([4, 3], backend=BACKENDS[0])
    other = net.to(BACKENDS[-1])
    before = on_host(net)
    other.parameters[...] = 0
    assert np.array_equal(on_host(net), before)


# --- prediction -----------------------------------------------------------------------------------


@each_backend
@each_dtype
def test_one_row_alone_is_predicted_as_in_a_table(backend: str, dtype: str) -> None:
    net = all_layers(backend=backend, dtype=dtype)
    table = net.predict(X)
    assert table.shape == (30, 3)
    assert table.dtype == np.dtype(dtype)
    rows = np.array([net.predict_one(row) for row in X])
    assert rows.dtype == table.dtype
    assert_close(rows, table, terms=30, scale=1.0)


@each_backend
def test_what_is_returned_belongs_to_the_caller(backend: str) -> None:
    net = all_layers(backend=backend)
    first = net.predict(X)
    kept, one = first.copy(), net.predict_one(X[0])
    first_one = one.copy()
    net.predict(-X)
    net.predict_one(-X[0])
    assert np.array_equal(first, kept)
    assert np.array_equal(one, first_one)


@each_backend
def test_no_rows_give_no_predictions(backend: str) -> None:
    assert all_layers(backend=backend).predict(np.empty((0, 4))).shape == (0, 3)


@pytest.mark.skipif("numba" not in BACKENDS, reason="this promise is the Numba backend's")
@each_dtype
@pytest.mark.parametrize("width", [3, 17, 130])
def test_on_numba_a_prediction_does_not_depend_on_the_batch(width: int, dtype: str) -> None:
    layers = [fn.Dense(width, "tanh"), fn.LayerNorm(), fn.Dense(5), fn.Dense(3, "softmax")]
    net = fn.Network(layers, inputs=19, dtype=dtype, backend="numba")
    x = np.random.default_rng(5).standard_normal((203, 19))
    table = net.predict(x)
    for start, stop in [(0, 1), (1, 2), (0, 7), (3, 203), (100, 164), (202, 203)]:
        assert np.array_equal(net.predict(x[start:stop]), table[start:stop])
    assert np.array_equal([net.predict_one(row) for row in x], table)
    fresh = net.copy()  # whose workspace is made for few rows
    assert np.array_equal([fresh.predict_one(row) for row in x], table)
    assert np.array_equal(fresh.predict(x), table)


@each_backend
def test_several_python_threads_may_use_one_network(backend: str) -> None:
    net = all_layers(backend=backend)
    parts = [X + k for k in range(8)]
    expected = [net.predict(part) for part in parts]
    start = threading.Barrier(8)
    wrong: list[int] = []

    def work(k: int) -> None:
        start.wait()
        for _ in range(20):
            if not np.array_equal(net.predict(parts[k]), expected[k]):
                wrong.append(k)
            if not np.array_equal(net.predict(parts[k][::-1])[::-1], expected[k]) and (
                backend == "numba"
            ):
                wrong.append(k)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert not np.array_equal(expected[0], expected[1])


@each_backend
def test_parameters_that_are_assigned_are_the_networks(backend: str) -> None:
    """Not only seen by the attribute: predictions and training go on from them."""
    net, other = all_layers(backend=backend), all_layers(backend=backend, seed=1)
    train(other)
    net.predict(X)
    train(net)
    net.parameters, net.state = other.parameters, other.state
    assert np.array_equal(net.predict(X), other.predict(X))
    before = on_host(other)
    train(net)
    assert np.array_equal(on_host(other), before)
    assert not np.array_equal(on_host(net), before)


@each_backend
@each_dtype
def test_an_assignment_to_weights_or_biases_changes_the_network(backend: str, dtype: str) -> None:
    net = all_layers(dtype=dtype, backend=backend)
    before = on_host(net, net.parameters).copy()
    net.weights[1] = np.full((6, 5), 2.5)
    net.biases[-1] = [1, 2, 3]
    net.weights[0] *= 2
    assert (on_host(net, net.named_parameters()["layers.3.weight"]) == 2.5).all()
    assert on_host(net, net.named_parameters()["layers.5.bias"]).tolist() == [1, 2, 3]
    assert np.array_equal(on_host(net, net.weights[0]).ravel(), 2 * before[:24])
    net.weights[2] = net.weights[2]
    kept = on_host(net, net.parameters).copy()
    for wrong, message in (
        (np.ones((5, 6)), r"expected values of shape \(6, 5\), got \(5, 6\)"),
        (1.0, r"expected values of shape \(6, 5\), got \(\)"),
        (np.full((6, 5), np.nan), "the values holds nan at row 0, column 0"),
    ):
        with pytest.raises(fn.InputError, match=message):
            net.weights[1] = wrong
    with pytest.raises(fn.InputError, match="one layer at a time"):
        net.weights[:2] = [1, 2]
    assert np.array_equal(on_host(net, net.parameters), kept)


def test_completion_shows_the_public_names_alone() -> None:
    assert dir(fn) == sorted(fn.__all__)
