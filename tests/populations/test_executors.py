"""Members have the same bits on every executor, and none is lost with its worker."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastnet as fn
from fastnet.populations import crews, executors, halfway, parcel, processes, remote
from fastnet.populations.folder import PopulationFolder
from fastnet.populations.parcel import AbsentError, Label, Parcel
from tests import dask_cluster, in_workers
from tests.checkout import ROOT
from tests.on_backends import everything, same

dask = pytest.importorskip("dask")
distributed = pytest.importorskip("distributed")

RNG = np.random.default_rng(6)
X = RNG.standard_normal((90, 3)).astype(np.float32)
Y = X @ np.array([1.0, -2.0, 0.5], np.float32)
NET = fn.Network([3, 6, 1], activation="tanh", backend="numpy", seed=5)
HOW: dict[str, Any] = {"seeds": 3, "cv": 2, "param_grid": {"learning_rate": [0.01, 0.1]}}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    with dask_cluster.cluster(2) as made:
        yield made


@pytest.fixture(scope="module")
def client(cluster: Any) -> Iterator[Any]:
    with distributed.Client(cluster) as made:
        yield made


@pytest.fixture(scope="module")
def pool() -> Iterator[ProcessPoolExecutor]:
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as made:
        yield made


def assert_same(one: fn.Population, other: fn.Population) -> None:
    rows = [[{**row, "seconds": 0} for row in population.results] for population in (one, other)]
    assert rows[0] == rows[1]
    for a, b in zip(one, other, strict=True):
        assert same(everything(a), everything(b))
        assert a.history is not None
        assert b.history is not None
        assert a.history.records == b.history.records


@pytest.fixture(scope="module")
def whole() -> fn.Population:
    return fn.fit_many(NET, X, Y, epochs=4, **HOW)


@pytest.mark.parametrize("kind", ["threads", "pool", "processes", "client", "executor", "text"])
def test_members_have_the_same_bits_on_every_executor(
    kind: str, whole: fn.Population, pool: Any, client: Any
) -> None:
    every: dict[str, Callable[[], Any]] = {
        "threads": lambda: ThreadPoolExecutor(2),
        "pool": lambda: pool,
        "processes": lambda: "processes:2",
        "client": lambda: client,
        "executor": lambda: client.get_executor(),
        "text": lambda: f"dask:{client.scheduler.address}",
    }
    assert_same(fn.fit_many(NET, X, Y, epochs=4, executor=every[kind](), **HOW), whole)


def test_other_members_are_not_taken_for_the_same(whole: fn.Population) -> None:
    with pytest.raises(AssertionError):
        assert_same(fn.fit_many(NET, X, Y, epochs=4, **(HOW | {"seeds": [5, 6, 8]})), whole)


def test_lanes_tables_and_ensembles_train_on_executors(pool: Any) -> None:
    tiny = fn.Network([3, 4, 1], activation="tanh", backend="numba", seed=5)
    how: dict[str, Any] = {"seeds": 40, "epochs": 3}
    assert_same(fn.fit_many(tiny, X, Y, executor=pool, **how), fn.fit_many(tiny, X, Y, **how))
    table = {"size": X[:, 0], "kind": np.array(["u", "v", None] * 30, object), "price": Y}
    options: dict[str, Any] = {"epochs": 3, "hidden": 4, "backend": "numpy"}
    known = fn.tables.fit_many(table, "price", cv=3, **options)
    assert_same(fn.tables.fit_many(table, "price", cv=3, executor=pool, **options), known)
    scores = fn.tables.cross_validate(table, "price", cv=3, executor=pool, **options)
    assert scores["test_loss"].tolist() == known.results["test_loss"].tolist()
    options["n_estimators"] = 2
    together, alone = (
        fn.tables.train(table, "price", executor=where, **options) for where in (pool, None)
    )
    assert np.array_equal(together.predict(table), alone.predict(table))
    del options["n_estimators"]
    with pytest.raises(fn.InputError, match="this is one: give n_estimators"):
        fn.tables.train(table, "price", executor=pool, **options)
    options |= {"minutes": None, "trials": 2, "cv": 2}
    tuned, same_tuned = (
        fn.tables.tune(table, "price", executor=where, **options) for where in (pool, None)
    )
    assert np.array_equal(tuned.predict(table), same_tuned.predict(table))


# --- what travels ---------------------------------------------------------------------------------


class Held:
    """Work with rows."""

    def __init__(self, x: Any) -> None:
        self.x = x


@pytest.fixture(params=["memory", "content"])
def packed(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Parcel]:
    monkeypatch.setattr(parcel, "_kept", type(parcel._kept)())
    if request.param == "content":
        monkeypatch.setattr(parcel, "_memory", lambda: None)
    made = Parcel(Held({"x": X, "odd": X[:, 0], "none": X[:0]}))  # type: ignore[arg-type]
    yield made
    made.close()


def test_what_is_unpacked_is_what_was_packed(packed: Parcel) -> None:
    label = pickle.loads(pickle.dumps(packed.full()))
    unpacked: Any = label.open()
    for name, values in {"x": X, "odd": X[:, 0], "none": X[:0]}.items():
        assert np.array_equal(unpacked.x[name], values)
    assert not unpacked.x["x"].flags.writeable
    assert unpacked.x["x"].ctypes.data % 64 == 0 or label.content is not None
    assert label.open() is unpacked  # a worker keeps it
    packed.close()
    assert np.array_equal(unpacked.x["x"], X)


def test_the_memory_is_shared_where_the_machine_is_the_same() -> None:
    made = Parcel(Held(X))  # type: ignore[arg-type]
    label = made.label
    if not label.place:
        pytest.skip("this system has no files in memory")
    assert label.content is None
    assert len(pickle.dumps(label)) < 1000 < X.nbytes
    for other in (
        replace(label, machine="another"),
        replace(label, place=f"/proc/{os.getpid()}/fd/9999"),
        replace(label, token=bytes(16)),  # another process there has that number
    ):
        with pytest.raises(AbsentError):
            other.open()
    assert np.array_equal(label.open().x, X)  # type: ignore[attr-defined]
    made.close()
    parcel._kept.clear()
    with pytest.raises(AbsentError):
        label.open()


def test_a_worker_keeps_the_work_of_the_last_populations_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(parcel, "_kept", type(parcel._kept)())
    made = [Parcel(Held(X + k)) for k in range(4)]  # type: ignore[arg-type]
    for one in (*made, made[-2]):
        one.full().open()
    assert [*parcel._kept] == [made[-1].label.token, made[-2].label.token]
    for one in made:
        one.close()


class Elsewhere:
    """An executor whose workers are on another machine."""

    def __init__(self) -> None:
        self.contents = 0

    def submit(self, function: Any, *args: Any) -> Future[Any]:
        label, *how = pickle.loads(pickle.dumps(args))
        assert isinstance(label, Label)
        self.contents += label.content is not None
        future: Future[Any] = Future()
        future.set_result(pickle.loads(pickle.dumps(function(replace(label, place=""), *how))))
        return future


def test_workers_elsewhere_are_sent_the_rows_once(whole: fn.Population) -> None:
    elsewhere = Elsewhere()
    assert_same(fn.fit_many(NET, X, Y, epochs=4, executor=elsewhere, **HOW), whole)
    assert 1 <= elsewhere.contents <= 2  # as many as are on their way before the first is there


LOCAL = lambda run: None  # noqa: E731


@pytest.mark.parametrize(
    ("how", "name"),
    [
        ({"callbacks": [LOCAL]}, r"callbacks\[0\]"),
        ({"loss": lambda output, target: (0.0, output)}, "loss|function"),
        ({"settings": [{"metrics": [lambda target, output: 0.0]}]}, r"metrics\[0\]"),
    ],
)
@pytest.mark.parametrize("kind", ["pool", "client"])
def test_what_does_not_pickle_is_named(
    how: Any, name: str, kind: str, pool: Any, client: Any
) -> None:
    executor = {"pool": pool, "client": client}[kind]
    with pytest.raises(fn.InputError, match=rf"^({name}) cannot be sent to workers") as caught:
        fn.fit_many(NET, X, Y, epochs=1, executor=executor, **how)
    assert "\n" not in str(caught.value)


# --- errors and workers that end ------------------------------------------------------------------


@pytest.fixture(params=["processes", "dask"])
def mortal(request: pytest.FixtureRequest) -> Iterator[Any]:
    """Workers of which some will be killed; Dask gives a task up with the second of them."""
    if request.param == "processes":
        yield "processes:2"
        return
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 1}),
        dask_cluster.cluster(3) as cluster,
        distributed.Client(cluster) as made,
    ):
        yield made


def test_members_of_a_worker_that_was_killed_are_trained_again(mortal: Any, tmp_path: Path) -> None:
    how: dict[str, Any] = {"seeds": 6, "epochs": 3}
    killer = in_workers.Killer(seed=7, left=tmp_path / "left")
    found = fn.fit_many(NET, X, Y, executor=mortal, callbacks=[killer], **how)
    assert killer.left is not None
    assert killer.left.exists()
    assert_same(found, fn.fit_many(NET, X, Y, **how))


def test_a_member_that_always_ends_its_worker_takes_no_other_with_it(
    mortal: Any, tmp_path: Path
) -> None:
    how: dict[str, Any] = {"seeds": 4, "epochs": 3}
    with pytest.raises(fn.WorkerError, match=r"^member 2 \(seed 7\) ended its worker") as caught:
        fn.fit_many(
            *(NET, X, Y),
            executor=mortal,
            callbacks=[in_workers.Killer(7)],
            checkpoint=tmp_path,
            **how,
        )
    others, known = caught.value.population, fn.fit_many(NET, X, Y, **how)
    assert caught.value.members == (2,)
    assert others.results["member"].tolist() == [0, 1, 3]
    for mine, k in zip(others, (0, 1, 3), strict=True):
        assert same(everything(mine), everything(known[k]))
    assert PopulationFolder(tmp_path, True).done() == [0, 1, 3]


def test_a_broken_executor_of_the_callers_says_what_to_do(tmp_path: Path) -> None:
    with (
        ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as executor,
        pytest.raises(fn.WorkerError, match="make a new one, or give executor='processes'"),
    ):
        fn.fit_many(
            *(NET, X, Y),
            executor=executor,
            seeds=3,
            epochs=2,
            callbacks=[in_workers.Killer(6)],
            checkpoint=tmp_path,
        )
    assert PopulationFolder(tmp_path, True).done() == [0]


def test_a_trial_that_a_search_lost_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crews, "ATTEMPTS", 1)
    table = {"size": X[:, 0], "price": Y}
    how: dict[str, Any] = {"minutes": None, "trials": 3, "cv": 2, "hidden": 4, "epochs": 2}
    how |= {"backend": "numpy", "callbacks": [in_workers.Killer(1)]}
    with pytest.warns(fn.FastNetWarning, match="Its trial is left out"):
        tuned = fn.tables.tune(table, "price", executor="processes:1", **how)
    assert tuned.results["trial"].tolist() == [0, 2]


def test_errors_of_workers_arrive_as_themselves(pool: Any) -> None:
    how: dict[str, Any] = {"seeds": 3, "epochs": 2, "executor": pool}
    with pytest.raises(KeyError, match="mine"):
        fn.fit_many(NET, X, Y, callbacks=[in_workers.fail], **how)
    with pytest.raises(fn.errors.FastNetError, match="OddError: 1 and 2"):
        fn.fit_many(NET, X, Y, callbacks=[in_workers.fail_oddly], **how)
    error = fn.DivergenceError("far", epoch=3, step=4)
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), again.epoch, again.step) == (fn.DivergenceError, "far", 3, 4)
    # The executor is as good as before.
    settings = [{"learning_rate": rate} for rate in (0.01, 1e30)]
    how = {"optimizer": fn.SGD(), "epochs": 6, "executor": pool, "settings": settings}
    reasons = [row["stop_reason"] for row in fn.fit_many(NET, X, Y, **how).results]
    assert reasons == ["epochs", "diverged"]


@pytest.mark.parametrize("kind", ["threads", "processes"])
def test_ctrl_c_ends_it_with_what_is_done(
    kind: str, usual_handler: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = PopulationFolder.write

    def press(self: PopulationFolder, *what: Any) -> None:
        write(self, *what)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    monkeypatch.setattr(PopulationFolder, "write", press)
    settings = [{"epochs": 1}, *({"epochs": 10**6, "seed": k} for k in range(3))]
    executor = ThreadPoolExecutor(2) if kind == "threads" else "processes:2"
    others = {*multiprocessing.active_children()}
    with pytest.raises(KeyboardInterrupt):
        fn.fit_many(NET, X, Y, settings=settings, executor=executor, checkpoint=tmp_path)
    assert PopulationFolder(tmp_path, True).done() == [0]
    assert not {*multiprocessing.active_children()} - others


_PROGRAM = """
import sys
from pathlib import Path
import numpy as np, fastnet as fn
from tests.in_workers import Noted
if __name__ == "__main__":
    x = np.ones((9, 2))
    net = fn.Network([2, 1], backend="numpy")
    fn.fit_many(net, x, x[:, 0], seeds=2, epochs=10**9, executor="processes:2",
                callbacks=[Noted(Path(sys.argv[1]))])
