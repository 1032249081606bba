"""The order of work on streams: what one has written, another may touch after a wait alone.

The stand-ins run all work at once, so nothing goes wrong there without a wait; this is what notices
that it is missing. Each stream knows of how much work of every stream it comes after: by events,
and by what the host has waited for before the work was queued.
"""

from __future__ import annotations

import threading
from itertools import count
from typing import Final

Done = dict[int, int]
"""Of each stream, by its number, how many pieces of its work are done."""

_NUMBERS: Final = count(1)
_LOCK: Final = threading.Lock()
_HOST: Final[Done] = {}
"""The work that the host has waited for; a thread that waits tells the others."""


class Trace:
    """Which streams have worked on some memory, and which pieces of their work that was.

    Attributes
    ----------
    written : dict
        The last piece that wrote it.
    read : dict
        Those that have read it since.
    """

    def __init__(self) -> None:
        self.written: Done = {}
        self.read: Done = {}


class Timeline:
    """The work of a stream, piece by piece."""

    def __init__(self) -> None:
        self.number = next(_NUMBERS)
        self._done: Done = {}

    def touch(self, trace: Trace, *, writes: bool) -> bool:
        """Queue work on some memory; return whether it comes after all that it must come after.

        Who reads comes after the last who wrote, who writes also after all who have read since.
        """
        with _LOCK:
            _join(self._done, _HOST)
            before = {**trace.written}
            if writes:
                _join(before, trace.read)
            in_order = all(self._done.get(number, 0) >= piece for number, piece in before.items())
            piece = self._done[self.number] = self._done.get(self.number, 0) + 1
            if writes:
                trace.written, trace.read = {self.number: piece}, {}
            else:
                trace.read[self.number] = piece
        return in_order

    def done(self) -> Done:
        """Return what is done once all work so far is."""
        with _LOCK:
            return dict(self._done)

    def wait(self, done: Done) -> None:
        """Let the work from now on come after other work."""
        with _LOCK:
            _join(self._done, done)


_DEFAULT: Final[dict[int, Timeline]] = {}


def default_timeline(device: int) -> Timeline:
    """Return the work of a device's default stream, which threads share."""
    return _DEFAULT.setdefault(device, Timeline())


def host_waited(done: Done) -> None:
    """Note that the host has waited for this."""
    with _LOCK:
        _join(_HOST, done)


def _join(into: Done, other: Done) -> None:
    for number, pieces in other.items():
        into[number] = max(into.get(number, 0), pieces)
