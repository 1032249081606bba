"""Dense layers whose parameters learn at rates of their own, on every backend."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import fastnet as fn
from fastnet.backends.engine import Engine
from fastnet.backends.epochs import TrainConfig
from fastnet.nn import layers
from fastnet.nn.batch import Batch
from fastnet.nn.layers import Block, Dense, Layer, LayerNorm
from fastnet.nn.losses import MSE
from fastnet.nn.optimizers import OPTIMIZERS as OPTIMIZERS_BY_NAME
from fastnet.nn.optimizers import Optimizer
from fastnet.nn.plan import make_plan
from fastnet.tables import PRESETS, Overrides, TablePreprocessor
from tests import reference
from tests.closeness import assert_close
from tests.networks import Bench, random_parameters
from tests.runs import Run, assert_same_epoch

Array = NDArray[Any]
BLOCKS = (Block(2, 3), Block(1, 1, "ones", 6.0), Block(3, 2, "standard_normal"))
INSIDE = np.zeros((6, 6), bool)
INSIDE[0:2, 0:3] = INSIDE[2, 3] = INSIDE[3:6, 4:6] = True


def problem(rows: int = 40) -> tuple[Array, Array]:
    rng = np.random.default_rng(3)
    x = rng.normal(size=(rows, 6))
    return x, np.tanh(x[:, :2] @ rng.normal(size=(2, 2))) + 0.1 * x[:, 2:4]


def network(layers: list[Layer], bench: Bench | None = None) -> fn.Network:
    dtype = np.dtype(np.float64) if bench is None else bench.dtype
    net = fn.Network(layers, inputs=6, dtype=dtype, seed=4, backend="numpy")
    return net if bench is None else net._copy_to(bench.backend, "float32")


# --- what is described ----------------------------------------------------------------------------


def test_blocks_begin_as_their_initializers_say_and_all_else_at_zero() -> None:
    w = np.asarray(network([Dense(6, blocks=BLOCKS), Dense(2)]).weights[0])
    assert (w[~INSIDE] == 0).all()
    assert (w[INSIDE] != 0).all()
    assert w[2, 3] == 1


def test_blocks_of_one_shape_begin_with_different_weights() -> None:
    layers: list[Layer] = [Dense(6, blocks=(Block(3, 3), Block(3, 3))), Dense(2)]
    w = np.asarray(network(layers).weights[0])
    assert (w[:3, :3] != w[3:, 3:]).all()


def test_biases_begin_as_their_initializer_says() -> None:
    net = network([Dense(500, bias_initializer="standard_normal"), Dense(2)])
    first, last = (np.asarray(b) for b in net.biases)
    assert abs(first.std() - 1) < 4.5 / math.sqrt(2 * 500)
    assert not last.any()
    assert not np.isin(first, net.weights[0]).any()


def test_rates_are_written_parameter_by_parameter() -> None:
    plan = make_plan(6, (Dense(6, blocks=BLOCKS, weight_rate=0.5, bias_rate=0.1), Dense(2)))
    rates = plan.rates(np.float64)
    by_name = {tensor.name: tensor.view(rates) for tensor in plan.parameters}
    expected = np.where(INSIDE, 0.5, 0.0)
    expected[2, 3] = 3.0
    assert (by_name["layers.0.weight"] == expected).all()
    assert (by_name["layers.0.bias"] == 0.1).all()
    assert (by_name["layers.1.weight"] == 1).all()
    assert (by_name["layers.1.bias"] == 1).all()


def test_a_layer_without_options_is_described_as_before() -> None:
    plain = Dense(3, "relu")
    assert set(layers.to_dict(plain)) == {"layer", "units", "activation", "initializer"}
    assert repr(plain) == "Dense(units=3, activation='relu', initializer='he_uniform')"
    assert not make_plan(2, (plain,)).has_rates


def test_options_come_back_from_a_dict_of_plain_values() -> None:
    layer = Dense(6, blocks=BLOCKS, weight_rate=0.5, bias_rate=0, bias_initializer="normal")
    values = layers.to_dict(layer)
    values["blocks"] = [list(block) for block in values["blocks"]]
    assert layers.from_dict(values) == layer
    assert "blocks=(Block(" in repr(layer)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Dense(6, blocks=BLOCKS[:2]), "must have 6 outputs in all, got 4"),
        (lambda: make_plan(7, (Dense(6, blocks=BLOCKS),)), "must have 7 inputs in all, got 6"),
        (lambda: Dense(1, blocks=((0, 1),)), "a block's size must be a whole number of at least 1"),
        (lambda: Dense(1, blocks=((1, 1, "one"),)), "unknown initializer 'one'"),
        (lambda: Dense(1, blocks=((1, 1, "ones", -1),)), "rate must be at least 0, got -1"),
        (lambda: Dense(1, blocks=(3,)), "a block must be a Block"),
        (lambda: Dense(1, blocks=3), "blocks must be a list or a tuple, got 3"),
        (lambda: Dense(1, weight_rate=-0.1), "weight_rate must be at least 0, got -0.1"),
        (lambda: Dense(1, bias_rate=math.inf), "bias_rate must be at least 0, got inf"),
        (lambda: Dense(1, bias_initializer="zero"), "unknown initializer 'zero'"),
    ],
)
def test_a_bad_option_is_an_input_error_in_a_sentence(make: Any, message: str) -> None:
    with pytest.raises(fn.InputError, match=message):
        make()


# --- what is learned ------------------------------------------------------------------------------

OPTIMIZERS = [
    fn.SGD(0.05, momentum=0.9),
    fn.Adam(0.01, weight_decay=0.1),
    fn.Lion(0.01, l2=0.1),
    fn.Adam(0.01, clip_norm=0.01),
    fn.LBFGS(l2=1e-3),
]


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=str)
def test_weights_outside_of_the_blocks_stay_zero(bench: Bench, optimizer: Any) -> None:
    x, y = problem()
    net = network([Dense(6, blocks=BLOCKS), Dense(5, "tanh"), Dense(2)], bench)
    before = np.array(bench.backend.to_host(net.weights[0]))
    net.fit(x, y, optimizer=optimizer, epochs=3, batch_size=16)
    after = bench.backend.to_host(net.weights[0])
    assert (after[~INSIDE] == 0).all()
    assert (after[INSIDE] != before[INSIDE]).all()
    assert not net.gradients(x, y)["layers.0.weight"][~INSIDE].any()


def test_without_blocks_the_same_weights_move() -> None:
    x, y = problem()
    net = network([Dense(6), Dense(2)])
    net.weights[0][~INSIDE] = 0
    net.fit(x, y, epochs=1, batch_size=16)
    assert net.weights[0][~INSIDE].all()


@pytest.mark.parametrize("name", ["weight_rate", "bias_rate"])
def test_what_has_the_rate_zero_keeps_its_bits(bench: Bench, name: str) -> None:
    x, y = problem()
    options: dict[str, Any] = {name: 0, "bias_initializer": "normal"}
    net = network([Dense(7, "tanh", **options), Dense(2)], bench)
    before = {k: np.array(bench.backend.to_host(v)) for k, v in net.named_parameters().items()}
    net.fit(x, y, optimizer=fn.AdamW(0.05), epochs=2, batch_size=16)
    still = {
        k
        for k, v in net.named_parameters().items()
        if (bench.backend.to_host(v) == before[k]).all()
    }
    assert still == {f"layers.0.{name.removesuffix('_rate')}"}


def test_rates_of_one_change_nothing_but_rounding(bench64: Bench) -> None:
    x, y = problem()
    nets = [
        network([Dense(7, "tanh", bias_rate=rate), Dense(2)], bench64)
        for rate in (1.0, 1.0 + 1e-15)
    ]
    assert [net.plan.has_rates for net in nets] == [False, True]
    for net in nets:
        net.fit(x, y, epochs=5, batch_size=16, optimizer=fn.Adam(0.01))
    one, other = (bench64.backend.to_host(net.parameters) for net in nets)
    assert_close(other, one, terms=5000)


def test_a_step_of_a_factor_is_that_of_the_learning_rate_times_it(bench64: Bench) -> None:
    x, y = problem()
    moved = []
    for rate, factor in ((0.03, 1.0), (0.01, 3.0)):
        options = {"weight_rate": factor, "bias_rate": factor}
        layers: list[Layer] = [Dense(7, "tanh", **options), Dense(2, **options)]
        net = network(layers, bench64)
        net.fit(x, y, epochs=5, batch_size=16, optimizer=fn.AdamW(rate))
        moved.append(np.array(bench64.backend.to_host(net.parameters)))
    assert_close(moved[1], moved[0], terms=5000)


# --- the update -----------------------------------------------------------------------------------

STEPWISE = {name: kind for name, kind in OPTIMIZERS_BY_NAME.items() if issubclass(kind, Optimizer)}
PENALTIES: list[dict[str, float]] = [
    {},
    {"l1": 0.03, "l2": 0.25, "weight_decay": 0.5},
    {"clip_norm": 0.5},
    {"clip_norm": 1e6},
]
BLOCKED = Dense(6, "tanh", bias_rate=0.25, blocks=(Block(1, 2, rate=3.0), Block(3, 4)))
RATED: tuple[Layer, ...] = (BLOCKED, LayerNorm(), Dense(5, weight_rate=0.1, bias_rate=0), Dense(2))
MANY = (Dense(40, "silu", weight_rate=0.5), Dense(21, "tanh", bias_rate=0.0), Dense(3))


class Updates:
    """An engine of a network with rates whose gradients are made up, and its parameters."""

    def __init__(self, bench: Bench) -> None:
        self.bench, self.plan = bench, make_plan(4, RATED)
        rates = self.plan.rates(np.float64)
        assert rates is not None
        self.rates = rates
        self.start = random_parameters(self.plan)
        self.start[np.flatnonzero(rates == 0)[:2]] = -0.0
        self.engine = bench.engine(self.plan, self.start)

    def take(self, optimizer: Optimizer, gradients: Array) -> Array:
        """Return the parameters after a step for each of the gradients (n, P)."""
        moments = self.bench.put(np.zeros((optimizer.n_moments, self.plan.size)))
        table = optimizer.step_coefficients(1, np.full(len(gradients), 0.01))
        for row, g in zip(table, gradients, strict=True):
            self.engine.gradients[...] = self.bench.put(g)
            self.engine.update(optimizer, moments, row)
        return np.array(self.bench.get(self.engine.parameters))


@pytest.mark.parametrize("penalty", PENALTIES, ids=str)
@pytest.mark.parametrize("name", STEPWISE)
def test_every_optimizer_at_rates_is_the_reference_s(
    bench: Bench, name: str, penalty: dict[str, float]
) -> None:
    updates, optimizer = Updates(bench), STEPWISE[name](0.01, **penalty)
    size, steps = updates.plan.size, 6
    gradients = np.random.default_rng(1).integers(-40, 40, (steps, size)) / 8
    expected, memory = updates.start.tolist(), [{} for _ in range(size)]
    n_weights = (np.arange(size) < updates.plan.n_weights).tolist()
    for t, g in enumerate(gradients.tolist(), start=1):
        numbers = {"weight_decay": optimizer.weight_decay, **penalty}
        expected = reference.optimizer_step(
            *(name, expected, g, memory, t, 0.01, numbers, n_weights, updates.rates.tolist())
        )
    got = updates.take(optimizer, gradients)
    assert_close(got, expected, terms=steps)
    change = np.asarray(expected) - updates.start
    assert_close(got - updates.start.astype(bench.dtype), change, terms=steps, scale=1.0)


@pytest.mark.parametrize("bad", [1e30, np.inf, np.nan])
@pytest.mark.parametrize("clip_norm", [None, 0.5])
@pytest.mark.parametrize("name", STEPWISE)
def test_at_the_rate_zero_no_gradient_changes_a_bit(
    bench: Bench, name: str, clip_norm: float | None, bad: float
) -> None:
    """Not of the parameter, and not of others by the norm."""
    optimizer = STEPWISE[name](0.01, l1=0.1, l2=0.1, weight_decay=0.1, clip_norm=clip_norm)
    results = []
    for value in (0.0, bad):
        updates = Updates(bench)
        gradients = np.random.default_rng(1).integers(-40, 40, (3, updates.plan.size)) / 8
        gradients[:, updates.rates == 0] = value
        results.append(updates.take(optimizer, gradients))
    still = updates.rates == 0
    before = updates.start.astype(bench.dtype)
    assert results[1].tobytes() == results[0].tobytes()
    assert results[1][still].tobytes() == before[still].tobytes()
    assert (results[1][~still] != before[~still]).all()


def test_at_any_other_rate_a_gradient_that_is_no_number_shows(bench: Bench) -> None:
    updates = Updates(bench)
    gradient = np.where(updates.rates == 0.1, np.nan, 0.0)[None]
    got = updates.take(fn.SGD(0.01), gradient)
    assert (np.isnan(got) == (updates.rates == 0.1)).all()


@pytest.mark.parametrize("layers", [RATED, MANY, (BLOCKED, Dense(2))], ids=["", "many", "tiny"])
@pytest.mark.parametrize("clip_norm", [None, 0.01])
@pytest.mark.parametrize("batch_size", [5, 16])
def test_an_epoch_at_rates_is_its_steps_one_by_one(
    bench: Bench, layers: tuple[Layer, ...], clip_norm: float | None, batch_size: int
) -> None:
    optimizer = fn.Adam(0.01, l2=0.01, weight_decay=0.1, clip_norm=clip_norm)
    network = layers, MSE(), False, True
    assert_same_epoch(Run(bench, network, count=23, batch_size=batch_size, optimizer=optimizer))


@pytest.mark.parametrize("kernels", ["general", "tiny"])
def test_compiled_backends_take_no_step_alone(
    bench: Bench, kernels: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: Any) -> None:
        raise AssertionError("a step by itself")

    layers = (BLOCKED, Dense(2)) if kernels == "tiny" else RATED
    run = Run(bench, (layers, MSE(), False, False), count=23, batch_size=5)
    engine, moments = run.start()
    monkeypatch.setattr(Engine, "train_step", fail)
    if bench.backend.name == "numpy":
        with pytest.raises(AssertionError, match="a step by itself"):
            run.train(engine, moments)
    else:
        assert run.train(engine, moments).steps == 5


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("clip_norm", [None, 0.01])
def test_on_numba_threads_change_no_bit(
    dtype: str, clip_norm: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("numba", reason="Numba is not installed")
    monkeypatch.setattr("fastnet.backends.numba_engine.cores", lambda: 3)
    bench = Bench(fn.get_backend("numba"), np.dtype(dtype))
    optimizer = fn.Adam(0.01, weight_decay=0.1, clip_norm=clip_norm)
    results = set()
    for threads in (1, 2, 3):
        run = Run(bench, (MANY, MSE(), False, False), count=50, batch_size=16, optimizer=optimizer)
        engine, moments = run.start()
        engine.threads = threads
        assert engine.threads_for(16) == threads
        run.train(engine, moments)
        results.add((engine.parameters.tobytes(), moments.tobytes()))
    assert len(results) == 1


def test_a_training_step_allocates_nothing_that_grows_with_the_network() -> None:
    import tracemalloc

    plan = make_plan(6, (Dense(20_000, "tanh", bias_rate=0.5), Dense(2)))
    flat = plan.initial_parameters(0, np.float64)
    engine = fn.get_backend("numpy").engine(plan, flat, np.zeros(0))
    x, y = problem()
    config = TrainConfig(MSE(), fn.Adam(0.01), 40, 0, shuffle=False)
    moments = np.zeros((2, plan.size))
    coefficients = fn.Adam(0.01).step_coefficients(1, np.full(3, 0.01))
    rows = Batch(x, None, y)
    engine.train_epoch(rows, config, moments, coefficients[:1], epoch=0, step=0)
    tracemalloc.start()
    engine.train_epoch(rows, config, moments, coefficients[:1], epoch=0, step=1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < flat.nbytes / 4


# --- the recipe -----------------------------------------------------------------------------------


def gate(z: Array) -> Array:
    """Mish is ``z gate(z)``."""
    return np.tanh(np.log1p(np.exp(z)))


class NeuralTangentReference:
    """RealMLP-TD-S as the paper writes it, in plain NumPy, and Adam with a rate for each group.

    ``x * s``; three times ``f(x @ v / sqrt(I) + b)``; ``x @ v / sqrt(I) + b``. The rates are 6, 1
    and 0.1 times that of the schedule for s, v and b.
    """

    def __init__(self, net: fn.Network) -> None:
        weights = [np.array(w, np.float64) for w in net.weights]
        self.values = [np.diag(weights[0]).copy()]
        self.factors, self.groups = [1.0], [6.0]
        for w, b in zip(weights[1:], net.biases[1:], strict=True):
            factor = 1 / math.sqrt(len(w))
            self.values += [w / factor, np.array(b, np.float64)]
            self.factors += [factor, 1.0]
            self.groups += [1.0, 0.1]
        self.m = [np.zeros_like(v) for v in self.values]
        self.v = [np.zeros_like(v) for v in self.values]
        self.t = 0

    def step(self, x: Array, target: Array, rate: float) -> None:
        count = (len(self.values) - 1) // 2
        inputs, zs = [x * self.values[0]], []
        for k in range(count):
            v, b = self.values[1 + 2 * k : 3 + 2 * k]
            zs.append(inputs[-1] @ v * self.factors[1 + 2 * k] + b)
            inputs.append(zs[-1] if k == count - 1 else zs[-1] * gate(zs[-1]))
        d = 2 * (inputs[-1] - target) / target.size
        gradients: list[Array] = [np.zeros(0)] * len(self.values)
        for k in range(count - 1, -1, -1):
            if k < count - 1:
                z, g = zs[k], gate(zs[k])
                d = d * (g + z * (1 - g * g) / (1 + np.exp(-z)))
            factor = self.factors[1 + 2 * k]
            gradients[1 + 2 * k] = inputs[k].T @ d * factor
            gradients[2 + 2 * k] = d.sum(axis=0)
            d = d @ self.values[1 + 2 * k].T * factor
        gradients[0] = (d * x).sum(axis=0)
        self.t += 1
        for k, g in enumerate(gradients):
            self.m[k] = 0.9 * self.m[k] + 0.1 * g
            self.v[k] = 0.95 * self.v[k] + 0.05 * g * g
            m, v = self.m[k] / (1 - 0.9**self.t), self.v[k] / (1 - 0.95**self.t)
            # No epsilon: on two scales it cannot be the same.
            size = np.where(v > 0, np.sqrt(v), 1.0)
            self.values[k] = self.values[k] - rate * self.groups[k] * m / size


def test_the_preset_takes_the_steps_of_the_published_recipe() -> None:
    x, y = problem()
    preset, epochs = PRESETS["tabular"], 6
    given = Overrides(hidden=(9, 8, 7), epochs=epochs)
    built = preset.build(TablePreprocessor.fit(x, y), "regression", given)
    net = network(built.layers)
    # Not 0, as in the recipe: where nothing flows back, Adam's steps are those of rounding.
    net.weights[-1][...] = np.random.default_rng(1).normal(size=(7, 2)) / math.sqrt(7)
    reference = NeuralTangentReference(net)
    optimizer = fn.Adam(built.optimizer.schedule, beta2=0.95, epsilon=1e-30)
    net.fit(x, y, optimizer=optimizer, epochs=epochs, batch_size=None, shuffle=False)
    for epoch in range(epochs):
        peak = preset.learning_rate["regression"]
        rate = peak * (0.5 - 0.5 * math.cos(2 * math.pi * math.log2(1 + 15 * epoch / epochs)))
        reference.step(x, y, rate)
    assert_close(np.diag(net.weights[0]), reference.values[0], terms=5000)
    for k, (w, b) in enumerate(zip(net.weights[1:], net.biases[1:], strict=True)):
        scaled = reference.values[1 + 2 * k] * reference.factors[1 + 2 * k]
        assert_close(w, scaled, terms=5000)
        assert_close(b, reference.values[2 + 2 * k], terms=5000)
    assert (np.diag(net.weights[0]) != 1).all()


def test_the_preset_is_that_of_the_paper() -> None:
    table = TablePreprocessor.fit({"a": [1, 2, 3], "b": [0, 1, 3], "c": list("xyx")}, list("uvw"))
    built = PRESETS["tabular"].build(table, "classification", Overrides())
    dense = [layer for layer in built.layers if isinstance(layer, Dense)]
    assert [layer.units for layer in dense] == [3, 256, 256, 256, 3]
    net = fn.Network(built.layers, inputs=3, backend="numpy")
    assert not np.any(net.weights[-1]) and not np.any(net.biases[-1])
    deviations = [w.std() * math.sqrt(len(w)) for w in net.weights[1:4]]
    assert deviations == pytest.approx([1, 1, 1], rel=0.1)
    assert [b.std() for b in net.biases[1:4]] == pytest.approx([1, 1, 1], rel=0.2)
    assert built.loss == fn.losses.CrossEntropy(label_smoothing=0.1)
    assert built.fit["epochs"] == 256
    optimizer = built.optimizer
    assert (optimizer.beta1, optimizer.beta2, optimizer.schedule.start) == (0.9, 0.95, 0.04)
    other = PRESETS["tabular"].build(table, "regression", Overrides(), outputs=1)
    assert other.optimizer.schedule.start == 0.07
