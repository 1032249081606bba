"""The checkout that the tests run from, for tests of what is in it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final

import pytest

ROOT = Path(__file__).resolve().parent.parent

PATIENCE: Final = 30.0
"""Seconds after which a program that has not answered a question hangs, on a busy machine too."""


def program(*names: str) -> str | None:
    """Return the first of these programs that is on PATH and tells its version, or None.

    To be on PATH is not enough: version managers and systems put programs there that only say how
    to install the real one.
    """
    for name in names:
        path = shutil.which(name)
        if path is not None and re.search(r"\d+\.\d+", said(path, "--version") or ""):
            return path
    return None


def said(*command: str) -> str | None:
    """Return what a command writes, or None where it cannot be started, fails or hangs."""
    # It writes to a file: what it started itself would keep a pipe open when it has been ended.
    with tempfile.TemporaryFile() as out:
        try:
            child = subprocess.Popen(
                command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=out,
                stderr=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip
        except OSError:
            return None
        try:
            code = child.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError, AttributeError):
                os.killpg(child.pid, 9)  # with all that it started
            child.kill()
            child.wait()
            return None
        out.seek(0)
        return None if code else out.read().decode("utf-8", errors="replace")


def runs(*command: str) -> bool:
    """Return whether a command can be started, and succeeds before long."""
    return said(*command) is not None


def tracked_files() -> list[str]:
    """Return the paths of all files that are, or are about to be, under version control."""
    command = ["git", "-c", "safe.directory=*", "ls-files", "-z"]
    listing = said(*command, "--cached", "--others", "--exclude-standard") or ""
    names = sorted(set(listing.split("\0")) - {""})
    if "pyproject.toml" not in names:
        if program("git") is None:
            pytest.skip("no git that works, to list the files of the checkout")
        pytest.skip("not a checkout: there is nothing to compare the distribution with")
    return [name for name in names if os.path.lexists(ROOT / name)]
