"""`once`: a cache for functions that threads call at the same time."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, wraps
from threading import RLock
from typing import Any, TypeVar

T = TypeVar("T")


def once(function: Callable[..., T]) -> Callable[..., T]:
    """Cache what a function returns.

    `functools.cache` calls a function twice for two threads that ask before the first has its
    answer; here the second waits, and both get the same object.
    """
    cached, lock = cache(function), RLock()

    @wraps(function)
    def call(*args: Any) -> T:
        with lock:
            return cached(*args)

    call.cache_clear = cached.cache_clear  # type: ignore[attr-defined]
    return call
