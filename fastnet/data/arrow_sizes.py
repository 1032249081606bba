"""How much memory an Arrow file takes, read from its headers before any of it is unpacked.

A compressed buffer begins with the number of bytes that it becomes, and pyarrow takes that memory
at once: 33 KB can become a gigabyte. pyarrow tells neither the sizes nor where the buffers are, so
this reads both from the headers. Those are flatbuffers (Arrow columnar format, "Serialization and
interprocess communication"), whose offsets pyarrow has verified by the time that they are read
here. A table begins with the distance back to its list of fields; 0 is a field that is left out.
"""

from __future__ import annotations

import importlib
import struct
from collections.abc import Iterator
from mmap import mmap
from typing import Any, Final

MAGIC: Final = b"ARROW1"
"""How a file begins, in contrast to a stream."""

_CONTINUATION: Final = 0xFFFFFFFF
_LZ4: Final = 0  # the codec
_LZ4_RATIO: Final = 256
"""LZ4 makes at most 255 bytes of one; of the other codec, Zstandard, there is no such bound."""


def unpacked_bytes(content: bytes | mmap) -> int:
    """Return the bytes of all compressed buffers, as they are when unpacked.

    For damaged files it raises `ValueError`, `struct.error` or what pyarrow raises.
    """
    return sum(map(_bytes_of, _messages(content)))


def _messages(content: bytes | mmap) -> Iterator[Any]:
    """Yield the messages of a file or a stream, as pyarrow finds them; nothing is unpacked."""
    arrow, ipc = (importlib.import_module(name) for name in ("pyarrow", "pyarrow.ipc"))
    buffer = arrow.py_buffer(content)
    data = memoryview(content)
    if bytes(data[: len(MAGIC)]) != MAGIC:
        yield from ipc.MessageReader.open_stream(buffer)
        return
    ipc.open_file(buffer)  # verifies the footer
    end = len(data) - len(MAGIC) - 4
    footer = _follow(data, end - _number(data, "i", end))
    for field in (2, 3):  # dictionaries, and batches of rows
        for block in _vector(data, _field(data, footer, field), 24):
            start = _number(data, "q", block)
            # pyarrow will take the body from where the block says that the metadata end.
            prefix = 8 if _number(data, "I", start) == _CONTINUATION else 4
            message = ipc.read_message(buffer.slice(start))
            if _number(data, "i", block + 8) != prefix + message.metadata.size:
                raise ValueError("the footer contradicts the size of a message")
            yield message


def _bytes_of(message: Any) -> int:
    """Return the unpacked bytes of a message's compressed buffers; 0 where there are none."""
    if message.type not in ("dictionary", "record batch"):
        return 0
    data, body = memoryview(message.metadata), memoryview(message.body)
    batch = _follow(data, _field(data, _follow(data, 0), 2))
    if message.type == "dictionary":
        batch = _follow(data, _field(data, batch, 1))
    compression = _field(data, batch, 3)
    if not compression:
        return 0
    codec = _field(data, _follow(data, compression), 0)
    most = _LZ4_RATIO if not codec or _number(data, "B", codec) == _LZ4 else None
    total = 0
    for buffer in _vector(data, _field(data, batch, 2), 16):
        start, length = _number(data, "q", buffer), _number(data, "q", buffer + 8)
        if length:
            unpacked = _number(body, "q", start)
            if most is not None and unpacked > most * length:
                raise ValueError(f"a buffer claims {unpacked:,} bytes, more than it can hold")
            total += max(unpacked, 0)  # -1 is for one that is not compressed
    return total


def _number(data: memoryview, kind: str, place: int) -> Any:
    if place < 0:  # which would count from the end
        raise ValueError("a place before the file begins")
    return struct.unpack_from(f"<{kind}", data, place)[0]


def _field(data: memoryview, table: int, number: int) -> int:
    """Return where a field of a table is, 0 where it is left out."""
    fields = table - _number(data, "i", table)
    entry = 4 + 2 * number
    known = entry < _number(data, "H", fields)
    distance: int = _number(data, "H", fields + entry) if known else 0
    return table + distance if distance else 0


def _follow(data: memoryview, place: int) -> int:
    """Return where the table or the vector is that stands at a place."""
    target: int = place + _number(data, "I", place)
    return target


def _vector(data: memoryview, place: int, size: int) -> Iterator[int]:
    """Yield where the parts of a vector are, each of that size; none where it is left out."""
    if place:
        start = _follow(data, place)
        yield from range(start + 4, start + 4 + _number(data, "I", start) * size, size)
