"""Conversion of an estimator's parameters and rows to arguments of a network."""

from __future__ import annotations

import copy
import inspect
import re
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any, Final, Self, TypeVar

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import _check_sample_weight

from fastnet.errors import InputError, suggest
from fastnet.nn import optimizers
from fastnet.nn.activations import ACTIVATIONS
from fastnet.nn.layers import BatchNorm, Dense, Dropout, Layer, LayerNorm
from fastnet.nn.optimizers import LBFGS, AdamW, Optimizer
from fastnet.training.budget import AUTO, Budget
from fastnet.training.callbacks import EarlyStopping, Run
from fastnet.utils.names import ActivationName
from fastnet.utils.param_validation import plain, refuse_masked

Array = NDArray[Any]
F = TypeVar("F", bound=Callable[..., Any])

FLOATS: Final = (np.float64, np.float32)
"""The dtypes of arrays that estimators take."""

NORMALIZATIONS: Final[dict[str, type[BatchNorm] | type[LayerNorm]]] = {
    "batch": BatchNorm,
    "layer": LayerNorm,
}

_OF_THE_OPTIMIZER: Final = ("learning_rate", "l1", "l2", "weight_decay", "clip_norm")


FOREIGN: Final = {
    "hidden_layer_sizes": "hidden_layers",
    "hidden": "hidden_layers",
    "hidden_units": "hidden_layers",
    "layers": "hidden_layers",
    "max_iter": "epochs",
    "max_epochs": "epochs",
    "n_epochs": "epochs",
    "num_epochs": "epochs",
    "learning_rate_init": "learning_rate",
    "lr": "learning_rate",
    "solver": "optimizer",
    "alpha": "l2",
    "n_iter_no_change": "early_stopping",
    "patience": "early_stopping",
    "validation_fraction": "validation_split",
    "seed": "random_state",
    "dropout_rate": "dropout",
    "batch_norm": "normalization",
    "n_jobs": "threads",
}
"""What other libraries call the parameters."""


class Suggests:
    """A base class whose unknown parameters are answered with the right name, and all described."""

    def __init_subclass__(cls, **options: Any) -> None:
        """Describe the parameters that an estimator shares with its base in its docstring."""
        super().__init_subclass__(**options)
        theirs = next((base for base in cls.__mro__[1:] if Suggests in base.__mro__[1:]), None)
        cls.__doc__ = documented(cls.__doc__, None if theirs is None else theirs.__doc__)

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Make an estimator; raise `TypeError` for a parameter that it does not have."""
        known = inspect.signature(cls).parameters
        for name in kwargs:
            if name not in known:
                raise TypeError(f"{cls.__name__} has no parameter {name!r}{_hint(name, known)}")
        return super().__new__(cls)

    def set_params(self, **params: Any) -> Self:
        """Set parameters by name; raise `ValueError` for one that there is not."""
        try:
            super().set_params(**params)  # type: ignore[misc]
        except ValueError as error:
            known = inspect.signature(type(self)).parameters
            strange = [name for name in params if name.partition("__")[0] not in known]
            if not strange:
                raise
            raise ValueError(f"{error} {_hint(strange[0], known).lstrip('; :')}") from None
        return self


def _hint(name: str, known: Mapping[str, Any]) -> str:
    right = FOREIGN.get(name)
    return f"; did you mean {right!r}?" if right in known else suggest(name, known)


def hidden_layers(model: Any) -> list[Layer]:
    """Return the hidden layers; an int makes a dense layer with the model's options."""
    given = plain(model.hidden_layers)
    entries = list(given) if isinstance(given, Sequence) else [given]
    count = sum(not isinstance(entry, Layer) for entry in entries)
    activations = iter(_each("activation", plain(model.activation), str, count))
    rates = iter(_each("dropout", plain(model.dropout), (int, float), count))
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
    """Return one value for each hidden layer, from a single value or a list of that length."""
    if isinstance(value, single) or callable(value):  # layers refuse functions
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


def output_layer(model: Any, units: int, activation: ActivationName) -> Dense:
    """Return the last layer."""
    known = ACTIVATIONS[activation].initializer if activation in ACTIVATIONS else None
    return Dense(units, activation, model.initializer or known)


