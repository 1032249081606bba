"""`predict_one` and `jacobian_one` as compiled methods: the same answers and errors, no danger.

After the first call machine code answers for the usual row of a network on Numba, and the method in
Python for every other one. `plainly` is what that method says.
"""

from __future__ import annotations

import copy
import gc
import inspect
import pickle
import sys
import threading
import tracemalloc
import weakref
from pathlib import Path
from types import FunctionType
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray

import fastnet as fn
from fastnet import network as home
from fastnet.nn.activations import ACTIVATIONS
from tests.closeness import assert_close
from tests.on_backends import BACKENDS, each_backend, on_host

Array = NDArray[Any]

needs_numba = pytest.mark.skipif("numba" not in BACKENDS, reason="only Numba compiles a method")
each_dtype = pytest.mark.parametrize("dtype", ["float32", "float64"])
each_method = pytest.mark.parametrize("name", ["predict_one", "jacobian_one"])

SIZES = [5, 9, 3]
LAYERS: list[fn.layers.Layer] = [
    fn.Residual([fn.Dense(8, "relu"), fn.LayerNorm("tanh"), fn.Dense(5)]),
    fn.BatchNorm("silu"),
    fn.Dropout(0.3),
    fn.Dense(3, "softmax"),
]
ROW = np.array([0.5, -1.0, 2.0, 0.25, -3.0])


def network(layers: Any = SIZES, dtype: str = "float32", **options: Any) -> fn.Network:
    inputs = None if layers is SIZES else 5
    made = fn.Network(layers, inputs=inputs, **{"backend": "numba", "dtype": dtype} | options)
    made.parameters = on_host(made) + np.linspace(-0.5, 0.5, made.plan.size)
    return made


def armed(name: str = "predict_one", *args: Any, **options: Any) -> fn.Network:
    """Return a network for which machine code answers."""
    net = network(*args, **options)
    getattr(net, name)(ROW)
    if not is_armed(net, name):
        pytest.skip("no method can be compiled here")
    return net


def is_armed(net: fn.Network, name: str = "predict_one") -> bool:
    return isinstance(getattr(net, f"_{name}"), bytes)


def plainly(net: fn.Network, row: Any, name: str = "predict_one") -> Array:
    """Return what the method in Python does with a copy of the network."""
    method = {"predict_one": home._PREDICT_ONE, "jacobian_one": home._JACOBIAN_ONE}[name]
    answer: Array = method(net.copy(), row)
    return answer


def same(a: Array, b: Array) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


# --- the same answers -----------------------------------------------------------------------------


@needs_numba
@each_method
@each_dtype
@pytest.mark.parametrize("hidden", ACTIVATIONS)
def test_the_bits_are_those_of_the_python_method(hidden: str, dtype: str, name: str) -> None:
    output_only = ACTIVATIONS[hidden].output_only
    layers = [fn.Dense(9) if output_only else fn.Dense(9, hidden), fn.Dense(3, hidden)]
    net = armed(name, layers, dtype)
    for scale in (0.1, 1.0, 30.0):
        row = (ROW * scale).astype(dtype)
        assert same(getattr(net, name)(row), plainly(net, row, name))


@needs_numba
@each_method
@each_dtype
@pytest.mark.parametrize("layers", [LAYERS, LAYERS[1:], [fn.Dropout(0.2), fn.Dense(2)], [300, 4]])
def test_so_they_are_for_every_kind_of_layer(layers: Any, dtype: str, name: str) -> None:
    layers = [fn.Dense(width) if isinstance(width, int) else width for width in layers]
    net = armed(name, layers, dtype)
    row = ROW.astype(dtype)
    assert same(getattr(net, name)(row), plainly(net, row, name))
    whole = net.predict if name == "predict_one" else net.jacobian
    assert_close(getattr(net, name)(row), whole(row[None])[0], terms=50, scale=3.0)


@each_backend
@each_dtype
def test_a_jacobian_of_one_row_is_that_of_many(backend: str, dtype: str) -> None:
    for layers in (SIZES, LAYERS):
        net = network(layers, dtype, backend=backend)
        rows = np.stack([ROW, -ROW, ROW[::-1]]).astype(dtype)
        expected = net.jacobian(rows)
        actual = np.stack([net.jacobian_one(row) for row in rows])
        assert actual.dtype == expected.dtype
        assert_close(actual, expected, terms=30)


@each_backend
def test_a_jacobian_is_by_the_inputs_before_scaling_and_in_the_unit_of_the_targets(
    backend: str,
) -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((40, 5)) * [1, 10, 100, 0.1, 1]
    net = network([fn.Dense(6, "tanh"), fn.Dense(2)], dtype="float64", backend=backend)
    net.fit(x, x[:, :2] * 50 + 7, epochs=1, standardize=True, standardize_targets=True)
    assert_close(net.jacobian_one(x[3]), net.jacobian(x[3:4])[0], terms=30)


