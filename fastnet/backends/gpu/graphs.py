"""Records launches that repeat as CUDA graphs the second time, and replays them after that."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Final

from fastnet.backends.gpu.runtime import Runtime
from fastnet.utils.warn import warn

GRAPHS: Final = 32
"""How many recordings are kept; the one that was not used for longest goes first."""


class Graphs:
    """Recordings of launches, by a key that holds everything they depend on.

    A recording holds addresses and keeps no array alive. So its key must hold the addresses and
    sizes of all arrays, and everything else in which two launches could differ. When a key comes
    again, the caller wants the same launches on the same addresses, whichever arrays are there by
    then.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._recorded: OrderedDict[Hashable, Callable[[], None] | None] = OrderedDict()

    def run(self, key: Hashable, work: Callable[[], None]) -> None:
        """Run `work`: the first time directly, since that loads kernels and chooses algorithms."""
        if key not in self._recorded:
            work()
            self._recorded[key] = None
            if len(self._recorded) > GRAPHS:
                self._recorded.popitem(last=False)
            return
        self._recorded.move_to_end(key)
        replay = self._recorded[key]
        if replay is None:
            replay = self._recorded[key] = self._capture(work)
        replay()

    def _capture(self, work: Callable[[], None]) -> Callable[[], None]:
        """Return a function that replays `work`, or `work` itself where it cannot be recorded."""
        try:
            return self._runtime.capture(work)
        except Exception as error:
            warn(
                f"a step could not be recorded as a CUDA graph ({type(error).__name__}: {error}); "
                f"training goes on launch by launch, which is slower.",
            )
            return work
