"""Several GPUs, streams and processes: a network keeps its device, and the caller's is current."""

from __future__ import annotations

import copy
import os
import pickle
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastnet as fn
from fastnet.backends.gpu import processes
from fastnet.backends.gpu.backend import CupyBackend
from fastnet.backends.gpu.cupy_runtime import CudaRuntime
from fastnet.backends.gpu.engine import GpuEngine
from fastnet.errors import BackendUnavailableError, InputError
from tests.cuda import strict_backend
from tests.cuda.fake_cupy import FakeStream
from tests.cuda.host_backend import put
from tests.cuda.strict import CURRENT, DeviceArray
from tests.networks import dense_plan, random_parameters
from tests.on_backends import on_host

pytestmark = pytest.mark.skipif(not strict_backend.stands_in(), reason="it asks the stand-in")

RNG = np.random.default_rng(0)
X = RNG.standard_normal((40, 5))
Y = RNG.integers(0, 3, 40)
REAL = RNG.standard_normal((40, 3))


@pytest.fixture(autouse=True)
def device_0() -> Iterator[None]:
    CURRENT.device = 0
    yield
    CURRENT.device = 0


def network(device: int | None = 1, backend: str = "cupy", **options: Any) -> fn.Network:
    layers = [fn.Dense(8, "relu"), fn.BatchNorm(), fn.Dropout(0.1), fn.Dense(3, "softmax")]
    return fn.Network(layers, inputs=5, seed=1, backend=backend, device=device, **options)


def squared(output: Any, target: Any) -> tuple[Any, Any]:
    error = output - target
    return (error * error).sum(axis=1), 2.0 * error


def own_loop(net: fn.Network) -> None:
    outputs = net.forward(X)
    with strict_backend.CUPY.cuda.Device(1):
        gradient = outputs * (1 / len(X))
    net.update(fn.Adam(0.01), gradients=net.backward(gradient))
    assert outputs.device.id == 1


def online(net: fn.Network) -> None:
    plain = fn.Network([5, 8, 3], output_activation="softmax", backend="cupy", device=1)
    plain.online_step(fn.SGD(0.01))(X[0], Y[0])
    assert plain.parameters.device.id == 1


def checkpoints(net: fn.Network, folder: Path) -> None:
    net.fit(X, Y, epochs=2, checkpoint=folder / "run", checkpoint_every=1)
    again = network(1)
    again.fit(X, Y, epochs=3, checkpoint=folder / "run", checkpoint_every=1, resume=True)


def saved(net: fn.Network, folder: Path) -> None:
    net.save(folder / "net.safetensors", optimizer=True)
    again = fn.load(folder / "net.safetensors", backend="cupy", device=1)
    assert again.backend_object is net.backend_object
    np.testing.assert_array_equal(on_host(again), on_host(net))


def assigned(net: fn.Network) -> None:
    net.parameters = on_host(net) * 0.5
    net.state = on_host(net, net.state)
    net.weights[0] = np.ones((5, 8))
    net.weights[0] = net.weights[0]


def compared(net: fn.Network) -> None:
    found = fn.fit_many(net, X, Y, seeds=[1, 2], epochs=2)
    assert all(member.parameters.device.id == 1 for member in found.networks)
    fn.Ensemble(found.networks).predict(X)


CALLS: dict[str, Callable[..., Any]] = {
    "fit": lambda net: net.fit(X, Y, epochs=2, validation_data=(X, Y), metrics=["f1"]),
    "fit, early stopping": lambda net: net.fit(X, Y, epochs=3, early_stopping=1, standardize=True),
    "fit, function": lambda net: net.fit(X, REAL, loss=squared, epochs=2, validation_split=0.2),
    "fit, weights": lambda net: net.fit(X, Y, class_weight="balanced", epochs=1),
    "partial_fit": lambda net: net.partial_fit(X, Y),
    "online_step": online,
    "own loop": own_loop,
    "predict": lambda net: net.predict(X),
    "predict_one": lambda net: net.predict_one(X[0]),
    "predict_labels": lambda net: net.predict_labels(X),
    "evaluate": lambda net: net.evaluate(X, Y, metrics=["f1"]),
    "evaluate, function": lambda net: net.evaluate(X, REAL, loss=squared),
    "gradients": lambda net: net.gradients(X, Y),
    "input_gradients": lambda net: net.input_gradients(X),
    "jacobian": lambda net: net.jacobian(X),
    "jacobian_one": lambda net: net.jacobian_one(X[0]),
    "calibrate": lambda net: net.calibrate(X, Y),
    "initialize": lambda net: net.initialize(3),
    "assignment": assigned,
    "restore": lambda net: net.restore(net.snapshot()),
    "several": compared,
    "summary": lambda net: (net.summary(), repr(net), net.is_finite(), net.check_blocks()),
}
WITH_A_FOLDER = {"checkpoints": checkpoints, "save": saved}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_call_runs_on_the_device_of_its_network(call: Callable[..., Any]) -> None:
    net = network()
    net.fit(X, Y, epochs=1)
    call(net)
    assert CURRENT.device == 0
    assert net.optimizer_state is None or net.optimizer_state.moments.device.id == 1
    assert net.parameters.device.id == net.state.device.id == 1