class OwnArray(np.ndarray):
    pass


UNUSUAL: dict[str, Any] = {
    "float64": ROW,
    "float16": ROW.astype(np.float16),
    "whole numbers": np.arange(5),
    "truths": ROW > 0,
    "a list": ROW.tolist(),
    "a tuple": tuple(ROW.tolist()),
    "big-endian": ROW.astype(">f4"),
    "every second element": np.repeat(ROW.astype(np.float32), 2)[::2],
    "backwards": ROW.astype(np.float32)[::-1],
    "read-only": np.frombuffer(ROW.astype(np.float32).tobytes(), np.float32),
    "not aligned": np.frombuffer(b"x" + ROW.astype(np.float32).tobytes(), np.uint8)[1:].view("<f4"),
    "a subclass": ROW.astype(np.float32).view(OwnArray),
    "a dtype with metadata": ROW.astype(np.dtype("f4", metadata={"unit": "m"})),
    "NaN": np.array([np.nan, 1, 2, 3, 4], np.float32),
    "infinity": np.array([np.inf, -np.inf, 2, 3, 4], np.float32),
    "subnormal numbers": np.full(5, 1e-41, np.float32),
}


@needs_numba
@each_method
@pytest.mark.parametrize("row", UNUSUAL.values(), ids=UNUSUAL)
def test_unusual_rows_are_answered_as_before(row: Any, name: str) -> None:
    net = armed(name)
    for _ in range(2):
        assert same(getattr(net, name)(row), plainly(net, row, name))
    assert is_armed(net, name)


REFUSED: dict[str, Any] = {
    "too short": ROW.astype(np.float32)[1:],
    "too long": np.zeros(6, np.float32),
    "two axes": ROW.astype(np.float32)[None],
    "no axis": np.array(1.0, np.float32),
    "empty": np.zeros(0, np.float32),
    "masked": np.ma.masked_array(ROW.astype(np.float32), [0, 1, 0, 0, 0]),
    "text": "abcde",
    "None": None,
    "objects": np.array([object()] * 5),
    "a class": np.ndarray,
    "bytes": b"eight by",
    "a network": lambda: network(),
}


@needs_numba
@each_method
@pytest.mark.parametrize("row", REFUSED.values(), ids=REFUSED)
def test_what_was_refused_is_refused_with_the_same_words(row: Any, name: str) -> None:
    net = armed(name)
    with pytest.raises(fn.InputError) as expected:
        plainly(net, row, name)
    with pytest.raises(fn.InputError) as actual:
        getattr(net, name)(row)
    assert str(actual.value) == str(expected.value)


@needs_numba
def test_a_call_takes_the_arguments_that_the_python_method_takes() -> None:
    net, row = armed(), ROW.astype(np.float32)
    assert inspect.signature(net.predict_one) == inspect.Signature(
        [inspect.Parameter("row", inspect.Parameter.POSITIONAL_OR_KEYWORD)]
    )
    assert fn.Network.predict_one.__doc__ == inspect.getdoc(home._PREDICT_ONE)
    expected = plainly(net, row)
    calls: list[Any] = [
        lambda: net.predict_one(row=row),
        lambda: fn.Network.predict_one(net, row),
        lambda: fn.Network.predict_one(net, row=row),
        lambda: fn.Network.predict_one(self=net, row=row),
    ]
    for call in calls[:3]:
        assert same(call(), expected)
    wrong: list[Any] = [
        calls[3],
        lambda: net.predict_one(),
        lambda: net.predict_one(row, row),
        lambda: net.predict_one(row, other=1),
        lambda: net.predict_one(other=row),
        lambda: net.predict_one(row, row=row),
        lambda: fn.Network.predict_one(),
        lambda: fn.Network.predict_one(object(), row),
        lambda: fn.Network.predict_one(row, row),
    ]
    for call in wrong:
        with pytest.raises(TypeError):
            call()


@needs_numba
def test_an_answer_belongs_to_the_caller() -> None:
    net, row = armed(), ROW.astype(np.float32)
    first = net.predict_one(row)
    kept = first.copy()
    second = net.predict_one(-row)
    assert first.flags.owndata and first.flags.writeable and not np.shares_memory(first, second)
    assert np.array_equal(first, kept) and not np.array_equal(first, second)
    first[:] = 7
    assert same(net.predict_one(row), kept)


# --- the network changes --------------------------------------------------------------------------

X = np.random.default_rng(0).standard_normal((30, 5))
LABELS = np.arange(30) % 3


def assigned(net: fn.Network) -> None:
    net.parameters = np.linspace(1, -1, net.plan.size)


