"""``backends``, ``demo`` and ``bench``: what runs here, and how fast."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import fastnet as fn
from fastnet import backends
from fastnet.benchmarks.ladder import LADDER
from fastnet.cli import group
from fastnet.cli.commands import demo
from fastnet.kernels import code_files
from tests.cli.calling import run

REASON = "no NVIDIA driver was found."


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Make backends unusable, whatever this machine has."""

    def remove(*names: str) -> None:
        for name in names:
            monkeypatch.setattr(type(backends.find(name)), "why_unavailable", lambda self: REASON)

    return remove


# --- backends -------------------------------------------------------------------------------------


def test_backends_says_what_runs_and_why_the_rest_does_not(without: Callable[..., None]) -> None:
    without("cupy")
    result = run("backends")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    line = {name: next(x for x in lines if x.startswith(f"{name} ")) for name in backends.NAMES}
    assert re.match(r"numpy +ready: numpy \d", line["numpy"])
    install = backends.find("cupy").install
    assert line["cupy"].endswith(f"cannot run here: {REASON} Install: {install}")
    assert any(x.startswith(f"fastnet     {fn.__version__}") for x in lines)
    assert any(re.fullmatch(r"cores +\d+", x) for x in lines)
    assert lines[-1].startswith("--backend auto takes cupy from 1,000,000 parameters on, else")


