"""Compilers and programs count only if they work; see `tests.toolchain` and `tests.checkout`."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import checkout, toolchain
from tests.checkout import program, said, tracked_files

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


BROKEN = {
    "fails": "echo not installed >&2; exit 127",
    "silent": "",
    "nonsense": r"printf 'n\377nsense\0'",
    "hangs": "while :; do :; done",
    "its child hangs": "(while :; do :; done) & wait",
}


def shim(path: Path, script: str, mode: int = 0o755) -> None:
    if not toolchain.may_run_programs(path.parent):
        pytest.skip("the folder for temporary files lets no program run")
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    path.chmod(mode)


def test_without_a_compiler_the_reason_names_those_that_were_tried(programs: Path) -> None:
    assert toolchain.why_no("C") == "no C compiler that works (gcc, cc, clang)"
    with pytest.raises(pytest.skip.Exception, match="no C compiler that works"):
        toolchain.build("C", ["net.c", "-o", "net"], programs)


@pytest.mark.parametrize("script", BROKEN.values(), ids=BROKEN)
def test_programs_that_do_not_work_are_missing(
    script: str, programs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("g++", "git"):
        shim(programs / name, script)
    monkeypatch.setattr(checkout, "PATIENCE", 0.3 if "while" in script else 30)
    assert toolchain.compiler("C++") is None
    assert program("git") is None
    with pytest.raises(pytest.skip.Exception, match="no git that works"):
        tracked_files()


def test_what_may_not_be_run_is_missing(programs: Path) -> None:
    shim(programs / "git", "echo git version 2.40", mode=0o644)
    assert program("git") is None


def test_the_first_program_that_tells_its_version_is_found(programs: Path) -> None:
    """The control of the tests above."""
    shim(programs / "one", "exit 127")
    for name in ("two", "three"):
        shim(programs / name, "echo version 2.40")
    assert program("one", "two", "three") == str(programs / "two")
    assert said(str(programs / "two")) == "version 2.40\n"
    shim(programs / "git", "echo git version 2.40")  # which lists no file
    with pytest.raises(pytest.skip.Exception, match="not a checkout"):
        tracked_files()


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


MAKE = program("make")


@pytest.mark.skipif(
    MAKE is None or not (checkout.ROOT / "Makefile").is_file(), reason="no make that works"
)
@pytest.mark.parametrize(
    ("script", "found"),
    [("exit 127", ""), ("", ""), ("echo nonsense", ""), ("echo uv 0.9.1", "uv 0.9.1")],
)
def test_make_uses_a_uv_that_works(
    script: str, found: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shim(tmp_path / "uv", script)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    (tmp_path / "more.mk").write_text("say:\n\t@echo '[$(UV)]'\n")
    files = "-f", "Makefile", "-f", str(tmp_path / "more.mk")
    # Where make runs the tests, this one says which folder it enters.
    assert said(str(MAKE), "--no-print-directory", *files, "say") == f"[{found}]\n"
