"""Rows that are on a GPU already: no copy to the host, and answers where the rows are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial, partialmethod
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastnet as fn
from fastnet.errors import InputError
from fastnet.preprocessing.scaler import Scaler
from fastnet.utils import device_arrays
from tests.cuda import strict_backend
from tests.cuda.strict import CURRENT, DeviceArray
from tests.distributed.in_threads import run
from tests.on_backends import on_host

pytestmark = pytest.mark.skipif(not strict_backend.stands_in(), reason="it asks the stand-in")

RNG = np.random.default_rng(0)
X = RNG.standard_normal((200, 5)).astype(np.float32)
Y = RNG.integers(0, 3, 200)
REAL = RNG.standard_normal((200, 2)).astype(np.float32)
WEIGHT = RNG.uniform(0.5, 2.0, 200)
LARGEST = 40
"""Larger arrays of the device are not to be copied to the host."""


class Tensor:
    """An array of another library: it has DLPack alone."""

    def __init__(self, array: DeviceArray) -> None:
        self._array = array

    def __dlpack_device__(self) -> tuple[int, int]:
        return self._array.__dlpack_device__()

    def __dlpack__(self, **_: Any) -> Any:
        return self._array


class Exporter:
    """An array of another library: it has the interface of Numba and older PyTorch alone."""

    def __init__(self, array: DeviceArray) -> None:
        self.__cuda_array_interface__ = array.__cuda_array_interface__


KINDS: dict[str, Callable[[DeviceArray], Any]] = {
    "cupy": lambda array: array,
    "dlpack": Tensor,
    "interface": Exporter,
}


@pytest.fixture(autouse=True)
def device_0() -> Iterator[None]:
    CURRENT.device = 0
    yield
    CURRENT.device = 0


@contextmanager
def no_copies() -> Iterator[None]:
    """Refuse to copy data to the host."""
    get = DeviceArray.get

    def small(self: DeviceArray, *args: Any, **kwargs: Any) -> Any:
        assert self.size <= LARGEST, f"{self.size} elements go to the host"
        return get(self, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DeviceArray, "get", small)
        yield


def classes(backend: str = "cupy", **options: Any) -> fn.Network:
    return fn.Network([5, 4, 3], output_activation="softmax", seed=1, backend=backend, **options)


def numbers(loss: str = "mse", outputs: int = 2) -> fn.Network:
    how = {"output_activation": "exp"} if loss == "poisson" else {}
    return fn.Network([5, 4, outputs], seed=1, backend="cupy", loss=loss, **how)


def there(values: Any, device: int = 0) -> DeviceArray:
    return DeviceArray(np.array(values), device)


def fitted(x: Any, y: Any, weight: Any, **options: Any) -> Any:
    net = classes()
    net.fit(x, y, sample_weight=weight, epochs=2, batch_size=16, **options)
    return net.predict(x)


Data = Callable[[Any], Any]
"""From an array on the host to one of the kind that is tested, or to the array itself."""

CALLS: dict[str, Callable[[Data], Any]] = {
    "fit": lambda to: fitted(to(X), to(Y), None),
    "fit, weights": lambda to: fitted(to(X), to(Y), to(WEIGHT)),
    "fit, rows of weight 0": lambda to: fitted(to(X), to(Y), to(np.maximum(WEIGHT - 1, 0))),
    "fit, targets on the host": lambda to: fitted(to(X), Y.tolist(), WEIGHT),
    "fit, held out": lambda to: fitted(to(X), to(Y), None, validation_split=0.2),
    "fit, validation": lambda to: fitted(to(X), to(Y), None, validation_data=(to(X), to(Y))),
    "fit, standardised": lambda to: fitted(to(X), to(Y), to(WEIGHT), standardize=True),
    "fit, numbers": lambda to: (
        (net := numbers()).fit(to(X), to(REAL), epochs=2),
        net.predict(to(X)),
    )[1],
    "fit, probabilities": lambda to: fitted(to(X), to(np.eye(3)[Y] * 0.5 + 1 / 6), None),
    "fit, float64": lambda to: fitted(to(X.astype(np.float64)), to(Y.astype(np.float64)), None),
    "partial_fit": lambda to: classes().partial_fit(to(X), to(Y), sample_weight=to(WEIGHT)),
    "predict": lambda to: classes().predict(to(X)),
    "predict_labels": lambda to: classes().predict_labels(to(X)),
    "quantiles": lambda to: [*numbers("quantile", 3).predict_quantiles(to(X)).values()],
    "mean and std": lambda to: numbers("gaussian_nll").predict(to(X), return_std=True),
    "evaluate": lambda to: [*classes().evaluate(to(X), to(Y)).values()],
    "evaluate, numbers": lambda to: [*numbers(outputs=1).evaluate(to(X), to(REAL[:, 0])).values()],
    "gradients": lambda to: [*classes().gradients(to(X), to(Y)).values()],
    "input_gradients": lambda to: classes().input_gradients(to(X)),
    "input_gradients of one": lambda to: classes().input_gradients(to(X), 2),
    "input_gradients of each": lambda to: classes().input_gradients(to(X), Y),
    "jacobian": lambda to: classes().jacobian(to(X)),
}


def same(got: Any, expected: Any, kind: type) -> None:
    if isinstance(expected, list | tuple):
        for pair in zip(got, expected, strict=True):
            same(*pair, kind)
    elif isinstance(expected, np.ndarray):
        assert type(got) is kind
        got = device_arrays.on_host("it", got)
        assert got.dtype == expected.dtype
        np.testing.assert_array_equal(got, expected)
    else:
        np.testing.assert_allclose(got, expected, rtol=1e-13)  # sums of another order


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_rows_on_the_gpu_stay_there_and_so_do_answers(
    call: Callable[[Data], Any], kind: Callable[[DeviceArray], Any]
) -> None:
    expected = call(lambda values: values)
    with no_copies():
        got = call(lambda values: kind(there(values)))
    same(got, expected, DeviceArray)


@pytest.mark.parametrize("rows_on", [0, 1])
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_the_current_device_may_be_another_than_that_of_the_network(
    call: Callable[[Data], Any], rows_on: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows are checked where the network is, also if they are there already."""
    expected = call(lambda values: values)
    monkeypatch.setattr(fn.Network, "__init__", partialmethod(fn.Network.__init__, device=1))
    got = call(lambda values: there(values, rows_on))
    assert CURRENT.device == 0
    same(got, expected, DeviceArray)


