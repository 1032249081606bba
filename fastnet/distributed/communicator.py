"""What fastnet needs of a way to send messages between processes: four operations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from numpy.typing import NDArray

Array = NDArray[Any]


class Communicator(Protocol):
    """Ranks that send messages to each other; every one of them calls the same operations.

    Arrays are contiguous and on the host. Counts are in elements.

    Attributes
    ----------
    rank, size : int
        The number of this process, from 0 on, and how many there are.
    neighbours : int
        How many of them run on this machine.
    local_rank : int
        The number of this process among those, from 0 on.
    takes_gpu_memory : bool
        Whether arrays of CuPy may be given to `gather_pieces` and `exchange`, too.
    """

    @property
    def rank(self) -> int: ...
    @property
    def size(self) -> int: ...
    @property
    def neighbours(self) -> int: ...
    @property
    def local_rank(self) -> int: ...
    @property
    def takes_gpu_memory(self) -> bool: ...

    def gather(self, mine: Array, everyone: Array) -> None:
        """Write the array (m,) of each rank to `everyone` (size, m), on all ranks."""
        ...

    def gather_pieces(self, mine: Array, everyone: Array, counts: Sequence[int]) -> None:
        """Write the arrays (counts[r],) of all ranks to `everyone`, one after the other."""
        ...

    def exchange(
        self, mine: Array, counts: Sequence[int], received: Array, received_counts: Sequence[int]
    ) -> None:
        """Send ``counts[r]`` elements of `mine` to each rank r; write what comes to `received`."""
        ...

    def abort(self) -> None:
        """End all ranks at once: one of them cannot go on, and others wait for it."""
        ...

    def close(self) -> None:
        """Free what the system holds for it; all ranks call it."""
        ...
