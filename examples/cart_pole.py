"""A policy that learns to balance a pole, by the cross-entropy method on its flat parameters.

A generation of policies is drawn around a mean, each balances for as long as it can, and the best
tenth of them is the next mean. A policy is asked thousands of times a second, one row a time.
"""

from __future__ import annotations

import math

import numpy as np

import fastnet as fn

STEPS = 200
"""A policy that balances so long has learnt it."""


def balanced(net: fn.Network, rng: np.random.Generator) -> int:
    """Return for how many steps of 20 ms the policy keeps the pole within 12 degrees."""
    place, speed, angle, turn = rng.uniform(-0.05, 0.05, 4)
    row = np.empty(4, np.float32)
    for step in range(STEPS):
        row[:] = place, speed, angle, turn
        force = 10.0 * float(net.predict_one(row)[0])
        # Barto, Sutton and Anderson (1983): cart of 1 kg, pole of 0.1 kg and 1 m, no friction.
        pushed = (force + 0.05 * turn * turn * math.sin(angle)) / 1.1
        bent = (9.8 * math.sin(angle) - math.cos(angle) * pushed) / (
            0.5 * (4 / 3 - 0.1 * math.cos(angle) ** 2 / 1.1)
        )
        slid = pushed - 0.05 * bent * math.cos(angle) / 1.1
        place, speed = place + 0.02 * speed, speed + 0.02 * slid
        angle, turn = angle + 0.02 * turn, turn + 0.02 * bent
        if abs(place) > 2.4 or abs(angle) > math.radians(12):
            return step
    return STEPS


def main() -> None:
    """Learn until the mean policy balances to the end."""
    rng = np.random.default_rng(0)
    net = fn.Network([4, 8, 1], activation="tanh", output_activation="tanh")
    mean, deviation = np.zeros(net.plan.size), np.ones(net.plan.size)
    for generation in range(1, 31):
        drawn = mean + deviation * rng.standard_normal((40, len(mean)))
        scores = []
        for parameters in drawn:
            net.parameters = parameters
            scores.append(np.mean([balanced(net, rng) for _ in range(2)]))
        best = drawn[np.argsort(scores)[-4:]]
        mean, deviation = best.mean(axis=0), best.std(axis=0) + 0.1
        net.parameters = mean
        score = np.mean([balanced(net, rng) for _ in range(5)])
        print(f"generation {generation}: best {max(scores):.0f}, mean policy {score:.0f} steps")
        if score == STEPS:
            print("balanced")
            break


if __name__ == "__main__":
    main()
