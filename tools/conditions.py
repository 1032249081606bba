"""Run the tests under the conditions of other people's machines.

``python -m tools.conditions`` runs the whole suite once under each condition below, every time in a
copy of the checkout that is removed afterwards, and prints a table. ``--quick`` runs the tests that
meet the machine (files, processes, compilers, locales) and leaves out the arithmetic: about two
minutes for each condition. Name conditions to run only those, and hand options to pytest after
``--``::

    python -m tools.conditions --quick "no compiler" "no home" -- -x

Most conditions need Linux, and some need root; one that cannot be set up says why, and is neither
passed nor failed.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from fastnet.kernels.cache_dir import user_cache
from tests.checkout import ROOT, tracked_files

QUICK: Final = (
    "tests/backends/gpu/test_emulator.py",
    "tests/backends/test_backends.py",
    "tests/cli/test_cli_backends.py",
    "tests/cli/test_cli_help.py",
    "tests/cli/test_cli_process.py",
    "tests/data",
    "tests/export/test_export_c.py",
    "tests/export/test_export_python.py",
    "tests/kernels/test_kernel_cache.py",
    "tests/project",
    "tests/serialization/test_model_files.py",
    "tests/tools",
    "tests/training/checkpoints/test_checkpoint_files.py",
)
"""The tests of ``--quick``: they meet files, processes, compilers, locales and clocks."""

COMPILERS: Final = re.compile(r"(.*-)?(cc|c89|c99|c\+\+|gcc|g\+\+|clang|clang\+\+|tcc)(-[\d.]+)?")
BROKEN: Final = (
    *("cc", "gcc", "c++", "g++", "clang", "clang++", "nvcc", "nvidia-smi", "git", "make"),
    *("uv", "pip", "pypy3", "node", "chromium", "google-chrome"),
    *(f"python3.{minor}" for minor in range(8, 16)),
)
"""Programs that are on PATH and do not work under the conditions of `shims`."""


class CannotTryError(Exception):
    """The condition cannot be set up on this machine."""


@dataclass
class Run:
    """One run of the tests, which a condition changes before it starts.

    Attributes
    ----------
    scratch : Path
        A folder for whatever the condition needs, removed afterwards.
    checkout : Path
        The copy to be made; a condition may give it another name.
    environment : dict of str
    before : list of str
        A command that starts the tests: ``unshare --net``, for example.
    options : dict
        More arguments of `subprocess.run`, such as ``umask``.
    """

    scratch: Path
    checkout: Path
    environment: dict[str, str]
    before: list[str] = field(default_factory=list)
    options: dict[str, Any] = field(default_factory=dict)

    def python(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run this Python in the copy, with standard error where its output goes."""
        return subprocess.run(
            [*self.before, sys.executable, *arguments],
            cwd=self.checkout,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            check=False,
            **self.options,
        )


Condition = Callable[[Run], Iterator[None]]
CONDITIONS: Final[dict[str, Condition]] = {}
"""Generators by name: each changes a `Run`, yields once the copy may be made and tested, and tidies
up. What comes after a second ``yield`` happens when the copy is there, before the tests."""


def condition(name: str) -> Callable[[Condition], Condition]:
    """Add a generator to `CONDITIONS`."""

    def add(function: Condition) -> Condition:
        CONDITIONS[name] = function
        return function

    return add


def variables(name: str, **changes: str | None) -> None:
    """Add a condition that sets environment variables, or removes those that are None."""

    @condition(name)
    def change(run: Run) -> Iterator[None]:
        for key, value in changes.items():
            run.environment.pop(key, None)
            if value is not None:
                run.environment[key] = value
        yield


def need(*programs: str, root: bool = False) -> None:
    """Raise `CannotTryError` unless these programs, and root's rights, are here."""
    missing = [name for name in programs if shutil.which(name) is None]
    if missing:
        raise CannotTryError(f"needs {', '.join(missing)}")
    if root and os.geteuid() != 0:
        raise CannotTryError("needs root")


# --- the conditions -------------------------------------------------------------------------------

