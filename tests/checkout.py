"""The checkout that the tests run from, for tests of what is in it."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def program(*names: str) -> str | None:
    """Return the first of these programs that is on PATH and runs, or None.

    To be on PATH is not enough: version managers and systems put programs there that only say how
    to install the real one.
    """
    for name in names:
        path = shutil.which(name)
        if path is not None and runs(path, "--version"):
            return path
    return None


def runs(*command: str) -> bool:
    """Return whether a command can be started and succeeds."""
    try:
        done = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, check=False)
    except OSError:
        return False
    return done.returncode == 0


def tracked_files() -> list[str]:
    """Return the paths of all files that are, or are about to be, under version control."""
    command = ["git", "-c", "safe.directory=*", "ls-files", "-z"]
    command += ["--cached", "--others", "--exclude-standard"]
    try:
        listing = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError):
        if program("git") is None:
            pytest.skip("no git that works, to list the files of the checkout")
        pytest.skip("not a checkout: there is nothing to compare the distribution with")
    names = sorted(set(listing.stdout.split("\0")) - {""})
    return [name for name in names if os.path.lexists(ROOT / name)]
