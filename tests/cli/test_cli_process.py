"""The command line as a process: errors, signals, pipes, locales."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest

import fastnet as fn
from fastnet.cli.commands import info
from tests.cli.calling import refused, run

ENVIRONMENT = os.environ | {"PYTHONPATH": str(Path(fn.__file__).parents[1])}
FASTNET = (sys.executable, "-m", "fastnet")

posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals and pipes")


def process(*args: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [*FASTNET, *args], cwd=cwd, env=ENVIRONMENT | environment, capture_output=True, timeout=60
    )


@pytest.fixture
def model(empty_folder: Path) -> str:
    """A small model of the digits' shape."""
    fn.Network([64, 10], output_activation="softmax", backend="numpy").save("m.safetensors")
    return "m.safetensors"


# --- errors ---------------------------------------------------------------------------------------

ERRORS = [
    (["train", "nosuch.csv", "--target", "y"], "nosuch.csv"),
    (["train", "digit"], "did you mean 'digits'?"),
    (["train", "."], "is not a file"),
    (["train", "table.csv", "--target", "sped"], "no column 'sped'; did you mean 'speed'?"),
    (["train", "table.csv"], "name the column to learn. Columns: time, speed."),
    (["train", "table.csv", "--target", "time", "--task", "regression"], "row 2"),
    (["info", "nosuch.safetensors"], "nosuch.safetensors does not exist"),
    (["info", "table.csv"], "table.csv is not a fastnet model"),
    (["info", "foreign.safetensors"], "it has no description of a network"),
    (["info", "damaged.safetensors"], "is damaged"),
    (["evaluate", "nosuch", "digits"], "nosuch does not exist"),
    (["predict", "table.csv", "digits"], "table.csv is not a fastnet model"),
    (["export", "nosuch", "--to", "numpy"], "nosuch does not exist"),
    (["bench", "--json", "nowhere/x.json"], "there is no folder 'nowhere'"),
]


@pytest.fixture
def bad_files(model: str) -> None:
    from safetensors.numpy import save_file

    Path("table.csv").write_text("time,speed\n1,2\nx,3\n3,4\n", encoding="utf-8")
    save_file({"w": fn.load(model, backend="numpy").parameters}, "foreign.safetensors")
    content = bytearray(Path(model).read_bytes())
    content[-1] ^= 1
    Path("damaged.safetensors").write_bytes(content)


@pytest.mark.parametrize(("args", "problem"), ERRORS, ids=[" ".join(a) for a, _ in ERRORS])
def test_an_error_is_one_line_and_exit_code_1(
    args: list[str], problem: str, bad_files: None
) -> None:
    said = refused(*args)
    assert problem in said
    assert "Traceback" not in said


@pytest.mark.parametrize("args", [["--debug", "info", "no"], ["info", "no", "--debug"]])
def test_debug_shows_where_an_error_came_from(args: list[str], empty_folder: Path) -> None:
    done = process(*args, cwd=empty_folder)
    assert done.returncode == 1
    assert done.stderr.startswith(b"Traceback")
    assert b"ModelFileError: no does not exist" in done.stderr


