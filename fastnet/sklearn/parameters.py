"""From the parameters of an estimator to layers and an optimizer."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any, Final

from fastnet.errors import InputError, suggest
from fastnet.nn import optimizers
from fastnet.nn.activations import ACTIVATIONS
from fastnet.nn.layers import BatchNorm, Dense, Dropout, Layer, LayerNorm
from fastnet.nn.optimizers import LBFGS, Optimizer
from fastnet.training.callbacks import EarlyStopping, Run

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


def optimizer(model: Any) -> Optimizer | LBFGS:
    """Return the optimizer, with those of its options that the model gives."""
    base = optimizers.get(model.optimizer)
    given = {name: getattr(model, name) for name in _OF_THE_OPTIMIZER}
    given = {name: value for name, value in given.items() if value is not None}
    known = {field.name for field in fields(base)}
    for name in given:
        if name not in known:
            raise InputError(f"{name} does not go with the optimizer {base.name!r}.")
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
