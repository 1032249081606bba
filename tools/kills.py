"""Kill training at random moments, go on from its checkpoints, and compare with a run left alone.

Runs are of single networks, and of populations, of which no member that is done is trained anew.
With ``--processes`` they are of populations that train in processes of their own, alone.

``python -m tools.kills --kills 200`` prints a line of JSON. The networks are small and write often,
so that many of the kills fall into a write. With ``--writer naive`` checkpoints are written as most
programs write files: that has to leave some that cannot be read, or the harness would find nothing;
with ``--first`` the first of them ends it.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import signal
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

import fastnet as fn
from fastnet.errors import ModelFileError
from fastnet.populations.folder import PopulationFolder
from fastnet.serialization import safetensors_file
from fastnet.training import loop, stretches
from fastnet.training.checkpoints import folder as checkpoint_folder
from fastnet.utils import files

X = np.random.default_rng(0).standard_normal((96, 6))
Y = np.sin(X @ [1.0, -1.0, 0.5, 0.0, 2.0, -0.3])
LABELS = (Y > 0).astype(int)

SCHEDULE = fn.schedules.WarmUp(1e-4, epochs=3, then=fn.schedules.Cosine(0.01, epochs=20))
PLATEAU = fn.schedules.ReduceOnPlateau(0.02, patience=1, factor=0.5)
NORMED = [fn.Dense(24), fn.BatchNorm("relu"), fn.Dropout(0.3), fn.Dense(2, "softmax")]

ENOUGH_SECONDS = 0.5
"""A run that takes longer alone is not repeated: what it compiles hardly counts."""

MOST = 6
"""Kills of one run, so that on a busy machine too every setup has its turn."""


class Setup(Protocol):
    """What is trained."""

    def train(self, folder: Path) -> list[Any]:
        """Train, going on from what is in ``folder / "run"``; return all results as arrays."""
        ...


@dataclass(frozen=True)
class Fit:
    """A network, and on what and how it is trained."""

    network: Callable[[], fn.Network]
    data: tuple[Any, ...]
    options: dict[str, Any]

    def train(self, folder: Path) -> list[Any]:
        network = self.network()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", fn.CheckpointWarning)
            history = network.fit(
                *self.data,
                epochs=25,
                checkpoint=folder / "run",
                resume=True,
                threads=1,
                **self.options,
            )
        assert network.optimizer_state is not None
        arrays = map(np.array, history.values())
        return [network.parameters, network.state, *arrays, network.optimizer_state.moments]


@dataclass(frozen=True)
class FitMany:
    """The template of a population, and what its members differ in."""

    template: Callable[[], fn.Network]
    options: dict[str, Any]

    def train(self, folder: Path) -> list[Any]:
        written, write = folder / "written", PopulationFolder.write

        def noted(self: PopulationFolder, number: int, *rest: Any) -> None:
            write(self, number, *rest)
            with open(written, "a", encoding="ascii") as file:
                file.write(f"{number}\n")

        PopulationFolder.write = noted  # type: ignore[method-assign]
        try:
            population = fn.fit_many(
                *(self.template(), X, LABELS),
                checkpoint=folder / "run",
                resume=True,
                **({"threads": 1} | self.options),
            )
        finally:
            PopulationFolder.write = write  # type: ignore[method-assign]
        done = written.read_text(encoding="ascii").split()
        assert len(done) == len({*done}), "a member was trained again"
        rows = [{**row, "seconds": 0} for row in population.results]
        return [*(one.parameters for one in population), np.array(json.dumps(rows))]


def _setups(backend: str, *, processes: bool) -> list[Setup]:
    def plain() -> fn.Network:
        return fn.Network([6, 48, 48, 1], activation="tanh", backend=backend, seed=3)

    def tiny() -> fn.Network:
        sizes, last = [6, 4, 2], "softmax"
        return fn.Network(sizes, output_activation=last, backend=backend)  # type: ignore[arg-type]

    def normed() -> fn.Network:
        return fn.Network(NORMED, inputs=6, backend=backend, dtype="float64")

    if processes:
        return [FitMany(tiny, {"seeds": 6, "cv": 2, "epochs": 9, "executor": "processes:2"})]
    blocks = fn.data.Chunks(np.column_stack([X, Y]), target=-1, chunk_rows=20)
    table = {f"x{k}": column for k, column in enumerate(X.T)}
    held = {"validation_split": 0.2, "batch_size": 7, "early_stopping": 6}
    grid = {"learning_rate": [0.001, 0.01], "batch_size": [8, 96]}
    by_time, by_epoch = {"checkpoint_every": "0.0001s"}, {"checkpoint_every": 1}
    return [
        Fit(plain, (X, Y), {"optimizer": fn.Adam(SCHEDULE), **held, **by_time}),
        Fit(normed, (X, LABELS), {"optimizer": fn.AdamW(PLATEAU), **held, **by_epoch}),
        Fit(plain, (X, Y), {"optimizer": fn.SGD(0.01, momentum=0.9), **by_time}),
        Fit(plain, (X, Y), {"optimizer": fn.LBFGS(), "checkpoint_every": 2}),
        Fit(plain, (blocks,), {"optimizer": fn.Adam(SCHEDULE), "batch_size": 7, **by_time}),
        Fit(plain, (table, Y), {"optimizer": fn.Adam(SCHEDULE), **held, **by_time}),
        FitMany(tiny, {"seeds": 6, "cv": 2, "param_grid": grid, "epochs": 9}),
        FitMany(normed, {"seeds": 6, "epochs": 4, "validation_split": 0.2, "early_stopping": 2}),
    ]


@dataclass
class Report:
    """What was found.

    Attributes
    ----------
    inside : int
        Kills that left a temporary file, or a file that cannot be read: they fell into a write.
    unreadable : int
        Checkpoints that could not be read after a kill.
    different : int
        Runs whose result is not that of the run that was left alone, bit for bit.
    failed : int
        Runs that ended with an error.
    """

    kills: int = 0
    runs: int = 0
    inside: int = 0
    unreadable: int = 0
    different: int = 0
    failed: int = 0
    seconds: float = 0.0


def write_naively(path: Path, content: bytes) -> None:
    """Write a file under its own name, piece by piece, as most programs do."""
    with open(path, "wb", buffering=0) as file:
        for start in range(0, len(content), 64):
            file.write(content[start : start + 64])


def train(setup: Setup, folder: Path) -> None:
    """Train, going on from what is in the folder; leave all results in a file."""
    np.savez(folder / "result.npz", *setup.train(folder))


def start(setup: Setup, folder: Path) -> int:
    """Train in a process of its own."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            train(setup, folder)
            code = 0
        finally:
            os._exit(code)
    return child


