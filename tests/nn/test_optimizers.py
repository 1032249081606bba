"""The table of optimizers: numbers for the kernels, single steps, and bad arguments."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import pytest

from fastnet.errors import InputError
from fastnet.kernels import abi
from fastnet.nn import optimizers
from fastnet.nn.optimizers import (
    LBFGS,
    OPTIMIZERS,
    SGD,
    Adagrad,
    Adam,
    AdamW,
    Lion,
    NAdam,
    Optimizer,
    RMSprop,
)
from fastnet.nn.schedules import Constant, Cosine
from tests import reference
from tests.closeness import assert_close

STEPWISE = {name: kind for name, kind in OPTIMIZERS.items() if issubclass(kind, Optimizer)}
ROWS = pytest.mark.parametrize("kind", STEPWISE.values(), ids=STEPWISE.keys())
ALL = pytest.mark.parametrize("kind", OPTIMIZERS.values(), ids=OPTIMIZERS.keys())
DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])


# --- steps ----------------------------------------------------------------------------------------


@DTYPES
@ROWS
def test_each_step_is_the_reference_s(kind: type[Optimizer], dtype: type) -> None:
    """Without penalties: those are the engine's part."""
    rng = np.random.default_rng(0)
    steps, size = 8, 20
    w = rng.standard_normal(size).astype(np.float32)
    slopes = rng.standard_normal((steps, size)).astype(np.float32)
    rates = np.linspace(0.01, 0.02, steps)
    optimizer = kind(0.01, weight_decay=0.0)
    got, moments = w.astype(dtype), np.zeros((optimizer.n_moments, size), dtype)
    expected, memory = w.tolist(), [{} for _ in w]
    for t, (row, g) in enumerate(
        zip(optimizer.step_coefficients(1, rates), slopes, strict=True), start=1
    ):
        optimizer.step(got, g.astype(dtype), moments, row, np.full(size, np.nan, dtype))
        expected = reference.optimizer_step(
            kind.name, expected, g.tolist(), memory, t, float(rates[t - 1]), {}, [True] * size
        )
        assert_close(got, expected, terms=t)


@ROWS
def test_a_gradient_of_zero_changes_nothing_at_first(kind: type[Optimizer]) -> None:
    optimizer = kind()
    w, g, s = np.array([1.0, -2.0]), np.zeros(2), np.empty(2)
    row = optimizer.step_coefficients(1, np.full(1, 0.1))[0]
    optimizer.step(w, g, np.zeros((optimizer.n_moments, 2)), row, s)
    assert w.tolist() == [1.0, -2.0]


@pytest.mark.parametrize("kind", [Adam, AdamW, NAdam, RMSprop, Adagrad, Lion])
def test_the_first_step_does_not_depend_on_the_gradient_s_magnitude(kind: type[Optimizer]) -> None:
    optimizer = kind()
    steps = []
    for magnitude in (1.0, 1e3):
        w, s = np.zeros(2), np.empty(2)
        row = optimizer.step_coefficients(1, np.full(1, 0.1))[0]
        gradient = np.array([magnitude, -magnitude])
        optimizer.step(w, gradient, np.zeros((optimizer.n_moments, 2)), row, s)
        steps.append(w)
    np.testing.assert_allclose(steps[0], steps[1], rtol=1e-6)
    assert steps[0][0] == -steps[0][1] < 0


def test_nesterov_s_momentum_looks_ahead() -> None:
    plain, ahead = SGD(1.0, 0.5), SGD(1.0, 0.5, nesterov=True)
    moved = []
    for optimizer in (plain, ahead):
        w, m, s = np.zeros(1), np.zeros((1, 1)), np.empty(1)
        for row in optimizer.step_coefficients(1, np.ones(2)):
            optimizer.step(w, np.ones(1), m, row, s)
        moved.append(float(w[0]))
    assert moved == [-1.0 - 1.5, -1.5 - 1.75]


# --- numbers for the kernels ----------------------------------------------------------------------


@ROWS
def test_coefficients_do_not_depend_on_how_training_is_cut(kind: type[Optimizer]) -> None:
    optimizer = kind(weight_decay=0.1)
    rates = np.linspace(0.001, 0.1, 20)
    whole = optimizer.step_coefficients(1, rates)
    assert whole.shape == (20, abi.COEFFICIENTS)
    for cut in (1, 7, 19):
        parts = (
            optimizer.step_coefficients(1, rates[:cut]),
            optimizer.step_coefficients(1 + cut, rates[cut:]),
        )
        np.testing.assert_array_equal(np.concatenate(parts), whole)


@ROWS
def test_decay_is_the_rate_times_the_weight_decay(kind: type[Optimizer]) -> None:
    table = kind(weight_decay=0.25).step_coefficients(3, np.array([0.5, 2.0]))
    assert table[:, abi.DECAY].tolist() == [0.125, 0.5]


@ROWS
def test_coefficients_of_no_steps_and_of_late_ones_are_finite(kind: type[Optimizer]) -> None:
    optimizer = kind()
    assert optimizer.step_coefficients(1, np.empty(0)).shape == (0, abi.COEFFICIENTS)
    assert np.isfinite(optimizer.step_coefficients(10**9, np.full(3, 0.1))).all()


