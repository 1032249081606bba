"""A wrong name is answered with the known ones, and with the nearest."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from fastnet.errors import FastNetError, InputError
from fastnet.nn import activations, initializers, losses, optimizers

LOOK_UP: dict[str, tuple[Callable[[Any], Any], str]] = {
    "activation": (activations.get, "relu"),
    "initializer": (initializers.check, "he_uniform"),
    "loss": (lambda name: losses.get(name, "identity"), "mse"),
    "optimizer": (optimizers.get, "adam"),
}
each_kind = pytest.mark.parametrize("kind", LOOK_UP)


@pytest.mark.parametrize("name", ["", "nonsense", "ADAM ", "mse mse"])
@each_kind
def test_a_wrong_name_is_answered_with_the_known_ones(kind: str, name: str) -> None:
    get, known = LOOK_UP[kind]
    with pytest.raises(InputError, match=rf"unknown {kind} .*Known: .*{known}") as error:
        get(name)
    assert isinstance(error.value, FastNetError)
    assert isinstance(error.value, ValueError)


@each_kind
def test_a_near_miss_is_answered_with_the_nearest_name(kind: str) -> None:
    get, known = LOOK_UP[kind]
    with pytest.raises(InputError, match=f"did you mean '{known}'"):
        get(known[:-1] + known[-1] * 2)


@pytest.mark.parametrize("value", [3, None, ["relu"], int])
@each_kind
def test_what_is_no_name_is_refused(kind: str, value: Any) -> None:
    get, _ = LOOK_UP[kind]
    if kind == "loss" and value is None:  # the one that suits the output
        return
    with pytest.raises(InputError, match=f"unknown {kind}|{kind} must be a name"):
        get(value)
