"""`takes_device_arrays`: estimators take arrays on a GPU, as copies on the host.

scikit-learn checks and encodes rows on the host, and so do the estimators: what they are given on a
GPU is copied from there first. Answers are arrays of the host.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from types import FunctionType
from typing import Any, Final, TypeVar

from sklearn.utils.metaestimators import available_if

from fastnet.utils.device_arrays import on_host

C = TypeVar("C", bound=type)

_METHODS: Final = (
    *("fit", "partial_fit", "score", "predict", "predict_proba", "predict_log_proba"),
    *("predict_quantiles", "decision_function", "score_samples", "transform", "inverse_transform"),
)
"""The methods of estimators and of searches that take rows."""


def takes_device_arrays(cls: C) -> C:
    """Let all methods of an estimator copy the arrays on a GPU among their arguments to the host.

    Methods that scikit-learn offers only with some parameters are there with the same ones.
    """
    for name in _METHODS:
        method = inspect.getattr_static(cls, name, None)
        if isinstance(method, FunctionType):
            setattr(cls, name, _copying(method))
        elif method is not None:
            setattr(cls, name, _offered(cls, name))
    return cls


def _copying(method: Callable[..., Any]) -> Callable[..., Any]:
    names = [*inspect.signature(method).parameters][1:]

    @wraps(method)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        # Of arguments that are too many, Python says so.
        given = [on_host(name, value) for name, value in zip(names, args, strict=False)]
        given += args[len(given) :]
        return method(self, *given, **{name: on_host(name, v) for name, v in kwargs.items()})

    return call


def _offered(cls: type, name: str) -> Any:
    """Return a method that is there where that of the base class is."""
    base = inspect.getattr_static(cls, name)

    def is_there(self: Any) -> bool:
        return base.__get__(self, type(self)) is not None  # else it raises AttributeError

    @wraps(base, updated=())  # its attributes are those of a descriptor
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        return base.__get__(self, type(self))(*args, **kwargs)

    return available_if(is_there)(_copying(call))
