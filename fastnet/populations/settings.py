"""The settings in which the members of a population differ, and what each of them changes."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final

import numpy as np

from fastnet.errors import InputError, suggest
from fastnet.network import Network
from fastnet.nn import optimizers
from fastnet.nn.function_loss import FunctionLoss
from fastnet.nn.layers import BatchNorm, Dense, Dropout, Layer, LayerNorm, Residual
from fastnet.nn.losses import Loss
from fastnet.nn.member_plan import plan_of
from fastnet.nn.optimizers import LBFGS, Optimizer
from fastnet.nn.plan import Plan
from fastnet.nn.schedules import Schedule, WarmUp
from fastnet.populations.folder import fingerprint, has_address
from fastnet.populations.folds import read_rows
from fastnet.preprocessing import validation
from fastnet.preprocessing.base import Preprocessor
from fastnet.training.callbacks import Callback
from fastnet.utils.arguments import arguments_of
from fastnet.utils.device_arrays import on_host
from fastnet.utils.param_validation import check_float, check_int, check_list, plain

_SHOWN: Final = 8
"""So many values of a setting are shown at most."""

_OF_RESULTS: Final = ("loss", "epochs")
"""Settings with the names of columns of the results that say how the training went."""

OF_LAYERS: Final = ("hidden", "activation", "dropout")
ROWS, PREPROCESSOR = "rows", "preprocessor"
SEED: Final = "seed"
_NOT_FOR_MEMBERS: Final = (
    "x",
    "y",
    "threads",
    "verbose",
    "checkpoint",
    "checkpoint_every",
    "resume",
)
OF_FIT: Final = tuple(n for n in arguments_of(Network.fit) if n not in _NOT_FOR_MEMBERS)


@dataclass(frozen=True)
class Member:
    """A network to train: what `Network` and `fit` are given for it.

    Attributes
    ----------
    settings : dict
        What it differs in from others; a column of the results for each.
    plan : Plan
    seed : int
    fit : dict
        Arguments of `Network.fit`.
    rows : (n,) int64 or None
        The rows to train on; None: all.
    preprocessor : Preprocessor or None
        None: `fit` learns one if it needs one.
    shown : dict
        The settings as the results show them.
    """

    settings: Mapping[str, Any]
    plan: Plan
    seed: int
    fit: Mapping[str, Any]
    rows: Any = None
    preprocessor: Preprocessor | None = None
    shown: Mapping[str, Any] = field(default_factory=dict)


def combinations(
    param_grid: Any, settings: Any, seeds: Any, template_seed: int
) -> list[dict[str, Any]]:
    """Return the settings of all members, without their folds: settings by settings, then by seed.

    Parameters
    ----------
    param_grid : dict of str to sequence, or sequence of them, or None
        All combinations of the values, the last name fastest.
    settings : sequence of dict, or None
        Those combinations themselves.
    seeds : int, iterable of int, or None
        A number counts from `template_seed` on.

    Raises
    ------
    InputError
        Both forms are given, or one of them has another type.
    """
    if param_grid is not None and settings is not None:
        raise InputError("give param_grid or settings, not both.")
    if param_grid is not None:
        made = [one for grid in _grids(param_grid) for one in _products(grid)]
    elif settings is not None:
        made = [_of_mapping("settings", one) for one in check_list("settings", settings)]
    else:
        made = [{}]
    if not made:
        raise InputError("there are no settings: give one member at least.")
    if seeds is None:
        return made
    if any(SEED in one for one in made):
        raise InputError("give seeds, or a seed in the settings, not both.")
    numbers = _seeds(seeds, validation.seed_of(template_seed))
    return [one | {SEED: number} for one in made for number in numbers]


def _seeds(seeds: Any, first: int) -> list[int]:
    seeds = plain(seeds)
    if isinstance(seeds, int):
        return [first + k for k in range(check_int("seeds", seeds))]
    if not isinstance(seeds, Iterable):
        raise InputError(f"seeds must be a number of seeds, or several seeds, got {seeds!r}.")
    made = [validation.seed_of(seed) for seed in seeds]
    if not made:
        raise InputError("there are no seeds: give one at least.")
    return made


def _grids(param_grid: Any) -> list[dict[str, Any]]:
    if isinstance(param_grid, Mapping):
        return [dict(param_grid)]
    return [_of_mapping("param_grid", one) for one in check_list("param_grid", param_grid)]


def _of_mapping(name: str, values: Any) -> dict[str, Any]:
    if not isinstance(values, Mapping):
        raise InputError(f"{name} must hold dicts of settings by name, got {values!r}.")
    return dict(values)


def _products(grid: dict[str, Any]) -> Iterable[dict[str, Any]]:
    tried: list[list[Any]] = []
    for name, values in grid.items():
        several = isinstance(values, Iterable) and not isinstance(values, str)
        tried.append(list(values) if several else [])
        if not tried[-1]:
            raise InputError(
                f"param_grid[{name!r}] must be a list of values to try, got {values!r}."
            )
    for values in itertools.product(*tried):
        yield dict(zip(grid, values, strict=True))


def member(
    template: Network, options: Mapping[str, Any], settings: Mapping[str, Any], count: int
) -> Member:
    """Return the member with these settings; the rest is the template's, and in `options`.

    Parameters
    ----------
    count : int
        Number of rows of the data.

    Raises
    ------
    InputError
        There is no such setting, or it does not suit the network.
    """
    settings = {name: plain(value) for name, value in settings.items()}
    fit = {**options, **{name: v for name, v in settings.items() if name in OF_FIT}}
    loss = template.loss_or_own(fit.get("loss"))
    optimizer = optimizers.get(fit.get("optimizer", "adam"))
    of_optimizer = _fields(optimizer)
    of_loss = () if isinstance(loss, FunctionLoss) else _fields(loss)
    known = (SEED, ROWS, PREPROCESSOR, *OF_LAYERS, *of_optimizer, *of_loss, *OF_FIT)
    for name in settings:
        if name not in known:
            raise InputError(
                f"unknown setting {name!r} for {optimizer.name} and {loss.name}"
                f"{suggest(name, dict.fromkeys(known))}"
            )
    fit["optimizer"] = _changed_optimizer(optimizer, _some(settings, of_optimizer))
    constants = _some(settings, of_loss)
    fit["loss"] = replace(loss, **constants) if constants else loss
    layers = _changed_layers(template.layers, **_some(settings, OF_LAYERS))
    plan = template.plan if layers == template.layers else plan_of(template.inputs, layers)
    rows = None if settings.get(ROWS) is None else read_rows(ROWS, settings[ROWS], count)
    if fit.get("sample_weight") is not None:
        fit["sample_weight"] = checked_weight(fit["sample_weight"], count)
    seed = validation.seed_of(settings.get(SEED, template.seed))
    return Member(settings, plan, seed, fit, rows, settings.get(PREPROCESSOR))


def shown_settings(combined: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the settings of all members as the results show them: plain values, and texts.

    Of different values that have the same text, such as "600 values", the second is "600 values #2"
    and so on: `Results.mean` would take them for one. A setting with the name of a score has the
    prefix of scikit-learn, ``param_loss``.
    """
    seen: dict[tuple[str, Any], list[str]] = {}
    made = []
    for one in combined:
        shown = {}
        for name, value in ((name, plain(value)) for name, value in one.items()):
            if name == PREPROCESSOR:
                continue
            text = _shown(value)
            if isinstance(text, str) and not isinstance(value, str):
                alike = seen.setdefault((name, text), [])
                if (content := fingerprint(value)) not in alike:
                    alike.append(content)
                if number := alike.index(content):
                    text = f"{text} #{number + 1}"
            shown[column_name(name)] = text
        made.append(shown)
    return made


