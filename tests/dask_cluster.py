"""A cluster of Dask's in processes of this machine."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def cluster(workers: int) -> Iterator[Any]:
    """Start workers; what Dask sets in the environment of this process too ends with them.

    Those are bounds of threads, which other tests must not meet.
    """
    import distributed

    before = dict(os.environ)
    quiet = {"dashboard_address": ":0", "silence_logs": logging.CRITICAL}
    try:
        with distributed.LocalCluster(n_workers=workers, threads_per_worker=1, **quiet) as made:
            yield made
    finally:
        os.environ.clear()
        os.environ.update(before)
