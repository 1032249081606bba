"""Compiles CUDA text for the CPU and launches its kernels, as ``cupy.RawModule`` does on a GPU."""

from __future__ import annotations

import ctypes
import hashlib
import os
import re
import subprocess
import sys
import tempfile
import threading
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from tests import toolchain
from tests.checkout import runs

SHIM = Path(__file__).with_name("cuda_on_host.h")
WHY_NOT = (
    toolchain.why_no("C++")
    if sys.platform == "linux"
    else "CUDA kernels are run on the CPU on Linux only"
)
"""Why no CUDA kernel can be run on the CPU here, or None."""

# A double that creeps into a float kernel, or the other way round, is an error.
FLAGS = ("-std=c++17", "-O1", "-fPIC", "-shared", "-U_FORTIFY_SOURCE")
FLAGS += ("-Werror=double-promotion", "-Werror=float-conversion")

_ONE_AT_A_TIME = threading.Lock()
"""The emulated threads of a library are fibers of the one thread that launches."""

_KERNEL = re.compile(r'extern "C" __global__ void (\w+)\(([^)]*)\)')
_LETTERS = {"F": np.float32, "D": np.float64, "I": np.int64, "U": np.uint32, "H": np.uint16}


class KernelError(RuntimeError):
    """A kernel broke a rule: a divergent barrier, or one that some threads never reach."""


def kernel_names(source: str) -> tuple[str, ...]:
    """Return the names of the kernels in a CUDA text."""
    return tuple(name for name, _ in _KERNEL.findall(source))


def written_arguments(source: str) -> dict[str, tuple[bool, ...]]:
    """Return of each kernel of a CUDA text which of its arguments are memory that it may write."""
    return {
        name: tuple("*" in one and "const " not in one for one in arguments.split(","))
        for name, arguments in _KERNEL.findall(source)
    }


class HostModule:
    """The kernels of one text, compiled for this machine.

    Parameters
    ----------
    source : str
    schedule : int
        The order in which threads run; see ``cuda_on_host.h``. May be changed at any time.
    """

    def __init__(self, source: str, schedule: int = 0) -> None:
        self.schedule = schedule
        self.writes = written_arguments(source)
        self._library = ctypes.CDLL(str(_build(source)))
        self._kernels = {name: self._load(name) for name in kernel_names(source)}

    def _load(self, name: str) -> tuple[Any, str]:
        launch = getattr(self._library, f"launch_{name}")
        launch.restype = ctypes.c_char_p
        launch.argtypes = (
            ctypes.c_void_p,
            ctypes.c_void_p,
            ctypes.c_size_t,
            ctypes.c_uint,
            ctypes.c_void_p,
        )
        signature = getattr(self._library, f"signature_{name}")
        signature.restype = ctypes.c_char_p
        return launch, signature().decode()

    def launch(
        self,
        name: str,
        grid: tuple[int, ...],
        block: tuple[int, ...],
        arguments: tuple[Any, ...],
        shared_bytes: int = 0,
    ) -> None:
        """Run a kernel; raise `KernelError` if it breaks a rule."""
        launch, signature = self._kernels[name]
        assert len(arguments) == len(signature), (
            f"{name} takes {len(signature)} arguments ({signature}), got {len(arguments)}"
        )
        values = [
            _as_c(f"{name}, argument {n}", letter, value)
            for n, (letter, value) in enumerate(zip(signature, arguments, strict=True))
        ]
        pointers = (ctypes.c_void_p * len(values))(*(ctypes.addressof(v) for v in values))
        sizes = [(ctypes.c_uint * 3)(*(*size, 1, 1)[:3]) for size in (grid, block)]
        with _ONE_AT_A_TIME:
            failure = launch(*sizes, shared_bytes, self.schedule, pointers)
        if failure:
            raise KernelError(f"{name}: {failure.decode()}")


def _as_c(what: str, letter: str, value: Any) -> Any:
    """Return a value as the C type that `letter` stands for, if it is of that kind."""
    if letter == "i":
        assert type(value) is int, f"{what}: expected an int, got {value!r}"
        return ctypes.c_longlong(value)
    if letter == "d":
        assert type(value) is float, f"{what}: expected a float, got {value!r}"
        return ctypes.c_double(value)
    if value is None:
        return ctypes.c_void_p(None)
    assert isinstance(value, np.ndarray), f"{what}: expected an array, got {value!r}"
    assert value.dtype == _LETTERS[letter], f"{what}: expected {letter}, got {value.dtype}"
    assert value.flags.c_contiguous, f"{what}: the array is not contiguous"
    return ctypes.c_void_p(value.ctypes.data)


def _build(source: str) -> Path:
    """Return the shared library of a CUDA text, compiled unless it lies there from before."""
    assert WHY_NOT is None, WHY_NOT
    entries = "\n".join(f"EMULATE({name})" for name in kernel_names(source))
    text = f'#include "{SHIM.name}"\n{source}\n#line 1 "entries"\n{entries}\n'
    command = [str(toolchain.compiler("C++")), *FLAGS, f"-I{SHIM.parent}"]
    key = hashlib.sha256(
        "\0".join([text, SHIM.read_text(encoding="utf-8"), *command]).encode()
    ).hexdigest()
    library = _cache() / f"{key[:24]}.so"
    if not library.exists():
        with tempfile.TemporaryDirectory(dir=library.parent) as folder:
            # Built aside and moved in whole: two processes may build at once.
            built = Path(folder, "kernels.so")
            command[1:1] = _precompiled_header()
            command += ["-x", "c++", "-", "-o", str(built)]
            done = subprocess.run(command, input=text, text=True, capture_output=True, check=False)
            assert done.returncode == 0, f"g++ refused the kernels:\n{done.stderr[:4000]}"
            os.replace(built, library)
    return library


@cache
def _precompiled_header() -> tuple[str, ...]:
    """Return the option that lets g++ find `SHIM` parsed, which takes longer than a kernel.

    It is the folder of a file that g++ takes in place of the header; a compiler that cannot write
    such a file, or that wants another, goes on to the header itself.
    """
    compiler = str(toolchain.compiler("C++"))
    header = SHIM.read_text(encoding="utf-8")
    key = hashlib.sha256("\0".join([header, compiler, *FLAGS]).encode()).hexdigest()
    folder = _cache() / key[:24]
    folder.mkdir(exist_ok=True)
    parsed = folder / f"{SHIM.name}.gch"
    if not parsed.exists():
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            built = Path(scratch, parsed.name)
            command = [compiler, *FLAGS, "-x", "c++-header", str(SHIM), "-o", str(built)]
            if runs(*command):
                os.replace(built, parsed)
    return (f"-I{folder}",)


def _cache() -> Path:
    """Return the folder of compiled libraries, which nobody else may write to."""
    folder = Path(str(toolchain.program_place()), f"fastnet-cuda-on-host-{os.getuid()}")
    folder.mkdir(mode=0o700, exist_ok=True)
    assert folder.stat().st_uid == os.getuid(), f"{folder} belongs to somebody else"
    return folder
