"""The stand-ins for a GPU refuse what a GPU refuses."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import fastnet as fn
from fastnet.backends.gpu.engine import GpuEngine
from fastnet.nn.batch import Batch
from tests.cuda import strict_backend
from tests.cuda.fake_cupy import FakeCupy, FakeRuntime, FakeStream
from tests.cuda.strict import CURRENT, KNOWN, DeviceArray, Refused
from tests.cuda.strict_backend import OWN, StrictBackend, StrictEngine
from tests.networks import dense_plan, random_parameters


@pytest.fixture(autouse=True)
def device_0() -> Iterator[None]:
    CURRENT.device = 0
    yield
    CURRENT.device, CURRENT.recording = 0, None


def there(*shape: int) -> DeviceArray:
    return DeviceArray(np.arange(float(np.prod(shape))).reshape(shape))


HOST = np.ones(3)

REFUSALS: dict[str, Callable[[DeviceArray], Any]] = {
    "asarray": np.asarray,
    "float of several": lambda a: np.float64(a),
    "array": lambda a: np.array(a),
    "buffer": lambda a: memoryview(a),
    "assignment to a host array": lambda a: HOST.__setitem__(..., a),
    "copyto": lambda a: np.copyto(np.ones(3), a),
    "add a host array": lambda a: a + HOST,
    "add to a host array": lambda a: HOST + a,
    "add in place": lambda a: a.__iadd__(HOST),
    "add to a host array in place": lambda a: np.ones(3).__iadd__(a),
    "a ufunc's out": lambda a: np.exp(a, out=np.ones(3)),
    "compare with a host array": lambda a: a == HOST,
    "a function with a host array": lambda a: np.where(a > 0, a, HOST),
    "a function of a list": lambda a: np.concatenate([a, HOST]),
    "a method with a host array": lambda a: a.clip(HOST, 2.0),
    "a function that CuPy does not have": lambda a: np.isnat(a),
    "another such function": lambda a: np.insert(a, 0, 1.0),
    "fill with host values": lambda a: a.fill(HOST),
    "assignment of host values": lambda a: a.__setitem__(..., HOST),
    "assignment of a list": lambda a: a.__setitem__(slice(0, 2), [1.0, 2.0]),
    "set of a device array": lambda a: a.set(there(3)),
    "set of another dtype": lambda a: a.set(HOST.astype(np.float32)),
    "set of another shape": lambda a: a.set(np.ones(4)),
    "set to a view with gaps": lambda a: there(4)[::2].set(np.ones(2)),
    "the address of a view with gaps": lambda a: there(4)[::2].data,
}


@pytest.mark.parametrize("refused", REFUSALS.values(), ids=REFUSALS)
def test_a_device_array_refuses(refused: Callable[[DeviceArray], Any]) -> None:
    with pytest.raises((TypeError, ValueError, RuntimeError, AssertionError)):
        refused(there(3))


ON_ANOTHER_DEVICE: dict[str, Callable[[DeviceArray], Any]] = {
    "a ufunc": lambda a: a + 1,
    "a function": lambda a: np.concatenate([a, a]),
    "a method": lambda a: a.sum(),
    "an index": lambda a: a[a > 0],
    "an index on it": lambda a: there(3)[a.astype(np.int64)],
    "an assignment": lambda a: a.__setitem__(0, 1.0),
    "an assignment of it": lambda a: there(3).__setitem__(..., a),
    "fill": lambda a: a.fill(0),
    "memcpy": lambda a: there(3).data.copy_from_device_async(a.data, a.nbytes),
}


@pytest.mark.parametrize("refused", ON_ANOTHER_DEVICE.values(), ids=ON_ANOTHER_DEVICE)
def test_an_array_of_another_device_is_not_computed_with(
    refused: Callable[[DeviceArray], Any],
) -> None:
    array = there(3)
    refused(array)
    CURRENT.device = 1
    with pytest.raises(RuntimeError, match="illegal memory access") as caught:
        refused(array)
    assert isinstance(caught.value, Refused)
    assert array[1:].device.id == array.reshape(3, 1).device.id == 0  # views launch nothing
    np.testing.assert_array_equal(array.get().shape, (3,))  # nor does a copy to the host
    assert array.copy().device.id == 1


IN_A_CAPTURE: dict[str, Callable[[DeviceArray], Any]] = {
    "get": lambda a: a.get(),
    "float": lambda a: float(a[0]),
    "set": lambda a: a.set(np.ones(3)),
    "fill": lambda a: a.fill(0),
    "assignment": lambda a: a.__setitem__(0, 1.0),
    "memory": lambda a: FakeCupy().empty((3,), float),
    "a ufunc": lambda a: a + 1,
    "a function": lambda a: np.sum(a),
    "a copy": lambda a: a.copy(),
    "a wait": lambda a: FakeStream().synchronize(),
}


@pytest.mark.parametrize("refused", IN_A_CAPTURE.values(), ids=IN_A_CAPTURE)
def test_a_capture_has_launches_alone(refused: Callable[[DeviceArray], Any]) -> None:
    array, stream = there(3), FakeStream(non_blocking=True)
    refused(array)
    stream.begin_capture()
    with pytest.raises(RuntimeError, match="when stream is capturing"):
        refused(array)
    assert array[1:].reshape(2, 1).shape == (2, 1)
    stream.end_capture()
    refused(array)


def test_an_array_does_what_cupy_does() -> None:
    array = there(2, 3)
    assert isinstance(array[0, 0], DeviceArray) and array[0, 0].shape == ()
    assert float(array[1, 2]) == 5 and array.tolist() == [[0, 1, 2], [3, 4, 5]]
    array[0] = there(3) + 7
    array[1, :2] = 0
    assert array.get().tolist() == [[7, 8, 9], [0, 0, 5]]
    np.multiply(array, 2, out=array)
    assert int(np.argmax(array)) == 2 and bool((array >= 0).all())
    assert isinstance(np.asarray(HOST, like=array), DeviceArray)
    for again in (copy.deepcopy(array), pickle.loads(pickle.dumps(array)), array.astype(float)):
        assert again.get().tolist() == array.get().tolist()
        assert not np.shares_memory(again.memory, array.memory)
    assert array.astype(float, copy=False) is array
    assert array.view() is not array and np.shares_memory(array.view().memory, array.memory)


def test_its_functions_are_those_of_cupy() -> None:
    cupy = pytest.importorskip("cupy")
    assert [name for name in KNOWN if not hasattr(cupy, name)] == []


# --- the backend ----------------------------------------------------------------------------------


def test_an_output_of_the_engine_is_no_array_of_numpy() -> None:
    """The mistake that the stand-in is there for."""
    backend = StrictBackend().on(0)
    plan = dense_plan(4, (3, "softmax"))
    parameters = backend.asarray(random_parameters(plan))
    engine = backend.engine(plan, parameters, backend.asarray(np.zeros(0)))
    x = np.ones((2, 4))
    outputs = engine.predict(backend.asarray(x))
    with pytest.raises(TypeError, match=r"Implicit conversion .* use `\.get\(\)`"):
        np.asarray(outputs)
    with pytest.raises(TypeError, match="expected a device array"):
        engine.predict(x)
    with pytest.raises(TypeError, match="expected a device array"):
        engine.gradient(Batch(backend.asarray(x), None, x[:, :3]), fn.losses.MSE())
    with pytest.raises(TypeError, match="expected a device array"):
        backend.engine(plan, random_parameters(plan), backend.asarray(np.zeros(0)))
    with pytest.raises(AssertionError, match="has gaps"):
        engine.predict(backend.asarray(np.ones((4, 4)))[::2])
    with pytest.raises(TypeError, match="expected a device array"):
        backend.to_host(x)
    with pytest.raises(TypeError, match="order of Fortran"):
        backend.asarray(np.asfortranarray(np.ones((3, 4))))


def test_it_does_itself_what_the_gpu_engine_does_itself() -> None:
    assert {"forward", "train_epoch", "predict_one"} < OWN < set(vars(GpuEngine))
    assert not StrictEngine.__abstractmethods__
    assert "train_epochs" not in OWN and "active" not in OWN


def test_where_there_is_no_gpu_the_name_is_that_of_the_stand_in() -> None:
    assert fn.available_backends()["cupy"] is None
    if strict_backend.stands_in():
        net = fn.Network([3, 2], backend="cupy")
        assert isinstance(net.backend_object, StrictBackend)
        assert isinstance(net.parameters, DeviceArray)


def test_a_device_that_does_not_exist_is_refused_by_cuda() -> None:
    cupy = FakeCupy(FakeRuntime(devices=2))
    with cupy.cuda.Device(1):
        assert CURRENT.device == 1
    assert CURRENT.device == 0
    with pytest.raises(RuntimeError, match="cudaErrorNumber101"):
        cupy.cuda.Device(2)
