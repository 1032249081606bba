"""Networks with products of bfloat16 on Numba: each product, whole epochs, threads, and refusals.

Where the processor has no instructions for them, these tests compile the form without, which has
the same bits as the dot products (see ``tests/kernels/test_pairs.py``).
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("numba", reason="Numba is not installed")

import fastnet as fn
from fastnet import backends
from fastnet.backends import numba_bf16, numpy_layer
from fastnet.backends.engine import Engine
from fastnet.backends.epochs import TrainConfig
from fastnet.backends.numba_bf16 import BF16Engine
from fastnet.backends.numpy_backend import NumpyEngine
from fastnet.errors import InputError
from fastnet.kernels import abi
from fastnet.nn.batch import Batch
from fastnet.nn.layers import BatchNorm, Block, Dense, Dropout, LayerNorm, Residual
from fastnet.nn.losses import CrossEntropy
from fastnet.nn.optimizers import SGD, Adam
from fastnet.nn.plan import make_plan
from tests.kernels.test_pairs import assert_sums, rounded
from tests.networks import random_parameters, random_rows, random_state

Array = NDArray[Any]

LAYERS = {
    "one layer": (Dense(5, "softmax"),),
    "dense": (Dense(70, "relu"), Dense(33, "silu"), Dense(5, "softmax")),
    "everything": (
        Dense(35, "mish"),
        BatchNorm("silu"),
        Dropout(0.25),
        LayerNorm("gelu"),
        Dense(5, "softmax"),
    ),
    "residual": (
        Dense(19, "relu"),
        Residual([LayerNorm(), Dense(33, "relu"), Dense(19)]),
        Dense(5, "softmax"),
    ),
    "rates": (
        Dense(7, "silu", bias_rate=0.5, blocks=(Block(3, 2), Block(4, 5, rate=3.0))),
        Dense(5, "softmax", weight_rate=0.1),
    ),
}
each_network = pytest.mark.parametrize("name", LAYERS)


@pytest.fixture(autouse=True)
def on_any_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numba_bf16, "HAS_DOTS", True)


class Case:
    """A network of 7 inputs in float32, and rows for it."""

    def __init__(self, name: str, count: int = 43) -> None:
        self.plan = make_plan(7, LAYERS[name])
        self.parameters = random_parameters(self.plan).astype(np.float32)
        self.state = random_state(self.plan).astype(np.float32)
        rows = random_rows(self.plan, CrossEntropy(), count, labels=True, weighted=True)
        assert rows.weight is not None
        x, weight = rows.x.astype(np.float32), rows.weight.astype(np.float32)
        self.rows = Batch(x, rows.labels, None, weight)

    def engine(self, kind: Any = BF16Engine) -> Any:
        return kind(self.plan, self.parameters.copy(), self.state.copy())

    def gradient(self, kind: Any) -> Any:
        engine = self.engine(kind)
        engine.gradient(self.rows, CrossEntropy(), training=True, seed=3)
        return engine


class RoundedNumpy(SimpleNamespace):
    """NumPy, with products of factors that are rounded to bfloat16."""

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)

    def matmul(self, a: Array, b: Array, out: Array) -> None:
        out[...] = rounded(a).astype(np.float64) @ rounded(b).astype(np.float64)


# --- each product, and all of them ----------------------------------------------------------------


@each_network
@pytest.mark.parametrize("count", [1, 2, 43])
def test_each_product_is_that_of_its_rounded_factors(name: str, count: int) -> None:
    """Of the factors as the layers around left them, so only the product itself adds errors."""
    case = Case(name, count)
    engine = case.gradient(BF16Engine)

    def block(memory: str, offset: int, width: int) -> Array:
        flat: Array = engine._kept[memory]
        return flat[offset * count : (offset + width) * count].reshape(count, width)

    named = {t.name: t for t in case.plan.parameters}
    seen = 0
    for place, op in zip(case.plan.names, case.plan.ops, strict=True):
        if op["kind"] != abi.DENSE:
            continue
        k, n, x, y, z = (int(op[field]) for field in ("inputs", "outputs", "x", "y", "z"))
        source = case.rows.x if x < 0 else block("work", x, k)
        weight, bias = named[f"{place}.weight"], named[f"{place}.bias"]
        assert_sums(weight.view(engine.gradients), source.T, block("deltas", y, n))
        seen += 1
        if z != y or op["activation"] in (abi.IDENTITY, abi.RELU):
            got, factors = block("work", z, n), (source, weight.view(case.parameters))
            relu = op["activation"] == abi.RELU
            assert_sums(got, *factors, bias.view(case.parameters), where=got > 0 if relu else None)
            seen += 1
    assert seen >= 1


@each_network
def test_gradients_are_those_of_numpy_with_rounded_factors(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are much nearer to these than these are to what float32 gives.

    Not equal but for rounding: where sums in float32 end in other bits, one number of thousands may
    be rounded to the bfloat16 on the other side.
    """
    case = Case(name)
    exact = case.gradient(NumpyEngine)
    monkeypatch.setattr(numpy_layer, "np", RoundedNumpy())
    expected, got = case.gradient(NumpyEngine), case.gradient(BF16Engine)
    assert got.tally.tolist() == exact.tally.tolist() == [0, 0, 0, 0]
    for tensor in case.plan.parameters:
        mine, right, other = (tensor.view(e.gradients) for e in (got, expected, exact))
        distance = np.linalg.norm(right - other)
        assert 0 < distance < np.linalg.norm(right) / 8
        assert np.linalg.norm(mine - right) < distance / 8


