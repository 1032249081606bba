"""How much memory an Arrow file takes, read from its headers before any of it is unpacked.

Compressed buffers begin with the number of bytes that they become, which pyarrow takes at once. The
headers are flatbuffers (Arrow columnar format, "Serialization and interprocess communication"): a
table begins with the distance back to its list of offsets, and an offset of 0 is a field left out.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any, Final

MAGIC: Final = b"ARROW1"

_CONTINUATION: Final = 0xFFFFFFFF
_DICTIONARY, _BATCH = 2, 3  # kinds of messages
_LZ4 = 0  # the codec
_LZ4_RATIO: Final = 256
"""LZ4 makes at most 255 bytes of one; of the other codec, Zstandard, there is no such bound."""

DAMAGE: Final = (ValueError, struct.error)
"""What `unpacked_bytes` raises when headers are damaged."""


def unpacked_bytes(content: bytes) -> int:
    """Return the bytes of all compressed buffers, as they are when unpacked."""
    data = memoryview(content)
    messages = _in_file(data) if content.startswith(MAGIC) else _in_stream(data)
    return sum(_bytes_of(data, start, body) for start, body in messages)


def _number(data: memoryview, kind: str, place: int) -> Any:
    if place < 0:  # which would count from the end
        raise ValueError("a place before the file begins")
    return struct.unpack_from(f"<{kind}", data, place)[0]


def _field(data: memoryview, table: int, number: int) -> int:
    """Return where a field of a table is, 0 where it is left out."""
    offsets = table - _number(data, "i", table)
    entry = 4 + 2 * number
    if entry >= _number(data, "H", offsets):
        return 0
    distance: int = _number(data, "H", offsets + entry)
    return table + distance if distance else 0


def _follow(data: memoryview, place: int) -> int:
    """Return where the table or the vector is that stands at a place."""
    target: int = place + _number(data, "I", place)
    return target


def _vector(data: memoryview, place: int, size: int) -> Iterator[int]:
    """Yield where the parts of a vector are, each of that size; none where it is left out."""
    if not place:
        return
    start = _follow(data, place)
    count = _number(data, "I", start)
    if count * size > len(data) - start:
        raise ValueError("a list is longer than the file")
    yield from range(start + 4, start + 4 + count * size, size)


def _in_file(data: memoryview) -> Iterator[tuple[int, int]]:
    """Yield where the headers of a file's messages are, and their bodies: as its footer says."""
    end = len(data) - len(MAGIC) - 4
    footer = end - _number(data, "i", end)
    table = _follow(data, footer)
    for number in (2, 3):  # dictionaries, and batches of rows
        for block in _vector(data, _field(data, table, number), 24):
            start = _number(data, "q", block)
            yield start + _prefix(data, start), start + _number(data, "i", block + 8)


def _in_stream(data: memoryview) -> Iterator[tuple[int, int]]:
    """Yield where the headers of a stream's messages are, and their bodies."""
    place = 0
    while place < len(data):
        header = place + _prefix(data, place)
        size = _number(data, "i", header - 4)
        if size == 0:
            return
        field = _field(data, _follow(data, header), 3)
        length = _number(data, "q", field) if field else 0
        if size < 0 or length < 0:
            raise ValueError("a message ends before it begins")
        yield header, header + size
        place = header + size + length


def _prefix(data: memoryview, place: int) -> int:
    """Return how many bytes come before a header: older files have its size alone."""
    return 8 if _number(data, "I", place) == _CONTINUATION else 4


def _bytes_of(data: memoryview, header: int, body: int) -> int:
    """Return the unpacked bytes of a message's compressed buffers; 0 where there are none."""
    message = _follow(data, header)
    kind, place = _field(data, message, 1), _field(data, message, 2)
    kind = _number(data, "B", kind) if kind else 0
    if not place or kind not in (_DICTIONARY, _BATCH):
        return 0
    batch = _follow(data, place)
    if kind == _DICTIONARY:
        inner = _field(data, batch, 1)
        if not inner:
            return 0
        batch = _follow(data, inner)
    compression = _field(data, batch, 3)
    if not compression:
        return 0
    codec = _field(data, _follow(data, compression), 0)
    most = _LZ4_RATIO if not codec or _number(data, "B", codec) == _LZ4 else None
    total = 0
    for buffer in _vector(data, _field(data, batch, 2), 16):
        start, length = _number(data, "q", buffer), _number(data, "q", buffer + 8)
        if length:
            unpacked = _number(data, "q", body + start)
            if most is not None and unpacked > most * length:
                raise ValueError(f"a buffer claims {unpacked:,} bytes, more than it can hold")
            total += max(unpacked, 0)  # -1 is for one that is not compressed
    return total