def test_an_error_of_fastnets_own_making_shows_its_traceback(
    monkeypatch: pytest.MonkeyPatch, model: str
) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(info, "load_predictor", fail)
    assert isinstance(run("info", model).exception, ZeroDivisionError)


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (MemoryError("Unable to allocate 7 TiB"), "there is not enough memory. Unable to allocate"),
        (OSError(28, "No space left on device", "m"), "m: No space left on device."),
        (OSError(5, "Input/output error"), "Input/output error."),
        (fn.InputError("two\nlines \x1b[0m"), "two lines \\x1b[0m"),
    ],
)
def test_errors_of_the_system_are_one_line_too(
    error: Exception, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise error

    monkeypatch.setattr(info, "load_predictor", fail)
    assert refused("info", "m").startswith(f"fastnet: error: {line}")


def test_a_warning_of_fastnet_is_one_line(monkeypatch: pytest.MonkeyPatch, model: str) -> None:
    load = info.load_predictor

    def warn_and_load(path: str, backend: Any) -> Any:
        warnings.warn("the cache is read-only.", fn.FastNetWarning, stacklevel=2)
        return load(path, backend)

    monkeypatch.setattr(info, "load_predictor", warn_and_load)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        before = warnings.showwarning
        result = run("info", model)
        assert warnings.showwarning is before
    assert result.exit_code == 0
    assert result.stderr == "fastnet: warning: the cache is read-only.\n"


# --- signals and pipes ----------------------------------------------------------------------------


@posix
def test_ctrl_c_saves_the_model_and_ends_with_130(empty_folder: Path) -> None:
    args = ("train", "digits", "--epochs", "1000000", "--backend", "numpy", "--log", "l.jsonl")
    with subprocess.Popen(
        [*FASTNET, *args],
        cwd=empty_folder,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Ignored signals are inherited, and a shell ignores this one for what it runs behind.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as running:
        assert running.stdout is not None
        for line in running.stdout:
            if line.startswith("epoch=3 "):
                break
        running.send_signal(signal.SIGINT)
        rest, errors = running.communicate(timeout=30)
    assert running.returncode == 130
    assert errors.startswith("fastnet: interrupted in epoch ")
    assert errors.endswith("; the model is saved.\n")
    assert errors.count("\n") == 1
    assert "test accuracy " in rest
    assert "model model.safetensors" in rest
    assert len(fn.History.read("l.jsonl").epochs) >= 3
    net = fn.load("model.safetensors", backend="numpy")
    assert net.is_finite()


def test_ctrl_c_in_the_middle_of_a_step_saves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*args: object, **kwargs: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(fn.Network, "fit", interrupt)
    result = run("train", "digits", "--backend", "numpy")
    assert result.exit_code == 130
    assert result.stderr == "fastnet: interrupted; no model was saved.\n"
    assert not Path("model.safetensors").exists()


def test_ctrl_c_does_not_come_between_a_model_and_its_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    save = fn.Network.save

    def save_under_fire(self: fn.Network, path: Path) -> None:
        signal.raise_signal(signal.SIGINT)
        save(self, path)

    monkeypatch.setattr(fn.Network, "save", save_under_fire)
    before = signal.getsignal(signal.SIGINT)
    assert run("train", "digits", "--epochs", "1", "--backend", "numpy").exit_code == 0
    assert signal.getsignal(signal.SIGINT) is before
    assert Path("model.safetensors").exists()


def test_ctrl_c_elsewhere_ends_with_130(monkeypatch: pytest.MonkeyPatch, model: str) -> None:
    def interrupt(*args: object, **kwargs: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(info, "load_predictor", interrupt)
    result = run("info", model)
    assert result.exit_code == 130
    assert result.stderr == "fastnet: interrupted.\n"


@posix
@pytest.mark.parametrize(
    "command", ["info m.safetensors", "predict m.safetensors digits --split train --out -"]
)
def test_a_closed_pipe_is_no_error_to_speak_of(
    command: str, model: str, empty_folder: Path
) -> None:
    done = subprocess.run(
        f'"$PYTHON" -m fastnet {command} --backend numpy | head -n 1'.replace(
            " --backend numpy", "" if command.startswith("info") else " --backend numpy"
        ),
        shell=True, cwd=empty_folder, env=ENVIRONMENT | {"PYTHON": sys.executable},
        capture_output=True, timeout=60,
    )  # fmt: skip
    assert done.stderr == b""
    assert done.stdout.count(b"\n") == 1


# --- locales --------------------------------------------------------------------------------------


# Commands one after the other in one process, for which they read its arguments anew.
SEVERAL = """
import json, sys
from fastnet import cli
for words in json.loads(sys.argv.pop()):
    sys.argv[1:] = words
    try:
        cli.main()
    except SystemExit as ended:
        if ended.code:
            raise
"""


@posix
@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_labels_survive_a_locale_that_lacks_them(encoding: str, empty_folder: Path) -> None:
    rows = "".join(f"{k},{('rosé', '花', '🌷')[k % 3]}\n" for k in range(30))
    Path("flowers.csv").write_text(f"länge,art\n{rows}", encoding="utf-8")
    poor = {
        "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": encoding,
    }  # fmt: skip
    numpy = ("--backend", "numpy")
    commands = (
        ("train", "flowers.csv", "--target", "art", "--epochs", "1", "--quiet", *numpy),
        ("info", "model.safetensors"),
        ("evaluate", "model.safetensors", "flowers.csv", *numpy),
        ("predict", "model.safetensors", "flowers.csv", *numpy),
    )
    several = subprocess.run(
        [sys.executable, "-c", SEVERAL, json.dumps(commands)],
        cwd=empty_folder, env=ENVIRONMENT | poor, capture_output=True, timeout=60,
    )  # fmt: skip
    assert (several.returncode, several.stderr) == (0, b"")
    assert b"\n\\u82b1 " in several.stdout
    done = process(*commands[-1], "--out", "-", cwd=empty_folder, **poor)
    assert (done.returncode, done.stderr) == (0, b"")
    header = "prediction,probability_rosé,probability_花,probability_🌷"
    assert Path("predictions.csv").read_text(encoding="utf-8").splitlines()[0] == header
    assert done.stdout.decode("utf-8").splitlines()[0] == header