def column_name(setting: str) -> str:
    """Return the name of the results' column of a setting."""
    return f"param_{setting}" if setting in _OF_RESULTS else setting


def _shown(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, list | tuple):
        plain_ones = all(isinstance(one, bool | int | float | str) for one in value)
        return str(value) if plain_ones and len(value) <= _SHOWN else f"{len(value)} values"
    # An address would be another one in the next process.
    return getattr(value, "__name__", type(value).__name__) if has_address(value) else str(value)


def checked_weight(weight: Any, count: int) -> Any:
    """Return weights (N,) of which rows may be taken.

    Raises
    ------
    InputError
        They are not one for each row: those of some rows would be those of others.
    """
    try:
        given = np.asarray(on_host("sample_weight", weight))
    except ValueError:
        given = np.empty((0, 0))
    if given.shape != (count,):
        raise InputError(f"sample_weight must have the shape ({count},), got {given.shape}.")
    return given


def own_callbacks(fit: Mapping[str, Any]) -> dict[str, Any]:
    """Return arguments of `Network.fit` with copies of the callbacks.

    Callbacks keep a state, and members train at the same time, also those of the same settings on
    other folds: each network that is trained needs copies of its own.
    """
    names = [name for name in ("early_stopping", "callbacks") if name in fit]
    return {**fit, **{name: _own(fit[name]) for name in names}}


