"""The built distribution: what is in it, what it says of itself, and what importing it loads."""

from __future__ import annotations

import email
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from dataclasses import dataclass
from email.message import Message
from pathlib import Path

import pytest

from tests.checkout import ROOT, tracked_files

FOLDERS = {"fastnet": "fastnet", "kernels": "fastnet/kernels", "benchmarks": "fastnet/benchmarks"}
"""Where the files of each folder of the checkout are installed."""

NOT_INSTALLED = ("benchmarks/results/",)
"""Records of measurements: README shows them, and no installed program needs one."""

HEAVY = {
    "click", "cupy", "jax", "llvmlite", "matplotlib", "numba", "onnx", "pandas", "pyarrow", "rich",
    "safetensors", "scipy", "sklearn", "threadpoolctl", "torch",
}  # fmt: skip


PREPARED = "kernels/cpu/run.float32.512.ir"
"""What ``make wheel`` writes before it builds; no file of this kind is tracked."""


def installed_names(tracked: list[str]) -> set[str]:
    """Return where the wheel should hold each tracked file that belongs in it."""
    names = set()
    for name in tracked:
        folder, _, rest = name.partition("/")
        if folder in FOLDERS and rest and not (ROOT / name).is_symlink():
            if name.startswith(NOT_INSTALLED):
                continue
            names.add(f"{FOLDERS[folder]}/{rest}")
    return names


def differences(expected: set[str], found: set[str]) -> list[str]:
    """Return a line for every file that is only on one side."""
    return sorted(
        [f"not in the wheel: {name}" for name in expected - found]
        + [f"only in the wheel: {name}" for name in found - expected]
    )


