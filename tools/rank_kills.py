"""Kill random ranks of MPI at random moments, go on from the checkpoints, and compare the bits.

``python -m tools.rank_kills --kills 100`` prints a line of JSON. Each launch has a random number of
ranks from 1 to 4, so that runs go on with other numbers than they began with. A launch that does
not end within its limit after a kill counts as hung.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
LIMIT = 60.0
"""Seconds for a launch: they take two where nobody is killed."""

PROGRAM = """
import os, sys
from pathlib import Path
import numpy as np
import fastnet as fn
from fastnet.training import loop
from mpi4py import MPI

comm = MPI.COMM_WORLD
loop.FIRST_SPAN_FLOPS = loop.SPAN_SECONDS = 0  # each batch is a span of its own
Path(f"rank{comm.rank}").write_text(str(os.getpid()))
rng = np.random.default_rng(0)
x = rng.standard_normal((96, 6))
y = np.sin(x @ [1.0, -1.0, 0.5, 0.0, 2.0, -0.3])
own = slice(96 * comm.rank // comm.size, 96 * (comm.rank + 1) // comm.size)
layers = [fn.Dense(24), fn.BatchNorm("relu"), fn.Dropout(0.3), fn.Dense(1)]
net = fn.Network(layers, inputs=6, backend="numpy")
history = net.fit(
    x[own], y[own], epochs=30, batch_size=16, validation_split=0.2, early_stopping=20,
    standardize=True, optimizer=fn.Adam(0.01), threads=1,
    checkpoint="run", checkpoint_every=sys.argv[1], resume=True, comm=comm,
)
if comm.rank == 0:
    arrays = [net.parameters, net.state, net.optimizer_state.moments]
    arrays += map(np.array, history.values())
    Path("result").write_bytes(b"".join(array.tobytes() for array in arrays))
"""


@dataclass
class Report:
    """What was found.

    Attributes
    ----------
    different : int
        Runs whose result is not that of the run that was left alone, bit for bit.
    failed, hung : int
        Launches that ended with an error though no rank was killed, and that did not end.
    slowest : float
        Seconds from a kill to the end of all ranks.
    """

    kills: int = 0
    runs: int = 0
    different: int = 0
    failed: int = 0
    hung: int = 0
    slowest: float = 0.0
    seconds: float = 0.0


def mpiexec() -> str:
    beside = Path(sys.executable).parent / "mpiexec"
    return str(beside) if beside.exists() else shutil.which("mpiexec") or "mpiexec"


def launch(folder: Path, ranks: int, every: str) -> subprocess.Popen[bytes]:
    for file in folder.glob("rank*"):
        file.unlink()
    return subprocess.Popen(
        [mpiexec(), "-n", str(ranks), sys.executable, "-c", PROGRAM, every],
        cwd=folder,
        env=os.environ | {"TMPDIR": str(folder), "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def numbers(folder: Path, ranks: int, process: subprocess.Popen[bytes]) -> list[int]:
    """Return the numbers of the processes of all ranks, as soon as they train."""
    while process.poll() is None:
        texts = [file.read_text(encoding="ascii") for file in folder.glob("rank*")]
        if len(texts) == ranks and all(texts):
            return [int(text) for text in texts]
        time.sleep(0.002)
    return []


def ended(process: subprocess.Popen[bytes], report: Report) -> int | None:
    """Return the exit code; None if it had to be ended."""
    try:
        return process.wait(LIMIT)
    except subprocess.TimeoutExpired:
        report.hung += 1
        process.kill()
        process.wait()
        return None


def digest(folder: Path) -> str:
    return hashlib.sha256((folder / "result").read_bytes()).hexdigest()


def campaign(kills: int, seed: int) -> Report:
    chance, report, began = random.Random(seed), Report(), time.perf_counter()
    expected: dict[str, str] = {}
    seconds = 0.3
    for every in ("1", "0.0001s"):
        with tempfile.TemporaryDirectory() as name:
            process = launch(Path(name), 2, every)
            numbers(Path(name), 2, process)
            start = time.perf_counter()
            if ended(process, report) == 0:
                expected[every] = digest(Path(name))
            seconds = time.perf_counter() - start
    while report.kills < kills and not report.hung:
        every = ("1", "0.0001s")[report.runs % 2]
        with tempfile.TemporaryDirectory() as name:
            folder, here = Path(name), 0
            while True:
                ranks = chance.randint(1, 4)
                process = launch(folder, ranks, every)
                found = numbers(folder, ranks, process)
                kills_it = report.kills < kills and here < 6
                if kills_it and found:
                    time.sleep(chance.uniform(0, 0.7 * seconds))
                    try:
                        os.kill(chance.choice(found), signal.SIGKILL)
                    except ProcessLookupError:
                        kills_it = False  # it was done already
                killed = time.perf_counter()
                code = ended(process, report)
                if kills_it and found and code != 0:
                    report.slowest = max(report.slowest, time.perf_counter() - killed)
                    report.kills, here = report.kills + 1, here + 1
                    if code is None:
                        break
                    continue
                report.failed += code != 0
                break
            report.runs += 1
            if code == 0:
                report.different += digest(folder) != expected.get(every)
    report.seconds = round(time.perf_counter() - began, 1)
    report.slowest = round(report.slowest, 2)
    return report


def main() -> None:
    parser = argparse.ArgumentParser("python -m tools.rank_kills", description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    print(json.dumps(asdict(campaign(arguments.kills, arguments.seed))))


if __name__ == "__main__":
    main()
