"""Members that train together in lanes have the bits of a network that was trained alone."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastnet as fn
from fastnet.backends import numba_engine
from fastnet.populations import lanes, sharing, training
from fastnet.populations.crews import Threads
from fastnet.populations.folds import make_folds
from fastnet.training import members as in_one_step
from tests.on_backends import everything, same

pytest.importorskip("numba", reason="Numba is not installed")

RNG = np.random.default_rng(4)
X = RNG.standard_normal((50, 2)).astype(np.float32)
Y = X @ np.array([1.0, -2.0], np.float32)
LABELS = (X[:, 0] * X[:, 1] > 0).astype(int)
WEIGHT = np.arange(50) % 4
HELD_OUT = X[:20] + 0.1, LABELS[:20]


class Calls:
    """Counts the networks that were trained together."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sizes: list[int] = []
        whole = lanes.train_members

        def train(jobs: Any) -> Any:
            self.sizes.append(len(jobs))
            return whole(jobs)

        monkeypatch.setattr(lanes, "train_members", train)
        # These networks are tiny, however few numbers a vector of this machine holds.
        monkeypatch.setattr(numba_engine, "TINY", 2**12)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    return Calls(monkeypatch)


def template(outputs: int = 2, **how: Any) -> fn.Network:
    last = "softmax" if outputs > 1 else "identity"
    layers = [2, 4, outputs]
    return fn.Network(layers, activation="tanh", output_activation=last, backend="numba", **how)


def assert_as_alone(net: fn.Network, population: fn.Population, x: Any, y: Any, fits: Any) -> None:
    assert len(population) == len(fits)
    for member, (seed, how) in zip(population, fits, strict=True):
        other = net.renewed(net.plan, seed)
        other.fit(x, y, **how)
        assert same(everything(member), everything(other))
        a, b = member.history, other.history
        assert a is not None
        assert b is not None
        assert a.records == b.records
        names = ("epochs", "best_epoch", "stop_reason", "monitor", "mode", "task", "majority")
        assert [getattr(a, name) for name in names] == [getattr(b, name) for name in names]
        assert np.array_equal(member.predict(x), other.predict(x))
        p, q = member.optimizer_state, other.optimizer_state
        assert p is not None
        assert q is not None
        assert (p.step, p.epoch, p.updates) == (q.step, q.epoch, q.updates)
        assert p.optimizer == q.optimizer


CASES: dict[str, dict[str, Any]] = {
    "plain": {"epochs": 7, "batch_size": 16},
    "one batch": {"epochs": 20, "batch_size": None},
    "weights": {"epochs": 3, "batch_size": 7, "sample_weight": WEIGHT},
    "classes": {"epochs": 3, "batch_size": 7, "class_weight": "balanced"},
    "validation": {"epochs": 5, "validation_data": HELD_OUT},
    "early stopping": {"epochs": 80, "early_stopping": 2, "optimizer": fn.Adam(0.2)},
    "early stopping by accuracy": {
        "epochs": 80,
        "batch_size": 20,
        "early_stopping": fn.EarlyStopping(3, monitor="val_accuracy"),
        "validation_data": HELD_OUT,
    },
    "the last weights": {"epochs": 80, "early_stopping": fn.EarlyStopping(2, restore_best=False)},
    "a schedule": {"epochs": 4, "optimizer": fn.SGD(fn.schedules.Cosine(0.1, epochs=4))},
    "scaled": {"epochs": 3, "standardize": True},
    "in order": {"epochs": 3, "shuffle": False},
}


