"""The examples that people read first pass mypy, strict: signatures say what the pages do."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.checkout import ROOT

pytest.importorskip("mypy")

PAGES = ("README.md", "docs/quickstart.md")
PYTHON = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)


MISSPELT = """
import fastnet as fn

fn.Dense(3, initializer="he_nromal")
net = fn.Network([2, 1], output_activation="sigmiod")
net.to("cuda")
net.fit([[1.0, 2.0]], [1.0], optimizer="adamax")
net.partial_fit([[1.0, 2.0]], [1.0], optimizer="lbfgs")
fn.tables.train({}, "y", loss="cross-entropy")
fn.load("model", backend="torch")
fn.export.export(net, "net.c", to="C")
"""
WRONG = "import fastnet as fn\n\nfn.Network([2, 1]).fit([[1.0, 2.0]], [1.0], shuffle='yes')\n"


def findings(code: dict[str, str], folder: Path) -> dict[str, str]:
    """Return what mypy says about programs by name, with the settings of the package."""
    for name, text in code.items():
        (folder / f"{name}.py").write_text(text, encoding="utf-8")
    config = ["--config-file", str(ROOT / "pyproject.toml"), "--follow-imports=silent"]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *config, *sorted(map(str, folder.glob("*.py")))],
        cwd=ROOT,
        env=os.environ | {"MYPYPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    return {name: "\n".join(x for x in lines if f"{name}.py:" in x) for name in code}


def test_the_examples_of_the_first_pages_are_typed_and_what_is_not_is_noticed(
    tmp_path: Path,
) -> None:
    blocks = {page: PYTHON.findall((ROOT / page).read_text(encoding="utf-8")) for page in PAGES}
    assert all(blocks.values())
    code = {Path(page).stem.lower(): "\n".join(found) for page, found in blocks.items()}
    # In one run: mypy reads the whole package in each.
    found = findings(code | {"wrong": WRONG, "misspelt": MISSPELT}, tmp_path)
    assert [found[page] for page in code] == [""] * len(code)
    assert 'Argument "shuffle"' in found["wrong"]
    refused = re.findall(
        r":(\d+): error: (?:Argument .* has incompatible type|No overload)", found["misspelt"]
    )
    assert [int(line) for line in refused] == list(range(4, 12))
