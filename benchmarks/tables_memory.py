"""Memory of training on a file that is larger than what training may take.

``python -m fastnet.benchmarks.tables_memory --gigabytes 4 --json results.json``

Makes a ``.npy`` file of random rows in a temporary folder, removed in any case; then a process of
its own trains on it for one epoch as `Chunks`, and reports the most memory it ever had (Linux:
``VmHWM``, mapped pages of the file included). That must stay below the model (parameters, moments,
gradients and activations), two blocks, and 200 MB; what the process had before it began to train,
for Python, NumPy and the compiled kernels, is given beside it.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import click
import numpy as np

import fastnet as fn
from fastnet.benchmarks import machine
from fastnet.data import Chunks
from fastnet.errors import FastNetError

FORMAT: Final = "fastnet-memory-bench/1"
COLUMNS: Final = 64
HIDDEN: Final = (64, 32)
BATCH: Final = 256
ALLOWANCE: Final = 200 * 2**20
"""What a process may have beside the model and two blocks."""


@dataclass(frozen=True)
class Report:
    """What one process measured, in bytes and seconds.

    Attributes
    ----------
    before, peak : int
        Memory of the process before training, and the most it ever had.
    model, blocks : int
        What the model and two blocks take.
    """

    file: int
    rows: int
    before: int
    peak: int
    model: int
    blocks: int
    seconds: float
    loss: float
    backend: str

    @property
    def limit(self) -> int:
        """The most that is allowed."""
        return self.model + self.blocks + ALLOWANCE


def make_file(path: Path, size: int) -> None:
    """Write a matrix of about `size` bytes; its last column follows from the others."""
    rows = size // (COLUMNS * 4)
    header = {"descr": "<f4", "fortran_order": False, "shape": (rows, COLUMNS)}
    rng = np.random.default_rng(0)
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for start in range(0, rows, 2**16):
            part = rng.standard_normal((min(2**16, rows - start), COLUMNS), dtype=np.float32)
            part[:, -1] = np.tanh(part[:, 0] + part[:, 1] * part[:, 2])
            part.tofile(file)


def memory(field: str) -> int:
    """Return a field of ``/proc/self/status``, in bytes."""
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise FastNetError(f"this system does not tell {field}.")


def train(path: Path, backend: str, chunk_rows: int | None) -> Report:
    """Train for one epoch and say what it took; for a process of its own."""
    made: dict[str, Any] = {"dtype": "float32", "backend": backend, "seed": 1}
    blocks = Chunks(path, target=-1, chunk_rows=chunk_rows)
    net = fn.Network([blocks.columns, *HIDDEN, 1], **made)
    # Loads the kernels, which are none of the training's memory.
    few = np.zeros((BATCH, blocks.columns), np.float32)
    fn.Network([blocks.columns, *HIDDEN, 1], **made).fit(few, few[:, 0], epochs=1)
    before = memory("VmRSS")
    started = time.perf_counter()
    history = net.fit(blocks, epochs=1, batch_size=BATCH)
    seconds = time.perf_counter() - started
    per_row = net.plan.width * 2 + net.inputs
    return Report(
        file=path.stat().st_size,
        rows=len(blocks),
        before=before,
        peak=memory("VmHWM"),
        model=4 * (4 * net.plan.size + per_row * BATCH),
        blocks=2 * blocks.chunk_rows * COLUMNS * 4,
        seconds=seconds,
        loss=history["loss"][-1],
        backend=net.backend,
    )


def measure(size: int, backend: str, chunk_rows: int | None) -> Report:
    """Make the file, train in a process of its own, and remove the file."""
    with tempfile.TemporaryDirectory(prefix="fastnet-memory-") as folder:
        path = Path(folder, "table.npy")
        make_file(path, size)
        command = [sys.executable, "-m", __spec__.name, "--train", str(path), "--backend", backend]
        command += [] if chunk_rows is None else ["--chunk-rows", str(chunk_rows)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise FastNetError(f"training failed: {done.stderr.strip()}")
    return Report(**json.loads(done.stdout.splitlines()[-1]))


@click.command()
@click.option("--gigabytes", type=click.FloatRange(min=0, min_open=True), default=4.0)
@click.option("--backend", default="auto")
@click.option("--chunk-rows", type=click.IntRange(1))
@click.option("--train", "path", type=click.Path(path_type=Path), hidden=True)
@click.option("--json", "file", type=click.Path(path_type=Path), help="Where to write it.")
def main(
    gigabytes: float, backend: str, chunk_rows: int | None, path: Path | None, file: Path | None
) -> None:
    """Measure the memory of training on a large file."""
    if path is not None:
        click.echo(json.dumps(asdict(train(path, backend, chunk_rows))))
        return
    report = measure(int(gigabytes * 2**30), backend, chunk_rows)
    for name in ("file", "before", "peak", "model", "blocks", "limit"):
        click.echo(f"{name:7} {getattr(report, name) / 2**20:9,.1f} MB")
    click.echo(f"{report.rows:,} rows in {report.seconds:.1f} s on {report.backend}")
    if file is not None:
        content = {"format": FORMAT, "machine": machine.describe(), "report": asdict(report)}
        file.write_text(json.dumps(content, indent=1) + "\n")
    if report.peak > report.limit:
        raise FastNetError(f"{report.peak:,} bytes are more than the limit of {report.limit:,}.")


if __name__ == "__main__":
    main()
