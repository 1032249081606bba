"""Warnings point at the line that has called fastnet."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest

import fastnet as fn
from fastnet.utils import warn as module
from fastnet.utils.arguments import answers


def through_others(function: Callable[[], Any], count: int) -> Any:
    """Call a function through so many of fastnet's decorators."""
    for _ in range(count):
        function = answers("it")(function)
    return function()


@pytest.mark.parametrize("count", [0, 1, 5])
def test_it_points_at_the_call_that_entered(count: int) -> None:
    with pytest.warns(fn.FastNetWarning, match="this") as caught:
        line = inspect.currentframe().f_lineno + 1  # type: ignore[union-attr]
        through_others(lambda: module.warn("this"), count)
    (one,) = caught
    # The lambda, a line of this file, calls `warn`; the decorators lie around it.
    assert one.filename == __file__
    assert one.lineno == (line if count == 0 else through_others.__code__.co_firstlineno + 4)
