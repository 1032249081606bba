"""`ProcessesPool`: processes of fastnet's own, which are started again when they have ended."""

from __future__ import annotations

import os
import signal
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from multiprocessing import get_context
from typing import Any

from fastnet.backends.threads import cores
from fastnet.errors import WorkerError
from fastnet.populations import remote
from fastnet.populations.parcel import Parcel
from fastnet.populations.work import Work


class ProcessesPool:
    """Processes of fastnet's own, each in an executor of its own: one that ends takes no other.

    Parameters
    ----------
    count : int
    """

    def __init__(self, count: int) -> None:
        self.slots = count
        self.threads = max(1, cores() // count)
        self._parcel: Parcel | None = None
        self._at: dict[int, tuple[ProcessPoolExecutor, int]] = {}
        self._busy: dict[int, Future[Any]] = {}

    def bring(self, work: Work) -> None:
        self._parcel = Parcel(work)
        # They start at the same time.
        starting = {k: self._start() for k in range(self.slots)}
        try:
            for k, (executor, began) in starting.items():
                self._at[k] = executor, _number(began)
        except BaseException:
            for executor, _ in starting.values():
                executor.shutdown(wait=False, cancel_futures=True)
            raise

    def _start(self) -> tuple[ProcessPoolExecutor, Future[int]]:
        executor = ProcessPoolExecutor(
            1, get_context("spawn"), initializer=remote.begin, initargs=(self.threads, os.getpid())
        )
        return executor, executor.submit(remote.ready)

    def submit(self, *how: Any, again: bool = False) -> Future[Any]:
        assert self._parcel is not None
        label = self._parcel.full() if again else self._parcel.label
        k = next(k for k in self._at if k not in self._busy or self._busy[k].done())
        try:
            future: Future[Any] = self._at[k][0].submit(remote.train_there, label, *how)
        except BrokenExecutor:
            self._at[k][0].shutdown()
            executor, began = self._start()
            self._at[k] = executor, _number(began)
            future = executor.submit(remote.train_there, label, *how)
        self._busy[k] = future
        return future

    def lost(self, error: BaseException) -> bool | None:
        return True if isinstance(error, BrokenProcessPool) else None

    def look(self) -> None:
        pass

    def stop(self) -> None:
        for k, (_, number) in self._at.items():
            if k in self._busy and not self._busy[k].done():
                with suppress(ProcessLookupError):
                    os.kill(number, getattr(signal, "SIGKILL", signal.SIGTERM))

    def close(self) -> None:
        for executor, _ in self._at.values():
            executor.shutdown(cancel_futures=True)
        if self._parcel is not None:
            self._parcel.close()


def _number(began: Future[int]) -> int:
    """Return the number of a process that has started.

    Raises
    ------
    WorkerError
        It has not.
    """
    try:
        return began.result()
    except BrokenProcessPool:
        raise WorkerError(
            "the processes of the executor do not start (what they said is on standard error): a "
            "script that starts processes runs what it does under if __name__ == '__main__':."
        ) from None
