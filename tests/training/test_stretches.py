"""Many short epochs in one compiled call have the bits of epochs one by one."""

from __future__ import annotations

import logging
import signal
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastnet as fn
from fastnet.backends import numba_engine
from fastnet.backends.engine import Engine
from fastnet.backends.epochs import Stretch, TrainConfig
from fastnet.backends.patience import Monitor, Patience
from fastnet.nn.losses import MSE
from fastnet.training import stretches
from fastnet.training.budget import BestEpoch
from fastnet.training.checkpoints.writer import CheckpointWriter
from tests.networks import Bench, random_parameters, random_rows, usable_backends
from tests.on_backends import everything, on_host, same

RNG = np.random.default_rng(8)
X = RNG.standard_normal((23, 3))
Y = X @ [1.0, -2.0, 0.5] + 0.1
LABELS = np.arange(23) % 3

LAYERS: dict[str, list[Any]] = {
    "tiny": [fn.Dense(4, "tanh"), fn.Dense(1)],
    "wide": [fn.Dense(40, "relu"), fn.Dense(33, "gelu"), fn.Dense(1)],
    "norms and dropout": [
        fn.Dense(8, "tanh"),
        fn.BatchNorm("relu"),
        fn.Dropout(0.3),
        fn.LayerNorm(),
        fn.Dense(1),
    ],
}
OPTIMIZERS: dict[str, Any] = {
    "sgd": fn.SGD(0.01, momentum=0.9, nesterov=True),
    "adam, decay": fn.AdamW(fn.schedules.Cosine(0.01, epochs=61), weight_decay=0.1),
    "rmsprop": fn.RMSprop(fn.schedules.Exponential(0.003, 0.97)),
    "clipped": fn.Adam(fn.schedules.CosLog(0.02, epochs=70), clip_norm=0.5, l2=0.01),
    "lion": fn.Lion(fn.schedules.Step(0.003, every=13)),
    "plateau": fn.SGD(fn.schedules.ReduceOnPlateau(0.01, factor=0.5, patience=9)),
}


