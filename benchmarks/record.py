"""``fastnet bench --record FILE``: everything of this machine in one file.

Each part is measured by a process of its own: libraries take the number of their threads from the
processors that they find when they are loaded. Variables that hold libraries back are not handed on
(``OPENBLAS_CORETYPE=Haswell`` halves NumPy's speed where there is AVX-512): a rival is to be at its
best.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from fastnet.benchmarks import machine
from fastnet.benchmarks.command import check_folder
from fastnet.utils.machine import cores

if TYPE_CHECKING:
    from rich.console import Console

FORMAT: Final = "fastnet-record/1"

CI: Final = "xor", "policy"
CI_CLOSE: Final = "width-17"
"""The networks of a quick record."""


def plan(processors: int, parts: Sequence[str], *, quick: bool) -> list[list[str]]:
    """Return the options of each ``fastnet bench`` that a record of these parts is made of."""
    few = [option for name in CI for option in ("--network", name)] if quick else []
    some = ["--network", CI_CLOSE] if quick else []
    counts = dict.fromkeys(("1", str(processors)))
    every = [
        *(["--part", "ladder", "--threads", count, *few] for count in counts),
        ["--part", "startup"],
        ["--part", "widths"],
        ["--part", "kernels", "--threads", "1"],
        ["--part", "learning", "--threads", str(processors)],
        *(["--part", "close", "--threads", count, *some] for count in counts),
    ]
    return [options for options in every if options[1] in parts]


def record(path: str, parts: Sequence[str], *, rivals: bool, quick: bool, console: Console) -> int:
    """Measure these parts and write them; return 1 when a contender failed its comparison.

    Raises
    ------
    InputError
        The file cannot be written.
    RuntimeError
        A part ended without a result.
    """
    check_folder(path)
    flags = ["--rivals"] * rivals + ["--quick"] * quick
    runs: list[dict[str, Any]] = []
    worst = 0
    try:
        for options in plan(cores(), parts, quick=quick):
            started = time.perf_counter()
            code, run = _measure([*options, *flags])
            worst = max(worst, code)
            runs.append(run)
            seconds = time.perf_counter() - started
            failed = ": a comparison failed, see the file" if code else ""
            console.print(f"{' '.join(options)}: {seconds:.0f} s{failed}", highlight=False)
    finally:
        # What was measured before an error, or before Ctrl-C, took minutes too.
        if runs:
            _write(path, runs, parts, quick)
            console.print(f"wrote {path}", highlight=False, markup=False)
    return worst


def _write(path: str, runs: list[dict[str, Any]], parts: Sequence[str], quick: bool) -> None:
    document = {
        "format": FORMAT,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "quick": quick,
        "parts": list(parts),
        "machine": runs[0]["machine"],
        "runs": runs,
    }
    text = json.dumps(_short(document), indent=1, allow_nan=False)
    Path(path).write_text(text + "\n", encoding="utf-8")


def _short(value: Any) -> Any:
    """Return it with numbers of six digits: nothing that was measured has more."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {name: _short(item) for name, item in value.items()}
    return [_short(item) for item in value] if isinstance(value, list) else value


def _measure(options: list[str]) -> tuple[int, dict[str, Any]]:
    """Return the exit code and the result of ``fastnet bench`` with these options."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "run.json")
        command = [sys.executable, "-m", "fastnet", "bench", *options, "--json", str(file)]
        free = {k: v for k, v in os.environ.items() if not k.startswith(machine.STEERING)}
        done = subprocess.run(command, capture_output=True, text=True, env=free, check=False)
        if not file.exists():
            raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
        result: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return done.returncode, result
