"""The GPU engine as a whole: the same as NumPy, a straight line of launches, no allocation.

The suite of all engines runs on it as well; here is what only a GPU has.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from weakref import ref

import numpy as np
import pytest

from fastnet.backends.engine import Engine
from fastnet.backends.gpu.runtime import Epilogue, Runtime
from fastnet.errors import FastNetWarning
from fastnet.kernels.cuda import loader
from fastnet.nn.batch import Batch
from fastnet.nn.layers import BatchNorm, Block, Dense, Dropout, Layer, LayerNorm, Residual
from fastnet.nn.losses import MSE, CrossEntropy, Huber, Loss, Quantile
from fastnet.nn.optimizers import LBFGS, OPTIMIZERS, SGD, Adam, Optimizer
from fastnet.nn.plan import Plan, make_plan
from tests.closeness import assert_close
from tests.cuda import host_runtime
from tests.cuda.host_backend import host_engine, put
from tests.cuda.host_module import WHY_NOT
from tests.cuda.host_runtime import HostRuntime
from tests.cuda.runtimes import Array, each_dtype, each_place, open_runtime
from tests.cuda.training import OPTIMIZER
from tests.cuda.training import Training as AnyTraining
from tests.networks import random_parameters, random_state

emulated = pytest.mark.skipif(WHY_NOT is not None, reason=str(WHY_NOT))

NETWORKS: dict[str, tuple[tuple[Layer, ...], Loss]] = {
    "dense": ((Dense(19, "tanh"), Dense(33, "silu"), Dense(3)), MSE()),
    "classes": ((Dense(21, "gelu"), Dense(5, "softmax")), CrossEntropy(0.125)),
    "quantiles": ((Dense(9, "softplus"), Dense(6)), Quantile()),
    "rates": (
        (
            Dense(7, "silu", bias_rate=0.5, blocks=(Block(3, 2), Block(4, 5, rate=3.0))),
            LayerNorm(),
            Dense(3, weight_rate=0.1, bias_rate=0),
        ),
        MSE(),
    ),
    "residual": (
        (
            Residual([Dropout(0.25), Dense(7, "silu")]),
            Dense(9, "relu"),
            Residual([Residual([LayerNorm()]), Dense(21, "relu"), Dense(9)]),
            Dense(3),
        ),
        MSE(),
    ),
    "everything": (
        (
            Dense(35, "mish"),
            BatchNorm("silu"),
            Dropout(0.25),
            Dense(17, "tanh"),
            LayerNorm("gelu"),
            Dense(4, "softmax"),
        ),
        CrossEntropy(),
    ),
}

each_network = pytest.mark.parametrize("name", NETWORKS)


def network(name: str, dtype: Any) -> tuple[Plan, Array, Array, Loss]:
    """Return plan, parameters, running statistics and loss."""
    layers, loss = NETWORKS[name]
    plan = make_plan(7, layers)
    return plan, random_parameters(plan).astype(dtype), random_state(plan).astype(dtype), loss


class Training(AnyTraining):
    """One of the networks on one runtime (None: on NumPy)."""

    def __init__(self, runtime: Runtime | None, name: str, dtype: Any, **options: Any) -> None:
        super().__init__(runtime, NETWORKS[name], dtype, **options)


def assert_same_bits(got: list[Array], expected: list[Array]) -> None:
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_array_equal(a, b)


# --- the same as NumPy ----------------------------------------------------------------------------


@each_dtype
@each_place
@each_network
@pytest.mark.parametrize(("count", "batch_size"), [(23, 8), (1, 8), (6, 1), (23, 100)], ids=str)
def test_training_is_that_of_numpy(
    place: str, dtype: Any, name: str, count: int, batch_size: int
) -> None:
    sizes = {"count": count, "batch_size": batch_size}
    expected = Training(None, name, dtype, **sizes)
    got = Training(open_runtime(place, dtype), name, dtype, **sizes)
    for _ in range(2):
        tallies = expected.epoch(), got.epoch()
        steps = got.step * 60
        sums = [np.array([t.loss, t.score, t.weight]) for t in tallies]
        assert_close(sums[1].astype(dtype), sums[0], terms=steps)
        assert tallies[1].steps == tallies[0].steps == got.config.steps(count)
    for a, b in zip(got.results(), expected.results(), strict=True):
        assert_close(a, b, terms=60 * got.step)
    evaluations = [t.engine.evaluate(t.rows, t.config.loss) for t in (expected, got)]
    assert_close(dtype(evaluations[1][0].loss), evaluations[0][0].loss, terms=60 * got.step)
    assert_close(got.back(evaluations[1][1]), evaluations[0][1], terms=60 * got.step)


@each_dtype
@each_place
@pytest.mark.parametrize("kind", [k for k in OPTIMIZERS.values() if k is not LBFGS])
def test_twenty_steps_of_every_optimizer_are_those_of_numpy(
    place: str, dtype: Any, kind: type[Optimizer]
) -> None:
    optimizer = kind(0.01, l1=1e-3, l2=1e-2, weight_decay=0.1, clip_norm=1.5)
    rng, runtime = np.random.default_rng(4), open_runtime(place, dtype)
    expected = Training(None, "dense", np.float64, optimizer=optimizer)
    got = Training(runtime, "dense", dtype, optimizer=optimizer)
    size = got.engine.plan.size
    for step in range(20):
        (row,) = optimizer.step_coefficients(step + 1, np.array([0.01]))
        # Eighths: the same number in both dtypes.
        gradient = rng.integers(-40, 40, size) / 8
        expected.engine.gradients[...] = gradient
        expected.engine.update(optimizer, expected.moments, row)
        runtime.upload(got.engine.gradients, gradient.astype(dtype))
        got.engine.update(optimizer, got.moments, row)
    for a, b in zip(got.results()[:2], expected.results()[:2], strict=True):
        assert_close(a, b, terms=20 * 4)


@each_place
def test_nesterov_s_momentum_is_that_of_numpy(place: str) -> None:
    optimizer = SGD(0.01, momentum=0.9, nesterov=True)
    expected = Training(None, "dense", np.float64, optimizer=optimizer)
    got = Training(open_runtime(place, np.float64), "dense", np.float64, optimizer=optimizer)
    for _ in range(3):
        expected.epoch(), got.epoch()
    for a, b in zip(got.results(), expected.results(), strict=True):
        assert_close(a, b, terms=1000)


@each_place
def test_an_engine_goes_on_with_another_optimizer_and_loss(place: str) -> None:
    expected = Training(None, "dense", np.float64)
    got = Training(open_runtime(place, np.float64), "dense", np.float64)
    for optimizer, loss in (
        (Adam(0.01), Huber(0.25)),
        (Adam(0.01, beta1=0.5, clip_norm=0.01), Huber(2.0)),
        (Adam(0.01, weight_decay=0.5), MSE()),
    ):
        for training in (expected, got):
            training.config = replace(training.config, optimizer=optimizer, loss=loss)
            training.epoch()
    for a, b in zip(got.results(), expected.results(), strict=True):
        assert_close(a, b, terms=1000)


# --- an epoch is its steps ------------------------------------------------------------------------


@each_dtype
@each_place
@each_network
@pytest.mark.parametrize("shuffle", [True, False], ids=["shuffled", "in order"])
def test_an_epoch_has_the_bits_of_its_steps(
    place: str, dtype: Any, name: str, shuffle: bool
) -> None:
    whole, steps = (
        Training(open_runtime(place, dtype), name, dtype, shuffle=shuffle) for _ in range(2)
    )
    for _ in range(2):
        got, expected = whole.epoch(), steps.epoch(composed=True)
        assert got.steps == expected.steps and got.weight == pytest.approx(expected.weight)
        assert got.loss == pytest.approx(expected.loss, rel=1e-12)
    assert_same_bits(whole.results(), steps.results())


@each_dtype
@each_place
@pytest.mark.parametrize("shuffle", [True, False], ids=["shuffled", "in order"])
def test_an_epoch_can_be_cut_in_two(place: str, dtype: Any, shuffle: bool) -> None:
    whole, parts = (
        Training(open_runtime(place, dtype), "everything", dtype, shuffle=shuffle) for _ in range(2)
    )
    tally = whole.epoch()
    table = OPTIMIZER.step_coefficients(1, np.full(3, 0.01))
    arguments = parts.rows, parts.config, parts.moments
    first = parts.engine.train_epoch(*arguments, table[:1], epoch=0, step=0)
    second = parts.engine.train_epoch(*arguments, table[1:], epoch=0, step=1, first=1)
    assert tally.steps == first.steps + second.steps == 3
    assert_same_bits(whole.results(), parts.results())


def spoil(training: Training, field: str, value: float) -> None:
    """Overwrite one number in row 33 of the data."""
    array = getattr(training.rows, field)
    values = training.back(array)
    values[33, 0] = value
    training.engine.runtime.upload(array, values)  # type: ignore[attr-defined]


@each_dtype
@each_place
@pytest.mark.parametrize("how", ["a loss that overflows", "a batch that is NaN"])
def test_after_a_loss_that_is_not_finite_nothing_lasts(place: str, dtype: Any, how: str) -> None:
    overflows = how == "a loss that overflows"
    whole, steps = (
        Training(
            *(open_runtime(place, dtype), "dense" if overflows else "everything", dtype),
            **{"count": 60, "optimizer": SGD(0.01, momentum=0.5)},
        )
        for _ in range(2)
    )
    for training in (whole, steps):
        if overflows:  # Its square is infinite; its gradient is not, nor are the weights.
            spoil(training, "target", float(np.sqrt(np.finfo(dtype).max)) * 100)
        else:
            spoil(training, "x", np.nan)
    got, expected = whole.epoch(), steps.epoch(composed=True)
    assert 0 < got.steps == expected.steps < 7
    np.testing.assert_array_equal(
        [got.loss, got.score, got.weight], [expected.loss, expected.score, expected.weight]
    )
    results = whole.results()
    assert_same_bits(results, steps.results())
    assert np.isfinite(results[0]).all() == overflows
    # Nothing stays halted: the next epoch changes the weights, as far as it gets.
    assert whole.epoch().steps == steps.epoch(composed=True).steps
    assert_same_bits(whole.results(), steps.results())
    assert not overflows or not np.array_equal(whole.results()[0], results[0])


@emulated
def test_an_epoch_that_is_interrupted_leaves_no_clock_behind() -> None:
    runtime = HostRuntime(np.float64)
    training, other = (Training(r, "dense", np.float64) for r in (runtime, HostRuntime(np.float64)))
    launches, launch = 0, runtime.launch

    def interrupted(kernel: str, *arguments: Any) -> None:
        nonlocal launches
        launches += kernel == "tally_add"
        if launches == 2 and kernel == "tally_add":
            raise KeyboardInterrupt
        launch(kernel, *arguments)

    runtime.launch = interrupted  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        training.epoch()
    runtime.launch = launch  # type: ignore[method-assign]
    for each in (training, other):
        each.engine.runtime.upload(  # type: ignore[attr-defined]
            each.parameters, random_parameters(each.engine.plan)
        )
        each.moments.fill(0)
        each.engine.gradient(each.rows, each.config.loss)
        (row,) = OPTIMIZER.step_coefficients(1, np.ones(1))
        each.engine.update(OPTIMIZER, each.moments, row)
    assert_same_bits(training.results(), other.results())


# --- a straight line ------------------------------------------------------------------------------


class Recorder(HostRuntime):
    """Counts how often the host waits and how often it writes to the device."""

    def __init__(self, dtype: Any) -> None:
        super().__init__(dtype)
        self.waits = self.uploads = 0

    def to_host(self, values: Any) -> Any:
        self.waits += 1
        return super().to_host(values)

    def upload(self, into: Any, values: Any) -> None:
        self.uploads += 1
        super().upload(into, values)


def plain(arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return arguments that can be compared: an array as its address and shape."""
    return tuple((a.ctypes.data, a.shape) if isinstance(a, np.ndarray) else a for a in arguments)


