"""The compilers of this machine, and a folder where what they build may run.

Neither is a matter of course: a compiler may be missing, or be there and not work (without the
headers of its library, or as a stand-in that says how to install it), and the folder of temporary
files may be mounted so that no program in it runs.
"""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Final

import pytest

from tests.checkout import runs

NAMES: Final = {"C": ("CC", "gcc", "cc", "clang"), "C++": ("CXX", "g++", "c++", "clang++")}
"""For each language the variable that may name a compiler, and the names that are tried."""

_PROGRAMS: Final = {
    "C": '#include <math.h>\n#include <stdio.h>\nint main(void) { return puts("") < 0; }\n',
    "C++": "#include <cmath>\n#include <thread>\nint main() { return 0; }\n",
}


@cache
def compiler(language: str) -> str | None:
    """Return a compiler of "C" or "C++" whose programs run here, or None."""
    variable, *names = NAMES[language]
    place = program_place()
    for name in filter(None, [os.environ.get(variable), *names]):
        path = shutil.which(name)
        if path is None or place is None:
            continue
        with tempfile.TemporaryDirectory(dir=place) as scratch:
            program = Path(scratch, "program")
            source = program.with_suffix(".c" if language == "C" else ".cpp")
            source.write_text(_PROGRAMS[language], encoding="ascii")
            if runs(path, str(source), "-o", str(program), "-lm") and runs(str(program)):
                return path
    return None


def why_no(language: str) -> str | None:
    """Return why nothing can be compiled and run here, or None."""
    if program_place() is None:
        return "no folder for temporary files lets programs run"
    if compiler(language) is None:
        return f"no {language} compiler that works ({', '.join(NAMES[language][1:])})"
    return None


def build(language: str, arguments: Sequence[str], folder: Path) -> None:
    """Compile in `folder` what ``-o`` names, so that it can be run there; or skip the test.

    Where programs in `folder` may not run, it gets a link to the one that was built elsewhere.
    """
    reason = why_no(language)
    if reason is not None:
        pytest.skip(reason)
    command = [str(compiler(language)), *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    if not may_run_programs(folder):
        built = folder / arguments[arguments.index("-o") + 1]
        elsewhere = Path(tempfile.mkdtemp(prefix="fastnet-tests-", dir=program_place()))
        atexit.register(shutil.rmtree, elsewhere, ignore_errors=True)
        shutil.move(built, elsewhere)
        built.symlink_to(elsewhere / built.name)


@cache
def program_place() -> Path | None:
    """Return the first folder for temporary files in which programs may run, or None."""
    for name in (tempfile.gettempdir(), "/var/tmp", "/dev/shm", os.path.expanduser("~/.cache")):
        if may_run_programs(Path(name)):
            return Path(name)
    return None


def may_run_programs(folder: Path) -> bool:
    """Return whether a program can be put into this folder and started there."""
    try:
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            program = Path(scratch, "program")
            program.write_text("#!/bin/sh\n", encoding="ascii")
            program.chmod(0o700)
            return runs(str(program))
    except OSError:
        return False
