"""Who trains the members of a population: threads of this process, or the workers of a pool."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Final, Self

from fastnet.backends.base import Backend
from fastnet.backends.threads import asked, cores
from fastnet.errors import InputError, WorkerError
from fastnet.network import Network
from fastnet.populations import executors
from fastnet.populations.executors import Pool
from fastnet.populations.work import Limits, Trained, Work, named
from fastnet.populations.workers import run_all
from fastnet.training.interrupt import Interrupt, TimeUp, ended_when
from fastnet.utils.param_validation import check_int, shown

ATTEMPTS: Final = 3
"""A member that has ended so many workers is lost."""

_LOOK_SECONDS: Final = 0.05
_LOOKS: Final = 20
"""After so many looks in vain the pool looks to its workers."""

Take = Callable[[int, Network, dict[str, Any]], None]


@dataclass(frozen=True)
class Threads:
    """Threads of this process.

    Attributes
    ----------
    slots : int
    threads : int or None
        Of each member.
    backend : Backend or None
        The one on whose queues they train; None: they need none.
    """

    slots: int
    threads: int | None
    backend: Backend | None = None

    @classmethod
    def of(cls, networks: Sequence[Network], threads: Any, count: int) -> Self:
        """Return those that train so many members of the kind of these, each on one core.

        Parameters
        ----------
        threads : int or None
            Most threads in all, as the caller gives it.
        """
        threads = asked(threads, cores())
        if not all(one.backend_object.trains_side_by_side for one in networks):
            return cls(1, threads)
        slots = min(cores() if threads is None else threads, count)
        return cls(slots, 1 if slots > 1 else threads)

    def run(
        self,
        groups: Iterator[Sequence[int]],
        work: Work,
        take: Take,
        folder: Path | None,
        limits: Limits | None,
    ) -> None:
        """Train groups of members as they come; see `Crew.run`."""

        def train(numbers: Sequence[int], take: Take = take) -> None:
            made = work.train(numbers, self.threads, folder)
            for number, (network, row) in zip(numbers, made, strict=True):
                take(number, network, row)

        def within(numbers: Sequence[int]) -> None:
            assert limits is not None
            first = numbers[0]
            try:
                with ended_when(lambda: limits.over(first)):
                    train(numbers)
            except TimeUp:
                return

        if self.backend is not None:
            assert limits is None
            self._run_on_queues(groups, train, take, self.backend.queues())
        else:
            run_all(groups, train if limits is None else within, self.slots)

    def _run_on_queues(
        self,
        groups: Iterator[Sequence[int]],
        train: Callable[[Sequence[int], Take], None],
        take: Take,
        queue: Callable[[], AbstractContextManager[Any]],
    ) -> None:
        """Train each group on a queue of its own.

        Members that find too little memory beside the others are trained after them, one group at
        a time, as they would be alone.
        """
        again = list[Sequence[int]]()

        def train_on_one(numbers: Sequence[int]) -> None:
            left = list(numbers)

            def took(number: int, network: Network, row: dict[str, Any]) -> None:
                take(number, network, row)
                left.remove(number)

            try:
                with queue():
                    train(numbers, took)
            except MemoryError:
                again.append(left)

        run_all(groups, train_on_one, self.slots)
        for numbers in again:
            train(numbers, take)


@dataclass(frozen=True)
class Workers:
    """The workers of a pool.

    Attributes
    ----------
    pool : Pool
    threads : int
        Of each task.
    """

    pool: Pool
    threads: int

    @property
    def slots(self) -> int:
        """How many tasks they do at once."""
        return self.pool.slots

    def run(
        self,
        groups: Iterator[Sequence[int]],
        work: Work,
        take: Take,
        folder: Path | None,
        limits: Limits | None,
    ) -> None:
        """Train groups of members as they come; see `Crew.run`.

        Members of a worker that has ended are sent again, one by one, until they are lost.
        """
        folder = None if folder is None else folder.absolute()
        arrived: SimpleQueue[Future[Any]] = SimpleQueue()
        running: dict[Future[Any], Sequence[int]] = {}
        again: list[Sequence[int]] = []
        ended, lost, looks = Counter[int](), list[int](), 0

        def send(numbers: Sequence[int], *, full: bool = False) -> None:
            left = math.inf if limits is None else limits.left(numbers[0])
            how = numbers, self.threads, folder, None if left == math.inf else left
            future = self.pool.submit(*how, again=full)
            running[future] = numbers
            future.add_done_callback(arrived.put)

        def refill() -> None:
            while len(running) < self.slots:
                numbers = again.pop() if again else next(groups, None)
                if numbers is None:
                    return
                send(numbers)

        def answer(future: Future[Any]) -> list[Trained] | None:
            """Return what a task has made; None if it was sent again, or is lost."""
            numbers = running.pop(future)
            try:
                made: list[Trained] | None = future.result()
            except Exception as error:
                again_ = self.pool.lost(error)
                if again_ is None:
                    raise
                for number in numbers:
                    # Of those that were trained together, each shows by itself what it does.
                    ended[number] += len(numbers) == 1
                    if again_ and ended[number] < ATTEMPTS:
                        again.append((number,))
                    else:
                        lost.append(number)
                return None
            if made is None:
                send(numbers, full=True)
            elif not _are_trained(made):
                raise InputError(
                    "a future of the executor must have what its function returned, and has "
                    f"{shown(made)}."
                )
            return made

        self.pool.bring(work)
        with Interrupt() as interrupt:
            try:
                refill()
                while running and not interrupt.pressed:
                    try:
                        future = arrived.get(timeout=_LOOK_SECONDS)
                    except Empty:
                        if (looks := looks + 1) % _LOOKS == 0:
                            self.pool.look()
                            refill()  # there may be more workers now
                        continue
                    numbers, made = running[future], answer(future)
                    refill()  # before what is done is written, so that no worker waits
                    for number, (network, row) in zip(numbers, made or (), strict=False):
                        take(number, network, row)
            finally:
                if running:
                    self.pool.stop()
        if interrupt.pressed:
            interrupt.leave()
        if lost:
            raise _lost(work, lost)


def _are_trained(made: Any) -> bool:
    """Return whether this is what a task returns."""
    return isinstance(made, list) and all(
        isinstance(one, tuple) and len(one) == 2 and isinstance(one[0], Network) for one in made
    )


def _lost(work: Work, lost: Sequence[int]) -> WorkerError:
    first = named(work, lost[0])
    others = f", and {len(lost) - 1} more did so" if len(lost) > 1 else ""
    return WorkerError(
        f"{first} ended its worker process each time it was trained{others}; all others are done. "
        "The system ends processes that need more memory than there is; a smaller network or "
        "batch_size needs less.",
        members=tuple(lost),
    )


@contextmanager
def hired(executor: Any, threads: Any, backend: str) -> Iterator[Workers | None]:
    """Yield the workers of an executor; None without one.

    Parameters
    ----------
    executor, threads
        See `fastnet.fit_many`.
    backend : str
        Of the networks.

    Raises
    ------
    InputError, WorkerError
        It is no executor, or cannot be reached.
    """
    if executor is None:
        yield None
        return
    if backend == "cupy":
        raise InputError(
            "executor= spreads networks over processors, and these are on the GPU (backend "
            "'cupy'): leave it out, or give backend='numba'."
        )
    threads = None if threads is None else check_int("threads", threads)
    with executors.opened(executor) as pool:
        yield Workers(pool, pool.threads if threads is None else threads)
