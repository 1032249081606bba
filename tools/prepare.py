"""Write the LLVM code of the kernels that the wheel brings: ``python -m tools.prepare``.

Where the package has it, the first training on a machine takes a third of the time: Numba's part of
the compilation is done. The code depends on the width of vectors and on nothing else of the machine
that runs this, and is the same byte by byte each time, with the same versions of Python, Numba and
llvmlite. It belongs to the sources at hand: when a kernel changes, the files are not used any more.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path
from typing import Final

from fastnet.kernels.cpu import machine, native, prepared
from tests.checkout import ROOT

DTYPES: Final = ("float32", "float64")

_V3: Final = (
    "+sse2,+sse3,+ssse3,+sse4.1,+sse4.2,+popcnt,+cx16,+sahf,+avx,+avx2,+bmi,+bmi2,+f16c,+fma,"
    "+lzcnt,+movbe,+xsave"
)
PROCESSORS: Final = {
    "x86-64-v3": _V3,
    "x86-64-v4": f"{_V3},+avx512f,+avx512bw,+avx512cd,+avx512dq,+avx512vl,-prefer-256-bit",
}
"""The levels of x86-64 with vectors of 256 and of 512 bits, as LLVM names them. The second would
else keep to 256 bits, for the clock of the first processors that had 512."""


def write(folder: Path, names: list[str]) -> None:
    """Write the code of these kernels for the processor that this process is told of."""
    for name in names:
        for dtype in DTYPES:
            code, numba = native.llvm_code(name, dtype), native.version_of_numba()
            file = prepared.write(folder, name, dtype, native.source_of(name), numba, code)
            print(
                f"{file.name}: {len(code) // 1000} kB, {file.stat().st_size // 1000} kB in the file"
            )


def environment(processor: str) -> dict[str, str]:
    """Return the variables of a process that writes the code for a processor."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("NUMBA_")}
    return {
        **kept,
        "NUMBA_CPU_NAME": processor,
        "NUMBA_CPU_FEATURES": PROCESSORS[processor],
        "PYTHONHASHSEED": "0",  # the order of sets decides the order of some instructions
        "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))),
    }


def main() -> None:
    """Write the code for each processor, in a process for each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", nargs="?", type=Path, default=prepared.FOLDER.resolve())
    parser.add_argument("--here", action="store_true", help="for this process's processor only")
    parser.add_argument("--kernels", nargs="*", default=list(native.FOR_ALL))
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    if asked.here:
        write(asked.folder, asked.kernels)
        return
    if not machine.IS_X86:
        print("the widths are those of x86-64; nothing is written for this processor")
        return
    command = [sys.executable, "-m", "tools.prepare", "--here", str(asked.folder), "--kernels"]
    running = [
        subprocess.Popen([*command, *asked.kernels], cwd=ROOT, env=environment(processor))
        for processor in PROCESSORS
    ]
    codes = [process.wait() for process in running]  # all of them, whatever one does
    if any(codes):
        raise SystemExit(f"the code was not written: exit codes {codes}")


if __name__ == "__main__":
    main()