@emulated
@each_network
def test_a_window_is_recorded_once_and_replayed_from_then_on(name: str) -> None:
    runtime = Recorder(np.float32)
    training = Training(runtime, name, np.float32, count=8 * 8 * 2 + 8 + 3)
    training.epoch()  # Two windows of 8 batches, one of 1, and a smaller batch.
    assert len(runtime.captured) == 1
    training.epoch()
    assert len(runtime.captured) == 3
    for _ in range(2):
        runtime.launches.clear()
        training.epoch(rate=0.02)
    assert len(runtime.captured) == 3
    eight, one, rest = runtime.captured
    assert len(eight) - 1 == 8 * (len(one) - 1) == 8 * (len(rest) - 1)
    launched = [name for name in runtime.launches if name == "gather_rows"]
    assert len(launched) == 4
    # Whatever a step changes, it finds in device memory: but for its batch, it is the step before.
    step = len(one) - 1
    first, second = ([plain(call) for call in eight[1 + k * step :][:step]] for k in (0, 1))
    own = {(a.ctypes.data, a.shape) for call in eight[1:] for a in call[1:] if is_batch(a, eight)}
    assert [[a for a in call if a not in own] for call in first] == [
        [a for a in call if a not in own] for call in second
    ]


def is_batch(value: Any, window: list[tuple[Any, ...]]) -> bool:
    """Return whether an argument is a part of what the window's first launch gathers."""
    gathered = [a for a in window[0][3:7] if a is not None]
    return isinstance(value, np.ndarray) and any(np.shares_memory(value, a) for a in gathered)


