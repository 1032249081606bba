"""Pieces of a large batch, and shares of threads, have the bits of all rows at once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fastnet as fn
from fastnet.backends import numba_engine, numba_products
from tests.on_backends import everything, same

RNG = np.random.default_rng(5)
X = RNG.standard_normal((203, 5))
LABELS = RNG.integers(0, 3, 203)

BODIES: dict[str, list[Any]] = {
    "dense": [fn.Dense(33, "tanh"), fn.Dense(16, "relu")],
    "rows alone": [fn.Dense(16, "gelu"), fn.LayerNorm(), fn.Dropout(0.3), fn.Dense(9, "relu")],
    "batches": [
        fn.Dense(19),
        fn.Residual([fn.Dense(19), fn.BatchNorm("relu")]),
        fn.BatchNorm(),
        fn.Dropout(0.2),
    ],
}


def trained(body: list[Any], batch_size: int, threads: int = 1) -> fn.Network:
    net = fn.Network([*body, fn.Dense(3, "softmax")], inputs=5, seed=3, backend="numba")
    weights = np.arange(len(X)) % 3
    net.fit(X, LABELS, epochs=3, batch_size=batch_size, sample_weight=weights, threads=threads)
    return net


@pytest.mark.parametrize("rows", [1, 7, 64])
@pytest.mark.parametrize("batch_size", [203, 67])  # the last of 67 has fewer rows than threads
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_neither_the_size_of_a_piece_nor_the_threads_change_a_bit(
    body: list[Any], batch_size: int, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = trained(body, batch_size)
    monkeypatch.setattr(numba_engine, "MOST_WHOLE", 0)
    monkeypatch.setattr(numba_engine, "PIECE_BYTES", 0)
    monkeypatch.setattr(numba_engine, "LEAST_PIECE", rows)
    monkeypatch.setattr(numba_engine, "cores", lambda: 3)
    for threads in (1, 2, 3):
        assert same(everything(whole), everything(trained(body, batch_size, threads)))


def test_networks_that_need_all_rows_get_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where pieces would change a bit, or cost more than they save, there is only one."""
    monkeypatch.setattr(numba_engine, "MOST_WHOLE", 0)
    monkeypatch.setattr(numba_engine, "PIECE_BYTES", 0)
    monkeypatch.setattr(numba_engine, "LEAST_PIECE", 8)
    pieces = {}
    for name, body in BODIES.items():
        engine: Any = fn.Network([*body, fn.Dense(1)], inputs=5, backend="numba").engine()
        engine.reserve(100)
        pieces[name] = int(engine._frames[0]["piece"])
    assert pieces == {"dense": 8, "rows alone": 8, "batches": 100}
    engine = fn.Network([600, 600, 1], backend="numba").engine()
    assert engine._piece(5000, numba_products.LARGE // 4) == 5000
    monkeypatch.undo()
    engine.reserve(100)
    assert engine._frames[0]["piece"] == 100  # so few fit into the cache
