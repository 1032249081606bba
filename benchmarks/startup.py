"""Start-up: whole Python processes, from nothing to an import or a first training."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import fastnet as fn
from fastnet.benchmarks.contenders import missing
from fastnet.benchmarks.reports.report import Startup

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

RUNS: Final = {False: 7, True: 2}
"""Runs of each by whether it is to be quick."""
COLD_RUNS: Final = {False: 3, True: 1}
"""Runs that compile everything take seconds each."""


@dataclass(frozen=True)
class Start:
    """What is started.

    Attributes
    ----------
    kind : {"base", "fastnet", "rival"}
    code : str
    cold : bool
        Whether each run begins with an empty cache of compiled kernels.
    """

    kind: str
    code: str
    cold: bool = False


def run(code: str, environment: Mapping[str, str] | None = None) -> float:
    """Run Python code in a new process with this one's fastnet; return the seconds it took.

    Raises
    ------
    RuntimeError
        It failed.
    """
    # An import of fastnet finds the one that runs here, installed or not.
    paths = str(Path(fn.__file__).parent.parent), os.environ.get("PYTHONPATH", "")
    path = os.pathsep.join(filter(None, paths))
    variables = {**os.environ, **(environment or {}), "PYTHONPATH": path}
    # As installed: with compiled modules on disk, as pip leaves them.
    variables.pop("PYTHONDONTWRITEBYTECODE", None)
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=variables, check=False
    )
    seconds = time.perf_counter() - start
    if done.returncode:
        raise RuntimeError(f"the process failed:\n{done.stderr[-2000:]}")
    return seconds


def run_cold(code: str) -> float:
    """Do the same with an empty cache of compiled kernels."""
    with tempfile.TemporaryDirectory() as folder:
        return run(code, {"FASTNET_CACHE_DIR": folder})


def has_llvm_code() -> bool:
    """Return whether the kernels' LLVM code is there, as in an installed wheel."""
    from fastnet.kernels.cpu import native, prepared

    sources = {name: native.source_of(name) for name in native.FOR_ALL}
    return all(prepared.find(name, "float32", source) for name, source in sources.items())


def cases(backends: Sequence[str], rivals: bool) -> dict[str, Start]:
    """Return what is started, by name."""
    found = {
        "import numpy": Start("base", "import numpy"),
        "import fastnet": Start("fastnet", "import fastnet"),
    }
    for name in backends:
        found[f"first fit, {name}"] = Start("fastnet", FIRST_FIT.format(backend=name))
    if "numba" in backends:
        state = "newly installed" if has_llvm_code() else "nothing compiled yet"
        code = FIRST_FIT.format(backend="numba")
        found[f"first fit, numba, {state}"] = Start("fastnet", code, cold=True)
    for module, code in _RIVALS.items() if rivals else ():
        if not missing([module]):
            found[f"import {module}"] = Start("rival", code)
    return found


def measure(
    backends: Sequence[str],
    rivals: bool,
    *,
    quick: bool,
    say: Callable[[str], None] = lambda text: None,
) -> list[Startup]:
    """Return the median of several runs of each, taken in turn.

    One more run before them fills caches, of the kernels and of the files; where the cache is to
    be empty, the files are there already.
    """
    started = cases(backends, rivals)
    seconds: dict[str, list[float]] = {what: [] for what in started}
    for turn in range(RUNS[quick] + 1):
        for what, start in started.items():
            say(f"start-up: {what}")
            if start.cold:
                if 1 <= turn <= COLD_RUNS[quick]:
                    seconds[what].append(run_cold(start.code))
            elif turn:
                seconds[what].append(run(start.code))
            else:
                run(start.code)
    return [
        Startup(what, start.kind, 1e3 * statistics.median(found), [1e3 * s for s in found])
        for (what, start), found in zip(started.items(), seconds.values(), strict=True)
    ]
