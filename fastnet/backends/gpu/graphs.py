"""Work that is done again and again: recorded the second time, replayed from then on."""

from __future__ import annotations

import warnings
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Final

from fastnet.backends.gpu.runtime import Runtime
from fastnet.errors import FastNetWarning

GRAPHS: Final = 32
"""So many recordings are kept; the one unused for longest goes first."""


class Graphs:
    """Recordings of launches, by what they depend on.

    A recording holds addresses, not arrays: it keeps no data alive. So the addresses and sizes of
    all arrays must be part of its key, as must everything else by which two launches differ. Where
    a key comes again, the same launches on the same addresses are what is asked for, whoever owns
    the memory by then.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._recorded: OrderedDict[Hashable, Callable[[], None] | None] = OrderedDict()

    def run(self, key: Hashable, work: Callable[[], None]) -> None:
        """Do `work`: at first as it stands, which loads kernels and chooses algorithms."""
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
        """Return what replays `work`; where it cannot be recorded, `work` itself."""
        try:
            return self._runtime.capture(work)
        except Exception as error:
            warnings.warn(
                f"a step could not be recorded as a CUDA graph ({type(error).__name__}: {error}); "
                f"training goes on launch by launch, which is slower.",
                FastNetWarning,
                stacklevel=2,
            )
            return work