def optimizer(
    model: Any, budget: Budget | None, layers: Sequence[Layer], *, once: bool
) -> Optimizer | LBFGS:
    """Return the optimizer with the options that the model sets.

    `once` means a single epoch in a series of calls.
    """
    given = {name: getattr(model, name) for name in _OF_THE_OPTIMIZER}
    given = {name: value for name, value in given.items() if value is not None}
    asked: Any = plain(model.optimizer)
    if isinstance(asked, str) and asked == AUTO:
        if budget is not None and not once and not model.warm_start:
            return budget.optimizer(layers, **given)
        # A series of calls has no end over which a rate could fall: Adam, by the name of AdamW, so
        # that the moments of a call of `fit` are those of the next calls of `partial_fit`.
        asked = AdamW(1e-3, weight_decay=0.0)
    base = optimizers.get(asked)
    known = {field.name for field in fields(base)}
    for name in given:
        if name not in known:
            raise InputError(f"{name} does not go with the optimizer {base.name!r}.")
    if once and isinstance(base, LBFGS):
        raise InputError("optimizer='lbfgs' needs all data at once: use fit, or another one.")
    return replace(base, **given)


class StreamStopping(EarlyStopping):
    """Early stopping over calls of ``partial_fit``; its state outlives a call."""

    def on_train_begin(self, run: Run) -> None:
        """Keep the state of the last call."""
        self._tell(run)

    def on_train_end(self, run: Run) -> None:
        """Restore the best weights if training stopped in this call."""
        if run.stopped is not None:
            super().on_train_end(run)


def early_stopping(value: Any, *, stream: bool = False) -> EarlyStopping | None:
    """Return a new `EarlyStopping` for the estimator's parameter, which stays unchanged.

    Parameters
    ----------
    value : None, bool, int, EarlyStopping or "auto"
        None, False or "auto" for none, True for the defaults, or the patience.
    stream : bool, default False
        Whether its state is kept from call to call.
    """
    value = plain(value)
    if value is None or value is False or (isinstance(value, str) and value == AUTO):
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
    """Return `x` as a dense array."""
    values: Array = x.toarray() if hasattr(x, "toarray") else x
    return values


def checked_weight(name: str, weight: Any, X: Any) -> Array | None:
    """Return weights (N,) as scikit-learn checks them."""
    refuse_masked(name, weight)
    return None if weight is None else _check_sample_weight(weight, X)


def kept_rows(weight: Array | None, count: int) -> NDArray[np.bool_]:
    """Return the mask (N,) of the rows that `with_weight` returns."""
    if weight is None or weight.all() or not weight.any():
        return np.ones(count, bool)
    kept: NDArray[np.bool_] = weight != 0
    return kept


def with_weight(x: Array, y: Array, weight: Array | None) -> tuple[Array, Array, Array | None]:
    """Return the rows whose weight is not 0, so that batches hold no others.

    Of weights only the ratios matter: those that are left and all the same are none.
    If all weights are 0, all rows are returned, and the network refuses them.
    """
    kept = kept_rows(weight, len(y))
    if weight is None or kept.all():
        return x, y, weight
    left = weight[kept]
    return x[kept], y[kept], None if (left == left[0]).all() else left


def documented(own: str | None, base: str | None) -> str | None:
    """Return a class's docstring with the parameters of its base in place of ``**shared``.

    ``help`` then says of every parameter what it is. Those that the class describes itself are left
    out; without docstrings (``python -OO``) there is nothing to do.
    """
    if own is None or base is None or "    **shared\n" not in own:
        return own
    section = inspect.cleandoc(base).partition("Parameters\n----------\n")[2].partition("\n\n")[0]
    entries = re.split(r"\n(?=\S)", section)
    described = set(re.findall(r"^    (\w+) :", own, re.MULTILINE))
    shared = [entry for entry in entries if entry.partition(" :")[0] not in described]
    return own.replace("    **shared\n", textwrap.indent("\n".join(shared), "    ") + "\n")


def extending(parent: type) -> Callable[[F], F]:
    """Put the parent's parameters before those of an ``__init__`` with ``*args, **kwargs``.

    scikit-learn reads parameters from the signature (``get_params``, ``clone``, ``set_params``). So
    the parameters are those of the installed version's parent.
    """
    theirs = inspect.signature(parent.__init__).parameters.values()  # type: ignore[misc]

    def sign(init: F) -> F:
        every = inspect.signature(init).parameters.values()
        own = [parameter for parameter in every if parameter.kind is parameter.KEYWORD_ONLY]
        init.__signature__ = inspect.Signature([*theirs, *own])  # type: ignore[attr-defined]
        return init

    return sign
