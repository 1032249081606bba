"""`Group`: what the ranks of one training say to each other, and how they fail together.

Whatever the ranks do together begins with a short message from each to all: what it is about to do,
and whether it has failed. So no rank waits for one that has left: a rank that fails says so where
the others say what they are about to do, and all of them raise. Ranks that are about to do
different things find that out, too.
"""

from __future__ import annotations

import faulthandler
import json
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fastnet.distributed import parts as parts_table
from fastnet.distributed.mpi import connect
from fastnet.distributed.ranks import Ranks
from fastnet.errors import DistributedError, InputError

Array = NDArray[Any]

_DOES: Final = {
    "text": "compares what it was given",
    "rows": "exchanges rows",
    "step": "takes a training step",
    "sums": "adds up statistics",
    "outputs": "gathers rows",
    "span": "has trained a while",
    "end": "has ended",
}
"""What the ranks do together, as the middle of a sentence."""

_CODES: Final = {name: float(k) for k, name in enumerate(_DOES)}
_REARM_SECONDS: Final = 1.0  # it takes 40 us


class Group:
    """The ranks of one call of ``fit``.

    Parameters
    ----------
    ranks : Ranks

    Attributes
    ----------
    ranks : Ranks
    rank, size : int
    parts : int
        The parts of all rows; see `fastnet.distributed.parts`. 1 until `settle`.
    held : range
        Those of this rank.
    """

    def __init__(self, ranks: Ranks) -> None:
        self.ranks, self.communicator = ranks, connect(ranks.comm)
        self.rank, self.size = self.communicator.rank, self.communicator.size
        self.asked, self._timeout = ranks.parts, ranks.timeout
        self.parts, self.held = 1, range(1)
        self._width = 1
        self._armed, self._busy, self._told = 0.0, False, False
        self._closes: list[Callable[[], None]] = []

    @property
    def is_first(self) -> bool:
        """Whether this is rank 0, which writes and reports."""
        return self.rank == 0

    def settle(self, parts: int | None = None) -> None:
        """Decide the number of parts: what the caller asked for, else `parts`, else the usual.

        Raises
        ------
        InputError
            There are more ranks than parts.
        """
        count = self.asked or parts or parts_table.default_parts(self.size)
        if count < self.size:
            run = "" if self.asked else "the run that is resumed has "
            raise InputError(
                f"{run}parts={count}, and there are {self.size} ranks, each of which needs a part: "
                f"start at most {count} ranks{'' if run else ', or give more parts'}."
            )
        self.parts = count
        self.held = parts_table.parts_of(self.rank, self.size, count)
        self._width = 3 * -(-count // self.size)

    # --- agreement -------------------------------------------------------------------------------

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Let all ranks leave the context together: an error on one of them ends all."""
        try:
            yield
            self.announce("end")
        except BaseException as error:
            if not self._told:
                self._fail(error)
            raise
        finally:
            if self._timeout is not None:
                faulthandler.cancel_dump_traceback_later()
            if not self._busy:  # all ranks know that it is over
                for close in self._closes:
                    close()
                self.communicator.close()

    def closes(self, close: Callable[[], None]) -> None:
        """Call a function at the end, which all ranks then call."""
        self._closes.append(close)

    def announce(self, what: str, values: Sequence[float] = ()) -> NDArray[np.float64]:
        """Tell all ranks what comes next; return the values of each rank (size, width).

        Raises
        ------
        DistributedError
            Another rank has failed, or does something else.
        """
        self.alive()
        table = self._header(_CODES[what], 0.0, values)
        if table[:, 1].any():
            self._told = True
            told = self._texts("")
            first = next(rank for rank in range(self.size) if told[rank])
            raise DistributedError(f"rank {first} failed, and all ranks end: {told[first]}")
        others = np.flatnonzero(table[:, 0] != table[0, 0])
        if len(others):
            self._told = True
            does = list(_DOES.values())
            raise DistributedError(
                f"rank 0 {does[int(table[0, 0])]}, and rank {others[0]} "
                f"{does[int(table[others[0], 0])]}: give all ranks the same arguments and the same "
                "callbacks."
            )
        return table[:, 2:]

    def alive(self) -> None:
        """Count the time limit anew: this rank is no longer waiting, or still at work."""
        now = time.monotonic()
        if self._timeout is not None and now - self._armed > min(_REARM_SECONDS, self._timeout / 4):
            stream = sys.__stderr__
            if stream is not None:
                faulthandler.dump_traceback_later(self._timeout, exit=True, file=stream)
            self._armed = now

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Mark what all ranks have begun: the others wait until this rank has done it."""
        self._busy = True
        yield
        self._busy = False

    def _header(self, code: float, failed: float, values: Sequence[float]) -> NDArray[np.float64]:
        mine, table = np.zeros(2 + self._width), np.zeros((self.size, 2 + self._width))
        mine[:2] = code, failed
        mine[2 : 2 + len(values)] = values
        self.communicator.gather(mine, table)
        return table

    def _fail(self, error: BaseException) -> None:
        """Tell the others; where they wait for something else that does not come, end them."""
        self._told = True
        if self._busy:
            traceback.print_exception(error)
            self.communicator.abort()
            return
        self._header(0.0, 1.0, ())
        self._texts(described(error))

    def _texts(self, text: str) -> list[str]:
        content = np.frombuffer(text.encode(errors="backslashreplace"), np.uint8)
        lengths = np.zeros((self.size, 1), np.int64)
        self.communicator.gather(np.array([len(content)], np.int64), lengths)
        counts = lengths[:, 0].tolist()
        everything = np.empty(sum(counts), np.uint8)
        self.communicator.gather_pieces(content, everything, counts)
        pieces = np.split(everything, np.cumsum(counts)[:-1])
        return [piece.tobytes().decode() for piece in pieces]

    # --- what every rank knows afterwards --------------------------------------------------------

    def most(self, value: float) -> float:
        """Return the largest of the ranks' numbers."""
        return float(self.announce("span", [value])[:, 0].max())

    def first(self, value: float) -> float:
        """Return the number of rank 0."""
        return float(self.announce("span", [value])[0, 0])

    def values(self, value: Any) -> list[Any]:
        """Return the JSON values of all ranks."""
        self.announce("text")
        with self.busy():
            texts = self._texts(json.dumps(value))
        return [json.loads(text) for text in texts]

    def of_first(self, value: Any) -> Any:
        """Return the JSON value of rank 0; what the others give is not sent."""
        return self.values(value if self.is_first else None)[0]

    def array_of_first(self, array: Array | None, dtype: Any, shape: Sequence[int]) -> Array:
        """Return the array of rank 0, which alone gives it; all know its dtype and its shape."""
        counts = [0] * self.size
        counts[0] = int(np.prod(shape))
        made = np.empty(counts[0], dtype)
        mine = np.empty(0, dtype) if array is None else np.ascontiguousarray(array, dtype)
        self.announce("outputs")
        with self.busy():
            self.communicator.gather_pieces(mine.reshape(-1), made, counts)
        return made.reshape(tuple(shape))

    def by_part(self, mine: Array) -> Array:
        """Return statistics (P, ...) of all parts, float64, for those (k, ...) of this rank."""
        values = np.ascontiguousarray(mine, np.float64).reshape(len(self.held), -1)
        width = values.shape[1]
        held = [parts_table.parts_of(r, self.size, self.parts) for r in range(self.size)]
        made = np.empty((self.parts, width))
        self.announce("sums")
        with self.busy():
            counts = [len(of_rank) * width for of_rank in held]
            self.communicator.gather_pieces(values, made, counts)
        return made.reshape(self.parts, *np.shape(mine)[1:])

    def all_rows(self, mine: Array) -> Array:
        """Return the rows of all ranks, one after the other."""
        counts = self.announce("outputs", [len(mine)])[:, 0].astype(int)
        made = np.empty((int(counts.sum()), *mine.shape[1:]), mine.dtype)
        per_row = int(np.prod(mine.shape[1:]))
        with self.busy():
            elements = [int(count) * per_row for count in counts]
            self.communicator.gather_pieces(np.ascontiguousarray(mine), made, elements)
        return made

    def require_same(self, what: Mapping[str, Any]) -> None:
        """Raise `InputError`, on all ranks, unless all of them give the same JSON values."""
        everyone = self.values(dict(what))
        for rank, other in enumerate(everyone):
            for name in dict.fromkeys((*everyone[0], *other)):
                mine, theirs = everyone[0].get(name), other.get(name)
                if mine != theirs:
                    raise InputError(
                        f"all ranks must be given the same: {name} is {_short(mine)} on rank 0 and "
                        f"{_short(theirs)} on rank {rank}."
                    )


def described(error: BaseException) -> str:
    """Return the kind of an error, its message and its notes in one line."""
    parts = [f"{type(error).__name__}:", str(error), *getattr(error, "__notes__", [])]
    return " ".join(" ".join(parts).split()).rstrip(":")


def _short(value: Any) -> str:
    text = "absent" if value is None else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


@contextmanager
def opened(comm: Any) -> Iterator[Group | None]:
    """Return the group of ``fit(comm=...)``, which all ranks leave together; None without one."""
    if comm is None:
        yield None
        return
    group = Group(Ranks.of(comm))
    with group.opened():
        yield group
