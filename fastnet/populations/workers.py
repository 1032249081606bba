"""Runs one task for each member, several at once on threads of this process."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Final, TypeVar

from fastnet.training.interrupt import Interrupt, stopped_by

T = TypeVar("T")

_LOOK_SECONDS: Final = 0.05


def run_all(items: Iterable[T], task: Callable[[T], None], workers: int) -> None:
    """Call ``task(item)`` for each item, on so many threads; return when all are done.

    Each thread takes the next item when it is done with one, and not before: what makes the items
    may decide by what is done whether there is another. An exception, or Ctrl-C, ends what
    the others are training after their current spans, and is raised here.
    """
    waiting, taking, stop = iter(items), threading.Lock(), threading.Event()
    errors: list[BaseException] = []

    def work(ended: threading.Event) -> None:
        with stopped_by(stop):
            while not stop.is_set():
                try:
                    with taking:
                        item = next(waiting, None)
                    if item is None:
                        break
                    task(item)
                except BaseException as error:
                    errors.append(error)
                    stop.set()
        ended.set()

    if workers == 1:
        for item in waiting:
            task(item)
        return
    # Threads say that they have ended: once an exception interrupts `join`, it says so of any.
    started: list[threading.Event] = []
    with Interrupt() as interrupt:
        try:
            for _ in range(workers):
                ended = threading.Event()
                threading.Thread(target=work, args=(ended,)).start()
                started.append(ended)
        except RuntimeError:  # the system gives no more of them
            if not started:
                work(threading.Event())
        try:
            for ended in started:
                while not ended.wait(_LOOK_SECONDS):
                    if interrupt.pressed:
                        stop.set()
        finally:
            # A second Ctrl-C: nothing goes on behind the caller's back.
            stop.set()
            for ended in started:
                ended.wait()
    if interrupt.pressed:
        interrupt.leave()
    if errors:
        raise errors[0]
