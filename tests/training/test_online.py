"""`online_step`: the bits of ``partial_fit`` row by row, whatever happens between two steps."""

from __future__ import annotations

import gc
import threading
import weakref
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import fastnet as fn
from fastnet.kernels import abi
from fastnet.nn.losses import LOSSES
from fastnet.nn.optimizers import OPTIMIZERS
from fastnet.training import online
from tests.on_backends import BACKENDS, each_backend, everything, same

Array = NDArray[Any]

needs_numba = pytest.mark.skipif("numba" not in BACKENDS, reason="only Numba has steps of its own")
each_dtype = pytest.mark.parametrize("dtype", ["float32", "float64"])

RNG = np.random.default_rng(0)
ROWS = RNG.standard_normal((40, 6)).astype(np.float32)
LABELS = RNG.integers(0, 4, 40)
NUMBERS = RNG.random((40, 4)).astype(np.float32)


def network(
    backend: str,
    output: str = "softmax",
    dtype: str = "float32",
    hidden: int = 20,
    outputs: int = 4,
) -> fn.Network:
    layers = [fn.Dense(hidden, "tanh"), fn.Dropout(0.2), fn.Dense(outputs, output)]
    return fn.Network(layers, inputs=6, dtype=dtype, backend=backend, seed=3)


def targets(loss: str, outputs: int) -> Any:
    return LABELS.tolist() if loss == "cross_entropy" else NUMBERS[:, :outputs]


def assert_alike(
    net: fn.Network, x: Any, y: Any, optimizer: Any, loss: Any = None, *, fast: bool | None = None
) -> None:
    """Compare a step for each row with ``partial_fit`` on a copy, bit for bit."""
    other, step = net.copy(), net.online_step(optimizer, loss=loss)
    for k in range(len(x)):
        expected = other.partial_fit(x[k : k + 1], np.asarray(y[k])[None], optimizer=optimizer,
                                     loss=loss)  # fmt: skip
        assert step(x[k], y[k]) == expected
        assert same(everything(net), everything(other))
        assert (net.target_axes, net.temperature) == (other.target_axes, other.temperature)
        assert type(net.loss) is type(other.loss)
    assert fast is None or (step._bound is not None) == fast
    assert_same_counters(net, other)


def assert_same_counters(net: fn.Network, other: fn.Network) -> None:
    one, two = net.optimizer_state, other.optimizer_state
    assert one is not None and two is not None
    assert (one.step, one.updates, one.epoch) == (two.step, two.updates, two.epoch)


def is_fast(backend: str) -> bool:
    return backend == "numba"


