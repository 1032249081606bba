"""Programs on several ranks of MPI, started by mpiexec."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.checkout import ROOT

BEGIN = """
import os, sys
import numpy as np
import fastnet as fn
from mpi4py import MPI
comm = MPI.COMM_WORLD
rng = np.random.default_rng(0)
X = rng.standard_normal((64, 5)).astype("f4")
Y = np.sin(X[:, 0])
own = slice(64 * comm.rank // comm.size, 64 * (comm.rank + 1) // comm.size)
net = fn.Network([5, 16, 1], activation="tanh", backend="numpy", seed=2)
"""


def mpiexec() -> str:
    beside = Path(sys.executable).parent / "mpiexec"
    found = str(beside) if beside.exists() else shutil.which("mpiexec")
    assert found, "mpiexec is missing: pip install mpich"
    return found


def start(ranks: int, folder: Path, *command: str) -> subprocess.Popen[str]:
    """Start a command on so many ranks; MPI's own files go into `folder`."""
    temporary = folder / "tmp"
    temporary.mkdir(exist_ok=True)
    environment = os.environ | {"TMPDIR": str(temporary), "PYTHONPATH": str(ROOT)}
    environment.pop("PYTHONUNBUFFERED", None)  # it would cut the lines of ranks into pieces
    return subprocess.Popen(
        [mpiexec(), "-n", str(ranks), sys.executable, *command],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )


def finished(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Return exit code, output and errors; fail if it hangs."""
    try:
        out, err = process.communicate(timeout=100)
    finally:
        process.kill()
    return process.returncode, out, err


def run(ranks: int, folder: Path, program: str) -> tuple[int, str, str]:
    """Run a program that begins with `BEGIN`."""
    (folder / "program.py").write_text(BEGIN + program, encoding="utf-8")
    return finished(start(ranks, folder, "program.py"))