def test_the_guard_of_copies_notices_one() -> None:
    with no_copies(), pytest.raises(AssertionError, match="1000 elements go to the host"):
        there(X).get()


def test_a_network_with_scaled_targets_answers_there_in_their_unit() -> None:
    answers = []
    for to in (lambda values: values, there):
        net = numbers()
        net.fit(to(X), to(100 + 7 * REAL), epochs=3, standardize=True, standardize_targets=True)
        with no_copies() if to is there else nullcontext():
            answers.append([net.predict(to(X)), net.input_gradients(to(X)), net.jacobian(to(X))])
    same(answers[1], answers[0], DeviceArray)


def test_a_loop_of_ones_own_takes_rows_and_gradients_there() -> None:
    trained = []
    for to in (lambda values: values, there):
        net = classes()
        for _ in range(3):
            outputs = net.forward(to(X))
            assert isinstance(outputs, DeviceArray)
            gradient = (on_host(net, outputs) - np.eye(3)[Y]) / len(X)
            with no_copies() if to is there else nullcontext():
                gradients = net.backward(to(gradient.astype(np.float32)), logits=True)
                net.update(fn.Adam(0.01))
        with no_copies() if to is there else nullcontext():
            net.forward(to(X))
            net.update(fn.SGD(0.01), gradients=to(on_host(net, gradients.flat)[:LARGEST]))
        trained.append(on_host(net))
    np.testing.assert_array_equal(*trained)


