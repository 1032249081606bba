"""Which process uses the GPU: CUDA does not outlive a fork."""

from __future__ import annotations

import os

from fastnet.errors import BackendUnavailableError

_first: int | None = None
"""The process in which the GPU was used first; a child that was forked from it has this too."""


def why_forked() -> str | None:
    """Return why this process cannot use the GPU if its parent did before a fork."""
    if _first in (None, os.getpid()):
        return None
    return (
        "this process was forked from one that uses the GPU, and CUDA allows no more in it: start "
        'processes by spawn, as multiprocessing.get_context("spawn") does, or with joblib.'
    )


def require_own() -> None:
    """Note that this process uses the GPU; raise if it was forked from one that does."""
    global _first
    if _first is None:
        _first = os.getpid()
    reason = why_forked()
    if reason is not None:
        raise BackendUnavailableError(reason)
