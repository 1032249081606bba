"""`Interrupt`: Ctrl-C, and SIGTERM with checkpoints, end training between two batches."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import FrameType
from typing import Any, Final, NoReturn, Protocol, Self

TERMINATED: Final = 143
"""Exit code after SIGTERM: 128 plus its number, as in shells."""


class Stop(Protocol):
    """What says whether training should end, such as a `threading.Event`."""

    def is_set(self) -> bool:
        """Return whether it should."""


_stop: ContextVar[Stop | None] = ContextVar("stop", default=None)


@contextmanager
def stopped_by(event: Stop) -> Iterator[None]:
    """Let an event interrupt what this thread trains within the context, as Ctrl-C does."""
    token = _stop.set(event)
    try:
        yield
    finally:
        _stop.reset(token)


class TimeUp(Exception):  # noqa: N818 - it is no error: somebody set a limit
    """Training was ended by `ended_when`."""


class _Watch:
    """Stops training where another does, or where a condition has become true."""

    def __init__(self, outer: Stop | None, over: Callable[[], bool]) -> None:
        self._outer, self._over, self.ended = outer, over, False

    def is_set(self) -> bool:
        if self._outer is not None and self._outer.is_set():
            return True
        self.ended = self.ended or self._over()
        return self.ended


@contextmanager
def ended_when(over: Callable[[], bool]) -> Iterator[None]:
    """Raise `TimeUp` if ``over()`` is true while this thread trains within the context.

    It is asked after each span, about ten times a second. Ctrl-C stays what it is.
    """
    watch = _Watch(_stop.get(), over)
    try:
        with stopped_by(watch):
            yield
    except KeyboardInterrupt:
        if watch.ended:
            raise TimeUp from None
        raise


class Interrupt:
    """Turns a signal into a flag while training runs in the main thread; a second one ends at once.

    Python runs signal handlers in the main thread, between two byte codes. So the flag is set after
    the current span at the latest. Other threads are interrupted by the event of `stopped_by`.

    Parameters
    ----------
    terminable : bool
        Whether SIGTERM sets the flag too. Otherwise it ends the process at once.
    agreed : callable, optional
        ``Engine.agreed``, so that all processes that train a network together end together.
    """

    def __init__(
        self, *, terminable: bool = False, agreed: Callable[[float], float] = float
    ) -> None:
        self._signalled, self._agreed = False, agreed
        self._event = _stop.get()
        self._terminated = False
        # Handlers of the caller, and ignored signals, are not replaced.
        self._usual: dict[int, Any] = {signal.SIGINT: signal.default_int_handler}
        if terminable:
            self._usual[signal.SIGTERM] = signal.SIG_DFL
        self._replaced: list[int] = []

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number, usual in self._usual.items():
                if signal.getsignal(number) is usual:
                    signal.signal(number, self._press)
                    self._replaced.append(number)
        return self

    @property
    def pressed(self) -> bool:
        """Whether training should end; whoever trains together asks at the same places."""
        here = self._signalled or (self._event is not None and self._event.is_set())
        return bool(self._agreed(here))

    def press(self) -> None:
        """End training as a signal does."""
        self._signalled = True

    def _press(self, number: int, frame: FrameType | None) -> None:
        self.press()
        self._terminated = self._terminated or number == signal.SIGTERM
        for replaced in self._replaced:
            signal.signal(replaced, self._usual[replaced])

    def __exit__(self, *_: object) -> None:
        for number in self._replaced:
            signal.signal(number, self._usual[number])
        self._replaced.clear()

    def leave(self) -> NoReturn:
        """End the program as the signal would have, now that the network is consistent."""
        if self._terminated:
            raise SystemExit(TERMINATED)
        raise KeyboardInterrupt
