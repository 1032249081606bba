"""Compilers and programs count only if they work; see `tests.toolchain`."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import toolchain
from tests.checkout import program

SOURCE = "#include <stdio.h>\nint main(void) { return puts(\"runs\") < 0; }\n"  # fmt: skip


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that is the whole of PATH; what was found before is forgotten."""
    monkeypatch.setenv("PATH", str(tmp_path))
    for name in ("CC", "CXX"):
        monkeypatch.delenv(name, raising=False)
    toolchain.compiler.cache_clear()
    yield tmp_path
    toolchain.compiler.cache_clear()


def shim(path: Path) -> None:
    path.write_text("#!/bin/sh\necho not installed >&2\nexit 127\n", encoding="utf-8")
    path.chmod(0o755)


def test_without_a_compiler_the_reason_names_those_that_were_tried(programs: Path) -> None:
    assert toolchain.why_no("C") == "no C compiler that works (gcc, cc, clang)"
    with pytest.raises(pytest.skip.Exception, match="no C compiler that works"):
        toolchain.build("C", ["net.c", "-o", "net"], programs)


def test_programs_that_only_say_that_they_are_missing_are_missing(programs: Path) -> None:
    for name in ("g++", "git"):
        shim(programs / name)
    assert toolchain.compiler("C++") is None
    assert program("git") is None


needs_c = pytest.mark.skipif(toolchain.why_no("C") is not None, reason=str(toolchain.why_no("C")))


@needs_c
def test_what_is_built_can_be_run(tmp_path: Path) -> None:
    (tmp_path / "say.c").write_text(SOURCE)
    toolchain.build("C", ["say.c", "-o", "say"], tmp_path)
    done = subprocess.run(["./say"], cwd=tmp_path, capture_output=True, check=True)
    assert done.stdout == b"runs\n"


@needs_c
def test_what_is_built_can_be_run_where_no_program_may(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert toolchain.compiler("C")  # found before the folder becomes one without programs
    monkeypatch.setattr(toolchain, "may_run_programs", lambda folder: False)
    (tmp_path / "say.c").write_text(SOURCE)
    toolchain.build("C", ["say.c", "-o", "say"], tmp_path)
    assert (tmp_path / "say").is_symlink()
    assert not (tmp_path / "say").resolve().is_relative_to(tmp_path)
    done = subprocess.run(["./say"], cwd=tmp_path, capture_output=True, check=True)
    assert done.stdout == b"runs\n"


@needs_c
def test_a_warning_that_is_an_error_fails_and_skips_nothing(tmp_path: Path) -> None:
    (tmp_path / "bad.c").write_text("int main(void) { return missing; }\n")
    with pytest.raises(AssertionError, match="missing"):
        toolchain.build("C", ["bad.c", "-o", "bad"], tmp_path)


def test_a_folder_for_programs_is_told_from_one_that_is_none(tmp_path: Path) -> None:
    place = toolchain.program_place()
    if place is None:
        pytest.skip("no folder for temporary files lets programs run")
    assert toolchain.may_run_programs(place)
    assert not toolchain.may_run_programs(place / "nothing here")
