"""Constants of an exported C file: numbers and texts as C writes them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

_PER_LINE: Final = 6


def numerals(values: NDArray[Any]) -> list[str]:
    """Return numbers in the digits that give them back exactly."""
    suffix = "f" if values.dtype == np.float32 else ""
    texts = values.ravel().astype(np.str_).tolist()
    return ["NAN" if text == "nan" else f"{text}{suffix}" for text in texts]


def numbers(declaration: str, values: NDArray[Any]) -> str:
    """Return the definition of an array of numbers."""
    return f"static const {declaration}[{values.size}] = {{\n{wrapped(numerals(values))}}};\n"


def texts(declaration: str, values: Sequence[str]) -> tuple[str, str]:
    """Return the definition of an array of texts: its code, and the literals."""
    return f"{declaration}[{len(values)}] = ", f"{{\n{wrapped(map(literal, values))}}};\n"


def wrapped(items: Iterable[str]) -> str:
    """Return items with commas between them, several a line."""
    listed = list(items)
    parts = (listed[i : i + _PER_LINE] for i in range(0, len(listed), _PER_LINE))
    return "".join(f"  {', '.join(part)},\n" for part in parts)


def literal(text: str) -> str:
    """Return a text as a C literal; octal escapes, as they end after three digits."""
    plain = set(range(32, 127)) - {ord(c) for c in '"\\?'}  # ? begins trigraphs
    return '"' + "".join(chr(b) if b in plain else f"\\{b:03o}" for b in text.encode()) + '"'
