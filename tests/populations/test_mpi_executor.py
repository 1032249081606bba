"""Members that are trained by the ranks of an MPI run."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.checkout import ROOT
from tests.cli.calling import NUMPY, succeed

pytest.importorskip("mpi4py")

MPIEXEC = shutil.which("mpiexec", path=str(Path(sys.executable).parent)) or shutil.which("mpiexec")

pytestmark = pytest.mark.skipif(MPIEXEC is None, reason="there is no mpiexec")


def mpi(folder: Path, *program: str) -> subprocess.CompletedProcess[str]:
    assert MPIEXEC is not None
    call = [MPIEXEC, "-n", "3", sys.executable, "-m", *program]
    return subprocess.run(call, cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture
def options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    size = np.random.default_rng(0).normal(size=60)
    lines = [f"{a:.5f},{3 * a:.5f}" for a in size]
    Path("homes.csv").write_text("\n".join(["size,price", *lines, ""]), encoding="utf-8")
    how = ["--target", "price", "--epochs", "2", "--hidden", "4", "--folds", "3", "--json"]
    return ["cv", "homes.csv", *how, *NUMPY]


def test_ranks_train_the_trials_of_a_command(options: list[str], tmp_path: Path) -> None:
    done = mpi(tmp_path, "mpi4py.futures", "-m", "fastnet", *options, "--executor", "mpi")
    assert done.returncode == 0, done.stderr
    there: Any = json.loads(done.stdout)
    here = json.loads(succeed(*options))
    for one in (*here["trials"], *there["trials"]):
        one.pop("seconds")
    assert there["trials"] == here["trials"]


def test_a_run_without_ranks_that_serve_says_how_to_start_it(
    options: list[str], tmp_path: Path
) -> None:
    done = mpi(tmp_path, "fastnet", *options, "--executor", "mpi")
    assert done.returncode != 0
    assert "mpiexec -n 5 python -m mpi4py.futures PROGRAM" in done.stderr
