"""A slow function replaced by a network that says how sure it is: mean and variance as outputs."""

from __future__ import annotations

import numpy as np

import fastnet as fn


def measured(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a function of two variables with noise that grows with the first."""
    exact = np.sin(3 * x[:, :1]) + x[:, 1:] ** 2
    noise = rng.standard_normal(exact.shape) * (0.02 + 0.2 * np.abs(x[:, :1]))
    return np.asarray(exact + noise)


def main() -> None:
    """Fit the network and look at both of its outputs."""
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (4_000, 2)).astype(np.float32)
    y = measured(x, rng)
    # Two outputs for a target: its mean, and the logarithm of its variance.
    net = fn.Network([2, 64, 64, 2], activation="tanh", seed=1)
    schedule = fn.schedules.Cosine(5e-3, epochs=60)
    history = net.fit(
        x,
        y,
        loss="gaussian_nll",
        optimizer=fn.Adam(schedule),
        epochs=60,
        batch_size=100,
        validation_split=0.1,
    )
    print(f"validation loss {history['val_loss'][0]:.3f} -> {history['val_loss'][-1]:.3f}")
    for where in (0.0, 0.9):
        mean, log_variance = net.predict_one(np.array([where, 0.0], np.float32))
        print(
            f"at {where:.1f}: {mean:+.2f} +- {np.exp(log_variance / 2):.2f}, "
            f"exact {np.sin(3 * where):+.2f} +- {0.02 + 0.2 * where:.2f}"
        )


if __name__ == "__main__":
    main()
