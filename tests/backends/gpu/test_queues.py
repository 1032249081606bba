"""Members that train side by side on streams of their own have the bits that they have alone."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastnet as fn
from fastnet.backends.base import TrainingSize
from fastnet.backends.gpu import queues
from fastnet.backends.gpu.engine import GpuEngine
from fastnet.nn.plan import make_plan
from fastnet.populations import settings, sharing
from fastnet.utils.once import once
from tests.cuda import strict_backend
from tests.cuda.fake_cupy import FakeCupy, FakeStream
from tests.cuda.host_module import WHY_NOT
from tests.cuda.strict import CURRENT, DeviceArray, Refused
from tests.on_backends import everything, on_host, same

emulated = pytest.mark.skipif(WHY_NOT is not None, reason=str(WHY_NOT))
on_the_stand_in = pytest.mark.skipif(not strict_backend.stands_in(), reason="it asks the stand-in")

RNG = np.random.default_rng(0)
X = RNG.standard_normal((60, 5)).astype(np.float32)
Y = RNG.integers(0, 3, 60)
STREAMS = 3
WAIT = 10.0  # seconds, where there is no second thread


@pytest.fixture(autouse=True)
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Train side by side what takes a moment alone, on this many streams."""
    monkeypatch.setattr(sharing, "SHORT_SECONDS", 0.0)
    monkeypatch.setattr(queues, "MOST", STREAMS)


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> set[int]:
    """The streams on which epochs were trained; 0 is the default one.

    A thread of its own waits for a second one: the first might be done with all members by then.
    """
    streams = set[int]()
    for engine in (GpuEngine, strict_backend.StrictEngine):
        train = engine.train_epoch

        def noted(self: Any, *args: Any, train: Any = train, **kwargs: Any) -> Any:
            streams.add(0 if CURRENT.stream is None else CURRENT.stream.ptr)
            among_others = threading.current_thread() is not threading.main_thread()
            end = time.monotonic() + WAIT
            while among_others and len(streams) < 2 and time.monotonic() < end:
                time.sleep(0.001)
            return train(self, *args, **kwargs)

        monkeypatch.setattr(engine, "train_epoch", noted)
    return streams


def network(backend: str = "cupy", **options: Any) -> fn.Network:
    return fn.Network([5, 6, 3], output_activation="softmax", backend=backend, seed=1, **options)


def assert_as_alone(net: fn.Network, member: fn.Network, seed: int, **how: Any) -> None:
    alone = net.renewed(member.plan, seed)
    history = alone.fit(X, Y, **how)
    assert same(everything(member), everything(alone))
    assert member.history is not None
    assert member.history.records == history.records
    assert np.array_equal(member.predict(X), alone.predict(X))


# --- side by side ---------------------------------------------------------------------------------


@emulated
def test_recorded_windows_on_several_streams_give_the_bits_of_a_fit_alone(
    cupy: FakeCupy, seen: set[int]
) -> None:
    """The real engine: kernels, products and recordings, on the emulator."""
    cupy.shared_bytes = 0  # no network is tiny
    net = network()
    how: dict[str, Any] = {"epochs": 2, "batch_size": 7, "validation_data": (X[:20], Y[:20])}
    found = fn.fit_many(net, X, Y, seeds=2, param_grid={"hidden": [6, 4]}, **how)
    assert 1 < len(seen) <= STREAMS
    assert 0 not in seen
    assert len(net.backend_object._queues._free) == len(seen)  # type: ignore[attr-defined]
    for member, row in list(zip(found, found.results, strict=True))[::3]:
        assert_as_alone(net, member, int(row["seed"]), **how)


@on_the_stand_in
@pytest.mark.parametrize("device", [0, 1])
def test_folds_callbacks_and_early_stopping_are_each_members_own(
    device: int, seen: set[int]
) -> None:
    net, ends = network(device=device), list[int]()
    how: dict[str, Any] = {"epochs": 8, "early_stopping": 2, "validation_split": 0.2}
    found = fn.fit_many(
        net, X, Y, seeds=2, cv=2, callbacks=[lambda run: ends.append(run.epoch)], **how
    )
    assert 1 < len(seen) <= STREAMS
    assert CURRENT.device == 0
    one_by_one = fn.fit_many(net, X, Y, seeds=2, cv=2, threads=1, **how)
    for member, other in zip(found, one_by_one, strict=True):
        assert member.parameters.device.id == device
        assert same(everything(member), everything(other))
    without_seconds = [{**row, "seconds": 0} for row in found.results]
    assert without_seconds == [{**row, "seconds": 0} for row in one_by_one.results]
    assert len(ends) == sum(row["epochs"] for row in found.results)


@on_the_stand_in
def test_results_can_be_used_on_the_stream_of_the_caller(seen: set[int]) -> None:
    """Also memory that this stream has written is read there, in order."""
    with FakeStream(non_blocking=True):
        net = network()
        found = fn.fit_many(net, X, Y, seeds=3, epochs=2)
        fn.Ensemble(found).predict(X)
    assert len(seen) > 1


