"""Constants of an exported C file: numbers and texts as C writes them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fastnet.errors import InputError

_PER_LINE: Final = 6
_WORDS: Final = {"nan": "NAN", "inf": "INFINITY", "-inf": "-INFINITY"}


def numerals(values: NDArray[Any]) -> list[str]:
    """Return numbers in the digits that give them back exactly."""
    suffix = "f" if values.dtype == np.float32 else ""
    texts = values.ravel().astype(np.str_).tolist()
    return [_WORDS.get(text, f"{text}{suffix}") for text in texts]


def numbers(declaration: str, values: NDArray[Any], attribute: str = "") -> str:
    """Return the definition of an array of numbers."""
    name = f"static const {declaration}[{values.size}]{f' {attribute}' if attribute else ''}"
    return f"{name} = {{\n{wrapped(numerals(values))}}};\n"


def texts(name: str, values: Sequence[str]) -> str:
    """Return the definition of a public array of texts."""
    items = wrapped(map(literal, values))
    return f"const char *const {name}[{len(values)}] = {{\n{items}}};\n"


def wrapped(items: Iterable[str], per_line: int = _PER_LINE) -> str:
    """Return items with commas between them, several a line."""
    listed = list(items)
    parts = (listed[i : i + per_line] for i in range(0, len(listed), per_line))
    return "".join(f"  {', '.join(part)},\n" for part in parts)


def literal(text: str) -> str:
    """Return a text as a C literal in UTF-8.

    Escapes are octal, because those end after three digits; a question mark is escaped because two
    of them begin a trigraph.

    Raises
    ------
    InputError
        The text has a zero byte, which would end it, or half of a surrogate pair.
    """
    try:
        encoded = text.encode()
    except UnicodeEncodeError:
        encoded = b"\0"
    if 0 in encoded:
        raise InputError(
            f"C cannot hold the text {text!r}: rename it, or export to another format."
        )
    plain = set(range(32, 127)) - {ord(c) for c in '"\\?'}
    return '"' + "".join(chr(b) if b in plain else f"\\{b:03o}" for b in encoded) + '"'
