"""Odd places to run in: no home, nothing to write to, one core, another locale, odd paths."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.checkout import ROOT
from tests.on_backends import INSTALLED

PROGRAM = """
import sys
import numpy as np
import fastnet as fn

x = np.random.default_rng(0).standard_normal((40, 3))
names, *backends = sys.argv[1:]
for name, backend in ((name, backend) for name in names.split("/") for backend in backends):
    net = fn.Network([3, 8, 1], activation="tanh", backend=backend)
    run = f"{name} run on {backend}"
    history = net.fit(x, x[:, 0], epochs=3, batch_size=8, checkpoint=run)
    net.save(name)
    again = fn.load(name, backend=backend)
    assert np.array_equal(again.predict(x), net.predict(x))
    print(backend, net.parameters.tobytes().hex(), history["loss"][-1].hex())
"""


def run(
    folder: Path, *backends: str, before: tuple[str, ...] = (), name: str = "m", **changes: str
) -> subprocess.CompletedProcess[str]:
    """Train, save and load on each backend, in a process whose environment has these changes."""
    kept = {key: os.environ[key] for key in ("PATH", "FASTNET_CACHE_DIR") if key in os.environ}
    done = subprocess.run(
        [*before, sys.executable, "-c", PROGRAM, name, *backends],
        cwd=folder,
        env={**kept, "PYTHONPATH": str(ROOT), **changes},
        capture_output=True,
        text=True,
        check=False,
    )
    if "init_import_site" in done.stderr:
        pytest.skip("this Python does not start in ASCII: its .pth files name other letters")
    return done


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What each backend computes where nothing is odd."""
    done = run(tmp_path_factory.mktemp("usual"), *INSTALLED)
    assert (done.returncode, done.stderr) == (0, "")
    assert [line.split()[0] for line in done.stdout.splitlines()] == list(INSTALLED)
    return done.stdout


ENVIRONMENTS: dict[str, dict[str, str]] = {
    "no home": {"HOME": "/nonexistent"},
    "ASCII": {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
    "Latin-1, one thread by OpenMP, other hashes, optimised": {
        "PYTHONIOENCODING": "latin-1",
        "OMP_NUM_THREADS": "1",
        "PYTHONHASHSEED": "12345",
        "PYTHONOPTIMIZE": "2",
    },
    "developer mode, warnings are errors": {"PYTHONDEVMODE": "1", "PYTHONWARNINGS": "error"},
}


@pytest.mark.parametrize("changes", ENVIRONMENTS.values(), ids=ENVIRONMENTS)
def test_an_odd_environment_changes_nothing(
    changes: dict[str, str], usual: str, tmp_path: Path
) -> None:
    done = run(tmp_path, *INSTALLED, **changes)
    assert (done.returncode, done.stderr, done.stdout) == (0, "", usual)


def test_a_path_may_have_any_letters(usual: str, tmp_path: Path) -> None:
    names = ("a b", "ä ö 名", "-x", "'\"", "a\nb")
    folder = tmp_path / "a folder, ä"
    folder.mkdir()
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = run(folder, *INSTALLED, name="/".join(names), **plain)
    assert (done.returncode, done.stderr, done.stdout) == (0, "", usual * len(names))
    assert [name for name in names if not (folder / name).is_file()] == []


@pytest.mark.skipif(
    not hasattr(os, "sched_setaffinity"), reason="cores can be chosen on Linux only"
)
def test_one_core_is_enough(usual: str, tmp_path: Path) -> None:
    one = "import os, sys; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); "
    before = (sys.executable, "-c", one + "os.execv(sys.argv[1], sys.argv[1:])")
    done = run(tmp_path, *INSTALLED, before=before)
    assert (done.returncode, done.stderr, done.stdout) == (0, "", usual)


@pytest.mark.skipif("numba" not in INSTALLED, reason="Numba is not there")
def test_numba_without_its_compiler_says_so(tmp_path: Path) -> None:
    done = run(tmp_path, "numba", NUMBA_DISABLE_JIT="1")
    assert done.returncode == 1
    assert "BackendUnavailableError" in done.stderr
    assert "NUMBA_DISABLE_JIT is set" in done.stderr
    automatic = run(tmp_path, "auto", "numpy", NUMBA_DISABLE_JIT="1")
    by_itself, by_numpy = automatic.stdout.splitlines()
    assert automatic.returncode == 0
    assert by_itself == by_numpy.replace("numpy", "auto", 1)


@pytest.mark.parametrize("home", ["/nonexistent", "/proc"])
def test_a_cache_that_cannot_be_written_does_not_stop_numpy(home: str, tmp_path: Path) -> None:
    done = run(tmp_path, "numpy", HOME=home, FASTNET_CACHE_DIR=f"{home}/cache")
    assert (done.returncode, done.stderr) == (0, "")


def test_an_install_that_cannot_be_written_to_works(tmp_path: Path) -> None:
    """As for a package that root installed: no compiled files of Python beside the sources."""
    import shutil

    site = tmp_path / "site"
    shutil.copytree(
        ROOT / "fastnet", site / "fastnet", ignore=shutil.ignore_patterns("__pycache__")
    )
    folders = [path for path in (site, *site.rglob("*")) if path.is_dir()]
    for folder in folders:
        folder.chmod(0o555)
    try:
        done = run(tmp_path, "numpy", PYTHONPATH=str(site), PYTHONDONTWRITEBYTECODE="1")
        assert (done.returncode, done.stderr) == (0, "")
        assert not list(site.rglob("__pycache__"))
    finally:
        for folder in folders:
            folder.chmod(0o755)
