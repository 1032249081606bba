"""Arguments that a function does not have are answered with their names and places here."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any, Final, ParamSpec, TypeVar

from fastnet.errors import suggest

P = ParamSpec("P")
R = TypeVar("R")

FOREIGN: Final = {
    "max_iter": "epochs",
    "max_epochs": "epochs",
    "n_epochs": "epochs",
    "num_epochs": "epochs",
    "patience": "early_stopping",
    "n_iter_no_change": "early_stopping",
    "validation_fraction": "validation_split",
    "eval_set": "validation_data",
    "n_jobs": "threads",
    "random_state": "seed",
    "hidden_layers": "hidden",
    "hidden_layer_sizes": "hidden",
    "final_activation": "output_activation",
}
"""What other libraries call arguments."""

_OF_THE_OPTIMIZER: Final = frozenset(
    {
        "learning_rate",
        "learning_rate_init",
        "lr",
        "l1",
        "l2",
        "weight_decay",
        "clip_norm",
        "momentum",
    }
)


def answers(
    name: str, *, also: Iterable[Callable[..., Any]] = (), without: Iterable[str] = ()
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Return a decorator whose function answers an unknown argument in a sentence.

    Parameters
    ----------
    name : str
        What messages call the function.
    also : iterable of callables
        Others, whose arguments the function hands on.
    without : iterable of str
        Those of them that it does not.

    Raises
    ------
    TypeError
        When the function is called with an argument that none of them has.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        every = dict.fromkeys(one for which in (function, *also) for one in arguments_of(which))
        known = tuple(one for one in every if one not in without)
        names = frozenset(known)

        @functools.wraps(function)
        def answering(*args: P.args, **kwargs: P.kwargs) -> R:
            for given in kwargs:
                if given not in names:
                    raise TypeError(f"{name} has no argument {given!r}{_way(given, known)}")
            return function(*args, **kwargs)

        return answering

    return decorate


def arguments_of(function: Callable[..., Any]) -> tuple[str, ...]:
    """Return the names of the arguments of a function or a method."""
    code = inspect.unwrap(function).__code__
    count = code.co_argcount + code.co_kwonlyargcount
    return tuple(one for one in code.co_varnames[:count] if one != "self")


def _way(given: str, known: tuple[str, ...]) -> str:
    if (right := FOREIGN.get(given)) in known:
        return f"; did you mean {right!r}?"
    if given in _OF_THE_OPTIMIZER and "optimizer" in known:
        return ": it belongs to the optimizer, as in optimizer=fn.Adam(learning_rate=0.01)."
    return suggest(given, known)
