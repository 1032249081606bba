"""A training of a moment, for tests of threads and processes: each process imports it anew."""

from __future__ import annotations

import numpy as np

import fastnet as fn

X = np.random.default_rng(0).standard_normal((200, 6))
Y = np.tanh(X @ [1.0, -1.0, 0.5, 0.2, 0.0, 2.0])


def network(backend: str, seed: int = 0) -> fn.Network:
    layers = [fn.Dense(16), fn.BatchNorm("relu"), fn.Dropout(0.2), fn.Dense(1)]
    return fn.Network(layers, inputs=6, seed=seed, backend=backend)


def fitted(backend: str, seed: int = 0) -> bytes:
    net = network(backend, seed)
    net.fit(X, Y, epochs=10, batch_size=16, threads=1)
    return net.parameters.tobytes()
