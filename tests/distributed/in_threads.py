"""Ranks that are threads of this process: the same messages without MPI."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

WAIT = 60.0
"""Seconds after which a rank that waits for the others gives up: nothing here takes so long."""


@dataclass
class Room:
    """Where the ranks meet."""

    size: int
    barrier: threading.Barrier = field(init=False)
    table: list[Any] = field(init=False)

    def __post_init__(self) -> None:
        self.barrier = threading.Barrier(self.size, timeout=WAIT)
        self.table = [None] * self.size


class InThreads:
    """The communicator of one rank."""

    def __init__(self, room: Room, rank: int) -> None:
        self._room, self.rank = room, rank
        self.size = self.neighbours = room.size
        self.local_rank, self.takes_gpu_memory, self.aborted = rank, False, False

    def _told(self, what: Any) -> list[Any]:
        self._room.table[self.rank] = what
        self._room.barrier.wait()
        told = list(self._room.table)
        self._room.barrier.wait()
        return told

    def gather(self, mine: Any, everyone: Any) -> None:
        everyone[...] = np.stack(self._told(mine.copy()))

    def gather_pieces(self, mine: Any, everyone: Any, counts: Sequence[int]) -> None:
        pieces = self._told(mine.reshape(-1).copy())
        assert [len(piece) for piece in pieces] == list(counts)
        assert {piece.dtype for piece in pieces} == {everyone.dtype}
        everyone.reshape(-1)[...] = np.concatenate(pieces)

    def exchange(
        self, mine: Any, counts: Sequence[int], received: Any, received_counts: Sequence[int]
    ) -> None:
        pieces = np.split(mine.reshape(-1).copy(), np.cumsum(counts)[:-1])
        here = [pieces_of[self.rank] for pieces_of in self._told(pieces)]
        assert [len(piece) for piece in here] == list(received_counts)
        assert {piece.dtype for piece in here} == {received.dtype}
        received.reshape(-1)[...] = np.concatenate(here)

    def abort(self) -> None:
        self.aborted = True
        self._room.barrier.abort()

    def close(self) -> None:
        """Nothing is held."""


def run(size: int, function: Callable[[InThreads], Any]) -> list[Any]:
    """Call ``function(communicator)`` on so many ranks; return its results, or its errors."""
    room = Room(size)
    results: list[Any] = [None] * size

    def one(rank: int) -> None:
        try:
            results[rank] = function(InThreads(room, rank))
        except BaseException as error:
            results[rank] = error

    threads = [threading.Thread(target=one, args=(rank,)) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results
