"""The cache of compiled kernels: whatever is wrong with it costs a compilation, never an error."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from fastnet.kernels import code_files
from fastnet.kernels.cache_dir import kernel_cache
from tests.checkout import ROOT

pytest.importorskip("numba", reason="Numba is not installed")

posix = pytest.mark.skipif(not hasattr(os, "getuid"), reason="permissions as POSIX has them")

KERNEL = """
from fastnet.kernels.cpu.frame import integers
from fastnet.kernels.cpu.jit import entry

@entry
def add(element, first, second, out):
    integers(out, 1)[0] = first + second
"""

PROGRAM = """
import os
import sys
from pathlib import Path

import numpy as np

from fastnet.kernels.cpu import native

compiled = []
if "CODE_OF_ADD" in os.environ:
    def compiler(name, dtype):
        compiled.append(name)
        return Path(os.environ["CODE_OF_ADD"]).read_bytes()

    native._prepared_code = compiler

native.ENTRIES["add"] = "kernel_of_a_test"
out = np.zeros(1, np.int64)
native.kernel("add", np.float32).call(2, 3, out.ctypes.data)
print("compiled" if compiled or "numba" in sys.modules else "loaded", out[0])
"""


def install(folder: Path, kernel: str = KERNEL) -> Path:
    """Write a program, and beside it the file of its one small kernel."""
    folder.mkdir(exist_ok=True)
    (folder / "kernel_of_a_test.py").write_text(kernel)
    file = folder / "program.py"
    file.write_text(PROGRAM)
    return file


@pytest.fixture
def program(tmp_path: Path) -> Path:
    return install(tmp_path)


def run(program: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the program in a process of its own; return it when it succeeded."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("FASTNET_", "XDG_", "HOME"))}
    done = subprocess.run(
        [sys.executable, str(program)],
        env={**kept, "PYTHONPATH": str(ROOT), **environment},
        cwd=program.parent,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done


def was_compiled(done: subprocess.CompletedProcess[str]) -> bool:
    return done.stdout == "compiled 5\n"


def was_loaded(done: subprocess.CompletedProcess[str]) -> bool:
    return done.stdout == "loaded 5\n"


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache with the entry of the program, for copies: each of them is a compilation less."""
    folder = tmp_path_factory.mktemp("compiled")
    done = run(install(folder), FASTNET_CACHE_DIR=str(folder / "cache"))
    assert was_compiled(done)
    assert done.stderr == ""
    return folder / "cache" / "kernels"


Quickly = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def quickly(compiled: Path) -> Quickly:
    """`run` with a compiler that needs no Numba: it returns what Numba made for `compiled`."""
    (code,) = compiled.glob("*.nbc")
    return partial(run, CODE_OF_ADD=str(code))


@pytest.fixture
def real(compiled: Path, tmp_path: Path) -> Path:
    """A cache with the entry of the program."""
    return Path(shutil.copytree(compiled.parent, tmp_path / "real"), "kernels")


def test_a_kernel_is_compiled_once_and_loaded_afterwards(
    compiled: Path, program: Path, quickly: Quickly
) -> None:
    done = quickly(program, FASTNET_CACHE_DIR=str(compiled.parent))
    assert was_loaded(done)
    assert done.stderr == ""


def test_the_cache_is_private(compiled: Path) -> None:
    assert compiled.stat().st_mode & 0o077 == 0


def test_the_default_place_is_in_the_users_cache(
    program: Path, tmp_path: Path, quickly: Quickly
) -> None:
    quickly(program, XDG_CACHE_HOME=str(tmp_path / "xdg"))
    assert list((tmp_path / "xdg" / "fastnet" / "kernels").glob("*.nbi"))


@posix
def test_a_folder_that_others_can_write_to_is_not_used(
    program: Path, tmp_path: Path, quickly: Quickly
) -> None:
    folder = tmp_path / "cache" / "kernels"
    folder.mkdir(parents=True)
    folder.chmod(0o777)
    done = quickly(program, FASTNET_CACHE_DIR=str(tmp_path / "cache"))
    assert was_compiled(done)
    assert "can be written by" in done.stderr
    assert not list(folder.iterdir())


# --- found by content -----------------------------------------------------------------------------


def test_installations_of_one_content_share_an_entry_and_others_have_their_own(
    real: Path, tmp_path: Path, quickly: Quickly
) -> None:
    """Whatever the folders and times of their files are."""
    cache = str(real.parent)
    same = [install(tmp_path / name) for name in ("one", "two")]
    for file, seconds in zip(same, (1.6e9, 1.7e9), strict=True):
        os.utime(file.with_name("kernel_of_a_test.py"), (seconds, seconds))
    other = install(tmp_path / "three", KERNEL.replace("second\n", "second + 0\n"))
    assert was_compiled(quickly(other, FASTNET_CACHE_DIR=cache))
    files = {file: file.stat().st_mtime_ns for file in real.iterdir()}
    for loaded in (*same, other, same[0]):
        assert was_loaded(quickly(loaded, FASTNET_CACHE_DIR=cache))
    assert {file: file.stat().st_mtime_ns for file in real.iterdir()} == files


