"""`executor=`: where the members of a population are trained beside this process.

An executor is fastnet's own processes (``"processes:4"``), a Dask scheduler, the ranks of an MPI
run, or any object whose ``submit`` returns futures. Each has a `Pool`, which knows how the work
travels to its workers, and what it means when one of them has ended.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import (
    BrokenExecutor,
    CancelledError,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
)
from contextlib import contextmanager
from typing import Any, Final, Protocol
from weakref import WeakSet

from fastnet.backends.threads import cores
from fastnet.errors import InputError, WorkerError
from fastnet.populations import remote
from fastnet.populations.parcel import Parcel
from fastnet.populations.processes import ProcessesPool
from fastnet.populations.work import Work
from fastnet.utils.param_validation import check_int, shown
from fastnet.utils.warn import warn

FORMS: Final = "'processes', 'processes:4', 'dask:tcp://host:8786' or 'mpi'"
"""What `executor` may be as a text."""

_OF_FUTURES: Final = ("result", "cancel", "add_done_callback")
"""What is asked of the futures of an executor."""

_DASK_SECONDS: Final = 10
"""A scheduler answers within so many seconds, or is not there."""


class Pool(Protocol):
    """Workers that tasks are sent to.

    Attributes
    ----------
    slots : int
        How many tasks they do at once.
    threads : int
        A task's share of the cores.
    """

    @property
    def slots(self) -> int: ...
    @property
    def threads(self) -> int: ...

    def bring(self, work: Work) -> None:
        """Bring the work to where workers find it."""
        ...

    def submit(self, *how: Any, again: bool = False) -> Future[Any]:
        """Send a task, `remote.train_there` of the work; `again`: with all the content."""
        ...

    def lost(self, error: BaseException) -> bool | None:
        """Return whether a task whose worker has ended may be sent again; None: it did not end.

        Raises
        ------
        WorkerError
            The executor can do no more.
        """
        ...

    def look(self) -> None:
        """Say what is the matter if tasks wait in vain; it is asked now and then."""

    def stop(self) -> None:
        """End what is in training at once, as far as the executor can."""
        ...

    def close(self) -> None:
        """Give back what `bring` and the pool itself have taken."""
        ...


class ExecutorPool:
    """The workers of somebody's executor."""

    def __init__(self, executor: Any) -> None:
        self._executor = executor
        self._parcel: Parcel | None = None
        # Weakly: a cluster keeps the result of a task, and makes it again, while somebody has it.
        self._sent: WeakSet[Future[Any]] = WeakSet()

    @property
    def slots(self) -> int:
        count = getattr(self._executor, "_max_workers", None)
        return count if isinstance(count, int) and count > 0 else cores()

    @property
    def threads(self) -> int:
        # Its processes share this machine's cores; of others nothing is known.
        own = isinstance(self._executor, ProcessPoolExecutor)
        return max(1, cores() // self.slots) if own else 1

    def bring(self, work: Work) -> None:
        self._parcel = Parcel(work)

    def submit(self, *how: Any, again: bool = False) -> Future[Any]:
        future = self.send(remote.train_there, self._label(full=again), *how)
        self._sent.add(future)
        return future

    def _label(self, *, full: bool) -> Any:
        assert self._parcel is not None
        return self._parcel.full() if full else self._parcel.label

    def send(self, function: Callable[..., Any], *how: Any) -> Future[Any]:
        """Send any task.

        Raises
        ------
        InputError, WorkerError
            The executor takes no tasks, since it is closed or broken.
        """
        try:
            future: Future[Any] = self._executor.submit(function, *how)
        except BrokenExecutor as error:
            self.lost(error)
            raise
        except RuntimeError as error:
            raise InputError(f"the executor takes no tasks: {error}.") from None
        if isinstance(future, type) or not all(hasattr(future, name) for name in _OF_FUTURES):
            raise InputError(
                f"the executor's submit must return a future, as that of concurrent.futures does, "
                f"and returned {shown(future)}."
            )
        return future

    def lost(self, error: BaseException) -> bool | None:
        if isinstance(error, CancelledError):
            raise WorkerError(
                "the executor was shut down, or somebody cancelled its tasks, before all members "
                "were trained. With checkpoint=, resume=True goes on with what is done."
            ) from None
        if not isinstance(error, BrokenExecutor):
            return None
        raise WorkerError(
            f"the executor is broken, since one of its processes ended ({_line(error)}), and takes "
            "no more tasks: make a new one, or give executor='processes', which starts such "
            "processes again."
        ) from None

    def look(self) -> None:
        pass

    def stop(self) -> None:
        for future in self._sent:
            future.cancel()

    def close(self) -> None:
        if self._parcel is not None:
            self._parcel.close()


class ThreadsPool(ExecutorPool):
    """The threads of an executor of this process: nothing has to travel."""

    def __init__(self, executor: Any) -> None:
        super().__init__(executor)
        self._work: Work | None = None
        self._stop = threading.Event()

    def bring(self, work: Work) -> None:
        self._work = work

    def submit(self, *how: Any, again: bool = False) -> Future[Any]:
        future = self.send(remote.train_here, self._work, self._stop, *how)
        self._sent.add(future)
        return future

    def stop(self) -> None:
        self._stop.set()
        super().stop()
        for future in self._sent:  # nothing goes on behind the caller's back
            if not future.cancelled():
                future.exception()


class MPIPool(ExecutorPool):
    """The ranks of an MPI run, which fastnet's own executor has."""

    def close(self) -> None:
        super().close()
        self._executor.shutdown(wait=False, cancel_futures=True)


class DaskPool(ExecutorPool):
    """The workers of a Dask cluster.

    Those that cannot reach this process's memory are all sent the content at once, by each other.

    Attributes
    ----------
    client : distributed.Client
    """

    def __init__(self, client: Any, how: Mapping[str, Any], *, own: bool) -> None:
        super().__init__(client)
        self.client, self._own = client, own
        self._how = {**how, "pure": False}
        self._content: Any = None
        self._empty_since: float | None = None
        self._told = False

    @property
    def slots(self) -> int:
        return max(1, self._count())

    def _count(self) -> int:
        return sum(map(int, self.client.nthreads().values()))

    def look(self) -> None:
        if self._count():
            self._empty_since = None
        elif self._empty_since is None:
            self._empty_since = time.monotonic()
        elif not self._told and time.monotonic() - self._empty_since > _DASK_SECONDS:
            self._told = True
            address = self.client.scheduler.address
            warn(
                f"the Dask scheduler at {address} has no workers, and members wait for some: "
                f"start them, as by 'dask worker {address}', or end this by Ctrl-C.",
            )

    def _label(self, *, full: bool) -> Any:
        if not full:
            return super()._label(full=full)
        if self._content is None or self._content.status != "finished":
            label = super()._label(full=True)
            self._content = self.client.scatter(label, broadcast=True, hash=False)
        return self._content

    def send(self, function: Callable[..., Any], *how: Any) -> Future[Any]:
        future: Future[Any] = self.client.submit(function, *how, **self._how)
        return future

    def lost(self, error: BaseException) -> bool | None:
        # The scheduler sends tasks again by itself, and gives up after some workers have ended.
        kind = type(error)
        if kind.__module__.partition(".")[0] != "distributed" and kind.__name__ != "CancelledError":
            return None
        if self.client.status != "running":
            raise WorkerError(
                "the Dask scheduler is gone: start it again. With checkpoint=, resume=True goes on "
                "with what is done."
            ) from None
        return kind.__name__ != "KilledWorker"

    def close(self) -> None:
        super().close()
        self._content = None
        if self._own:
            self.client.close()


def _line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0].rstrip(".")


