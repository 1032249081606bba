"""Learning rates and widths tried side by side: one small network for each thread.

The kernels run without Python's global lock, so a pool of threads is all it takes.
"""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import fastnet as fn
from fastnet.utils.machine import cores


class Result(NamedTuple):
    """What a trial gave."""

    accuracy: float
    width: int
    rate: float
    epochs: int


def main() -> None:
    """Try all combinations on the bundled digits, and test the best of them."""
    data = fn.data.load("digits")
    assert data.test is not None

    def make(width: int) -> fn.Network:
        return fn.Network(
            [64, width, 10], activation="relu", output_activation="softmax", backend="numba"
        )

    def trial(choice: tuple[int, float]) -> Result:
        width, rate = choice
        history = make(width).fit(
            data.x,
            data.y,
            optimizer=fn.Adam(rate),
            epochs=30,
            batch_size=32,
            validation_split=0.2,
            early_stopping=4,
            threads=1,
        )
        return Result(max(history["val_accuracy"]), width, rate, len(history["loss"]))

    choices = itertools.product((8, 32, 128), (1e-3, 3e-3, 1e-2))
    with ThreadPoolExecutor(cores()) as pool:
        results = sorted(pool.map(trial, choices), reverse=True)
    for result in results:
        print(
            f"width {result.width:3}, rate {result.rate:.0e}: {100 * result.accuracy:.1f} % "
            f"after {result.epochs} epochs"
        )
    best = results[0]
    net = make(best.width)
    net.fit(data.x, data.y, optimizer=fn.Adam(best.rate), epochs=best.epochs, batch_size=32)
    accuracy = net.evaluate(data.test.x, data.test.y)["accuracy"]
    print(f"the best one on rows that nobody saw: {100 * accuracy:.1f} %")


if __name__ == "__main__":
    main()