@emulated
def test_rows_that_are_on_the_gpu_are_read_by_all_streams(cupy: FakeCupy, seen: set[int]) -> None:
    cupy.shared_bytes = 0
    net = network()
    held_out = DeviceArray(X[:20]), DeviceArray(Y[:20])
    found = fn.fit_many(net, X, Y, seeds=3, epochs=1, validation_data=held_out)
    assert len(seen) > 1
    assert_as_alone(net, found[2], 3, epochs=1, validation_data=(X[:20], Y[:20]))


@emulated
def test_tiny_members_check_their_rows_where_they_are(cupy: FakeCupy) -> None:
    """Where another GPU than theirs is the current one."""
    cupy.runtime.devices = 2
    net = fn.Network([5, 8, 3], output_activation="softmax", backend="cupy", device=1)
    how: dict[str, Any] = {"epochs": 2, "batch_size": 16}
    held_out = DeviceArray(X[:20], 1), DeviceArray(Y[:20], 0)
    found = fn.fit_many(net, X, Y, seeds=4, validation_data=held_out, **how)
    assert CURRENT.device == 0
    assert {member.parameters.device.id for member in found} == {1}
    assert_as_alone(net, found[3], 3, validation_data=(X[:20], Y[:20]), **how)


@on_the_stand_in
def test_a_member_that_diverges_leaves_the_others_alone(seen: set[int]) -> None:
    rates = 0.01, 1e30, 0.02
    net = network()
    found = fn.fit_many(
        net, X, Y, param_grid={"learning_rate": rates}, optimizer=fn.SGD(), epochs=4
    )
    assert [row["stop_reason"] for row in found.results] == ["epochs", "diverged", "epochs"]
    assert len(seen) > 1
    for k in (0, 2):
        assert_as_alone(net, found[k], 1, epochs=4, optimizer=fn.SGD(rates[k]))


@on_the_stand_in
def test_ctrl_c_ends_what_all_streams_train(usual_handler: None, tmp_path: Path) -> None:
    pressed = threading.Lock()

    def press(run: fn.Run) -> None:
        if run.epoch == 3 and pressed.acquire(blocking=False):  # once
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    how: dict[str, Any] = {"seeds": 6, "epochs": 10**6, "callbacks": [press]}
    before = {*threading.enumerate()}
    with pytest.raises(KeyboardInterrupt):
        fn.fit_many(network(), X, Y, checkpoint=tmp_path / "p", **how)
    assert not {*threading.enumerate()} - before
    assert not list((tmp_path / "p").glob("member-*"))


