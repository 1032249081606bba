"""Start-up: whole Python processes, from nothing to an import or a first training."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import fastnet as fn
from fastnet.benchmarks.contenders import missing
from fastnet.benchmarks.report import Startup

FIRST_FIT: Final = (
    "import fastnet as fn\n"
    "net = fn.Network([2, 4, 2], activation='tanh', output_activation='softmax',"
    " backend={backend!r})\n"
    "net.fit([[0, 0], [0, 1], [1, 0], [1, 1]], [0, 1, 1, 0], epochs=1, batch_size=4)"
)

_RIVALS: Final = {
    "numba": "import numba",
    "onnxruntime": "import onnxruntime",
    "jax": "import jax",
    "sklearn": "from sklearn.neural_network import MLPClassifier",
    "torch": "import torch",
}


def run(code: str) -> float:
    """Run Python code in a new process with this one's fastnet; return the seconds it took.

    Raises
    ------
    RuntimeError
        It failed.
    """
    # An import of fastnet finds the one that runs here, installed or not.
    paths = str(Path(fn.__file__).parent.parent), os.environ.get("PYTHONPATH", "")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False
    )
    seconds = time.perf_counter() - start
    if done.returncode:
        raise RuntimeError(f"the process failed:\n{done.stderr[-2000:]}")
    return seconds


def cases(backends: Sequence[str], rivals: bool) -> dict[str, tuple[str, str]]:
    """Return what is started: its name, and (kind, code)."""
    found = {
        "import numpy": ("base", "import numpy"),
        "import fastnet": ("fastnet", "import fastnet"),
    }
    for name in backends:
        found[f"first fit, {name}"] = "fastnet", FIRST_FIT.format(backend=name)
    for module, code in _RIVALS.items() if rivals else ():
        if not missing([module]):
            found[f"import {module}"] = "rival", code
    return found


def measure(backends: Sequence[str], rivals: bool, runs: int) -> list[Startup]:
    """Return the fastest of several runs of each, taken in turn, after one that fills caches."""
    started = cases(backends, rivals)
    best: dict[str, float] = {}
    for turn in range(runs + 1):
        for what, (_, code) in started.items():
            seconds = run(code)
            if turn:
                best[what] = min(best.get(what, seconds), seconds)
    return [Startup(what, kind, 1e3 * best[what], runs) for what, (kind, _) in started.items()]
