"""Properties that hold for any network, data and seed."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from fastnet.backends.epochs import TrainConfig
from fastnet.nn import random
from fastnet.nn.batch import Batch
from fastnet.nn.layers import Dense, Dropout
from fastnet.nn.losses import MSE
from fastnet.nn.optimizers import SGD
from fastnet.nn.plan import make_plan
from tests.closeness import assert_close
from tests.networks import (
    Bench,
    assert_same_gradients,
    cuts,
    random_parameters,
    random_rows,
    random_state,
    small_networks,
    terms_of,
    usable_backends,
)

seeds = st.integers(0, 2**64 - 1)
small_seeds = st.integers(0, 10**6)


def gradient_of(
    bench: Bench, plan: Any, parameters: Any, rows: Batch, loss: Any
) -> tuple[Any, Any]:
    """Return the gradient of the mean loss in float64, and the sums."""
    state = random_state(plan)
    engine, _, tally = bench.run(plan, parameters, state, rows, loss)
    return np.array(bench.get(engine.gradients), np.float64), tally


# --- batches --------------------------------------------------------------------------------------


@pytest.mark.parametrize("weighted", [False, True], ids=["", "weighted"])
@given(data=st.data())
def test_any_split_into_batches_gives_the_gradient_of_the_full_batch(
    bench64: Bench, weighted: bool, data: st.DataObject
) -> None:
    plan, loss = data.draw(small_networks())
    count, seed = data.draw(st.integers(1, 30)), data.draw(small_seeds)
    rows = random_rows(plan, loss, count, seed=seed, weighted=weighted)
    parameters = random_parameters(plan, seed)
    whole, sums = gradient_of(bench64, plan, parameters, rows, loss)
    total, loss_sum, size = np.zeros_like(whole), 0.0, 0.0
    for start, stop in itertools.pairwise(data.draw(cuts(count))):
        part, tally = gradient_of(bench64, plan, parameters, rows.part(start, stop), loss)
        total += part * tally.weight
        loss_sum += tally.loss
        size = max(size, float(np.abs(part).max()))
    weight = sums.weight
    terms = 4 * terms_of(plan, count)
    assert_close(total / weight, whole, terms=terms, scale=max(size, float(np.abs(whole).max())))
    assert_close(np.asarray(loss_sum), sums.loss, terms=terms, scale=1.0 + abs(sums.loss))


@given(data=st.data())
def test_the_order_of_the_rows_does_not_change_the_gradient(
    bench: Bench, data: st.DataObject
) -> None:
    plan, loss = data.draw(small_networks(smooth=True))
    count, seed = data.draw(st.integers(1, 20)), data.draw(small_seeds)
    rows = random_rows(plan, loss, count, seed=seed, weighted=True)
    order = np.array(data.draw(st.permutations(range(count))))
    moved = Batch(*(None if a is None else a[order] for a in rows.fields))
    parameters = random_parameters(plan, seed)
    results = []
    for batch in (rows, moved):
        engine, output, _ = bench.run(plan, parameters, random_state(plan), batch, loss)
        results.append((np.array(bench.get(engine.gradients)), output))
    assert_close(results[1][1], results[0][1][order], terms=terms_of(plan))
    size = float(np.abs(results[0][0]).max())
    terms = terms_of(plan, count)
    assert_close(results[1][0], results[0][0], terms=terms, scale=max(size, 1.0), factor=32)


@given(data=st.data())
def test_backends_agree_on_any_network(data: st.DataObject) -> None:
    backends = usable_backends()
    dtype = np.dtype(data.draw(st.sampled_from(["float32", "float64"])))
    plan, loss = data.draw(small_networks(smooth=dtype == np.float32))
    # Of a single row, probability and target may cancel in the gradient but for rounding.
    count, seed = data.draw(st.integers(3, 30)), data.draw(small_seeds)
    rows = random_rows(plan, loss, count, seed=seed, weighted=data.draw(st.booleans()))
    parameters, state = random_parameters(plan, seed), random_state(plan, seed)
    expected = None
    for backend in backends.values():
        bench = Bench(backend, dtype)
        engine, output, tally = bench.run(plan, parameters, state, rows, loss)
        values = output, np.array(bench.get(engine.gradients))
        if expected is None:
            expected = values
            continue
        assert tally.steps == 1
        assert_close(values[0], expected[0], terms=terms_of(plan), factor=16)
        # Probabilities round like 1, also where the targets are nearly the same.
        least = 0.25 if loss.name == "cross_entropy" else 0.0
        assert_same_gradients(plan, values[1], expected[1], count=count, factor=64, least=least)


# --- the shuffle ----------------------------------------------------------------------------------


@settings(max_examples=200)
@given(count=st.integers(0, 5000), seed=seeds, epoch=st.integers(0, 2**32 - 1))
def test_a_permutation_is_a_bijection(count: int, seed: int, epoch: int) -> None:
    order = random.permutation(count, seed=seed, epoch=epoch)
    assert np.array_equal(np.sort(order), np.arange(count))


@given(
    count=st.integers(1, 200),
    batch_size=st.integers(1, 250),
    seed=seeds,
    epoch=st.integers(0, 10**6),
)
def test_the_batches_of_an_epoch_hold_every_row_once(
    bench64: Bench, count: int, batch_size: int, seed: int, epoch: int
) -> None:
    plan = make_plan(1, (Dense(1),))
    engine = bench64.engine(plan, np.zeros(plan.size))
    engine.reserve(min(count, batch_size))
    names = np.arange(count, dtype=np.float64)[:, None]
    rows = bench64.rows(Batch(names, None, names))
    config = TrainConfig(MSE(), SGD(0.1), batch_size, seed, shuffle=True)
    order = engine.order(count, seed, epoch)
    seen: list[float] = []
    for k in range(config.steps(count)):
        start = k * batch_size
        batch = engine.gather(rows, order, start, min(start + batch_size, count))
        assert 1 <= len(batch) <= batch_size
        seen += bench64.get(batch.x)[:, 0].tolist()
        assert np.array_equal(bench64.get(batch.x), bench64.get(batch.target))
    assert sorted(seen) == list(range(count))
    assert seen == random.permutation(count, seed=seed, epoch=epoch).tolist()


# --- dropout --------------------------------------------------------------------------------------


@given(rate=st.floats(0, 0.95), seed=seeds, step=st.integers(0, 2**32 - 1))
def test_dropout_zeroes_its_share_and_scales_the_rest(
    bench: Bench, rate: float, seed: int, step: int
) -> None:
    assume(rate == 0 or rate > 1e-3)
    width, count = 64, 128
    plan = make_plan(width, (Dropout(rate), Dense(width)))
    parameters = np.concatenate([np.eye(width).ravel(), np.zeros(width)])
    engine = bench.engine(plan, parameters)
    engine.reserve(count)
    ones = bench.put(np.ones((count, width)))
    output = bench.get(engine.forward(ones, training=True, seed=seed, step=step))
    scale = bench.dtype.type(1 / (1 - rate))
    assert set(np.unique(output)) <= {bench.dtype.type(0), scale}
    kept = float((output != 0).mean())
    deviation = (rate * (1 - rate) / output.size) ** 0.5
    assert abs(kept - (1 - rate)) <= 6 * deviation
    expected = np.empty((count, width), bench.dtype)
    random.dropout_mask(expected, rate=rate, step=step, stream=0, seed=seed)
    np.testing.assert_array_equal(output, expected)
    assert (bench.get(engine.forward(ones, training=False)) == 1).all()