@emulated
@each_network
@pytest.mark.parametrize("shuffle", [True, False], ids=["shuffled", "in order"])
def test_an_epoch_allocates_nothing_and_waits_once(name: str, shuffle: bool) -> None:
    runtime = Recorder(np.float32)
    training = Training(runtime, name, np.float32, shuffle=shuffle)
    training.epoch()
    allocations, waits, uploads = runtime.allocations, runtime.waits, runtime.uploads
    training.epoch()
    assert runtime.allocations == allocations
    assert runtime.waits == waits + 1
    assert runtime.uploads == uploads + 1  # the table of coefficients


@emulated
@pytest.mark.parametrize("bf16", [False, True], ids=["float32", "bf16"])
def test_after_a_warm_up_an_evaluation_moves_nothing_that_is_recorded(bf16: bool) -> None:
    """Its blocks are larger than a batch, and are reserved before the first step."""
    recordings = []
    for warm in (True, False):
        runtime = HostRuntime(np.float32, bf16=bf16)
        training = Training(runtime, "everything", np.float32, count=50)
        if warm:
            training.engine.prepare_for(training.rows, training.config, training.rows)
        for _ in range(2):
            training.epoch()
        before, generation = len(runtime.captured), training.engine.memory.generation
        training.engine.evaluate(training.rows, training.config.loss)
        training.epoch()
        training.epoch()
        recordings.append(len(runtime.captured) - before)
        assert (training.engine.memory.generation == generation) == warm
    assert recordings[0] < recordings[1]  # without it, they are recorded again


