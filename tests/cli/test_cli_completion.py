"""Tab completion: commands, options and their values; files stay files."""

from __future__ import annotations

import sys

import pytest
from click.testing import CliRunner

from fastnet.cli import COMMANDS, group


def completed(line: str, *, shell: str = "bash") -> list[str]:
    """Return what a shell gets for a line that ends where the tabulator is pressed."""
    words = line.split(" ")
    environment = {"_FASTNET_COMPLETE": f"{shell}_complete", "COMP_WORDS": line}
    environment["COMP_CWORD"] = str(len(words) - 1)
    result = CliRunner().invoke(group, [], prog_name="fastnet", env=environment)
    return result.stdout.splitlines()


def test_commands_complete_without_being_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("fastnet.cli.commands")]:
        monkeypatch.delitem(sys.modules, name)
    assert completed("fastnet ") == [f"plain,{name}" for name in COMMANDS]
    assert completed("fastnet e") == ["plain,evaluate", "plain,export"]
    assert not [name for name in sys.modules if name.startswith("fastnet.cli.commands.")]


@pytest.mark.parametrize(
    ("line", "values"),
    [
        ("fastnet train x.csv --acti", ["--activation"]),
        ("fastnet train x.csv --optimizer ada", ["adagrad", "adam", "adamw"]),
        ("fastnet evaluate m x --metric bal", ["balanced_accuracy"]),
        ("fastnet predict m x --quote", ["--quote-formulas"]),
        ("fastnet export m --to o", ["onnx"]),
        ("fastnet --vers", ["--version"]),
    ],
)
def test_options_and_their_values_complete(line: str, values: list[str]) -> None:
    assert completed(line) == [f"plain,{value}" for value in values]


@pytest.mark.parametrize(
    "line",
    [
        "fastnet train ro",
        "fastnet train rows.csv more",
        "fastnet train rows.csv --out mo",
        "fastnet train rows.csv --validation-data he",
        "fastnet train rows.csv --checkpoint ru",
        "fastnet predict mo",
        "fastnet predict model.safetensors ro",
        "fastnet predict model.safetensors rows.csv --out an",
        "fastnet evaluate model.safetensors rows.csv more",
        "fastnet info mo",
        "fastnet export mo",
        "fastnet plot model.safetensors ro",
        "fastnet bench --json re",
    ],
)
def test_names_of_files_complete_as_always(line: str) -> None:
    assert completed(line) == [f"file,{line.split(' ')[-1]}"]


def test_folders_complete_where_only_they_fit() -> None:
    assert completed("fastnet train fashion-mnist --data-dir da") == ["dir,da"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_its_script(shell: str) -> None:
    environment = {"_FASTNET_COMPLETE": f"{shell}_source"}
    result = CliRunner().invoke(group, [], prog_name="fastnet", env=environment)
    assert f"_FASTNET_COMPLETE={shell}_complete" in result.stdout
