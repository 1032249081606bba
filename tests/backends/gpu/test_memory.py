"""The memory of a network goes back to CuPy with the last reference to it, without a collector."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from typing import Any
from weakref import ref

import numpy as np
import pytest

import fastnet as fn
from tests.cuda.fake_cupy import FakeCupy
from tests.cuda.host_module import WHY_NOT

pytestmark = pytest.mark.skipif(WHY_NOT is not None, reason=str(WHY_NOT))

RNG = np.random.default_rng(0)
X = RNG.standard_normal((60, 5)).astype(np.float32)
Y = RNG.integers(0, 3, 60)


class Held:
    """The arrays of the fake CuPy that are still alive."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, cupy: FakeCupy) -> None:
        self._made: list[Any] = []
        empty = cupy.empty

        def noted(shape: Any, dtype: Any) -> Any:
            array = empty(shape, dtype)
            self._made.append(ref(array.memory.base))
            return array

        monkeypatch.setattr(cupy, "empty", noted)

    def __len__(self) -> int:
        return sum(one() is not None for one in self._made)


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch, cupy: FakeCupy) -> Iterator[Held]:
    cupy.shared_bytes = 0  # products, windows and recordings
    gc.collect()
    gc.disable()
    yield Held(monkeypatch, cupy)
    gc.enable()


def network() -> fn.Network:
    return fn.Network([5, 6, 3], output_activation="softmax", backend="cupy", seed=1)


def trained() -> fn.Network:
    net = network()
    how: dict[str, Any] = {"validation_data": (X, Y), "early_stopping": 2, "metrics": ["f1"]}
    net.fit(X, Y, epochs=4, batch_size=7, **how)
    net.evaluate(X, Y)
    net.predict(X)
    net.predict_one(X[0])
    return net


def used_by_hand() -> fn.Network:
    net = network()
    outputs = net.forward(X)
    net.backward(outputs)
    net.update(fn.Adam(0.01))
    net.online_step(fn.SGD(0.01))(X[0], 1)
    net.restore(net.snapshot())
    net.weights[0] = net.weights[0].get()
    return net


def interrupted() -> fn.Network:
    net = network()

    def stop(run: fn.Run) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        net.fit(X, Y, epochs=3, callbacks=[stop])
    return net


USES: dict[str, Callable[[], Any]] = {
    "trained": trained,
    "used by hand": used_by_hand,
    "interrupted": interrupted,
    "a copy": lambda: network().copy(),
    "a population": lambda: fn.fit_many(network(), X, Y, seeds=2, epochs=1),
}


@pytest.mark.parametrize("make", USES.values(), ids=USES)
def test_all_memory_goes_with_the_last_reference(held: Held, make: Callable[[], Any]) -> None:
    made = make()
    assert len(held) > 0
    history = getattr(made, "history", None)
    del made
    assert len(held) == 0
    del history


def test_engines_alone_can_be_given_up(held: Held) -> None:
    net = trained()
    before, outputs = len(held), net.predict(X)
    net.forget_engines()
    assert 0 < len(held) < before / 2
    np.testing.assert_array_equal(net.predict(X), outputs)


def test_an_array_that_is_held_is_noticed(held: Held) -> None:
    net = trained()
    kept = net.parameters
    del net
    assert len(held) == 1
    assert kept.size
