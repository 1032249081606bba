"""Every engine against the reference, and its fast paths against the composed ones."""

from __future__ import annotations

import inspect
import tracemalloc
from dataclasses import fields
from typing import Any

import numpy as np
import pytest

from fastnet.backends import get_backend
from fastnet.backends.base import Backend
from fastnet.backends.engine import Engine
from fastnet.backends.epochs import LossSums
from fastnet.nn import random
from fastnet.nn.batch import Batch
from fastnet.nn.layers import BatchNorm, Dense, Dropout, LayerNorm, Residual
from fastnet.nn.losses import LOSSES, MSE, CrossEntropy, Huber, Loss, Quantile
from fastnet.nn.losses import BinaryCrossEntropy as BCE
from fastnet.nn.optimizers import LBFGS, OPTIMIZERS, SGD, Adam, Optimizer
from fastnet.nn.schedules import Cosine
from tests import reference
from tests.closeness import assert_close
from tests.networks import (
    HIDDEN_ACTIVATIONS,
    LOSS_OUTPUTS,
    Bench,
    assert_same_gradients,
    assert_same_tally,
    cached_case,
    dense_plan,
    dense_target,
    dropout_masks,
    flat_parameters,
    flat_state,
    loss_options,
    outputs_for,
    random_parameters,
    random_rows,
    random_state,
    terms_of,
    to_reference,
)
from tests.runs import Run, assert_same_epoch, sums

STEPWISE = {name: row for name, row in OPTIMIZERS.items() if row is not LBFGS}


def check_against_reference(
    bench: Bench, *case: Any, labels: bool = False, weighted: bool = False, training: bool = False
) -> None:
    """Compare output, sums, gradients and running statistics of one batch."""
    plan, parameters, state, rows, expected = cached_case(*case, labels, weighted, training)
    loss = case[2]
    engine, output, tally = bench.run(plan, parameters, state, rows, loss, training=training)
    assert output.dtype == bench.dtype
    assert_close(output, expected["output"], terms=terms_of(plan), what="output")
    assert_same_tally(tally, expected, bench.dtype, terms=terms_of(plan, len(rows)))
    gradients = bench.get(engine.gradients)
    assert_same_gradients(plan, gradients, expected["gradients"], count=len(rows))
    assert_close(bench.get(engine.state), expected["state"], terms=len(rows), what="state")


# --- losses, activations, widths, layers ----------------------------------------------------------


@pytest.mark.parametrize("weighted", [False, True], ids=["", "weighted"])
@pytest.mark.parametrize(("name", "output"), LOSS_OUTPUTS)
def test_every_loss_on_every_output_it_fits(
    bench: Bench, name: str, output: str, weighted: bool
) -> None:
    loss = LOSSES[name]()
    layers = Dense(7, "tanh"), Dense(outputs_for(loss, 3), output)
    check_against_reference(bench, 5, layers, loss, 9, weighted=weighted)


@pytest.mark.parametrize("weighted", [False, True], ids=["", "weighted"])
@pytest.mark.parametrize("loss", [CrossEntropy(), CrossEntropy(label_smoothing=0.125)], ids=str)
def test_labels_are_one_hot_targets(bench: Bench, loss: Loss, weighted: bool) -> None:
    layers = Dense(7, "tanh"), Dense(5, "softmax")
    check_against_reference(bench, 4, layers, loss, 9, labels=True, weighted=weighted)


@pytest.mark.parametrize(
    ("loss", "output"),
    [
        (CrossEntropy(label_smoothing=0.25), "softmax"),
        (BCE(label_smoothing=0.25), "sigmoid"),
        (Huber(delta=0.5), "identity"),
        (Quantile((0.25,)), "identity"),
        (Quantile((0.05, 0.25, 0.75, 0.95)), "softplus"),
    ],
    ids=str,
)
def test_the_options_of_losses_are_used(bench: Bench, loss: Loss, output: str) -> None:
    layers = Dense(7, "tanh"), Dense(outputs_for(loss, 2), output)
    check_against_reference(bench, 5, layers, loss, 9)


@pytest.mark.parametrize("activation", HIDDEN_ACTIVATIONS)
def test_every_hidden_activation(bench: Bench, activation: str) -> None:
    layers = Dense(17, activation), Dense(6, activation), Dense(3)
    check_against_reference(bench, 5, layers, MSE(), 9)