class Calls:
    """Counts the epochs that an engine trained at once, and says how many those are."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, length: int) -> None:
        self.epochs = 0
        whole = stretches.Stretches.observe

        def observe(one: Any, seconds: float) -> None:
            whole(one, seconds)
            one._next = length

        monkeypatch.setattr(stretches.Stretches, "observe", observe)
        kind = type(fn.Network([1, 1], backend="numba").engine())
        train = kind.train_epochs

        def train_epochs(engine: Any, stretch: Any) -> Any:
            self.epochs += len(stretch.coefficients)
            return train(engine, stretch)

        monkeypatch.setattr(kind, "train_epochs", train_epochs)


def fit(layers: Any, *, watched: bool, outputs: Any = Y, **how: Any) -> fn.Network:
    """Train a network, epoch by epoch if it is watched."""
    net = fn.Network(layers, inputs=3, backend="numba", seed=5)
    callbacks = [fn.Callback()] if watched else []
    net.fit(X, outputs, callbacks=callbacks, **how)
    return net


@pytest.mark.parametrize("threads", [2, 3])
@pytest.mark.parametrize("stopping", [None, 3])
def test_several_threads_train_ahead_with_the_same_bits(
    threads: int, stopping: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = Calls(monkeypatch, 9)
    monkeypatch.setattr(numba_engine, "cores", lambda: threads)
    how: dict[str, Any] = {"epochs": 60, "batch_size": 7, "optimizer": OPTIMIZERS["clipped"]}
    how["early_stopping"] = stopping
    how["validation_data"] = (X[:9] * 1.3, Y[:9], np.arange(9) % 4)
    alone = fit(LAYERS["wide"], watched=True, threads=1, **how)
    started, run = [], numba_engine.run_together
    monkeypatch.setattr(
        numba_engine, "run_together", lambda n, *how, **k: (started.append(n), run(n, *how, **k))[1]
    )
    parts = fit(LAYERS["wide"], watched=False, threads=threads, **how)
    assert calls.epochs
    assert {*started} == {threads}
    assert_same(alone, parts)


class LooksAtEpochs(fn.EarlyStopping):
    """Early stopping that does more."""

    def on_epoch_end(self, run: Any) -> None:
        super().on_epoch_end(run)


def assert_same(one: fn.Network, other: fn.Network) -> None:
    assert same(everything(one), everything(other))
    a, b = one.optimizer_state, other.optimizer_state
    assert a is not None
    assert b is not None
    assert (a.step, a.epoch, a.updates, a.plateau) == (b.step, b.epoch, b.updates, b.plateau)
    assert one.history is not None
    assert other.history is not None
    assert one.history.epochs == other.history.epochs
    assert one.history.records == other.history.records


@pytest.mark.parametrize("length", [2, 7, 1000])
@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
@pytest.mark.parametrize("layers", LAYERS.values(), ids=LAYERS)
def test_bits_and_history_are_those_of_epochs_one_by_one(
    layers: Any, optimizer: Any, length: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = Calls(monkeypatch, length)
    for batch_size in (None, 7):
        how = {"optimizer": optimizer, "batch_size": batch_size, "epochs": 67}
        if batch_size is None:
            how["validation_data"] = (X[:9] + 1, Y[:9], np.arange(9) % 4)
        whole = fit(layers, watched=True, **how)
        assert calls.epochs == 0
        parts = fit(layers, watched=False, **how)
        assert calls.epochs >= 40
        assert_same(whole, parts)
        # The counters go on in a further training.
        for net, callbacks in ((whole, [fn.Callback()]), (parts, [])):
            net.fit(X, Y, **(how | {"callbacks": callbacks, "epochs": 9}))
        assert_same(whole, parts)
        calls.epochs = 0


def test_classes_weights_and_rates_of_layers_too(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = Calls(monkeypatch, 50)
    layers = [fn.Dense(5, "silu", weight_rate=0.5, bias_rate=0.0), fn.Dense(3, "softmax")]
    how: dict[str, Any] = {
        "outputs": LABELS,
        "epochs": 60,
        "sample_weight": np.arange(23) % 4,
        "shuffle": False,
        "validation_split": 0.2,
    }
    assert_same(fit(layers, watched=True, **how), fit(layers, watched=False, **how))
    assert calls.epochs == 58  # one, 50, one, and the last 8


STOPPING: dict[str, Any] = {
    "loss": fn.EarlyStopping(3, monitor="loss", min_delta=1e-4),
    "validation": fn.EarlyStopping(4),
    "no delta": fn.EarlyStopping(30, min_delta=0.05),
    "accuracy": fn.EarlyStopping(6, monitor="val_accuracy"),
    "training accuracy": fn.EarlyStopping(5, monitor="accuracy", restore_best=False),
    "the worst": fn.EarlyStopping(7, monitor="val_loss", mode="max"),
    "the last of equal ones": BestEpoch("classification", 200),
}


@pytest.mark.parametrize("length", [2, 7, 64, 1000])
@pytest.mark.parametrize("stopping", STOPPING.values(), ids=STOPPING)
def test_early_stopping_within_a_call(
    stopping: Any, length: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = Calls(monkeypatch, length)
    layers = [fn.Dense(6, "relu"), fn.BatchNorm(), fn.Dense(3, "softmax")]
    how: dict[str, Any] = {
        "outputs": LABELS,
        "epochs": 200,
        "batch_size": 8,
        "optimizer": fn.Adam(0.05),
        "validation_data": (X[:9] * 1.3, LABELS[:9], np.arange(9) % 4),
        "early_stopping": stopping,
    }
    whole, parts = (fit(layers, watched=watched, **how) for watched in (True, False))
    assert calls.epochs
    assert_same(whole, parts)
    a, b = whole.history, parts.history
    assert a is not None
    assert b is not None
    assert (a.stop_reason, a.best_epoch) == (b.stop_reason, b.best_epoch)
    never = STOPPING["the last of equal ones"]
    assert a.stop_reason == ("epochs" if stopping is never else "early stopping")
    # A weight that is one unit in the last place away is noticed.
    parts.parameters[0] = np.nextafter(parts.parameters[0], np.float32(9))
    with pytest.raises(AssertionError):
        assert_same(whole, parts)


def test_the_rate_is_reduced_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = Calls(monkeypatch, 1000)
    schedule = fn.schedules.ReduceOnPlateau(2.0, factor=0.5, patience=4)
    how: dict[str, Any] = {"optimizer": fn.SGD(schedule), "batch_size": 5, "epochs": 90}
    how |= {"outputs": LABELS, "validation_data": (X[:9], LABELS[:9])}
    layers = [fn.Dense(4, "tanh"), fn.Dense(3, "softmax")]
    whole, parts = (fit(layers, watched=watched, **how) for watched in (True, False))
    assert_same(whole, parts)
    assert calls.epochs > 60
    assert parts.history is not None
    assert len(set(parts.history["learning_rate"])) > 3


@pytest.mark.parametrize("every", [7, 2, "0.000001s", "1h"])
@pytest.mark.parametrize("killed_after", [1, 2, 3])
def test_checkpoints_are_written_between_two(
    every: Any, killed_after: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    calls = Calls(monkeypatch, 5)
    how: dict[str, Any] = {"epochs": 60, "optimizer": fn.Adam(0.05), "early_stopping": 9}
    whole = fit(LAYERS["norms and dropout"], watched=True, **how)
    how |= {"checkpoint": tmp_path / "run", "checkpoint_every": every}
    written, write = [], CheckpointWriter._write

    def killed(self: Any, trainer: Any) -> None:
        write(self, trainer)
        written.append(trainer.run.epoch)
        if len(written) == killed_after:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(CheckpointWriter, "_write", killed)
        with suppress(KeyboardInterrupt):
            fit(LAYERS["norms and dropout"], watched=False, **how)
    if isinstance(every, int):
        assert written == [every * (k + 1) for k in range(killed_after)]
    assert calls.epochs > 0 or every not in (7, "1h")
    resumed = fit(LAYERS["norms and dropout"], watched=False, resume=True, **how)
    assert_same(whole, resumed)


@pytest.mark.parametrize("length", [2, 3, 10, 40])
@pytest.mark.parametrize("rate", [0.9, 1e4, 1e30])
def test_a_divergence_leaves_early_stopping_as_it_was(
    rate: float, length: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    Calls(monkeypatch, length)
    found = []
    for watched in (True, False):
        net = fn.Network([3, 1], backend="numba", seed=5)
        stopping = fn.EarlyStopping(300)
        callbacks = [fn.Callback()] if watched else []
        with pytest.raises(fn.DivergenceError) as caught:
            net.fit(
                *(X, Y),
                optimizer=fn.SGD(rate),
                batch_size=None,
                epochs=400,
                callbacks=callbacks,
                early_stopping=stopping,
                validation_data=(X[:5], Y[:5]),
            )
        history = net.history
        found.append(
            (str(caught.value), on_host(net).tolist(), history.records, history.best_epoch)
        )
    assert found[0] == found[1]


@pytest.mark.parametrize("length", [2, 3, 10, 40])
@pytest.mark.parametrize("rate", [0.3, 0.9, 3.0, 1e4, 1e30])
def test_a_divergence_is_found_where_it_is(
    rate: float, length: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    Calls(monkeypatch, length)
    found = []
    for watched in (True, False):
        net = fn.Network([3, 1], backend="numba", seed=5)
        how: dict[str, Any] = {"optimizer": fn.SGD(rate), "batch_size": None, "epochs": 400}
        callbacks = [fn.Callback()] if watched else []
        try:
            net.fit(X, Y, callbacks=callbacks, **how)
        except fn.DivergenceError as error:
            place: Any = error.epoch, error.step, str(error)
        else:
            place = None
        found.append((place, everything(net), net.history.records, net.optimizer_state))
    (a, arrays, records, state), (b, others, other_records, other_state) = found
    assert (a is None) == (rate == 0.3)
    assert a == b
    assert same(arrays, others)
    assert records == other_records
    assert (state.step, state.epoch, state.updates) == (
        other_state.step,
        other_state.epoch,
        other_state.updates,
    )


def test_weights_that_become_infinite_are_taken_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loss is finite before each update; so the weights alone show it."""
    Calls(monkeypatch, 5)
    found = []
    for watched in (True, False):
        net = fn.Network([3, 1], backend="numba", dtype="float32", seed=5)
        rate = fn.schedules.Exponential(1e-3, 1e9)
        with pytest.raises(fn.DivergenceError) as caught:
            callbacks = [fn.Callback()] if watched else []
            net.fit(X, Y, optimizer=fn.SGD(rate), batch_size=None, epochs=50, callbacks=callbacks)
        found.append((str(caught.value), on_host(net).tolist(), net.history.records))
    assert found[0] == found[1]


