"""The cache of compiled kernels: whatever is wrong with it costs a compilation, never an error."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.checkout import ROOT

pytest.importorskip("numba", reason="Numba is not installed")

PROGRAM = """
from fastnet.kernels.cpu import jit

@jit.kernel
def add(a, b):
    return a + b

assert add(2, 3) == 5
print(len(add.stats.cache_hits), len(add.stats.cache_misses))
"""


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """A file with one small kernel: Numba caches functions of files only."""
    file = tmp_path / "program.py"
    file.write_text(PROGRAM)
    return file


def run(program: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the program in a process of its own; return it when it succeeded."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("FASTNET_", "XDG_", "HOME"))}
    root = str(ROOT)
    done = subprocess.run(
        [sys.executable, str(program)],
        env={**kept, "PYTHONPATH": root, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done


def was_compiled(done: subprocess.CompletedProcess[str]) -> bool:
    return done.stdout.split() == ["0", "1"]


def was_loaded(done: subprocess.CompletedProcess[str]) -> bool:
    return done.stdout.split() == ["1", "0"]


def test_a_kernel_is_compiled_once_and_loaded_afterwards(program: Path, tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    first = run(program, FASTNET_CACHE_DIR=str(folder))
    second = run(program, FASTNET_CACHE_DIR=str(folder))
    assert was_compiled(first)
    assert was_loaded(second)
    assert first.stderr == second.stderr == ""


def test_the_cache_is_private(program: Path, tmp_path: Path) -> None:
    run(program, FASTNET_CACHE_DIR=str(tmp_path / "cache"))
    assert (tmp_path / "cache" / "kernels").stat().st_mode & 0o077 == 0


def test_the_default_place_is_in_the_users_cache(program: Path, tmp_path: Path) -> None:
    run(program, XDG_CACHE_HOME=str(tmp_path / "xdg"))
    assert list((tmp_path / "xdg" / "fastnet" / "kernels").glob("*.nbi"))


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="permissions as POSIX has them")
def test_a_folder_that_others_can_write_to_is_not_used(program: Path, tmp_path: Path) -> None:
    folder = tmp_path / "cache" / "kernels"
    folder.mkdir(parents=True)
    folder.chmod(0o777)
    done = run(program, FASTNET_CACHE_DIR=str(tmp_path / "cache"))
    assert was_compiled(done)
    assert "can be written by" in done.stderr
    assert not list(folder.iterdir())


def test_a_place_that_cannot_be_made_costs_one_warning(program: Path, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("in the way")
    done = run(program, FASTNET_CACHE_DIR=str(file))
    assert was_compiled(done)
    assert done.stderr.count("CacheWarning") == 1


def test_a_home_that_cannot_exist_is_no_error(program: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    done = run(program, HOME=str(tmp_path / "file" / "home"))
    assert was_compiled(done)
    assert done.stderr.count("CacheWarning") == 1


@pytest.mark.parametrize("ending", [".nbi", ".nbc"])
@pytest.mark.parametrize("content", [b"", b"\x80", b"not what it should be"], ids=repr)
def test_a_damaged_file_is_replaced(
    program: Path, tmp_path: Path, ending: str, content: bytes
) -> None:
    folder = tmp_path / "cache"
    run(program, FASTNET_CACHE_DIR=str(folder))
    (damaged,) = (folder / "kernels").glob(f"*{ending}")
    damaged.write_bytes(content)
    assert was_compiled(run(program, FASTNET_CACHE_DIR=str(folder)))
    assert was_loaded(run(program, FASTNET_CACHE_DIR=str(folder)))


def test_bounds_checked_code_is_another_entry(program: Path, tmp_path: Path) -> None:
    folder = str(tmp_path / "cache")
    run(program, FASTNET_CACHE_DIR=folder)
    assert was_compiled(run(program, FASTNET_CACHE_DIR=folder, NUMBA_BOUNDSCHECK="1"))


def test_processes_that_compile_at_once_do_not_disturb_each_other(
    program: Path, tmp_path: Path
) -> None:
    root = str(ROOT)
    environment = {
        **os.environ,
        "PYTHONPATH": root,
        "FASTNET_CACHE_DIR": str(tmp_path / "cache"),
    }
    command = [sys.executable, str(program)]
    running = [subprocess.Popen(command, env=environment) for _ in range(4)]
    assert [process.wait(timeout=120) for process in running] == [0] * 4
    assert was_loaded(run(program, FASTNET_CACHE_DIR=str(tmp_path / "cache")))


def test_the_flags_keep_tests_for_nan_and_infinity() -> None:
    import numpy as np

    from fastnet.kernels.cpu import jit

    @jit.inner_sums
    def count(x):  # type: ignore[no-untyped-def]
        found = 0
        for i in range(len(x)):
            if not np.isfinite(x[i]):
                found += 1
        return found

    from numba import njit

    call = njit(lambda x: count(x))
    assert call(np.array([1.0, np.nan, np.inf, -np.inf])) == 3
    # With "nnan" and "ninf" the compiler may take every value for finite.
    assert not {"nnan", "ninf", "fast"} & jit.FAST_MATH
