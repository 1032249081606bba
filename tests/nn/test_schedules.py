"""Learning-rate schedules: values at known times, shapes over time, and bad arguments."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from fastnet.errors import InputError
from fastnet.nn import schedules
from fastnet.nn.schedules import (
    SCHEDULES,
    Constant,
    Cosine,
    CosLog,
    Exponential,
    OneCycle,
    Plateau,
    ReduceOnPlateau,
    Schedule,
    Step,
    WarmUp,
)
from tests.closeness import assert_close

ROWS = pytest.mark.parametrize("kind", SCHEDULES.values(), ids=SCHEDULES.keys())
TIMES = np.linspace(0, 30, 601)

KNOWN: list[tuple[Schedule, dict[float, float]]] = [
    (Constant(0.5), {0: 0.5, 7.5: 0.5, 1e6: 0.5}),
    (Step(1.0, every=2, factor=0.5), {0: 1, 1.99: 1, 2: 0.5, 3.5: 0.5, 4: 0.25, 20: 2.0**-10}),
    (Exponential(1.0, factor=0.25), {0: 1, 0.5: 0.5, 1: 0.25, 2: 0.0625}),
    (Cosine(1.0, epochs=4), {0: 1, 4 / 3: 0.75, 2: 0.5, 8 / 3: 0.25, 4: 0, 100: 0}),
    (Cosine(1.0, epochs=4, end=0.5), {0: 1, 2: 0.75, 4: 0.5, 9: 0.5}),
    # The cycles end where 1 + 15 t is 2, 4, 8 and 16, and peak at the roots of 2, 8, 32 and 128.
    (CosLog(2.0, epochs=15), {0: 0, 1: 0, 3: 0, 7: 0, 15: 0, 20: 0, 2**0.5 - 1: 2, 32**0.5 - 1: 2}),
    (CosLog(1.0, epochs=3, cycles=2), {0: 0, 2**0.25 - 1: 0.5, 2**0.5 - 1: 1, 1: 0, 8**0.5 - 1: 1}),
    (WarmUp(0.2, epochs=4, then=1.0), {0: 0.2, 1: 0.4, 2: 0.6, 4: 1, 50: 1}),
    (WarmUp(0.2, epochs=1, then=Cosine(1.0, epochs=4)), {0: 0.2, 1: 1, 3: 0.5, 5: 0, 6: 0}),
    (
        OneCycle(1.0, epochs=10, rise=0.25, divide=4, final_divide=100),
        {0: 0.25, 1.25: 0.625, 2.5: 1, 6.25: 0.50125, 10: 0.0025, 20: 0.0025},
    ),
    (ReduceOnPlateau(0.5), {0: 0.5, 10: 0.5}),
]


def example(kind: type[Schedule]) -> Schedule:
    return next(schedule for schedule, _ in KNOWN if type(schedule) is kind)


@pytest.mark.parametrize(("schedule", "values"), KNOWN, ids=[str(s) for s, _ in KNOWN])
def test_rates_at_known_times(schedule: Schedule, values: dict[float, float]) -> None:
    times = np.array(list(values), np.float64)
    assert_close(schedule.rates(times), list(values.values()), terms=4)


@ROWS
def test_a_rate_depends_on_its_own_time_and_nothing_else(kind: type[Schedule]) -> None:
    schedule = example(kind)
    together = schedule.rates(TIMES)
    assert together.dtype == np.float64
    assert together.shape == TIMES.shape
    alone = [float(schedule.rates(TIMES[k : k + 1])[0]) for k in range(len(TIMES))]
    # Vectorised and single powers may round differently by one unit.
    assert_close(together, alone, factor=2)
    assert schedule.rates(np.empty(0)).shape == (0,)


@ROWS
def test_no_rate_is_negative_or_infinite(kind: type[Schedule]) -> None:
    rates = example(kind).rates(np.concatenate([TIMES, [1e3, 1e6]]))
    assert np.isfinite(rates).all()
    assert (rates >= 0).all()


@ROWS
def test_a_schedule_leaves_the_times_as_they_were(kind: type[Schedule]) -> None:
    times = TIMES.copy()
    example(kind).rates(times)
    np.testing.assert_array_equal(times, TIMES)


@pytest.mark.parametrize(
    "schedule", [Step(1.0, every=3), Exponential(1.0), Cosine(1.0, epochs=20)], ids=str
)
def test_decaying_rates_never_rise(schedule: Schedule) -> None:
    assert (np.diff(schedule.rates(TIMES)) <= 0).all()


def test_one_cycle_rises_to_its_peak_and_falls_from_there() -> None:
    rates = OneCycle(0.5, epochs=30, rise=0.4).rates(TIMES)
    peak = int(rates.argmax())
    assert TIMES[peak] == 12.0
    assert rates[peak] == 0.5
    assert (np.diff(rates[: peak + 1]) > 0).all()
    assert (np.diff(rates[peak:]) < 0).all()
    assert_close(rates[0], 0.5 / 25)
    assert_close(rates[-1], 0.5 / 25 / 1e4, scale=0.5)


@pytest.mark.parametrize(
    ("schedule", "joint"),
    [
        (WarmUp(0.01, epochs=2.5, then=0.5), 2.5),
        (WarmUp(0.01, epochs=2.5, then=Cosine(0.5, epochs=5)), 2.5),
        (WarmUp(0.9, epochs=2.5, then=Exponential(0.5)), 2.5),
        (WarmUp(0.01, epochs=1, then=WarmUp(0.1, epochs=2, then=1.0)), 1.0),
        (OneCycle(0.5, epochs=10), 3.0),
        (Cosine(0.5, epochs=4), 4.0),
    ],
    ids=str,
)
def test_rates_do_not_jump_where_two_parts_meet(schedule: Schedule, joint: float) -> None:
    near = schedule.rates(joint + np.array([-1e-9, 0.0, 1e-9]))
    assert np.abs(np.diff(near)).max() < 1e-8


def test_warm_up_rises_in_a_straight_line() -> None:
    rates = WarmUp(0.1, epochs=10, then=1.0).rates(np.linspace(0, 10, 11))
    assert_close(np.diff(rates), np.full(10, 0.09), scale=1.0)


# --- reduce on plateau ----------------------------------------------------------------------------


def reductions(schedule: ReduceOnPlateau, monitored: list[float]) -> list[int]:
    """Return how many reductions there were after each epoch."""
    memory = Plateau()
    counts = []
    for loss in monitored:
        memory.observe(schedule, loss)
        counts.append(memory.reductions)
    return counts


def test_the_rate_falls_after_as_many_bad_epochs_as_there_is_patience() -> None:
    schedule = ReduceOnPlateau(1.0, patience=2)
    assert reductions(schedule, [1.0] * 8) == [0, 0, 0, 1, 1, 1, 2, 2]
    assert reductions(ReduceOnPlateau(1.0, patience=0), [1.0] * 4) == [0, 1, 2, 3]


def test_an_improvement_begins_the_waiting_anew() -> None:
    schedule = ReduceOnPlateau(1.0, patience=2)
    assert reductions(schedule, [1.0, 1.0, 1.0, 0.5, 0.5, 0.5, 0.5]) == [0, 0, 0, 0, 0, 0, 1]


def test_a_fall_within_the_threshold_is_no_improvement() -> None:
    schedule = ReduceOnPlateau(1.0, patience=1, threshold=0.1)
    assert reductions(schedule, [1.0, 0.95, 0.92]) == [0, 0, 1]
    assert reductions(schedule, [1.0, 0.89, 0.79]) == [0, 0, 0]


def test_the_best_loss_is_remembered_and_not_the_last() -> None:
    schedule = ReduceOnPlateau(1.0, patience=1, threshold=0.0)
    assert reductions(schedule, [1.0, 2.0, 1.5]) == [0, 0, 1]


def test_losses_below_zero_wait_as_others_do() -> None:
    schedule = ReduceOnPlateau(1.0, patience=1, threshold=0.1)
    assert reductions(schedule, [-1.0] * 4) == [0, 0, 1, 1]
    assert reductions(schedule, [-1.0, -0.95, -1.05]) == [0, 0, 1]
    assert reductions(schedule, [-1.0, -1.2, -1.5]) == [0, 0, 0]


def test_reduced_rates_stop_at_the_end() -> None:
    schedule = ReduceOnPlateau(1.0, factor=0.5, end=0.2)
    assert [schedule.reduced(k) for k in range(5)] == [1.0, 0.5, 0.25, 0.2, 0.2]


# --- the table ------------------------------------------------------------------------------------


def test_names_are_those_of_the_table() -> None:
    assert all(kind.name == name for name, kind in SCHEDULES.items())


@ROWS
def test_every_row_has_known_values(kind: type[Schedule]) -> None:
    assert example(kind).start > 0


@pytest.mark.parametrize("rate", [0.5, 1, np.float32(0.5), np.int64(2)])
def test_a_number_is_a_constant_rate(rate: Any) -> None:
    assert schedules.get(rate) == Constant(float(rate))


@ROWS
def test_a_schedule_is_taken_as_it_is(kind: type[Schedule]) -> None:
    schedule = example(kind)
    assert schedules.get(schedule) is schedule


# --- bad arguments --------------------------------------------------------------------------------


POSITIVE = [
    *((kind, "start") for kind in SCHEDULES.values()),
    *((OneCycle, name) for name in ("epochs", "rise", "divide", "final_divide")),
    (Step, "every"), (Step, "factor"), (Exponential, "factor"), (Cosine, "epochs"),
    (WarmUp, "epochs"), (ReduceOnPlateau, "factor"),
]  # fmt: skip


@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf])
@pytest.mark.parametrize(("kind", "name"), POSITIVE)
def test_starts_lengths_and_factors_must_be_positive(kind: Any, name: str, value: float) -> None:
    rule = f"{name} must be (a positive number|above 0 .*), got {value!r}"
    with pytest.raises(InputError, match=rule):
        kind(**{"start": 0.1, name: value})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Cosine(0.1, epochs="x"), "epochs must be a positive number, got 'x'"),
        (lambda: Cosine(0.1, end=-1.0), "end must be at least 0, got -1.0"),
        (lambda: OneCycle(0.1, rise=1.0), "rise must be above 0 and below 1, got 1.0"),
        (lambda: ReduceOnPlateau(0.1, factor=1.0), "factor must be above 0 and below 1, got 1.0"),
        (
            lambda: ReduceOnPlateau(0.1, patience=-1),
            "patience must be a whole number of at least 0, got -1",
        ),
        (lambda: ReduceOnPlateau(0.1, threshold=-1.0), "threshold must be at least 0"),
        (lambda: WarmUp(0.1, then=ReduceOnPlateau(0.1)), "WarmUp cannot be followed by Reduce"),
        (lambda: WarmUp(0.1, then=-1.0), "learning_rate must be a positive number, got -1.0"),
        (lambda: schedules.get("fast"), "must be a positive number, got 'fast'"),  # type: ignore[arg-type]
        (lambda: schedules.get(True), "must be a positive number, got True"),
        (lambda: schedules.get(0.0), "learning_rate must be a positive number, got 0.0"),
    ],
)
def test_a_bad_argument_is_an_input_error_in_a_sentence(make: Any, message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        make()
    assert str(error.value).endswith(".")
