"""No kernel reads or writes outside its arrays: see `tools.guard_pages`."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from tests.checkout import ROOT

pytest.importorskip("numba", reason="Numba is not installed")

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="protects pages by mprotect")


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tools.guard_pages", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_every_width_stays_within_its_arrays() -> None:
    done = run()
    assert (done.returncode, done.stdout) == (
        0,
        "widths 1 to 100: nothing outside was touched\n",
    ), done.stderr


def test_one_element_beyond_is_noticed() -> None:
    assert run("--beyond").returncode == -signal.SIGSEGV
