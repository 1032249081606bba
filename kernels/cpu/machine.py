"""Vectors of this machine: their width, and what else kernels are written for."""

from __future__ import annotations

from typing import Final

import llvmlite.binding as llvm

_FEATURES: Final = llvm.get_host_cpu_features()

IS_X86: Final = "sse2" in _FEATURES

# The width of this machine's vectors.
VECTOR_BYTES: Final = 64 if _FEATURES.get("avx512f") else 32 if _FEATURES.get("avx") else 16

# How many vector registers the processor has; only 64-bit ARM has 32 narrow ones.
REGISTERS: Final = 32 if VECTOR_BYTES == 64 or not IS_X86 else 16

# Only x86 has processors without it, and lists it among their features.
HAS_FMA: Final = bool(_FEATURES.get("fma", not IS_X86))
