"""Training on several processes: what the sum of gradients and a step take, and when ranks pay.

``python -m fastnet.benchmarks.distributed`` starts itself under mpiexec with 1, 2 and 4 ranks, and
prints what was measured on this machine. Then it predicts the speedup of 8 to 512 ranks, each on a
machine like this one, for a network of a given latency and bandwidth: that is a model and no
measurement, and the text and the chart say so.

The model of a step: ``a + b * rows of a rank``, neither below 0, fitted to steps of one rank, and
for the sum of V bytes on n ranks
``(2 (n - 1) + log2 n) * latency + 2 (n - 1) / n * V / bandwidth``.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import click
import numpy as np

import fastnet as fn
from fastnet import backends
from fastnet.benchmarks import problems
from fastnet.benchmarks.ladder import LADDER, Rung
from fastnet.distributed import mpi
from fastnet.distributed.group import Group
from fastnet.distributed.sums import PartSums
from fastnet.distributed.transports import HostTransport
from fastnet.errors import FastNetError
from fastnet.report import svg
from fastnet.report.figures import Axis, Panel, Series

NETWORKS: Final = ("image", "image-wide")
BATCHES: Final = (256, 512, 1024)
ROWS: Final = 4096
LENGTHS: Final = (256, 2**14, 2**18, 2**20, 2**23)
"""Lengths of the vectors that are added up, in float32."""

RANKS: Final = (1, 2, 4)
MANY: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
PREDICTED: Final = (1024, 8192, 65536)
"""Batch sizes of the prediction."""

Measured = dict[str, Any]
Fit = tuple[float, float]
"""Seconds of a step that do not depend on its rows, and for each row."""


# --- one process of several --------------------------------------------------------------------


def work(quick: bool) -> Measured:
    """Measure on the ranks that mpiexec has started; all of them return the same."""
    comm = mpi.world()
    ranks = fn.distributed.Ranks(comm)
    made: Measured = {"ranks": comm.Get_size(), "sums": {}, "steps": {}}
    lengths, batches = (LENGTHS[:2], BATCHES[:2]) if quick else (LENGTHS, BATCHES)
    group = Group(ranks)
    with group.opened():
        group.settle()
        for length in lengths:
            made["sums"][str(length)] = _sum_seconds(group, length, 3 if quick else 20)
    for name in NETWORKS[:1] if quick else NETWORKS:
        for batch in batches:
            made["steps"][f"{name} {batch}"] = _step_seconds(LADDER[name], batch, ranks, quick)
    return made


def _sum_seconds(group: Group, length: int, repeats: int) -> float:
    """Return the fastest sum of a vector of each part, as a step adds them up."""
    transport = HostTransport(group, backends.get_backend("numpy"))
    sums = PartSums(group, length, np.dtype(np.float32), transport)
    vectors = [np.ones(length, np.float32) for _ in group.held]
    shares, out = [1.0 / group.parts] * group.parts, np.empty(length, np.float32)
    best = math.inf
    for _ in range(repeats):
        group.announce("step")
        began = time.perf_counter()
        sums.add(vectors, shares, out)
        best = min(best, time.perf_counter() - began)
    return group.most(best)


class _Clock(fn.Callback):
    """Keeps the seconds of the fastest epoch."""

    def __init__(self) -> None:
        self.best = math.inf

    def on_train_begin(self, run: fn.Run) -> None:
        self._began = time.perf_counter()

    def on_epoch_end(self, run: fn.Run) -> None:
        now = time.perf_counter()
        self.best, self._began = min(self.best, now - self._began), now


def _step_seconds(rung: Rung, batch: int, ranks: Any, quick: bool) -> dict[str, float]:
    """Return the seconds of a step; of one rank beside those of ``fit`` without ranks.

    They take turns, so that drift of the machine favours none.
    """
    rows = 2 * batch if quick else ROWS
    data = problems.problem(rung, batch, rows)
    rank, size = ranks.comm.Get_rank(), ranks.comm.Get_size()
    own = slice(rows * rank // size, rows * (rank + 1) // size)
    ways: dict[str, tuple[slice, dict[str, Any]]] = {"ranks": (own, {"comm": ranks})}
    if size == 1:
        everything = slice(None)
        ways["fit"] = everything, {}
        ways["fit, one thread"] = everything, {"threads": 1}
        ways["ranks, one thread"] = everything, {"comm": ranks, "threads": 1}
    found = dict.fromkeys(ways, math.inf)
    for _ in range(1 if quick else 4):
        for name, (share, how) in ways.items():
            clock, network = _Clock(), problems.network(rung, "numba")
            options: dict[str, Any] = {"epochs": 2 if quick else 4, "callbacks": [clock], **how}
            network.fit(data.x[share], data.targets[share], batch_size=batch, **options)
            found[name] = min(found[name], clock.best / (rows // batch))
    return found


# --- the model ---------------------------------------------------------------------------------


def fitted(measured: Mapping[int, float]) -> Fit:
    """Return a and b of ``a + b * rows``, by least squares, for seconds by batch size.

    Neither is negative, for no step takes less than nothing: a busy machine may have slowed the
    smaller batches only. Where the line of all (a, b) has one that is, the best lies at its 0.
    """
    rows, seconds = np.array([*measured], np.float64), np.array([*measured.values()])
    b, a = (float(found) for found in np.polyfit(rows, seconds, 1))
    if b < 0:
        return float(seconds.mean()), 0.0
    return (0.0, float(rows @ seconds / (rows @ rows))) if a < 0 else (a, b)


def sum_seconds(size: int, ranks: int, latency: float, bandwidth: float) -> float:
    """Return the predicted seconds of adding up `size` bytes."""
    if ranks == 1:
        return 0.0
    waits = 2 * (ranks - 1) + math.log2(ranks)
    return waits * latency + 2 * (ranks - 1) / ranks * size / bandwidth


def speedups(fit: Fit, size: int, batch: int, latency: float, bandwidth: float) -> list[float]:
    """Return the predicted speedup of a step on each number of `MANY` ranks."""
    a, b = fit
    alone = a + b * batch
    return [
        alone / (a + b * batch / ranks + sum_seconds(size, ranks, latency, bandwidth))
        for ranks in MANY
    ]


def chart(fit: Fit, rung: Rung, latency: float, bandwidth: float) -> str:
    """Return the predicted speedups as an SVG file."""
    styles = ("lead", "second", "fourth")
    series = [Series("as many times as ranks", MANY, MANY, "guide")]
    for batch, style in zip(PREDICTED, styles, strict=True):
        found = speedups(fit, 4 * rung.parameters, batch, latency, bandwidth)
        series.append(Series(f"batches of {batch:,}", MANY, found, style))
    ticks = [(float(ranks), str(ranks)) for ranks in MANY]
    panel = Panel(
        f"{rung.name}: predicted, {1e6 * latency:g} us and {bandwidth / 1e9:g} GB/s",
        Axis("ranks", True, (1, MANY[-1]), ticks),
        Axis("speedup of a step", True, (0.1, MANY[-1])),
        series,
    )
    return svg.draw(panel, 720, 400, as_file=True)


# --- all of it ---------------------------------------------------------------------------------


def launch(ranks: int, quick: bool) -> Measured:
    """Measure on so many ranks of this machine."""
    beside = Path(sys.executable).parent / "mpiexec"
    program = str(beside) if beside.exists() else shutil.which("mpiexec")
    if program is None:
        raise FastNetError(f"mpiexec is missing: {mpi.INSTALL} brings it.")
    command = [program, "-n", str(ranks), sys.executable, "-m", "fastnet.benchmarks.distributed"]
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [*command, "--work", *(["--quick"] if quick else [])],
            env=os.environ | {"TMPDIR": folder},  # MPI leaves files there
            stdout=subprocess.PIPE,
            encoding="utf-8",
        )
    if done.returncode:
        raise FastNetError(f"the measurement on {ranks} ranks has failed; see above.")
    made: Measured = json.loads(done.stdout)
    return made


def report(found: Sequence[Measured], say: Callable[[str], None]) -> None:
    """Write what was measured."""
    say("measured here: seconds of the sum of float32 vectors, all parts of all ranks")
    for one in found:
        for length, seconds in one["sums"].items():
            rate = 4 * int(length) / seconds / 1e9
            say(
                f"  {one['ranks']} ranks  {4 * int(length) / 1e3:>10,.0f} kB  "
                f"{1e3 * seconds:8.3f} ms  {rate:6.2f} GB/s"
            )
    say("measured here: ms of a training step, on Numba")
    for one in found:
        for name, ways in one["steps"].items():
            said = ", ".join(f"{way} {1e3 * seconds:.2f}" for way, seconds in ways.items())
            say(f"  {one['ranks']} ranks  {name:<16} {said}")


def predict(found: Sequence[Measured], latency: float, bandwidth: float, file: Path | None) -> None:
    """Write, and draw, what the model says of more ranks."""
    steps = found[0]["steps"]
    name = [*steps][-1].split()[0]
    pairs = [(key.split(), ways["ranks"]) for key, ways in steps.items()]
    by_batch = {int(batch): seconds for (network, batch), seconds in pairs if network == name}
    fit, rung = fitted(by_batch), LADDER[name]
    if not fit[1]:
        click.echo(
            "larger batches took no longer here, so something else kept the machine busy: "
            "measure again before you believe the prediction"
        )
    click.echo(
        f"predicted, not measured: speedup of a step of {name} on machines like this one, "
        f"{1e6 * latency:g} us and {bandwidth / 1e9:g} GB/s between them"
    )
    click.echo(f"  {'batch':>8} " + "".join(f"{ranks:>8}" for ranks in MANY) + "  ranks")
    for batch in PREDICTED:
        found_here = speedups(fit, 4 * rung.parameters, batch, latency, bandwidth)
        click.echo(f"  {batch:>8,} " + "".join(f"{value:8.2f}" for value in found_here))
    if file is not None:
        file.write_text(chart(fit, rung, latency, bandwidth), encoding="utf-8")


@click.command()
@click.option("--quick", is_flag=True, help="Little of everything, on 1 and 2 ranks.")
@click.option(
    "--latency",
    type=click.FloatRange(0),
    default=20.0,
    show_default=True,
    help="Microseconds of a message between two machines, for the prediction.",
)
@click.option(
    "--bandwidth",
    type=click.FloatRange(0, min_open=True),
    default=1.1,
    show_default=True,
    help="GB/s between two machines: 1.1 is Ethernet of 10 Gbit/s.",
)
@click.option("--chart", "file", type=click.Path(path_type=Path), help="Where to draw it (SVG).")
@click.option("--json", "record", type=click.Path(path_type=Path), help="Where to write it all.")
@click.option("--work", "works", is_flag=True, hidden=True)
def main(
    quick: bool,
    latency: float,
    bandwidth: float,
    file: Path | None,
    record: Path | None,
    works: bool,
) -> None:
    """Measure training on several processes of this machine, and predict that on many."""
    if works:
        made = work(quick)
        if mpi.world().Get_rank() == 0:
            click.echo(json.dumps(made))
        return
    found = [launch(ranks, quick) for ranks in (RANKS[:2] if quick else RANKS)]
    if record is not None:
        record.write_text(json.dumps(found, indent=2), encoding="utf-8")
    report(found, click.echo)
    predict(found, 1e-6 * latency, 1e9 * bandwidth, file)


if __name__ == "__main__":
    main()
