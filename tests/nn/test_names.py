"""A wrong name is answered with the known ones, and with the nearest."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

import numpy as np
import pytest

import fastnet as fn
from fastnet import backends
from fastnet.backends.base import PRECISIONS
from fastnet.distributed.ranks import TRANSPORTS
from fastnet.errors import FastNetError, InputError
from fastnet.export import FORMATS
from fastnet.export.c.fixed import KINDS
from fastnet.nn import activations, initializers, losses, optimizers
from fastnet.nn.optimizers import OPTIMIZERS, Optimizer
from fastnet.preprocessing.validation import dtype_of
from fastnet.tables.preset import PRESETS, TOGETHER
from fastnet.utils import names

LOOK_UP: dict[str, tuple[Callable[[Any], Any], str]] = {
    "activation": (activations.get, "relu"),
    "initializer": (initializers.check, "he_uniform"),
    "loss": (lambda name: losses.get(name, "identity"), "mse"),
    "optimizer": (optimizers.get, "adam"),
}
each_kind = pytest.mark.parametrize("kind", LOOK_UP)


@pytest.mark.parametrize(
    ("type_of_names", "table"),
    [
        (names.BackendName, backends.NAMES),
        (names.PrecisionName, PRECISIONS),
        (names.TransportName, TRANSPORTS),
        (names.ActivationName, activations.ACTIVATIONS),
        (names.InitializerName, initializers.INITIALIZERS),
        (names.LossName, losses.LOSSES),
        (names.OptimizerName, OPTIMIZERS),
        (
            names.StreamOptimizerName,
            [name for name, row in OPTIMIZERS.items() if issubclass(row, Optimizer)],
        ),
        (names.PresetName, PRESETS),
        (names.TogetherName, TOGETHER),
        (names.ExportName, FORMATS),
        (names.FixedName, KINDS),
        (names.DTypeName, [dtype_of(value).name for value in (np.float32, float)]),
    ],
)
def test_a_type_names_what_its_table_does(type_of_names: Any, table: Any) -> None:
    assert get_args(type_of_names) == tuple(table)


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


def relu(z: Any) -> Any:
    return np.maximum(z, 0)


class ReLU:
    def __call__(self, z: Any) -> Any:
        return relu(z)


@pytest.mark.parametrize(
    ("given", "called", "ours"),
    [(relu, "relu", "relu"), (np.tanh, "tanh", "tanh"), (ReLU(), "ReLU", "relu"),
     (ReLU, "ReLU", "relu"), (lambda z: z, "<lambda>", None)],
)  # fmt: skip
@pytest.mark.parametrize(
    "use",
    [
        lambda f: fn.Dense(3, f),
        fn.BatchNorm,
        fn.LayerNorm,
        lambda f: fn.Residual([fn.Dense(3, f)]),
        lambda f: fn.Network([2, 3, 1], activation=f),
        lambda f: fn.Network([2, 3, 1], output_activation=f),
    ],
    ids=["dense", "batch norm", "layer norm", "residual", "hidden", "output"],
)
def test_a_function_as_activation_is_told_why_not_and_what_instead(
    use: Callable[[Any], Any], given: Any, called: str, ours: str | None
) -> None:
    why = "the compiled loops and the exports compute the known ones alone"
    hint = rf"; did you mean '{ours}'\?" if ours else r"\."
    instead = "in a loop of your own with net.forward and net.backward"
    refusal = f"must be a name, not the function {called}, since {why}{hint} .*{instead}. Known: id"
    with pytest.raises(InputError, match=refusal):
        use(given)


def test_an_estimator_says_so_too() -> None:
    sklearn = pytest.importorskip("fastnet.sklearn", reason="scikit-learn is not installed")
    for activation in (relu, ("relu", relu)):
        model = sklearn.FastNetRegressor(hidden_layers=(3, 3), activation=activation)
        with pytest.raises(InputError, match="must be a name, not the function relu"):
            model.fit(np.eye(4), np.arange(4.0))


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [("linear", "identity"), ("swish", "silu"), ("Logistic", "sigmoid"), (None, "identity")],
)
def test_an_activation_of_another_library_is_answered_with_ours(theirs: Any, ours: str) -> None:
    with pytest.raises(InputError, match=rf"unknown activation {theirs!r}; did you mean '{ours}'"):
        activations.get(theirs)


@pytest.mark.parametrize("value", [3, None, ["relu"], int])
@each_kind
def test_what_is_no_name_is_refused(kind: str, value: Any) -> None:
    get, _ = LOOK_UP[kind]
    if kind == "loss" and value is None:  # the one that suits the output
        return
    refusal = f"unknown {kind}|must be a name or an? {kind.title()}|{kind} must be a name"
    with pytest.raises(InputError, match=refusal):
        get(value)