@each_network
def test_outputs_are_those_of_numpy_with_rounded_factors(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = Case(name)
    exact = case.engine(NumpyEngine).predict(case.rows.x)
    engine = case.engine()
    got = engine.predict(case.rows.x)
    monkeypatch.setattr(numpy_layer, "np", RoundedNumpy())
    expected = case.engine(NumpyEngine).predict(case.rows.x)
    distance = np.linalg.norm(expected - exact)
    assert distance > 0
    assert np.linalg.norm(got - expected) < distance / 8
    _, outputs = engine.evaluate(case.rows, CrossEntropy())
    np.testing.assert_array_equal(outputs, got)
    for row, output in zip(case.rows.x, got, strict=True):
        np.testing.assert_array_equal(engine.predict_one(row), output)


def test_parameters_that_somebody_changed_are_rounded_anew() -> None:
    case = Case("dense")
    engine = case.engine()
    before = engine.predict(case.rows.x)
    engine.parameters[...] *= 1.5
    after = engine.predict(case.rows.x)
    case.parameters *= np.float32(1.5)
    np.testing.assert_array_equal(after, case.engine().predict(case.rows.x))
    assert (after != before).any()
    assert engine.evaluate(case.rows, CrossEntropy())[1].tobytes() == after.tobytes()
    engine.parameters[...] = 0
    even = engine.forward(case.rows.x, training=False)
    np.testing.assert_array_equal(even, np.float32(0.2))


# --- training -------------------------------------------------------------------------------------


def trained(
    case: Case, train: Any = None, *, threads: int = 1, batch_size: int = 9, **optimizer: Any
) -> list[bytes]:
    """Return the bits that three epochs leave; 43 rows, so the last batch is smaller."""
    engine = case.engine()
    engine.threads = threads
    config = TrainConfig(CrossEntropy(), Adam(0.01, **optimizer), batch_size, seed=5, shuffle=True)
    moments = np.zeros((2, case.plan.size), np.float32)
    steps = config.steps(len(case.rows))
    sums = []
    for epoch in range(3):
        table = config.optimizer.step_coefficients(1 + steps * epoch, np.full(steps, 0.01))
        place = {"epoch": epoch, "step": steps * epoch}
        run = train or BF16Engine.train_epoch
        sums.append(run(engine, case.rows, config, moments, table, **place))
    arrays = engine.parameters, moments, engine.state
    return [*(array.tobytes() for array in arrays), repr(sums).encode()]


@each_network
@pytest.mark.parametrize("optimizer", [{}, {"clip_norm": 0.1}, {"l2": 0.01}], ids=str)
def test_an_epoch_has_the_bits_of_its_steps(name: str, optimizer: dict[str, float]) -> None:
    case = Case(name)
    assert trained(case, **optimizer) == trained(case, Engine.train_epoch, **optimizer)


@each_network
@pytest.mark.parametrize("optimizer", [{}, {"clip_norm": 0.1}], ids=str)
def test_the_number_of_threads_changes_no_bit(
    name: str, optimizer: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fastnet.backends.numba_engine.cores", lambda: 5)
    case = Case(name)
    alone = trained(case, **optimizer)
    for threads in (2, 3, 5):
        assert trained(case, threads=threads, **optimizer) == alone
    used = case.engine()
    used.threads = 5
    assert used.threads_for(9) == 5


def test_wide_layers_are_shared_and_updated_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gradients come a few rows of weights at a time, and no thread's share ends with them."""
    monkeypatch.setattr("fastnet.backends.numba_engine.cores", lambda: 3)
    monkeypatch.setitem(LAYERS, "wide", (Dense(523, "relu"), Dense(301, "relu"), Dense(5)))
    case = Case("wide")
    alone = trained(case, batch_size=20)
    assert trained(case, Engine.train_epoch, batch_size=20) == alone
    assert trained(case, threads=3, batch_size=20) == alone


def test_parameters_move_by_less_than_a_bfloat16_can_show() -> None:
    """The master copy is float32: steps that are too small for a bfloat16 add up."""
    plan = make_plan(1, (Dense(1),))
    engine = BF16Engine(plan, np.ones(2, np.float32), np.zeros(0, np.float32))
    rows = Batch(np.ones((4, 1), np.float32), None, np.zeros((4, 1), np.float32))
    config = TrainConfig(fn.losses.MSE(), Adam(), 4, seed=0, shuffle=False)
    moments = np.zeros((2, 2), np.float32)
    for epoch in range(20):
        table = config.optimizer.step_coefficients(1 + epoch, np.full(1, 1e-4))
        engine.train_epoch(rows, config, moments, table, epoch=epoch, step=epoch)
    np.testing.assert_allclose(engine.parameters, 1 - 20e-4, rtol=1e-5)


# --- what users see -------------------------------------------------------------------------------

X = np.random.default_rng(0).standard_normal((60, 7)).astype(np.float32)
LABELS = np.random.default_rng(1).integers(0, 5, 60)


def network(name: str = "dense", **options: Any) -> fn.Network:
    chosen = {"backend": "numba", "precision": "bf16", **options}
    return fn.Network(list(LAYERS[name]), inputs=7, **chosen)


def bits(net: fn.Network) -> list[bytes]:
    assert net.optimizer_state is not None
    arrays = net.parameters, net.state, net.optimizer_state.moments
    return [array.tobytes() for array in arrays]


@each_network
def test_a_run_that_goes_on_from_a_checkpoint_has_the_bits_of_one_run(
    name: str, tmp_path: Path
) -> None:
    whole = network(name)
    whole.fit(X, LABELS, epochs=4, batch_size=16)
    options = {"checkpoint": tmp_path / "run", "batch_size": 16, "resume": True}
    network(name).fit(X, LABELS, epochs=2, **options)
    resumed = network(name)
    resumed.fit(X, LABELS, epochs=4, **options)
    assert bits(resumed) == bits(whole)


def test_a_file_and_copies_hold_the_float32_weights(tmp_path: Path) -> None:
    net = network()
    net.fit(X, LABELS, epochs=2, batch_size=16)
    assert net.precision == net.copy().precision == "bf16"
    net.save(tmp_path / "net.safetensors")
    loaded = fn.load(tmp_path / "net.safetensors", backend="numba")
    exact = net.to("numba", precision="float32")
    assert loaded.precision == exact.precision == "float32"
    assert loaded.parameters.tobytes() == exact.parameters.tobytes() == net.parameters.tobytes()
    np.testing.assert_array_equal(loaded.predict(X), exact.predict(X))
    assert (net.predict(X) != exact.predict(X)).any()
    np.testing.assert_array_equal(exact.to("numba", precision="bf16").predict(X), net.predict(X))
    np.testing.assert_array_equal(net.predict_one(X[3]), net.predict(X)[3])


def test_a_loop_of_ones_own_has_the_bits_of_fit() -> None:
    layers, y = [Dense(70, "relu"), Dense(2)], X[:, :2] ** 2
    whole, own = (fn.Network(layers, inputs=7, backend="numba", precision="bf16") for _ in range(2))
    whole.fit(X, y, epochs=2, batch_size=20, shuffle=False, validation_data=(X, y))
    for start in (0, 20, 40, 0, 20, 40):
        rows = slice(start, start + 20)
        output = own.forward(X[rows])
        _, slope = fn.losses.MSE().value_and_gradient(output, y[rows])
        own.backward(slope)
        own.update("adam", steps_per_epoch=3)
    assert bits(own) == bits(whole)
    assert whole.history is not None
    assert whole.history["val_loss"][-1] == whole.evaluate(X, y)["loss"]


def test_divergence_is_noticed() -> None:
    net = network()
    with pytest.raises(fn.DivergenceError):
        net.fit(X, LABELS, epochs=50, batch_size=16, optimizer=SGD(1e30))
    assert np.isfinite(net.parameters).all()


def test_an_ensemble_takes_the_precision_of_the_network_beside_it() -> None:
    ensemble = fn.Ensemble([network(precision="float32") for _ in range(2)])
    moved = ensemble.beside(network())
    assert [net.precision for net in moved] == ["bf16", "bf16"]
    assert [net.precision for net in ensemble] == ["float32", "float32"]


# --- refusals -------------------------------------------------------------------------------------


def test_a_processor_without_the_instructions_is_told_which(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(numba_bf16, "HAS_DOTS", False)
    with pytest.raises(InputError) as caught:
        network()
    assert str(caught.value) == (
        "precision='bf16' needs a processor with AVX512_BF16 (AMD from Zen 4 on, Intel Xeon from "
        "2023 on), and this one lacks it: take precision='float32'."
    )
    assert network(precision="float32").precision == "float32"


def test_a_double_cannot_have_products_of_bfloat16() -> None:
    with pytest.raises(InputError, match=r"precision='bf16' needs dtype='float32', got float64"):
        network(dtype="float64")


def test_auto_takes_numba_where_no_gpu_can(monkeypatch: pytest.MonkeyPatch) -> None:
    assert backends.find("cupy").why_unavailable() is None or network(backend="auto").backend == (
        "numba"
    )
    monkeypatch.setattr(numba_bf16, "HAS_DOTS", False)
    if backends.find("cupy").why_unavailable() is not None:
        with pytest.raises(fn.BackendUnavailableError, match="'cupy' cannot run here"):
            network(backend="auto")
