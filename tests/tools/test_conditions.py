"""Each condition of `tools.conditions` does what it says, and a test that fails there is seen."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from tests import toolchain
from tools import conditions

WRITE = "open('there', 'w').close()"
RUN = "import os, subprocess, tempfile; p = tempfile.mkstemp()[1]; os.chmod(p, 0o700); "
RUN += "open(p, 'w').write('#!/bin/sh\\n'); subprocess.run([p], check=True)"
WHICH = "import shutil; print([shutil.which(n) is None for n in ('gcc', 'g++', 'cc', 'git', 'sh')])"

# What a Python says or does there, and a part of its answer.
EFFECTS = {
    "nothing odd": (WRITE + RUN.replace("import", ";import", 1), ""),
    "LC_ALL is C": ("import os; print(os.environ['LC_ALL'], os.environ.get('LANG'))", "C None"),
    "ASCII files": ("print(open('x', 'w').encoding)", "ANSI"),
    "another time zone": ("import time; print(time.timezone)", "-20700"),
    "an odd terminal": ("import shutil; print(shutil.get_terminal_size()[0])", "40"),
    "no home": ("import os; print('HOME' in os.environ)", "False"),
    "a home that is not there": ("import os; print(os.path.isdir(os.environ['HOME']))", "False"),
    "an odd path": ("import os; print(' ' in os.getcwd(), os.getcwd().isascii())", "True False"),
    "umask 077": (WRITE + "; import os; print(oct(os.stat('there').st_mode))", "0o100600"),
    "no compiler": (WHICH, "[True, True, True, "),
    "no git": (WHICH, "True, False]"),
    "broken programs": ("import subprocess; subprocess.run(['git'], check=True)", "127"),
    "programs of nonsense": ("import subprocess; subprocess.run(['uv'], check=True)", "nsense"),
    "TMPDIR without programs": (RUN, "PermissionError"),
    "a read-only checkout": (WRITE, "Read-only file system"),
    "no network": ("import socket; socket.create_connection(('192.0.2.1', 9), 5)", "unreachable"),
    "not root": (WRITE + "; import os; print(os.geteuid(), os.environ['HOME'])", "65534"),
    "a user without a name": ("import os; os.path.expanduser('~'); import pwd; "
                              "pwd.getpwuid(os.getuid())", "KeyError"),
    "one core": ("import os; print(os.sched_getaffinity(0))", "{"),
    "a busy machine": ("import os; print(os.getloadavg()[0] >= 0)", "True"),
}  # fmt: skip


def test_each_condition_has_its_effect_below() -> None:
    assert list(EFFECTS) == list(conditions.CONDITIONS)


@pytest.mark.parametrize("name", EFFECTS)
def test_a_condition_does_what_it_says(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conditions, "copy_checkout", lambda target: target.mkdir(parents=True))
    monkeypatch.setattr("tempfile.tempdir", str(toolchain.program_place() or tempfile.gettempdir()))
    program, said = EFFECTS[name]
    try:
        with conditions.prepared(name) as run:
            done = run.python("-c", program)
            folder = run.scratch
    except conditions.CannotTryError as error:
        pytest.skip(f"{name}: {error}")
    assert said in done.stdout
    assert not folder.exists()
    if name == "one core":
        assert done.stdout.count(",") == 0


def test_the_tests_of_the_copy_run_and_a_failure_is_reported(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def copy(target: Path) -> None:
        target.mkdir()
        text = "import os\ndef test_it(): assert os.environ.get('WHERE') != 'here'\n"
        (target / "test_it.py").write_text(text)

    monkeypatch.setattr(conditions, "copy_checkout", copy)
    logs = tmp_path / "logs" / "new"
    verdict, text = conditions.try_out("nothing odd", ["-p", "no:cacheprovider"], logs)
    assert (verdict, text[:8]) == ("passes", "1 passed")
    assert "1 passed" in (logs / "nothing-odd.log").read_text(encoding="utf-8")
    monkeypatch.setenv("WHERE", "here")
    verdict, text = conditions.try_out("nothing odd", ["-p", "no:cacheprovider"])
    assert verdict == "FAILS"
    assert "FAILED test_it.py::test_it" in text


def test_the_copy_is_a_checkout_of_the_same_files(tmp_path: Path) -> None:
    conditions.copy_checkout(tmp_path / "copy")
    for name in ("pyproject.toml", "kernels/cpu/gemm.py"):
        copied, original = tmp_path / "copy" / name, conditions.ROOT / name
        assert copied.read_bytes() == original.read_bytes()
        assert copied.stat().st_mtime_ns == original.stat().st_mtime_ns
    assert (tmp_path / "copy" / "fastnet" / "kernels").is_symlink()


def test_what_cannot_be_set_up_is_neither_passed_nor_failed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    assert conditions.main(["one core"]) == 0
    assert "one core  not tried  needs taskset" in capsys.readouterr().out


def test_the_quick_tests_are_there() -> None:
    assert [path for path in conditions.QUICK if not (conditions.ROOT / path).exists()] == []
