"""What spreading members over processes costs: `fit_many` beside processes that share nothing.

``python -m fastnet.benchmarks.spread`` trains 64 networks by ``executor="processes:2"``, and in two
processes of which each trains half of them by itself. Both start their processes anew, train on
one thread in each, and end with the same bits. Given is the share of the ideal: the seconds of the
independent processes over those of fastnet.
"""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

import fastnet as fn
from fastnet.benchmarks import timing
from fastnet.benchmarks.timing import Budget

Array = NDArray[Any]


def data() -> tuple[Array, Array]:
    """Return rows and classes."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((4096, 32)).astype(np.float32)
    return x, rng.integers(0, 4, len(x))


def template(seed: int = 0) -> fn.Network:
    """Return a network to train."""
    layers: dict[str, Any] = {"output_activation": "softmax", "backend": "numba"}
    return fn.Network((32, 64, 64, 4), seed=seed, **layers)


def together(members: int, epochs: int, processes: int) -> list[Array]:
    """Return the parameters of members that fastnet spreads over processes."""
    x, y = data()
    how: dict[str, Any] = {"epochs": epochs, "executor": f"processes:{processes}", "threads": 1}
    return [net.parameters for net in fn.fit_many(template(), x, y, seeds=members, **how)]


def some(seeds: list[int], epochs: int) -> list[Array]:
    """Return the parameters of members that this process trains one after the other."""
    x, y = data()
    networks = [template(seed) for seed in seeds]
    for net in networks:
        net.fit(x, y, epochs=epochs, threads=1)
    return [net.parameters for net in networks]


def apart(members: int, epochs: int, processes: int) -> list[Array]:
    """Return the parameters of members of which each process trains its share, by itself."""
    shares = [[*range(k, members, processes)] for k in range(processes)]
    with ProcessPoolExecutor(processes, get_context("spawn")) as executor:
        made = [*executor.map(some, shares, [epochs] * processes)]
    return [made[k % processes][k // processes] for k in range(members)]


@click.command()
@click.option("--processes", type=click.IntRange(1), default=2, help="Processes of each contender.")
@click.option("--members", type=click.IntRange(1), default=64, help="Networks to train.")
@click.option("--epochs", type=click.IntRange(1), default=100, help="Epochs of each network.")
@click.option("--rounds", type=click.IntRange(1), default=3, help="How often each has its turn.")
def main(processes: int, members: int, epochs: int, rounds: int) -> None:
    """Compare members that are spread over processes with processes that share nothing."""
    how = members, epochs, processes
    for a, b in zip(together(*how), apart(*how), strict=True):
        if not np.array_equal(a, b):
            raise RuntimeError("the contenders have not trained to the same bits.")
    calls = {"fit_many": lambda: together(*how), "apart": lambda: apart(*how)}
    found = timing.interleave(calls, Budget(rounds=rounds, samples=1, seconds=0.0), repeats=1)
    for name, one in found.items():
        click.echo(
            f"{name:10} {one.typical:8.2f} s for {members} networks on {processes} processes"
        )
    click.echo(f"share of the ideal {found['apart'].ratio_to(found['fit_many']):.3f}")


if __name__ == "__main__":
    main()
