"""Ctrl-C: training ends after the current batches, and the network is whole."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastnet as fn
from fastnet.training.interrupt import TimeUp, ended_when, stopped_by
from tests.checkout import ROOT
from tests.on_backends import each_backend, each_backend_in_children, on_host

pytestmark = pytest.mark.usefixtures("usual_handler")

X = np.random.default_rng(0).standard_normal((60, 3))
Y = X @ [1.0, -1.0, 0.5]


def network(backend: str = "numpy") -> fn.Network:
    return fn.Network([3, 4, 1], activation="tanh", backend=backend)


class Press(fn.Callback):
    """Presses Ctrl-C in one moment of one epoch, and notes what has been done."""

    def __init__(self, moment: str, epoch: int) -> None:
        self.moment, self.epoch = moment, epoch
        self.batches = 0
        self.ended = False

    def _press(self, moment: str, run: fn.Run) -> None:
        if moment == self.moment and run.epoch == self.epoch:
            signal.raise_signal(signal.SIGINT)

    def on_train_begin(self, run: fn.Run) -> None:
        self._press("begin", run)

    def on_progress(self, run: fn.Run) -> None:
        self.batches += 1
        self._press("progress", run)

    def on_epoch_end(self, run: fn.Run) -> None:
        self._press("epoch", run)

    def on_train_end(self, run: fn.Run) -> None:
        self.ended = True


@each_backend
@pytest.mark.parametrize(
    ("optimizer", "moment", "done"),
    [("adam", "progress", 2), ("adam", "epoch", 3), ("lbfgs", "epoch", 3)],
)
def test_an_interrupt_ends_training_and_keeps_what_was_done(
    optimizer: str, moment: str, done: int, backend: str
) -> None:
    net, press, seen = network(backend), Press(moment, 3), []
    look = [lambda run: seen.append(on_host(run.network)), press]
    with pytest.raises(KeyboardInterrupt):
        net.fit(X, Y, epochs=1000, batch_size=16, callbacks=look, optimizer=optimizer)
    assert optimizer == "adam" or np.array_equal(on_host(net), seen[-1])
    assert press.ended
    assert net.history is not None
    assert net.history.epochs[:done] == list(range(1, done + 1))
    assert len(net.history.epochs) <= 3
    assert net.history.stop_reason == "interrupted"
    assert {len(values) for values in net.history.values()} == {len(net.history.epochs)}
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert np.isfinite(net.predict(X)).all()
    expected = list(range(len(net.history.epochs) + 1, len(net.history.epochs) + 3))
    assert net.fit(X, Y, epochs=2, batch_size=16).epochs == expected


def test_an_interrupt_in_the_last_epoch_is_not_lost() -> None:
    net = network()
    with pytest.raises(KeyboardInterrupt):
        net.fit(X, Y, epochs=3, callbacks=[Press("epoch", 3)])
    assert net.history is not None
    assert net.history.epochs == [1, 2, 3]


def test_an_interrupt_restores_the_best_weights_under_early_stopping() -> None:
    net, seen = network(), []

    class Worse:
        __name__ = "score"

        def __init__(self) -> None:
            self.values = iter(range(1000))

        def __call__(self, target: Any, output: Any) -> float:
            return next(self.values)

    with pytest.raises(KeyboardInterrupt):
        net.fit(
            X,
            Y,
            epochs=1000,
            metrics=[Worse()],
            early_stopping=fn.EarlyStopping(900, monitor="score", mode="min"),
            callbacks=[lambda run: seen.append(run.network.predict(X)), Press("epoch", 4)],
        )
    assert net.history is not None
    assert net.history.best_epoch == 1
    assert np.array_equal(net.predict(X), seen[0])


def test_a_second_interrupt_does_not_wait() -> None:
    class Twice(fn.Callback):
        def on_progress(self, run: fn.Run) -> None:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
            pytest.fail("the second one did not end it")

    with pytest.raises(KeyboardInterrupt):
        network().fit(X, Y, epochs=5, callbacks=[Twice()])
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize("error", [None, ZeroDivisionError, fn.DivergenceError])
def test_the_handler_is_restored_however_training_ends(error: Any) -> None:
    during = []

    def look(run: fn.Run) -> None:
        during.append(signal.getsignal(signal.SIGINT))
        if error is ZeroDivisionError:
            raise ZeroDivisionError

    rate = 1e30 if error is fn.DivergenceError else 0.01
    options = {"epochs": 9, "batch_size": None, "optimizer": fn.SGD(rate), "callbacks": [look]}
    if error is None:
        network().fit(X, Y, **options)
    else:
        with pytest.raises(error):
            network().fit(X, Y, **options)
    assert during[0] is not signal.default_int_handler
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_handler_of_the_callers_own_is_left_alone() -> None:
    pressed: list[int] = []
    during = []

    def own(number: int, frame: Any) -> None:
        pressed.append(number)

    before = signal.signal(signal.SIGINT, own)
    try:
        net = network()
        options = {"callbacks": [Press("progress", 2), lambda run: during.append(run.epoch)]}
        history = net.fit(X, Y, epochs=4, **options)
        assert signal.getsignal(signal.SIGINT) is own
    finally:
        signal.signal(signal.SIGINT, before)
    assert pressed == [signal.SIGINT]
    assert history.epochs == [1, 2, 3, 4]
    assert during == [1, 2, 3, 4]


def test_an_ignored_signal_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        history = network().fit(X, Y, epochs=3, callbacks=[Press("progress", 2)])
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
    assert history.epochs == [1, 2, 3]


@each_backend
def test_another_thread_can_train(backend: str) -> None:
    """Signals cannot be handled there: so no handler is set."""
    results: list[Any] = []

    def work() -> None:
        try:
            during: list[Any] = []
            look = [lambda run: during.append(signal.getsignal(signal.SIGINT))]
            history = network(backend).fit(X, Y, epochs=3, callbacks=look)
            results.append((history.records, during))
        except BaseException as error:
            results.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    expected = network(backend).fit(X, Y, epochs=3).records
    assert results == [(expected, [signal.default_int_handler] * 3)]


@each_backend
def test_networks_can_train_in_several_threads_at_once(backend: str) -> None:
    results: dict[int, Any] = {}

    def work(seed: int) -> None:
        net = fn.Network([3, 8, 1], seed=seed, backend=backend)
        results[seed] = net.fit(X, Y, epochs=20, batch_size=8).records

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for seed in range(4):
        net = fn.Network([3, 8, 1], seed=seed, backend=backend)
        assert net.fit(X, Y, epochs=20, batch_size=8).records == results[seed]


SCRIPT = """
import sys
import numpy as np
import fastnet as fn

