"""The command line explains itself, starts fast, and answers wrong usage with the nearest name."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

import fastnet
from fastnet import cli
from fastnet.cli import COMMANDS, group
from fastnet.nn.activations import ACTIVATIONS
from fastnet.nn.losses import LOSSES
from fastnet.nn.metrics import METRICS
from fastnet.nn.optimizers import OPTIMIZERS
from tests.cli.calling import run

ENVIRONMENT = os.environ | {"PYTHONPATH": str(Path(fastnet.__file__).parents[1])}

FIXED_FLAGS = {
    "train": "--target --backend --hidden --activation --optimizer --learning-rate --epochs "
    "--batch-size --seed --validation --early-stopping --out",
    "predict": "--out",
    "evaluate": "--target",
    "cv": "--target --folds --seeds --hidden --json --html",
    "sweep": "--target --grid --cv --seeds --out --json --html --checkpoint --resume",
    "tune": "--target --minutes --trials --folds --by --out --json --html --checkpoint --resume",
    "bench": "--part --network --backend --rivals --json --html --record",
    "backends": "",
    "info": "",
    "export": "--to --out --jacobian --fixed --rows",
    "plot": "--out --target",
    "demo": "",
}


def command(name: str) -> click.Command:
    found = group.get_command(click.Context(group), name)
    assert found is not None
    return found


def test_the_commands_are_the_modules_that_hold_one() -> None:
    modules = (Path(cli.__file__).parent / "commands").rglob("*.py")
    found = [path for path in modules if "@click.command(" in path.read_text("utf-8")]
    holding = {path.parent.name if path.stem == "command" else path.stem for path in found}
    assert set(COMMANDS) == holding == set(FIXED_FLAGS)


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_explains_every_option_and_gives_an_example(name: str) -> None:
    found = command(name)
    assert found.name == name
    result = run(name, "--help")
    assert result.exit_code == 0
    assert f"Usage: fastnet {name} [OPTIONS]" in result.stdout
    assert f"fastnet {name}" in result.stdout.split("Examples:")[1]
    for option in found.params:
        if isinstance(option, click.Option):
            assert option.help, option.name
            assert all(flag in result.stdout for flag in (*option.opts, *option.secondary_opts))
    for flag in FIXED_FLAGS[name].split():
        assert flag in result.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_the_examples_of_a_command_are_valid_usage(name: str) -> None:
    found = command(name)
    assert found.epilog is not None
    lines = [line for line in found.epilog.splitlines() if line.strip().startswith("fastnet ")]
    assert lines
    for line in lines:
        words = line.split("|")[0].split()
        assert words[:2] == ["fastnet", name]
        found.make_context(name, words[2:])


def test_the_help_of_train_names_everything_to_choose_from() -> None:
    text = " ".join(run("train", "--help").stdout.split())
    layer_activations = [row.name for row in ACTIVATIONS.values() if not row.output_only]
    for name in (*layer_activations, *LOSSES, *METRICS, *OPTIMIZERS):
        assert name in text
    for section in ("Data:", "Network:", "Training:", "Computing and output:"):
        assert section in text
    assert "[default: 128,64]" in text


def test_the_help_of_the_group_has_each_command_and_the_exit_codes() -> None:
    result = run("--help")
    assert result.exit_code == 0
    for name, summary in COMMANDS.items():
        assert name in result.stdout
        assert summary in result.stdout
    for code in ("0 success", "1 error", "2 wrong usage", "130 ended by Ctrl-C", "143 by SIGTERM"):
        assert code in result.stdout


@pytest.mark.parametrize("flag", ["--version"])
def test_the_version(flag: str) -> None:
    assert run(flag).stdout == f"fastnet {fastnet.__version__}\n"


def test_python_m_fastnet_is_the_command_line() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "fastnet", "--version"],
        env=ENVIRONMENT, capture_output=True, text=True, check=True, timeout=30,
    )  # fmt: skip
    assert done.stdout == f"fastnet {fastnet.__version__}\n"


@pytest.mark.parametrize("args", [["--help"], ["train", "--help"], ["nosuch"]])
def test_help_loads_nothing_heavy(args: list[str]) -> None:
    code = (
        "import sys\n"
        "from fastnet.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print(*sys.modules, file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *args],
        env=ENVIRONMENT, capture_output=True, text=True, check=True, timeout=30,
    )  # fmt: skip
    loaded = set(done.stderr.split())
    assert "fastnet.cli" in loaded
    heavy = "numba llvmlite cupy scipy rich matplotlib safetensors pyarrow sklearn"
    assert loaded.isdisjoint(heavy.split())
    commands = {f"fastnet.cli.commands.{name}" for name in COMMANDS}
    assert loaded & commands == ({"fastnet.cli.commands.train"} if args[0] == "train" else set())


@pytest.mark.parametrize(
    ("args", "hint"),
    [
        (["trian", "digits"], "unknown command 'trian'; did you mean 'train'?"),
        (["nothing-like-it"], "unknown command 'nothing-like-it'. Known: demo, train,"),
        (["train", "digits", "--hiden", "8"], "--hidden"),
        (["train", "digits", "--backend", "nunba"], "'nunba'; did you mean 'numba'?"),
        (["train", "digits", "--backend", "cuda"], "Known: auto, numpy, numba, cupy."),
        (["train", "digits", "--activation", "rleu"], "did you mean 'relu'?"),
        (["train", "digits", "--activation", "softmax"], "unknown activation 'softmax'"),
        (["train", "digits", "--optimizer", "adan"], "did you mean 'adam'?"),
        (["train", "digits", "--schedule", "cosin"], "did you mean 'cosine'?"),
        (["train", "digits", "--loss", "hubert"], "did you mean 'huber'?"),
        (["train", "digits", "--metric", "acuracy"], "did you mean 'accuracy'?"),
        (["train", "digits", "--dtype", "float16"], "did you mean 'float"),
        (["train", "digits", "--task", "classify"], "did you mean 'classification'?"),
        (["train", "digits", "--hidden", "128;64"], "expected sizes of layers such as 128,64"),
        (["train", "digits", "--hidden", "64,0"], "got '64,0'"),
        (["train", "digits", "--epochs", "0"], "--epochs"),
        (["train", "digits", "--epochs", "many"], "'many' is not a valid integer"),
        (["train", "digits", "--validation", "1"], "--validation"),
        (["train"], "Missing argument 'DATA...'"),
        (["train", "digits", "--momentum", "0.9"], "--momentum goes with --optimizer sgd only"),
        (["train", "x.csv", "--data-dir", "."], "--data-dir goes with fashion-mnist only"),
        (["train", "digits", "--data-dir", "."], "--data-dir goes with fashion-mnist only"),
        (["train", "digits", "--html", "a.html", "--log", "a.html"], "different files"),
        (
            ["train", "digits", "--optimizer", "lbfgs", "--learning-rate", "1"],
            "--learning-rate does not go with --optimizer lbfgs",
        ),
        (["bench", "--backend", "auto"], "unknown backend 'auto'"),
        (["export", "m", "--to", "nunpy"], "did you mean 'numpy'?"),
        (["export", "m"], "--to"),
        (["predict", "m", "d", "--split", "tset"], "did you mean 'test'?"),
    ],
)
def test_wrong_usage_ends_with_2_and_says_what_would_be_right(
    args: list[str], hint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run(*args)
    assert result.exit_code == 2
    assert hint in result.stderr
    assert result.stderr.startswith("Usage: fastnet")
    assert "Traceback" not in result.stderr
    assert result.stdout == ""


def test_names_may_have_hyphens_and_capitals() -> None:
    context = command("train").make_context(
        "train", ["digits", "--activation", "Leaky-ReLU", "--schedule", "one-cycle"]
    )
    assert context.params["activation"] == "leaky_relu"
    assert context.params["schedule"] == "one_cycle"
    assert context.params["hidden"] == (128, 64)
