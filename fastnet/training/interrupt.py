"""`Interrupt`: Ctrl-C, and SIGTERM with checkpoints, end training between two batches."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any, Final, NoReturn, Self

TERMINATED: Final = 143
"""Exit code after SIGTERM: 128 plus its number, as in shells."""


class Interrupt:
    """Turns a signal into a flag while training runs in the main thread; a second one ends at once.

    Python runs signal handlers in the main thread, between two byte codes. So the flag is set after
    the current span at the latest.

    Parameters
    ----------
    terminable : bool
        Whether SIGTERM sets the flag too. Otherwise it ends the process at once.
    """

    def __init__(self, *, terminable: bool = False) -> None:
        self.pressed = False
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

    def _press(self, number: int, frame: FrameType | None) -> None:
        self.pressed = True
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
