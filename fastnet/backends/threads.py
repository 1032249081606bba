"""Threads for compiled steps: counts cores, chooses how many threads to use, and starts them."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from itertools import pairwise
from typing import Any, Final

from fastnet.utils import machine
from fastnet.utils.param_validation import check_int
from fastnet.utils.warn import warn

FLOPS_PER_THREAD: Final = 800_000
"""A step of training is shared between threads when each gets at least so much work.

Measured: two threads took 0.93 of one thread's speed with 0.3 million each, 1.05 with 0.6 and 1.24
with 1.0 (batches of 64 rows, two layers of 32, 48 and 64 units)."""


FLOPS_PER_THREAD_ONCE: Final = 50_000_000
"""A prediction uses several threads when each gets so many operations, as each must be started."""

FLOPS_PER_SHARE: Final = 8_000_000
"""Parts of a step are shared out among threads when each gets so much work.

A thread that waits for the next step wakes within about 50 us."""

BOUNDS: Final = ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS")
"""Variables that bound the number of threads."""

RETRY: Final = 16
"""Before the slower number of threads is tried again there are so many spans, at first fewer."""

TRIAL: Final = 8
"""A trial takes one step in so many of a span, twice: in the first ones data move between cores."""

SHORT_SECONDS: Final = 0.05
"""A trial takes a whole span, once, if that is no longer than this: a core that has been idle may
take milliseconds to start a thread."""


@cache
def cores() -> int:
    """Return the number of threads that steps may use: one for each core.

    No more than NUMBA_NUM_THREADS and OMP_NUM_THREADS say, which joblib sets in its workers to
    share out the cores.
    """
    given = [os.environ.get(name, "").partition(",")[0].strip() for name in BOUNDS]
    bounds = [int(number) for number in given if number.isdecimal() and int(number)]
    return min([machine.cores(), *bounds])


def asked(threads: Any, most: int) -> int | None:
    """Return the number of threads that a caller asks for, at most one for each core.

    More would only wait for each other. None leaves the choice to the engine.
    """
    if threads is None:
        return None
    count = check_int("threads", threads)
    if count > most:
        warn(
            f"threads={count}, and this process may use {most} cores (the machine's, within its "
            f"affinity, its control groups, {' and '.join(BOUNDS)}): it uses {most} threads.",
        )
    return min(count, most)


def threads_that_pay(asked: int | None, most: int, worth: int) -> int:
    """Return how many threads share the work: `asked`, else `worth`, from 1 up to `most`."""
    return int(max(1, min(worth if asked is None else asked, most)))


class Pace:
    """Chooses between one thread and `most` by how long steps took with each.

    Threads of a step wait for each other, so on a busy machine, or where two "cores" share one
    arithmetic unit, one thread alone may be faster. `Pace` measures both while training runs. The
    number of threads does not change a bit of the result, so it may change at any step.
    """

    def __init__(self, most: int, *, fixed: bool = False) -> None:
        self._choices = [most] if fixed else sorted({1, most}, reverse=True)
        self._seconds: dict[int, float] = {}
        # What is tried next, at first each twice; then the spans until the next trial, and after.
        self._trials = [] if len(self._choices) == 1 else [most, most, 1, 1]
        self._left, self._gap = 0, 1

    def next(self, steps: int) -> tuple[int, int]:
        """Return how many threads to use, and for how many of the coming `steps`."""
        if len(self._choices) == 1:
            return self._choices[0], steps
        if not self._trials:
            best, other = sorted(self._choices, key=self._seconds.__getitem__)
            if self._left:
                self._left -= 1
                return best, steps
            self._trials = [other] if self._is_short(steps) else [other, other]
        return self._trials[0], steps if self._is_short(steps) else max(1, steps // TRIAL)

    def _is_short(self, steps: int) -> bool:
        return steps * min(self._seconds.values(), default=math.inf) < SHORT_SECONDS

    def record(self, threads: int, steps: int, seconds: float) -> None:
        """Record that `steps` steps on `threads` threads took so many seconds.

        The estimate is the fastest span so far, increased by a tenth with each new one, so that a
        single slow span does not count.
        """
        new = seconds / steps
        if self._trials:
            del self._trials[0]
            if self._trials and self._trials[0] == threads:
                return
            if not self._trials:
                self._left = self._gap
                self._gap = min(2 * self._gap, RETRY)
        self._seconds[threads] = min(new, 1.1 * self._seconds.get(threads, new))


class Paces:
    """The choosers of an engine, one for each number of threads."""

    def __init__(self) -> None:
        self._made: dict[tuple[int, bool], Pace] = {}

    def of(self, most: int, *, fixed: bool) -> Pace:
        """Return the chooser between one thread and `most`; `fixed`: it always says `most`."""
        if (most, fixed) not in self._made:
            self._made[most, fixed] = Pace(most, fixed=fixed)
        return self._made[most, fixed]


def run_together(threads: int, run: Callable[[int, int], None], *, meet: bool = True) -> None:
    """Call ``run(thread, threads)`` for every thread; return when all are done.

    The threads live for this call only: a pool would have no threads left after a fork. They start
    together behind a gate: otherwise a thread would wait for ever at a barrier for one that could
    not be started. Where the system gives no more threads, this one does all the work.

    Parameters
    ----------
    meet : bool, default True
        Whether they meet at barriers. Then this thread only waits: a signal such as Ctrl-C raises
        its exception here, at any moment, and the others would wait for a thread that has left.
    """
    if threads == 1:
        run(0, 1)
        return
    gate, go = threading.Event(), threading.Event()

    def wait_and_run(thread: int, done: threading.Event) -> None:
        gate.wait()
        try:
            if go.is_set():
                run(thread, threads)
        finally:
            done.set()

    started: list[tuple[threading.Event, threading.Thread]] = []
    try:
        for thread in range(0 if meet else 1, threads):
            done = threading.Event()
            helper = threading.Thread(target=wait_and_run, args=(thread, done))
            helper.start()
            started.append((done, helper))
        go.set()
        if not meet:
            gate.set()
            run(0, threads)
    except RuntimeError:
        if go.is_set():
            raise
    finally:
        _let_finish(gate, started)
    if not go.is_set():
        run(0, 1)


def _let_finish(
    gate: threading.Event, started: list[tuple[threading.Event, threading.Thread]]
) -> None:
    """Open the gate and wait for all threads; only then raise what a signal raises meanwhile.

    The threads write to memory of the caller, who would free it or use it.
    """
    raised: BaseException | None = None
    waiting = True
    while waiting:
        try:
            gate.set()
            for done, helper in started:
                # Not `join` alone: after an exception in it, it takes the thread for ended.
                done.wait()
                helper.join()
            waiting = False
        except BaseException as error:
            raised = error
    if raised is not None:
        raise raised


Share = Callable[[Callable[[int], Any], int], list[Any]]
"""Calls a function with each index below a count; returns what it returns, in order."""


@contextmanager
def sharing(threads: int) -> Iterator[Share]:
    """Return what shares out calls of a function among so many threads, which live until the end.

    The first of equally long spans of indices is for this thread.
    """
    if threads == 1:
        yield lambda compute, count: [compute(index) for index in range(count)]
        return
    with ThreadPoolExecutor(threads - 1) as pool:

        def run(compute: Callable[[int], Any], count: int) -> list[Any]:
            bounds = [count * k // threads for k in range(threads + 1)]
            spans = [range(a, b) for a, b in pairwise(bounds)]

            def several(span: range) -> list[Any]:
                return [compute(index) for index in span]

            others = [pool.submit(several, span) for span in spans[1:]]
            found = several(spans[0])
            for other in others:
                found += other.result()
            return found

        yield run