def assigned_to_a_layer(net: fn.Network) -> None:
    net.weights[0] = np.ones((5, 9))


def assigned_preprocessor(net: fn.Network) -> None:
    other = fn.Network(SIZES, output_activation="softmax", backend="numpy")
    other.fit(3 * X + 1, LABELS, epochs=1, standardize=True)
    net.preprocessor = other.preprocessor


CHANGES: dict[str, Any] = {
    "training": lambda net: net.fit(X, LABELS, epochs=2),
    "training that standardises": lambda net: net.fit(X, LABELS, epochs=1, standardize=True),
    "a step": lambda net: net.partial_fit(X, LABELS),
    "an online step": lambda net: net.online_step()(X[0], 1),
    "an update": lambda net: net.update(gradients=np.ones(net.plan.size)),
    "initial values": lambda net: net.initialize(5),
    "calibration": lambda net: net.calibrate(X, LABELS),
    "parameters": assigned,
    "weights of a layer": assigned_to_a_layer,
    "a preprocessor": assigned_preprocessor,
    "a snapshot": lambda net: net.restore((net.parameters * 2, net.state)),
}


@needs_numba
@each_method
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_an_answer_is_that_of_the_network_as_it_is(change: Any, name: str) -> None:
    net = armed(name, [fn.Dense(9, "tanh"), fn.Dense(3, "softmax")])
    row, method = ROW.astype(np.float32), getattr(net, name)
    before = method(row)
    change(net)
    expected = plainly(net, row, name)
    assert not np.array_equal(expected, before)
    for _ in range(3):
        assert same(method(row), expected)
        assert same(getattr(net, name)(row), expected)


@needs_numba
def test_a_network_that_scales_is_answered_in_python_and_back_again_by_machine_code() -> None:
    net, row = armed(), ROW.astype(np.float32)
    plain = net.preprocessor
    net.fit(X, np.stack([X[:, 0]] * 3, 1), epochs=1, standardize=True)
    net.predict_one(row)
    assert not is_armed(net)
    net.preprocessor = plain
    net.predict_one(row)
    assert is_armed(net) and same(net.predict_one(row), plainly(net, row))


@needs_numba
@each_method
def test_copies_answer_for_themselves(name: str, tmp_path: Path) -> None:
    net, row = armed(name), ROW.astype(np.float32)
    net.save(tmp_path / "net.safetensors")
    copies = [
        net.copy(),
        copy.copy(net),
        copy.deepcopy(net),
        pickle.loads(pickle.dumps(net)),
        fn.load(tmp_path / "net.safetensors", backend="numba"),
        net.to("numpy").to("numba"),
    ]
    expected = getattr(net, name)(row)
    assert not any(is_armed(other, name) for other in copies)
    for other in copies:
        for _ in range(2):
            assert same(getattr(other, name)(row), expected)
    net.parameters = net.parameters * 2
    for other in copies:
        assert same(getattr(other, name)(row), expected)
    assert not np.array_equal(getattr(net, name)(row), expected)
    on_numpy = net.to("numpy")
    assert_close(getattr(on_numpy, name)(row), getattr(net, name)(row), terms=30)
    assert not is_armed(on_numpy, name)


@needs_numba
def test_the_bound_method_can_be_pickled_and_copied() -> None:
    net, row = armed(), ROW.astype(np.float32)
    for other in (pickle.loads(pickle.dumps(net.predict_one)), copy.copy(net.predict_one)):
        assert same(other(row), net.predict_one(row))


class Doubled(fn.Network):
    def predict_one(self, row: Any) -> Array:
        return 2 * super().predict_one(row)


@needs_numba
def test_a_subclass_may_have_a_method_of_its_own() -> None:
    net, row = Doubled(SIZES, backend="numba"), ROW.astype(np.float32)
    for _ in range(3):
        assert same(net.predict_one(row), 2 * plainly(net, row))


