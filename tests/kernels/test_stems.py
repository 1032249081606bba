"""Files of the CPU and the CUDA kernels that hold the same formulas have the same stem."""

from __future__ import annotations

from pathlib import Path

import fastnet.kernels
from tests.checkout import ROOT

SHARED = {"activations", "losses", "norm", "optimizers", "random", "residual", "tiny"}
CPU, CUDA = ROOT / "kernels" / "cpu", ROOT / "kernels" / "cuda"


def stems(folder: Path, *kinds: str) -> set[str]:
    """Return the stems of a folder's files of these kinds."""
    return {path.stem for kind in kinds for path in folder.glob(f"*.{kind}")} - {"__init__"}


def test_these_stems_are_in_both_folders() -> None:
    assert stems(CPU, "py") & stems(CUDA, "cu", "cuh") == SHARED


def test_the_package_names_each_of_them() -> None:
    text = str(fastnet.kernels.__doc__)
    assert {name for name in stems(CPU, "py") if f"``{name}``" in text} == SHARED


def test_the_table_of_the_cpu_kernels_names_every_module() -> None:
    text = (CPU / "__init__.py").read_text(encoding="utf-8")
    named = {line.split("``")[1] for line in text.splitlines() if line.startswith("``")}
    assert named == stems(CPU, "py")
