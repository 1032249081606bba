"""How float32 and float64 part: the command that measures it, on a short run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.checkout import ROOT
from tools import drift

EPS = {name: float(np.finfo(name).eps) for name in ("float32", "float64")}


def test_a_short_run_in_float32_stays_within_its_rounding_of_float64() -> None:
    """Each of the 45 steps rounds: the weights are apart, but not by more than their sum."""
    one, other = (drift.trace("tanh", "numpy", dtype, 1) for dtype in EPS)
    weights, loss = drift.distances(one, other)
    assert EPS["float64"] < weights[0] < 45 * EPS["float32"]
    assert loss[0] < 45 * EPS["float32"]


def test_another_batch_size_is_no_rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    one = drift.trace("tanh", "numpy", "float64", 1)
    monkeypatch.setattr(drift, "BATCH", 33)
    other = drift.trace("tanh", "numpy", "float64", 1)
    assert drift.distances(one, other)[0][0] > 45 * EPS["float32"]


def test_the_command_prints_each_pair_and_draws(tmp_path: Path) -> None:
    pytest.importorskip("numba", reason="Numba is not installed")
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    path = tmp_path / "drift.svg"
    command = [sys.executable, "-m", "tools.drift", "--epochs", "2", "--picture", str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    printed = done.stdout.splitlines()
    assert printed[0] == "2 epochs, 90 steps"
    assert len(printed) == 1 + 2 * len(drift.PAIRS)
    drawn = path.read_text(encoding="utf-8")
    assert all(name in drawn for name in drift.PAIRS)
