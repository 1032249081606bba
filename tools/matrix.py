"""Run the tests that depend on versions with other versions of Python and of the dependencies.

``python -m tools.matrix`` makes an environment for each Python it finds, with the newest
dependencies, one with the oldest Python and the lowest versions that ``pyproject.toml`` allows, and
one for each scikit-learn of `SCIKIT_LEARN`, with the tests of the estimators. It installs the
checkout there, runs the tests with an empty kernel cache, and prints a line for each. Nothing is
left behind. It needs a package index, and some minutes for each environment.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from tests.checkout import ROOT, said

TESTS: Final = (
    "backends/test_numba_tiny",
    "model/test_one_row",
    "training/test_online",
    "training/test_fit",
    "serialization/test_model_files",
    "training/checkpoints/test_checkpoint_files",
    "kernels/test_kernel_cache",
    "kernels/test_native",
    "cli/test_cli_train",
    "cli/test_cli_use",
    "backends/test_threads",
)
"""What uses the insides of a dependency, or what its versions differ in."""

ESTIMATORS: Final = (
    "sklearn/test_conformance",
    "sklearn/test_drop_in",
    "sklearn/test_ecosystem",
    "sklearn/test_options",
)
"""What depends on scikit-learn: its own checks of estimators among them."""

SCIKIT_LEARN: Final = ("1.6", "1.7", "1.8", "newest")

TOOLS: Final = ("pytest>=8", "pytest-benchmark>=5", "hypothesis>=6.100")
MINORS: Final = range(11, 30)


@dataclass(frozen=True)
class Environment:
    """A Python, and what is installed and tested there."""

    python: str
    name: str = "newest"
    requirements: tuple[str, ...] = ()
    extras: str = "lbfgs,onnx"
    tests: Sequence[str] = TESTS


def lowest(project: dict[str, Any]) -> tuple[str, ...]:
    """Return the dependencies at the lowest versions allowed: ``numpy>=2.0`` is numpy 2.0."""
    return tuple(each.replace(">=", "==") for each in project["project"]["dependencies"])


def environments(found: Sequence[str], project: dict[str, Any]) -> Iterator[Environment]:
    """Yield the environments to go through, for these Pythons."""
    yield Environment(found[0], "lowest", lowest(project))
    yield from map(Environment, found)
    for version in SCIKIT_LEARN:
        # pytest 9 warns of how the decorator of scikit-learn 1.6 hands over its checks, and SciPy
        # 1.16 of an option that the L-BFGS of scikit-learn 1.6 and 1.7 passes.
        old = f"scikit-learn=={version}.*", "pytest<9", "scipy<1.16"
        pinned = () if version == "newest" else old
        needed = *pinned, "pandas", "polars"
        extras, name = "onnx,sklearn,data", f"scikit-learn-{version}"
        yield Environment(found[0], name, needed, extras, ESTIMATORS)


def pythons() -> Iterator[str]:
    """Yield one Python of each version from 3.11 that runs: of pyenv, or of the path."""
    pyenv = os.environ.get("PYENV_ROOT") or os.path.expanduser("~/.pyenv")
    for minor in MINORS:
        # What is on PATH need not be one: version managers put programs there that only say that
        # this version is not installed, or not chosen, and exit with an error.
        check = "import sys; print(*sys.version_info[:2])"
        name = f"python3.{minor}"
        found = sorted(Path(pyenv, "versions").glob(f"3.{minor}.*/bin/{name}"), reverse=True)
        candidates = [*map(str, found), shutil.which(name)]
        yield from [
            path for path in candidates if path and said(path, "-c", check) == f"3 {minor}\n"
        ][:1]


def call(*command: str | Path, **changes: str) -> subprocess.CompletedProcess[str]:
    """Run a command in the checkout, with standard error where its output goes."""
    return subprocess.run(
        [str(part) for part in command],
        cwd=ROOT,
        env={**os.environ, **changes},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


def try_out(environment: Environment, folder: Path) -> tuple[bool, str]:
    """Install and test in a new environment in `folder`; return whether all is well, and why."""
    python = folder / "bin" / "python"
    changes = {"FASTNET_CACHE_DIR": str(folder / "cache"), "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    packages = ("-e", f"{ROOT}[{environment.extras}]", *environment.requirements, *TOOLS)
    files = [str(Path("tests") / f"{name}.py") for name in environment.tests]
    for command in (
        (environment.python, "-m", "venv", folder),
        (python, "-m", "pip", "install", "-q", *packages),
        (python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *files),
    ):
        done = call(*command, **changes)
        if done.returncode:
            return False, "\n" + done.stdout
    return True, done.stdout.strip().splitlines()[-1]


def versions(folder: Path) -> str:
    """Return the versions of Python and of what fastnet needs in an environment."""
    names = "numpy numba llvmlite safetensors click rich threadpoolctl scikit-learn"
    program = (
        "import platform; from importlib.metadata import distributions; "
        "there = {each.name: each.version for each in distributions()}; "
        f"names = [n for n in '{names}'.split() if n in there]; "
        "print(platform.python_version(), *(f'{n} {there[n]}' for n in names))"
    )
    return call(folder / "bin" / "python", "-c", program).stdout.strip()


def main() -> int:
    """Go through the environments; 1 if one of them fails."""
    parser = argparse.ArgumentParser("python -m tools.matrix", description=__doc__)
    parser.add_argument("--python", action="append", help="these only, not each that is found")
    parser.add_argument("--only", metavar="NAME", help="newest, lowest, scikit-learn-1.6, ...")
    parser.add_argument("--tests", nargs="+", help="names of other tests")
    arguments = parser.parse_args()
    found = arguments.python or list(pythons())
    if not found:
        parser.error("no Python from 3.11 on was found: name one with --python")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    chosen = [e for e in environments(found, project) if arguments.only in (None, e.name)]
    if not chosen:
        parser.error(f"there is no environment {arguments.only!r}")
    failed = False
    for environment in chosen:
        if arguments.tests:
            environment = replace(environment, tests=arguments.tests)
        start = time.monotonic()
        with tempfile.TemporaryDirectory() as name:
            well, text = try_out(environment, Path(name))
            there = versions(Path(name)) if well else environment.python
        failed = failed or not well
        verdict = "passes" if well else "FAILS"
        took = time.monotonic() - start
        print(f"{environment.name} {verdict} in {took:.0f} s: {there}: {text}", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
