"""What `tools.matrix` goes through; the run itself needs a package index, and minutes."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from itertools import cycle
from pathlib import Path

import pytest

from tests.checkout import ROOT
from tools import matrix


def test_the_lowest_versions_are_those_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    names = [each.partition(">=")[0] for each in project["project"]["dependencies"]]
    pinned = dict(each.split("==") for each in matrix.lowest(project))
    assert list(pinned) == names
    assert all(version[0].isdigit() for version in pinned.values())


def test_each_named_test_is_there() -> None:
    names = matrix.TESTS + matrix.ESTIMATORS
    assert all((ROOT / "tests" / f"{name}.py").is_file() for name in names)


def test_there_is_an_environment_for_the_lowest_and_the_newest_scikit_learn() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    made = {each.name: each for each in matrix.environments(["python3"], project)}
    assert list(made)[:2] == ["lowest", "newest"]
    least = next(e for e in project["project"]["optional-dependencies"]["sklearn"] if "scikit" in e)
    version = least.partition(">=")[2]
    assert f"scikit-learn=={version}.*" in made[f"scikit-learn-{version}"].requirements
    assert not any("==" in each for each in made["scikit-learn-newest"].requirements)


def test_each_python_that_is_found_is_new_enough() -> None:
    program = "import sys; print(sys.version_info >= (3, 11))"
    for python in matrix.pythons():
        done = subprocess.run([python, "-c", program], capture_output=True, text=True, check=True)
        assert done.stdout == "True\n"


def test_a_program_that_is_no_python_is_not_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As pyenv leaves on PATH for each version that it knows and that was not chosen, and worse."""
    minor = sys.version_info.minor
    real = tmp_path / f"python3.{minor}"
    real.symlink_to(sys.executable)
    scripts = cycle(["echo not installed >&2; exit 127", "echo nonsense", ""])
    for other, script in zip({11, 12, 13, 14} - {minor}, scripts, strict=False):
        shim = tmp_path / f"python3.{other}"
        shim.write_text(f"#!/bin/sh\n{script}\n")
        shim.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "none"))
    assert list(matrix.pythons()) == [str(real)]


def test_an_environment_that_fails_says_why(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    failed = subprocess.CompletedProcess([], 1, "No matching distribution")
    monkeypatch.setattr(matrix, "call", lambda *command, **changes: failed)
    environment = matrix.Environment(sys.executable)
    well, text = matrix.try_out(environment, tmp_path)
    assert (well, text.strip()) == (False, "No matching distribution")