@ROWS
def test_constants_hold_the_penalties(kind: type[Optimizer]) -> None:
    values = kind(l1=0.125, l2=0.25, clip_norm=2.0).hyperparameters
    assert values.shape == (abi.CONSTANTS,)
    assert values.dtype == np.float64
    assert values[[abi.L1, abi.L2, abi.CLIP_NORM]].tolist() == [0.125, 0.25, 2.0]
    assert kind().hyperparameters[abi.CLIP_NORM] == math.inf


def test_constants_hold_each_optimizer_s_own_numbers() -> None:
    sgd = SGD(0.1, 0.5, nesterov=True).hyperparameters
    assert sgd[[abi.MOMENTUM, abi.NESTEROV]].tolist() == [0.5, 1.0]
    adam = Adam(0.1, 0.5, 0.75, 0.125).hyperparameters
    assert adam[[abi.BETA1, abi.BETA2, abi.EPSILON]].tolist() == [0.5, 0.75, 0.125]
    rms = RMSprop(0.1, 0.75, 0.125).hyperparameters
    assert rms[[abi.BETA2, abi.EPSILON]].tolist() == [0.75, 0.125]
    assert Adagrad(0.1, 0.125).hyperparameters[abi.EPSILON] == 0.125
    assert Lion(0.1, 0.5, 0.75).hyperparameters[[abi.BETA1, abi.BETA2]].tolist() == [0.5, 0.75]


# --- the table ------------------------------------------------------------------------------------


def test_the_reference_has_every_stepwise_row() -> None:
    assert set(STEPWISE) == set(reference.OPTIMIZERS)


@ALL
def test_a_name_and_an_instance_find_the_optimizer(kind: type[Any]) -> None:
    assert OPTIMIZERS[kind.name] is kind
    assert optimizers.get(kind.name) == kind()
    made = kind()
    assert optimizers.get(made) is made


def test_adamw_is_adam_with_decoupled_decay() -> None:
    adamw, adam = AdamW(0.1), Adam(0.1, weight_decay=0.01)
    rates = np.full(3, 0.1)
    np.testing.assert_array_equal(
        adamw.step_coefficients(1, rates), adam.step_coefficients(1, rates)
    )
    np.testing.assert_array_equal(adamw.hyperparameters, adam.hyperparameters)
    assert (adamw.code, adamw.n_moments) == (adam.code, adam.n_moments)


@ROWS
def test_a_learning_rate_is_a_number_or_a_schedule(kind: type[Optimizer]) -> None:
    assert kind(0.5).schedule == Constant(0.5)
    schedule = Cosine(0.5, epochs=3)
    assert kind(schedule).schedule is schedule


@ROWS
def test_the_first_argument_is_the_learning_rate_and_penalties_are_named(
    kind: type[Optimizer],
) -> None:
    assert next(iter(kind.__dataclass_fields__)) == "learning_rate"
    for name in ("l1", "l2", "weight_decay", "clip_norm"):
        assert kind.__dataclass_fields__[name].kw_only


# --- bad arguments --------------------------------------------------------------------------------


NOT_POSITIVE = (0.0, -1.0, math.nan, math.inf)
BELOW_ONE = [(kind, beta) for kind in (Adam, AdamW, NAdam, Lion) for beta in ("beta1", "beta2")]
WRONG: list[tuple[Any, str, Any, str]] = [
    *((kind, "learning_rate", rate, "a positive number")
      for kind in STEPWISE.values() for rate in (*NOT_POSITIVE, "fast", None, True, [0.1])),
    *((kind, name, value, "at least 0")
      for kind in STEPWISE.values() for name in ("l1", "l2", "weight_decay")
      for value in (-0.1, math.nan, math.inf, "x")),
    *((kind, "clip_norm", value, "a positive number")
      for kind in STEPWISE.values() for value in NOT_POSITIVE),
    *((kind, name, value, "at least 0 and below 1")
      for kind, name in [(SGD, "momentum"), (RMSprop, "rho"), *BELOW_ONE]
      for value in (-0.1, 1.0, 1.5, math.nan)),
    *((kind, "epsilon", value, "a positive number")
      for kind in (RMSprop, Adagrad, Adam, AdamW, NAdam) for value in (0.0, -1e-8, math.nan)),
    *((LBFGS, name, value, ".*at least") for name, value in [
        ("l1", -1.0), ("l2", math.nan), ("history_size", 0), ("history_size", 2.5),
        ("line_search_steps", 0), ("tolerance", -1e-9), ("tolerance", "x"),
        ("gradient_tolerance", -1.0)]),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "name", "value", "rule"), WRONG)
def test_a_number_out_of_range_is_refused(kind: Any, name: str, value: Any, rule: str) -> None:
    with pytest.raises(InputError, match=f"{name} must be {rule}.*, got {re.escape(repr(value))}"):
        kind(**{name: value})


def test_nesterov_needs_momentum() -> None:
    with pytest.raises(InputError, match="nesterov needs a momentum above 0"):
        SGD(nesterov=True)
