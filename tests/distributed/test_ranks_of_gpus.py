"""Ranks on the engine of a GPU, whose kernels the host runs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fastnet as fn
from fastnet import backends
from fastnet.backends.gpu.host_rows import HostRows
from fastnet.distributed import Ranks
from tests.cuda.host_backend import HostBackend
from tests.cuda.host_module import WHY_NOT
from tests.distributed.in_threads import InThreads, run

X = np.random.default_rng(0).standard_normal((40, 5)).astype(np.float32)
LABELS = (X[:, 0] > 0).astype(int)
LAYERS = [fn.Dense(6), fn.BatchNorm("relu"), fn.Dropout(0.2), fn.Dense(2, "softmax")]


emulated = pytest.mark.skipif(WHY_NOT is not None, reason=str(WHY_NOT))


@emulated
def test_the_number_of_ranks_changes_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "get_backend", lambda *_: HostBackend())

    def fit(comm: InThreads, parts: int | None = None) -> Any:
        net = fn.Network(LAYERS, inputs=5, backend="cupy", seed=1)
        own = slice(40 * comm.rank // comm.size, 40 * (comm.rank + 1) // comm.size)
        how: dict[str, Any] = {"epochs": 2, "batch_size": 20, "validation_split": 0.2, "threads": 1}
        history = net.fit(X[own], LABELS[own], comm=Ranks(comm, parts), **how)
        return net.parameters.tobytes(), net.state.tobytes(), history["val_loss"]

    alone = run(1, fit)
    assert isinstance(alone[0], tuple), alone
    assert run(2, fit) == alone * 2
    net = fn.Network(LAYERS, inputs=5, backend="cupy", seed=1)
    net.fit(X, LABELS, epochs=2, batch_size=20, validation_split=0.2)
    (one_part,) = run(1, lambda comm: fit(comm, 1))
    assert one_part[:2] == (net.parameters.tobytes(), net.state.tobytes())


@emulated
def test_rows_that_a_gpu_cannot_hold_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    host = HostBackend()
    monkeypatch.setattr(backends, "get_backend", lambda *_: host)
    monkeypatch.setattr(host, "place", lambda rows: HostRows(*rows.fields))
    net = fn.Network(LAYERS, inputs=5, backend="cupy")
    (result,) = run(1, lambda comm: net.fit(X, LABELS, comm=comm))
    assert type(result) is fn.InputError
    assert "do not fit into the memory of its GPU: start more ranks" in str(result)
