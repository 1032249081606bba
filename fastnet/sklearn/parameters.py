"""From the parameters and rows of an estimator to what a network takes."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from typing import Any, Final, TypeVar

from numpy.typing import NDArray

from fastnet.errors import InputError, suggest
from fastnet.nn import optimizers
from fastnet.nn.activations import ACTIVATIONS
from fastnet.nn.layers import BatchNorm, Dense, Dropout, Layer, LayerNorm
from fastnet.nn.optimizers import LBFGS, Optimizer
from fastnet.training.callbacks import EarlyStopping, Run

Array = NDArray[Any]
F = TypeVar("F", bound=Callable[..., Any])

NORMALIZATIONS: Final[dict[str, type[BatchNorm] | type[LayerNorm]]] = {
    "batch": BatchNorm,
    "layer": LayerNorm,
}

_OF_THE_OPTIMIZER: Final = ("learning_rate", "l1", "l2", "weight_decay", "clip_norm")


def hidden_layers(model: Any) -> list[Layer]:
    """Return the hidden layers: an int stands for a dense layer with the model's options."""
    given = model.hidden_layers
    entries = list(given) if isinstance(given, Sequence) else [given]
    plain = sum(not isinstance(entry, Layer) for entry in entries)
    activations = iter(_each("activation", model.activation, str, plain))
    rates = iter(_each("dropout", model.dropout, (int, float), plain))
    layers: list[Layer] = []
    for entry in entries:
        if isinstance(entry, Layer):
            layers.append(entry)
            continue
        activation, rate = next(activations), next(rates)
        if model.normalization is None:
            layers.append(Dense(entry, activation, model.initializer))
        else:
            layers.append(Dense(entry, "identity", model.initializer))
            layers.append(_normalization(model.normalization)(activation))
        if rate:
            layers.append(Dropout(rate))
    return layers


def _each(name: str, value: Any, single: type | tuple[type, ...], count: int) -> list[Any]:
    """Return one value for each hidden layer: the same for all, or as many as there are."""
    if isinstance(value, single):
        return [value] * count
    if not isinstance(value, Sequence) or len(value) != count:
        raise InputError(
            f"{name} must be one value, or one for each of the {count} hidden layers given by "
            f"their size, got {value!r}."
        )
    return list(value)


def _normalization(name: Any) -> type[BatchNorm] | type[LayerNorm]:
    if not isinstance(name, str) or name not in NORMALIZATIONS:
        raise InputError(f"unknown normalization {name!r}{suggest(name, NORMALIZATIONS)}")
    return NORMALIZATIONS[name]


def output_layer(model: Any, units: int, activation: str) -> Dense:
    """Return the last layer."""
    known = ACTIVATIONS[activation].initializer if activation in ACTIVATIONS else None
    return Dense(units, activation, model.initializer or known)


def optimizer(model: Any, *, once: bool) -> Optimizer | LBFGS:
    """Return the optimizer, with those of its options that the model gives.

    `once` tells that it is for a single epoch in a series of calls.
    """
    base = optimizers.get(model.optimizer)
    given = {name: getattr(model, name) for name in _OF_THE_OPTIMIZER}
    given = {name: value for name, value in given.items() if value is not None}
    known = {field.name for field in fields(base)}
    for name in given:
        if name not in known:
            raise InputError(f"{name} does not go with the optimizer {base.name!r}.")
    if once and isinstance(base, LBFGS):
        raise InputError("optimizer='lbfgs' needs all data at once: use fit, or another one.")
    return replace(base, **given)


class StreamStopping(EarlyStopping):
    """Early stopping over calls of ``partial_fit``: what it remembers outlives a call."""

    def on_train_begin(self, run: Run) -> None:
        """Forget nothing."""

    def on_train_end(self, run: Run) -> None:
        """Restore the best weights when this call was the last."""
        if run.stopped is not None:
            super().on_train_end(run)


def early_stopping(value: Any, *, stream: bool) -> EarlyStopping | None:
    """Return the early stopping asked for, fresh: the estimator's own parameter stays as it is.

    Parameters
    ----------
    value : None, bool, int or EarlyStopping
        None and False: none; True: with its defaults; a number: its patience.
    stream : bool
        Whether it is to remember from call to call.
    """
    if value is None or value is False:
        return None
    kind = StreamStopping if stream else EarlyStopping
    if not isinstance(value, EarlyStopping):
        return kind() if value is True else kind(value)
    if not stream:
        return copy.copy(value)
    return kind(
        value.patience,
        monitor=value.monitor,
        min_delta=value.min_delta,
        mode=value.mode,
        restore_best=value.restore_best,
    )


def dense(x: Any) -> Array:
    """Return `x`, made dense if it is sparse."""
    values: Array = x.toarray() if hasattr(x, "toarray") else x
    return values


def with_weight(x: Array, y: Array, weight: Array | None) -> tuple[Array, Array, Array | None]:
    """Return the rows whose weight is not 0: the others are left out of the batches too.

    Where all weights are 0 nothing is left out, and the network says so.
    """
    if weight is None or weight.all() or not weight.any():
        return x, y, weight
    kept = weight != 0
    return x[kept], y[kept], weight[kept]


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
