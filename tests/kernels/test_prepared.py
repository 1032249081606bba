"""LLVM code that travels with the package: what it is used for, and that it is Numba's own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("numba", reason="Numba is not installed")

import llvmlite.binding as llvm

from fastnet.kernels.cpu import machine, prepared
from tests.checkout import ROOT
from tests.kernels.test_kernel_cache import KERNEL, install, run, was_compiled, was_loaded
from tools import prepare

WRITING = """
from pathlib import Path
from fastnet.kernels.cpu import native, prepared

native.ENTRIES["add"] = "kernel_of_a_test"
made = native.llvm_code("add", "float32"), native.source_of("add"), native.version_of_numba()
prepared.write(Path(), "add", "float32", made[1], made[2], made[0])
"""

FROM_HERE = """
from pathlib import Path
from fastnet.kernels.cpu import prepared
prepared.FOLDER = Path(__file__).parent
"""

TRAINED = """
import sys

import numpy as np
import fastnet as fn

x = np.random.default_rng(0).standard_normal((60, 5)).astype(sys.argv[1])
layers = [fn.Dense(9, "gelu"), fn.LayerNorm(), fn.Dropout(0.1), fn.Dense(3)]
net = fn.Network(layers, inputs=5, seed=0, dtype=sys.argv[1], backend="numba")
net.fit(x, x[:, :3], epochs=5, optimizer=fn.Adam(clip_norm=0.1))
print(net.parameters.tobytes().hex(), "numba" in sys.modules)
"""


@pytest.fixture(scope="module")
def written_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The prepared code of a small kernel."""
    folder = tmp_path_factory.mktemp("written")
    install(folder)
    (folder / "writing.py").write_text(WRITING)
    run(folder / "writing.py")
    (file,) = folder.glob("*.ir")
    return file


@pytest.fixture
def program(written_once: Path, tmp_path: Path) -> Path:
    """A program beside the prepared code of its kernel, which looks for it there."""
    program = install(tmp_path)
    shutil.copy(written_once, tmp_path)
    program.write_text(FROM_HERE + program.read_text())
    return program


def code_of(folder: Path) -> bytes:
    (file,) = (folder / "kernels").glob("*.nbc")
    return file.read_bytes()


def test_code_that_is_prepared_is_compiled_without_numba(program: Path, tmp_path: Path) -> None:
    """Into the machine code that Numba would have led to, byte by byte."""
    assert was_loaded(run(program, FASTNET_CACHE_DIR=str(tmp_path / "without")))
    (prepared_code,) = tmp_path.glob("*.ir")
    prepared_code.unlink()
    assert was_compiled(run(program, FASTNET_CACHE_DIR=str(tmp_path / "with")))
    assert code_of(tmp_path / "without") == code_of(tmp_path / "with")


def other_sources(program: Path, file: Path) -> None:
    kernel = program.with_name("kernel_of_a_test.py")
    kernel.write_text(KERNEL.replace("second\n", "second + 0\n"))


def damaged(program: Path, file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-50])


def no_code(program: Path, file: Path) -> None:
    header = file.read_bytes().partition(b"\n")[0]
    file.write_bytes(header + b"\n" + prepared.zlib.compress(b"no code"))


@pytest.mark.parametrize(
    "change", [other_sources, damaged, no_code], ids=lambda change: change.__name__
)
def test_what_does_not_fit_is_compiled_by_numba(change: Any, program: Path, tmp_path: Path) -> None:
    (file,) = tmp_path.glob("*.ir")
    change(program, file)
    done = run(program, FASTNET_CACHE_DIR=str(tmp_path / "cache"))
    assert was_compiled(done)
    assert done.stderr == ""


def test_checked_code_is_not_the_prepared_one(program: Path, tmp_path: Path) -> None:
    cache = str(tmp_path / "cache")
    assert was_compiled(run(program, FASTNET_CACHE_DIR=cache, NUMBA_BOUNDSCHECK="1"))
    assert was_loaded(run(program, FASTNET_CACHE_DIR=cache))


