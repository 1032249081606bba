"""`Parcel`: the work of a population on its way to workers, once to each of them.

It lies in memory that belongs to no file, and that the system takes back when the last process that
looks at it ends, however that one ends. Workers on the same machine map it: its rows are in memory
once for all of them. Others answer that they cannot, and are sent its content.
"""

from __future__ import annotations

import mmap
import os
import pickle
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Final

from fastnet.errors import InputError
from fastnet.populations.work import Work
from fastnet.utils.machine import this_machine

_ALIGNED: Final = 64
"""Arrays begin at multiples of so many bytes."""

_KEPT: Final = 2
"""A worker keeps the work of so many populations: that of the newest, and the one before."""

_kept: OrderedDict[bytes, Work] = OrderedDict()
_keeping = threading.Lock()


class AbsentError(Exception):
    """A worker cannot reach the memory of a parcel: it needs the content."""


@dataclass(frozen=True)
class Label:
    """What goes along with each task: which parcel, and where it is.

    Attributes
    ----------
    token : bytes
        Tells parcels apart.
    place : str
        The path of the memory; empty where the system has none.
    machine : str
        The machine on which that path means it.
    process : int
        The process that has packed it.
    spans : tuple of (start, length)
        Where the pickled work and each of its arrays are.
    content : bytes or None
        All of it, for workers that cannot reach the memory.
    """

    token: bytes
    place: str
    machine: str
    process: int
    spans: tuple[tuple[int, int], ...]
    content: bytes | None = None

    def open(self) -> Work:
        """Return the work.

        Raises
        ------
        AbsentError
            It is not here: `content` is needed.
        InputError
            This process cannot import what it names.
        """
        with _keeping:
            if self.token in _kept:
                _kept.move_to_end(self.token)
                return _kept[self.token]
            view = memoryview(self._map() if self.content is None else self.content).toreadonly()
            parts = [view[start : start + length] for start, length in self.spans]
            try:
                work: Work = pickle.loads(parts[0], buffers=parts[1:])
            except (AttributeError, ImportError) as error:
                raise InputError(
                    f"a worker cannot find what it is to train with: {error}. Functions and "
                    "classes of one's own must be in a module that workers can import."
                ) from None
            _kept[self.token] = work
            while len(_kept) > _KEPT:
                _kept.popitem(last=False)
            return work

    def _map(self) -> mmap.mmap:
        if not self.place or self.machine != this_machine():
            raise AbsentError
        try:
            descriptor = os.open(self.place, os.O_RDONLY | os.O_NONBLOCK)
        except OSError:
            raise AbsentError from None
        try:
            # In a container, the number may be that of another process.
            if os.read(descriptor, len(self.token)) != self.token:
                raise AbsentError
            return mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError):
            raise AbsentError from None
        finally:
            os.close(descriptor)


class Parcel:
    """The work of a population, packed.

    Raises
    ------
    InputError
        A part of it cannot be pickled; the message names the part.
    """

    def __init__(self, work: Work) -> None:
        buffers: list[pickle.PickleBuffer] = []
        try:
            stream = pickle.dumps(work, protocol=5, buffer_callback=buffers.append)
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            name, reason = _culprit("", work, error)
            raise InputError(
                f"{name} cannot be sent to workers: {reason}. Define it at the top of a module, "
                "not as a lambda or within a function."
            ) from None
        token = os.urandom(16)
        parts: list[Any] = [memoryview(stream), *(buffer.raw() for buffer in buffers)]
        end, spans = len(token), list[tuple[int, int]]()
        for part in parts:
            start = -(-end // _ALIGNED) * _ALIGNED
            spans.append((start, part.nbytes))
            end = start + part.nbytes
        self._descriptor = _memory()
        self._content = b""
        place = f"/proc/{os.getpid()}/fd/{self._descriptor}" if self._descriptor is not None else ""
        self.label = Label(token, place, this_machine(), os.getpid(), tuple(spans))
        if self._descriptor is None:
            content = bytearray(end)  # nobody looks for the token here
            for (start, length), part in zip(spans, parts, strict=True):
                content[start : start + length] = part
            self._content = bytes(content)
            return
        try:
            for start, part in zip(
                (0, *(start for start, _ in spans)), (token, *parts), strict=True
            ):
                _write(self._descriptor, memoryview(part), start)
        except BaseException:
            self.close()
            raise

    def full(self) -> Label:
        """Return the label with the content."""
        if self._descriptor is None:
            return replace(self.label, content=self._content)
        size = os.fstat(self._descriptor).st_size
        with mmap.mmap(self._descriptor, size, access=mmap.ACCESS_READ) as content:
            return replace(self.label, content=content[:])

    def close(self) -> None:
        """Give the memory back; workers that map it keep it until they end or forget it."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _memory() -> int | None:
    """Return a file in memory, without a name; None where the system has none."""
    if not hasattr(os, "memfd_create") or not Path("/proc/self/fd").is_dir():
        return None
    try:
        return os.memfd_create("fastnet")
    except OSError:
        return None


def _write(descriptor: int, content: memoryview, at: int) -> None:
    written = 0
    while written < content.nbytes:
        written += os.pwrite(descriptor, content[written : written + (1 << 30)], at + written)


def _culprit(name: str, value: Any, error: BaseException) -> tuple[str, BaseException]:
    """Return the name of the innermost part that cannot be pickled, and why."""
    for inner, part in _parts(name, value):
        try:
            pickle.dumps(part, protocol=5)
        except (pickle.PicklingError, AttributeError, TypeError) as found:
            return _culprit(inner, part, found)
    return name or type(value).__name__, error


def _parts(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Yield the parts of settings by name: messages call an argument what the caller does."""
    if isinstance(value, Mapping):
        yield from ((str(key), part) for key, part in value.items())
    elif isinstance(value, Sequence) and not isinstance(value, str | bytes):
        yield from ((f"{name}[{k}]", part) for k, part in enumerate(value))
    elif is_dataclass(value) and not isinstance(value, type):
        for field in fields(value):
            yield field.name, getattr(value, field.name)
