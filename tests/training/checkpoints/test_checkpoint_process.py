"""Checkpoints and processes that are killed, interrupted or terminated."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastnet.training.checkpoints.folder import Folder
from tests.checkout import ROOT
from tests.on_backends import each_backend_in_children

pytestmark = pytest.mark.skipif(os.name != "posix", reason="POSIX signals and fork")

ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT)}


def kill(kills: int, tmp_path: Path, *options: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "tools.kills", "--kills", str(kills), *options],
        cwd=ROOT,
        env=ENVIRONMENT | {"TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    return report


@pytest.mark.parametrize("kills", [24, pytest.param(200, marks=pytest.mark.slow)])
def test_runs_killed_at_random_moments_end_with_the_same_bits(kills: int, tmp_path: Path) -> None:
    report = kill(kills, tmp_path)
    assert (report["kills"], report["unreadable"]) == (kills, 0)
    assert report["runs"] > 0
    assert (report["different"], report["failed"]) == (0, 0)


@pytest.mark.parametrize("kills", [4, pytest.param(60, marks=pytest.mark.slow)])
def test_a_killed_parent_of_processes_loses_no_member_and_trains_none_again(
    kills: int, tmp_path: Path
) -> None:
    report = kill(kills, tmp_path, "--processes", "--backends", "numpy")
    assert report["kills"] == kills
    assert (report["different"], report["failed"]) == (0, 0)


def test_the_same_kills_find_a_naive_writer(tmp_path: Path) -> None:
    report = kill(80, tmp_path, "--writer", "naive", "--first", "--backends", "numpy")
    assert report["unreadable"] > 0


# --- fastnet train --------------------------------------------------------------------------------

TRAIN = ["train", "table.csv", "--target", "y", "--hidden", "16,16", "--batch-size", "8"]
TRAIN += ["--schedule", "constant"]  # a cosine depends on the number of epochs
TRAIN += ["--early-stopping", "10000", "--dropout", "0.1", "--checkpoint", "run", "--epochs"]


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A folder with a table in it."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 3))
    rows = [f"{a},{b},{c},{a - b * c}\n" for a, b, c in x.tolist()]
    (tmp_path / "table.csv").write_text("a,b,c,y\n" + "".join(rows))
    return tmp_path


def command(folder: Path, *args: str) -> list[str]:
    return [sys.executable, "-m", "fastnet", *args, "--out", str(folder / "m.safetensors")]


def interrupt(folder: Path, number: int, *options: str) -> tuple[int, str]:
    """Start a training that takes long, send a signal in its midst; return code and messages."""
    process = subprocess.Popen(
        command(folder, *TRAIN, "1000000", *options),
        cwd=folder,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell that starts tests in the background would have it ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        while line and not line.startswith("epoch="):
            line = process.stdout.readline()
        time.sleep(0.05)
        process.send_signal(number)
        _, error = process.communicate(timeout=60)
    finally:
        process.kill()
    return process.returncode, error


@each_backend_in_children
@pytest.mark.parametrize(
    ("number", "code", "word"),
    [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")],
    ids=["SIGINT", "SIGTERM"],
)
def test_a_signal_writes_a_checkpoint_and_resume_ends_with_the_same_bits(
    number: int, code: int, word: str, backend: str, table: Path
) -> None:
    options = ("--backend", backend)
    returned, error = interrupt(table, number, *options, "--checkpoint-every", "1h")
    assert returned == code, error
    assert f"fastnet: {word}" in error
    assert "with --resume" in error
    assert "Traceback" not in error
    (file,) = Folder(table / "run").files()
    # Twice as many as were done, to end in reasonable time.
    epochs = str(2 * (int(file.name[11:21]) // 34 + 1))
    resumed = command(table, *TRAIN, epochs, *options, "--resume", "--quiet")
    subprocess.run(resumed, cwd=table, env=ENVIRONMENT, check=True, capture_output=True)
    again = (table / "m.safetensors").read_bytes()
    (table / "alone").mkdir()
    (table / "alone" / "table.csv").write_bytes((table / "table.csv").read_bytes())
    alone = command(table / "alone", *TRAIN, epochs, *options, "--quiet")
    subprocess.run(alone, cwd=table / "alone", env=ENVIRONMENT, check=True, capture_output=True)
    assert again == (table / "alone" / "m.safetensors").read_bytes()


def test_sigterm_without_checkpoints_ends_training_as_ever(table: Path) -> None:
    args = [arg for arg in TRAIN if arg not in ("--checkpoint", "run")]
    process = subprocess.Popen(
        command(table, *args, "1000000", "--backend", "numpy"),
        cwd=table,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        while not process.stdout.readline().startswith("epoch="):
            pass
        process.terminate()
        process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == -signal.SIGTERM


def test_what_a_run_needs_is_said_and_an_earlier_one_is_not_overwritten(table: Path) -> None:
    alone = [arg for arg in TRAIN if arg not in ("--checkpoint", "run")]
    calls = [
        ([*alone, "2", "--resume"], 2, "--resume goes with --checkpoint only"),
        ([*alone, "2", "--checkpoint-every", "3"], 2, "--checkpoint-every goes with --checkpoint"),
        ([*TRAIN, "2", "--backend", "numpy"], 0, ""),
        ([*TRAIN, "2", "--backend", "numpy"], 1, "run has the checkpoints of a run"),
    ]
    for args, code, message in calls:
        done = subprocess.run(
            command(table, *args),
            cwd=table, env=ENVIRONMENT, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert (done.returncode, message in done.stderr) == (code, True)