@pytest.mark.parametrize("call", WITH_A_FOLDER.values(), ids=WITH_A_FOLDER)
def test_so_do_those_with_files(call: Callable[..., Any], tmp_path: Path) -> None:
    net = network()
    call(net, tmp_path)
    assert CURRENT.device == 0 and net.parameters.device.id == 1


def test_lbfgs_runs_on_the_device_of_its_network() -> None:
    pytest.importorskip("scipy")
    net = fn.Network([5, 3], output_activation="softmax", backend="cupy", device=1)
    net.fit(X, Y, optimizer="lbfgs", epochs=3)
    assert CURRENT.device == 0 and net.parameters.device.id == 1


def test_a_copy_stays_where_it_is() -> None:
    net = network()
    net.fit(X, Y, epochs=1)
    for same in (net.copy(), copy.deepcopy(net), net.to("cupy", precision="tf32")):
        if same.parameters.device.id != 1:
            assert same is not net  # a deep copy is pickled, and arrives at the current GPU
            continue
        assert same.backend_object is net.backend_object
    assert net.copy().parameters.device.id == net.to("cupy", precision="tf32").backend_object.device
    assert net.to("cupy") is net and net.to("cupy", device=1) is net
    moved = net.to("cupy", device=0)
    assert moved.parameters.device.id == moved.optimizer_state.moments.device.id == 0
    assert net.to("numpy").to("cupy").backend_object.device == 0
    arrived = pickle.loads(pickle.dumps(net))
    assert arrived.parameters.device.id == arrived.backend_object.device == 0
    for other in (moved, arrived):
        other.fit(X, Y, epochs=1)
        np.testing.assert_array_equal(other.predict(X), on_host(net, other.predict(X)))


def test_the_current_device_is_looked_up_when_the_network_is_made() -> None:
    first = network(None)
    CURRENT.device = 1
    second = network(None)
    CURRENT.device = 0
    assert (first.backend_object.device, second.backend_object.device) == (0, 1)
    trained: list[int] = []

    def train() -> None:  # a new thread begins on device 0
        for net in (first, second):
            net.fit(X, Y, epochs=1)
            trained.append(net.parameters.device.id)

    thread = threading.Thread(target=train)
    thread.start()
    thread.join()
    assert trained == [0, 1]
    np.testing.assert_array_equal(on_host(first), on_host(second))
    assert network(None).backend_object is first.backend_object


@pytest.mark.parametrize("wrong", [2, -1, 1.5, "0", True])
def test_a_device_that_is_none_is_refused_and_nothing_changes(wrong: Any) -> None:
    net = network(0)
    before = on_host(net)
    words = r"device=2 does not exist: there are 2 GPUs" if wrong == 2 else "device must be"
    for ask in (lambda: network(wrong), lambda: net.to("cupy", device=wrong)):
        with pytest.raises(InputError, match=words):
            ask()
    np.testing.assert_array_equal(on_host(net), before)
    assert net.backend_object.device == 0


# --- parameters from elsewhere --------------------------------------------------------------------


def test_parameters_come_from_the_host_and_from_other_backends() -> None:
    net, numpy = network(0), fn.Network([5, 8, 3], backend="numpy", seed=4)
    values = RNG.standard_normal(net.plan.size)
    for given in (values, values.tolist(), DeviceArray(values), DeviceArray(values, 1)):
        net.parameters = 0
        net.parameters = given
        np.testing.assert_array_equal(on_host(net), values.astype(np.float32))
    other = fn.Network([5, 8, 3], backend="cupy", device=1, seed=5)
    numpy.parameters = other.parameters
    np.testing.assert_array_equal(numpy.parameters, on_host(other))
    numpy.initialize(6)
    other.parameters = numpy.parameters
    np.testing.assert_array_equal(on_host(other), numpy.parameters)
    numpy.weights[0] = other.weights[0]
    for wrong in (values[:-1], DeviceArray(values[:-1])):
        with pytest.raises(InputError, match="parameters must have the shape"):
            net.parameters = wrong
    np.testing.assert_array_equal(on_host(net), values.astype(np.float32))


def test_a_snapshot_may_be_of_another_device_or_of_the_host() -> None:
    net, other = network(0), network(1)
    other.fit(X, Y, epochs=2)
    at_home = other.to("numpy")
    for snapshot in (other.snapshot(), at_home.snapshot()):
        net.initialize(1)
        net.restore(snapshot)
        np.testing.assert_array_equal(on_host(net), on_host(other))
        np.testing.assert_array_equal(on_host(net, net.state), on_host(other, other.state))
        at_home.initialize(7)
        at_home.restore(snapshot)
        np.testing.assert_array_equal(at_home.parameters, on_host(other))
    kept = network(0).to("numpy").snapshot()
    assert other.snapshot(kept) is kept
    np.testing.assert_array_equal(kept[0], on_host(other))


