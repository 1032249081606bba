"""Names in an exported C file: its prefix, the fields of a row, and the words of the templates."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

_WORDS: Final = """\
auto break case char const continue default do double else enum extern float for goto if inline
int long register restrict return short signed sizeof static struct switch typedef union
unsigned void volatile while
alignas alignof and asm bool catch class concept constexpr delete explicit export false friend
mutable namespace new noexcept not nullptr operator or private protected public requires
template this throw true try typeid typename typeof using virtual xor
complex errno far huge interface linux near small stderr stdin stdout unix
BUFSIZ EOF I INFINITY NAN NULL RAND_MAX
"""
RESERVED: Final = frozenset(_WORDS.split())
"""Keywords of C and C++, and macros that compilers or common headers define without a prefix."""


def prefix_of(name: str) -> str:
    """Return `name` as a C identifier."""
    prefix = re.sub(r"\W", "_", name, flags=re.ASCII)
    return prefix if re.match("[A-Za-z]", prefix) else f"net_{prefix}"


def fields_of(names: Sequence[str]) -> list[str]:
    """Return the name of a field for each column: near the column's own, and no two alike."""
    fields: dict[str, None] = {}
    for name in names:
        plain = re.sub(r"\W", "_", name, flags=re.ASCII)
        plain = plain if re.match("[A-Za-z]", plain) else f"column_{plain}"
        plain = f"{plain}_" if plain in RESERVED else plain
        field, count = plain, 1
        while field in fields:
            count += 1
            field = f"{plain}_{count}"
        fields[field] = None
    return list(fields)


def real(dtype: np.dtype[Any]) -> str:
    """Return the C type of the network's numbers."""
    return "float" if dtype == np.float32 else "double"


def filled(template: str, prefix: str, dtype: np.dtype[Any]) -> str:
    """Return the text of `templates` with the prefix and the precision of this network."""
    suffix = "f" if dtype == np.float32 else ""
    text = re.sub(r"\bF\((\w+)\)", rf"\1{suffix}", template)
    text = re.sub(r"\bREAL\b", real(dtype), text)
    text = re.sub(r"\bNAME_(INPUTS|OUTPUTS|HEADER|DECLARED)\b", rf"{prefix.upper()}_\1", text)
    return re.sub(r"\bNAME(?=_|\b)", prefix, text)
