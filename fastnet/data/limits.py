"""How much a compressed file may hold: more than that is damage, or made to fill the memory."""

from __future__ import annotations

from typing import Final

from fastnet.errors import DataError

MAX_RATIO: Final = 1100
"""Deflate makes at most 1,032 bytes of one; a file that claims more is damaged."""

_LARGE: Final = 2**28
_SUSPICIOUS_RATIO: Final = 100


def require_possible(source: str, packed: int, unpacked: int) -> None:
    """Raise `DataError` when `packed` bytes of Deflate claim to hold more than they can.

    And when they claim what is not plausible.
    """
    if unpacked > packed * MAX_RATIO + 1024:
        raise DataError(f"{source} claims {unpacked:,} bytes, more than the file can hold.")
    require_plausible(source, packed, unpacked)


def require_plausible(source: str, packed: int, unpacked: int) -> None:
    """Raise `DataError` when `packed` bytes hold so much that they must hold the same throughout.

    Pictures and tables shrink to a half or a tenth. What shrinks to less than a hundredth and is
    large nevertheless holds nothing that can be learned from.
    """
    if unpacked > _LARGE and unpacked > packed * _SUSPICIOUS_RATIO:
        raise DataError(
            f"{source} holds {unpacked:,} bytes in {packed:,}, as files do that are made to fill "
            "the memory: if it is meant so, store it without compression."
        )