def results(folder: Path) -> list[bytes]:
    with np.load(folder / "result.npz") as arrays:
        return [arrays[name].tobytes() for name in arrays.files]


def look(folder: Path, report: Report) -> None:
    """Count what a kill left behind."""
    unreadable = 0
    for file in (
        checkpoint_folder.Folder(folder / "run").files() if (folder / "run").exists() else []
    ):
        try:
            safetensors_file.unpack(file, "fastnet-checkpoint", "checkpoint", "a test")
        except ModelFileError:
            unreadable += 1
    report.unreadable += unreadable
    report.inside += bool(unreadable or list((folder / "run").glob(".*.tmp")))


def alone(setup: Setup) -> tuple[list[bytes], float]:
    """Train without a kill, in this process; return all results and the seconds that it takes.

    The fastest of several, when all is imported and compiled: children start from there.
    """
    fastest = math.inf
    for _ in range(4):
        if ENOUGH_SECONDS < fastest < math.inf:
            break
        with tempfile.TemporaryDirectory() as name:
            began = time.perf_counter()
            train(setup, Path(name))
            fastest = min(fastest, time.perf_counter() - began)
            found = results(Path(name))
    return found, fastest


def campaign(kills: int, seed: int, backends: list[str], *, first: bool, processes: bool) -> Report:
    """Kill so many times; with `first` only until a checkpoint cannot be read."""

    def enough() -> bool:
        return report.kills >= kills or (first and report.unreadable > 0)

    # Each batch is a span of its own, and no epochs are trained in one call.
    loop.FIRST_SPAN_FLOPS = loop.SPAN_SECONDS = stretches.SECONDS = 0
    chance, report, began = random.Random(seed), Report(), time.perf_counter()
    every = [one for backend in backends for one in _setups(backend, processes=processes)]
    setups = [(setup, *alone(setup)) for setup in every]
    while not enough():
        setup, expected, seconds = setups[report.runs % len(setups)]
        with tempfile.TemporaryDirectory() as name:
            folder, kills_here = Path(name), 0
            while True:
                child = start(setup, folder)
                time.sleep(chance.uniform(0, seconds))
                if not enough() and kills_here < MOST:
                    os.kill(child, signal.SIGKILL)
                _, status = os.waitpid(child, 0)
                if not os.WIFSIGNALED(status):
                    break
                report.kills, kills_here = report.kills + 1, kills_here + 1
                look(folder, report)
            report.runs += 1
            if status:
                report.failed += 1
            else:
                report.different += results(folder) != expected
    report.seconds = round(time.perf_counter() - began, 1)
    return report


def main() -> None:
    parser = argparse.ArgumentParser("python -m tools.kills", description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--writer", choices=("atomic", "naive"), default="atomic")
    parser.add_argument("--first", action="store_true", help="end with what cannot be read")
    parser.add_argument("--processes", action="store_true", help="populations in processes alone")
    parser.add_argument("--backends", default="numpy,numba")
    arguments = parser.parse_args()
    if arguments.writer == "naive":
        files.write_atomically = write_naively
    backends = arguments.backends.split(",")
    how = {"first": arguments.first, "processes": arguments.processes}
    report = campaign(arguments.kills, arguments.seed, backends, **how)
    print(json.dumps(asdict(report)))


if __name__ == "__main__":
    main()
