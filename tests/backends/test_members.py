"""Networks that are trained together in lanes have the bits of each of them alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import fastnet as fn
from fastnet.backends import numba_members
from fastnet.backends.aligned import aligned
from fastnet.backends.engine import Engine
from fastnet.backends.epochs import Member, Stretch, TrainConfig, Trained
from fastnet.backends.patience import Monitor, Patience
from fastnet.nn.batch import Batch
from fastnet.nn.layers import Dense
from fastnet.nn.losses import LOSSES, MSE, CrossEntropy, Loss
from fastnet.nn.optimizers import Optimizer
from fastnet.nn.plan import Plan
from tests.networks import (
    HIDDEN_ACTIVATIONS,
    LOSS_OUTPUTS,
    Bench,
    dense_plan,
    outputs_for,
    random_parameters,
    random_rows,
    usable_backends,
)

OPTIMIZERS: list[Optimizer] = [
    fn.SGD(0.01),
    fn.SGD(0.01, momentum=0.9, nesterov=True, l1=0.01, l2=0.1),
    fn.Adam(fn.schedules.Cosine(0.05, epochs=3)),
    fn.AdamW(0.02, weight_decay=0.1),
    fn.RMSprop(0.003),
    fn.Adagrad(0.03),
    fn.NAdam(0.01),
    fn.Lion(0.003),
]
PLAN = dense_plan(3, (4, "tanh"), (2, "softmax"))


@pytest.fixture(params=["float32", "float64"])
def bench(request: pytest.FixtureRequest) -> Bench:
    if "numba" not in usable_backends():
        pytest.skip("Numba is not installed")
    return Bench(usable_backends()["numba"], np.dtype(request.param))


def members(
    bench: Bench,
    plan: Plan,
    loss: Loss,
    optimizers: list[Optimizer],
    *,
    count: int = 5,
    rows: int = 23,
    batch: int = 6,
    epochs: int = 3,
    held_out: int = 9,
    patience: int | None = None,
    weighted: bool = False,
    shuffle: bool = True,
    own_rows: bool = False,
) -> list[Member]:
    """Return networks that differ in weights, seed and optimizer, and if asked in their rows."""

    def data(number: int, k: int) -> Batch:
        made = random_rows(plan, loss, number, seed=k if own_rows else 0)
        weight = np.arange(number) % 3 if weighted else None
        return bench.rows(replace(made, weight=weight if weight is None else weight * 0.5))

    made = []
    shared = data(rows, 0), data(held_out, 100)
    for k in range(count):
        optimizer = optimizers[k % len(optimizers)]
        config = TrainConfig(loss, optimizer, batch, seed=k, shuffle=shuffle)
        steps = config.steps(rows)
        rates = optimizer.schedule.rates(np.arange(epochs * steps) / steps)
        table = optimizer.step_coefficients(1, rates).reshape(epochs, steps, -1)
        parameters, state = bench.put(random_parameters(plan, k)), bench.put(np.zeros(0))
        monitor = None
        if patience is not None:
            weights = parameters.copy(), state.copy()
            counted = Patience(patience)
            monitor = Monitor(counted, score=False, held_out=held_out > 0, weights=weights)
        train, other = (data(rows, k), data(held_out, 100 + k)) if own_rows else shared
        moments = bench.moments(config, plan)
        some = other if held_out else None
        stretch = Stretch(train, config, moments, table, 0, 0, some, monitor)
        made.append(Member(parameters, state, stretch))
    return made


def facts(member: Member, result: Trained) -> list[Any]:
    """Return all that training has written, as bytes."""
    stretch = member.stretch
    arrays = [member.parameters, stretch.moments, *(sums.table for sums in result)]
    found: list[Any] = [array.tobytes() for array in arrays]
    if stretch.monitor is not None:
        assert stretch.monitor.weights is not None
        found += [stretch.monitor.patience, stretch.monitor.weights[0].tobytes()]
    return found


def assert_as_alone(bench: Bench, plan: Plan, loss: Loss, *args: Any, **how: Any) -> list[Trained]:
    """Train networks together and one by one; fail unless all bits are the same."""
    engine = bench.engine(plan, random_parameters(plan))
    alone, together = (members(bench, plan, loss, *args, **how) for _ in range(2))
    first = together[0].stretch
    assert engine.lanes_for(first.batch, first.config.optimizer) > 1
    results = Engine.train_members(engine, alone)
    found = engine.train_members(together)
    for k, pair in enumerate(zip(alone, results, together, found, strict=True)):
        assert facts(*pair[:2]) == facts(*pair[2:]), f"member {k}"
    return found


@pytest.mark.parametrize("activation", HIDDEN_ACTIVATIONS)
def test_every_activation(bench: Bench, activation: str) -> None:
    plan = dense_plan(3, (4, activation), (2, "identity"))
    assert_as_alone(bench, plan, MSE(), [fn.Adam(0.01)])


@pytest.mark.parametrize(("name", "output"), LOSS_OUTPUTS)
def test_every_loss(bench: Bench, name: str, output: str) -> None:
    loss = LOSSES[name]()
    plan = dense_plan(2, (3, "tanh"), (outputs_for(loss, 2), output))
    assert_as_alone(bench, plan, loss, [fn.Adam(0.01)], weighted=True)


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda one: type(one).__name__)
def test_every_optimizer(bench: Bench, optimizer: Optimizer) -> None:
    rates = [replace(optimizer, learning_rate=rate) for rate in (0.001, 0.01, 0.03)]
    others = [replace(one, weight_decay=0.01) for one in rates]
    assert_as_alone(bench, PLAN, CrossEntropy(), [optimizer, *rates, *others], count=7)


@pytest.mark.parametrize("count", [1, 2, 3, 7, 8, 9, 15, 16, 17, 33])
def test_fewer_members_than_lanes_and_more(bench: Bench, count: int) -> None:
    assert_as_alone(bench, PLAN, CrossEntropy(), [fn.Adam(0.01)], count=count)


@pytest.mark.parametrize("batch", [1, 2, 3, 4, 5, 7, 8, 9, 12, 13, 15, 16, 17, 31, 32, 40, 99])
def test_every_batch_size(bench: Bench, batch: int) -> None:
    """Sums over rows follow the tree of a vector, of which any number of leaves may be there."""
    plan = dense_plan(1, (2, "tanh"), (1, "identity"))
    assert_as_alone(bench, plan, MSE(), [fn.Adam(0.01)], rows=2 * batch + 1, batch=batch)
    how: dict[str, Any] = {"rows": batch, "batch": batch, "held_out": 0, "shuffle": False}
    assert_as_alone(bench, plan, MSE(), [fn.SGD(0.1)], **how)


@pytest.mark.parametrize("held_out", [0, 1, 30])
def test_early_stopping_at_different_epochs(bench: Bench, held_out: int) -> None:
    how: dict[str, Any] = {"patience": 2, "epochs": 25, "held_out": held_out, "count": 20}
    found = assert_as_alone(bench, PLAN, CrossEntropy(), [fn.Adam(0.1)], **how)
    assert len({len(trained) for trained, _ in found}) > 2


def test_rows_of_their_own(bench: Bench) -> None:
    how: dict[str, Any] = {"own_rows": True, "weighted": True, "count": 35}  # more than lanes
    assert_as_alone(bench, PLAN, CrossEntropy(), [fn.Adam(0.01)], **how)


def test_learning_rates_of_layers(bench: Bench) -> None:
    layers = Dense(3, "tanh", weight_rate=0.5, bias_rate=0.0), Dense(2, "softmax", bias_rate=2.0)
    assert_as_alone(bench, dense_plan(2, *layers), CrossEntropy(), [fn.AdamW(0.1)])


def test_a_member_that_diverges_leaves_the_others_alone(bench: Bench) -> None:
    """What it has itself after that is not looked at: it is trained again, alone."""
    plan = dense_plan(3, (4, "relu"), (1, "identity"))
    usual: list[Optimizer] = [fn.SGD(0.01)] * 5
    fast: list[Optimizer] = [*usual[:2], fn.SGD(1e30), *usual[3:]]
    engine = bench.engine(plan, random_parameters(plan))
    found = []
    for optimizers in (usual, fast):
        some = members(bench, plan, MSE(), optimizers, epochs=6)
        with np.errstate(all="ignore"):
            results = engine.train_members(some)
        found.append([facts(*pair) for pair in zip(some, results, strict=True)])
    (good, _), (bad, _) = results[0], results[2]
    assert good.steps.tolist() == [4.0] * 6
    assert len(bad) < 6
    assert bad.steps[-1] < 4
    same = [a == b for a, b in zip(*found, strict=True)]
    assert same == [True, True, False, True, True]


@pytest.mark.parametrize("taken", [0, 8])
def test_scratch_memory_has_the_size_that_the_kernel_uses(
    bench: Bench, taken: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel lays it out, and Python allocates it: no byte is too few, and 8 fewer are missed.

    Bytes behind it show a write beyond the end; of those inside, the last are written.
    """
    rooms: list[Any] = []

    def guarded(shape: tuple[int, ...], dtype: Any) -> Any:
        memory = aligned((shape[0] + 64,), dtype)
        memory.fill(0x5A)
        rooms.append(memory[shape[0] - taken :])
        return memory[: shape[0]]

    monkeypatch.setattr(numba_members, "aligned", guarded)
    batch = 7
    some = members(bench, PLAN, CrossEntropy(), [fn.Adam(0.01)], count=33, rows=300, batch=batch)
    bench.engine(PLAN, random_parameters(PLAN)).train_members(some)
    assert rooms
    untouched = [bool((room == 0x5A).all()) for room in rooms]
    assert untouched == [taken == 0] * len(rooms)


