"""Networks with `Members`: outputs, losses and gradients of every backend are those of TabM."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import fastnet as fn
from fastnet.backends.epochs import TrainConfig
from fastnet.backends.member_engine import MemberEngine
from fastnet.nn import random
from fastnet.nn.batch import Batch
from fastnet.nn.layers import Layer
from fastnet.nn.losses import MSE, CrossEntropy, Loss
from fastnet.nn.member_plan import MemberPlan, plan_of
from fastnet.nn.optimizers import Adam
from tests import tabm
from tests.closeness import assert_close
from tests.networks import Bench, usable_backends

Array = NDArray[Any]

K, ROWS, INPUTS, HIDDEN, OUTPUTS = 3, 8, 5, 7, 4
SEED, STEP, RATE = 11, 6, 0.25
DOUBLE = np.dtype(np.float64)
BENCHES = {name: Bench(backend, DOUBLE) for name, backend in usable_backends().items()}
each_bench = pytest.mark.parametrize("bench", BENCHES.values(), ids=BENCHES)
each_kind = pytest.mark.parametrize("scales", ["first", "all"])
each_task = pytest.mark.parametrize("loss", [CrossEntropy(), MSE()], ids=lambda row: row.name)


def network_plan(scales: Any, last: str, *, members: int = K, rate: float = RATE) -> MemberPlan:
    """Return the plan of two hidden layers with dropout behind each."""
    hidden: list[Layer] = []
    for _ in range(2):
        hidden += [fn.Dense(HIDDEN, "relu"), fn.Dropout(rate)]
    layers = fn.Members(members, scales=scales), *hidden, fn.Dense(OUTPUTS, last)  # type: ignore[arg-type]
    plan = plan_of(INPUTS, layers)
    assert isinstance(plan, MemberPlan)
    return plan


def plan_for(loss: Loss, scales: Any, **how: Any) -> MemberPlan:
    return network_plan(scales, loss.output_activation, **how)


def values_of(plan: MemberPlan, seed: int = 0) -> Array:
    """Return parameters (P,), no two alike."""
    return np.random.default_rng(seed).normal(0.0, 0.5, plan.size)


def named(plan: MemberPlan, flat: Array) -> dict[str, Array]:
    return {tensor.name: tensor.view(flat) for tensor in plan.parameters}


def rows_for(loss: Loss, count: int = ROWS, *, weighted: bool = False) -> Batch:
    rng = np.random.default_rng(1)
    x, weight = rng.normal(size=(count, INPUTS)), rng.uniform(0.0, 2.0, count)
    kept = weight if weighted else None
    if isinstance(loss, CrossEntropy):
        return Batch(x, rng.integers(0, OUTPUTS, count), None, kept)
    return Batch(x, None, rng.normal(size=(count, OUTPUTS)), kept)


def masks_of(plan: MemberPlan, step: int) -> dict[int, Array]:
    """Return the masks of each layer by its number in the list of layers."""
    found = {}
    for op, layer in enumerate(plan.chain):
        if isinstance(layer, fn.Dropout):
            how: dict[str, Any] = {"rate": layer.rate, "stream": op, "seed": SEED}
            # Members stand in front, so op k is the layer k + 1, behind the dense layer k.
            found[op] = np.empty((K, ROWS, HIDDEN))
            for m in range(K):
                random.dropout_mask(found[op][m], step=step * K + m, **how)
    return found


def wanted_of(
    plan: MemberPlan, flat: Array, rows: Batch, masks: dict[int, Array] | None
) -> tuple[float, dict[str, Array]]:
    """Return loss and gradients of the reference."""
    x = np.broadcast_to(rows.x, (K, *rows.x.shape))
    given = rows.labels if rows.labels is not None else rows.target
    assert given is not None
    y = np.broadcast_to(given, (K, *given.shape))
    return tabm.gradients(named(plan, flat), x, y, masks)


# --- the reference --------------------------------------------------------------------------------


@each_kind
@each_task
def test_the_gradients_of_the_reference_are_central_differences(loss: Loss, scales: Any) -> None:
    plan = plan_for(loss, scales)
    flat, rows, masks = values_of(plan), rows_for(loss), masks_of(plan, STEP)
    _, made = wanted_of(plan, flat, rows, masks)
    for tensor in plan.parameters:
        slope = made[tensor.name].reshape(-1)
        for place in range(0, tensor.size, 5):
            pair = []
            for move in (1e-6, -1e-6):
                moved = flat.copy()
                moved[tensor.offset + place] += move
                pair.append(wanted_of(plan, moved, rows, masks)[0])
            assert abs((pair[0] - pair[1]) / 2e-6 - slope[place]) < 1e-8


def package_cases() -> list[Any]:
    """Return what the package ``tabm`` 0.0.3 computed in float64, with PyTorch 2.13."""
    text = Path(__file__).with_name("tabm_package.json").read_text(encoding="utf-8")
    cases: list[Any] = json.loads(text)
    return cases


@pytest.mark.parametrize("case", package_cases(), ids=lambda one: f"{one['scales']}-{one['task']}")
@each_bench
def test_the_package_of_the_authors_computes_the_same(bench: Bench, case: Any) -> None:
    loss = CrossEntropy() if case["task"] == "classes" else MSE()
    layers = fn.Members(2, scales=case["scales"]), *[fn.Dense(4, "relu")] * 2
    plan = plan_of(3, (*layers, fn.Dense(2, loss.output_activation)))
    assert isinstance(plan, MemberPlan)
    flat, target = np.zeros(plan.size), np.array(case["y"])
    for name, view in named(plan, flat).items():
        view[...] = case["parameters"][name]
    labels, numbers = (target, None) if case["task"] == "classes" else (None, target)
    engine = bench.engine(plan, flat)
    sums = engine.gradient(bench.rows(Batch(np.array(case["x"]), labels, numbers)), loss)
    assert abs(sums.mean_loss - case["loss"]) < 1e-14
    found = named(plan, bench.get(engine.gradients))
    for name, gradient in case["gradients"].items():
        assert_close(found[name], gradient, factor=32, what=name)
    outputs = np.array(case["outputs"])
    answers = tabm.softmax(outputs) if case["task"] == "classes" else outputs
    assert_close(bench.get(engine.predict(bench.put(np.array(case["x"])))), answers.mean(0))


# --- every backend --------------------------------------------------------------------------------


@each_bench
@each_kind
@each_task
def test_outputs_loss_and_gradients_are_those_of_the_reference(
    bench: Bench, loss: Loss, scales: Any
) -> None:
    plan = plan_for(loss, scales)
    flat, rows = values_of(plan), rows_for(loss)
    batch, engine = bench.rows(rows), bench.engine(plan, flat)
    for training in (False, True):
        masks = masks_of(plan, STEP) if training else None
        value, made = wanted_of(plan, flat, rows, masks)
        sums = engine.gradient(batch, loss, training=training, seed=SEED, step=STEP)
        assert abs(sums.mean_loss - value) < 1e-12
        found = named(plan, bench.get(engine.gradients))
        for name, gradient in made.items():
            assert np.abs(found[name] - gradient).max() < 1e-12, name
        # The same by a forward and a backward pass.
        x = np.broadcast_to(rows.x, (K, *rows.x.shape))
        outputs, _ = tabm.forward(named(plan, flat), x, masks)
        answers = outputs if isinstance(loss, MSE) else tabm.softmax(outputs)
        y = engine.forward(batch.x, training=training, seed=SEED, step=STEP)
        assert np.abs(bench.get(y) - answers.mean(0)).max() < 1e-12
        before = bench.get(engine.gradients).tobytes()
        engine.backward(batch, loss)
        assert bench.get(engine.gradients).tobytes() == before
        assert engine.read_tally() == sums


@each_bench
def test_a_gradient_at_the_mean_output_goes_back_to_all_members(bench: Bench) -> None:
    plan = plan_for(MSE(), "all", rate=0.0)
    flat, rows = values_of(plan), rows_for(MSE())
    engine = bench.engine(plan, flat)
    x, d = bench.put(rows.x), np.random.default_rng(4).normal(size=(ROWS, OUTPUTS))
    engine.reserve(ROWS)
    engine.forward(x, training=False)
    engine.backward_from(x, bench.put(d), logits=False)
    found = bench.get(engine.gradients)
    engine = BENCHES["numpy"].engine(plan, flat)
    for place in range(0, plan.size, 11):
        pair = []
        for move in (1e-6, -1e-6):
            engine.parameters[...] = flat
            engine.parameters[place] += move
            pair.append(float((engine.predict(rows.x) * d).sum()))
        assert abs((pair[0] - pair[1]) / 2e-6 - found[place]) < 1e-7


@each_bench
@each_task
def test_one_member_without_factors_has_the_bits_of_a_plain_network(
    bench: Bench, loss: Loss
) -> None:
    plan = plan_for(loss, "first", members=1)
    flat = plan.initial_parameters(3, DOUBLE)
    named(plan, flat)["layers.1.input_scale"][...] = 1.0
    own = plan.member.initial_parameters(3, DOUBLE)
    rows = bench.rows(rows_for(loss, weighted=True))
    whole, plain = bench.engine(plan, flat), bench.engine(plan.member, own)
    config = TrainConfig(loss, Adam(0.01), ROWS, SEED, shuffle=False)
    table = config.optimizer.step_coefficients(1, np.array([0.01]))
    for engine in (whole, plain):
        engine.gradient(rows, loss, training=True, seed=SEED, step=STEP)
    pairs = [(bench.get(whole.gradients), bench.get(plain.gradients))]
    for engine, layout in ((whole, plan), (plain, plan.member)):
        engine.train_step(rows, config, bench.moments(config, layout), table[0], STEP)
    pairs.append((bench.get(whole.parameters), bench.get(plain.parameters)))
    for a, b in pairs:
        shared = named(plan, a)
        for tensor in plan.member.parameters:
            name = tensor.name.replace(tensor.name[:8], f"layers.{int(tensor.name[7]) + 1}")
            assert shared[name].tobytes() == np.ascontiguousarray(tensor.view(b)).tobytes(), name


@each_bench
@each_task
def test_rows_are_scored_by_the_mean_of_the_members(bench: Bench, loss: Loss) -> None:
    plan = plan_for(loss, "first")
    flat, rows = values_of(plan), rows_for(loss, weighted=True)
    engine = bench.engine(plan, flat)
    sums, outputs = engine.evaluate(bench.rows(rows), loss)
    y, weight = bench.get(outputs), rows.weight
    assert weight is not None
    if rows.labels is None:
        losses = ((y - rows.target) ** 2).mean(1)
    else:
        losses = -np.log(y[np.arange(ROWS), rows.labels])
    assert abs(sums.mean_loss - (losses * weight).sum() / weight.sum()) < 1e-12
    members = sums_of_members(plan, flat, rows, loss)
    assert sums.mean_loss < members - 1e-3  # both losses are convex, so the mean is better


def sums_of_members(plan: MemberPlan, flat: Array, rows: Batch, loss: Loss) -> float:
    """Return the mean of the members' own losses."""
    return BENCHES["numpy"].engine(plan, flat).gradient(rows, loss).mean_loss


