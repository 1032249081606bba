"""What fastnet says while it works: log records and warnings with a class, and nothing else."""

from __future__ import annotations

import ast
import inspect
import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import fastnet as fn
from fastnet.utils.warn import warn
from tests.checkout import ROOT
from tests.cli.calling import succeed

X = np.random.default_rng(0).standard_normal((20, 3))


def fit(**options: object) -> None:
    net = fn.Network([3, 4, 1], backend="numpy")
    net.fit(X, X[:, 0], epochs=2, **options)  # type: ignore[arg-type]


def test_training_is_logged(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    with caplog.at_level(logging.DEBUG, "fastnet"):
        fit(checkpoint=tmp_path)
        fit(checkpoint=tmp_path, resume=True)
    messages = [record.getMessage() for record in caplog.records]
    begins = "training on numpy begins: 20 rows, 2 epochs of 1 batches, 21 parameters"
    assert messages[0] == messages[-3] == begins
    assert messages[1].startswith("epoch 1: {'loss': ")
    assert "checkpoint of epoch 2 and 0 batches written" in messages
    assert messages[-2] == f"gone on from epoch 2 and 0 batches in {tmp_path}"
    assert messages[-1].startswith("training ended after ")
    assert {record.name.split(".")[0] for record in caplog.records} == {"fastnet"}
    assert max(record.levelno for record in caplog.records) == logging.INFO


def test_nothing_is_written_unless_it_is_asked_for() -> None:
    program = (
        "import numpy as np, fastnet as fn\n"
        "fn.Network([3, 1], backend='numpy').fit(np.zeros((4, 3)), np.zeros(4))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert (done.stdout, done.stderr) == ("", "")


def warnings_given(text: str) -> list[tuple[str, str]]:
    """Return the function and the category of each call that warns; "" where it names none."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("warn", "warnings.warn"):
            named = [k.value for k in node.keywords if k.arg == "category"]
            category = named[0] if named else node.args[1] if len(node.args) > 1 else None
            name = "" if category is None else ast.unparse(category).split(".")[-1]
            found.append((ast.unparse(node.func), name))
    return found


def test_every_warning_has_a_class_that_can_be_filtered_and_points_at_the_caller() -> None:
    given = {
        (path.relative_to(ROOT).as_posix(), *call)
        for folder in ("fastnet", "kernels")
        for path in (ROOT / folder).rglob("*.py")
        for call in warnings_given(path.read_text(encoding="utf-8"))
    }
    # All but one go through `warn`, whose class is `FastNetWarning` if they name none. Kernels
    # import nothing of fastnet.
    given.remove(("fastnet/utils/warn.py", "warnings.warn", "category"))
    assert all(function == "warn" for path, function, _ in given if path.startswith("fastnet/"))
    assert inspect.signature(warn).parameters["category"].default is fn.FastNetWarning
    classes = {name for _, function, name in given if name or function == "warnings.warn"}
    assert "UserWarning" not in classes
    assert all(name.endswith("Warning") for name in classes)
    for name in ("CheckpointWarning", "ResumeWarning"):
        assert issubclass(getattr(fn, name), fn.FastNetWarning)


def test_a_warning_by_another_way_is_found() -> None:
    assert warnings_given("import warnings\nwarnings.warn('x')\n") == [("warnings.warn", "")]
    assert warnings_given("warn('x', fn.AWarning)\n") == [("warn", "AWarning")]


def test_a_report_of_a_bug_has_what_is_needed() -> None:
    content = json.loads(succeed("backends", "--json"))
    assert {"fastnet", "python", "cores", "blas", "limits"} <= set(content["machine"])
    assert set(content["backends"]) == {"numpy", "numba", "cupy"}
    assert all("details" in b or "reason" in b for b in content["backends"].values())
