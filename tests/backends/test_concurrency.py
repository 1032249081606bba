"""Threads and processes: no deadlock, and the results of one after the other."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastnet as fn
from tests.backends.small_training import X, Y, fitted, network
from tests.checkout import ROOT
from tests.on_backends import (
    BACKENDS,
    each_backend,
    each_backend_after_fork,
    each_backend_in_children,
)

DEADLOCK_SECONDS = 300


def together(works: list[Callable[[], None]]) -> None:
    """Run all at the same time; raise what one of them raised."""
    start, errors = threading.Barrier(len(works)), list[BaseException]()

    def run(work: Callable[[], None]) -> None:
        start.wait()
        try:
            work()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(work,), daemon=True) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLOCK_SECONDS)
        assert not thread.is_alive(), "a deadlock"
    if errors:
        raise errors[0]


def test_an_error_in_a_thread_is_not_lost() -> None:
    with pytest.raises(ZeroDivisionError):
        together([lambda: None, lambda: 1 // 0])


@each_backend
def test_sixteen_threads_predict_while_another_network_trains(backend: str) -> None:
    net, done = network(backend), threading.Event()
    net.fit(X, Y, epochs=3)
    parts = [X + k for k in range(16)]
    expected = [net.predict(part) for part in parts]
    rows = [net.predict_one(part[0]) for part in parts]
    alone = fitted(backend, seed=5)
    trained: list[bytes] = []

    def train() -> None:
        try:
            for _ in range(2):
                trained.append(fitted(backend, seed=5))
        finally:
            done.set()

    def predict(k: int) -> None:
        count = 0
        while count < 50 or not done.is_set():
            assert np.array_equal(net.predict(parts[k]), expected[k])
            assert np.array_equal(net.predict_one(parts[k][0]), rows[k])
            count += 1

    together([train, *(lambda k=k: predict(k) for k in range(16))])
    assert trained == [alone] * 2
    assert not np.array_equal(expected[0], expected[1])


@each_backend
def test_networks_that_train_in_four_threads_are_those_trained_one_by_one(backend: str) -> None:
    results: dict[int, bytes] = {}

    def train(seed: int) -> None:
        results[seed] = fitted(backend, seed)

    together([lambda seed=seed: train(seed) for seed in range(4)])
    assert results == {seed: fitted(backend, seed) for seed in range(4)}
    assert len(set(results.values())) == 4


CALLS = {
    "fit": lambda net: net.fit(X, Y, epochs=1),
    "partial_fit": lambda net: net.partial_fit(X, Y),
    "update": lambda net: net.update(gradients=np.zeros(net.plan.size)),
}


@pytest.mark.parametrize("second", CALLS.values(), ids=CALLS)
@each_backend
def test_two_threads_cannot_train_one_network_at_once(backend: str, second: Any) -> None:
    net, begun, refused = network(backend), threading.Event(), threading.Event()

    def wait(run: fn.Run) -> None:
        begun.set()
        assert refused.wait(30)

    def train() -> None:
        net.fit(X, Y, epochs=3, callbacks=[wait])

    def disturb() -> None:
        assert begun.wait(30)
        with pytest.raises(fn.InputError, match="another thread is training this network"):
            second(net)
        net.predict(X)
        net.copy().fit(X, Y, epochs=1)
        pickle.loads(pickle.dumps(net)).fit(X, Y, epochs=1)
        refused.set()

    together([train, disturb])
    alone = network(backend)
    alone.fit(X, Y, epochs=3)
    assert np.array_equal(host(net), host(alone))
    second(net)  # afterwards every thread may


@each_backend
def test_a_callback_may_train_the_network_as_before(backend: str) -> None:
    net = network(backend)
    net.fit(X, Y, epochs=1, callbacks=[lambda run: net.partial_fit(X[:8], Y[:8])])


def host(net: fn.Network) -> Any:
    return np.array(net.backend_object.to_host(net.parameters))


# --- processes ------------------------------------------------------------------------------------

HEAD = """
import multiprocessing, os, sys, threading
import numpy as np
import fastnet as fn
from tests.backends.small_training import X, Y, fitted, network

backend = sys.argv[1]