# --- epochs ---------------------------------------------------------------------------------------


def trained(threads: int, *, shuffle: bool = True, epoch: int = 2) -> tuple[Array, Any]:
    """Return parameters and sums after an epoch of float32 on Numba."""
    loss = CrossEntropy()
    plan = plan_for(loss, "all", members=5)
    bench = Bench(fn.get_backend("numba"), np.dtype(np.float32))
    engine = bench.engine(plan, values_of(plan))
    engine.threads, engine.most_threads = threads, 4
    rows = bench.rows(rows_for(loss, 50, weighted=True))
    config = TrainConfig(loss, Adam(0.01), 16, SEED, shuffle=shuffle)
    table = config.optimizer.step_coefficients(1, np.full(4, 0.01))
    moments = bench.moments(config, plan)
    sums = engine.train_epoch(rows, config, moments, table, epoch=epoch, step=3)
    return np.array(engine.parameters), sums


@pytest.mark.skipif("numba" not in BENCHES, reason="Numba is not installed")
def test_threads_change_no_bit() -> None:
    parameters, sums = trained(1)
    for threads in (2, 3, 4):
        others, found = trained(threads)
        assert others.tobytes() == parameters.tobytes() and found == sums
    assert trained(1, epoch=3)[0].tobytes() != parameters.tobytes()  # and another order does
    assert trained(1, shuffle=False)[0].tobytes() != parameters.tobytes()


