"""The kernel that trains a tiny network by itself: the same as NumPy, in every schedule."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from fastnet.backends.epochs import LossSums
from fastnet.backends.gpu.runtime import Runtime
from fastnet.kernels.cuda import loader, tiny
from fastnet.nn.activations import ACTIVATIONS
from fastnet.nn.layers import Block, Dense, Dropout, Layer
from fastnet.nn.losses import MSE, BinaryCrossEntropy, CrossEntropy, GaussianNLL, Loss, Quantile
from fastnet.nn.optimizers import LBFGS, OPTIMIZERS, SGD, Adam, Optimizer
from tests.closeness import assert_close
from tests.cuda.host_module import WHY_NOT, KernelError
from tests.cuda.host_runtime import HostRuntime
from tests.cuda.runtimes import Array, each_place, open_runtime
from tests.cuda.training import Training as AnyTraining

emulated = pytest.mark.skipif(WHY_NOT is not None, reason=str(WHY_NOT))

SHARED = 200 * 2**10

CASES: dict[str, tuple[tuple[Layer, ...], Loss]] = {
    "xor": ((Dense(4, "tanh"), Dense(2, "softmax")), CrossEntropy()),
    "one layer": ((Dense(3),), MSE()),
    "policy": ((Dense(33, "relu"), Dense(17, "gelu"), Dense(4, "softmax")), CrossEntropy(0.125)),
    "many classes": ((Dense(9, "silu"), Dense(40, "softmax")), CrossEntropy()),
    "softmax of squares": ((Dense(9, "mish"), Dense(5, "softmax")), MSE()),
    "labels of ones": ((Dense(8, "elu"), Dense(3, "sigmoid")), BinaryCrossEntropy()),
    "variances": ((Dense(8, "softplus"), Dense(4)), GaussianNLL()),
    "quantiles": ((Dense(9, "selu"), Dense(6)), Quantile()),
    "rates": (
        (
            Dense(7, "tanh", bias_rate=0.5, blocks=(Block(3, 2), Block(4, 5, rate=3.0))),
            Dense(3, weight_rate=0.1, bias_rate=0),
        ),
        MSE(),
    ),
}


class Training(AnyTraining):
    """One of the cases on NumPy (runtime None), or in the kernel where it fits."""

    def __init__(self, runtime: Runtime | None, name: str, dtype: Any, **options: Any) -> None:
        super().__init__(runtime, CASES[name], dtype, **options)

    def epochs(self, number: int, *, rate: float = 0.01) -> LossSums:
        return [self.epoch(rate=rate) for _ in range(number)][-1]

    def results(self) -> list[Array]:
        return [np.array(self.back(a)) for a in (self.parameters, self.moments)]


def tiny_runtime(place: str, dtype: Any) -> Runtime:
    """Return a runtime on which tiny networks get their kernel."""
    return open_runtime(place, dtype, shared_bytes=SHARED)


def assert_same(got: Training, expected: Training, tallies: tuple[LossSums, LossSums]) -> None:
    sums = [np.array([t.loss, t.score, t.weight]) for t in tallies]
    dtype = got.host[0].dtype
    assert_close(sums[0].astype(dtype), sums[1], terms=60 * got.step)
    assert tallies[0].steps == tallies[1].steps
    for a, b in zip(got.results(), expected.results(), strict=True):
        assert_close(a, b.astype(np.float64), terms=60 * got.step)


IN_DOUBLES = ("policy", "variances", "rates")
"""The cases that are trained in float64, too; the others are slow there: each is compiled anew."""


@each_place
@pytest.mark.parametrize(
    ("name", "dtype"),
    [(name, np.float32) for name in CASES]
    + [
        pytest.param(name, np.float64, marks=() if name in IN_DOUBLES else pytest.mark.slow)
        for name in CASES
    ],
)
def test_training_is_that_of_numpy(place: str, name: str, dtype: Any) -> None:
    expected = Training(None, name, dtype)
    got = Training(tiny_runtime(place, dtype), name, dtype)
    assert_same(got, expected, (got.epochs(2), expected.epochs(2)))
    if place != "gpu":
        launches = got.engine.runtime.launches
        assert set(launches) == {"permutation", tiny.KERNEL}
        assert launches.count(tiny.KERNEL) == 2


@emulated
@pytest.mark.parametrize("kind", [k for k in OPTIMIZERS.values() if k is not LBFGS])
def test_every_optimizer_is_that_of_numpy(kind: type[Optimizer]) -> None:
    # A clipped step is the optimizer's own with another gradient; the others show plain ones.
    for clip_norm in (None, 0.5) if kind in (SGD, Adam) else (0.5,):
        optimizer = kind(0.01, l2=1e-2, weight_decay=0.1, clip_norm=clip_norm)
        expected = Training(None, "xor", np.float64, optimizer=optimizer)
        got = Training(
            tiny_runtime("shuffled", np.float64),
            "xor",
            np.float64,
            optimizer=optimizer,
        )
        assert_same(got, expected, (got.epochs(3), expected.epochs(3)))


HIDDEN = [row.name for row in ACTIVATIONS.values() if not row.output_only]


@emulated
@pytest.mark.parametrize("two", [HIDDEN[k : k + 2] for k in range(0, len(HIDDEN), 2)], ids="-".join)
def test_every_activation_is_that_of_numpy(two: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    layers = (Dense(5, two[0]), Dense(3, two[-1]), Dense(2))
    monkeypatch.setitem(CASES, "activation", (layers, MSE()))
    expected = Training(None, "activation", np.float64)
    got = Training(tiny_runtime("backwards", np.float64), "activation", np.float64)
    assert_same(got, expected, (got.epochs(2), expected.epochs(2)))


@emulated
@pytest.mark.parametrize(
    "sizes", [(1, 8), (6, 1), (23, 100), (64, 64), (40, 33)], ids=lambda s: f"{s[0]} by {s[1]}"
)
@pytest.mark.parametrize("weighted", [False, True], ids=["", "weighted"])
@pytest.mark.parametrize("shuffle", [False, True], ids=["in order", "shuffled"])
def test_batches_of_any_size_are_those_of_numpy(
    sizes: tuple[int, int], weighted: bool, shuffle: bool
) -> None:
    options: dict[str, Any] = {"count": sizes[0], "batch_size": sizes[1]}
    options |= {"weighted": weighted, "shuffle": shuffle, "optimizer": Adam(0.01)}
    expected = Training(None, "policy", np.float64, **options)
    got = Training(tiny_runtime("shuffled", np.float64), "policy", np.float64, **options)
    assert_same(got, expected, (got.epochs(2), expected.epochs(2)))


@emulated
@pytest.mark.parametrize("name", ["policy", "many classes"])
def test_no_order_of_threads_changes_a_bit(name: str) -> None:
    results = []
    for schedule in (0, 1, 7, 12):
        training = Training(
            HostRuntime(np.float32, schedule=schedule, shared_bytes=SHARED), name, np.float32
        )
        training.epochs(2)
        results.append(training.results())
    for result in results[1:]:
        for a, b in zip(result, results[0], strict=True):
            np.testing.assert_array_equal(a, b)


BODY = loader.file("tiny.cu")
BARRIERS = [match.start() for match in re.finditer(r"__syncthreads\(\);", BODY)]


@emulated
@pytest.mark.parametrize("place", BARRIERS, ids=lambda n: f"line {BODY.count(chr(10), 0, n)}")
def test_each_barrier_is_needed(place: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it, some order of threads trains another network or gets stuck."""
    whole = tiny.Tiny.text
    broken = BODY[:place] + " " * len("__syncthreads();") + BODY[place + len("__syncthreads();") :]

    def train(text: Callable[[tiny.Tiny], str], schedule: int) -> Array:
        monkeypatch.setattr(tiny.Tiny, "text", text)
        runtime = HostRuntime(np.float32, schedule=schedule, shared_bytes=SHARED)
        training = Training(runtime, "policy", np.float32)
        # Row numbers that are read before they are written: those of rows that exist.
        training.engine.memory.order(len(training.rows)).fill(0)
        training.ahead(2)
        parameters: Array = training.results()[0]
        return parameters

    def is_noticed(schedule: int) -> bool:
        try:
            with np.errstate(all="ignore"):
                found = train(lambda self: whole(self).replace(BODY, broken), schedule)
        except KernelError:
            return True
        return not np.array_equal(found, right)

    right = train(whole, 0)
    assert any(is_noticed(schedule) for schedule in (0, 1, 7, 12))