@emulated
def test_a_warm_up_for_a_small_evaluation_only_reserves_its_memory() -> None:
    class Products(HostRuntime):
        count = 0

        def gemm(self, *arguments: Any, **options: Any) -> None:
            self.count += 1
            super().gemm(*arguments, **options)

    counts = []
    for small in (True, False):
        runtime = Products(np.float32)
        training = Training(runtime, "dense", np.float32, count=50)
        if not small:
            training.engine._has_room = lambda rows: False  # type: ignore[attr-defined]
        training.engine.prepare_for(training.rows, training.config, training.rows)
        assert training.engine.memory._rows == 50  # type: ignore[attr-defined]
        counts.append(runtime.count)
    assert counts[1] - counts[0] == 3  # the forward pass of a block


@emulated
@each_network
def test_a_warm_up_changes_no_bit(name: str) -> None:
    """It loads what the steps need, and leaves what they read alone."""
    runtimes = HostRuntime(np.float32), HostRuntime(np.float32)
    warm, cold = (Training(runtime, name, np.float32) for runtime in runtimes)
    before = warm.results()[:3]
    warm.engine.prepare_for(warm.rows, warm.config, warm.rows)
    launched = set(runtimes[0].launches)
    assert_same_bits(warm.results()[:3], before)
    assert warm.epoch() == cold.epoch()
    assert_same_bits(warm.results(), cold.results())
    left = set(runtimes[1].launches) - launched
    assert left <= {
        *("permutation", "gather_rows", "optimizer_update", "tally_add", "find_not_finite"),
        *("gradient_square_sum", "gradient_clip", "weight_sum"),
    }