@pytest.mark.parametrize("what", ["class weights", "metrics", "checkpoint", "running", "calibrate"])
def test_what_is_computed_on_the_host_is_the_same(what: str, tmp_path: Path) -> None:
    results = []
    for number, to in enumerate((lambda values: values, there)):
        net = classes()
        options: dict[str, Any] = {
            "class weights": {"class_weight": "balanced", "sample_weight": to(WEIGHT)},
            "metrics": {"metrics": ["f1"], "validation_data": (to(X), to(Y), to(WEIGHT))},
            "checkpoint": {"checkpoint": tmp_path / "run", "resume": bool(number)},
            "running": {"standardize": "running"},
        }.get(what, {})
        history = net.fit(to(X), to(Y), epochs=2, **options)
        if what == "running":
            history = net.fit(to(X), to(Y), epochs=1, **options)
        value = net.calibrate(to(X), to(Y), sample_weight=to(WEIGHT)) if what == "calibrate" else 0
        results.append([on_host(net), history["loss"], value])
    for expected, got in zip(*results, strict=True):
        np.testing.assert_array_equal(got, expected)


def test_lbfgs_and_functions_take_rows_there() -> None:
    pytest.importorskip("scipy")

    def squared(output: Any, target: Any) -> tuple[Any, Any]:
        assert isinstance(target, DeviceArray)
        error = output - target
        return (error * error).mean(axis=1), error * (2.0 / error.shape[1])

    for optimizer in ("adam", "lbfgs"):
        results = []
        for to in (lambda values: values, there):
            net = numbers()
            net.fit(to(X), to(REAL), loss=squared, optimizer=optimizer, epochs=2)
            results.append(on_host(net, net.predict(to(X))))
        np.testing.assert_array_equal(*results)


# --- where rows and network are apart -------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_rows_on_another_gpu_are_copied_to_the_network_s(
    kind: Callable[[DeviceArray], Any],
) -> None:
    net = classes(device=1)
    expected = net.predict(X)
    if kind is KINDS["dlpack"]:  # CuPy takes DLPack of its current device only
        with strict_backend.CUPY.cuda.Device(0), pytest.raises(InputError, match="cannot be taken"):
            net.predict(kind(there(X, 0)))
        return
    with no_copies():
        got = net.predict(kind(there(X, 0)))
    assert got.device.id == 1 and CURRENT.device == 0
    np.testing.assert_array_equal(got.get(), expected)


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_a_network_on_the_host_copies_them(
    backend: str, kind: Callable[[DeviceArray], Any]
) -> None:
    pytest.importorskip(backend)
    results = []
    for to in (lambda values: values, lambda values: kind(there(values))):
        net = classes(backend)
        net.fit(to(X), to(Y), sample_weight=to(WEIGHT), epochs=2)
        net.partial_fit(to(X), to(Y))
        net.backward(to(on_host(net, net.forward(to(X)))))
        scores = [*net.evaluate(to(X), to(Y)).values()]
        results.append([net.predict(to(X)), net.predict_one(to(X[0])), scores])
        results[-1].append(net.input_gradients(to(X)))
    same(results[1], results[0], np.ndarray)


def test_a_table_copies_them() -> None:
    frame = {f"c{n}": X[:, n] for n in range(5)}
    net = fn.Network([5, 4, 2], seed=1, backend="cupy")
    net.fit(frame, REAL, epochs=2)
    expected = net.predict(X)
    np.testing.assert_array_equal(net.predict(there(X)), expected)
    net.fit(there(X), there(REAL), epochs=1)
    assert isinstance(net.predict_one(there(X[0])), np.ndarray)


def fit_as_a_rank(net: fn.Network, x: Any, y: Any, held_out: Any, comm: Any) -> Any:
    return net.fit(x, y, comm=comm, epochs=2, validation_data=held_out)


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_populations_ensembles_and_ranks_copy_them(kind: Callable[[DeviceArray], Any]) -> None:
    results = []
    for to in (lambda values: values, lambda values: kind(there(values))):
        how = {"epochs": 2, "sample_weight": to(WEIGHT)}
        members = fn.fit_many(classes(), to(X), to(Y), seeds=2, cv=2, **how)
        every = fn.Ensemble([*members])
        every.calibrate(to(X), to(Y))
        scores = [*every.evaluate(to(X), to(Y), sample_weight=to(WEIGHT)).values()]
        net = classes("numpy")
        (history,) = run(1, partial(fit_as_a_rank, net, to(X), to(Y), (to(X), to(Y))))
        scores.append(history["val_loss"][-1])
        results.append([every.predict(to(X)), every.disagreement(to(X)), scores, net.predict(X)])
    same(results[1], results[0], np.ndarray)