@each_backend
@each_dtype
@pytest.mark.parametrize("loss", LOSSES)
def test_steps_have_the_bits_of_partial_fit_for_every_loss(
    loss: str, dtype: str, backend: str
) -> None:
    output = LOSSES[loss].output_activations[0]
    made = fn.losses.Quantile((0.1, 0.9)) if loss == "quantile" else fn.losses.get(loss, output)
    y = targets(loss, 4 // made.outputs_per_target)
    y = y if isinstance(y, list) else y.astype(dtype)
    net = network(backend, output, dtype)
    assert_alike(net, ROWS.astype(dtype), y, "adam", made, fast=is_fast(backend))


@each_backend
@pytest.mark.parametrize("name", [name for name in OPTIMIZERS if name != "lbfgs"])
def test_so_they_have_for_every_optimizer(name: str, backend: str) -> None:
    assert_alike(network(backend), ROWS, LABELS, OPTIMIZERS[name](), fast=is_fast(backend))


@each_backend
def test_so_they_have_with_clipping_decay_and_a_schedule(
    backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(online, "BLOCK", 7)  # several tables of coefficients
    optimizer = fn.Adam(fn.schedules.Cosine(0.01, 5), weight_decay=0.1, clip_norm=0.5)
    assert_alike(network(backend), ROWS, LABELS, optimizer, fast=is_fast(backend))


@each_backend
def test_so_has_a_tiny_network(backend: str) -> None:
    net = fn.Network([6, 2, 1], activation="tanh", backend=backend)
    assert_alike(net, ROWS, NUMBERS[:, 0].tolist(), fn.SGD(0.1), "mse", fast=is_fast(backend))


@each_backend
def test_rows_and_targets_of_other_kinds_are_converted_as_partial_fit_does(backend: str) -> None:
    net = network(backend)
    other, step = net.copy(), net.online_step("sgd")
    calls: list[tuple[Any, Any]] = [
        (ROWS[0], 1),
        (ROWS[1].astype(np.float64), np.int64(2)),
        (ROWS[2].tolist(), 3),
        (ROWS[3], np.array([0.1, 0.2, 0.3, 0.4])),
        (ROWS[4][::-1], np.uint8(1)),
        (ROWS[5], 2.0),
        (ROWS[6], np.array(3)),
        (ROWS[7] * 0 + np.float32(3e38), 0),
        (ROWS[8], 1),
    ]
    for x, y in calls:
        expected = other.partial_fit(np.asarray(x)[None], np.asarray(y)[None], optimizer="sgd")
        assert step(x, y) == expected
        assert same(everything(net), everything(other))


@each_backend
def test_one_number_is_a_target_as_a_row_of_one_is(backend: str) -> None:
    for y in (0.5, np.float32(0.5), np.float64(0.1), 1, np.array([0.5], np.float32), np.array(0.5)):
        net = network(backend, "sigmoid", outputs=1)
        assert_alike(net, ROWS[:5], [y] * 5, "adam")


REFUSED: dict[str, tuple[Any, Any]] = {
    "a short row": (ROWS[0][1:], 1),
    "two rows": (ROWS[:2], 1),
    "NaN": (np.full(6, np.nan, np.float32), 1),
    "infinity": (np.full(6, np.inf, np.float32), 1),
    "a masked row": (np.ma.masked_array(ROWS[0], [1, 0, 0, 0, 0, 0]), 1),
    "a text": ("abcdef", 1),
    "no such class": (ROWS[0], 4),
    "a negative class": (ROWS[0], -1),
    "half a class": (ROWS[0], 0.5),
    "no target": (ROWS[0], None),
    "a large whole number": (ROWS[0], 10**400),
}


@each_backend
@pytest.mark.parametrize(("x", "y"), REFUSED.values(), ids=REFUSED)
def test_what_partial_fit_refuses_is_refused_and_changes_nothing(
    x: Any, y: Any, backend: str
) -> None:
    net = network(backend)
    step = net.online_step("adam")
    step(ROWS[0], 1)
    step(ROWS[1], 2)
    other, before = net.copy(), everything(net)
    with pytest.raises((fn.InputError, OverflowError)):
        step(x, y)
    assert same(everything(net), before)
    assert step(ROWS[2], 3) == other.partial_fit(ROWS[2:3], [3], optimizer="adam")
    assert same(everything(net), everything(other))


@each_backend
@pytest.mark.parametrize(
    ("loss", "y"),
    [("poisson", -1.0), ("poisson", [-1.0]), ("mse", [np.nan]), ("mse", np.inf),
     ("mse", [1.0, 2.0]), ("mse", 1e39)],
)  # fmt: skip
def test_targets_that_are_none_of_the_loss_are_refused(loss: str, y: Any, backend: str) -> None:
    net = network(backend, LOSSES[loss].output_activations[0], outputs=1)
    step, y = (
        net.online_step("adam", loss=loss),
        np.array(y, np.float32) if isinstance(y, list) else y,
    )
    step(ROWS[0], 1.0)
    before = everything(net)
    with pytest.raises(fn.InputError):
        step(ROWS[0], y)
    assert same(everything(net), before)


@each_backend
def test_a_step_that_diverges_leaves_the_weights_and_forgets_the_moments(backend: str) -> None:
    net = network(backend, "identity", outputs=1)
    optimizer = fn.SGD(1e-2, momentum=0.9)
    other, step = net.copy(), net.online_step(optimizer, loss="mse")
    step(ROWS[0], 1.0)
    other.partial_fit(ROWS[:1], [1.0], optimizer=optimizer, loss="mse")
    before = everything(net)[0]
    with pytest.raises(fn.DivergenceError) as expected:
        other.partial_fit(ROWS[:1], [1e30], optimizer=optimizer, loss="mse")
    with pytest.raises(fn.DivergenceError) as actual:
        step(ROWS[0], 1e30)
    assert str(actual.value) == str(expected.value)
    assert np.array_equal(everything(net)[0], before)
    assert not everything(net)[2].any()
    assert step(ROWS[1], 0.5) == other.partial_fit(ROWS[1:2], [0.5], optimizer=optimizer)
    assert same(everything(net), everything(other))


@needs_numba
def test_a_weight_that_becomes_infinite_is_taken_back_though_the_loss_is_finite() -> None:
    net = fn.Network([6, 20, 1], backend="numba", seed=1)
    step = net.online_step(fn.SGD(1.0), loss="mse")
    step(ROWS[0] * 0, 0.0)
    step = net.online_step(fn.SGD(3e38), loss="mse")
    before = np.array(net.parameters)
    with pytest.raises(fn.DivergenceError):
        step(ROWS[0], 1e15)
    assert np.array_equal(net.parameters, before)
    step = net.online_step(fn.SGD(1e-6), loss="mse")
    for row in ROWS[:2]:
        step(row, 1.0)
    bound = step._bound
    assert bound is not None
    bound._table[:, abi.RATE] = 3e38
    before = np.array(net.parameters)
    with pytest.raises(fn.DivergenceError):
        step(ROWS[0], 1e15)
    assert np.array_equal(net.parameters, before)


def initialize(net: fn.Network) -> None:
    net.initialize(8)


def halve(net: fn.Network) -> None:
    net.parameters = net.parameters * 0.5


def restore_moments(net: fn.Network) -> None:
    assert net.optimizer_state is not None
    net.optimizer_state = net.optimizer_state.copy(np.array)


BETWEEN: dict[str, Any] = {
    "a fit": lambda net: net.fit(ROWS, LABELS, epochs=1, optimizer=fn.Adam(0.01)),
    "a fit by another optimizer": lambda net: net.fit(ROWS, LABELS, epochs=1, optimizer="sgd"),
    "a fit with another rate": lambda net: net.fit(ROWS, LABELS, epochs=2, optimizer=fn.Adam(1.0)),
    "a step of another loss": lambda net: net.partial_fit(
        ROWS, LABELS, loss=fn.losses.CrossEntropy(label_smoothing=0.1)
    ),
    "a step on many rows": lambda net: net.partial_fit(ROWS, LABELS, optimizer=fn.Adam(0.01)),
    "initial values": initialize,
    "other parameters": halve,
    "a calibration": lambda net: net.calibrate(ROWS, LABELS),
    "a prediction": lambda net: net.predict(ROWS),
    "an evaluation": lambda net: net.evaluate(ROWS, LABELS),
    "scaled inputs": lambda net: net.fit(3 * ROWS, LABELS, epochs=1, standardize=True),
    "moments of one's own": restore_moments,
}


@pytest.mark.parametrize("backend", [name for name in BACKENDS if name != "cupy"])
@pytest.mark.parametrize("between", BETWEEN.values(), ids=BETWEEN)
def test_steps_go_on_with_the_network_as_it_is(between: Any, backend: str) -> None:
    net = network(backend)
    other, optimizer = net.copy(), fn.Adam(0.01)
    step = net.online_step(optimizer)
    for k in range(20):
        if k in (5, 12):
            between(net)
            between(other)
        expected = other.partial_fit(ROWS[k : k + 1], LABELS[k : k + 1], optimizer=optimizer,
                                     )  # fmt: skip
        assert step(ROWS[k], int(LABELS[k])) == expected
        assert same(everything(net), everything(other))
    assert_same_counters(net, other)


@each_backend
def test_two_functions_take_turns_on_one_network(backend: str) -> None:
    net = network(backend)
    other, steps = net.copy(), [net.online_step("adam"), net.online_step("sgd")]
    for k in range(12):
        name = ("adam", "sgd")[k // 2 % 2]
        expected = other.partial_fit(ROWS[k : k + 1], LABELS[k : k + 1], optimizer=name)
        assert steps[name == "sgd"](ROWS[k], int(LABELS[k])) == expected
        assert same(everything(net), everything(other))


@each_backend
def test_a_loss_that_is_a_function_is_called_at_every_step(backend: str) -> None:
    def square(output: Any, target: Any) -> Any:
        return ((output - target) ** 2).sum(axis=1), 2 * (output - target)

    assert_alike(network(backend, "identity"), ROWS[:5], NUMBERS, "adam", square)


@each_backend
def test_rows_of_a_table_have_names(backend: str) -> None:
    table = {"a": ROWS[:, 0], "b": np.where(ROWS[:, 1] > 0, "yes", "no"), "y": NUMBERS[:, 0]}
    options: dict[str, Any] = {"epochs": 1, "hidden": [8], "preset": None, "backend": backend}
    net = fn.tables.train(table, "y", **options)
    other, step = net.copy(), net.online_step("adam")
    for k in range(4):
        row = {name: table[name][k] for name in "ab"}
        expected = other.partial_fit([row], [float(table["y"][k])], optimizer="adam")
        assert step(row, float(table["y"][k])) == expected
        assert same(everything(net), everything(other))


@each_backend
def test_no_other_thread_may_train_meanwhile(backend: str) -> None:
    net = network(backend)
    step = net.online_step("adam")
    step(ROWS[0], 1)
    step(ROWS[1], 1)
    refused: list[BaseException] = []

    def attempt() -> None:
        try:
            step(ROWS[0], 1)
        except fn.InputError as error:
            refused.append(error)

    with net.alone:
        thread = threading.Thread(target=attempt)
        thread.start()
        thread.join()
    assert "another thread is training" in str(refused[0])
    thread = threading.Thread(target=lambda: step(ROWS[2], 2))  # afterwards every thread may
    thread.start()
    thread.join()
    assert net.optimizer_state is not None and net.optimizer_state.step == 3


@each_backend
def test_a_function_keeps_its_network_and_no_longer(backend: str) -> None:
    net = network(backend)
    step, gone = net.online_step("adam"), weakref.ref(net)
    step(ROWS[0], 1)
    del net
    gc.collect()
    for k in range(10):
        step(ROWS[k], int(LABELS[k]))
    del step
    gc.collect()
    assert gone() is None


def test_lbfgs_and_what_is_no_optimizer_are_refused() -> None:
    with pytest.raises(fn.InputError, match="lbfgs needs all data at once"):
        network("numpy").online_step("lbfgs")
    with pytest.raises(fn.InputError):
        network("numpy").online_step("nothing")
