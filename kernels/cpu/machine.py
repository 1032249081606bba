"""The processor that kernels are compiled for: its name, its features, and its vectors.

It is this one, unless ``NUMBA_CPU_NAME`` and ``NUMBA_CPU_FEATURES`` describe another.
"""

from __future__ import annotations

import os
from typing import Final

import llvmlite.binding as llvm


def _features() -> dict[str, bool]:
    given = os.environ.get("NUMBA_CPU_FEATURES")
    if given is None:
        return dict(llvm.get_host_cpu_features())
    return {feature[1:]: feature[0] == "+" for feature in given.split(",") if feature}


_FEATURES: Final = _features()

NAME: Final = os.environ.get("NUMBA_CPU_NAME") or llvm.get_host_cpu_name()

FEATURES: Final = ",".join(f"{'+' if on else '-'}{name}" for name, on in sorted(_FEATURES.items()))
"""As LLVM takes them."""


def has_features(*names: str) -> bool:
    """Return whether the processor has all of these features, by their names in LLVM."""
    return all(_FEATURES.get(name, False) for name in names)


_TRIPLE: Final = llvm.get_process_triple()

IS_X86: Final = _TRIPLE.partition("-")[0] in ("x86_64", "i386", "i686")

# The width of this machine's vectors.
VECTOR_BYTES: Final = 64 if _FEATURES.get("avx512f") else 32 if _FEATURES.get("avx") else 16

# How many vector registers the processor has; only 64-bit ARM has 32 narrow ones.
REGISTERS: Final = 32 if VECTOR_BYTES == 64 or not IS_X86 else 16

# Only x86 has processors without it, and lists it among their features.
HAS_FMA: Final = bool(_FEATURES.get("fma", not IS_X86))

KIND: Final = f"{_TRIPLE} {VECTOR_BYTES} {REGISTERS} {HAS_FMA:d}"
"""What prepared LLVM code has to fit: all else costs speed at most, never a bit."""
