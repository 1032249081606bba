"""``mpiexec -n N fastnet train --distributed``: the model file has the same bytes for any N."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from tests.cli import calling
from tests.distributed import launched

TRAIN = ("-m", "fastnet", "train", "rows.csv", "--target", "kind", "--distributed")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    numbers, letters = rng.standard_normal((240, 3)), rng.choice(["x", "y"], 240)
    kinds = np.where(numbers[:, 0] > (letters == "x"), "high", "low")
    rows = [
        ",".join([*(f"{value:.6f}" for value in row), letter, kind])
        for row, letter, kind in zip(numbers, letters, kinds, strict=True)
    ]
    (tmp_path / "rows.csv").write_text("\n".join(["a,b,c,letter,kind", *rows]), encoding="utf-8")
    return tmp_path


def train(ranks: int, folder: Path, *options: str) -> tuple[bytes, str]:
    command = (*TRAIN, "--epochs", "6", "--validation", "0.2", *options)
    code, out, err = launched.finished(launched.start(ranks, folder, *command))
    assert (code, err) == (0, ""), err
    return (folder / "model.safetensors").read_bytes(), out


def test_the_number_of_processes_changes_no_byte_of_the_model(folder: Path) -> None:
    alone, said = train(1, folder, "--log", "log.jsonl", "--seed", "3")
    assert "processes  1\n" in said
    two, said = train(2, folder, "--seed", "3")
    assert two == alone
    assert said.count("validation accuracy") == 1
    assert len((folder / "log.jsonl").read_text(encoding="utf-8").splitlines()) == 6
    assert train(2, folder, "--seed", "4")[0] != alone


def test_arrays_that_every_process_loads(folder: Path) -> None:
    x = np.random.default_rng(1).standard_normal((90, 4))
    np.savez(folder / "rows.npz", x=x, y=(x[:, 0] > 0).astype(int))
    models = []
    for ranks in (1, 2):
        command = ("-m", "fastnet", "train", "rows.npz", "--distributed", "--epochs", "2")
        code, _, err = launched.finished(launched.start(ranks, folder, *command, "--quiet"))
        assert (code, err) == (0, "")
        models.append((folder / "model.safetensors").read_bytes())
    assert models[0] == models[1]


def test_a_killed_process_ends_all_and_the_run_goes_on_with_another_number(folder: Path) -> None:
    kept = ("--checkpoint", "run", "--checkpoint-every", "1", "--epochs", "40")
    expected, _ = train(1, folder, "--checkpoint", "whole", "--epochs", "40")
    command = (*TRAIN, "--validation", "0.2", *kept, "--epochs", "40")
    program = "import os, runpy, sys; sys.argv[0] = 'fastnet'; "
    program += "open(f'process-{os.getpid()}', 'w', encoding='ascii').close(); "
    program += "runpy.run_module('fastnet', run_name='__main__')"
    process = launched.start(2, folder, "-c", program, *command[2:])
    while not list((folder / "run").glob("checkpoint-*")) and process.poll() is None:
        time.sleep(0.01)
    numbers = [int(file.name.partition("-")[2]) for file in folder.glob("process-*")]
    assert len(numbers) == 2
    os.kill(numbers[1], signal.SIGKILL)
    code, _, _ = launched.finished(process)
    assert code != 0
    assert train(3, folder, *kept, "--resume")[0] == expected


def test_an_error_is_a_line_of_every_process(folder: Path) -> None:
    command = (*TRAIN, "--checkpoint", "rows.csv/run", "--epochs", "2")
    code, _, err = launched.finished(launched.start(2, folder, *command))
    assert code == 1
    lines = [line for line in err.splitlines() if line.startswith("fastnet: error: ")]
    assert len(lines) == 2
    assert any("rank 0 failed, and all ranks end: CheckpointError: " in line for line in lines)


@pytest.mark.parametrize(
    "options",
    [
        ("--parts", "8"),
        ("--distributed", "--calibrate", "--validation", "0.2"),
        ("--distributed", "--n-estimators", "3"),
        ("--distributed", "--html", "page.html"),
        ("--distributed", "--optimizer", "lbfgs"),
    ],
)
def test_options_that_do_not_go_with_it_are_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...]
) -> None:
    monkeypatch.chdir(folder)
    result = calling.run("train", "rows.csv", "--target", "kind", *options)
    assert result.exit_code == 2
    assert "--distributed" in result.stderr


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_ends_all_with_a_checkpoint(folder: Path, name: str) -> None:
    log = folder / "log.jsonl"
    command = (*TRAIN, "--epochs", "99999", "--checkpoint", "run", "--checkpoint-every", "1h")
    process = launched.start(2, folder, *command, "--log", "log.jsonl", "--quiet")
    while not (log.exists() and log.stat().st_size) and process.poll() is None:
        time.sleep(0.01)
    number = getattr(signal, name)
    process.send_signal(number)
    code, _, err = launched.finished(process)
    assert code == 128 + number
    assert ("the model is saved" if name == "SIGINT" else "no model was saved") in err
    assert len(list((folder / "run").glob("checkpoint-*"))) == 1