@emulated
@pytest.mark.parametrize(
    ("name", "optimizer"), [("xor", Adam(0.01)), ("labels of ones", Adam(0.01, clip_norm=0.1))]
)
def test_no_bit_depends_on_the_capacity_or_the_number_of_threads(
    name: str, optimizer: Optimizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = []
    for capacity, elements in ((8, 16), (16, 1), (40, 2)):
        monkeypatch.setattr(tiny, "capacities", lambda rows, c=capacity: (c,))
        monkeypatch.setattr(tiny, "ELEMENTS", elements)
        training = Training(
            HostRuntime(np.float32, shared_bytes=SHARED), name, np.float32, optimizer=optimizer
        )
        training.epochs(2)
        results.append([training.engine._kernels._launchers.keys(), *training.results()])
    assert len({kernel for keys, *_ in results for kernel in keys}) == 3
    for _, *result in results[1:]:
        for a, b in zip(result, results[0][1:], strict=True):
            np.testing.assert_array_equal(a, b)


@emulated
@pytest.mark.parametrize("shared", [SHARED, 0], ids=["tiny", "composed"])
def test_a_flag_of_an_interrupted_span_does_not_stop_the_next_one(shared: int) -> None:
    """It was raised, and never read."""
    after, fresh = (
        Training(HostRuntime(np.float32, shared_bytes=shared), "xor", np.float32) for _ in range(2)
    )
    after.engine.memory.flags.fill(1)
    got, expected = after.epoch(), fresh.epoch()
    assert got == expected and got.steps == 3 and got.finite
    for a, b in zip(after.results(), fresh.results(), strict=True):
        np.testing.assert_array_equal(a, b)


@emulated
def test_batches_of_similar_sizes_share_a_kernel() -> None:
    runtime = HostRuntime(np.float32, shared_bytes=SHARED)
    training = Training(runtime, "xor", np.float32, weighted=False)
    for size in (9, 10, 11, 12, 13, 16):
        training.config = replace(training.config, batch_size=size)
        training.step = 0
        training.epoch()
    assert [kernel.batch for kernel in training.engine._kernels._launchers] == [16]
    training.config = replace(training.config, batch_size=8)
    training.epoch()
    assert [kernel.batch for kernel in training.engine._kernels._launchers] == [16, 8]


@emulated
def test_where_a_power_of_two_does_not_fit_a_smaller_capacity_may() -> None:
    def kernel(shared_bytes: int) -> tiny.Tiny | None:
        runtime = HostRuntime(np.float32, shared_bytes=shared_bytes)
        training = Training(runtime, "policy", np.float32, count=40, batch_size=33)
        found: tiny.Tiny | None = training.engine._kernels.kernel_for(
            training.rows, training.config
        )
        return found

    whole = kernel(SHARED)
    assert whole is not None and whole.batch == 64
    smaller = kernel(whole.shared_bytes)
    assert smaller is not None and smaller.batch == 40
    assert kernel(smaller.shared_bytes) is None


@emulated
def test_no_kernel_is_compiled_for_a_step_alone_or_for_many_layers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    runtime = HostRuntime(np.float32, shared_bytes=SHARED)
    training = Training(runtime, "xor", np.float32)
    training.config = replace(training.config, once=True)
    training.epoch()
    assert tiny.KERNEL not in runtime.launches
    deep = [(*(Dense(4, "tanh") for _ in range(n - 1)), Dense(1)) for n in (8, 9)]
    found = []
    for layers in deep:
        monkeypatch.setitem(CASES, "deep", (layers, MSE()))
        training = Training(runtime, "deep", np.float32)
        found.append(training.engine._kernels.kernel_for(training.rows, training.config))
    assert found[0] is not None and found[1] is None


@emulated
@pytest.mark.parametrize("name", CASES)
def test_epochs_in_one_call_have_the_bits_of_one_after_the_other(name: str) -> None:
    """Their evaluations, too."""
    together, alone = (Training(tiny_runtime("shuffled", np.float32), name, np.float32)
                       for _ in range(2))  # fmt: skip
    for epochs in (3, 2):
        got, expected = together.ahead(epochs), alone.ahead(epochs, composed=True)
        for a, b in zip(got, expected, strict=True):
            np.testing.assert_array_equal(a.table, b.table)
    for a, b in zip(together.results(), alone.results(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert "members_end_epoch" not in alone.engine.runtime.launches
    assert together.engine.runtime.launches.count(tiny.KERNEL) == 5


@emulated
@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["f32", "f64"])
@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("weighted", [False, True], ids=["", "weighted"])
def test_the_evaluation_of_a_small_network_is_that_of_numpy(
    dtype: Any, name: str, weighted: bool
) -> None:
    options: dict[str, Any] = {"count": 43, "weighted": weighted}
    expected = Training(None, name, dtype, **options)
    got = Training(tiny_runtime("shuffled", dtype), name, dtype, **options)
    sums, outputs = expected.engine.evaluate(expected.rows, expected.config.loss)
    found, answers = got.engine.evaluate(got.rows, got.config.loss)
    answers = got.engine.runtime.to_host(answers)
    assert_close(answers, outputs.astype(np.float64), terms=200)
    for field in ("loss", "score", "weight"):
        assert_close(dtype(getattr(found, field)), getattr(sums, field), terms=200)
    assert found.steps == sums.steps == 1
    assert "members_evaluate" in got.engine.runtime.launches


@emulated
def test_an_epoch_can_be_cut_into_launches(monkeypatch: pytest.MonkeyPatch) -> None:
    whole, parts = (
        Training(tiny_runtime("shuffled", np.float32), "policy", np.float32) for _ in range(2)
    )
    tally = whole.epochs(3)
    monkeypatch.setattr("fastnet.backends.gpu.tiny.LAUNCH_SECONDS", 5e-5)
    split = parts.epochs(3)
    assert parts.engine.runtime.launches.count(tiny.KERNEL) > 3
    assert split == tally
    for a, b in zip(parts.results(), whole.results(), strict=True):
        np.testing.assert_array_equal(a, b)


@emulated
@pytest.mark.parametrize("how", ["overflow", "nan"])
def test_after_a_loss_that_is_not_finite_nothing_lasts(how: str) -> None:
    options: dict[str, Any] = {"count": 60, "optimizer": SGD(0.01, momentum=0.5)}
    name = "quantiles" if how == "nan" else "one layer"
    trainings = [
        Training(None, name, np.float64, **options),
        Training(tiny_runtime("forwards", np.float64), name, np.float64, **options),
    ]
    tallies = []
    for training in trainings:
        array = training.rows.x if how == "nan" else training.rows.target
        array[33, 0] = np.nan if how == "nan" else 1e160
        with np.errstate(all="ignore"):
            tallies.append(training.epochs(1))
    assert tallies[0].steps == tallies[1].steps < 7
    for a, b in zip(trainings[1].results(), trainings[0].results(), strict=True):
        np.testing.assert_array_equal(np.isfinite(a), np.isfinite(b))
        finite = np.isfinite(b)
        if finite.any():
            assert_close(a[finite], b[finite], terms=500)


@emulated
@pytest.mark.parametrize(
    ("layers", "batch", "shared"),
    [
        ((Dense(4, "relu"), Dropout(0.5), Dense(2)), 8, SHARED),
        ((Dense(200, "relu"), Dense(200, "relu"), Dense(2)), 8, SHARED),
        ((Dense(64, "relu"), Dense(2)), 4096, 2**30),
        ((Dense(4, "relu"), Dense(2)), 8, 2 * 2**10),
    ],
    ids=["dropout", "too many parameters", "too much work", "little shared memory"],
)
def test_what_is_not_tiny_is_trained_by_the_engine(
    layers: tuple[Layer, ...], batch: int, shared: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(CASES, "large", (layers, MSE()))
    runtime = HostRuntime(np.float32, shared_bytes=shared)
    training = Training(runtime, "large", np.float32, count=batch, batch_size=batch)
    assert training.engine._kernels.kernel_for(training.rows, training.config) is None