def test_bounds_checked_code_is_another_entry(program: Path, real: Path, quickly: Quickly) -> None:
    cache = str(real.parent)
    assert was_compiled(quickly(program, FASTNET_CACHE_DIR=cache, NUMBA_BOUNDSCHECK="1"))
    assert was_loaded(quickly(program, FASTNET_CACHE_DIR=cache))


# --- loaded only from where the user alone can write ----------------------------------------------


@pytest.fixture(scope="module")
def strange(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Code that answers 105 in place of 5."""
    folder = tmp_path_factory.mktemp("strange")
    program = install(folder, KERNEL.replace("second\n", "second + 100\n"))
    assert run(program, FASTNET_CACHE_DIR=str(folder)).stdout == "compiled 105\n"
    (file,) = (folder / "kernels").glob("*.nbc")
    return file.read_bytes()


def plant(folder: Path, real: Path, code: bytes) -> None:
    """Write a whole entry with strange code, as whoever knows the format would."""
    folder.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256(code).hexdigest()
    for index in real.glob("*.nbi"):
        (folder / f"{index.stem}.{digest[:16]}.nbc").write_bytes(code)
        (folder / index.name).write_text(json.dumps({"sha256": digest}))


def test_what_is_planted_would_be_run(
    program: Path, strange: bytes, real: Path, quickly: Quickly
) -> None:
    """The control of the tests below: in the user's own private folder it is trusted."""
    plant(real, real, strange)
    assert quickly(program, FASTNET_CACHE_DIR=str(real.parent)).stdout == "loaded 105\n"


@pytest.mark.parametrize("platform", ["linux", "darwin", "win32"])
@pytest.mark.parametrize("name", ["FASTNET_CACHE_DIR", "XDG_CACHE_HOME", "HOME", "LOCALAPPDATA"])
@pytest.mark.parametrize("value", ["cache", "./cache", ".", "~/cache"])
def test_a_relative_variable_never_leads_to_the_current_folder(
    name: str, value: str, platform: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for other in ("FASTNET_CACHE_DIR", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(other, raising=False)
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv(name, value)
    try:
        found = kernel_cache()
    except FileNotFoundError as error:
        assert name in ("FASTNET_CACHE_DIR", "HOME")
        assert "FASTNET_CACHE_DIR" in str(error)
    else:
        assert found.is_relative_to(tmp_path / "home")


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("XDG_CACHE_HOME", "store/fastnet/kernels"),
        ("FASTNET_CACHE_DIR", "store/kernels"),
        ("HOME", "store/.cache/fastnet/kernels"),
    ],
)
def test_nothing_of_the_current_folder_is_run(
    name: str,
    place: str,
    program: Path,
    tmp_path: Path,
    real: Path,
    strange: bytes,
    quickly: Quickly,
) -> None:
    plant(program.parent / place, real, strange)
    home = {"HOME": str(tmp_path / "home")}
    assert was_compiled(quickly(program, **{**home, name: "store"}))


def open_index(real: Path, tmp_path: Path) -> None:
    next(real.glob("*.nbi")).chmod(0o666)


def open_code(real: Path, tmp_path: Path) -> None:
    for file in real.glob("*.nbc"):
        file.chmod(0o620)


def open_folder_above(real: Path, tmp_path: Path) -> None:
    real.parent.chmod(0o777)


def linked_file(real: Path, tmp_path: Path) -> None:
    for file in real.iterdir():
        file.symlink_to(file.rename(tmp_path / file.name))


def link_through_an_open_folder(real: Path, tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    (tmp_path / "open" / "way").symlink_to(real.rename(tmp_path / "elsewhere"))
    real.symlink_to(tmp_path / "open" / "way")


@posix
@pytest.mark.parametrize(
    "change",
    [open_index, open_code, open_folder_above, linked_file, link_through_an_open_folder],
    ids=lambda change: change.__name__,
)
def test_what_others_can_write_is_not_run(
    change: Callable[[Path, Path], None],
    program: Path,
    tmp_path: Path,
    real: Path,
    strange: bytes,
    quickly: Quickly,
) -> None:
    plant(real, real, strange)
    change(real, tmp_path)
    done = quickly(program, FASTNET_CACHE_DIR=str(tmp_path / "real"))
    assert was_compiled(done)
    assert done.stderr.count("CacheWarning") == 1


@posix
def test_what_belongs_to_somebody_else_is_not_read(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    code_files.write(tmp_path, "entry", b"code", {})
    assert code_files.read(tmp_path, "entry") == b"code"
    owner = (tmp_path / "entry.nbi").stat().st_uid
    monkeypatch.setattr(code_files, "_trusted", lambda: {owner + 1})
    with pytest.raises(PermissionError, match="belongs to somebody else"):
        code_files.read(tmp_path, "entry")
    monkeypatch.setattr(code_files, "require_private", lambda folder: None)
    with pytest.raises(PermissionError, match=r"entry\.nbi belongs to somebody else"):
        code_files.read(tmp_path, "entry")


@posix
def test_folders_above_may_be_those_of_temporary_files_and_of_links(tmp_path: Path) -> None:
    """The controls of what is refused: the sticky bit, a private group, a link of one's own."""
    folder = tmp_path / "shared" / "mine" / "kernels"
    code_files.write(folder, "entry", b"code", {})
    (tmp_path / "shared").chmod(0o1777)
    assert code_files.read(folder, "entry") == b"code"
    (tmp_path / "way").symlink_to(folder.parent)
    assert code_files.read(tmp_path / "way" / "kernels", "entry") == b"code"
    folder.parent.chmod(0o775)
    private = folder.parent.stat().st_gid in (0, folder.parent.stat().st_uid)
    if private:
        assert code_files.read(folder, "entry") == b"code"
    else:
        with pytest.raises(PermissionError, match="mine can be written by somebody else"):
            code_files.read(folder, "entry")
    (tmp_path / "shared").chmod(0o777)
    with pytest.raises(PermissionError, match="shared can be written by somebody else"):
        code_files.read(folder, "entry")


def test_an_entry_that_changed_is_not_returned(tmp_path: Path) -> None:
    code_files.write(tmp_path, "entry", b"code", {})
    (code,) = tmp_path.glob("*.nbc")
    code.write_bytes(b"c0de")
    with pytest.raises(ValueError, match="SHA-256"):
        code_files.read(tmp_path, "entry")
    (tmp_path / "entry.nbi").write_bytes(b"\x80\x04")
    with pytest.raises(ValueError, match="damaged"):
        code_files.read(tmp_path, "entry")


# --- bounded in size ------------------------------------------------------------------------------


def test_what_was_not_used_for_longest_goes_first(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    names = ["a", "b", "c", "d"]
    for age, name in enumerate(names):
        code_files.write(tmp_path, name, name.encode() * 1000, {})
        for file in tmp_path.glob(f"{name}.*"):
            os.utime(file, (1e9 + age, 1e9 + age))
    assert code_files.read(tmp_path, "a") == b"a" * 1000  # now the newest
    monkeypatch.setattr(code_files, "MOST_BYTES", 3500)
    code_files.write(tmp_path, "e", b"e" * 1000, {})
    assert [name for name in [*names, "e"] if code_files.read(tmp_path, name)] == ["a", "d", "e"]


def test_files_of_earlier_versions_and_unfinished_ones_count(tmp_path: Path) -> None:
    for name in ("old.py311.nbi", "old.py311.1.nbc", "x.nbc.0123.tmp", "not-ours.txt"):
        (tmp_path / name).write_bytes(bytes(100))
    code_files.prune(tmp_path, 100)
    assert len(list(tmp_path.iterdir())) == 2
    assert code_files.clear(tmp_path) == (1, 100)
    assert [file.name for file in tmp_path.iterdir()] == ["not-ours.txt"]
    assert code_files.clear(tmp_path / "missing") == (0, 0)


# --- faults ---------------------------------------------------------------------------------------


def test_a_place_that_cannot_be_made_costs_one_warning(
    program: Path, tmp_path: Path, quickly: Quickly
) -> None:
    file = tmp_path / "file"
    file.write_text("in the way")
    done = quickly(program, FASTNET_CACHE_DIR=str(file))
    assert was_compiled(done)
    assert done.stderr.count("CacheWarning") == 1


def test_a_home_that_cannot_exist_is_no_error(
    program: Path, tmp_path: Path, quickly: Quickly
) -> None:
    (tmp_path / "file").write_text("in the way")
    done = quickly(program, HOME=str(tmp_path / "file" / "home"))
    assert was_compiled(done)
    assert done.stderr.count("CacheWarning") == 1


# Whatever a file of code holds, its SHA-256 is another.
@pytest.mark.parametrize(
    ("ending", "content"),
    [*((".nbi", content) for content in (b"", b"\x80", b"not what it should be")), (".nbc", b"")],
)
def test_a_damaged_file_is_replaced(
    program: Path, real: Path, ending: str, content: bytes, quickly: Quickly
) -> None:
    (damaged,) = real.glob(f"*{ending}")
    damaged.write_bytes(content)
    assert was_compiled(quickly(program, FASTNET_CACHE_DIR=str(real.parent)))
    assert was_loaded(quickly(program, FASTNET_CACHE_DIR=str(real.parent)))


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
