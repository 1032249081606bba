"""The training that suits a number of rows: `fastnet.training.budget`."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastnet as fn
from fastnet.training.budget import (
    BestEpoch,
    Budget,
    counted_rows,
    default_batch_size,
    default_epochs,
    default_optimizer,
    default_weight_decay,
)

rows = st.integers(1, 10**8)
WIDE = (fn.Dense(128), fn.Dense(64), fn.Dense(1))


@given(rows)
def test_batches_and_epochs_stay_within_their_bounds(count: int) -> None:
    size = default_batch_size(count)
    assert size in (32, 64, 128, 256)
    epochs = default_epochs(count, size)
    steps = epochs * math.ceil(count / size)
    assert epochs >= 10
    assert steps >= 0.9 * max(2_000, 100 * math.sqrt(count))


@given(rows, rows)
def test_more_rows_take_more_steps_and_less_decay(one: int, other: int) -> None:
    few, many = sorted((one, other))
    assert default_weight_decay(few) >= default_weight_decay(many)
    assert default_batch_size(few) <= default_batch_size(many) or few <= 64


def test_narrow_layers_decay_less_and_a_linear_model_not_at_all() -> None:
    by_width = {
        units: default_optimizer(300, 9, (fn.Dense(100), fn.Dense(units), fn.Dense(1))).weight_decay
        for units in (8, 64, 100)
    }
    assert by_width[64] == by_width[100] == default_weight_decay(300)
    assert by_width[8] == by_width[64] / 8
    assert default_optimizer(300, 9, (fn.Dense(1),)).weight_decay == 0


def test_a_batch_of_all_rows_is_a_step() -> None:
    assert default_epochs(10_000, None) == 100 * 100


def test_up_to_64_rows_train_alike() -> None:
    # Rows of weight 2 and rows that come twice then give the same network.
    assert len({default_epochs(n, default_batch_size(n)) for n in range(1, 65)}) == 1
    assert len({default_weight_decay(n) for n in range(1, 65)}) == 1


@pytest.mark.parametrize(
    ("count", "given", "held_out", "keeps"),
    [
        (99, {}, 0.0, False),  # too few to tell anything
        (100, {}, 0.1, False),  # enough to tell, too few to choose
        (999, {}, 0.1, True),
        (5_000, {}, 0.1, True),
        (5_000, {"epochs": 10}, 0.0, False),
        (5_000, {"epochs": 10, "early_stopping": 3}, 0.1, False),
        (5_000, {"early_stopping": None}, 0.0, False),
        (5_000, {"validation_split": 0.0}, 0.0, False),
        (50, {"validation_split": 0.2}, 0.2, False),
        (5_000, {"validation_rows": 100}, 0.0, True),
        (5_000, {"validation_rows": 99}, 0.0, False),
        (5_000, {"epochs": None, "validation_split": 0.3}, 0.3, True),
    ],
)
def test_rows_are_held_out_if_they_tell_something(
    count: int, given: dict[str, Any], held_out: float, keeps: bool
) -> None:
    budget = Budget.of(count, **given)
    assert (budget.validation_split, budget.keeps_best) == (held_out, keeps)
    assert budget.rows == count - round(count * held_out)
    assert isinstance(budget.stopping("regression"), BestEpoch) == keeps


def test_what_is_given_stays() -> None:
    budget = Budget.of(5_000, epochs=7, batch_size=None, validation_split=0.25, early_stopping=3)
    assert (budget.epochs, budget.batch_size, budget.validation_split) == (7, None, 0.25)
    assert budget.stopping("classification") == 3
    assert Budget.of(5_000, batch_size=17).batch_size == 17
    assert Budget.of(5_000, optimizer=fn.LBFGS()).epochs == 200
    given = default_optimizer(100, 5, WIDE, fn.schedules.Step(0.1), weight_decay=0.0, l1=1.0)
    assert given == fn.AdamW(fn.schedules.Step(0.1), weight_decay=0.0, l1=1.0)


def test_the_rate_falls_to_nothing_over_the_epochs() -> None:
    budget = Budget.of(400)
    schedule = fn.schedules.Cosine(3e-3, epochs=budget.epochs)
    assert budget.optimizer(WIDE) == fn.AdamW(schedule, weight_decay=default_weight_decay(360))


@pytest.mark.parametrize("patience", [10, 11])
def test_patience_that_the_epochs_cannot_exhaust_is_pointed_out(patience: int) -> None:
    with pytest.warns(fn.FastNetWarning, match=f"after {patience} epochs .* in 10 epochs"):
        Budget.of(500, epochs=10, early_stopping=patience).stopping("regression")


@pytest.mark.parametrize("patience", [9, True, None, fn.EarlyStopping(10)])
def test_other_patience_is_not(patience: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Budget.of(500, epochs=10, early_stopping=patience).stopping("regression")


@pytest.mark.parametrize("scale", [1.0, 0.3, 1e-300])
def test_weights_count_rows_for_the_decay_alone(scale: float) -> None:
    times = np.array([1, 2, 3, 0, 1])
    assert counted_rows(times * scale) == 7
    assert counted_rows(None) is None
    assert counted_rows(["a"]) is None
    assert counted_rows([1.0, 1e300]) == 20  # ten times the rows at most
    plain, weighed, repeated = (
        Budget.of(100), Budget.of(100, counted=170), Budget.of(170)
    )  # fmt: skip
    assert (weighed.epochs, weighed.rows) == (plain.epochs, plain.rows)
    layers = [fn.Dense(32), fn.Dense(1)]
    decays = [each.optimizer(layers).weight_decay for each in (plain, weighed, repeated)]
    assert decays[0] != decays[1] == decays[2]
