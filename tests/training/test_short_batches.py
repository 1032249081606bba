"""Batch normalisation never sees a batch of one row, on any backend and by any way in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import fastnet as fn
from fastnet.backends.base import Backend
from fastnet.backends.epochs import TrainConfig
from fastnet.data import Chunks
from fastnet.nn.losses import MSE

Array = NDArray[Any]

RNG = np.random.default_rng(3)
X = RNG.normal(size=(97, 4)) * 2 + 1
Y = X[:, 0] - X[:, 1]


def network(backend: Backend, *, batch: bool = True, dropout: float = 0.1) -> fn.Network:
    norm = fn.BatchNorm("tanh") if batch else fn.LayerNorm("tanh")
    layers = [fn.Dense(6), norm, fn.Dropout(dropout), fn.Dense(1)]
    net = fn.Network(layers, inputs=4, seed=2, dtype="float64", backend="numpy")
    return net._copy_to(backend, "float32")


def everything(net: fn.Network) -> Array:
    to_host = net.backend_object.to_host
    return np.concatenate([to_host(net.parameters), to_host(net.state)])


@given(rows=st.integers(1, 300), batch_size=st.integers(1, 40), least=st.integers(1, 2))
def test_the_plan_leaves_out_what_is_too_short_and_nothing_else(
    rows: int, batch_size: int, least: int
) -> None:
    config = TrainConfig(MSE(), fn.SGD(), batch_size, 0, shuffle=True, least_rows=least)
    sizes = [min(batch_size, rows - start) for start in range(0, rows, batch_size)]
    assert config.steps(rows) == sum(size >= min(least, batch_size) for size in sizes)


@pytest.mark.parametrize("batch_size", [32, 48, 96])
def test_a_last_batch_of_one_row_is_left_out(backend: Backend, batch_size: int) -> None:
    one, other = network(backend), network(backend)
    options: dict[str, Any] = {"epochs": 3, "batch_size": batch_size, "shuffle": False}
    history = one.fit(X, Y, **options)
    expected = other.fit(X[:96], Y[:96], **options)
    assert np.array_equal(everything(one), everything(other))
    assert history["loss"] == expected["loss"]


def test_another_row_is_left_out_in_each_epoch_of_a_shuffle(backend: Backend) -> None:
    net = network(backend)
    net.fit(X, Y, epochs=4, batch_size=32)
    assert net.optimizer_state is not None
    assert net.optimizer_state.step == 4 * 3
    state = net.backend_object.to_host(net.state)
    assert (state[6:] > 0.01).all()


def test_a_last_batch_of_two_rows_is_trained_on(backend: Backend) -> None:
    net = network(backend)
    net.fit(X, Y, epochs=1, batch_size=19)
    assert net.optimizer_state is not None
    assert net.optimizer_state.step == 6


def test_other_networks_train_on_a_last_batch_of_one_row(backend: Backend) -> None:
    net = network(backend, batch=False)
    net.fit(X, Y, epochs=1, batch_size=96)
    assert net.optimizer_state is not None
    assert net.optimizer_state.step == 2


@pytest.mark.parametrize(("rows", "chunk_rows"), [(97, 24), (97, 97), (97, 48), (73, 24), (49, 12)])
@pytest.mark.parametrize("shuffle", [True, False])
def test_chunks_leave_it_out_too(
    backend: Backend, rows: int, chunk_rows: int, shuffle: bool
) -> None:
    matrix = np.column_stack([X, Y])[:rows]
    one = network(backend)
    options: dict[str, Any] = {"epochs": 3, "batch_size": 12, "shuffle": shuffle}
    one.fit(Chunks(matrix, target=-1, chunk_rows=chunk_rows), **options)
    assert one.optimizer_state is not None
    assert one.optimizer_state.step == 3 * (rows // 12)
    if not shuffle:
        other = network(backend)
        other.fit(Chunks(matrix[:-1], target=-1, chunk_rows=chunk_rows), **options)
        assert np.array_equal(everything(one), everything(other))


def test_a_run_that_leaves_a_row_out_resumes(backend: Backend, tmp_path: Path) -> None:
    options: dict[str, Any] = {"batch_size": 32, "checkpoint_every": 1, "resume": True}
    whole, parts = network(backend), [network(backend) for _ in range(2)]
    whole.fit(X, Y, epochs=4, batch_size=32)
    for net, epochs in zip(parts, (2, 4), strict=True):
        net.fit(X, Y, epochs=epochs, checkpoint=tmp_path, **options)
    assert np.array_equal(everything(parts[1]), everything(whole))


SINGLE: dict[str, dict[str, Any]] = {
    "batch_size=1": {"batch_size": 1},
    "one row": {"x": X[:1], "y": Y[:1]},
    "one row with weight": {"sample_weight": np.eye(97)[5]},
    "one row that is not held out": {"x": X[:2], "y": Y[:2], "validation_split": 0.5},
    "chunks": {"x": Chunks(np.column_stack([X, Y]), target=-1), "y": None, "batch_size": 1},
    "lbfgs": {"x": X[:1], "y": Y[:1], "optimizer": "lbfgs"},
}


@pytest.mark.parametrize("arguments", SINGLE.values(), ids=SINGLE)
def test_batches_of_a_single_row_are_refused(backend: Backend, arguments: dict[str, Any]) -> None:
    net = network(backend, dropout=0.0)
    before = everything(net)
    with pytest.raises(fn.InputError, match=r"at least 2 rows in a batch of training, got 1"):
        net.fit(**({"x": X, "y": Y} | arguments))
    assert np.array_equal(everything(net), before)
    network(backend, batch=False).fit(X[:1], Y[:1], epochs=1, batch_size=1)


def test_a_step_on_a_single_row_is_refused(backend: Backend) -> None:
    net = network(backend)
    before = everything(net)
    for weight in (None, np.eye(97)[5]):
        rows = slice(0, 1) if weight is None else slice(None)
        with pytest.raises(fn.InputError, match="batch normalisation needs at least 2 rows"):
            net.partial_fit(X[rows], Y[rows], sample_weight=weight)
    assert np.array_equal(everything(net), before)
    net.partial_fit(X[:2], Y[:2])
    assert np.isfinite(net.predict(X[:1])).all()


def test_a_single_row_is_validated_and_evaluated(backend: Backend) -> None:
    net = network(backend)
    history = net.fit(X, Y, epochs=2, batch_size=32, validation_data=(X[:1], Y[:1]))
    assert net.evaluate(X[:1], Y[:1])["loss"] == history["val_loss"][-1]
