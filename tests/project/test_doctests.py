"""The examples in docstrings run, and give what they show."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import fastnet
from tests.pages import Alike

# Modules that need what may not be installed, or that run something when imported.
LEFT_OUT = ("fastnet.__main__", "fastnet.benchmarks", "fastnet.kernels")


def modules() -> Iterator[str]:
    """Yield the names of the modules that may be imported anywhere."""
    yield "fastnet"
    for module in pkgutil.walk_packages(fastnet.__path__, "fastnet."):
        if not module.name.startswith(LEFT_OUT):
            yield module.name


def run(module: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> doctest.TestResults:
    """Run a module's examples in an empty folder."""
    monkeypatch.chdir(folder)
    try:
        loaded = importlib.import_module(module)
    except ImportError as error:
        if error.name is not None and not error.name.startswith("fastnet"):
            pytest.skip(f"needs {error.name}")
        raise
    runner = doctest.DocTestRunner(Alike(), optionflags=doctest.NORMALIZE_WHITESPACE)
    for test in doctest.DocTestFinder(exclude_empty=True).find(loaded):
        runner.run(test)
    return doctest.TestResults(runner.failures, runner.tries)


@pytest.mark.parametrize("module", list(modules()))
def test_the_examples_of_a_module_run(
    module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(module, tmp_path, monkeypatch).failed == 0


def test_the_public_class_and_the_package_have_examples(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("fastnet", "fastnet.network", "fastnet.backends"):
        assert run(module, tmp_path, monkeypatch).attempted > 0


def test_an_example_that_is_wrong_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "wrong_example.py").write_text('"""\n>>> 1 + 1\n3\n"""\n')
    monkeypatch.syspath_prepend(tmp_path)
    assert run("wrong_example", tmp_path, monkeypatch).failed == 1
    assert "Expected" in capsys.readouterr().out
