"""Kernels as machine code: loaded without Numba, and only where it would be compiled the same."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("numba", reason="Numba is not installed")

import llvmlite.binding as llvm

from fastnet.kernels import code_files
from fastnet.kernels.cpu import machine, native, prepared
from tests.kernels.test_kernel_cache import (
    KERNEL,
    PROGRAM,
    install,
    run,
    was_compiled,
    was_loaded,
)

TRAINING = """
import sys

import numpy as np
import fastnet as fn

found = []
for dtype in ("float32", "float64"):
    x = np.random.default_rng(0).standard_normal((40, 4)).astype(dtype)
    y = (x[:, 0] > 0).astype(int)
    layers = [fn.Dense(8, "tanh"), fn.BatchNorm(), fn.Dropout(0.1), fn.Dense(2, "softmax")]
    net = fn.Network(layers, inputs=4, seed=0, dtype=dtype, backend="numba")
    net.fit(x, y, epochs=3, validation_data=(x, y))
    found += [net.parameters, net.predict(x), net.predict_one(x[0]), net.jacobian_one(x[0])]
    step = fn.Network([4, 8, 2], seed=0, dtype=dtype, backend="numba").online_step()
    found.append(step(x[0], x[0, :2]))
wide = fn.Network([512, 512, 1], seed=0, backend="numba")
found.append(wide.predict(np.ones((64, 512), np.float32)))
print([np.asarray(one).tobytes().hex() for one in found])
print("numba" in sys.modules, file=sys.stderr)
"""


def test_a_process_that_finds_all_code_never_imports_numba(tmp_path: Path) -> None:
    """And computes the bits of the process that compiled it, if the first one here did."""
    program = tmp_path / "training.py"
    program.write_text(TRAINING)
    cache = {name: os.environ[name] for name in ("HOME", "XDG_CACHE_HOME") if name in os.environ}
    if "FASTNET_CACHE_DIR" in os.environ:
        cache["FASTNET_CACHE_DIR"] = os.environ["FASTNET_CACHE_DIR"]
    first, later = (run(program, **cache) for _ in range(2))
    assert later.stderr == "False\n"
    assert later.stdout == first.stdout


def test_the_import_of_numba_is_noticed(tmp_path: Path) -> None:
    """The control of the test above."""
    program = tmp_path / "training.py"
    program.write_text("import sys, numba\nprint('numba' in sys.modules, file=sys.stderr)\n")
    assert run(program).stderr == "True\n"


# --- calls ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ((1,), RuntimeError),
        ((1,) * 11, RuntimeError),
        ((1.5,) * 10, TypeError),
        ((2**63,) * 10, OverflowError),
    ],
    ids=["too few", "too many", "no integers", "too large"],
)
def test_a_wrong_call_is_refused(arguments: tuple[Any, ...], error: type[Exception]) -> None:
    with pytest.raises(error, match="10 arguments" if error is RuntimeError else None):
        native.kernel("run", np.float32).call(*arguments)


def test_a_check_that_fails_in_compiled_code_is_an_error(tmp_path: Path) -> None:
    program = install(tmp_path, KERNEL.replace("[0] =", "[first] ="))
    program.write_text(
        PROGRAM + "try:\n    native.kernel('add', np.float32).call(-7, 3, out.ctypes.data)\n"
        "except RuntimeError as error:\n    print(error)\n"
    )
    program.write_text(program.read_text().replace("call(2, 3", "call(0, 5"))
    checked = {"FASTNET_CACHE_DIR": str(tmp_path / "cache"), "NUMBA_BOUNDSCHECK": "1"}
    for how in ("compiled", "loaded"):
        assert run(program, **checked).stdout == f"{how} 5\nthe kernel add failed\n"


# --- which code is found --------------------------------------------------------------------------


def name() -> str:
    return native._entry("run", "float32")[0]


@pytest.fixture
def unprepared(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No LLVM code came with the package."""
    monkeypatch.setattr(prepared, "FOLDER", tmp_path)


@pytest.mark.usefixtures("unprepared")
@pytest.mark.parametrize(
    ("where", "what", "value"),
    [
        (sys, "version", "another Python"),
        (np, "__version__", "another NumPy"),
        (native.llvmlite, "__version__", "another llvmlite"),
        (llvm, "llvm_version_info", (1, 2, 3)),
        (machine, "NAME", "another processor"),
        (machine, "FEATURES", "+another"),
        (machine, "KIND", "another platform"),
        (native, "version_of_numba", lambda: "another Numba"),
        (native, "source_of", lambda name: "other sources"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_code_of_another_environment_is_not_found(
    where: Any, what: str, value: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = name()
    assert name() == before
    monkeypatch.setattr(where, what, value)
    assert name() != before


def test_settings_of_numba_are_part_of_the_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    names = [name()]
    for variable in ("NUMBA_OPT", "NUMBA_BOUNDSCHECK", "NUMBA_ENABLE_AVX"):
        monkeypatch.setenv(variable, "1")
        names.append(name())
    (tmp_path / ".numba_config.yaml").write_text("opt: 0\n")
    names.append(name())
    assert len(set(names)) == 5
    monkeypatch.setenv("NUMBA_NUM_THREADS", "1")  # which no code depends on
    assert name() == names[-1]


def test_an_application_in_one_file_is_known_by_that_file(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [name()]
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    names.append(name())
    monkeypatch.setattr(sys, "executable", __file__)
    names.append(name())
    assert len(set(names)) == 3


def test_code_compiled_with_settings_of_the_program_is_not_kept(tmp_path: Path) -> None:
    program = install(tmp_path)
    plain = program.read_text()
    cache = tmp_path / "cache"
    program.write_text("import numba\nnumba.config.LOOP_VECTORIZE = 0\n" + plain)
    assert was_compiled(run(program, FASTNET_CACHE_DIR=str(cache)))
    assert not list(cache.glob("kernels/*"))
    program.write_text("import numba\nnumba.config.LOOP_VECTORIZE = 1\n" + plain)
    assert was_compiled(run(program, FASTNET_CACHE_DIR=str(cache)))
    program.write_text(plain)
    assert was_loaded(run(program, FASTNET_CACHE_DIR=str(cache)))


def test_code_that_needs_what_is_not_there_is_compiled_anew(tmp_path: Path) -> None:
    program, folder = install(tmp_path), tmp_path / "cache" / "kernels"
    run(program, FASTNET_CACHE_DIR=str(folder.parent))
    (index,) = folder.glob("*.nbi")
    content = code_files.read(folder, index.stem)
    assert content is not None
    code_files.write(folder, index.stem, b"no_such_function " + content, {})
    done = run(program, FASTNET_CACHE_DIR=str(folder.parent))
    assert was_compiled(done)
    assert done.stderr.count("CacheWarning") == 1
    assert "no function no_such_function" in done.stderr
    assert was_loaded(run(program, FASTNET_CACHE_DIR=str(folder.parent)))
