"""What runs in a worker: it opens the parcel, trains members, and sends them back."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fastnet.backends.threads import BOUNDS, cores
from fastnet.errors import FastNetError
from fastnet.populations.parcel import AbsentError, Label
from fastnet.populations.work import Trained, Work
from fastnet.training.interrupt import TERMINATED, Stop, TimeUp, ended_when, stopped_by
from fastnet.utils.machine import this_machine

_watching = threading.Lock()


def begin(share: int, parent: int) -> None:
    """Prepare a process of fastnet's own: it has a share of the cores, and ends with its parent.

    Ctrl-C reaches it too, and is for its parent to answer.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ[BOUNDS[-1]] = str(share)
    cores.cache_clear()
    end_with_parent(parent)


def ready() -> int:
    """Return the number of this process, once it can work."""
    return os.getpid()


def train_there(
    place: Label | Work,
    numbers: Sequence[int],
    threads: int | None,
    folder: Path | None,
    seconds: float | None,
) -> list[Trained] | None:
    """Return members after training, those for which there was time; None: the content is needed.

    Parameters
    ----------
    place : Label or Work
        The parcel; or the work, where an executor has brought it in its own way.
    numbers, threads, folder
        See `Work.train`.
    seconds : float or None
        The time that there is.
    """
    if isinstance(place, Label):
        if place.machine == this_machine():
            end_with_parent(place.process)
        try:
            work = place.open()
        except AbsentError:
            return None
    else:
        work = place
    began, made = time.monotonic(), list[Trained]()

    def over() -> bool:
        return seconds is not None and time.monotonic() - began > seconds

    try:
        with ended_when(over):
            made.extend(work.train(numbers, threads, folder))
    except TimeUp:
        pass
    except SystemExit:
        # SIGTERM, after which a member has its checkpoint: another process goes on with it.
        if threading.current_thread() is not threading.main_thread():
            raise
        os._exit(TERMINATED)
    except Exception as error:
        raise _portable(error) from None
    return made


def train_here(work: Work, stop: Stop, *how: Any) -> list[Trained] | None:
    """Return what `train_there` does, on a thread of the caller's process."""
    with stopped_by(stop):
        return train_there(work, *how)


def end_with_parent(number: int) -> None:
    """End this process when its parent ends, if that has this number.

    A process that waits for tasks does not learn by itself that its parent was killed.
    """
    parent = multiprocessing.parent_process()
    if parent is None or parent.pid != number or parent.sentinel is None:  # loky's own look to it
        return
    if not _watching.acquire(blocking=False):
        return

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="fastnet-watch").start()


def _portable(error: Exception) -> Exception:
    """Return an exception that arrives as it is; one that cannot be pickled as its text."""
    try:
        if type(pickle.loads(pickle.dumps(error))) is type(error):
            return error
    except Exception:
        pass
    return FastNetError(f"{type(error).__name__}: {error}")