"""


def test_workers_end_with_a_driver_that_was_killed(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(_PROGRAM, encoding="utf-8")
    paths = {**os.environ, "PYTHONPATH": str(ROOT)}
    driver = subprocess.Popen([sys.executable, str(program), str(tmp_path)], cwd=ROOT, env=paths)
    until(lambda: len(workers := [*tmp_path.glob("*.worker")]) == 2 and bool(workers))
    numbers = [int(file.stem) for file in tmp_path.glob("*.worker")]
    assert all(map(lives, numbers))
    driver.kill()
    driver.wait()
    until(lambda: not any(map(lives, numbers)))


def until(true: Callable[[], bool]) -> None:
    ends = time.monotonic() + 60
    while not true():
        assert time.monotonic() < ends
        time.sleep(0.05)


def lives(number: int) -> bool:
    """Return whether a process has not ended; one that nobody has waited for has."""
    try:
        os.kill(number, 0)
        state = Path(f"/proc/{number}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    except OSError:
        return False
    return state[0] != "Z"


# --- members that take long -----------------------------------------------------------------------


def test_a_member_of_a_worker_that_was_ended_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    how: dict[str, Any] = {
        "epochs": 10**9,
        "seeds": 1,
        "early_stopping": fn.EarlyStopping(7, min_delta=1e6),
    }
    folder, notes = tmp_path / "population", tmp_path / "notes"
    notes.mkdir()
    metric = in_workers.Terminated(notes)
    found = fn.fit_many(
        NET, X, Y, executor="processes:1", checkpoint=folder, metrics=[metric], **how
    )
    epochs = (notes / "epochs").read_text(encoding="ascii")
    assert len(epochs) == len(found[0].history.epochs)  # none is trained twice
    assert not list(folder.glob("halfway-*"))
    (notes / "epochs").write_text("x" * 9, encoding="ascii")
    assert_same(found, fn.fit_many(NET, X, Y, metrics=[metric], **how))


SEEN = list[int]()


def press(target: Any, output: Any) -> float:
    SEEN.append(1)
    if len(SEEN) == 3:
        signal.raise_signal(signal.SIGINT)
    return 0.0


@pytest.mark.parametrize("long", [True, False])
def test_an_interrupted_member_goes_on_if_it_takes_long(
    long: bool, usual_handler: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(halfway, "LONG_SECONDS", 0.0 if long else 1e9)
    SEEN.clear()
    how: dict[str, Any] = {"epochs": 9, "seeds": 1, "metrics": [press]}
    with pytest.raises(KeyboardInterrupt):
        fn.fit_many(NET, X, Y, checkpoint=tmp_path, **how)
    assert bool(list(tmp_path.glob("halfway-*"))) is long
    before = len(SEEN)
    resumed = fn.fit_many(NET, X, Y, checkpoint=tmp_path, resume=True, **how)
    assert len(SEEN) - before == (9 - before if long else 9)
    assert_same(resumed, fn.fit_many(NET, X, Y, **how))
    assert not list(tmp_path.glob("halfway-*"))


@pytest.mark.parametrize(
    "fit", [{"optimizer": fn.LBFGS()}, {"callbacks": [print]}, {"epochs": 1, "batch_size": None}]
)
def test_members_that_cannot_go_on_or_are_short_begin_anew(fit: Any, tmp_path: Path) -> None:
    long = {"epochs": 10**9}
    assert halfway.options_for(tmp_path, 3, NET.plan, 90, long)["resume"]
    assert halfway.options_for(None, 3, NET.plan, 90, long) == {}
    assert halfway.options_for(tmp_path, 3, NET.plan, 90, long | fit) == {}


# --- cores, time, bad input -----------------------------------------------------------------------


def test_the_cores_are_shared_out(pool: Any, client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (executors, processes):
        monkeypatch.setattr(module, "cores", lambda: 8)
    assert processes.ProcessesPool(3).threads == 2
    assert processes.ProcessesPool(20).threads == 1
    with executors.opened("processes") as made:
        assert (made.slots, made.threads) == (8, 1)
    for executor, share in ((pool, 4), (client, 1), (ThreadPoolExecutor(2), 1)):
        with executors.opened(executor) as made:
            assert (made.slots, made.threads) == (2, share)
    with crews.hired(pool, 3, "numpy") as workers:
        assert workers is not None
        assert (workers.slots, workers.threads) == (2, 3)


def test_a_process_of_fastnets_own_has_its_share_alone() -> None:
    made = processes.ProcessesPool(1)
    made.threads = 1
    made.bring(Held(X))  # type: ignore[arg-type]
    try:
        executor, number = made._at[0]
        assert executor.submit(fn.backends.threads.cores).result() == 1
        assert executor.submit(signal.getsignal, signal.SIGINT).result() == signal.SIG_IGN
        assert executor.submit(os.getpid).result() == number != os.getpid()
    finally:
        made.close()


def test_members_whose_time_is_up_are_left_out() -> None:
    class Two:
        def train(self, numbers: Any, threads: Any, folder: Any) -> Any:
            for number in numbers:
                net = fn.Network([3, 1], backend="numpy")
                net.fit(X, Y, epochs=3)
                yield net, {"member": number}

    work: Any = Two()
    made = remote.train_there(work, [3, 4], 1, None, None)
    assert made is not None
    assert [row["member"] for _, row in made] == [3, 4]
    assert remote.train_there(work, [3, 4], 1, None, -1.0) == []


BAD: list[tuple[Any, str]] = [
    (3, "got 3"),
    (ProcessPoolExecutor, "an object whose submit returns futures"),
    ("prozesses", "executor must be 'processes', 'processes:4'"),
    ("processes:0", "the number of processes must be a whole number of at least 1, got 0"),
    ("processes:two", "the number of processes must be a whole number"),
    ("dask", "'dask:tcp://host:8786'"),
    ("mpi", "mpiexec -n 5 python -m mpi4py.futures|needs mpi4py"),
]


@pytest.mark.parametrize(("executor", "message"), BAD, ids=lambda value: str(value)[:20])
def test_what_is_no_executor_is_answered_in_a_sentence(executor: Any, message: str) -> None:
    with pytest.raises(fn.InputError, match=message) as caught:
        fn.fit_many(NET, X, Y, executor=executor)
    assert "\n" not in str(caught.value)


class Odd:
    """An executor whose submit returns anything."""

    def __init__(self, future: Any) -> None:
        self._future = future

    def submit(self, *_: Any) -> Any:
        return self._future


def done(result: Any = None, *, cancelled: bool = False) -> Future[Any]:
    made: Future[Any] = Future()
    if cancelled:
        made.cancel()
        made.set_running_or_notify_cancel()
    else:
        made.set_result(result)
    return made


@pytest.mark.parametrize(
    ("future", "kind", "message"),
    [
        (None, fn.InputError, "submit must return a future, .* and returned None"),
        ([], fn.InputError, r"submit must return a future, .* and returned \[\]"),
        (done("text"), fn.InputError, "what its function returned, and has 'text'"),
        (done([(1, {})]), fn.InputError, "what its function returned, and has "),
        (done(cancelled=True), fn.WorkerError, "shut down, or somebody cancelled its tasks"),
    ],
)
def test_executors_whose_futures_are_none_are_answered_in_a_sentence(
    future: Any, kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message) as caught:
        fn.fit_many(NET, X, Y, executor=Odd(future))
    assert "\n" not in str(caught.value)


def test_an_executor_that_is_shut_down_meanwhile_is_an_error() -> None:
    executor = ThreadPoolExecutor(1)

    def shut(run: fn.Run) -> None:
        executor.shutdown(wait=False, cancel_futures=True)

    with pytest.raises((fn.InputError, fn.WorkerError), match=r"takes no tasks|was shut down"):
        fn.fit_many(NET, X, Y, executor=executor, callbacks=[shut], seeds=4, epochs=1)


def test_executors_that_cannot_train_are_answered_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(executors, "_DASK_SECONDS", 0.2)
    with pytest.raises(fn.InputError, match="no Dask scheduler answers at 'tcp://127.0.0.1:9'"):
        fn.fit_many(NET, X, Y, executor="dask:tcp://127.0.0.1:9")
    ended = ThreadPoolExecutor(1)
    ended.shutdown()
    with pytest.raises(fn.InputError, match="takes no tasks: cannot schedule new futures"):
        fn.fit_many(NET, X, Y, executor=ended)
    with (
        pytest.raises(fn.InputError, match="these are on the GPU"),
        crews.hired("processes", None, "cupy"),
    ):
        pass
    with pytest.raises(fn.InputError, match="threads must be a whole number"):
        fn.fit_many(NET, X, Y, executor="processes", threads=0)
