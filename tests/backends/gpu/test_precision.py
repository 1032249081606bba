"""Products below float32: bfloat16 cells, and who may ask for which precision."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fastnet import Network, backends
from fastnet.backends.engine import Engine
from fastnet.backends.epochs import TrainConfig
from fastnet.errors import BackendUnavailableError, InputError
from fastnet.nn.batch import Batch
from fastnet.nn.layers import BatchNorm, Block, Dense, Dropout, LayerNorm, Residual
from fastnet.nn.losses import MSE, CrossEntropy
from fastnet.nn.optimizers import Adam
from fastnet.nn.plan import make_plan
from tests.cuda.host_backend import HostBackend, host_engine, put
from tests.cuda.host_module import WHY_NOT
from tests.cuda.host_runtime import HostRuntime, narrowed, widened
from tests.networks import random_parameters, random_rows, random_state

emulated = pytest.mark.skipif(WHY_NOT is not None, reason=str(WHY_NOT))

LAYERS = {
    "dense": (Dense(19, "relu"), Dense(33, "silu"), Dense(5, "softmax")),
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
EPSILON = 2.0**-8
"""Half a unit in the last place of a bfloat16 near 1."""


@emulated
def test_a_cell_is_a_number_rounded_to_the_nearest_ties_to_even() -> None:
    runtime = HostRuntime(np.float32, bf16=True)
    values = np.array([1, 1 + 2**-8, 1 + 3 * 2**-8, 1 + 2**-8 + 2**-20, np.inf, -0.0, 1e-40])
    values = np.append(values, [np.nan, 3.4e38]).astype(np.float32)
    cells, back = runtime.empty(values.shape, np.uint16), runtime.empty(values.shape, np.float32)
    runtime.launch("narrow", (1, values.size), cells, runtime.to_device(values), values.size)
    runtime.launch("widen", (1, values.size), back, cells, values.size)
    back, cells = runtime.to_host(back), runtime.to_host(cells)
    expected = [1, 1, 1 + 2**-6, 1 + 2**-7, np.inf, -0.0, 9.9e-41, np.nan, np.inf]
    np.testing.assert_allclose(back[:6], expected[:6], rtol=0)
    assert back[6] == widened(narrowed(values[6:7]))[0] > 0
    assert np.isnan(back[7]) and back[8] == np.inf
    np.testing.assert_array_equal(cells, narrowed(values))


class Both:
    """The same training with float32 and with bfloat16 cells."""

    def __init__(self, name: str, **options: Any) -> None:
        self.plan = make_plan(7, LAYERS[name])
        self.parameters = random_parameters(self.plan).astype(np.float32)
        state = random_state(self.plan).astype(np.float32)
        self.engines = [
            host_engine(self.plan, self.parameters.copy(), state.copy(), bf16=bf16, **options)
            for bf16 in (False, True)
        ]
        rows = random_rows(self.plan, CrossEntropy(), 43, labels=True, weighted=True)
        x, weight = rows.x.astype(np.float32), rows.weight.astype(np.float32)
        self.rows = put(Batch(x, rows.labels, None, weight))


@emulated
@pytest.mark.parametrize("name", LAYERS)
def test_gradients_in_bf16_are_near_those_in_float32(name: str) -> None:
    both = Both(name)
    gradients, outputs = [], []
    for engine in both.engines:
        engine.gradient(both.rows, CrossEntropy(), training=True, seed=3)
        gradients.append(engine.gradients.get())
        outputs.append(engine.predict(both.rows.x).get())
        assert outputs[-1].dtype == np.float32
    for exact, got in zip(*gradients_by_tensor(both, gradients), strict=True):
        error = np.linalg.norm(got - exact) / np.linalg.norm(exact)
        assert 0 < error < 16 * EPSILON
    assert 0 < np.abs(outputs[1] - outputs[0]).max() < 16 * EPSILON


def gradients_by_tensor(both: Both, flats: list[Any]) -> tuple[list[Any], ...]:
    return tuple([t.view(flat) for t in both.plan.parameters] for flat in flats)


@emulated
@pytest.mark.parametrize("name", LAYERS)
def test_an_epoch_in_bf16_has_the_bits_of_its_steps_in_every_schedule(name: str) -> None:
    results = []
    for schedule, train in ((0, None), (1, None), (7, None), (0, Engine.train_epoch)):
        both = Both(name, schedule=schedule)
        engine = both.engines[1]
        config = TrainConfig(CrossEntropy(), Adam(0.01), 8, seed=5, shuffle=True)
        moments = put(np.zeros((2, both.plan.size), np.float32))
        for epoch in range(3):
            table = config.optimizer.step_coefficients(1 + 6 * epoch, np.full(6, 0.01))
            place = {"epoch": epoch, "step": 6 * epoch}
            run = train or type(engine).train_epoch
            run(engine, both.rows, config, moments, table, **place)
        results.append([a.get() for a in (engine.parameters, moments, engine.state)])
    for result in results[1:]:
        for a, b in zip(result, results[0], strict=True):
            np.testing.assert_array_equal(a, b)


@emulated
def test_parameters_move_by_less_than_a_bf16_can_show() -> None:
    """The master copy is float32: steps that are too small for a bfloat16 add up."""
    plan = make_plan(1, (Dense(1),))
    engine = host_engine(plan, np.ones(2, np.float32), np.zeros(0, np.float32), bf16=True)
    rows = put(Batch(np.ones((4, 1), np.float32), None, np.zeros((4, 1), np.float32)))
    config = TrainConfig(MSE(), Adam(), 4, seed=0, shuffle=False)
    moments = put(np.zeros((2, 2), np.float32))
    for epoch in range(20):
        table = config.optimizer.step_coefficients(1 + epoch, np.full(1, 1e-4))
        engine.train_epoch(rows, config, moments, table, epoch=epoch, step=epoch)
    np.testing.assert_allclose(engine.parameters.get(), 1 - 20e-4, rtol=1e-5)


@emulated
def test_a_network_takes_its_precision_along(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "get_backend", lambda name, device: HostBackend())
    net = Network([4, 8, 3], output_activation="softmax", backend="cupy", precision="bf16")
    assert net.precision == net.copy().precision == "bf16"
    assert net.engine().runtime.cells == np.uint16  # type: ignore[attr-defined]
    exact = net.to("cupy", precision="float32")
    x = np.random.default_rng(0).standard_normal((9, 4)).astype(np.float32)
    assert 0 < np.abs(net.predict(x) - exact.predict(x)).max() < 8 * EPSILON
    np.testing.assert_array_equal(net.predict_one(x[2]), net.predict(x[2:3])[0])


@pytest.mark.parametrize(
    ("backend", "precision", "has", "others"),
    [
        ("numpy", "tf32", "'float32'", "the cupy backend has it"),
        ("numpy", "bf16", "'float32'", "the numba and cupy backends have it"),
        ("numba", "tf32", "'float32' and 'bf16'", "the cupy backend has it"),
    ],
)
def test_a_backend_refuses_a_precision_that_it_lacks(
    backend: str, precision: str, has: str, others: str
) -> None:
    with pytest.raises(InputError) as caught:
        Network([2, 2], backend=backend, precision=precision)
    assert str(caught.value) == (
        f"the backend {backend!r} has no precision={precision!r}, only {has}: {others}."
    )


def test_an_unknown_precision_is_an_error_that_names_the_known_ones() -> None:
    with pytest.raises(InputError, match=r"unknown precision 'bf61'; did you mean 'bf16'\?"):
        Network([2, 2], backend="numpy", precision="bf61")


def test_a_double_has_one_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "get_backend", lambda name, device: HostBackend())
    with pytest.raises(InputError, match=r"precision='tf32' needs dtype='float32', got float64"):
        Network([2, 2], backend="cupy", dtype="float64", precision="tf32")


@pytest.mark.parametrize("options", [{"precision": "tf32"}, {"device": 0}])
def test_auto_takes_a_gpu_where_one_is_asked_for(options: dict[str, Any]) -> None:
    reason = backends.find("cupy").why_unavailable()
    if reason is None:
        assert Network([2, 2], **options).backend == "cupy"
    else:
        with pytest.raises(BackendUnavailableError):
            Network([2, 2], **options)


def test_a_device_is_for_a_backend_that_has_some() -> None:
    with pytest.raises(InputError, match="device= chooses a GPU, and the backend 'numpy' has none"):
        Network([2, 2], backend="numpy", device=0)
