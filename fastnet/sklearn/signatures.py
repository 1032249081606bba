"""Constructors that take over their parent's parameters, as scikit-learn reads them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


def extending(parent: type) -> Callable[[F], F]:
    """Give an ``__init__`` with ``*args`` and ``**kwargs`` the parent's parameters before its own.

    scikit-learn reads parameters off the signature (``get_params``, ``clone``, ``set_params``). So
    a parent of another version, with other parameters, is followed.
    """
    theirs = inspect.signature(parent.__init__).parameters.values()  # type: ignore[misc]

    def sign(init: F) -> F:
        every = inspect.signature(init).parameters.values()
        own = [parameter for parameter in every if parameter.kind is parameter.KEYWORD_ONLY]
        init.__signature__ = inspect.Signature([*theirs, *own])  # type: ignore[attr-defined]
        return init

    return sign