TABLE = {"a": X[:, 0], "b": X[:, 1], "y": REAL[:, 0]}
SMALL: dict[str, Any] = {"hidden": 3, "epochs": 2, "seed": 1, "backend": "numpy"}
ROWS = np.arange(100), np.arange(100, 200)


def members(to: Data, **how: Any) -> Any:
    found = fn.fit_many(classes("numpy"), to(X), to(Y), epochs=2, **how)
    return [found[0].predict(X), found[-1].predict(X)]


def of_table(made: Any) -> Any:
    return made.predict({name: TABLE[name] for name in ("a", "b")})


def table(to: Data) -> dict[str, Any]:
    return {name: to(column) for name, column in TABLE.items()}


EVERYWHERE: dict[str, Callable[[Data], Any]] = {
    "rows and weights of members": lambda to: members(
        to, settings=[{"rows": to(Y > 0)}, {"rows": to(ROWS[0])}, {"sample_weight": to(WEIGHT)}]
    ),
    "folds": lambda to: members(to, cv=[(to(ROWS[0]), to(ROWS[1]))]),
    "folds by labels": lambda to: fn.populations.make_folds(200, 3, labels=to(Y))[0][1],
    "validation of members": lambda to: members(
        to, seeds=4, validation_data=(to(X), to(Y), to(WEIGHT))
    ),
    "weights of an ensemble": lambda to: fn.Ensemble(
        [classes("numpy"), classes("numpy")], weights=to(np.array([1.0, 3.0]))
    ).predict(X),
    "a choice of members": lambda to: fn.Ensemble.greedy(
        fn.fit_many(classes("numpy"), X, Y, seeds=2, epochs=1), to(X), to(Y)
    ).predict(X),
    "a table": lambda to: of_table(fn.tables.train(table(to), "y", **SMALL)),
    "a table's target and weights": lambda to: of_table(
        fn.tables.train(
            {name: TABLE[name] for name in ("a", "b")},
            to(REAL[:, 0]),
            sample_weight=to(WEIGHT),
            validation_data=({"a": to(X[:, 0]), "b": X[:, 1]}, to(REAL[:, 0])),
            **SMALL,
        )
    ),
    "members of a table": lambda to: of_table(
        fn.tables.fit_many({"a": to(X[:, 0]), "b": X[:, 1]}, to(REAL[:, 0]), seeds=2, **SMALL)[1]
    ),
    "a scaler": lambda to: Scaler(to(X[0].astype(float)), to(1 + X[1] ** 2)).transform(
        X, np.dtype(np.float32)
    ),
    "targets of a loss": lambda to: fn.losses.MSE().value_and_gradient(
        X, to(X * 2), sample_weight=to(WEIGHT)
    )[1],
}


@pytest.mark.parametrize("call", EVERYWHERE.values(), ids=EVERYWHERE)
def test_what_the_host_computes_takes_them_everywhere(call: Callable[[Data], Any]) -> None:
    same(call(there), call(lambda values: values), np.ndarray)


def test_an_online_step_takes_a_row_there() -> None:
    trained = []
    for to in (lambda values: values, there):
        net = classes()
        step = net.online_step(fn.SGD(0.1))
        for n in range(3):
            step(to(X[n]), int(Y[n]))
        trained.append(on_host(net))
    np.testing.assert_array_equal(*trained)


# --- bad input ------------------------------------------------------------------------------------

