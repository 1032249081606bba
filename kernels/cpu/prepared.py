"""LLVM code of kernels that travels with the package, so that Numba need not make it.

Most of a compilation is Numba's part, to read Python, to find types and to write LLVM code, and
then LLVM's, to optimise that. Both depend on the sources of the kernels and on the width of
vectors, and on next to nothing else of a machine; so the wheel brings optimised code for the usual
widths (``python -m tools.prepare`` writes it). A machine turns it into its processor's. Where no
file fits, Numba makes the code.
"""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import llvmlite.binding as llvm

from fastnet.kernels.cpu import machine

FOLDER: Final = Path(__file__).parent


@dataclass(frozen=True)
class Prepared:
    """LLVM code of a kernel that fits this machine.

    Attributes
    ----------
    numba : str
        What says which version of Numba made it.
    """

    numba: str
    file: Path

    def bitcode(self) -> bytes:
        """Read the code.

        Raises
        ------
        zlib.error
            The file is damaged.
        """
        return zlib.decompress(self.file.read_bytes().partition(b"\n")[2])


def write(folder: Path, name: str, dtype: str, source: str, numba: str, bitcode: bytes) -> Path:
    """Write the code of a kernel for the processor that `machine` describes.

    Parameters
    ----------
    source, numba : str
        The digest of the sources, and what says which version of Numba made it.
    """
    llvm_version, kind = llvm.llvm_version_info, machine.KIND
    header = {"source": source, "numba": numba, "llvm": llvm_version, "machine": kind}
    file = folder / _name_of(name, dtype)
    file.write_bytes(json.dumps(header).encode() + b"\n" + zlib.compress(bitcode, 9))
    return file


def find(name: str, dtype: str, source: str) -> Prepared | None:
    """Return the code for this machine and these sources, if the package has it.

    LLVM reads what an older LLVM wrote, but not what a newer one did.
    """
    file = FOLDER / _name_of(name, dtype)
    try:
        with file.open("rb") as content:
            made = json.loads(content.readline())
        fits = made["source"] == source and made["machine"] == machine.KIND
        if fits and tuple(made["llvm"]) <= tuple(llvm.llvm_version_info):
            return Prepared(str(made["numba"]), file)
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return None


def _name_of(name: str, dtype: str) -> str:
    return f"{name}.{dtype}.{machine.VECTOR_BYTES * 8}.ir"