@emulated
def test_a_span_begins_with_one_upload_and_ends_with_one_wait() -> None:
    runtime = Recorder(np.float32)
    training = Training(runtime, "everything", np.float32)
    first = training.epoch()
    waits, uploads = runtime.waits, runtime.uploads
    training.engine.begin_tally(first)
    assert (runtime.waits, runtime.uploads) == (waits, uploads + 1)
    tally = runtime.to_host(training.engine.tally)
    np.testing.assert_array_equal(tally, [first.loss, first.score, first.weight, 0])
    waits, uploads = runtime.waits, runtime.uploads - 1
    second = training.epoch()
    assert (runtime.waits, runtime.uploads) == (waits + 1, uploads + 2)  # and the coefficients
    assert second.weight == 2 * first.weight and second.steps == first.steps


@emulated
@pytest.mark.parametrize("spoiled", ["", "parameters", "state"])
@pytest.mark.parametrize("value", [np.nan, -np.inf])
def test_the_sums_say_whether_the_network_is_finite(spoiled: str, value: float) -> None:
    training = Training(HostRuntime(np.float32), "everything", np.float32)
    assert training.engine.read_tally().finite is None
    finite = []

    def looked() -> bool | None:
        gpu: Any = training.engine.gpu  # type: ignore[attr-defined]
        gpu.look()
        found: bool | None = gpu.read_tally(looked=True).finite
        return found

    if spoiled:
        getattr(training.engine, spoiled)[-1] = value
    finite.append(looked())
    if spoiled:
        getattr(training.engine, spoiled)[-1] = 1.0
    finite.append(looked())
    assert finite == [not spoiled, True]


@emulated
def test_a_step_outside_an_epoch_allocates_nothing_either() -> None:
    runtime = Recorder(np.float64)
    training = Training(runtime, "everything", np.float64)
    training.epoch(composed=True)
    allocations = runtime.allocations
    training.epoch(composed=True)
    assert runtime.allocations == allocations


@emulated
@each_network
def test_replays_have_the_bits_of_the_steps(name: str) -> None:
    whole, steps = (
        Training(HostRuntime(np.float32), name, np.float32, count=83, batch_size=4)
        for _ in range(2)
    )
    for rate in (0.01, 0.01, 0.03, 0.0):
        whole.epoch(rate=rate)
        steps.epoch(composed=True, rate=rate)
        assert_same_bits(whole.results(), steps.results())


@emulated
def test_a_recording_serves_other_data_and_moments() -> None:
    """What a recording depends on is part of its key."""
    runtime = HostRuntime(np.float64)
    training, other = (Training(r, "dense", np.float64) for r in (runtime, HostRuntime(np.float64)))
    for _ in range(3):
        training.epoch(), other.epoch()
    for each in (training, other):
        back, put = each.back, each.engine.runtime.to_device  # type: ignore[attr-defined]
        fields = (None if a is None else put(back(a)[::-1].copy()) for a in each.rows.fields)
        each.rows, each.moments = Batch(*fields), put(back(each.moments))
    for _ in range(3):
        training.epoch(), other.epoch(composed=True)
        assert_same_bits(training.results(), other.results())


@emulated
def test_an_interrupted_recording_leaves_the_runtime_usable() -> None:
    runtime = HostRuntime(np.float64)
    training = Training(runtime, "dense", np.float64)
    training.epoch()
    tally_add = training.engine.gpu.add_tally  # type: ignore[attr-defined]

    def interrupted(*arguments: Any, **options: Any) -> None:
        raise KeyboardInterrupt

    training.engine.gpu.add_tally = interrupted  # type: ignore[attr-defined]
    with pytest.raises(KeyboardInterrupt):
        training.epoch()
    training.engine.gpu.add_tally = tally_add  # type: ignore[attr-defined]
    training.epoch()
    assert runtime.captured


@emulated
def test_a_step_that_cannot_be_recorded_is_launched_as_before() -> None:
    runtime = HostRuntime(np.float64)
    training, other = (Training(r, "dense", np.float64) for r in (runtime, HostRuntime(np.float64)))

    def refuse(work: Any) -> Any:
        raise RuntimeError("cudaErrorStreamCaptureUnsupported")

    runtime.capture = refuse  # type: ignore[method-assign]
    with pytest.warns(FastNetWarning, match="could not be recorded .*CaptureUnsupported"):
        training.epoch(), training.epoch()
    training.epoch()  # Without another warning.
    other.epoch(), other.epoch(), other.epoch()
    assert_same_bits(training.results(), other.results())