@needs_numba
def test_what_somebody_puts_in_the_place_of_the_method_stays(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen = []

    def spy(self: fn.Network, row: Any) -> Array:
        seen.append(row)
        return home._PREDICT_ONE(self, row)  # type: ignore[no-any-return]

    monkeypatch.setattr(fn.Network, "predict_one", spy)
    net = network()
    for _ in range(3):
        net.predict_one(ROW)
    assert len(seen) == 3


# --- lifetimes ------------------------------------------------------------------------------------


@needs_numba
@each_method
def test_a_method_keeps_its_network_and_a_network_goes_with_its_last_reference(name: str) -> None:
    net, row = armed(name), ROW.astype(np.float32)
    expected, method, gone = getattr(net, name)(row), getattr(net, name), weakref.ref(net)
    del net
    gc.collect()
    filled = [np.full(1000, np.nan, np.float32) for _ in range(100)]
    assert same(method(row), expected)
    gc.disable()
    try:
        del method, filled
        assert gone() is None  # at once: there is no cycle
    finally:
        gc.enable()


@needs_numba
@each_method
def test_calls_leak_neither_references_nor_memory(name: str) -> None:
    net, row = armed(name), ROW.astype(np.float32)
    call = getattr(net, name)

    def many() -> None:
        for _ in range(50_000):
            call(row)
        for odd in (ROW[1:].astype(np.float32), None):
            for _ in range(100):
                with pytest.raises(fn.InputError):
                    call(odd)
        for _ in range(1000):
            call(row=row)
            call(ROW)

    many()
    watched = net, row, np.dtype(np.float32), getattr(net, f"_{name}"), np.ndarray, type(net)
    counts = [sys.getrefcount(one) for one in watched]
    tracemalloc.start()
    try:
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        many()
        gc.collect()
        after = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert [sys.getrefcount(one) for one in watched] == counts
    assert after - before < 20_000


@needs_numba
@each_method
def test_threads_call_at_once_while_the_network_changes(name: str) -> None:
    net, rows = armed(name), np.random.default_rng(1).standard_normal((8, 5)).astype(np.float32)
    weights = [np.array(net.parameters), np.array(net.parameters) * 2]
    method = getattr(net, name)
    expected = []
    for values in weights:
        net.parameters = values
        expected.append([method(row) for row in rows])
    wrong: list[int] = []
    done = threading.Event()

    def ask(k: int) -> None:
        while not done.is_set():
            answer = method(rows[k])
            if not any(np.array_equal(answer, each[k]) for each in expected):
                wrong.append(k)

    threads = [threading.Thread(target=ask, args=(k,)) for k in range(len(rows))]
    for thread in threads:
        thread.start()
    for turn in range(300):
        if turn % 3 == 0:
            net.preprocessor = copy.copy(net.preprocessor)
        net.parameters = weights[turn % 2]
        method(rows[0])
    done.set()
    for thread in threads:
        thread.join(60)
    assert not wrong


@needs_numba
def test_a_large_network_lets_other_threads_run() -> None:
    net = fn.Network([600, 600, 3], backend="numba")
    row = np.ones(600, np.float32)
    for _ in range(2):
        assert same(net.predict_one(row), net.predict(row[None])[0])
    assert not is_armed(net)


# --- where it cannot be ---------------------------------------------------------------------------


def checks() -> Any:
    return pytest.importorskip("fastnet.backends.numba_one_row")


@needs_numba
@pytest.mark.parametrize(
    "fault",
    ["_numpy_is_known", "_bytes_are_known", "_arrays_are_known", "an interpreter", "no GIL"],
)
def test_where_objects_lie_otherwise_the_python_method_answers(
    fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = checks()
    if fault == "an interpreter":
        monkeypatch.setattr(module.sys.implementation, "name", "other")
    elif fault == "no GIL":
        monkeypatch.setattr(module.sysconfig, "get_config_var", lambda name: 1)
    else:
        monkeypatch.setattr(module, fault, lambda: False)
    module._can_be_made.cache_clear()
    try:
        net, row = network(), ROW.astype(np.float32)
        for _ in range(3):
            assert same(net.predict_one(row), plainly(net, row))
            assert same(net.jacobian_one(row), plainly(net, row, "jacobian_one"))
        assert not is_armed(net) and not is_armed(net, "jacobian_one")
    finally:
        module._can_be_made.cache_clear()


@needs_numba
def test_a_slot_that_is_not_found_leaves_the_python_method() -> None:
    class Elsewhere:
        def f(self, row: Any) -> str:
            return "python"

    method = cast(FunctionType, Elsewhere.f)
    Elsewhere.slot = property(lambda self: None, lambda self, value: None)  # type: ignore[attr-defined]
    checks().install(Elsewhere, method, "slot")
    assert Elsewhere.f is method


@needs_numba
def test_what_else_is_in_the_slot_is_no_danger() -> None:
    net, row = armed(), ROW.astype(np.float32)
    expected, slot = plainly(net, row), net._predict_one
    for odd in ((), b"", b"x" * 200, object(), 0, None):
        net._predict_one = odd
        assert same(net.predict_one(row), expected)
    del net._predict_one
    with pytest.raises(AttributeError):  # of the method in Python
        net.predict_one(row)
    net._predict_one = slot
    assert same(net.predict_one(row), expected)


@each_backend
def test_every_backend_answers_one_row(backend: str) -> None:
    net, row = network(backend=backend), ROW.astype(np.float32)
    for _ in range(3):
        assert_close(net.predict_one(row), net.predict(row[None])[0], terms=20)