NAN = X.copy()
NAN[7, 3] = np.nan
BAD: dict[str, tuple[Callable[[Data], Any], str]] = {
    "nan": (lambda to: classes().predict(to(NAN)), r"x holds nan at row 7, column 3 \(1 such"),
    "width": (lambda to: classes().predict(to(X[:, :4])), "x must have 5 columns, got 4"),
    "axes": (lambda to: classes().predict(to(X[0])), r"x must have two axes.* \(5,\)"),
    "empty": (lambda to: classes().fit(to(X[:0]), to(Y[:0])), "x is empty"),
    "complex": (lambda to: classes().predict(to(X + 1j)), "x must hold numbers, got complex"),
    "rows": (lambda to: classes().fit(to(X), to(Y[:9])), "as many rows as x, 200, got 9"),
    "label": (lambda to: classes().fit(to(X), to(Y + 1)), "labels from 0 to 2.* got 3 at row"),
    "share": (lambda to: classes().fit(to(X), to(Y + 0.25)), r"class numbers .* got \d\.25 at row"),
    "sums": (lambda to: classes().fit(to(X), to(np.ones((200, 3)) / 2)), r"sum to 1.* got 1\.5"),
    "range": (
        lambda to: numbers("poisson").fit(to(X), to(REAL)),
        r"numbers of at least 0 for the loss 'poisson', got -\d",
    ),
    "weight": (
        lambda to: classes().fit(to(X), to(Y), sample_weight=to(-WEIGHT)),
        r"sample_weight must not be negative, got -\d",
    ),
    "weights": (
        lambda to: classes().fit(to(X), to(Y), sample_weight=to(0 * WEIGHT)),
        "sample_weight is 0 everywhere",
    ),
    "output": (lambda to: classes().input_gradients(to(X), 3), "a whole number from 0 to 2"),
}


@pytest.mark.parametrize(("call", "words"), BAD.values(), ids=BAD)
def test_bad_rows_get_the_sentence_that_they_get_on_the_host(
    call: Callable[[Data], Any], words: str
) -> None:
    said = []
    for to in (lambda values: values, there):
        with pytest.raises(InputError, match=words) as caught:
            call(to)
        said.append(str(caught.value))
    assert said[0] == said[1]


LISTS: dict[str, Callable[[], Any]] = {
    "rows": lambda: classes().predict([there(X[0]), there(X[1])]),
    "numbers": lambda: classes("numpy").predict([[there(1.0)] * 5]),
    "labels": lambda: classes().fit(X, [there(1)] * 200),
    "rows of a population": lambda: fn.fit_many(classes(), [there(X[0])] * 9, Y[:9]),
    "a column": lambda: fn.tables.train({"a": [there(1.0)] * 9}, np.arange(9.0)),
}


@pytest.mark.parametrize("call", LISTS.values(), ids=LISTS)
def test_a_list_of_arrays_is_refused_in_words(call: Callable[[], Any]) -> None:
    with pytest.raises(
        InputError, match=r"a list of arrays on a GPU: give one array, as cupy\.stack"
    ):
        call()


def test_a_tensor_that_refuses_is_an_error_in_words() -> None:
    class Learning(Tensor):
        def __dlpack__(self, **_: Any) -> Any:
            raise BufferError("Can't export tensors that require gradient, use tensor.detach()")

    with pytest.raises(InputError, match=r"x cannot be taken from the GPU: .* tensor\.detach"):
        classes().predict(Learning(there(X)))


def test_without_cupy_an_array_on_a_gpu_is_refused_in_words(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    net = classes("numpy")
    monkeypatch.setattr(device_arrays, "cupy", lambda: None)
    with pytest.raises(InputError, match=r"x is on a GPU.* not installed.* x\.cpu\(\)"):
        net.predict(Tensor(there(X)))


def test_what_is_on_the_host_is_not_looked_for_on_a_gpu() -> None:
    class OnHost(Tensor):
        def __dlpack_device__(self) -> tuple[int, int]:
            return 1, 0

    array = there(X)
    assert device_arrays.is_on_gpu(array) and device_arrays.is_on_gpu(Tensor(array))
    others = X, X[0, 0], X.tolist(), (X, X), "text", None, 3, {"a": X}, OnHost(array), DeviceArray
    assert not any(map(device_arrays.is_on_gpu, others))