# --- epilogues ------------------------------------------------------------------------------------

RELU = (Dense(19, "relu"), Dense(33, "relu"), Dense(3, "softmax"))


@emulated
@each_dtype
@pytest.mark.parametrize(
    "epilogues",
    [(), (Epilogue.BIAS,), (Epilogue.BIAS, Epilogue.RELU), tuple(Epilogue)],
    ids=["none", "bias", "relu", "all"],
)
def test_a_product_may_have_any_of_the_epilogues(
    monkeypatch: pytest.MonkeyPatch, dtype: Any, epilogues: tuple[Epilogue, ...]
) -> None:
    monkeypatch.setitem(NETWORKS, "relu", (RELU, CrossEntropy()))
    expected = Training(None, "relu", dtype)
    runtime = HostRuntime(dtype, epilogues=epilogues)
    got = Training(runtime, "relu", dtype)
    for _ in range(2):
        expected.epoch(), got.epoch()
    for a, b in zip(got.results(), expected.results(), strict=True):
        assert_close(a, b, terms=120)
    masked = Epilogue.RELU_BACKWARD in epilogues and dtype == np.float32
    assert ("dense_backward_epilogue" in runtime.launches) == (not masked)


@emulated
@pytest.mark.parametrize("epilogues", [(), tuple(Epilogue)], ids=["none", "all"])
def test_a_gradient_that_joins_behind_a_relu_joins_before_its_derivative(
    monkeypatch: pytest.MonkeyPatch, epilogues: tuple[Epilogue, ...]
) -> None:
    inside = Residual([Dense(19, "relu"), Dense(19)])
    layers = Dense(19, "relu"), inside, Dense(33, "relu"), inside.layers[0], inside, Dense(3)
    monkeypatch.setitem(NETWORKS, "joined", (layers, MSE()))
    expected = Training(None, "joined", np.float32)
    runtime = HostRuntime(np.float32, epilogues=epilogues)
    got = Training(runtime, "joined", np.float32)
    for _ in range(2):
        expected.epoch(), got.epoch()
    for a, b in zip(got.results(), expected.results(), strict=True):
        assert_close(a, b, terms=120)


@emulated
def test_a_step_of_a_classifier_is_few_launches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(NETWORKS, "relu", (RELU, CrossEntropy()))
    runtime = HostRuntime(np.float32)
    training = Training(runtime, "relu", np.float32, count=24, optimizer=Adam())
    training.rows = Batch(training.rows.x, training.rows.labels)
    for _ in range(2):
        training.epoch()
    window = runtime.captured[0]
    kernels = [call[1] for call in window if isinstance(call[1], str)]
    assert kernels == ["gather_rows", "loss_head", "optimizer_update", "tally_add"]
    assert len(window) - len(kernels) == 3 + 3 + 2


@emulated
def test_a_larger_workspace_takes_the_place_of_the_old_one() -> None:
    runtime = HostRuntime(np.float32)
    training = Training(runtime, "everything", np.float32)
    memory, empty = training.engine.memory, runtime.empty  # type: ignore[attr-defined]
    old: list[Any] = []

    def empty_once_the_old_is_gone(shape: tuple[int, ...], dtype: Any) -> Any:
        assert all(reference() is None for reference in old)
        return empty(shape, dtype)

    runtime.empty = empty_once_the_old_is_gone  # type: ignore[method-assign]
    for rows in (4, 3, 9):
        room = max(rows, 4)
        allocations = runtime.allocations
        training.engine.reserve(rows)
        assert (runtime.allocations == allocations) == (rows == 3)
        assert len(memory.row_loss) == room
        for layer, op in zip(memory.layers, training.engine.plan.ops, strict=True):
            assert layer.y.shape == layer.dz.shape == (room, op["outputs"])
        old = [ref(memory.workspace), ref(memory._deltas), ref(memory.row_loss)]


