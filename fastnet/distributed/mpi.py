"""The communicator of MPI, through mpi4py."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fastnet.distributed.communicator import Communicator
from fastnet.distributed.ranks import Ranks
from fastnet.errors import FastNetError, InputError
from fastnet.utils.param_validation import shown

Array = NDArray[Any]

INSTALL: Final = "pip install 'fastnet-mlp[mpi]'"

_OPERATIONS: Final = (
    *("rank", "size", "neighbours", "local_rank", "takes_gpu_memory"),
    *("gather", "gather_pieces", "exchange", "abort", "close"),
)

_MEMORY_KINDS: Final = "mpi_memory_alloc_kinds"
"""The information, since MPI 4.1, on which memory may hold what is sent."""


class MPICommunicator:
    """Sends messages by MPI, apart from all others of the same ranks.

    Parameters
    ----------
    comm : mpi4py.MPI.Intracomm
        It is duplicated, for which all its ranks are needed.
    """

    def __init__(self, comm: Any) -> None:
        from mpi4py import MPI

        self._bytes = MPI.BYTE
        self._comm = comm.Dup()
        self.rank: int = self._comm.Get_rank()
        self.size: int = self._comm.Get_size()
        here = self._comm.Split_type(MPI.COMM_TYPE_SHARED)
        self.neighbours: int = here.Get_size()
        self.local_rank: int = here.Get_rank()
        here.Free()
        about = comm.Get_info()
        kinds = (about.Get(_MEMORY_KINDS) or "").split(",")
        about.Free()
        self.takes_gpu_memory = any(kind.partition(":")[0] == "cuda" for kind in kinds)

    def gather(self, mine: Array, everyone: Array) -> None:
        self._comm.Allgather(self._all_of(mine), self._all_of(everyone))

    def gather_pieces(self, mine: Array, everyone: Array, counts: Sequence[int]) -> None:
        self._comm.Allgatherv(self._all_of(mine), self._pieces(everyone, counts))

    def exchange(
        self, mine: Array, counts: Sequence[int], received: Array, received_counts: Sequence[int]
    ) -> None:
        self._comm.Alltoallv(self._pieces(mine, counts), self._pieces(received, received_counts))

    def abort(self) -> None:
        self._comm.Abort(1)

    def close(self) -> None:
        self._comm.Free()

    def _all_of(self, array: Array) -> list[Any]:
        return [_as_bytes(array), self._bytes]

    def _pieces(self, array: Array, counts: Sequence[int]) -> list[Any]:
        sizes = [int(count) * array.itemsize for count in counts]
        places = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(int).tolist()
        return [_as_bytes(array), sizes, places, self._bytes]


def _as_bytes(array: Array) -> NDArray[np.uint8]:
    return array.reshape(-1).view(np.uint8)


def local_rank(comm: Any) -> int:
    """Return the number of this process among those of its machine, from 0 on.

    So each takes a GPU of its own: ``Network(..., backend="cupy", device=local_rank(comm))``. All
    ranks call it.

    Parameters
    ----------
    comm : mpi4py.MPI.Intracomm or Ranks

    Raises
    ------
    InputError
        It is no communicator.
    """
    communicator = connect(Ranks.of(comm).comm)
    communicator.close()
    return communicator.local_rank


def world() -> Any:
    """Return MPI's communicator of all processes that ``mpiexec`` has started.

    Raises
    ------
    FastNetError
        mpi4py or MPI is missing; the message has the command that installs both.
    """
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:  # without MPI's library it is a RuntimeError
        reason = " ".join(str(error).split())
        raise FastNetError(
            f"training on several processes needs mpi4py and MPI ({reason}): {INSTALL} brings both."
        ) from None
    return MPI.COMM_WORLD


def connect(comm: Any) -> Communicator:
    """Return a communicator of fastnet for what a caller gives as `comm`.

    Raises
    ------
    InputError
        It is none.
    """
    if "mpi4py" in sys.modules:
        from mpi4py import MPI

        if isinstance(comm, MPI.Intracomm) and comm != MPI.COMM_NULL:
            return MPICommunicator(comm)
        if isinstance(comm, MPI.Comm):
            raise InputError(
                "comm must be a communicator of one group that this process belongs to, such as "
                "MPI.COMM_WORLD, got COMM_NULL or an intercommunicator."
            )
    if not isinstance(comm, type) and all(hasattr(comm, name) for name in _OPERATIONS):
        made: Communicator = comm
        return made
    raise InputError(
        f"comm must be a communicator of mpi4py, such as MPI.COMM_WORLD, or "
        f"fn.distributed.Ranks(MPI.COMM_WORLD), got {shown(comm)}."
    )
