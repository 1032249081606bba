"""A slow simulation replaced by a network: two outputs at once, their slopes, and how sure it is.

The simulation gives the reach and the flight time of a ball that is thrown with drag, in gusts that
matter more the faster it flies. The network learns mean and deviation of both from noisy runs. Its
derivatives by the inputs are exact for the network, so a search for the best throw can follow them.
"""

from __future__ import annotations

import argparse

import numpy as np

import fastnet as fn

LOW, HIGH = np.array([5.0, 0.2]), np.array([30.0, 1.3])
"""The smallest and the largest speed (m/s) and angle (radians)."""


def flight(throws: np.ndarray) -> np.ndarray:
    """Return reach (m) and time (s) of throws (N, 2) without gusts, step by step of 10 ms."""
    speed, angle = throws.T
    place, way = np.zeros((2, len(throws))), speed * np.array([np.cos(angle), np.sin(angle)])
    landed = np.zeros((len(throws), 2))
    for step in range(1, 700):
        way = way - 0.01 * (0.02 * np.hypot(*way) * way + np.array([[0.0], [9.81]]))
        before, place = place, place + 0.01 * way
        now = (place[1] <= 0) & (landed[:, 1] == 0)
        # Where between two steps it crosses the ground.
        part = before[1, now] / (before[1, now] - place[1, now])
        landed[now, 0] = before[0, now] + part * (place[0, now] - before[0, now])
        landed[now, 1] = 0.01 * (step - 1 + part)
    return landed


def deviation(throws: np.ndarray) -> np.ndarray:
    """Return the deviations of reach and time that gusts cause."""
    return np.stack([0.02 * throws[:, 0] ** 1.5 / 5, 0.01 + 0.002 * throws[:, 0]], axis=1)


def polynomial(x: np.ndarray) -> np.ndarray:
    """Return the terms of a polynomial of second degree: what one would fit without a network."""
    u, v = ((x - LOW) / (HIGH - LOW)).T
    return np.stack([np.ones_like(u), u, v, u * v, u * u, v * v], axis=1)


def main(quick: bool = False) -> None:
    """Fit the network, and compare its outputs and slopes with the simulation's."""
    rng = np.random.default_rng(0)
    x = rng.uniform(LOW, HIGH, (2_000 if quick else 8_000, 2))
    y = flight(x) + deviation(x) * rng.standard_normal((len(x), 2))
    # Four outputs for two targets: two means, then the logarithms of two variances.
    net = fn.Network([2, 32, 32, 4], activation="tanh", seed=1)
    epochs = 120 if quick else 200
    history = net.fit(
        x,
        y,
        loss="gaussian_nll",
        optimizer=fn.Adam(fn.schedules.Cosine(5e-3, epochs=epochs)),
        epochs=epochs,
        validation_split=0.1,
        standardize=True,
        standardize_targets=True,
    )
    print(f"validation loss {history['val_loss'][0]:.3f} -> {history['val_loss'][-1]:.3f}")

    new = rng.uniform(LOW, HIGH, (2_000, 2))
    exact = flight(new)
    mean, std = net.predict(new, return_std=True)
    simple = polynomial(new) @ np.linalg.lstsq(polynomial(x), y, rcond=None)[0]
    for k, name in enumerate(["reach (m)", "time (s)"]):
        ours, theirs = (np.sqrt(np.mean((p[:, k] - exact[:, k]) ** 2)) for p in (mean, simple))
        print(f"{name:9} error: network {ours:.3f}, polynomial {theirs:.3f}")
        inside = np.abs(exact + deviation(new) * rng.standard_normal(exact.shape) - mean) < std
        print(f"{name:9} runs within one deviation: {inside[:, k].mean():.1%} (68.3% if right)")
    for k in range(2):
        throw = f"{new[k, 0]:.0f} m/s at {np.degrees(new[k, 1]):.0f} degrees"
        print(
            f"{throw}: {mean[k, 0]:.2f} +- {std[k, 0]:.2f} m, "
            f"exact {exact[k, 0]:.2f} +- {deviation(new)[k, 0]:.2f} m"
        )

    # Of the four outputs the first two are the means; slopes are in metres and seconds.
    slopes = net.jacobian(new)[:, :2]
    nearby = np.array([[1e-3, 0.0], [0.0, 1e-4]])
    differences = [(flight(new + d) - flight(new - d)) / (2 * d.sum()) for d in nearby]
    true = np.stack(differences, axis=2)
    close = 1 - np.mean((slopes - true) ** 2, axis=0) / true.var(axis=0)
    print("R2 of the slopes by speed and angle:")
    for name, each in zip(["reach", "time"], close, strict=True):
        print(f"{name:9} {each[0]:.3f} and {each[1]:.3f}")

    throw = np.array([[25.0, 1.2]])
    for _ in range(200):  # uphill along the angle alone, at 25 m/s
        throw[:, 1] += 1e-3 * net.input_gradients(throw, output=0)[:, 1]
    angles = np.linspace(*[LOW[1], HIGH[1]], 500)
    best = angles[flight(np.stack([np.full(500, 25.0), angles], axis=1))[:, 0].argmax()]
    print(
        f"farthest at 25 m/s: {np.degrees(throw[0, 1]):.1f} degrees, exact {np.degrees(best):.1f}"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer runs and epochs")
    main(**vars(parser.parse_args()))
