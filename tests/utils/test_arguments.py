"""Arguments that a function does not have are answered with their names and places here."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fastnet as fn
from fastnet.utils.arguments import FOREIGN, answers

X, Y = np.eye(3), np.arange(3.0)
TABLE = {"a": [1.0, 2.0, 3.0], "y": [1.5, 2.5, 3.5]}
OPTIMIZER = "it belongs to the optimizer, as in optimizer=fn.Adam"


def network() -> fn.Network:
    return fn.Network([3, 1], backend="numpy")


DOORS: dict[str, tuple[Callable[..., Any], dict[str, str]]] = {
    "Network": (
        lambda **given: fn.Network([3, 1], backend="numpy", **given),
        {"random_state": "did you mean 'seed'", "activations": "did you mean 'activation'"},
    ),
    "fit": (
        lambda **given: network().fit(X, Y, **given),
        {
            "lr": OPTIMIZER,
            "learning_rate": OPTIMIZER,
            "weight_decay": OPTIMIZER,
            "max_iter": "did you mean 'epochs'",
            "epoch": "did you mean 'epochs'",
            "patience": "did you mean 'early_stopping'",
            "sample_weights": "did you mean 'sample_weight'",
        },
    ),
    "partial_fit": (
        lambda **given: network().partial_fit(X, Y, **given),
        {"lr": OPTIMIZER, "zzz": "Known: x, y, loss, optimizer, sample_weight."},
    ),
    "train": (
        lambda **given: fn.tables.train(TABLE, "y", preset=None, **given),
        {
            "lr": OPTIMIZER,
            "epoch": "did you mean 'epochs'",
            "hidden_layer_sizes": "did you mean 'hidden'",
            "random_state": "did you mean 'seed'",
        },
    ),
}


@pytest.mark.parametrize("door", DOORS)
def test_an_argument_of_another_library_is_answered_with_ours(door: str) -> None:
    call, answered = DOORS[door]
    for name, way in answered.items():
        with pytest.raises(TypeError, match=rf"^{door} has no argument '{name}'.*{way}"):
            call(**{name: 1})


def test_arguments_that_there_are_pass() -> None:
    assert len(network().fit(X, Y, epochs=2, batch_size=3)["loss"]) == 2
    assert len(fn.tables.train(TABLE, "y", preset=None, seed=1, epochs=2).history["loss"]) == 2


def test_another_type_error_stays_what_it_is() -> None:
    with pytest.raises(TypeError, match="missing 1 required positional argument"):
        network().fit(epochs=2)


def test_signature_and_help_are_those_of_the_function() -> None:
    assert list(inspect.signature(fn.Network.fit).parameters)[:3] == ["self", "x", "y"]
    assert "sample_weight" in (fn.Network.fit.__doc__ or "")
    assert "layers" in inspect.signature(fn.Network).parameters


def test_what_is_handed_on_counts_and_nothing_else() -> None:
    @answers("outer", also=[network().fit])
    def outer(a: int, **rest: Any) -> Any:
        return a, rest

    assert outer(1, epochs=2) == (1, {"epochs": 2})
    with pytest.raises(TypeError, match="outer has no argument 'b'"):
        outer(1, b=2)


def test_no_name_of_another_library_hides_one_of_ours() -> None:
    ours = {
        *inspect.signature(fn.Network.fit).parameters,
        *inspect.signature(fn.Network).parameters,
    }
    assert not ours & set(FOREIGN)
