"""The layers of pyproject.toml hold, and what breaks them is found."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.checkout import ROOT

pytest.importorskip("importlinter", reason="import-linter is not installed")

LINT = "from importlinter.cli import lint_imports; raise SystemExit(lint_imports(no_cache=True))"
TOP_FILES = 8
"""Most files beside the folders of the package."""


def lint(folder: Path) -> tuple[int, str]:
    """Return the exit status of import-linter on the checkout in a folder, and what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", LINT],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the package and of the contracts."""
    ignored = shutil.ignore_patterns("__pycache__", "*.npz", "*.json", "*.md", "*.txt")
    shutil.copytree(ROOT / "fastnet", tmp_path / "fastnet", ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def adding(name: str, *lines: str) -> Callable[[Path], None]:
    """Return what adds lines to a file of the package, or makes the file."""

    def change(package: Path) -> None:
        with open(package / name, "a", encoding="utf-8") as file:
            file.write("\n".join(["", *lines, ""]))

    return change


OFFENDERS = {
    "an upward import": (
        adding("nn/plan.py", "import fastnet.network"),
        "fastnet.nn.plan -> fastnet.network",
    ),
    "an upward import for typing": (
        adding(
            "nn/batch.py",
            "from typing import TYPE_CHECKING",
            "if TYPE_CHECKING:",
            "    from fastnet.network import Network",
        ),
        "fastnet.nn.batch -> fastnet.network",
    ),
    "an upward import in a function": (
        adding("utils/files.py", "def load():", "    from fastnet.model import Model"),
        "fastnet.utils.files -> fastnet.model",
    ),
    "a sideways import": (
        adding("data/text.py", "import fastnet.nn.plan"),
        "fastnet.data.text -> fastnet.nn.plan",
    ),
    "a file outside every layer": (adding("odd.py", "X = 1"), "- fastnet.odd"),
    "a folder outside every layer": (
        lambda package: [(package / "even").mkdir(), adding("even/__init__.py")(package)],
        "- fastnet.even",
    ),
}
"""Each with the line that says so."""


def test_the_layers_hold_and_no_files_are_in_a_circle(checkout: Path) -> None:
    status, printed = lint(checkout)
    assert status == 0, printed
    assert "2 kept, 0 broken" in printed


def test_what_breaks_the_layers_is_found(checkout: Path) -> None:
    for offend, _ in OFFENDERS.values():
        offend(checkout / "fastnet")
    status, printed = lint(checkout)
    assert status != 0
    assert "Each room imports only from storeys below it BROKEN" in printed
    assert [name for name, (_, said) in OFFENDERS.items() if said not in printed] == []


def test_a_circle_among_files_is_found(checkout: Path) -> None:
    adding("utils/files.py", "import fastnet.utils.memory")(checkout / "fastnet")
    adding("utils/memory.py", "import fastnet.utils.files")(checkout / "fastnet")
    status, printed = lint(checkout)
    assert status != 0
    assert "No circles among files BROKEN" in printed


def files_beside_the_folders(package: Path) -> list[str]:
    return sorted(path.name for path in package.iterdir() if path.is_file())


def test_few_files_lie_beside_the_folders_of_the_package(checkout: Path) -> None:
    assert len(files_beside_the_folders(ROOT / "fastnet")) <= TOP_FILES
    adding("odd.py")(checkout / "fastnet")
    assert "odd.py" in files_beside_the_folders(checkout / "fastnet")
