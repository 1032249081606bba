"""NCCL through CuPy: whether it is here, and the moving of arrays from GPU to GPU.

Written after CuPy 14.2 (``cupy_backends/cuda/libs/nccl.pyx``). CuPy's wheels do not contain NCCL.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any, Self

import numpy as np

from fastnet.backends.base import Backend
from fastnet.distributed.group import Group
from fastnet.errors import DistributedError
from fastnet.utils.machine import this_machine

Array = Any


def library() -> Any:
    """Return CuPy's module of NCCL, whose `available` says whether there is one."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # without NCCL, CuPy says how to install it
        return import_module("cupy.cuda.nccl")


def facts(backend: Backend, *, starts: bool) -> dict[str, Any]:
    """Return what the other ranks need to know of NCCL here, as JSON values.

    Parameters
    ----------
    starts : bool
        Whether the others connect to this rank first.

    Returns
    -------
    dict
        ``"why not"``: why it cannot be used, or None. ``"version"`` of NCCL, and ``"gpu"``: which
        one of all machines the backend's is. ``"token"``: what all ranks connect by, if it starts.
    """
    made: dict[str, Any] = {"why not": None, "version": None, "gpu": None, "token": None}
    with backend.active() as cupy:
        try:
            nccl = library()
            if not nccl.available:
                return made | {"why not": "pip install nvidia-nccl-cu13, or -cu12, brings it"}
            runtime = cupy.cuda.runtime
            bus = runtime.deviceGetPCIBusId(runtime.getDevice())
            token = list(nccl.get_unique_id()) if starts else None
            gpu = f"{this_machine()} {bus}"
            return made | {"version": nccl.get_version(), "gpu": gpu, "token": token}
        except Exception as error:  # of another CuPy, or of CUDA: the ranks do without
            return made | {"why not": _line(error)}


class Link:
    """The connection of this rank's GPU with those of all others.

    Attributes
    ----------
    communicator : cupy.cuda.nccl.NcclCommunicator
    """

    def __init__(self, nccl: Any, backend: Backend, communicator: Any) -> None:
        self._nccl, self._backend, self.communicator = nccl, backend, communicator
        self._types = {
            np.dtype(np.float32): nccl.NCCL_FLOAT32,
            np.dtype(np.float64): nccl.NCCL_FLOAT64,
        }

    @classmethod
    def opened(cls, group: Group, backend: Backend, token: Sequence[int]) -> Self:
        """Connect all ranks, each of which calls this with one `token`; the group closes it.

        Raises
        ------
        DistributedError
            NCCL does not start on this rank. The others may wait for it within NCCL, so all end.
        """
        nccl = library()
        with group.busy(), backend.active():
            try:
                made = nccl.NcclCommunicator(group.size, tuple(token), group.rank)
            except Exception as error:
                raise DistributedError(
                    f"NCCL does not start on rank {group.rank} ({_line(error)}): see what it says "
                    "with NCCL_DEBUG=INFO, or go without it by "
                    "fn.distributed.Ranks(comm, transport='host')."
                ) from error
        link = cls(nccl, backend, made)
        group.closes(link.close)
        return link

    def move(self, sent: Mapping[int, Array], received: Mapping[int, Array]) -> None:
        """Send an array to each of some ranks, and write what they send; those of size 0 stay.

        The current stream does it, so what it is given afterwards finds what has come.
        """
        with self._backend.active() as cupy:
            stream = cupy.cuda.get_current_stream().ptr
            self.communicator.check_async_error()
            # In a group, all of them are under way at once, in whatever order the others send.
            self._nccl.groupStart()
            for call, arrays in (
                (self.communicator.send, sent),
                (self.communicator.recv, received),
            ):
                for rank, array in arrays.items():
                    if array.size:
                        kind = self._types[np.dtype(str(array.dtype))]
                        call(array.data.ptr, array.size, kind, rank, stream)
            self._nccl.groupEnd()

    def close(self) -> None:
        """Disconnect; all ranks call it, once nothing is under way."""
        with self._backend.active() as cupy:
            cupy.cuda.get_current_stream().synchronize()
            self.communicator.destroy()


def _line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split()).rstrip(":.")
