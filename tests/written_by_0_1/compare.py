"""Tells where this version, on this machine, gives other bits than those that are recorded.

On the machine that ran `make.py` all of them should be the same, and a change that keeps what is
computed keeps them so; elsewhere the last bits may differ, within what the tests allow::

    python -m tests.written_by_0_1.compare
"""

from __future__ import annotations

import shutil
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import fastnet as fn
from tests.written_by_0_1 import contents
from tests.written_by_0_1.replays import COMMANDS, FITS, WRITERS
from tests.written_by_0_1.test_written_by_0_1 import (
    BACKENDS,
    HERE,
    MODELS,
    copied,
    expected,
    go_on,
    load,
    rows,
)

Pair = tuple[str, Any, Any]


def of_models() -> Iterator[Pair]:
    """Yield what is compared of each model: its name, the array here, the one recorded."""
    for name in MODELS:
        recorded = expected(name)
        for backend in BACKENDS:
            net = load(name, backend)
            given, found = contents.encoded(net, rows(name))
            found |= contents.held(net) | {backend: net.predict(given)}
            if f"{backend}.std" in recorded:
                found[f"{backend}.std"] = net.predict(given, return_std=True)[1]
            for key, values in found.items():
                yield f"{name}: {key}", values, recorded.get(key, np.zeros(0))


def of_runs() -> Iterator[Pair]:
    """Yield likewise what each run with checkpoints ends with."""
    for name in (*FITS, *COMMANDS):
        backend = WRITERS.get(name, "numba")
        with tempfile.TemporaryDirectory() as work:
            folder = copied(name, Path(work))
            if name in FITS:
                net = go_on(name, folder, backend)
            else:
                shutil.copyfile(HERE / "checkpoints" / name / "rows.csv", f"{work}/rows.csv")
                net, _ = COMMANDS[name].run(Path(work), backend, "--resume")
        with np.load(HERE / "checkpoints" / name / "expected.npz") as recorded:
            for key, values in recorded.items():
                record = key.removeprefix("history.")
                is_record = record != key and net.history is not None
                found = net.history[record] if is_record else getattr(net, key)
                yield f"{name}: {key}", np.array(found), values


def main() -> None:
    """Print what differs, and how many arrays do."""
    warnings.simplefilter("ignore", fn.ResumeWarning)
    for what, pairs in (("models", of_models()), ("runs", of_runs())):
        count = other = 0
        for name, found, recorded in pairs:
            count += 1
            if found.tobytes() != recorded.tobytes():
                other += 1
                print(f"{name}: at most {np.abs(found - recorded).max():.3g} apart")
        print(f"{what}: {count} arrays, {other} with other bits")


if __name__ == "__main__":
    main()
