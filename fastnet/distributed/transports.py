"""`Transport`: what moves the vectors that ranks add up, and where they are added.

Gradients are added by the processor, or where they are: on the GPU. Then NCCL moves them from GPU
to GPU, or an MPI that takes addresses of a GPU's memory. All of them move the terms and none adds:
an all-reduce would add in an order that depends on the number of ranks, and so would its bits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from fastnet.backends.base import Backend
from fastnet.distributed import nccl
from fastnet.distributed.group import Group
from fastnet.errors import InputError
from fastnet.utils.warn import warn

Array = Any
"""An array of NumPy or of CuPy, as the transport has them."""

HOST_BLOCK: Final = 2**16
"""So many elements are added up at a time: a part's block and the sums so far stay in the cache."""

DEVICE_BLOCK: Final = 2**22
"""The same on a GPU: launches take less than the sums, and the sums so far little memory."""


class Transport(Protocol):
    """Moves vectors between all ranks, which call the same operations.

    Attributes
    ----------
    block : int
        So many elements are added up at a time.
    """

    @property
    def block(self) -> int: ...

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        """Return memory of the kind that it moves."""
        ...

    def taken(self, values: Array) -> Array:
        """Return an array of the backend as one that it moves: the same one where it can."""
        ...

    def exchange(
        self, mine: Array, counts: Sequence[int], received: Array, received_counts: Sequence[int]
    ) -> None:
        """Send ``counts[r]`` elements of `mine` to each rank r; write what comes to `received`."""
        ...

    def gather_pieces(self, mine: Array, everyone: Array, counts: Sequence[int]) -> None:
        """Write the arrays (counts[r],) of all ranks to `everyone`, one after the other."""
        ...


class HostTransport:
    """Takes gradients to the host, where the communicator moves them and the processor adds."""

    block = HOST_BLOCK

    def __init__(self, group: Group, backend: Backend) -> None:
        self.taken = backend.to_host
        self.exchange = group.communicator.exchange
        self.gather_pieces = group.communicator.gather_pieces

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        return np.empty(shape, dtype)


class DeviceTransport:
    """Leaves gradients on the GPU of the only rank."""

    block = DEVICE_BLOCK

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        return self._backend.zeros(shape, dtype)

    def taken(self, values: Array) -> Array:
        return values

    def exchange(
        self, mine: Array, counts: Sequence[int], received: Array, received_counts: Sequence[int]
    ) -> None:
        received.reshape(-1)[...] = mine.reshape(-1)

    def gather_pieces(self, mine: Array, everyone: Array, counts: Sequence[int]) -> None:
        everyone.reshape(-1)[...] = mine.reshape(-1)


class NcclTransport(DeviceTransport):
    """NCCL moves them from GPU to GPU, each pair of ranks at the same time."""

    def __init__(self, group: Group, backend: Backend, link: nccl.Link) -> None:
        super().__init__(backend)
        self._rank, self._size, self._link = group.rank, group.size, link

    def exchange(
        self, mine: Array, counts: Sequence[int], received: Array, received_counts: Sequence[int]
    ) -> None:
        self._move(_cut(mine, counts), _cut(received, received_counts))

    def gather_pieces(self, mine: Array, everyone: Array, counts: Sequence[int]) -> None:
        self._move([mine] * self._size, _cut(everyone, counts))

    def _move(self, sent: Sequence[Array], received: Sequence[Array]) -> None:
        rank = self._rank
        if received[rank].size:  # NCCL has nothing to do with what stays here
            received[rank][...] = sent[rank]
        others = [other for other in range(self._size) if other != rank]
        self._link.move({r: sent[r] for r in others}, {r: received[r] for r in others})


class CudaMPITransport(DeviceTransport):
    """MPI moves them, and is given their addresses on the GPU."""

    def __init__(self, group: Group, backend: Backend) -> None:
        super().__init__(backend)
        self._communicator = group.communicator

    def exchange(
        self, mine: Array, counts: Sequence[int], received: Array, received_counts: Sequence[int]
    ) -> None:
        self._wait()
        self._communicator.exchange(mine, counts, received, received_counts)

    def gather_pieces(self, mine: Array, everyone: Array, counts: Sequence[int]) -> None:
        self._wait()
        self._communicator.gather_pieces(mine, everyone, counts)

    def _wait(self) -> None:
        """Wait until the GPU has written what MPI, which knows of no stream, is going to read."""
        with self._backend.active() as cupy:
            cupy.cuda.get_current_stream().synchronize()


def _cut(values: Array, counts: Sequence[int]) -> list[Array]:
    flat, ends = values.reshape(-1), np.cumsum(counts).tolist()
    return [flat[end - count : end] for count, end in zip(counts, ends, strict=True)]


def choose(group: Group, backend: Backend) -> Transport:
    """Return what all ranks can use: NCCL, else an MPI that takes a GPU's memory, else the host.

    All ranks call it, and all get the same: each tells the others what it has.

    Raises
    ------
    InputError
        What the caller asked for cannot be had; the message says why.
    """
    asked = group.ranks.transport
    if backend.name != "cupy" or asked == "host":
        if asked not in ("auto", "host"):
            raise InputError(
                f"transport={asked!r} moves arrays of a GPU, and the backend {backend.name!r} has "
                "none: leave it out."
            )
        return HostTransport(group, backend)
    if group.size == 1:
        return DeviceTransport(backend)
    if asked != "mpi":
        found = group.values(nccl.facts(backend, starts=group.is_first))
        reason = _why_no_nccl(found)
        if reason is None:
            link = nccl.Link.opened(group, backend, found[0]["token"])
            return NcclTransport(group, backend, link)
        if asked == "nccl":
            raise InputError(f"transport='nccl': {reason}")
        if "share a GPU" in reason and group.is_first:
            warn(f"gradients go through the host: {reason}")
    knows = all(group.values(group.communicator.takes_gpu_memory))
    if asked == "mpi" or knows:
        return CudaMPITransport(group, backend)
    return HostTransport(group, backend)


def _why_no_nccl(found: Sequence[Mapping[str, Any]]) -> str | None:
    """Return why ranks with these `nccl.facts` cannot use NCCL; None: they can."""
    places = dict[str, int]()
    for rank, of_rank in enumerate(found):
        if of_rank["why not"] is not None:
            return f"rank {rank} has no NCCL ({of_rank['why not']})."
        if of_rank["version"] != found[0]["version"]:
            return (
                f"rank 0 has NCCL {found[0]['version']}, and rank {rank} {of_rank['version']}: "
                "install the same everywhere."
            )
        other = places.setdefault(of_rank["gpu"], rank)
        if other != rank:
            return (
                f"ranks {other} and {rank} share a GPU, and each needs its own: make the network "
                "with device=fn.distributed.local_rank(comm), and start as many ranks as there are "
                "GPUs."
            )
    return None
