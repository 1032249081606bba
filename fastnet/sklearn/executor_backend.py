"""`ExecutorBackend`: joblib on any executor whose ``submit`` returns futures."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any
from weakref import WeakSet

from joblib.parallel import ParallelBackendBase

from fastnet.populations.executors import ExecutorPool


class ExecutorBackend(ParallelBackendBase):
    """Sends the tasks of joblib to the workers of an executor.

    Every task travels with its rows; an executor of threads takes them as they are.

    Parameters
    ----------
    pool : ExecutorPool
    """

    supports_retrieve_callback = True
    default_n_jobs = -1

    def __init__(self, pool: ExecutorPool, **how: Any) -> None:
        super().__init__(**how)
        self._pool = pool
        self._sent: WeakSet[Future[Any]] = WeakSet()

    def effective_n_jobs(self, n_jobs: int) -> int:
        """Return how many tasks the executor is given at once."""
        return max(2, self._pool.slots)  # with 1, joblib does them here

    def submit(
        self, func: Callable[[], Any], callback: Callable[[Future[Any]], None] | None = None
    ) -> Future[Any]:
        """Send a task; `callback` is called with its future once it is done."""
        future = self._pool.send(func)
        self._sent.add(future)
        if callback is not None:
            future.add_done_callback(callback)
        return future

    apply_async = submit
    """Its name before joblib 1.5."""

    def retrieve_result_callback(self, out: Future[Any]) -> Any:
        """Return the result of a task.

        Raises
        ------
        WorkerError
            The worker has ended, and the executor takes no more tasks.
        """
        try:
            return out.result()
        except Exception as error:
            self._pool.lost(error)
            raise

    def abort_everything(self, ensure_ready: bool = True) -> None:
        """Take back what waits: a task has failed."""
        for future in list(self._sent):
            future.cancel()