@pytest.mark.parametrize(
    ("where", "what", "value"),
    [
        (machine, "KIND", "another platform"),
        (machine, "VECTOR_BYTES", 8),
        (llvm, "llvm_version_info", (1, 0, 0)),
        (prepared, "FOLDER", Path("nowhere")),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_code_for_other_machines_and_newer_llvm_is_not_found(
    where: Any, what: str, value: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(prepared, "FOLDER", tmp_path)
    prepared.write(tmp_path, "run", "float32", "sources", "numba", b"code")
    found = prepared.find("run", "float32", "sources")
    assert found is not None
    assert (found.numba, found.bitcode()) == ("numba", b"code")
    assert prepared.find("run", "float32", "other sources") is None
    assert prepared.find("run", "float64", "sources") is None
    monkeypatch.setattr(where, what, value)
    assert prepared.find("run", "float32", "sources") is None


@pytest.mark.parametrize("header", [b"", b"\x80", b"[]", b'{"source": "sources"}'], ids=repr)
def test_a_file_with_a_strange_header_is_not_used(
    header: bytes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(prepared, "FOLDER", tmp_path)
    file = prepared.write(tmp_path, "run", "float32", "sources", "numba", b"code")
    file.write_bytes(header + b"\n" + file.read_bytes().partition(b"\n")[2])
    assert prepared.find("run", "float32", "sources") is None


def test_code_of_an_older_llvm_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(prepared, "FOLDER", tmp_path)
    prepared.write(tmp_path, "run", "float32", "sources", "numba", b"code")
    monkeypatch.setattr(llvm, "llvm_version_info", (1000, 0, 0))
    assert prepared.find("run", "float32", "sources") is not None


# --- the program that writes it -------------------------------------------------------------------


def kind_of(environment: dict[str, str]) -> list[str]:
    """Return bytes of a vector, registers, and multiply-adds of the processor of a process."""
    done = subprocess.run(
        [sys.executable, "-c", "from fastnet.kernels.cpu import machine; print(machine.KIND)"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split()[1:]


@pytest.mark.skipif(not machine.IS_X86, reason="the processors are those of x86-64")
def test_each_processor_has_vectors_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBA_OPT", "0")
    v3, v4 = (prepare.environment(processor) for processor in ("x86-64-v3", "x86-64-v4"))
    assert "NUMBA_OPT" not in v3
    assert [kind_of(v3), kind_of(v4)] == [["32", "16", "1"], ["64", "32", "1"]]
    assert kind_of({**v3, "NUMBA_CPU_FEATURES": ""}) == ["16", "16", "0"]


def written(folder: Path, **environment: str) -> dict[str, bytes]:
    """Return the files of the kernel for large products, written by a process with this hash."""
    folder.mkdir()
    subprocess.run(
        [sys.executable, "-m", "tools.prepare", "--here", str(folder), "--kernels", "blocked"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        check=True,
    )
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@pytest.mark.slow
@pytest.mark.skipif(not machine.IS_X86, reason="the processors are those of x86-64")
def test_the_files_are_the_same_byte_by_byte_each_time(tmp_path: Path) -> None:
    one, other = (
        written(tmp_path / name, **prepare.environment("x86-64-v4")) for name in ("one", "other")
    )
    assert len(one) == len(prepare.DTYPES)
    assert one == other


@pytest.mark.slow
@pytest.mark.skipif(
    not machine.IS_X86 or machine.VECTOR_BYTES < 32, reason="nothing is prepared for it"
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_prepared_kernels_compute_the_bits_of_those_that_numba_compiled(
    dtype: str, tmp_path: Path
) -> None:
    processor = "x86-64-v4" if machine.VECTOR_BYTES == 64 else "x86-64-v3"
    folder = tmp_path / "prepared"
    folder.mkdir()
    subprocess.run(
        [sys.executable, "-m", "tools.prepare", "--here", str(folder), "--kernels", "run"],
        cwd=ROOT,
        env=prepare.environment(processor),
        check=True,
    )
    results = []
    for place in (folder, tmp_path):
        code = "from pathlib import Path\nfrom fastnet.kernels.cpu import prepared\n"
        code += f"prepared.FOLDER = Path({str(place)!r})\n{TRAINED}"
        done = subprocess.run(
            [sys.executable, "-c", code, dtype],
            cwd=ROOT,
            env={**os.environ, "FASTNET_CACHE_DIR": str(tmp_path / f"cache of {place.name}")},
            capture_output=True,
            text=True,
            check=True,
        )
        results.append(done.stdout.split())
    (bits, imported), (expected, needed) = results
    assert bits == expected
    assert (imported, needed) == ("False", "True")