# --- from the argument ----------------------------------------------------------------------------


@contextmanager
def opened(executor: Any) -> Iterator[Pool]:
    """Yield the pool that an argument describes.

    Raises
    ------
    InputError
        It is no executor.
    WorkerError
        Its workers cannot be reached.
    """
    pool = _of_text(executor) if isinstance(executor, str) else _of_object(executor)
    try:
        yield pool
    finally:
        pool.close()


def _of_text(text: str) -> Pool:
    name, _, rest = text.strip().partition(":")
    if name == "processes":
        if rest and not rest.isdecimal():
            raise InputError(
                f"executor={text!r}: the number of processes must be a whole number, as in "
                "'processes:4'."
            )
        return ProcessesPool(check_int("the number of processes", int(rest)) if rest else cores())
    if name == "dask" and rest:
        return DaskPool(_dask(rest), {}, own=True)
    if text == "mpi":
        return _mpi()
    raise InputError(f"executor must be {FORMS}, or an executor, got {text!r}.")


def _of_object(executor: Any) -> Pool:
    if isinstance(executor, type) or not callable(getattr(executor, "submit", None)):
        raise InputError(
            f"executor must be {FORMS}, or an object whose submit returns futures, such as a "
            f"concurrent.futures.ProcessPoolExecutor, got {executor!r}."
        )
    if isinstance(executor, ThreadPoolExecutor):
        return ThreadsPool(executor)
    if type(executor).__module__.partition(".")[0] == "distributed":
        client = getattr(executor, "_client", executor)  # a client, or what its get_executor gives
        if client.status != "running":
            raise InputError("the Dask client of the executor is closed: make a new one.")
        return DaskPool(client, getattr(executor, "_kwargs", {}), own=False)
    return ExecutorPool(executor)


def _dask(address: str) -> Any:
    try:
        from distributed import Client
    except ImportError:
        raise InputError(
            "executor='dask:...' needs Dask: pip install 'fastnet-mlp[dask]'."
        ) from None
    try:
        made: Any = Client
        return made(address, timeout=_DASK_SECONDS)
    except (OSError, ValueError, TimeoutError) as error:
        raise InputError(
            f"no Dask scheduler answers at {address!r} ({_line(error) or type(error).__name__}): "
            "start one by 'dask scheduler', or correct the address."
        ) from None


def _mpi() -> Pool:
    try:
        from mpi4py import MPI
        from mpi4py.futures import MPIPoolExecutor
    except ImportError:
        raise InputError(
            "executor='mpi' needs mpi4py and an MPI: pip install 'fastnet-mlp[mpi]'."
        ) from None
    if "mpi4py.futures" not in sys.orig_argv or MPI.COMM_WORLD.Get_size() < 2:
        raise InputError(
            "executor='mpi' needs processes of MPI to send members to: start the program as "
            "'mpiexec -n 5 python -m mpi4py.futures PROGRAM', of which four train."
        )
    return MPIPool(MPIPoolExecutor())