x = np.random.default_rng(0).standard_normal((4000, 20))
net = fn.Network([20, 64, 1], backend=sys.argv[1], activation="tanh")
net.fit(x, x[:, 0], epochs=1)
print("started", flush=True)
try:
    net.fit(x, x[:, 0], epochs=10**6, batch_size=32)
except KeyboardInterrupt:
    history = net.history
    assert history.stop_reason == "interrupted"
    assert len(history["loss"]) == len(history.epochs)
    assert np.isfinite(net.predict(x)).all()
    net.save(sys.argv[2])
    print("interrupted", flush=True)
"""


@pytest.mark.skipif(os.name != "posix", reason="Ctrl-C cannot be sent to a process there")
@each_backend_in_children
def test_ctrl_c_is_answered_at_once(backend: str, tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, backend, str(path)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "started\n"
        time.sleep(0.3)
        pressed = time.perf_counter()
        process.send_signal(signal.SIGINT)
        out, error = process.communicate(timeout=60)
    finally:
        process.kill()
    assert (out, process.returncode) == ("interrupted\n", 0), error
    assert time.perf_counter() - pressed < 5
    assert "Traceback" not in error
    assert fn.load(path, backend=backend).predict(np.zeros((1, 20))).shape == (1,)


@each_backend
def test_training_ends_when_its_time_is_up(backend: str) -> None:
    net, asked = network(backend), list[int]()

    def over() -> bool:
        asked.append(1)
        return len(asked) > 2

    with pytest.raises(TimeUp), ended_when(over):
        net.fit(X, Y, epochs=10**6, batch_size=16)
    assert net.history is not None
    assert net.history.stop_reason == "interrupted"
    with ended_when(lambda: False):
        assert len(net.fit(X, Y, epochs=2).epochs) == 2


def test_within_a_time_limit_an_interrupt_stays_one() -> None:
    with pytest.raises(KeyboardInterrupt), ended_when(lambda: False):
        network().fit(X, Y, epochs=10**6, callbacks=[Press("epoch", 2)])
    outer = threading.Event()
    outer.set()
    with pytest.raises(KeyboardInterrupt), stopped_by(outer), ended_when(lambda: True):
        network().fit(X, Y, epochs=10**6)