def test_each_member_shuffles_the_rows_by_itself() -> None:
    plan = plan_for(MSE(), "first", rate=0.0)
    flat, rows = values_of(plan), rows_for(MSE(), 24)
    engine = BENCHES["numpy"].engine(plan, flat)
    assert isinstance(engine, MemberEngine)
    seen: list[Array] = []
    gather = engine.gather

    def spy(*what: Any) -> Batch:
        seen.append(gather(*what).x)
        return gather(*what)

    engine.gather = spy  # type: ignore[method-assign]
    config = TrainConfig(MSE(), Adam(0.01), 10, SEED, shuffle=True)
    table = config.optimizer.step_coefficients(1, np.full(3, 0.01))
    moments = np.zeros((2, plan.size))
    engine.train_epoch(rows, config, moments, table, epoch=4, step=0)
    for m in range(K):
        order = random.permutation(24, seed=SEED, epoch=4 * K + m)
        assert np.array_equal(np.concatenate(seen[m::K]), rows.x[order])


def test_an_epoch_in_two_parts_has_the_bits_of_one() -> None:
    plan, rows = plan_for(MSE(), "all"), rows_for(MSE(), 24)
    config = TrainConfig(MSE(), Adam(0.01), 10, SEED, shuffle=True)
    table = config.optimizer.step_coefficients(1, np.full(3, 0.01))
    results = []
    for cuts in ([0, 3], [0, 1, 3]):
        engine, moments = BENCHES["numpy"].engine(plan, values_of(plan)), np.zeros((2, plan.size))
        for first, last in pairwise(cuts):
            how = {"epoch": 0, "step": first, "first": first}
            engine.train_epoch(rows, config, moments, table[first:last], **how)
        results.append(engine.parameters.tobytes() + moments.tobytes())
    assert results[0] == results[1]


def test_a_loss_that_is_not_finite_ends_the_epoch() -> None:
    plan, rows = plan_for(MSE(), "first"), rows_for(MSE(), 24)
    assert rows.target is not None
    rows.target[7] = np.inf
    config = TrainConfig(MSE(), Adam(0.01), 8, SEED, shuffle=False)
    table = config.optimizer.step_coefficients(1, np.full(3, 0.01))
    engine = BENCHES["numpy"].engine(plan, values_of(plan))
    sums = engine.train_epoch(rows, config, np.zeros((2, plan.size)), table, epoch=0, step=0)
    assert sums.steps == 0 and not np.isfinite(sums.loss)