def test_backends_answers_where_there_is_no_home() -> None:
    """What a bug report should have is to be had everywhere."""

    def homeless() -> Path:
        raise RuntimeError("no home")

    gone = dict.fromkeys(("HOME", "XDG_CACHE_HOME", "FASTNET_CACHE_DIR"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "home", homeless)
        result = CliRunner(env=gone).invoke(group, ["backends", "--json"])
    assert result.exit_code == 0, result.output
    content = json.loads(result.stdout)
    assert content["machine"]["data cache"].startswith("none: There is no folder for downloads")
    numba = content["backends"]["numba"]
    assert not numba["usable"] or numba["details"]["kernel cache"].startswith("none: there is no")


def test_backends_as_json_is_the_same(without: Callable[..., None]) -> None:
    without("numba", "cupy")
    content = json.loads(run("backends", "--json").stdout)
    found = content["backends"]
    assert list(found) == list(backends.NAMES)
    assert found["numpy"] == {"usable": True, "details": backends.find("numpy").describe()}
    assert found["cupy"]["usable"] is False
    assert found["cupy"]["reason"] == REASON
    assert content["machine"]["fastnet"] == fn.__version__


def test_warm_up_compiles_what_can_be_compiled(
    without: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    without("numba", "cupy")
    monkeypatch.setattr(type(backends.find("numpy")), "warm_up", lambda self: 1.25, raising=False)
    assert "compiled in 1.2 s" in run("backends", "--warm-up").stdout
    assert "compiled" not in run("backends").stdout
    content = json.loads(run("backends", "--json", "--warm-up").stdout)
    assert content["backends"]["numpy"]["warm_up_seconds"] == 1.25


def test_clear_cache_removes_compiled_kernels_and_nothing_else(
    without: Callable[..., None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    without("numba", "cupy")
    monkeypatch.setenv("FASTNET_CACHE_DIR", str(tmp_path / "cache"))
    code_files.write(tmp_path / "cache" / "kernels", "epoch.run.0", bytes(1_500_000), {})
    (tmp_path / "cache" / "download.gz").write_bytes(b"kept")
    result = run("backends", "--clear-cache")
    folder = tmp_path / "cache" / "kernels"
    said = f"removed 2 files (1.5 MB) of compiled kernels from {folder}\n"
    assert (result.exit_code, result.stderr) == (0, f"fastnet: {said}")
    assert sorted(path.name for path in (tmp_path / "cache").rglob("*")) == [
        "download.gz",
        "kernels",
    ]
    assert "removed 0 files" in run("backends", "--clear-cache", "--json").stderr
    monkeypatch.setenv("FASTNET_CACHE_DIR", "relative")
    refused = run("backends", "--clear-cache")
    assert refused.exit_code == 1
    assert "FASTNET_CACHE_DIR must be an absolute path, got 'relative'" in refused.stderr


@pytest.mark.parametrize(
    "args",
    [
        ["train", "digits", "--backend", "cupy"],
        ["train", "digits", "--precision", "tf32"],
        ["train", "digits", "--device", "1"],
        ["predict", "m.safetensors", "digits", "--backend", "cupy"],
        ["evaluate", "m.safetensors", "digits", "--backend", "cupy"],
        ["bench", "--backend", "cupy"],
    ],
)
def test_a_backend_that_was_named_is_never_replaced(
    args: list[str], without: Callable[..., None]
) -> None:
    without("cupy")
    fn.Network([64, 10], output_activation="softmax", backend="numpy").save("m.safetensors")
    result = run(*args)
    assert result.exit_code == 1
    hint = "To install it: pip install 'fastnet-mlp[cuda13]'"
    assert result.stderr == f"fastnet: error: the backend 'cupy' cannot run here: {REASON} {hint}\n"
    assert not Path("model.safetensors").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--precision", "tf32"), "the backend 'numpy' has no precision='tf32', only 'float32'"),
        (("--device", "0"), "device= chooses a GPU, and the backend 'numpy' has none."),
    ],
)
def test_what_only_a_gpu_has_is_refused_elsewhere(options: tuple[str, ...], message: str) -> None:
    result = run("train", "digits", "--backend", "numpy", *options)
    assert result.exit_code == 1
    assert message in result.stderr


def test_auto_goes_on_to_the_next_backend(without: Callable[..., None]) -> None:
    without("numba", "cupy")
    result = run("train", "digits", "--epochs", "1", "--hidden", "8")
    assert result.exit_code == 0, result.output
    assert re.search(r"^backend +numpy, ", result.stdout, re.MULTILINE)


# --- demo -----------------------------------------------------------------------------------------


def test_the_demo_trains_everywhere_and_the_backends_agree() -> None:
    result = run("demo")
    assert result.exit_code == 0, result.output
    rows = {x.split()[0]: x.split()[1:] for x in result.stdout.splitlines() if " 0.9" in x}
    usable = [name for name, reason in fn.available_backends().items() if reason is None]
    assert list(rows) == usable
    for accuracy, first_loss, seconds, speed in rows.values():
        assert float(accuracy) > 0.95
        assert float(first_loss) == pytest.approx(float(rows["numpy"][1]), rel=1e-5)
        assert float(seconds) > 0
        assert int(speed.replace(",", "")) > 0
    net = fn.load("demo-model.safetensors", backend="numpy")
    assert (net.inputs, net.outputs) == (64, 10)


def test_the_demo_says_what_is_missing(without: Callable[..., None]) -> None:
    without("numba", "cupy")
    result = run("demo", "--out", "my demo.safetensors", "--seed", "5")
    assert result.exit_code == 0, result.output
    assert f"cupy cannot run here: {REASON}" in result.stdout
    assert f"to install it: {backends.find('numba').install}" in result.stdout
    assert "model saved: my demo.safetensors" in result.stdout


def next_commands(stdout: str) -> list[str]:
    """Return the commands that the demo says to try next, but for the benchmark of minutes."""
    *lines, bench = stdout.split("What to try next:\n")[1].splitlines()
    assert bench.endswith("fastnet bench --quick")
    return lines


def test_what_to_try_after_the_demo_runs_in_a_shell_as_it_is_printed(
    without: Callable[..., None], empty_folder: Path
) -> None:
    without("numba", "cupy")
    lines = next_commands(run("demo", "--out", "my demo.safetensors").stdout)
    assert len(lines) == 4
    environment = os.environ | {"PYTHONPATH": str(Path(fn.__file__).parents[1])}
    for line in lines:
        done = subprocess.run(
            line, shell=True, cwd=empty_folder, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, f"{line}\n{done.stderr}"
    assert (empty_folder / "predictions.csv").read_text().count("\n") == 361
    assert (empty_folder / "model.safetensors").exists()


def test_the_demo_names_the_command_only_where_a_shell_finds_this_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    python = Path(sys.executable)
    monkeypatch.setattr("shutil.which", lambda _: str(python.parent / "fastnet"))
    assert demo._program() == "fastnet"
    monkeypatch.setattr("shutil.which", lambda _: "/somewhere/else/fastnet")
    assert demo._program() == f"{shlex.quote(str(python))} -m fastnet"
    monkeypatch.setattr("shutil.which", lambda _: None)
    monkeypatch.setattr("sys.executable", str(tmp_path / "my env/bin/python"))
    monkeypatch.chdir(tmp_path)
    assert demo._program() == "'my env/bin/python' -m fastnet"


def test_the_demo_goes_elsewhere_when_here_is_read_only(
    without: Callable[..., None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    without("numba", "cupy")
    touch = Path.touch

    def refuse(self: Path, *args: Any, **kwargs: Any) -> None:
        if not self.is_absolute():
            raise PermissionError(13, "Permission denied", str(self))
        touch(self, *args, **kwargs)

    monkeypatch.setattr(Path, "touch", refuse)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    result = run("demo")
    assert result.exit_code == 0, result.output
    path = Path(re.search(r"model saved: (.*)", result.stdout)[1])
    assert path.parent.parent == tmp_path / "tmp"
    assert path.exists()
    for line in next_commands(result.stdout)[2:]:
        assert shlex.split(line)[-2] == "--out"
        assert Path(shlex.split(line)[-1]).parent == path.parent
    assert not Path("demo-model.safetensors").exists()


# --- bench ----------------------------------------------------------------------------------------


def test_bench_hands_its_options_on(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}

    def run_bench(**options: Any) -> int:
        seen.update(options)
        options["console"].print("[bold]done[/]")
        return 1

    monkeypatch.setattr("fastnet.benchmarks.command.run_bench", run_bench)
    result = run(
        "bench", "--network", "xor", "--network", "table", "--backend", "numpy", "--rivals",
        "--json", "r.json", "--html", "r.html", "--threads", "2", "--quick", "--part", "ladder",
    )  # fmt: skip
    assert result.exit_code == 1
    assert result.stdout == "done\n"
    del seen["console"]
    assert seen == {
        "parts": ("ladder",),
        "networks": ("xor", "table"),
        "backends": ("numpy",),
        "rivals": True,
        "json_path": "r.json",
        "html_path": "r.html",
        "threads": 2,
        "quick": True,
    }


def test_a_record_takes_no_option_that_narrows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}

    def record(path: str, parts: Any, **options: Any) -> int:
        seen.update(options, path=path, parts=tuple(parts))
        return 0

    monkeypatch.setattr("fastnet.benchmarks.record.record", record)
    refused = run("bench", "--record", "r.json", "--threads", "1")
    assert refused.exit_code == 2
    assert "--record measures whole parts" in refused.stderr
    assert run("bench", "--record", "r.json", "--rivals", "--quick").exit_code == 0
    assert (seen["path"], seen["rivals"], seen["quick"]) == ("r.json", True, True)
    assert {"ladder", "close"} < {*seen["parts"]}
    assert run("bench", "--record", "r.json", "--part", "close").exit_code == 0
    assert seen["parts"] == ("close",)


def test_bench_measures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LADDER, "xor", replace(LADDER["xor"], rows=256))
    result = run("bench", "--quick", "--network", "xor", "--backend", "numpy", "--json", "r.json")
    assert result.exit_code == 0, result.output
    assert "xor" in result.stdout
    assert json.loads(Path("r.json").read_text(encoding="utf-8"))
