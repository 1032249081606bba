"""Tiny networks that a GPU trains at the same time have the bits of each of them alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import fastnet as fn
from fastnet.backends.engine import Engine
from fastnet.backends.epochs import Member
from fastnet.backends.gpu import members as gpu_members
from fastnet.backends.gpu.engine import GpuEngine
from fastnet.kernels import abi
from fastnet.kernels.cuda import loader, tiny
from fastnet.nn.layers import Block, Dense
from fastnet.nn.losses import LOSSES, MSE, CrossEntropy, Loss
from fastnet.nn.optimizers import Optimizer
from fastnet.nn.plan import Plan
from tests.backends.test_members import (
    OPTIMIZERS,
    PLAN,
    facts,
    members,
    require_the_smallest_difference,
)
from tests.cuda.host_backend import HostBackend
from tests.cuda.host_module import WHY_NOT
from tests.networks import LOSS_OUTPUTS, Bench, dense_plan, outputs_for, random_parameters

pytestmark = pytest.mark.skipif(WHY_NOT is not None, reason=str(WHY_NOT))


TINY = HostBackend(schedule=7, shared_bytes=99 * 2**10)
"""The emulated GPU with the shared memory of a real one."""

# Each kernel takes seconds to compile, so most tests share one. What one network alone computes is
# tested for all losses, optimizers and activations in `test_tiny_training`.
SOME_OPTIMIZERS = [one for one in OPTIMIZERS if type(one) in (fn.SGD, fn.Lion)][1:]
SOME_LOSSES = [pair for pair in LOSS_OUTPUTS if pair[0] in ("gaussian_nll", "binary_cross_entropy")]


@pytest.fixture
def bench() -> Bench:
    return Bench(TINY, np.dtype(np.float32))


def assert_as_alone(bench: Bench, plan: Plan, loss: Loss, *args: Any, **how: Any) -> list[Any]:
    """Train networks together, one by one, and epoch by epoch; fail unless all bits are the same.

    Epoch by epoch, an engine knows nothing of members, and the host watches.
    """
    engine: Any = bench.engine(plan, random_parameters(plan))
    together, alone, composed = (members(bench, plan, loss, *args, **how) for _ in range(3))
    stretch = together[0].stretch
    held_out = 0 if stretch.held_out is None else len(stretch.held_out)
    assert engine.lanes_for(stretch.batch, stretch.config.optimizer) > 1
    assert engine.trains_ahead(stretch.batch, held_out)
    found = engine.train_members(together)
    assert set(engine.runtime.launches) <= {
        *(tiny.KERNEL, "members_evaluate", "members_end_epoch"),
    }
    results = [Engine.train_members(engine, alone), []]
    for member in composed:
        own = bench.engine(plan, bench.get(member.parameters))
        results[1].append(Engine.train_epochs(own, member.stretch))
        member.parameters[...] = own.parameters
    for others, trained in zip((alone, composed), results, strict=True):
        for k, pair in enumerate(zip(others, trained, together, found, strict=True)):
            assert facts(*pair[:2]) == facts(*pair[2:]), f"member {k}"
    assert all(sums.finite for sums, _ in found)
    return found  # type: ignore[no-any-return]


@pytest.mark.parametrize("optimizer", SOME_OPTIMIZERS, ids=lambda one: type(one).__name__)
def test_the_numbers_of_an_optimizer_may_differ(bench: Bench, optimizer: Optimizer) -> None:
    rates = [replace(optimizer, learning_rate=rate) for rate in (0.001, 0.01)]
    others = [replace(one, weight_decay=0.01) for one in rates]
    assert_as_alone(bench, PLAN, CrossEntropy(), [optimizer, *rates, *others], rows=13, epochs=2)


@pytest.mark.parametrize(("name", "output"), SOME_LOSSES)
def test_losses_with_targets(bench: Bench, name: str, output: str) -> None:
    loss = LOSSES[name]()
    plan = dense_plan(2, (3, "tanh"), (outputs_for(loss, 2), output))
    how: dict[str, Any] = {"count": 2, "rows": 13, "epochs": 2, "weighted": True}
    assert_as_alone(bench, plan, loss, [fn.Adam(0.01)], **how)


@pytest.mark.parametrize("held_out", [0, 1, 30])
def test_early_stopping_at_different_epochs(bench: Bench, held_out: int) -> None:
    how: dict[str, Any] = {"patience": 2, "epochs": 12, "held_out": held_out, "count": 6}
    found = assert_as_alone(bench, PLAN, CrossEntropy(), [fn.Adam(0.1)], **how)
    assert len({len(trained) for trained, _ in found}) > 2


@pytest.mark.parametrize("how", [{"own_rows": True, "weighted": True}, {"shuffle": False}], ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["f32", "f64"])
def test_rows_of_their_own_and_in_order(how: dict[str, Any], dtype: Any) -> None:
    bench = Bench(TINY, np.dtype(dtype))
    assert_as_alone(bench, PLAN, CrossEntropy(), [fn.Adam(0.01)], count=3, **how)


def test_blocks_and_learning_rates_of_layers(bench: Bench) -> None:
    layers = (
        Dense(4, "tanh", bias_rate=0.5, blocks=(Block(1, 2), Block(2, 2, rate=3.0))),
        Dense(2, "softmax", bias_rate=2.0),
    )
    assert_as_alone(bench, dense_plan(3, *layers), CrossEntropy(), [fn.AdamW(0.1)], count=3)


def test_a_clipped_gradient(bench: Bench) -> None:
    optimizers: list[Optimizer] = [fn.Adam(0.01, clip_norm=norm) for norm in (0.1, 1.0, 9.0)]
    assert_as_alone(bench, PLAN, CrossEntropy(), optimizers, count=3)


@pytest.mark.parametrize("limit", ["orders", "workspace"])
def test_what_memory_has_no_room_for_goes_in_parts(
    bench: Bench, limit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if limit == "orders":
        monkeypatch.setattr(gpu_members, "ORDER_BYTES", 2 * 4 * 23)
    else:
        monkeypatch.setattr(GpuEngine, "rows_of_a_block", lambda self: 2 * 9)
    engine: Any = bench.engine(PLAN, random_parameters(PLAN))
    some = members(bench, PLAN, CrossEntropy(), [fn.Adam(0.01)])
    engine.train_members(some)
    assert engine.runtime.launches.count(tiny.KERNEL) == 3 * 3  # 5 members in twos, 3 epochs
    assert_as_alone(bench, PLAN, CrossEntropy(), [fn.Adam(0.01)])


def test_a_member_that_diverges_leaves_the_others_alone(bench: Bench) -> None:
    plan = dense_plan(3, (4, "relu"), (1, "identity"))
    usual: list[Optimizer] = [fn.SGD(0.01)] * 5
    fast: list[Optimizer] = [*usual[:2], fn.SGD(1e30), *usual[3:]]
    found = []
    for optimizers in (usual, fast):
        engine = bench.engine(plan, random_parameters(plan))
        some = members(bench, plan, MSE(), optimizers, epochs=4)
        with np.errstate(all="ignore"):
            results = engine.train_members(some)
        found.append([facts(*pair) for pair in zip(some, results, strict=True)])
    (good, _), (bad, evaluated) = results[0], results[2]
    assert good.steps.tolist() == [4.0] * 4
    assert len(bad) < 4 and bad.steps[-1] < 4
    assert len(evaluated) == len(bad) - 1
    same = [a == b for a, b in zip(*found, strict=True)]
    assert same == [True, True, False, True, True]


def test_a_parameter_that_is_not_finite_is_told(bench: Bench) -> None:
    """Though no loss has seen it yet: here the last step makes it."""
    engine = bench.engine(PLAN, random_parameters(PLAN))
    some = members(bench, PLAN, CrossEntropy(), [fn.SGD(0.01)], count=3, epochs=1)
    some[1].stretch.coefficients[-1, -1, abi.RATE] = np.inf
    with np.errstate(all="ignore"):
        results = engine.train_members(some)
    assert [sums.finite for sums, _ in results] == [True, False, True]
    assert [sums.steps.tolist() for sums, _ in results] == [[4.0]] * 3


def test_the_smallest_difference_is_noticed(bench: Bench) -> None:
    require_the_smallest_difference(bench)


def test_the_coefficients_of_one_optimizer_go_to_the_device_once() -> None:
    bench = Bench(TINY, np.dtype(np.float32))
    engine: Any = bench.engine(PLAN, random_parameters(PLAN))
    some = members(bench, PLAN, CrossEntropy(), [fn.Adam(0.01)], count=4)
    sizes: list[int] = []
    upload = engine.runtime.upload
    engine.runtime.upload = lambda into, values: sizes.append(values.size) or upload(into, values)
    first = some[0].stretch
    shared = [Member(m.parameters, m.state, _with_table(m.stretch, first)) for m in some]
    for each in (some, shared):
        engine.train_members(each)
    own, together = (n for n in sizes if n > 4 * len(loader.MEMBER))
    assert own - together == 3 * first.coefficients.size


def _with_table(stretch: Any, other: Any) -> Any:
    return replace(stretch, coefficients=other.coefficients)


@pytest.mark.parametrize(
    ("sizes", "batch", "blocks"),
    [((4,), 4, 2 * 16), ((32, 32), 32, 2 * 2), ((200, 200), 8, 0)],
    ids=["xor", "two at a time", "too large"],
)
def test_as_many_members_as_have_room(sizes: tuple[int, ...], batch: int, blocks: int) -> None:
    """Of 2 multiprocessors, each with the shared memory of one block."""
    plan = dense_plan(2, *((n, "tanh") for n in sizes), (2, "softmax"))
    engine: Any = Bench(TINY, np.dtype("f4")).engine(plan, random_parameters(plan))
    assert engine.lanes_for(batch, fn.Adam()) == max(1, blocks)
    assert engine.trains_ahead(batch) == (blocks > 0)
    assert not engine.trains_ahead(batch, 2**40)
