"""How many members are trained at once, and on how many threads each of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from fastnet.backends.base import TrainingSize
from fastnet.backends.threads import asked
from fastnet.network import Network
from fastnet.nn.memory import training_bytes
from fastnet.populations.crews import Threads
from fastnet.populations.halfway import batch_of, expected_seconds
from fastnet.populations.settings import Member
from fastnet.utils import memory

SHORT_SECONDS: Final = 2e-3
"""Members that take less are trained by one thread: what Python does for each takes longer, and
there threads wait for each other. Measured: two threads took 1.11 of the time of one at 1 ms (64
networks of 2-4-2 on 128 rows, 50 epochs), and 0.65 at 4 ms (30-64-2 on 455 rows)."""

Jobs = Sequence[tuple[Member, Any]]
"""Members, each with its fold."""


def most_at_once(template: Network, threads: int | None) -> int:
    """Return how many groups of members processors may train at once."""
    most = template.engine().most_threads
    threads = asked(threads, most)
    if not template.backend_object.trains_side_by_side:
        return 1
    return most if threads is None else threads


def share(
    template: Network,
    jobs: Jobs,
    groups: Sequence[Sequence[int]],
    rows: int,
    threads: int | None,
) -> Threads:
    """Return the threads that train groups of members, on queues of the device where it has any.

    Parameters
    ----------
    template : Network
    jobs : sequence of (Member, fold)
    groups : sequence of sequences of int
        The numbers of members that are trained together.
    rows : int
    threads : int or None
        Most threads in all, as the caller gives it.
    """
    most = most_at_once(template, threads)
    longest = max(
        sum(expected_seconds(jobs[k][0].plan, rows, jobs[k][0].fit) for k in numbers)
        for numbers in groups
    )
    if len(groups) == 1 or longest < SHORT_SECONDS:
        return Threads(1, threads)
    backend = template.backend_object
    queues = backend.queues_for(list(_sizes(template, jobs, groups, rows)))
    slots = min(queues, len(groups), queues if threads is None else threads)
    if slots > 1:
        return Threads(slots, 1, backend)
    batch = max(batch_of(rows, one.fit) for one, _ in jobs)
    few = len(jobs) < most <= template.engine().threads_for(batch)
    return Threads(1, threads) if most == 1 or few else Threads(min(most, len(groups)), 1)


def _sizes(
    template: Network, jobs: Jobs, groups: Sequence[Sequence[int]], rows: int
) -> Iterator[TrainingSize]:
    for numbers in groups:
        one = jobs[numbers[0]][0]
        yield TrainingSize(
            plan=one.plan,
            itemsize=template.dtype.itemsize,
            moments=one.fit["optimizer"].n_moments,
            rows=rows,
            held_out=_held_out(one.fit),
            batch=batch_of(rows, one.fit),
            networks=len(numbers),
        )


def _held_out(fit: Mapping[str, Any]) -> int:
    """Return the number of a caller's rows for validation; what is wrong with them `fit` says."""
    given = fit.get("validation_data")
    x: Any = given[0] if isinstance(given, list | tuple) and given else given
    try:
        return len(x)
    except TypeError:
        return 0


def require_memory(itemsize: int, jobs: Jobs, workers: int) -> None:
    """Raise `OutOfMemoryError` unless all members fit into memory, and so many in training."""
    kept, largest = 0, 0
    for one, _ in jobs:
        optimizer = one.fit["optimizer"]
        kept += (1 + optimizer.n_moments) * one.plan.size * itemsize
        largest = max(largest, training_bytes(one.plan, itemsize, optimizer)[0])
    less = "fewer members or layers, or dtype='float32'"
    memory.require(kept + workers * largest, f"a population of {len(jobs)} networks", less)