def test_memory_that_runs_out_before_a_stretch_spoils_no_later_training(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Calls(monkeypatch, 10)
    net = fn.Network(LAYERS["wide"], inputs=3, backend="numba", seed=5)
    net.predict(X)  # makes the network's own engine

    def no_memory(*_: Any, **__: Any) -> None:
        raise MemoryError

    with monkeypatch.context() as patched:
        patched.setattr(numba_engine, "NumbaEngine", no_memory)  # that of the rows held out
        with pytest.raises(MemoryError):
            net.fit(X, Y, epochs=20, validation_data=(X, Y))
    assert len(net.fit(X, Y, epochs=20, validation_data=(X, Y)).epochs) == 20


def test_ctrl_c_ends_training_after_a_stretch(
    monkeypatch: pytest.MonkeyPatch, usual_handler: None
) -> None:
    calls = Calls(monkeypatch, 20)
    kind = type(fn.Network([1, 1], backend="numba").engine())
    train = kind.train_epochs

    def press(*args: Any, **how: Any) -> Any:
        signal.raise_signal(signal.SIGINT)
        return train(*args, **how)

    monkeypatch.setattr(kind, "train_epochs", press)
    net = fn.Network([3, 1], backend="numba")
    with pytest.raises(KeyboardInterrupt):
        net.fit(X, Y, epochs=1000)
    assert calls.epochs == 20
    assert net.history is not None
    assert net.history.epochs == [*range(1, 22)]
    assert net.history.stop_reason == "interrupted"


@pytest.mark.parametrize(
    "how",
    [
        {"callbacks": [fn.Callback()]},
        {"validation_data": (X, Y), "metrics": ["mae"]},
        {"early_stopping": 3, "verbose": True},
        {"early_stopping": fn.EarlyStopping(3, monitor="r2")},
        {"callbacks": [LooksAtEpochs()]},
        {"verbose": True},
        {"optimizer": fn.SGD(fn.schedules.ReduceOnPlateau(0.01, patience=0))},
        {"checkpoint": "run", "checkpoint_every": 1},
    ],
    ids=lambda how: next(iter(how)),
)
def test_what_looks_at_an_epoch_gets_each(
    how: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    calls = Calls(monkeypatch, 10)
    fn.Network([3, 1], backend="numba").fit(X, Y, **({"epochs": 30, "batch_size": None} | how))
    assert calls.epochs == 0


def test_the_log_of_epochs_is_whole(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    calls = Calls(monkeypatch, 10)
    with caplog.at_level(logging.DEBUG, "fastnet"):
        fn.Network([3, 1], backend="numba").fit(X, Y, epochs=12, batch_size=None)
    assert calls.epochs == 0
    assert sum(one.message.startswith("epoch ") for one in caplog.records) == 12


@pytest.mark.parametrize("name", usable_backends())
@pytest.mark.parametrize("held_out", [False, True])
def test_an_engine_watches_epochs_as_the_composed_ones(name: str, held_out: bool) -> None:
    bench = Bench(usable_backends()[name], np.dtype("f4"))
    plan = fn.Network([3, 5, 1], activation="tanh", backend="numpy").plan
    config = TrainConfig(MSE(), fn.Adam(0.3), 64, seed=3, shuffle=True)
    rows = bench.rows(random_rows(plan, MSE(), 150))
    others = bench.rows(random_rows(plan, MSE(), 37))
    table = config.optimizer.step_coefficients(1, np.full(180, 0.3)).reshape(60, 3, -1)
    results = []
    for train in (Engine.train_epochs, None):
        engine = bench.engine(plan, random_parameters(plan))
        moments = bench.moments(config, plan)
        weights = engine.parameters.copy(), engine.state.copy()
        monitor = Monitor(Patience(4), score=False, held_out=held_out, weights=weights)
        method = train or type(engine).train_epochs
        tallies = method(engine, Stretch(rows, config, moments, table, 2, 6, others, monitor))
        kept = [bench.get(one) for one in (*weights, engine.parameters)]
        results.append((tallies, monitor.patience, kept))
    (tallies, patience, arrays), (others_tallies, other_patience, other_arrays) = results
    assert patience.is_over
    assert patience.best_epoch == 2 + len(tallies[0]) - 4
    assert len(tallies[0]) == len(tallies[1]) < 60
    assert [one.table.tolist() for one in tallies] == [one.table.tolist() for one in others_tallies]
    assert patience == other_patience
    assert all(map(np.array_equal, arrays, other_arrays))
    assert not np.array_equal(arrays[0], arrays[2])


@pytest.mark.parametrize("name", usable_backends())
@pytest.mark.parametrize("width", [3, 300])
def test_an_engine_trains_epochs_as_the_composed_ones(name: str, width: int) -> None:
    bench = Bench(usable_backends()[name], np.dtype("f4"))
    plan = fn.Network([3, width, 1], activation="tanh", backend="numpy").plan
    config = TrainConfig(MSE(), fn.Adam(0.01), 64, seed=3, shuffle=True)
    rows = bench.rows(random_rows(plan, MSE(), 150))
    held_out = bench.rows(random_rows(plan, MSE(), 37))
    table = config.optimizer.step_coefficients(1, np.full(12, 0.01)).reshape(4, 3, -1)
    results = []
    for train in (Engine.train_epochs, None):
        engine = bench.engine(plan, random_parameters(plan))
        moments = bench.moments(config, plan)
        method = train or type(engine).train_epochs
        tallies = method(engine, Stretch(rows, config, moments, table, 2, 6, held_out))
        results.append((tallies, bench.get(engine.parameters), bench.get(moments)))
    (tallies, *arrays), (others, *other_arrays) = results
    assert tallies[0].steps.tolist() == [3, 3, 3, 3]
    assert len(tallies[1]) == 4
    assert [one.table.tolist() for one in tallies] == [one.table.tolist() for one in others]
    assert all(map(np.array_equal, arrays, other_arrays))


def test_epochs_end_with_the_first_whose_loss_is_not_finite() -> None:
    config = TrainConfig(MSE(), fn.SGD(1e30), 64, seed=3, shuffle=False)
    for name in ("numpy", "numba"):
        bench = Bench(usable_backends()[name], np.dtype("f4"))
        plan = fn.Network([3, 1], backend="numpy").plan
        engine = bench.engine(plan, random_parameters(plan))
        table = config.optimizer.step_coefficients(1, np.full(20, 1e30)).reshape(10, 2, -1)
        rows = bench.rows(random_rows(plan, MSE(), 128))
        moments = bench.moments(config, plan)
        with np.errstate(all="ignore"):
            tallies, none = engine.train_epochs(Stretch(rows, config, moments, table, 0, 0))
        assert len(none) == 0
        assert 1 <= len(tallies) <= 2
        assert tallies.steps[:-1].tolist() == [2] * (len(tallies) - 1)
        assert tallies.steps[-1] < 2
