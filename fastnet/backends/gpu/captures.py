"""Records queued work as a CUDA graph, and times it.

What is timed is a recording of many runs: queued one by one, small kernels take as long as the host
needs to launch them, and all look alike.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from fastnet.backends.gpu.cublaslt import CublasError

RUNS: Final = 20
"""Runs in a recording that is timed; fewer where they would take longer than `SECONDS`."""

SECONDS: Final = 2e-3
"""A recording that is timed takes at least about so long, unless it has `RUNS` runs."""

Work = Callable[[], None]


def capture(cuda: Any, work: Work) -> Work:
    """Record what `work` queues, without running it; return a function that replays it.

    Parameters
    ----------
    cuda : module
        ``cupy.cuda``.
    """
    # A new stream records the work, and nothing runs on it: the current stream may be the
    # default one, which cannot be captured.
    stream = cuda.Stream(non_blocking=True)
    with stream:
        stream.begin_capture()
        try:
            work()
        except BaseException:
            with suppress(Exception):
                stream.end_capture()
            raise
        graph = stream.end_capture()
    replay: Work = graph.launch
    return replay


def once(cuda: Any, work: Work) -> float:
    """Return the seconds that one run takes on the device, with the gaps between its launches."""
    stream = cuda.get_current_stream()
    begin = stream.record()
    work()
    end = stream.record()
    end.synchronize()
    return float(cuda.get_elapsed_time(begin, end)) / 1000


def first_run(cuda: Any, work: Work) -> float:
    """Return what `once` does, after a run that loads the kernels."""
    work()
    return once(cuda, work)


def seconds(cuda: Any, work: Work, first: float) -> float:
    """Return the seconds of a run among many: the median of three recordings of up to `RUNS` runs.

    Parameters
    ----------
    first : float
        What `first_run` found.

    Raises
    ------
    CublasError
        A product cannot be run, or not recorded.
    """
    count = max(1, min(RUNS, int(SECONDS / max(first, SECONDS / RUNS))))

    def repeat() -> None:
        for _ in range(count):
            work()

    try:
        replay = capture(cuda, repeat)
    except CublasError:
        raise
    except Exception:
        replay = repeat  # Nothing can be recorded here; `Graphs` will say so.
    replay()
    return statistics.median(once(cuda, replay) for _ in range(3)) / count
