"""How many threads share a step, and how they start together."""

from __future__ import annotations

import itertools
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fastnet as fn
from fastnet.backends.threads import RETRY, TRIAL, Pace, asked, cores, run_together
from tests.signals import interrupting


def spans(pace: Pace, seconds: dict[int, float], count: int) -> list[tuple[int, int]]:
    """Let `pace` choose `count` times where a step takes so many seconds; return the choices."""
    chosen = []
    for _ in range(count):
        threads, steps = pace.next(80)
        pace.record(threads, steps, seconds[threads] * steps)
        chosen.append((threads, steps))
    return chosen


@pytest.mark.parametrize(
    ("given", "expected"),
    [("1", 1), ("3", 3), ("99", 8), ("", 8), ("0", 8), ("-2", 8), ("all", 8), ("4,2", 4)],
)
def test_variables_bound_the_cores(
    given: str, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, other in [
        ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS"),
        ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS"),
    ]:
        monkeypatch.setattr("fastnet.utils.machine.cores", lambda: 8)
        monkeypatch.setenv(name, given)
        monkeypatch.delenv(other, raising=False)
        assert cores.__wrapped__() == expected


FIRST = 4
"""Runs until both numbers of threads have been tried, each twice."""


def test_each_number_of_threads_is_tried_for_parts_of_a_span_first() -> None:
    trial = 80 // TRIAL
    assert spans(Pace(4), {4: 1.0, 1: 2.0}, FIRST) == [
        (4, trial),
        (4, trial),
        (1, trial),
        (1, trial),
    ]


@pytest.mark.parametrize(("seconds", "faster"), [({4: 1.0, 1: 2.0}, 4), ({4: 2.0, 1: 1.0}, 1)])
def test_the_faster_number_is_used_for_whole_spans(seconds: dict[int, float], faster: int) -> None:
    chosen = spans(Pace(4), seconds, FIRST + 40)[FIRST:]
    assert {choice for choice in chosen if choice[0] == faster} == {(faster, 80)}


def test_the_slower_number_gets_another_chance_soon_and_then_now_and_then() -> None:
    slower, trial = 1, 80 // TRIAL
    chosen = spans(Pace(4), {4: 1.0, 1: 2.0}, FIRST + 60)[FIRST:]
    runs = [(threads, len(list(group))) for threads, group in itertools.groupby(chosen)]
    between = [length for (threads, _), length in runs if threads != slower]
    assert between[:6] == [1, 2, 4, 8, RETRY, RETRY]
    assert {run for run in runs if run[0][0] == slower} == {((slower, trial), 2)}


def test_a_number_that_begins_slowly_is_not_judged_by_its_beginning() -> None:
    """Data move to the caches of other cores in the first steps."""
    pace, chosen = Pace(4), []
    for _ in range(FIRST + 40):
        threads, steps = pace.next(80)
        begins = threads == 4 and (not chosen or chosen[-1] != 4)
        pace.record(threads, steps, steps * (50.0 if begins else 2.0 if threads == 1 else 1.0))
        chosen.append(threads)
    assert chosen.count(1) < 20 < chosen.count(4)


def test_of_short_spans_whole_ones_are_tried() -> None:
    chosen = spans(Pace(4), {4: 1e-6, 1: 2e-6}, FIRST + 4)
    trial = 80 // TRIAL
    assert chosen == [(4, trial)] * 2 + [(1, 80)] * 2 + [(4, 80), (1, 80), (4, 80), (4, 80)]


def test_a_machine_that_becomes_busy_changes_the_choice() -> None:
    pace = Pace(4)
    spans(pace, {4: 1.0, 1: 2.0}, 10)
    assert spans(pace, {4: 9.0, 1: 2.0}, 3 * RETRY)[-2][0] == 1


def test_one_slow_span_does_not_change_the_choice() -> None:
    pace = Pace(4)
    before = spans(pace, {4: 1.0, 1: 1.5}, FIRST + 8)
    assert before[-1] == (4, 80)
    spans(pace, {4: 50.0, 1: 1.5}, 1)
    assert spans(pace, {4: 1.0, 1: 1.5}, 1) == [(4, 80)]


def test_a_number_that_was_asked_for_is_used_whatever_it_costs() -> None:
    assert spans(Pace(4, fixed=True), {4: 99.0}, 40) == [(4, 80)] * 40


def test_where_only_one_thread_pays_nothing_is_tried() -> None:
    assert spans(Pace(1), {1: 1.0}, 40) == [(1, 80)] * 40


def test_a_trial_has_at_least_one_step() -> None:
    assert Pace(2).next(3) == (2, 1)


both_ways = pytest.mark.parametrize("meet", [True, False])


@both_ways
@pytest.mark.parametrize("threads", [1, 2, 5])
def test_every_thread_runs_once_and_all_are_done_on_return(threads: int, meet: bool) -> None:
    ran: list[tuple[int, int]] = []
    run_together(threads, lambda thread, of: ran.append((thread, of)), meet=meet)
    assert sorted(ran) == [(thread, threads) for thread in range(threads)]


@both_ways
def test_where_a_thread_cannot_start_one_does_everything(
    meet: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = threading.Thread.start
    started: list[threading.Thread] = []

    def start_one(self: threading.Thread) -> None:
        if started:
            raise RuntimeError("can't start new thread")
        started.append(self)
        start(self)

    monkeypatch.setattr(threading.Thread, "start", start_one)
    ran: list[tuple[int, int]] = []
    run_together(3, lambda thread, of: ran.append((thread, of)), meet=meet)
    assert ran == [(0, 1)]
    assert not started[0].is_alive()


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="sends a signal to a thread")
@both_ways
def test_what_a_signal_raises_leaves_when_all_threads_are_done(meet: bool) -> None:
    """They write to the memory of the caller, and those that meet wait for each other."""
    done = list[int]()
    with interrupting() as (raised, send):

        def run(thread: int, threads: int) -> None:
            while not raised.wait(0.02):
                if thread == 1:
                    send()
            time.sleep(0.1)  # the exception does not leave meanwhile
            done.append(thread)

        with pytest.raises(KeyboardInterrupt):
            run_together(3, run, meet=meet)
        assert sorted(done) == ([0, 1, 2] if meet else [1, 2])


def test_a_kernel_that_cannot_be_made_is_an_error_on_several_threads_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("numba", reason="Numba is not installed")
    monkeypatch.setattr("fastnet.backends.numba_engine.cores", lambda: 3)
    monkeypatch.setattr("fastnet.backends.numba_engine.FLOPS_PER_THREAD", 1)
    net = fn.Network([4, 8, 1], backend="numba")

    def fail(*_: Any) -> None:
        raise OSError("no code")

    monkeypatch.setattr("fastnet.backends.numba_engine.native.kernel", fail)
    with pytest.raises(OSError, match="no code"):
        net.partial_fit(np.ones((99, 4)), np.ones(99))


def interrupted(work: Callable[[], Any], monkeypatch: pytest.MonkeyPatch) -> int:
    """Do some work and press Ctrl-C as its threads end; return how many there were."""
    from fastnet.backends import numba_engine

    found, run = list[int](), numba_engine.run_together

    def press(threads: int, share: Any, **how: Any) -> None:
        found.append(threads)
        run(threads, share, **how)
        if threads > 1:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(numba_engine, "run_together", press)
        with pytest.raises(KeyboardInterrupt):
            work()
    return found[-1]


@pytest.mark.parametrize("what", ["predict", "partial_fit", "fit", "stretch"])
def test_an_interrupted_engine_computes_as_a_new_one_does(
    what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its frames described work of several threads, rows held out, sums elsewhere."""
    pytest.importorskip("numba", reason="Numba is not installed")
    monkeypatch.setattr("fastnet.backends.numba_engine.cores", lambda: 3)
    monkeypatch.setattr("fastnet.network.asked", lambda threads, most: threads)
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((64, 40)), rng.standard_normal(64)
    layers = [fn.Dense(64, "tanh"), fn.LayerNorm("relu"), fn.Dense(1)]
    net = fn.Network(layers, inputs=40, dtype="float64", loss="mse", backend="numba")
    net.predict(x)  # makes the engine
    how: dict[str, Any] = {"epochs": 9, "validation_data": (x[:9], y[:9]), "early_stopping": 5}
    work = {
        "predict": lambda: net.predict(x),
        "partial_fit": lambda: net.partial_fit(x, y),
        "fit": lambda: net.fit(x, y, threads=3, callbacks=[fn.Callback()], **how),
        "stretch": lambda: net.fit(x, y, threads=3, **how),
    }[what]
    if what in ("predict", "partial_fit"):
        monkeypatch.setattr("fastnet.backends.numba_engine.FLOPS_PER_THREAD", 1)
        monkeypatch.setattr("fastnet.backends.numba_engine.FLOPS_PER_THREAD_ONCE", 1)
    if what == "stretch":  # the first epoch of a run is one of its own
        whole = type(net.engine()).train_epochs

        def train_epochs(engine: Any, stretch: Any) -> None:
            assert interrupted(lambda: whole(engine, stretch), monkeypatch) == 3
            raise KeyboardInterrupt

        monkeypatch.setattr("fastnet.training.stretches.SECONDS", 10.0)
        with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
            patched.setattr(type(net.engine()), "train_epochs", train_epochs)
            work()
    else:
        assert interrupted(work, monkeypatch) == 3
    other = net.copy()  # has engines of its own
    for name, expected in other.gradients(x[:30], y[:30]).items():
        assert np.array_equal(net.gradients(x[:30], y[:30])[name], expected)
    found = [one.fit(x, y, threads=1, callbacks=[fn.Callback()], **how) for one in (net, other)]
    assert found[0].records == found[1].records
    assert np.array_equal(net.parameters, other.parameters)


# --- what a caller asks for -----------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_more_threads_than_cores_are_clipped_with_a_sentence(backend: str) -> None:
    if fn.available_backends()[backend] is not None:
        pytest.skip(f"{backend} cannot run here")
    x = np.random.default_rng(0).normal(size=(256, 40)).astype("f4")
    nets = [fn.Network([40, 64, 1], backend=backend) for _ in range(2)]
    with pytest.warns(fn.FastNetWarning, match=r"threads=9999, .* it uses \d+ threads") as caught:
        nets[0].fit(x, x[:, 0], epochs=2, threads=9999)
    assert caught[0].filename == __file__
    nets[1].fit(x, x[:, 0], epochs=2, threads=cores())
    assert np.array_equal(nets[0].parameters, nets[1].parameters)


@pytest.mark.parametrize("wrong", [0, -1, 1.5, "2", True])
def test_what_is_no_number_of_threads_is_refused(wrong: Any) -> None:
    with pytest.raises(fn.InputError, match="threads must be a whole number of at least 1"):
        asked(wrong, 4)
    assert asked(None, 4) is None
    assert asked(np.int64(3), 4) == 3
