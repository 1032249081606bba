"""Train networks with products of float32 and of bfloat16: how good they get, and how fast.

``python -m tools.bf16`` trains on Fashion-MNIST, on the digits and on a function of Friedman's,
from several seeds with each precision, and prints the scores on rows that were held out.
``--speed`` times training steps of the ladder's networks on one thread instead: the least processor
time, the two precisions in turn.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

import fastnet as fn
from fastnet.backends.epochs import TrainConfig
from fastnet.benchmarks.ladder import LADDER
from fastnet.benchmarks.problems import network, problem
from fastnet.nn.batch import Batch
from fastnet.utils.names import PrecisionName

PRECISIONS: Final[tuple[PrecisionName, ...]] = ("float32", "bf16")
RUNGS: Final = ("image-wide", "table", "image", "policy")
SAMPLES: Final = 60

Array = NDArray[Any]
Split = tuple[Array, Array, Array, Array]


def built_in(name: str) -> Split:
    """Return inputs and targets of a data set that fastnet knows: for training, and held out."""
    data = fn.data.load(name)
    assert data.test is not None
    return data.x, data.y, data.test.x, data.test.y


def friedman() -> Split:
    """Return 20,000 rows of ten inputs, half of which matter, and 10,000 held out."""
    rng = np.random.default_rng(0)
    x = rng.uniform(size=(30_000, 10)).astype(np.float32)
    y = 10 * np.sin(np.pi * x[:, 0] * x[:, 1]) + 20 * (x[:, 2] - 0.5) ** 2
    y = y + 10 * x[:, 3] + 5 * x[:, 4] + rng.normal(size=len(x))
    return x[:20_000], y[:20_000], x[20_000:], y[20_000:]


@dataclass(frozen=True)
class Task:
    """What is learnt from which rows: widths of the network, the score, and options of `fit`."""

    read: Callable[[], Split]
    sizes: list[int]
    metric: str
    options: dict[str, Any]


TASKS: Final = {
    "fashion-mnist": Task(
        lambda: built_in("fashion-mnist"), [784, 128, 10], "accuracy", {"epochs": 10}
    ),
    "digits": Task(
        lambda: built_in("digits"), [64, 64, 10], "accuracy", {"epochs": 50, "standardize": True}
    ),
    "friedman": Task(friedman, [10, 64, 64, 1], "r2", {"epochs": 30, "standardize_targets": True}),
}


def score(task: Task, split: Split, precision: PrecisionName, seed: int) -> float:
    """Train one network by Adam on batches of 128; return its score on the rows held out."""
    sizes, metric = task.sizes, task.metric
    x, y, x_new, y_new = split
    output = "softmax" if metric == "accuracy" else "identity"
    how: dict[str, Any] = {"backend": "numba", "precision": precision, "seed": seed}
    net = fn.Network(sizes, activation="relu", output_activation=output, **how)
    net.fit(x, y, optimizer=fn.Adam(1e-3), batch_size=128, **task.options)
    return float(net.evaluate(x_new, y_new, metrics=[metric])[metric])


def compare_scores(names: list[str], seeds: int) -> None:
    """Print the score of each seed with both precisions, and the means."""
    for name in names:
        task, means = TASKS[name], []
        split = task.read()
        for precision in PRECISIONS:
            found = [score(task, split, precision, seed) for seed in range(seeds)]
            means.append(float(np.mean(found)))
            shown = " ".join(f"{value:.4f}" for value in found)
            print(f"{name:14} {precision:8} {shown}   mean {means[-1]:.4f}", flush=True)
        print(f"{name:14} bf16 - float32 {means[1] - means[0]:+.4f}", flush=True)


def epoch_of(name: str, precision: PrecisionName) -> tuple[Callable[[], object], int]:
    """Return a function that trains an epoch of a rung of the ladder, and its number of steps."""
    rung = LADDER[name]
    assert rung.batch is not None
    given = problem(rung, rung.batch, 16 * rung.batch)
    net = network(rung, "numba").to("numba", precision=precision)
    engine, moments = net.engine(1), np.zeros((2, net.plan.size), np.float32)
    config = TrainConfig(fn.losses.CrossEntropy(), fn.Adam(), rung.batch, seed=0, shuffle=True)
    table = config.optimizer.step_coefficients(1, np.full(given.steps, 1e-3))
    rows = Batch(given.x, given.targets)
    place = {"epoch": 0, "step": 0}
    return lambda: engine.train_epoch(rows, config, moments, table, **place), given.steps


def compare_speed(names: list[str], samples: int) -> None:
    """Print microseconds of processor time for a step with each precision, and their ratio."""
    for name in names:
        calls = {precision: epoch_of(name, precision) for precision in PRECISIONS}
        least = dict.fromkeys(calls, float("inf"))
        for _ in range(samples):
            for precision, (train, steps) in calls.items():
                started = time.process_time()
                train()
                taken = (time.process_time() - started) / steps
                least[precision] = min(least[precision], taken)
        one, other = (least[precision] * 1e6 for precision in PRECISIONS)
        print(f"{name:12} float32 {one:8.1f}   bf16 {other:8.1f}   {one / other:.2f}", flush=True)


def main() -> None:
    """Compare what the arguments say."""
    parser = argparse.ArgumentParser("python -m tools.bf16", description=__doc__)
    parser.add_argument("names", nargs="*", help=f"of {', '.join(TASKS)}; or of the ladder")
    parser.add_argument("--speed", action="store_true", help="time steps of the ladder")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--samples", type=int, default=SAMPLES, help="of each, with --speed")
    options = parser.parse_args()
    if options.speed:
        compare_speed(options.names or list(RUNGS), options.samples)
    else:
        compare_scores(options.names or list(TASKS), options.seeds)


if __name__ == "__main__":
    main()