class Short:
    """Refuses the memory of some trainings while others are under way, or of all."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, alone: bool = False) -> None:
        self.refused = list[int]()
        prepare = strict_backend.StrictEngine.prepare_for

        def refuse(engine: Any, *args: Any) -> None:
            if (CURRENT.stream is not None and len(self.refused) < 2) or alone:
                self.refused.append(id(engine))
                raise MemoryError("an array of 3.0 GiB does not fit into the GPU's memory")
            prepare(engine, *args)

        monkeypatch.setattr(strict_backend.StrictEngine, "prepare_for", refuse)


@on_the_stand_in
def test_members_that_find_no_room_beside_others_train_after_them(
    monkeypatch: pytest.MonkeyPatch, seen: set[int], tmp_path: Path
) -> None:
    net, short = network(), Short(monkeypatch)
    found = fn.fit_many(net, X, Y, seeds=5, epochs=2, checkpoint=tmp_path / "p")
    assert len(short.refused) == 2
    assert 0 in seen
    assert [row["seed"] for row in found.results] == [1, 2, 3, 4, 5]
    for seed, member in enumerate(found, 1):
        assert_as_alone(net, member, seed, epochs=2)


@on_the_stand_in
def test_memory_that_is_short_for_one_alone_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    Short(monkeypatch, alone=True)
    with pytest.raises(MemoryError, match="does not fit into the GPU's memory"):
        fn.fit_many(network(), X, Y, seeds=3, epochs=2)


# --- how many -------------------------------------------------------------------------------------


def size(**other: Any) -> TrainingSize:
    plan = make_plan(784, (fn.Dense(512, "relu"), fn.Dense(10, "softmax")))
    usual: dict[str, Any] = {"moments": 2, "rows": 60_000, "held_out": 10_000, "batch": 128}
    return TrainingSize(plan, itemsize=4, **usual | other)


def test_as_many_go_side_by_side_as_memory_has_room_for() -> None:
    needed = queues.bytes_of(size())
    assert 400 * 2**20 < needed < 2**30  # data of 220 MB twice or so, and the workspace
    for count, share in ((1, 0.9), (1, 3.9), (2, 4.1), (3, 100)):
        assert queues.queues_for([size(rows=10), size()], int(share * needed)) == count
    larger = {"rows": 70_000, "held_out": 20_000, "batch": 100_000, "moments": 3, "networks": 2}
    for name, value in larger.items():
        assert queues.bytes_of(size(**{name: value})) > needed


@emulated
def test_the_estimate_is_above_what_a_training_takes(
    cupy: FakeCupy, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = list[int]()
    empty = cupy.empty
    monkeypatch.setattr(
        cupy, "empty", lambda shape, dtype: taken.append((a := empty(shape, dtype)).nbytes) or a
    )
    cupy.shared_bytes = 0
    net = network()
    net.fit(X, Y, epochs=3, batch_size=16, validation_data=(X, Y), early_stopping=1)
    given = TrainingSize(net.plan, 4, moments=2, rows=60, held_out=60, batch=16)
    workspace = queues.WORKSPACE_BYTES
    assert 0 < sum(taken) - workspace < queues.bytes_of(given) - workspace


@on_the_stand_in
@pytest.mark.parametrize(
    ("free", "threads", "streams"),
    [(3 * 2**30, None, STREAMS), (3 * 2**30, 2, 2), (2**20, None, 1)],
)
def test_memory_and_threads_bound_their_number(
    free: int, threads: int | None, streams: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fastnet.backends.gpu.backend.free_memory", lambda _: (free, 2**33))
    monkeypatch.setattr(sharing, "asked", lambda threads, most: threads)
    net = network()
    jobs = [(settings.member(net, {}, {}, 60), None)] * 4
    share = sharing.share(net, jobs, [[k] for k in range(4)], 60, threads)
    assert share.slots == streams
    assert (share.backend is None) == (streams == 1)
    assert sharing.share(network("numpy"), jobs, [[0], [1]], 60, None).backend is None


# --- what threads share ---------------------------------------------------------------------------


def test_threads_that_ask_at_once_get_one_object() -> None:
    """Two choices of algorithms would be two sets of bits."""
    begun, made = threading.Barrier(4), list[object]()

    @once
    def make(key: int) -> object:
        made.append(key)
        threading.Event().wait(0.05)
        return object()

    found = list[object]()

    def ask() -> None:
        begun.wait()
        found.append(make(1))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made == [1]
    assert len(set(map(id, found))) == 1
    assert make(2) is not found[0]


# --- the order of streams on the stand-in ---------------------------------------------------------


def on_a_stream_that_waited(array: DeviceArray) -> None:
    event = FakeStream(default=True).record()
    other = FakeStream(non_blocking=True)
    other.wait_event(event)
    with other:
        array.fill(1)


def after_the_host_has_waited(array: DeviceArray) -> None:
    array.get()
    with FakeStream(non_blocking=True):
        array.fill(1)


@pytest.mark.parametrize("waits", [on_a_stream_that_waited, after_the_host_has_waited])
def test_a_stream_that_waits_may_go_on(waits: Callable[[DeviceArray], None]) -> None:
    waits(DeviceArray(np.zeros(3)))


def test_several_streams_may_read_and_one_that_writes_waits_for_them() -> None:
    array, streams = DeviceArray(np.zeros(3)), [FakeStream(non_blocking=True) for _ in range(3)]
    for stream in streams:
        stream.wait_event(FakeStream(default=True).record())
        with stream:
            assert float((array + 1)[0]) == 1.0
    array = DeviceArray(np.zeros(3))
    for stream in streams[:2]:
        stream.wait_event(FakeStream(default=True).record())
        with stream:
            assert (array + 1).shape == (3,)
    with streams[0], pytest.raises(RuntimeError, match="a race"):
        array.fill(1)


RACES: dict[str, Callable[[DeviceArray], Any]] = {
    "fill": lambda a: a.fill(1),
    "a view": lambda a: a[1:].fill(1),
    "arithmetic": lambda a: a + 1,
    "set": lambda a: a.set(np.ones(3)),
    "get": lambda a: a.get(),
}


@pytest.mark.parametrize("race", RACES.values(), ids=RACES)
def test_a_stream_that_does_not_wait_is_noticed(race: Callable[[DeviceArray], Any]) -> None:
    array = DeviceArray(np.zeros(3))
    with FakeStream(non_blocking=True), pytest.raises(RuntimeError, match="a race") as caught:
        race(array)
    assert isinstance(caught.value, Refused)
    race(DeviceArray(np.zeros(3)))


@on_the_stand_in
def test_a_queue_that_forgets_to_wait_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the last wait, the caller's stream reads what another one writes."""
    monkeypatch.setattr(FakeStream, "synchronize", lambda self: None)
    monkeypatch.setattr("tests.cuda.strict.host_waited", lambda done: None)
    with pytest.raises(RuntimeError, match="a race"):
        for member in fn.fit_many(network(), X, Y, seeds=3, epochs=1):
            member.parameters.fill(0)


def test_a_stream_is_that_of_its_device_and_thread() -> None:
    stream = FakeStream(non_blocking=True)
    with stream, strict_backend.CUPY.cuda.Device(1):
        assert CURRENT.stream is None
        with pytest.raises(RuntimeError, match=r"created on \(0\) does not match"), stream:
            pass


@on_the_stand_in
def test_parameters_of_members_are_where_their_template_is() -> None:
    net = network(device=1)
    found = fn.fit_many(net, X, Y, seeds=3, epochs=1)
    assert [member.parameters.device.id for member in found] == [1, 1, 1]
    assert on_host(found[0]).shape == (net.plan.size,)
