"""`Ranks`: the processes that train one network, and how they share the work."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Self

from fastnet.distributed.parts import MOST
from fastnet.errors import InputError
from fastnet.utils.names import TransportName
from fastnet.utils.param_validation import check_float, check_int, shown

TRANSPORTS: Final = ("auto", "nccl", "mpi", "host")
"""What moves the gradients of GPUs; `fastnet.distributed.transports` says how."""


@dataclass(frozen=True)
class Ranks:
    """The processes of a communicator, for ``net.fit(comm=...)``, where the usual is not wanted.

    Parameters
    ----------
    comm : mpi4py.MPI.Intracomm
        Such as ``MPI.COMM_WORLD``, on every rank.
    parts : int, optional
        How many parts the rows are cut into, at least one for each rank. Results depend on it, and
        not on the number of ranks. Default: that of the run that is resumed, else 4, or with more
        ranks the next power of two. With 1 part, which needs 1 rank, the weights have the bits of
        ``fit`` without `comm`, but for scales that are learned, which are added up otherwise.
    timeout : float, optional
        After so many seconds in which a rank hears nothing of the others, it writes where it
        stands to standard error and ends, and MPI ends the others. Default: they wait.
    transport : {"auto", "nccl", "mpi", "host"}, default "auto"
        What moves the gradients of GPUs, the same on all ranks; it changes no bit. ``"nccl"`` needs
        CuPy's NCCL and a GPU for each rank, and ``"mpi"`` an MPI that takes addresses of a GPU's
        memory: with others the process may crash. ``"host"`` copies them to the host first.
        ``"auto"`` is NCCL where all ranks have it, else MPI where it says that it can, else the
        host.

    Raises
    ------
    InputError
        `parts` or `timeout` is no positive number, or there is no such `transport`.
    """

    comm: Any
    parts: int | None = None
    timeout: float | None = None
    transport: TransportName = "auto"

    def __post_init__(self) -> None:
        """Check the arguments."""
        if self.parts is not None:
            object.__setattr__(self, "parts", check_int("parts", self.parts, most=MOST))
        if self.timeout is not None:
            object.__setattr__(self, "timeout", check_float("timeout", self.timeout, above=0))
        if self.transport not in TRANSPORTS:
            names = ", ".join(TRANSPORTS)
            raise InputError(f"transport must be one of {names}, got {shown(self.transport)}.")
        if isinstance(self.comm, Ranks):
            raise InputError(f"comm must be a communicator, got {shown(self.comm)}.")

    @classmethod
    def of(cls, comm: Any) -> Self:
        """Return what a caller gives as `comm`, with the usual numbers where it has none."""
        return comm if isinstance(comm, cls) else cls(comm)