def test_the_smallest_difference_is_noticed(bench: Bench) -> None:
    require_the_smallest_difference(bench)


def require_the_smallest_difference(bench: Bench) -> None:
    """A negative control: one learning rate is larger by the smallest amount."""
    engine = bench.engine(PLAN, random_parameters(PLAN))
    rate = float(np.float32(0.01))
    more = float(np.nextafter(bench.dtype.type(rate), bench.dtype.type(1.0)))
    found = []
    for optimizers in ([fn.SGD(rate)] * 3, [fn.SGD(rate), fn.SGD(more), fn.SGD(rate)]):
        some = members(bench, PLAN, CrossEntropy(), [*optimizers], count=3)
        results = engine.train_members(some)
        found.append([facts(*pair) for pair in zip(some, results, strict=True)])
    assert [a == b for a, b in zip(*found, strict=True)] == [True, False, True]


@pytest.mark.parametrize("name", usable_backends())
def test_what_has_no_lanes_trains_one_by_one(name: str) -> None:
    """Of the same bits as the engine of each network."""
    bench = Bench(usable_backends()[name], np.dtype("f4"))
    plan = dense_plan(3, (40, "tanh"), (2, "softmax"))
    optimizer = fn.Adam(0.01, clip_norm=0.1)
    engine = bench.engine(plan, random_parameters(plan))
    assert engine.lanes_for(6, optimizer) == 1
    alone, together = (
        members(bench, plan, CrossEntropy(), [optimizer], count=3, patience=1) for _ in range(2)
    )
    found = engine.train_members(together)
    for one, other, result in zip(alone, together, found, strict=True):
        own = bench.engine(plan, bench.get(one.parameters))
        expected = own.train_epochs(one.stretch)
        assert bench.get(own.parameters).tobytes() == bench.get(other.parameters).tobytes()
        for a, b in zip(expected, result, strict=True):
            assert a.table.tolist() == b.table.tolist()