@emulated
@pytest.mark.parametrize("bf16", [False, True], ids=["float32", "bf16"])
def test_prediction_and_evaluation_need_no_memory_for_gradients(bf16: bool) -> None:
    training = Training(HostRuntime(np.float32, bf16=bf16), "everything", np.float32)
    engine: Any = training.engine
    get = engine.runtime.to_host
    expected = Engine.evaluate(engine, training.rows, training.config.loss)
    engine.predict(training.rows.x)
    got = engine.evaluate(training.rows, training.config.loss)
    assert got[0] == expected[0]
    assert_same_bits([get(got[1])], [get(expected[1])])
    assert engine.memory._deltas is None
    engine.gradient(training.rows, training.config.loss)
    assert len(engine.memory._deltas) == engine.plan.width * len(training.rows)


@emulated
def test_a_block_is_as_large_as_memory_lets_it(monkeypatch: pytest.MonkeyPatch) -> None:
    training = Training(HostRuntime(np.float32), "dense", np.float32, count=300)
    engine: Any = training.engine
    per_row = (engine.plan.width + engine.plan.inputs) * 4
    assert engine.rows_of_a_block() == 512 * 2**20 // per_row
    assert [*engine.blocks(300)] == [(0, 300)] and [*engine.blocks(0)] == []
    get = engine.runtime.to_host
    expected = get(engine.predict(training.rows.x))
    empty, most = engine.runtime.empty, 150

    def short(shape: tuple[int, ...], dtype: Any) -> Any:
        if shape[0] > engine.plan.width * most:
            raise MemoryError
        return empty(shape, dtype)

    engine.memory._release_outputs()
    monkeypatch.setattr(engine.runtime, "empty", short)
    assert [*engine.blocks(300)] == [(0, 150), (150, 300)]
    assert_close(get(engine.predict(training.rows.x)), expected, terms=120)
    engine.memory._release_outputs()
    most = 63
    with pytest.raises(MemoryError):
        engine.predict(training.rows.x)


# --- the same bits --------------------------------------------------------------------------------


@emulated
@each_dtype
@each_network
def test_no_order_of_threads_and_no_grid_changes_a_bit(dtype: Any, name: str) -> None:
    results = []
    for options in ({}, {"schedule": 1}, {"schedule": 12}, {"grid_limit": 1}, {"grid_limit": 99}):
        training = Training(HostRuntime(dtype, **options), name, dtype)
        training.epoch()
        results.append(training.results())
    for result in results[1:]:
        assert_same_bits(result, results[0])


@emulated
@each_dtype
def test_blocks_of_another_size_change_no_more_than_rounding(dtype: Any) -> None:
    results = []
    for block in (32, 64, 256):
        training = Training(HostRuntime(dtype, block=block), "everything", dtype)
        training.epoch()
        results.append(training.results())
    for result in results[1:]:
        for a, b in zip(result, results[0], strict=True):
            assert_close(a, b.astype(np.float64), terms=500)


@pytest.mark.gpu
@each_dtype
def test_two_runs_on_a_gpu_have_the_same_bits(dtype: Any) -> None:
    results = []
    for _ in range(2):
        training = Training(open_runtime("gpu", dtype), "everything", dtype, count=300)
        training.epoch()
        results.append(training.results())
    assert_same_bits(*results)


@emulated
def test_the_emulated_engine_keeps_what_it_is_given() -> None:
    plan, parameters, state, _ = network("everything", np.float32)
    parameters, state = put(parameters), put(state)
    engine = host_engine(plan, parameters, state, schedule=1)
    assert engine.parameters is parameters and engine.state is state


@emulated
def test_a_kernel_without_its_barrier_trains_another_network(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source = loader.source
    barrier = "    scratch[place] = value;\n    __syncthreads();\n"
    assert barrier in source(np.dtype(np.float64), 32)

    def broken(dtype: Any, block: int, **options: Any) -> str:
        return source(dtype, block, **options).replace(barrier, "    scratch[place] = value;\n")

    def train(schedule: int) -> list[Array]:
        training = Training(HostRuntime(np.float64, schedule=schedule), "dense", np.float64)
        training.epoch()
        return training.results()

    right = train(0)
    monkeypatch.setattr(loader, "source", broken)
    host_runtime.module_for.cache_clear()
    try:
        with np.errstate(all="ignore"):
            wrong = [train(schedule) for schedule in (0, 1, 12)]
    finally:
        host_runtime.module_for.cache_clear()
    assert any(not np.array_equal(a[0], right[0]) for a in wrong)
