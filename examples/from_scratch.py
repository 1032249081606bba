"""The network that tutorials write by hand in NumPy, and the same one in fastnet."""

from __future__ import annotations

import time

import numpy as np

import fastnet as fn

STEPS = 5_000
RATE = 2.0

x = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], dtype=float)
target = np.array([[0], [1], [1], [0]], dtype=float)


def sigmoid(z: np.ndarray) -> np.ndarray:
    """Return ``1 / (1 + exp(-z))``."""
    return 1 / (1 + np.exp(-z))


def main() -> None:
    """Train both from the same weights and compare."""
    net = fn.Network(
        [2, 4, 1], activation="sigmoid", output_activation="sigmoid", dtype="float64", seed=3
    )
    w1, w2 = (w.copy() for w in net.weights)
    b1, b2 = (b.copy() for b in net.biases)

    started = time.perf_counter()
    for _ in range(STEPS):
        y1 = sigmoid(x @ w1 + b1)
        y2 = sigmoid(y1 @ w2 + b2)
        dz2 = 2 * (y2 - target) / len(x) * y2 * (1 - y2)
        dz1 = dz2 @ w2.T * y1 * (1 - y1)
        w2 -= RATE * y1.T @ dz2
        b2 -= RATE * dz2.sum(axis=0)
        w1 -= RATE * x.T @ dz1
        b1 -= RATE * dz1.sum(axis=0)
    by_hand = time.perf_counter() - started

    # A thousand copies of the four rows, so that an epoch is a thousand steps.
    copies = np.tile(x, (1_000, 1)), np.tile(target, (1_000, 1))
    recipe = {"loss": "mse", "optimizer": fn.SGD(RATE), "batch_size": 4, "shuffle": False}
    net.fit(*copies, epochs=1, **recipe)  # compiles, or loads what was compiled
    net.initialize()
    started = time.perf_counter()
    net.fit(*copies, epochs=STEPS // 1_000, **recipe)
    ours = time.perf_counter() - started

    difference = max(np.abs(net.weights[0] - w1).max(), np.abs(net.weights[1] - w2).max())
    print("exclusive or:", net.predict(x).ravel().round(2))
    print(f"largest difference of a weight after {STEPS:,} steps: {difference:.1e}")
    print(f"by hand {1e6 * by_hand / STEPS:.1f} us a step, fastnet {1e6 * ours / STEPS:.1f} us")


if __name__ == "__main__":
    main()