@pytest.mark.parametrize("how", CASES.values(), ids=CASES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_members_have_the_bits_of_a_fit_alone(calls: Calls, how: Any, dtype: Any) -> None:
    net = template(dtype=dtype)
    population = fn.fit_many(net, X, LABELS, seeds=5, threads=1, **how)
    assert calls.sizes == [5]
    assert_as_alone(net, population, X, LABELS, [(seed, how) for seed in range(5)])
    assert [row["stop_reason"] for row in population.results] == [
        one.history.stop_reason for one in population if one.history
    ]


def test_rates_and_penalties_may_differ(calls: Calls) -> None:
    net, rates = template(1), [0.001, 0.01, 0.1]
    grid = {"learning_rate": rates, "weight_decay": [0.0, 0.1], "beta1": [0.9, 0.8]}
    population = fn.fit_many(net, X, Y, param_grid=grid, epochs=4, threads=1)
    assert calls.sizes == [12]
    fits = [
        (0, {"epochs": 4, "optimizer": fn.Adam(rate, weight_decay=decay, beta1=beta)})
        for rate in rates
        for decay in (0.0, 0.1)
        for beta in (0.9, 0.8)
    ]
    assert_as_alone(net, population, X, Y, fits)


def test_penalties_are_a_loop_of_their_own(calls: Calls) -> None:
    """Where only some have one, the others do not go through its sums."""
    net = template(1)
    grid = {"l2": [0.0, 0.1, 0.2, 0.3, 0.4]}
    population = fn.fit_many(net, X, Y, param_grid=grid, epochs=4, threads=1)
    assert calls.sizes == [4]
    fits = [(0, {"epochs": 4, "optimizer": fn.Adam(l2=l2)}) for l2 in grid["l2"]]
    assert_as_alone(net, population, X, Y, fits)


def test_folds_are_groups(calls: Calls) -> None:
    net = template()
    population = fn.fit_many(net, X, LABELS, seeds=6, cv=3, epochs=3, threads=1)
    assert calls.sizes == [6, 6, 6]
    folds = make_folds(50, 3, seed=0, labels=LABELS)
    for k, row in enumerate(population.results):
        train, test = folds[row["fold"]]
        other = net.renewed(net.plan, row["seed"])
        other.fit(X[train], LABELS[train], epochs=3)
        assert same(everything(population[k]), everything(other))
        assert row["test_loss"] == other.evaluate(X[test], LABELS[test])["loss"]


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("count", [4, 16, 17, 33, 70])
def test_threads_order_and_groups_change_nothing(
    calls: Calls, monkeypatch: pytest.MonkeyPatch, threads: int, count: int
) -> None:
    net, seeds = template(), [*range(count)]
    monkeypatch.setattr(sharing, "most_at_once", lambda *_: threads)
    monkeypatch.setattr(sharing, "share", lambda *_: Threads(threads, 1))
    how: dict[str, Any] = {"epochs": 40, "batch_size": 20, "early_stopping": 2}
    forward = fn.fit_many(net, X, LABELS, seeds=seeds, **how)
    backward = fn.fit_many(net, X, LABELS, seeds=seeds[::-1], **how)
    assert sum(calls.sizes) >= 2 * count - 2 * lanes.LEAST
    for a, b in zip(forward, reversed(backward.networks), strict=True):
        assert same(everything(a), everything(b))
    assert_as_alone(net, forward[:5], X, LABELS, [(seed, how) for seed in range(5)][:count])


def test_several_stretches_are_one_training(calls: Calls, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(in_one_step, "_MOST_NUMBERS", 4 * 5 * 3 * 5)
    net, how = template(), {"epochs": 31, "batch_size": 10, "early_stopping": 4}
    population = fn.fit_many(net, X, LABELS, seeds=5, threads=1, **how)
    assert_as_alone(net, population, X, LABELS, [(seed, how) for seed in range(5)])


def test_a_member_that_diverges_leaves_the_others_alone(calls: Calls) -> None:
    net, rates = template(1), [0.01, 1e20, 0.02, 0.03, 0.04]
    population = fn.fit_many(
        net, X, Y, optimizer="sgd", param_grid={"learning_rate": rates}, epochs=5, threads=1
    )
    assert calls.sizes == [5]
    reasons = [row["stop_reason"] for row in population.results]
    assert reasons == ["epochs", "diverged", "epochs", "epochs", "epochs"]
    fits = [(0, {"epochs": 5, "optimizer": fn.SGD(rate)}) for rate in rates]
    assert_as_alone(net, population[:1], X, Y, fits[:1])
    assert_as_alone(net, population[2:], X, Y, fits[2:])
    alone = net.renewed(net.plan, 0)
    with pytest.raises(fn.DivergenceError):
        alone.fit(X, Y, epochs=5, optimizer=fn.SGD(1e20))
    assert same(everything(population[1]), everything(alone))


ALONE: dict[str, dict[str, Any]] = {
    "a callback": {"callbacks": [fn.Callback()]},
    "clipping": {"optimizer": fn.Adam(clip_norm=1.0)},
    "a plateau": {"optimizer": fn.SGD(fn.schedules.ReduceOnPlateau(0.1))},
    "rows drawn by the seed": {"validation_split": 0.2},
    "metrics in an array": {"validation_data": HELD_OUT, "metrics": np.array(["f1", "precision"])},
    "a metric": {"validation_data": HELD_OUT, "metrics": ["f1"]},
    "many parameters": {"param_grid": {"hidden": [300]}},
    "few members": {"seeds": 3},
}


@pytest.mark.parametrize("how", ALONE.values(), ids=ALONE)
def test_the_others_train_alone(calls: Calls, how: Any) -> None:
    population = fn.fit_many(template(), X, LABELS, **{"seeds": 5, "epochs": 2, **how})
    assert calls.sizes == []
    assert len(population) == how.get("seeds", 5)


def test_what_only_the_rows_tell_trains_alone(calls: Calls) -> None:
    """R2 of several outputs needs the outputs, and sums of losses do not have it."""
    targets = np.stack([Y, -Y], axis=1)
    net = fn.Network([2, 3, 2], activation="tanh", backend="numba")
    how: dict[str, Any] = {"epochs": 3, "validation_data": (X[:9], targets[:9])}
    population = fn.fit_many(net, X, targets, seeds=5, threads=1, **how)
    assert calls.sizes == []
    assert_as_alone(net, population, X, targets, [(seed, how) for seed in range(5)])


def test_bad_rows_are_refused_as_by_a_fit() -> None:
    with pytest.raises(fn.InputError, match="x must have 2 columns, got 3"):
        fn.fit_many(template(), np.zeros((9, 3)), np.zeros(9, int), seeds=5)
    with pytest.raises(fn.InputError, match="early stopping cannot monitor 'val_loss'"):
        stopping = fn.EarlyStopping(monitor="val_loss")
        fn.fit_many(template(), X, LABELS, seeds=5, early_stopping=stopping)


@pytest.mark.parametrize("workers", [1, 2])
def test_ctrl_c_ends_all_of_them(
    workers: int, usual_handler: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sharing, "most_at_once", lambda *_: workers)
    monkeypatch.setattr(sharing, "share", lambda *_: Threads(workers, 1))
    # Not before training has begun: on a busy machine that may take longer than half a second.
    pressed = threading.Timer(0.5, signal.raise_signal, [signal.SIGINT])
    begun, whole = threading.Lock(), lanes.train_members

    def train(jobs: Any) -> Any:
        if begun.acquire(blocking=False):
            pressed.start()
        return whole(jobs)

    monkeypatch.setattr(lanes, "train_members", train)
    how: dict[str, Any] = {"seeds": 64, "batch_size": 1, "epochs": 10**6}
    with pytest.raises(KeyboardInterrupt):
        fn.fit_many(template(), X, LABELS, checkpoint=tmp_path / "p", **how)
    pressed.join()


def test_a_population_resumes_with_the_members_that_are_left(
    calls: Calls, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    net, how = template(), {"epochs": 6, "seeds": 12, "threads": 1}
    whole = fn.fit_many(net, X, LABELS, **how)
    written = []
    train_member = training.train_member

    def killed(network: Any, *rest: Any, **more: Any) -> Any:
        written.append(network)
        if len(written) == 6:
            raise KeyboardInterrupt
        return train_member(network, *rest, **more)

    monkeypatch.setattr(training, "train_member", killed)
    with pytest.raises(KeyboardInterrupt):
        fn.fit_many(net, X, LABELS, checkpoint=tmp_path / "p", **how)
    resumed = fn.fit_many(net, X, LABELS, checkpoint=tmp_path / "p", resume=True, **how)
    assert calls.sizes == [12, 12, 7]
    for a, b in zip(whole, resumed, strict=True):
        assert same(everything(a), everything(b))
