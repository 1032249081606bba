"""Training of tiny networks in lanes: what the composed steps say, and the general kernels too.

Both are run for every network here; which one training takes is a matter of size.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fastnet.backends import get_backend, numba_engine
from fastnet.nn.layers import Dense
from fastnet.nn.losses import LOSSES, MSE, CrossEntropy
from fastnet.nn.optimizers import SGD, Adam
from tests.networks import HIDDEN_ACTIVATIONS, LOSS_OUTPUTS, Bench, outputs_for
from tests.runs import Run, assert_same_epoch

pytest.importorskip("numba", reason="Numba is not installed")

CLASSES = ((Dense(9, "tanh"), Dense(4, "softmax")), CrossEntropy(0.125), True, True)


@pytest.fixture(params=[0, 10**9], ids=["general", "tiny"])
def kernels(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numba_engine, "TINY", request.param)


@pytest.fixture(params=["float32", "float64"])
def bench(request: pytest.FixtureRequest) -> Bench:
    return Bench(get_backend("numba"), np.dtype(request.param))


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("activation", HIDDEN_ACTIVATIONS)
def test_every_activation(bench: Bench, activation: str) -> None:
    network = (Dense(6, activation), Dense(5, "tanh"), Dense(2)), MSE(), False, False
    assert_same_epoch(Run(bench, network, count=23, batch_size=5, optimizer=SGD(0.01)))


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize(("name", "output"), LOSS_OUTPUTS)
def test_every_loss(bench: Bench, name: str, output: str) -> None:
    loss = LOSSES[name]()
    network = (Dense(7, "tanh"), Dense(outputs_for(loss, 3), output)), loss, False, True
    assert_same_epoch(Run(bench, network, count=23, batch_size=9, optimizer=SGD(0.01)))


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("rows", [1, 7, 8, 15, 16, 17, 32, 40])
def test_batches_of_less_and_of_more_than_a_vector(bench: Bench, rows: int) -> None:
    assert_same_epoch(Run(bench, CLASSES, count=3 * rows + 1, batch_size=rows))


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("options", [{"l1": 0.1, "l2": 0.1}, {"weight_decay": 0.1}], ids=str)
def test_penalties_and_clipping(bench: Bench, options: dict[str, Any]) -> None:
    for clip_norm in (1e-3, 1e3):
        optimizer = SGD(0.01, momentum=0.5, clip_norm=clip_norm, **options)
        assert_same_epoch(Run(bench, CLASSES, count=23, batch_size=5, optimizer=optimizer))


@pytest.mark.usefixtures("kernels")
def test_batches_in_order(bench: Bench) -> None:
    assert_same_epoch(Run(bench, CLASSES, count=23, batch_size=5, shuffle=False, first=1))


def parameters_after_an_epoch(bench: Bench, threads: int | None = None) -> bytes:
    run = Run(bench, CLASSES, count=23, batch_size=20, optimizer=Adam(0.01))
    engine, moments = run.start()
    engine.threads = threads
    run.train(engine, moments)
    return bytes(bench.get(engine.parameters).tobytes())


def test_the_two_paths_are_two(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """They add up in different orders: were their bits the same, only one would be tested here."""
    found = set()
    for limit in (0, 10**9):
        monkeypatch.setattr(numba_engine, "TINY", limit)
        found.add(parameters_after_an_epoch(bench))
    assert len(found) == 2


@pytest.mark.usefixtures("kernels")
def test_threads_change_no_bit(bench: Bench) -> None:
    assert parameters_after_an_epoch(bench, 1) == parameters_after_an_epoch(bench, 2)


def test_a_network_that_diverges_stops_at_once(bench: Bench) -> None:
    network = (Dense(6), Dense(2)), MSE(), False, False
    run = Run(bench, network, count=40, batch_size=4, optimizer=SGD(1e30))
    engine, moments = run.start()
    assert run.train(engine, moments).steps < 4