@dataclass(frozen=True)
class Built:
    """A wheel made from the checkout, and one made from the sdist of the checkout."""

    wheel: Path
    from_sdist: Path
    sdist: Path

    @property
    def metadata(self) -> Message:
        """What the wheel says of itself."""
        with zipfile.ZipFile(self.wheel) as archive:
            (name,) = (n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
            return email.message_from_bytes(archive.read(name))

    def text(self, suffix: str) -> str:
        """Return the content of the one file in the wheel whose name ends so."""
        with zipfile.ZipFile(self.wheel) as archive:
            (name,) = (n for n in archive.namelist() if n.endswith(suffix))
            return archive.read(name).decode()


def names_in(wheel: Path) -> set[str]:
    """Return the files in a wheel, without its metadata."""
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert len(names) == len(set(names)), "a file is in the wheel twice"
    return {name for name in names if ".dist-info/" not in name}


def build(kind: str, source: Path, out: Path) -> Path:
    """Build an ``sdist`` or a ``wheel``, as an installer would but with the setuptools at hand."""
    code = f"import sys; from setuptools import build_meta as b; b.build_{kind}(sys.argv[1])"
    done = subprocess.run(
        [sys.executable, "-c", code, str(out)], cwd=source, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (result,) = out.iterdir()
    return result


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Build everything from a copy of the tracked files, so that nothing else can slip in."""
    top = tmp_path_factory.mktemp("built")
    source = top / "source"
    for name in tracked_files():
        target = source / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, target, follow_symlinks=False)
    (source / PREPARED).write_bytes(b"{}\n")
    folders = [top / name for name in ("sdist", "unpacked", "from_sdist", "wheel")]
    for folder in folders:
        folder.mkdir()
    sdist = build("sdist", source, folders[0])
    with tarfile.open(sdist) as archive:
        # The way that also works before Python 3.11.4, which brought the argument `filter`.
        archive.extraction_filter = getattr(tarfile, "data_filter", lambda member, path: member)
        archive.extractall(folders[1])
    (unpacked,) = folders[1].iterdir()
    from_sdist = build("wheel", unpacked, folders[2])
    return Built(build("wheel", source, folders[3]), from_sdist, sdist)


def test_the_wheel_holds_exactly_the_tracked_files_and_the_prepared_code(built: Built) -> None:
    expected = installed_names([*tracked_files(), PREPARED])
    assert differences(expected, names_in(built.wheel)) == []


def test_the_wheel_made_from_the_sdist_is_the_same(built: Built) -> None:
    assert differences(names_in(built.wheel), names_in(built.from_sdist)) == []


def test_the_comparison_sees_a_file_that_is_missing_and_one_too_many() -> None:
    tracked = ["fastnet/py.typed", "kernels/cuda/dense.cu", "README.md", "tests/test_x.py"]
    tracked += ["benchmarks/results/x.json"]
    expected = installed_names(tracked)
    assert expected == {"fastnet/py.typed", "fastnet/kernels/cuda/dense.cu"}
    assert differences(expected, {"fastnet/py.typed", "kernels/cuda/dense.cu"}) == [
        "not in the wheel: fastnet/kernels/cuda/dense.cu",
        "only in the wheel: kernels/cuda/dense.cu",
    ]


def test_the_wheel_is_pure_python_and_installs_one_package(built: Built) -> None:
    assert built.wheel.name.endswith("-py3-none-any.whl")
    assert "Root-Is-Purelib: true" in built.text(".dist-info/WHEEL")
    assert {name.split("/")[0] for name in names_in(built.wheel)} == {"fastnet"}
    assert "fastnet/py.typed" in names_in(built.wheel)


def test_the_sdist_can_be_tested(built: Built) -> None:
    with tarfile.open(built.sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    tested = "tests/", "tools/", *NOT_INSTALLED
    tests = {name for name in tracked_files() if name.startswith(tested)}
    assert tests | {"LICENSE", "Makefile", "README.md", "pyproject.toml"} <= names


def test_the_metadata_is_right(built: Built) -> None:
    from fastnet import __version__

    metadata = built.metadata
    assert metadata["Name"] == "fastnet-mlp"
    assert metadata["Version"] == __version__
    assert metadata["License-Expression"] == "BSD-3-Clause"
    assert metadata["Requires-Python"] == ">=3.11"
    assert "fastnet = fastnet.cli:main" in built.text(".dist-info/entry_points.txt")
    requires = [line for line in metadata.get_all("Requires-Dist", []) if "extra ==" not in line]
    names = {line.partition(">=")[0] for line in requires}
    assert names == {"click", "numba", "numpy", "rich", "safetensors", "threadpoolctl"}


def bounded_above(requirements: list[str]) -> list[str]:
    """Return the requirements that refuse some later version."""
    return [line for line in requirements if re.search("[<~!]|==", line)]


def test_only_the_tools_of_developers_have_an_upper_bound() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    assert bounded_above(project["dependencies"]) == []
    # One series of a linter and of a compiler: one result for everybody.
    assert {name for name in extras if bounded_above(extras[name])} == {"dev", "nvrtc"}


def test_who_installs_the_estimators_can_give_them_data_frames() -> None:
    # scikit-learn itself brings narwhals from some version on, and the extra takes older ones.
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    assert {line.partition(">=")[0] for line in extras["sklearn"]} == {"narwhals", "scikit-learn"}
    assert set(extras["sklearn"]) & set(extras["data"]) == {"narwhals>=1.20"}


def loaded_by(statement: str) -> set[str]:
    """Return the names of the top-level modules that a fresh interpreter has after it."""
    code = f"{statement}\nimport sys; print('\\n'.join(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return {name.partition(".")[0] for name in done.stdout.split()}


def test_importing_fastnet_loads_numpy_and_nothing_heavier() -> None:
    loaded = loaded_by("import fastnet")
    assert {"fastnet", "numpy"} <= loaded
    assert loaded & HEAVY == set()


def test_training_on_numpy_loads_little_more_and_a_file_safetensors(tmp_path: Path) -> None:
    code = """
import fastnet as fn
net = fn.Network([2, 3, 1], backend="numpy")
net.fit([[0, 1], [2, 3]], [[0], [1]], epochs=2, standardize=True, early_stopping=2)
net.predict([[0, 1]])
"""
    assert loaded_by(code) & HEAVY <= {"threadpoolctl"}
    code += f"net.save({str(tmp_path / 'm')!r}); fn.load({str(tmp_path / 'm')!r}, backend='numpy')"
    assert loaded_by(code) & HEAVY - {"threadpoolctl"} == {"safetensors"}


def test_a_heavy_import_would_be_seen() -> None:
    assert loaded_by("import fastnet, safetensors, click") & HEAVY == {"safetensors", "click"}
