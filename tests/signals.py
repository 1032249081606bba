"""A signal whose handler raises in the main thread, whatever that does."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def interrupting() -> Iterator[tuple[threading.Event, Callable[[], None]]]:
    """Return an event and what sends the signal; its handler sets the one and raises Ctrl-C's.

    Send it again until the event is set: one that comes just before the main thread begins to wait
    is not seen.
    """
    raised = threading.Event()

    def handle(number: int, frame: Any) -> None:
        raised.set()
        raise KeyboardInterrupt

    def send() -> None:
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, handle)
    try:
        yield raised, send
    finally:
        signal.signal(signal.SIGUSR1, before)