# --- processes and streams ------------------------------------------------------------------------


def test_a_forked_process_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    net = network(0)
    net.fit(X, Y, epochs=1)
    monkeypatch.setattr(processes, "_first", os.getpid() + 1)
    for ask in (
        lambda: net.predict(X),
        lambda: net.fit(X, Y, epochs=1),
        lambda: net.copy(),
        lambda: network(0),
    ):
        with pytest.raises(BackendUnavailableError, match="forked from one that uses the GPU"):
            ask()
    assert "start processes by spawn" in str(processes.why_forked())
    monkeypatch.setattr(processes, "_first", os.getpid())
    net.predict(X)
    assert processes.why_forked() is None


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork there")
def test_a_child_knows_that_it_was_forked() -> None:
    network(0)
    child = os.fork()
    if not child:  # pragma: no cover - in the child
        try:
            network(0)
        except BackendUnavailableError:
            os._exit(7)
        os._exit(8)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


class Lone(CudaRuntime):
    """The part of the runtime that has a device and streams."""

    def __init__(self, cupy: Any) -> None:
        self._cupy, self._cuda = cupy, cupy.cuda
        self._device, self._stream = cupy.cuda.Device(), None


def test_a_call_under_another_stream_waits_for_the_one_before() -> None:
    runtime = Lone(strict_backend.CUPY)
    first, second = FakeStream(), FakeStream()
    for stream in (first, first, second, first):
        with stream, runtime.active(), runtime.active():
            assert CURRENT.stream is stream
    assert first.waited == [second] and second.waited == [first]
    with runtime.active():  # the default stream
        pass
    assert strict_backend.CUPY.default_stream.waited[-1] == first


ON_ANOTHER_STREAM: dict[str, Callable[[fn.Network], Any]] = {
    "predict": lambda net: net.predict(X),
    "predict_one": lambda net: net.predict_one(X[0]),
    "rows there": lambda net: net.predict(DeviceArray(X)),
    "fit": lambda net: net.fit(X, Y, epochs=1, validation_split=0.2, early_stopping=1),
    "partial_fit": lambda net: net.partial_fit(X, Y),
    "parameters": lambda net: setattr(net, "parameters", 0.5),
    "weights": lambda net: net.weights.__setitem__(0, np.ones((5, 8))),
    "initialize": lambda net: net.initialize(4),
    "copy": lambda net: net.copy(),
    "to": lambda net: net.to("numpy"),
    "pickle": pickle.dumps,
    "snapshot": lambda net: net.restore(net.snapshot()),
    "is_finite": lambda net: net.is_finite(),
    "save": lambda net: net.to_model_file(optimizer=True),
    "summary": lambda net: (net.summary(), net.check_blocks(), net.calibrate(X, Y)),
}


@pytest.mark.parametrize("call", ON_ANOTHER_STREAM.values(), ids=ON_ANOTHER_STREAM)
def test_a_network_may_be_used_on_one_stream_after_another(
    call: Callable[[fn.Network], Any],
) -> None:
    """The stand-in refuses what would race; `test_queues` shows that it does."""
    net = network(0)
    for _ in range(2):
        with FakeStream(non_blocking=True):
            call(net)
        call(net)


def test_every_method_of_the_engine_makes_its_device_current() -> None:
    plan = dense_plan(4, (3, "softmax"))
    seen: list[str] = []

    class Watched(CudaRuntime):
        def __init__(self) -> None:
            pass

        def active(self) -> Any:
            seen.append("active")
            return strict_backend.CUPY.cuda.Device(1)

        def to_device(self, *_: Any) -> Any:
            assert CURRENT.device == 1
            raise KeyError

        empty = upload = launch = to_device  # type: ignore[assignment]

    engine = object.__new__(GpuEngine)
    engine.plan, engine.runtime = plan, Watched()
    engine.parameters = put(random_parameters(plan))
    for call in (lambda: engine.empty((3,)), lambda: engine.predict(put(np.ones((2, 4))))):
        seen.clear()
        with pytest.raises((KeyError, AttributeError)):
            call()
        assert seen and CURRENT.device == 0


def test_the_backend_needs_a_number_of_its_own() -> None:
    backend = strict_backend.StrictBackend()
    assert isinstance(backend, CupyBackend) and backend.device is None
    assert backend.on(None) is backend.on(0) and backend.on(1).on(None) is backend.on(1)
    with pytest.raises(InputError, match="device= chooses a GPU, and the backend 'numpy' has none"):
        fn.get_backend("numpy", 0)
