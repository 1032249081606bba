"""The fuzzer that follows branches, with a stand-in for atheris, which most machines lack."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

Read = Callable[[bytes], None]


@pytest.fixture
def fuzzer(monkeypatch: pytest.MonkeyPatch) -> tuple[ModuleType, dict[str, Any]]:
    """The program, and what it gave to atheris when it was run."""
    given: dict[str, Any] = {}

    def fuzz() -> None:
        corpus = Path(given["arguments"][1])
        given["good"] = (corpus / "good").read_bytes()
        for data in (given["good"], given["good"][:-3], b"\0"):
            given["read"](data)

    stand_in = SimpleNamespace(
        instrument_imports=lambda include, enable_loader_override: nullcontext(),
        Setup=lambda arguments, read: given.update(arguments=arguments, read=read),
        Fuzz=fuzz,
    )
    monkeypatch.setitem(sys.modules, "atheris", stand_in)
    monkeypatch.delitem(sys.modules, "tools.coverage_fuzz", raising=False)
    return importlib.import_module("tools.coverage_fuzz"), given


@pytest.mark.parametrize("name", ["csv", "npy", "npz", "idx"])
def test_good_and_damaged_files_of_a_format_are_read(
    fuzzer: tuple[ModuleType, dict[str, Any]], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    program, given = fuzzer
    monkeypatch.setattr(sys, "argv", ["coverage_fuzz", name, "--seconds", "7"])
    program.main()
    assert given["good"]
    assert "-max_total_time=7" in given["arguments"]


def test_an_error_that_is_not_of_fastnet_is_let_through(
    fuzzer: tuple[ModuleType, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    program, _ = fuzzer

    def read(path: Path) -> None:
        raise ZeroDivisionError

    form = program.FORMATS["csv"]
    broken = SimpleNamespace(name=form.name, good=form.good, read=read)
    monkeypatch.setitem(program.FORMATS, "csv", broken)
    monkeypatch.setattr(sys, "argv", ["coverage_fuzz", "csv"])
    with pytest.raises(ZeroDivisionError):
        program.main()
