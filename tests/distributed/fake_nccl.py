"""A stand-in for ``cupy.cuda.nccl``, whose ranks are threads of this process.

It has the names that fastnet uses, with the arguments of CuPy 14.2, and refuses what NCCL refuses.
What NCCL would wait for in vain, or write past the end of, is an error.
"""

from __future__ import annotations

import ctypes
import queue
import threading
from collections import defaultdict
from typing import Any, Final

from tests.cuda.strict import CURRENT

available = True

NCCL_FLOAT32: Final = 7
NCCL_FLOAT64: Final = 8

_BYTES: Final = {NCCL_FLOAT32: 4, NCCL_FLOAT64: 8}
_WAIT: Final = 20.0


class NcclError(RuntimeError):
    """What CuPy raises for a status of NCCL."""


class _World:
    """The communicators that one token has brought together."""

    def __init__(self) -> None:
        self.lock, self.devices = threading.Lock(), dict[int, int]()
        self.sizes, self.full = set[int](), threading.Barrier(1)
        self.mail: Any = defaultdict(queue.Queue)


_worlds: Final = defaultdict[tuple[int, ...], _World](_World)
_tokens: Final = iter(range(10**9))
_group = threading.local()
moved: Final = list[int]()
"""The bytes of each message so far."""


def get_version() -> int:
    return 22707


def get_unique_id() -> tuple[int, ...]:
    number = next(_tokens)
    return tuple([number % 100, number // 100 - 128] + [-1] * 126)  # they are signed


def groupStart() -> None:  # noqa: N802
    assert getattr(_group, "calls", None) is None
    _group.calls = []


def groupEnd() -> None:  # noqa: N802
    calls, _group.calls = _group.calls, None
    for send in (True, False):  # all are under way at once: what is sent waits for nobody
        for communicator, call in calls:
            if call[0] == send:
                communicator._do(*call)


class NcclCommunicator:
    """``cupy.cuda.nccl.NcclCommunicator``: all ranks make theirs with one token."""

    def __init__(self, ndev: int, commId: tuple[int, ...], rank: int) -> None:
        assert type(commId) is tuple and len(commId) == 128
        assert all(-128 <= byte < 128 for byte in commId)
        self._world, self._rank, self._size = _worlds[commId], rank, ndev
        self._device, self._destroyed = CURRENT.device, False
        with self._world.lock:
            if rank in self._world.devices or not 0 <= rank < ndev:
                raise NcclError("NCCL_ERROR_INVALID_ARGUMENT: invalid argument")
            if self._device in self._world.devices.values():
                raise NcclError("NCCL_ERROR_INVALID_USAGE: Duplicate GPU detected")
            if not self._world.devices:
                self._world.full = threading.Barrier(ndev, timeout=_WAIT)
            self._world.devices[rank] = self._device
            self._world.sizes.add(ndev)
        self._world.full.wait()
        assert self._world.sizes == {ndev}

    def send(self, sendbuf: int, count: int, datatype: int, peer: int, stream: int) -> None:
        self._given(True, sendbuf, count, datatype, peer, stream)

    def recv(self, recvbuf: int, count: int, datatype: int, peer: int, stream: int) -> None:
        self._given(False, recvbuf, count, datatype, peer, stream)

    def check_async_error(self) -> None:
        assert not self._destroyed

    def destroy(self) -> None:
        self._destroyed = True

    def _given(self, *call: int) -> None:
        send, buffer, count, datatype, peer, stream = call
        assert all(type(value) is int for value in call[1:])
        if self._destroyed or datatype not in _BYTES or not 0 <= peer < self._size or not buffer:
            raise NcclError("NCCL_ERROR_INVALID_ARGUMENT: invalid argument")
        assert count > 0 and stream == 0, "the stream is the current one of these tests"
        assert peer != self._rank, "what is sent to oneself needs both calls in one group"
        assert CURRENT.device == self._device, "the stream is one of another GPU"
        if getattr(_group, "calls", None) is None:
            self._do(bool(send), *call[1:])
        else:
            _group.calls.append((self, (bool(send), *call[1:])))

    def _do(self, send: bool, buffer: int, count: int, datatype: int, peer: int, _: int) -> None:
        size = count * _BYTES[datatype]
        if send:
            content = ctypes.string_at(buffer, size)
            moved.append(size)
            self._world.mail[self._rank, peer].put((datatype, content))
            return
        kind, content = self._world.mail[peer, self._rank].get(timeout=_WAIT)
        assert (kind, len(content)) == (datatype, size), "what comes is not what is awaited"
        ctypes.memmove(buffer, content, size)