def _own(value: Any) -> Any:
    if isinstance(value, Callback):
        return copy.copy(value)
    return [_own(one) for one in value] if isinstance(value, list | tuple) else value


def _some(settings: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    return {name: settings[name] for name in names if name in settings}


def _fields(value: Optimizer | LBFGS | Loss) -> tuple[str, ...]:
    return tuple(field.name for field in fields(value) if field.init and field.name != "_")


def _changed_optimizer(optimizer: Optimizer | LBFGS, values: dict[str, Any]) -> Optimizer | LBFGS:
    if not values:
        return optimizer
    rate = values.get("learning_rate")
    if rate is not None and not isinstance(rate, Schedule) and isinstance(optimizer, Optimizer):
        rate = check_float("learning_rate", rate, above=0)
        values = values | {"learning_rate": _scaled(optimizer.schedule, rate)}
    return replace(optimizer, **values)


def _scaled(schedule: Schedule, rate: float) -> Schedule:
    """Return a schedule of the same course from another rate."""
    if isinstance(schedule, WarmUp):
        then = schedule.then
        after = _scaled(then, rate) if isinstance(then, Schedule) else rate
        return replace(schedule, then=after)
    return replace(schedule, start=rate)


def _changed_layers(
    layers: tuple[Layer, ...], hidden: Any = None, activation: Any = None, dropout: Any = None
) -> tuple[Layer, ...]:
    """Return layers with other hidden sizes, another activation, another dropout rate."""
    if hidden is not None:
        layers = _with_hidden(layers, hidden)
    elif (activation is not None or dropout) and not _has_hidden(layers):
        name = "activation" if activation is not None else "dropout"
        raise InputError(
            f"{name}= changes the hidden layers, and the template has none with an activation."
        )
    if activation is not None:
        layers = (*_with_activation(layers[:-1], activation), layers[-1])
    if dropout is not None:
        layers = _with_dropout(layers, check_float("dropout", dropout, least=0, below=1))
    return layers


def _has_hidden(layers: Sequence[Layer]) -> bool:
    """Return whether a layer before the last one has an activation, or is dropout."""
    return any(
        _has_hidden([*layer.layers, layers[-1]])
        if isinstance(layer, Residual)
        else isinstance(layer, Dropout) or getattr(layer, "activation", "identity") != "identity"
        for layer in layers[:-1]
    )


def _with_hidden(layers: tuple[Layer, ...], hidden: Any) -> tuple[Layer, ...]:
    sizes = check_list("hidden", [hidden] if isinstance(hidden, int) else hidden)
    dense = [layer for layer in layers[:-1] if isinstance(layer, Dense)]
    odd = [layer for layer in layers[:-1] if not isinstance(layer, Dense | Dropout)]
    if odd or not dense or any(layer.blocks for layer in dense):
        what = odd[0] if odd else "no hidden Dense layer" if not dense else "layers with blocks"
        raise InputError(
            f"hidden= changes the sizes of plain Dense layers, and the template has {what}: train "
            "a population of each shape."
        )
    dropout = next((layer for layer in layers if isinstance(layer, Dropout)), None)
    made: list[Layer] = []
    for size in sizes:
        made += [replace(dense[0], units=size), *([dropout] if dropout else [])]
    return (*made, layers[-1])


def _with_activation(layers: Sequence[Layer], activation: Any) -> tuple[Layer, ...]:
    return tuple(_activated(layer, activation) for layer in layers)


def _activated(layer: Layer, activation: Any) -> Layer:
    if isinstance(layer, Residual):
        return replace(layer, layers=_with_activation(layer.layers, activation))
    if isinstance(layer, Dense | BatchNorm | LayerNorm) and layer.activation != "identity":
        return replace(layer, activation=activation)
    return layer


def _with_dropout(layers: tuple[Layer, ...], rate: float) -> tuple[Layer, ...]:
    """Set the rate of all dropout; where there is none, put one behind each hidden activation."""
    if any(isinstance(layer, Dropout) for layer in layers):
        return tuple(Dropout(rate) if isinstance(layer, Dropout) else layer for layer in layers)
    made: list[Layer] = []
    for layer in layers[:-1]:
        made.append(layer)
        if rate and getattr(layer, "activation", "identity") != "identity":
            made.append(Dropout(rate))
    return (*made, layers[-1])