variables("nothing odd")
variables("LC_ALL is C", LC_ALL="C", LANG=None)
variables("ASCII files", LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")
variables("another time zone", TZ="Asia/Kathmandu")
variables("an odd terminal", COLUMNS="40", TERM="dumb", FORCE_COLOR="1", NO_COLOR=None)
variables("no home", HOME=None, FASTNET_CACHE_DIR=None)
variables("a home that is not there", HOME="/dev/null/home", FASTNET_CACHE_DIR=None)


@condition("an odd path")
def an_odd_path(run: Run) -> Iterator[None]:
    """Put the checkout and the temporary files where the path has spaces and other letters."""
    run.checkout = run.scratch / "ein Größenmaß, 名" / "check out"
    folder = run.scratch / "tmp ü"
    try:
        folder.mkdir()
    except UnicodeEncodeError:
        raise CannotTryError("needs a locale that has other letters than ASCII") from None
    run.environment["TMPDIR"] = str(folder)
    yield


@condition("umask 077")
def private_files(run: Run) -> Iterator[None]:
    """Make every new file readable for its owner only."""
    run.options["umask"] = 0o077
    yield


def hide(run: Run, hidden: Callable[[str], bool]) -> None:
    """Put one folder on PATH, with links to all programs that are not hidden."""
    folder = run.scratch / "programs"
    folder.mkdir()
    for place in os.environ["PATH"].split(os.pathsep):
        for program in sorted(Path(place).iterdir()) if Path(place).is_dir() else ():
            link = folder / program.name
            if not hidden(program.name) and not link.is_symlink():
                link.symlink_to(program)
    run.environment["PATH"] = str(folder)
    for name in ("CC", "CXX"):
        run.environment.pop(name, None)


@condition("no compiler")
def no_compiler(run: Run) -> Iterator[None]:
    """Take the compilers of C and C++ off PATH."""
    hide(run, lambda name: COMPILERS.fullmatch(name) is not None)
    yield


@condition("no git")
def no_git(run: Run) -> Iterator[None]:
    """Take git off PATH."""
    hide(run, lambda name: name == "git")
    yield


def shims(name: str, script: str) -> None:
    """Add a condition that puts programs on PATH that are there and do not work."""

    @condition(name)
    def broken(run: Run) -> Iterator[None]:
        folder = run.scratch / "shims"
        folder.mkdir()
        for program in BROKEN:
            shim = folder / program
            shim.write_text(f"#!/bin/sh\n{script}\n", encoding="ascii")
            shim.chmod(0o755)
        run.environment["PATH"] = f"{folder}{os.pathsep}{run.environment['PATH']}"
        run.environment["PYENV_ROOT"] = str(run.scratch / "no pyenv")
        for variable in ("CC", "CXX"):
            run.environment.pop(variable, None)
        yield


# As pyenv's for Pythons that were not chosen.
shims("broken programs", 'echo "$0: not installed here" >&2; exit 127')
shims("programs of nonsense", "printf 'n\\377nsense\\0'")


@condition("TMPDIR without programs")
def noexec(run: Run) -> Iterator[None]:
    """Mount the folder of temporary files so that no program and no library in it may run."""
    need("unshare", "mount", root=True)
    folder = run.scratch / "noexec"
    folder.mkdir()
    mount = 'mount -t tmpfs -o noexec tmpfs "$TMPDIR" && exec "$@"'
    run.before = ["unshare", "--mount", "sh", "-c", mount, "sh"]
    run.environment["TMPDIR"] = str(folder)
    yield


@condition("a read-only checkout")
def read_only(run: Run) -> Iterator[None]:
    """Mount the checkout so that nothing in it can be written, by root neither."""
    need("unshare", "mount", root=True)
    mount = 'mount --bind . . && mount -o remount,ro,bind "$PWD" && cd "$PWD" && exec "$@"'
    run.before = ["unshare", "--mount", "sh", "-c", mount, "sh"]
    yield


@condition("no network")
def no_network(run: Run) -> Iterator[None]:
    """Run where there is no network but the machine itself."""
    need("unshare", "ip", root=True)
    run.before = ["unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
    yield


def as_user(run: Run, number: int) -> None:
    """Run the tests as another user, who owns the copy."""
    need(root=True)
    run.options.update(user=number, group=number, extra_groups=[])
    try:
        subprocess.run([sys.executable, "-c", ""], check=True, **run.options)
    except (OSError, subprocess.CalledProcessError):
        raise CannotTryError(f"other users may not run {sys.executable}") from None
    for path in (run.scratch, *run.scratch.rglob("*")):
        os.chown(path, number, number, follow_symlinks=False)


@condition("not root")
def not_root(run: Run) -> Iterator[None]:
    """Run as an ordinary user."""
    need(root=True)
    home = run.scratch / "home"
    home.mkdir()
    run.environment["HOME"] = str(home)
    yield
    as_user(run, 65534)
    yield


@condition("a user without a name")
def nameless(run: Run) -> Iterator[None]:
    """Run as a number that the system knows no user of, without a home, as containers do."""
    need(root=True)
    for name in ("HOME", "USER", "LOGNAME", "FASTNET_CACHE_DIR"):
        run.environment.pop(name, None)
    yield
    as_user(run, 54321)
    yield


@condition("one core")
def one_core(run: Run) -> Iterator[None]:
    """Let the tests use one core only."""
    need("taskset")
    run.before = ["taskset", "-c", str(min(os.sched_getaffinity(0)))]
    yield


@condition("a busy machine")
def busy(run: Run) -> Iterator[None]:
    """Keep every core busy with something else, twice."""
    count = 2 * (os.cpu_count() or 1)
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


# --- running them ---------------------------------------------------------------------------------


def copy_checkout(target: Path) -> None:
    """Copy the tracked files, with their times, into a repository of its own."""
    for name in tracked_files():
        path = target / name
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, path, follow_symlinks=False)
    subprocess.run(["git", "init", "--quiet", str(target)], check=True)


@contextmanager
def prepared(name: str) -> Iterator[Run]:
    """Yield a run under this condition, whose copy of the checkout is ready."""
    with tempfile.TemporaryDirectory(prefix="fastnet-", ignore_cleanup_errors=True) as folder:
        scratch = Path(folder)
        scratch.chmod(0o755)
        cache = scratch / "cache"
        # Compiled kernels depend on the times of the sources, which the copy keeps.
        if user_cache().is_dir():
            shutil.copytree(user_cache(), cache)
        environment = {**os.environ, "FASTNET_CACHE_DIR": str(cache)}
        run = Run(scratch, scratch / "checkout", environment)
        stages = CONDITIONS[name](run)
        next(stages)
        try:
            copy_checkout(run.checkout)
            # The tests, and the commands that they start, import the copy and nothing else.
            run.environment["PYTHONPATH"] = str(run.checkout)
            next(stages, None)
            yield run
        finally:
            for _ in stages:  # a condition ends by itself when the tests are done
                pass


def try_out(name: str, arguments: Sequence[str], logs: Path | None = None) -> tuple[str, str]:
    """Run the tests under a condition; return the verdict, and pytest's last line or the reason.

    All that pytest says goes into a file in the folder `logs`.
    """
    try:
        with prepared(name) as run:
            done = run.python("-m", "pytest", "-q", "-ra", "--color=no", *arguments)
    except CannotTryError as error:
        return "not tried", str(error)
    if logs is not None:
        logs.mkdir(parents=True, exist_ok=True)
        (logs / f"{name.replace(' ', '-')}.log").write_text(done.stdout, encoding="utf-8")
    lines = done.stdout.strip().splitlines() or ["pytest said nothing"]
    failures = [line for line in lines if line.startswith(("FAILED", "ERROR"))]
    if done.returncode == 0:
        return "passes", lines[-1]
    return "FAILS", "\n".join([lines[-1], *(failures or lines[-20:])])


def table(rows: Mapping[str, tuple[str, str]]) -> str:
    """Return a line for each condition: its name, the verdict, the first line of what was said."""
    width = max(map(len, rows))
    return "\n".join(
        f"{name:{width}}  {verdict:9}  {text.splitlines()[0]}"
        for name, (verdict, text) in rows.items()
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Go through the conditions; 1 if the tests fail under one of them."""
    parser = argparse.ArgumentParser(
        "python -m tools.conditions",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("condition", nargs="*", help=f"of {', '.join(CONDITIONS)}")
    parser.add_argument("--quick", action="store_true", help="the tests that meet the machine")
    parser.add_argument("--logs", type=Path, help="a folder for all that pytest says")
    given = sys.argv[1:] if arguments is None else list(arguments)
    own, rest = given, []
    if "--" in given:
        own, rest = given[: given.index("--")], given[given.index("--") + 1 :]
    options = parser.parse_args(own)
    unknown = set(options.condition) - set(CONDITIONS)
    if unknown:
        parser.error(
            f"no condition {', '.join(sorted(unknown))}; there are {', '.join(CONDITIONS)}"
        )
    rows = {}
    for name in options.condition or CONDITIONS:
        start = time.monotonic()
        rows[name] = try_out(name, [*(QUICK if options.quick else ()), *rest], options.logs)
        verdict, text = rows[name]
        print(f"{name}: {verdict} in {time.monotonic() - start:.0f} s: {text}", flush=True)
    print(f"\n{table(rows)}")
    return int(any(verdict == "FAILS" for verdict, _ in rows.values()))


if __name__ == "__main__":
    sys.exit(main())
