"""Random ranks are killed at random moments: the run ends with the bits of one left alone."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.checkout import ROOT


@pytest.mark.parametrize("kills", [5, pytest.param(100, marks=pytest.mark.slow)])
def test_runs_whose_ranks_are_killed_end_with_the_same_bits(kills: int) -> None:
    command = [sys.executable, "-m", "tools.rank_kills", "--kills", str(kills)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, encoding="utf-8")
    report = json.loads(done.stdout)
    assert report["kills"] == kills
    assert (report["different"], report["failed"], report["hung"]) == (0, 0, 0)