@pytest.mark.parametrize("count", [1, 2, 13])
@pytest.mark.parametrize("width", [1, 3, 7, 17, 33, 65, 100])
def test_widths_that_are_a_multiple_of_nothing(bench: Bench, width: int, count: int) -> None:
    layers = Dense(width, "silu"), Dense(max(1, width // 2), "tanh"), Dense(3)
    check_against_reference(bench, width, layers, MSE(), count)


@pytest.mark.parametrize("outputs", [2, 3, 10, 33, 100])
def test_cross_entropy_over_any_number_of_classes(bench: Bench, outputs: int) -> None:
    layers = (Dense(outputs, "softmax"),)
    check_against_reference(bench, 6, layers, CrossEntropy(), 11, labels=True, weighted=True)


LAYERED = {
    "everything": (
        Dense(7),
        BatchNorm("silu"),
        Dropout(0.3),
        Dense(5, "elu"),
        LayerNorm("tanh"),
        Dense(3),
    ),
    "batch norm first": (BatchNorm(), Dense(6, "gelu"), Dense(3)),
    "layer norm first": (LayerNorm("mish", epsilon=1e-3), Dense(6, "relu"), Dense(3)),
    "dropout first": (Dropout(0.25), Dense(6, "tanh"), Dropout(0.5), Dense(3)),
    "one after another": (
        Dense(6, "silu"),
        Dropout(0.25),
        Dropout(0.125),
        BatchNorm("gelu", momentum=0.5, epsilon=1e-2),
        BatchNorm(momentum=1.0),
        LayerNorm(),
        LayerNorm("softplus"),
        Dense(3),
    ),
    "last before the output": (Dense(6), LayerNorm("silu"), BatchNorm("tanh"), Dense(3)),
    "a residual connection": (
        Dense(5, "relu"),
        Residual([LayerNorm(), Dense(9, "gelu"), Dropout(0.25), Dense(5)]),
        Dense(3),
    ),
    "residual connections one after another and inside of one another": (
        Residual([Residual([Dense(4, "relu")]), BatchNorm("tanh"), Residual([Dense(4)])]),
        Residual([Dense(4, "relu")]),
        Dense(6, "relu"),
        Residual([Residual([Residual([Dropout(0.25)]), Dense(6, "silu")])]),
        Residual([Dense(7, "relu"), Dense(6, "relu")]),
        Dense(3),
    ),
    "a connection from a ReLU to a dense layer": (
        Dense(9, "relu"),
        Residual([Dense(7, "relu"), Dense(9)]),
        Dense(3),
    ),
    "a connection around a normalisation": (Dense(5), Residual([BatchNorm("elu")]), Dense(3)),
    "dropout of nothing": (Dense(6, "tanh"), Dropout(0.0), Dense(3)),
}


@pytest.mark.parametrize("training", [True, False], ids=["training", "inference"])
@pytest.mark.parametrize("layers", LAYERED.values(), ids=LAYERED.keys())
def test_normalisation_and_dropout(bench: Bench, layers: tuple[Any, ...], training: bool) -> None:
    check_against_reference(bench, 4, layers, MSE(), 9, weighted=True, training=training)


@pytest.mark.parametrize("activation", HIDDEN_ACTIVATIONS)
@pytest.mark.parametrize("norm", [BatchNorm, LayerNorm])
def test_normalisation_applies_every_activation(bench: Bench, norm: Any, activation: str) -> None:
    layers = Dense(5), norm(activation), Dense(2)
    check_against_reference(bench, 3, layers, MSE(), 7, training=True)


def test_batch_norm_of_a_single_row_is_beta(bench: Bench) -> None:
    plan = dense_plan(3, BatchNorm(), (2, "identity"))
    parameters = random_parameters(plan)
    rows = random_rows(plan, MSE(), 1)
    state = random_state(plan)
    _, output, _ = bench.run(plan, parameters, state, rows, MSE(), training=True)
    beta, w, b = (
        plan_part.view(parameters)
        for name in ("layers.0.bias", "layers.1.weight", "layers.1.bias")
        for plan_part in plan.parameters
        if plan_part.name == name
    )
    assert_close(output, (beta @ w + b)[None], terms=terms_of(plan))


# --- what backward does to gradients and tally ----------------------------------------------------


def test_backward_overwrites_gradients_and_adds_to_the_tally(bench: Bench) -> None:
    plan, parameters, state, rows, expected = cached_case(5, (Dense(7, "tanh"), Dense(3)), MSE(), 9)
    engine, batch = bench.engine(plan, parameters, state), bench.rows(rows)
    engine.reserve(9)
    for _ in range(3):
        engine.forward(batch.x, training=False)
        engine.backward(batch, MSE())
    assert_same_gradients(plan, bench.get(engine.gradients), expected["gradients"], count=9)
    tally = engine.read_tally()
    assert tally.weight == 27
    assert tally.steps == 3
    value = np.asarray(tally.loss).astype(bench.dtype)
    assert_close(value, 3 * expected["loss"], terms=terms_of(plan, 9))
    assert engine.read_tally() == LossSums(0.0, 0.0, 0.0, 0)


def test_a_weight_of_zero_is_a_row_left_out(bench: Bench) -> None:
    plan = dense_plan(5, (7, "tanh"), (3, "softmax"))
    rows = random_rows(plan, CrossEntropy(), 9, labels=True, weighted=True)
    assert rows.weight is not None
    rows.weight[[0, 4, 8]] = 0.0
    kept = Batch(*(None if a is None else a[rows.weight > 0] for a in rows.fields))
    parameters, state = random_parameters(plan), random_state(plan)
    with_zeros, _, tally = bench.run(plan, parameters, state, rows, CrossEntropy())
    without, _, expected = bench.run(plan, parameters, state, kept, CrossEntropy())
    gradients = [bench.get(engine.gradients) for engine in (with_zeros, without)]
    assert_same_gradients(plan, *gradients, count=9)
    sums = np.array([[t.loss, t.score, t.weight] for t in (tally, expected)]).astype(bench.dtype)
    assert_close(sums[0], sums[1], terms=9)


@pytest.mark.parametrize("name", LOSSES)
def test_a_batch_without_weight_has_no_gradient_and_no_loss(bench: Bench, name: str) -> None:
    loss = LOSSES[name]()
    plan = dense_plan(4, (5, "tanh"), (outputs_for(loss, 2), loss.output_activations[0]))
    rows = random_rows(plan, loss, 6, weighted=True)
    assert rows.weight is not None
    rows.weight[:] = 0.0
    engine, _, tally = bench.run(plan, random_parameters(plan), random_state(plan), rows, loss)
    assert not bench.get(engine.gradients).any()
    assert (tally.loss, tally.score, tally.weight, tally.steps) == (0.0, 0.0, 0.0, 1)
    assert tally.mean_loss == tally.mean_score == 0.0


def test_gradient_takes_all_rows_as_one_batch(bench: Bench) -> None:
    layers = Dense(7, "tanh"), Dense(3)
    plan, parameters, state, rows, expected = cached_case(5, layers, MSE(), 23, weighted=True)
    engine = bench.engine(plan, parameters, state)
    tally = engine.gradient(bench.rows(rows), MSE())
    assert_same_gradients(plan, bench.get(engine.gradients), expected["gradients"], count=23)
    assert_same_tally(tally, expected, bench.dtype, terms=terms_of(plan, 23))


def test_an_engine_may_reserve_more_and_then_work_on_less(bench: Bench) -> None:
    layers = Dense(7, "silu"), LayerNorm("gelu"), Dense(3)
    plan, parameters, state, rows, expected = cached_case(5, layers, MSE(), 4)
    engine, batch = bench.engine(plan, parameters, state), bench.rows(rows)
    for reserved in (4, 50, 2, 9):
        engine.reserve(reserved)
        output = bench.get(engine.forward(batch.x, training=False))
        assert_close(output, expected["output"], terms=terms_of(plan))
        engine.backward(batch, MSE())
        assert_same_gradients(plan, bench.get(engine.gradients), expected["gradients"], count=4)


def test_numpy_computes_an_order_once_for_all_spans_of_an_epoch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plan, asked = dense_plan(5, (3, "softmax")), []
    engine = Bench(get_backend("numpy"), np.dtype("f4")).engine(plan, random_parameters(plan))
    monkeypatch.setattr(
        random, "permutation", lambda count, **key: asked.append(key["epoch"]) or np.arange(count)
    )
    for epoch in (0, 0, 1, 1, 0):
        assert len(engine.order(7, 3, epoch)) == 7
    assert asked == [0, 1, 0]


def test_gather_takes_the_rows_in_order(bench: Bench) -> None:
    plan = dense_plan(5, (3, "softmax"))
    engine = bench.engine(plan, random_parameters(plan))
    engine.reserve(8)
    order = engine.order(21, 7, 2)
    expected = random.permutation(21, seed=7, epoch=2)
    np.testing.assert_array_equal(bench.get(order), expected)
    for labels in (True, False):
        rows = random_rows(plan, CrossEntropy(), 21, labels=labels, weighted=True)
        for start, stop in [(0, 8), (8, 16), (16, 21)]:
            for chosen, index in [(order, expected[start:stop]), (None, np.arange(start, stop))]:
                batch = engine.gather(bench.rows(rows), chosen, start, stop)
                assert len(batch) == stop - start
                for got, want in zip(batch.fields, rows.fields, strict=True):
                    assert (got is None) == (want is None)
                    if want is not None:
                        np.testing.assert_array_equal(bench.get(got), want[index].astype(got.dtype))


# --- optimizers -----------------------------------------------------------------------------------

PENALTIES: dict[str, dict[str, float]] = {
    "plain": {},
    "l1": {"l1": 0.03},
    "l2": {"l2": 0.25},
    "decay": {"weight_decay": 0.5},
    "clip": {"clip_norm": 0.5},
    "loose clip": {"clip_norm": 1e6},
    "all": {"l1": 0.03, "l2": 0.25, "weight_decay": 0.5, "clip_norm": 0.5},
}
MORE_OPTIMIZERS = [
    SGD(0.05, 0.75),
    SGD(0.05, 0.75, nesterov=True),
    OPTIMIZERS["rmsprop"](rho=0.5, epsilon=0.125),
    OPTIMIZERS["adagrad"](epsilon=0.125),
    Adam(0.01, 0.5, 0.75, 0.125),
    OPTIMIZERS["nadam"](0.01, 0.5, 0.75, 0.125),
    OPTIMIZERS["lion"](0.01, 0.5, 0.75),
    Adam(Cosine(0.05, epochs=4)),
]


def optimizer_options(optimizer: Optimizer) -> dict[str, Any]:
    names = (field.name for field in fields(optimizer) if field.name != "learning_rate")
    return {name: getattr(optimizer, name) for name in names}


def check_optimizer(bench: Bench, optimizer: Optimizer, steps: int = 6) -> None:
    """Give the same gradients, of many magnitudes and some 0, to the engine and the reference."""
    plan = dense_plan(3, (5, "tanh"), LayerNorm(), (2, "identity"))
    parameters = random_parameters(plan)
    parameters[[0, plan.size - 1]] = 0.0
    rng = np.random.default_rng(1)
    gradients = rng.standard_normal((steps, plan.size)) * 10.0 ** rng.uniform(-2, 0.5, plan.size)
    gradients[:, ::7] = 0.0
    gradients = gradients.astype(np.float32).astype(np.float64)
    rates = optimizer.schedule.rates(np.arange(steps, dtype=np.float64))

    engine = bench.engine(plan, parameters)
    moments = bench.put(np.zeros((optimizer.n_moments, plan.size)))
    for row, g in zip(optimizer.step_coefficients(1, rates), gradients, strict=True):
        engine.gradients[...] = bench.put(g)
        engine.update(optimizer, moments, row)

    expected, memory = parameters.tolist(), [{} for _ in parameters]
    n_weights = (np.arange(plan.size) < plan.n_weights).tolist()
    options = optimizer_options(optimizer)
    for t, (rate, g) in enumerate(zip(rates.tolist(), gradients.tolist(), strict=True), start=1):
        expected = reference.optimizer_step(
            optimizer.name, expected, g, memory, t, rate, options, n_weights
        )
    got = bench.get(engine.parameters)
    assert_close(got, expected, terms=steps)
    change = np.asarray(expected) - parameters
    assert_close(got - parameters.astype(bench.dtype), change, terms=steps, scale=1.0)


@pytest.mark.parametrize("penalty", PENALTIES.values(), ids=PENALTIES.keys())
@pytest.mark.parametrize("name", STEPWISE)
def test_every_optimizer_with_every_penalty(
    bench: Bench, name: str, penalty: dict[str, float]
) -> None:
    check_optimizer(bench, STEPWISE[name](0.01, **penalty))


@pytest.mark.parametrize("optimizer", MORE_OPTIMIZERS, ids=lambda o: o.name)
def test_the_options_of_optimizers_are_used(bench: Bench, optimizer: Optimizer) -> None:
    check_optimizer(bench, optimizer)


def test_the_norm_that_clips_is_that_of_the_whole_gradient(bench: Bench) -> None:
    plan = dense_plan(3, (2, "identity"))
    engine = bench.engine(plan, np.zeros(plan.size))
    gradient = np.full(plan.size, 2.0)
    engine.gradients[...] = bench.put(gradient)
    optimizer = SGD(1.0, clip_norm=0.5)
    row = optimizer.step_coefficients(1, np.ones(1))[0]
    engine.update(optimizer, bench.put(np.zeros((1, plan.size))), row)
    got = bench.get(engine.parameters)
    assert_close(got, np.full(plan.size, -0.5 / plan.size**0.5), terms=plan.size)


def test_a_gradient_whose_square_overflows_is_clipped_too(bench: Bench) -> None:
    plan = dense_plan(3, (2, "identity"))
    engine = bench.engine(plan, np.zeros(plan.size))
    engine.gradients[...] = bench.put(np.full(plan.size, np.float32(1e20)))
    optimizer = SGD(1.0, clip_norm=1.0)
    row = optimizer.step_coefficients(1, np.ones(1))[0]
    engine.update(optimizer, bench.put(np.zeros((1, plan.size))), row)
    got = bench.get(engine.parameters)
    assert_close(got, np.full(plan.size, -1 / plan.size**0.5), terms=plan.size)


# --- training -------------------------------------------------------------------------------------

EPOCHS = {
    "partial last batch": {"count": 23, "batch_size": 5},
    "even batches": {"count": 20, "batch_size": 5},
    "in the order they have": {"count": 23, "batch_size": 5, "shuffle": False},
    "from the third batch on": {"count": 23, "batch_size": 5, "first": 2},
    "the middle, unshuffled": {
        "count": 23,
        "batch_size": 5,
        "first": 1,
        "steps": 2,
        "shuffle": False,
    },
    "one row a batch": {"count": 7, "batch_size": 1},
    "a single row": {"count": 1, "batch_size": 4},
    "full batch": {"count": 23, "batch_size": 23},
    "more than there is": {"count": 23, "batch_size": 1000},
    "no batch at all": {"count": 23, "batch_size": 5, "steps": 0},
}
TRAINED = {
    "regression": ((Dense(9, "tanh"), Dense(6, "gelu"), Dense(2)), MSE(), False, False),
    "classes": ((Dense(9, "silu"), Dense(4, "softmax")), CrossEntropy(0.125), True, True),
    "layers": (
        (Dense(8), BatchNorm("tanh"), Dropout(0.25), Dense(5, "silu"), LayerNorm(), Dense(3)),
        MSE(),
        False,
        True,
    ),
    "one layer": ((Dense(3, "sigmoid"),), BCE(), False, False),
    "residual": (
        (
            Residual([Dropout(0.25), Dense(4, "silu")]),
            Dense(6, "relu"),
            Residual([Residual([LayerNorm(), Dense(6, "gelu")]), Dense(9), Dense(6, "tanh")]),
            Dense(3),
        ),
        MSE(),
        False,
        True,
    ),
}


@pytest.mark.parametrize("network", TRAINED)
@pytest.mark.parametrize("setup", EPOCHS.values(), ids=EPOCHS.keys())
def test_an_epoch_is_its_steps_one_by_one(
    bench: Bench, setup: dict[str, Any], network: str
) -> None:
    assert_same_epoch(Run(bench, TRAINED[network], **setup))


@pytest.mark.parametrize("network", TRAINED)
@pytest.mark.parametrize("setup", EPOCHS.values(), ids=EPOCHS.keys())
def test_an_epoch_is_what_the_reference_says(
    bench64: Bench, setup: dict[str, Any], network: str
) -> None:
    run = Run(bench64, TRAINED[network], **setup, optimizer=SGD(0.05, 0.5, weight_decay=0.1))
    engine, moments = run.start()
    tally = run.train(engine, moments)
    plan, rows, size = run.plan, run.rows, run.config.batch_size
    order = np.arange(len(rows))
    if run.config.shuffle:
        order = random.permutation(len(rows), seed=run.config.seed, epoch=run.epoch)
    target = np.array(dense_target(plan, rows))
    batches = []
    for k in range(run.steps):
        index = order[(run.first + k) * size :][:size]
        batch = {"x": rows.x[index].tolist(), "target": target[index].tolist()}
        if rows.weight is not None:
            batch["weight"] = rows.weight[index].tolist()
        step, seed = run.step + k, run.config.seed
        batch["masks"] = dropout_masks(plan, len(index), seed=seed, step=step)
        batches.append(batch)
    network_ = to_reference(plan, random_parameters(plan), random_state(plan))
    loss, optimizer = run.config.loss, run.config.optimizer
    results = reference.train(
        network_,
        batches,
        loss.name,
        optimizer.name,
        run.rates.tolist(),
        loss_options=loss_options(loss),
        optimizer_options=optimizer_options(optimizer),
    )
    expected = np.array([sum(r[key] for r in results) for key in ("loss", "score", "weight")])
    assert_close(sums(tally, np.float64), expected, terms=run.terms())
    assert_close(bench64.get(engine.parameters), flat_parameters(plan, network_), terms=run.terms())
    assert_close(bench64.get(engine.state), flat_state(plan, network_), terms=run.terms())


@pytest.mark.parametrize("name", STEPWISE)
def test_an_epoch_is_its_steps_with_every_optimizer(bench64: Bench, name: str) -> None:
    for penalty in PENALTIES.values():
        optimizer = STEPWISE[name](0.01, **penalty)
        run = Run(bench64, TRAINED["regression"], count=23, batch_size=5, optimizer=optimizer)
        (fast, fast_moments), (slow, slow_moments) = run.start(), run.start()
        run.train(fast, fast_moments)
        run.train(slow, slow_moments, composed=True)
        values = [bench64.get(engine.parameters) for engine in (fast, slow)]
        # A few units of rounding of a tiny gradient are many of Adam's first steps.
        assert_close(*values, terms=run.terms(), factor=64)


def test_two_runs_are_bit_identical(bench: Bench) -> None:
    run = Run(bench, TRAINED["layers"], count=23, batch_size=5)
    results = []
    for _ in range(2):
        engine, moments = run.start()
        tally = run.train(engine, moments)
        results.append((bench.get(engine.parameters).tobytes(), tally))
    assert results[0] == results[1]


def test_an_epoch_cut_in_two_is_the_same_epoch(bench: Bench) -> None:
    whole = Run(bench, TRAINED["layers"], count=23, batch_size=5)
    engine, moments = whole.start()
    whole.train(engine, moments)
    other, other_moments = whole.start()
    for first, steps in [(0, 2), (2, 3)]:
        part = Run(bench, TRAINED["layers"], count=23, batch_size=5, first=first, steps=steps)
        part.step += first
        part.train(other, other_moments)
    values = [bench.get(e.parameters).tobytes() for e in (engine, other)]
    assert values[0] == values[1]


def test_training_changes_the_arrays_it_was_given(bench: Bench) -> None:
    run = Run(bench, TRAINED["layers"], count=23, batch_size=5)
    engine, moments = run.start()
    parameters, state = engine.parameters, engine.state
    before = [np.array(bench.get(a)) for a in (parameters, state, moments)]
    run.train(engine, moments)
    assert engine.parameters is parameters
    assert engine.state is state
    for old, new in zip(before, (parameters, state, moments), strict=True):
        assert (old != bench.get(new)).any()


# --- prediction and evaluation --------------------------------------------------------------------


@pytest.mark.parametrize("network", TRAINED)
def test_blocks_of_rows_give_what_one_block_gives(
    bench: Bench, network: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(bench, TRAINED[network], count=150, batch_size=150)
    engine, _ = run.start()
    rows = bench.rows(run.rows)
    whole, whole_outputs = engine.evaluate(rows, run.config.loss)
    monkeypatch.setattr(type(engine), "workspace_bytes", 1)
    other, _ = run.start()
    assert len(list(other.blocks(150))) == 3
    parts, outputs = other.evaluate(rows, run.config.loss)
    terms = terms_of(run.plan, 150)
    assert_close(sums(parts, bench.dtype), sums(whole, bench.dtype), terms=terms)
    whole_outputs = np.array(bench.get(whole_outputs))
    assert_close(bench.get(outputs), whole_outputs, terms=terms_of(run.plan))
    assert_close(bench.get(other.predict(rows.x)), whole_outputs, terms=terms_of(run.plan))
    assert bench.get(engine.state).tobytes() == bench.get(run.start()[0].state).tobytes()


@pytest.mark.parametrize("network", TRAINED)
def test_one_row_alone_is_predicted_as_among_others(bench: Bench, network: str) -> None:
    run = Run(bench, TRAINED[network], count=9, batch_size=9)
    engine, _ = run.start()
    together = np.array(bench.get(engine.predict(bench.rows(run.rows).x)))
    x = run.rows.x.astype(bench.dtype)
    alone = np.stack([engine.predict_one(row) for row in x])
    assert alone.dtype == bench.dtype
    assert_close(alone, together, terms=terms_of(run.plan))


def test_evaluation_is_the_reference_without_training(bench: Bench) -> None:
    layers, loss, labels, weighted = TRAINED["layers"]
    plan, parameters, state, rows, expected = cached_case(4, layers, loss, 23, labels, weighted)
    engine = bench.engine(plan, parameters, state)
    tally, outputs = engine.evaluate(bench.rows(rows), loss)
    assert_same_tally(tally, expected, bench.dtype, terms=terms_of(plan, 23), steps=tally.steps)
    assert tally.steps >= 1
    assert_close(bench.get(outputs), expected["output"], terms=terms_of(plan))


def test_no_rows_give_no_outputs(bench: Bench) -> None:
    plan = dense_plan(4, (5, "relu"), (3, "identity"))
    engine = bench.engine(plan, random_parameters(plan))
    empty = bench.put(np.empty((0, 4)))
    assert bench.get(engine.predict(empty)).shape == (0, 3)
    tally, outputs = engine.evaluate(Batch(empty, None, bench.put(np.empty((0, 3)))), MSE())
    assert bench.get(outputs).shape == (0, 3)
    assert (tally.loss, tally.weight, tally.mean_loss) == (0.0, 0.0, 0.0)


# --- infinities, NaNs and saturation --------------------------------------------------------------


@pytest.mark.parametrize("activation", reference.ACTIVATIONS)
def test_a_nan_input_stays_in_its_row_and_spoils_all_of_it(bench: Bench, activation: str) -> None:
    layers = [(4, activation)] if activation == "softmax" else [(7, activation), (4, "identity")]
    plan = dense_plan(3, *layers)
    parameters, state = random_parameters(plan), random_state(plan)
    rows = random_rows(plan, MSE(), 5)
    _, clean, _ = bench.run(plan, parameters, state, rows, MSE())
    rows.x[2, 1] = np.nan
    engine, output, tally = bench.run(plan, parameters, state, rows, MSE())
    assert np.isnan(output[2]).all()
    others = [0, 1, 3, 4]
    assert_close(output[others], clean[others], terms=terms_of(plan))
    assert np.isnan(tally.loss)
    assert tally.steps == 0
    assert np.isnan(bench.get(engine.gradients)).any()


@pytest.mark.parametrize("norm", [BatchNorm, LayerNorm])
def test_a_nan_passes_through_normalisation(bench: Bench, norm: Any) -> None:
    plan = dense_plan(3, norm("relu"), (2, "identity"))
    rows = random_rows(plan, MSE(), 5)
    rows.x[2, 1] = np.nan
    _, output, tally = bench.run(
        plan, random_parameters(plan), random_state(plan), rows, MSE(), training=True
    )
    assert np.isnan(output[2]).all()
    assert tally.steps == 0


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_loss_that_cannot_be_computed_is_not_finite(bench: Bench, name: str, bad: float) -> None:
    loss = LOSSES[name]()
    plan = dense_plan(3, (outputs_for(loss, 3), loss.output_activations[0]))
    rows = random_rows(plan, loss, 5)
    rows.x[2, 1] = bad
    _, _, tally = bench.run(plan, random_parameters(plan), random_state(plan), rows, loss)
    assert not np.isfinite(tally.loss)
    assert tally.steps == 0


@pytest.mark.parametrize("activation", HIDDEN_ACTIVATIONS)
def test_an_activation_at_infinity_is_its_limit_or_nan(bench: Bench, activation: str) -> None:
    plan = dense_plan(1, (1, activation))
    engine = bench.engine(plan, np.array([1.0, 0.0]))
    output = bench.get(engine.predict(bench.put(np.array([[-np.inf], [np.inf]]))))
    for value, limit in zip(output[:, 0], reference.LIMITS[activation], strict=True):
        if not np.isnan(value):
            assert_close(value, limit)


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("bad", [1, 2, 4])
def test_an_epoch_stops_at_the_first_batch_that_is_not_finite(
    bench: Bench, bad: int, first: int
) -> None:
    run = Run(bench, TRAINED["regression"], count=23, batch_size=5, shuffle=False, first=first)
    run.rows.x[5 * bad + 1, 2] = np.nan
    engine, moments = run.start()
    tally = run.train(engine, moments)
    assert tally.steps == bad - first
    assert not np.isfinite(tally.loss)
    assert tally.weight == sum(len(run.rows.part(5 * k, 5 * k + 5)) for k in range(first, bad + 1))


def through_identity(
    bench: Bench, z: list[list[float]], output: str, loss: Loss, rows: Batch
) -> tuple[Any, Any, LossSums]:
    """Feed z to the output activation; return its y, the gradient with respect to z, the sums.

    The weights are the identity and there is one row at a time, so the bias's gradient is z's.
    """
    width = len(z[0])
    plan = dense_plan(width, (width, output))
    parameters = np.concatenate([np.eye(width).ravel(), np.zeros(width)])
    engine = bench.engine(plan, parameters)
    batch = bench.rows(Batch(np.array(z), rows.labels, rows.target))
    engine.reserve(len(z))
    y = np.array(bench.get(engine.forward(batch.x, training=False)))
    engine.backward(batch, loss)
    return y, bench.get(engine.gradients)[-width:], engine.read_tally()


@pytest.mark.parametrize("label", [0, 1, 2])
def test_a_saturated_softmax_has_an_exact_loss(bench: Bench, label: int) -> None:
    rows = Batch(np.empty(0), np.array([label]))
    y, dz, tally = through_identity(bench, [[1e4, -1e4, 0.0]], "softmax", CrossEntropy(), rows)
    assert y.tolist() == [[1.0, 0.0, 0.0]]
    assert tally.loss == [0.0, 2e4, 1e4][label]
    assert dz.tolist() == [float(k == 0) - float(k == label) for k in range(3)]


@pytest.mark.parametrize("t", [0.0, 1.0])
@pytest.mark.parametrize("z", [-1e4, 1e4])
def test_a_saturated_sigmoid_has_an_exact_loss(bench: Bench, z: float, t: float) -> None:
    rows = Batch(np.empty(0), None, np.array([[t]]))
    y, dz, tally = through_identity(bench, [[z]], "sigmoid", BCE(), rows)
    assert y.tolist() == [[float(z > 0)]]
    assert tally.loss == (1e4 if (z > 0) != (t > 0) else 0.0)
    assert dz.tolist() == [float(z > 0) - t]


@pytest.mark.parametrize("z", [-(2.0**40), -8192.0, -200.0, -50.0, 50.0, 200.0, 8192.0, 2.0**40])
@pytest.mark.parametrize("activation", [a for a in HIDDEN_ACTIVATIONS if a != "exp"])
def test_saturated_activations_have_exact_values_and_slopes(
    bench: Bench, activation: str, z: float
) -> None:
    plan = dense_plan(1, (1, activation), (1, "identity"))
    engine = bench.engine(plan, np.array([1.0, 1.0, 0.0, 0.0]))
    batch = bench.rows(Batch(np.array([[z]]), None, np.array([[-3.0]])))
    engine.reserve(1)
    y = float(bench.get(engine.forward(batch.x, training=False))[0, 0])
    expected = reference.FORWARD[activation](z)
    assert_close(np.asarray(y, bench.dtype), expected, scale=max(1.0, abs(expected)))
    engine.backward(batch, MSE())
    slope = bench.get(engine.gradients)[2]  # of the first bias
    d = 2 * (y + 3)
    assert_close(slope, d * reference.DERIVATIVE[activation](z), scale=abs(d), terms=4)


# --- the contract ---------------------------------------------------------------------------------


def differing_signatures(derived: type, definition: type) -> list[str]:
    """Return the public methods whose parameters or defaults are not those of the definition."""

    def parameters(owner: type, name: str) -> list[tuple[str, Any, Any]]:
        signature = inspect.signature(getattr(owner, name))
        return [(p.name, p.kind, p.default) for p in signature.parameters.values()]

    names = [
        name
        for name, value in vars(definition).items()
        if inspect.isfunction(value) and not name.startswith("_")
    ]
    assert names
    return [name for name in names if parameters(derived, name) != parameters(definition, name)]


def test_every_backend_has_the_methods_of_the_contract(backend: Backend) -> None:
    plan = dense_plan(2, (1, "identity"))
    values = np.zeros(plan.size)
    engine = backend.engine(plan, backend.asarray(values), backend.asarray(np.zeros(0)))
    assert isinstance(engine, Engine)
    assert differing_signatures(type(engine), Engine) == []
    assert differing_signatures(type(backend), Backend) == []


def test_another_signature_is_noticed() -> None:
    class Other(Engine):
        def forward(self, x: Any, *, training: bool, seed: int = 1, step: int = 0) -> Any: ...
        def update(self, optimizer: Any, moments: Any) -> None: ...
        def gather(self, rows: Any, order: Any, begin: int, stop: int) -> Any: ...

    assert differing_signatures(Other, Engine) == ["gather", "forward", "update"]


def test_arrays_go_to_a_backend_and_come_back(bench: Bench) -> None:
    for dtype in (bench.dtype, np.int64):
        values = np.arange(6).reshape(2, 3).astype(dtype)
        back = bench.get(bench.backend.asarray(values))
        assert isinstance(back, np.ndarray)
        assert back.dtype == dtype
        np.testing.assert_array_equal(back, values)


# --- memory ---------------------------------------------------------------------------------------


def peak_of_a_step(run: Run, *, keep: bool = False) -> int:
    """Return the most bytes that one training step held beyond those before it."""
    engine, moments = run.start()
    rows = run.bench.rows(run.rows)
    engine.reserve(run.config.batch_size)
    row = run.config.optimizer.step_coefficients(1, np.full(1, 0.01))[0]
    engine.train_step(rows, run.config, moments, row, 0)
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        engine.train_step(rows, run.config, moments, row, 1)
        kept = np.array(engine.forward(rows.x, training=True)) if keep else None
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    del kept
    return peak - before


ROOMY = 20_000  # rows
ALLOWED = 4 * ROOMY  # elements: a quarter of the smallest array of a batch, and NumPy's buffers
WIDE = (
    *(Dense(64, "tanh"), BatchNorm("silu"), Dense(32, "gelu"), LayerNorm("elu")),
    Residual([Dense(32, "relu"), Dense(32)]),
)


@pytest.fixture(params=["float32", "float64"])
def numpy_bench(request: pytest.FixtureRequest) -> Bench:
    """The NumPy backend, whose allocations Python can trace."""
    return Bench(get_backend("numpy"), np.dtype(request.param))


@pytest.mark.parametrize("name", STEPWISE)
def test_a_step_of_any_optimizer_allocates_nothing(numpy_bench: Bench, name: str) -> None:
    optimizer = STEPWISE[name](0.01, l1=0.1, l2=0.1, weight_decay=0.1, clip_norm=1.0)
    network = (*WIDE, Dense(16)), MSE(), False, True
    run = Run(numpy_bench, network, count=ROOMY, batch_size=ROOMY, optimizer=optimizer)
    assert peak_of_a_step(run) < ALLOWED * run.bench.dtype.itemsize


@pytest.mark.parametrize(
    ("name", "labels"), [*((name, False) for name in LOSSES), ("cross_entropy", True)]
)
def test_a_step_with_any_loss_allocates_nothing(
    numpy_bench: Bench, name: str, labels: bool
) -> None:
    loss = LOSSES[name]()
    network = (*WIDE, Dense(outputs_for(loss, 16), loss.output_activations[0])), loss, labels, True
    run = Run(numpy_bench, network, count=ROOMY, batch_size=ROOMY)
    assert peak_of_a_step(run) < ALLOWED * run.bench.dtype.itemsize


def test_an_allocation_in_a_step_is_noticed(numpy_bench: Bench) -> None:
    network = (*WIDE, Dense(16)), MSE(), False, True
    run = Run(numpy_bench, network, count=ROOMY, batch_size=ROOMY)
    assert peak_of_a_step(run, keep=True) >= ALLOWED * run.bench.dtype.itemsize
