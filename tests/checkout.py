"""The checkout that the tests run from, for tests of what is in it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def tracked_files() -> list[str]:
    """Return the paths of all files that are, or are about to be, under version control."""
    command = ["git", "-c", "safe.directory=*", "ls-files", "-z"]
    command += ["--cached", "--others", "--exclude-standard"]
    try:
        listing = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a checkout: there is nothing to compare the distribution with")
    names = sorted(set(listing.stdout.split("\0")) - {""})
    return [name for name in names if os.path.lexists(ROOT / name)]