def child(seed):
    return fitted(backend, seed)
"""

FORK_AFTER_TRAINING = """
expected = [fitted(backend, seed) for seed in range(3)]
network(backend).fit(X, Y, epochs=2)  # on all threads that pay
with multiprocessing.get_context("fork").Pool(2) as pool:
    assert pool.map(child, range(3)) == expected
"""

SPAWN = """
if __name__ == "__main__":
    expected = [fitted(backend, seed) for seed in range(3)]
    net, stop = network(backend), threading.Event()

    def train():
        net.fit(X, Y, epochs=10**6, callbacks=[lambda run: stop.is_set() and run.stop()])

    thread = threading.Thread(target=train)
    thread.start()
    try:
        with multiprocessing.get_context(sys.argv[2]).Pool(2) as pool:
            assert pool.map(child, range(3)) == expected
    finally:
        stop.set()
        thread.join()
"""

NETWORK_IN_A_CHILD = """
net = network(backend)
net.fit(X, Y, epochs=2)
expected = net.predict(X)
child = os.fork()
if not child:
    os._exit(int(not np.array_equal(net.predict(X), expected)))
assert os.waitpid(child, 0)[1] == 0
"""

JOBLIB = """
if __name__ == "__main__":
    import joblib

    expected = [fitted(backend, seed) for seed in range(4)]
    for prefer in ("processes", "threads"):
        jobs = (joblib.delayed(fitted)(backend, seed) for seed in range(4))
        assert joblib.Parallel(n_jobs=2, prefer=prefer)(jobs) == expected
"""


def run(tmp_path: Path, program: str, *args: str, **environment: str) -> None:
    """Run a program in a process of its own: its files are what children import."""
    file = tmp_path / "program.py"
    file.write_text(HEAD + program)
    done = subprocess.run(
        [sys.executable, str(file), *args],
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
        capture_output=True,
        text=True,
        timeout=DEADLOCK_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_a_program_that_fails_is_noticed(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="wrong bits"):
        run(tmp_path, "assert child(0) == b'', 'wrong bits'", "numpy")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork there")
@each_backend_after_fork
@pytest.mark.parametrize("program", [FORK_AFTER_TRAINING, NETWORK_IN_A_CHILD], ids=["pool", "fork"])
def test_children_forked_after_training_train_and_predict(
    program: str, backend: str, tmp_path: Path
) -> None:
    run(tmp_path, program, backend)


@each_backend_in_children
@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_children_started_while_a_thread_trains_train_too(
    method: str, backend: str, tmp_path: Path
) -> None:
    run(tmp_path, SPAWN, backend, method)


@each_backend_in_children
def test_joblib_gives_the_results_of_a_loop(backend: str, tmp_path: Path) -> None:
    pytest.importorskip("joblib")
    run(tmp_path, JOBLIB, backend, TMPDIR=str(tmp_path))


@pytest.mark.slow
@pytest.mark.skipif("numba" not in BACKENDS, reason="Numba is not there")
def test_processes_that_compile_at_the_same_moment_with_a_cold_cache(tmp_path: Path) -> None:
    code = "from tests.backends.small_training import fitted; print(fitted('numba').hex())"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            env=os.environ | {"PYTHONPATH": str(ROOT), "FASTNET_CACHE_DIR": str(tmp_path)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    ended = [(*process.communicate(), process.returncode) for process in processes]
    assert ended == [(fitted("numba").hex() + "\n", "", 0)] * 2


@pytest.mark.parametrize("trainings", [100, pytest.param(1000, marks=pytest.mark.slow)])
def test_many_trainings_on_two_threads_end_alike(trainings: int) -> None:
    """Barriers that are passed many thousand times: no deadlock, and always the same bits."""
    pytest.importorskip("numba")
    x = np.random.default_rng(0).standard_normal((256, 20)).astype(np.float32)

    def train(threads: int) -> bytes:
        net = fn.Network([20, 33, 3], activation="tanh", backend="numba")
        net.fit(x, x[:, :3] ** 2, epochs=2, batch_size=64, threads=threads)
        return net.parameters.tobytes()

    expected = train(1)
    assert {train(2) for _ in range(trainings)} == {expected}
