"""Tiny members that train together in the lanes of vectors: which of them, and how."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Hashable, Sequence
from typing import Any, Final

from fastnet.kernels import abi
from fastnet.network import Network
from fastnet.nn.optimizers import Optimizer
from fastnet.nn.schedules import ReduceOnPlateau
from fastnet.populations.settings import Member, own_callbacks
from fastnet.training import fit
from fastnet.training.members import can_train, train_members
from fastnet.training.state import NO_CHECKPOINTS

LEAST: Final = 4
"""Fewer members are trained one by one: a step of all lanes takes as long as three of one."""

_MOST: Final = 4
"""So many times the lanes are trained together at most: they are done at the same time."""

_OPTIONS: Final = {
    name: parameter.default
    for name, parameter in inspect.signature(Network.fit).parameters.items()
    if name in inspect.signature(fit.read_options).parameters
}
_OF_ROWS: Final = ("sample_weight", "validation_data")
_ALONE: Final = ("validation_split", "metrics", "callbacks")
"""Options with which a member trains alone: rows of its own, or code between epochs."""


def key_of(one: Member, rows: Any, dtype: Any) -> Hashable | None:
    """Return what members that train together agree in; None: this one trains alone.

    Parameters
    ----------
    rows : object
        Its training rows: those of members that train together are the same object.
    dtype : numpy.dtype
        Of the networks.
    """
    options = {**_OPTIONS, **one.fit}
    optimizer = options.pop("optimizer")
    if (
        not isinstance(optimizer, Optimizer)
        or isinstance(optimizer.schedule, ReduceOnPlateau)
        or optimizer.clip_norm is not None
        or one.preprocessor is not None
        or not all(_is_unused(options[name]) for name in _ALONE)
        or not set(options) <= {*_OPTIONS, *_OF_ROWS}
    ):
        return None
    # Of the optimizer's numbers, a lane has its own; but it is one loop, with or without penalties.
    numbers = optimizer.hyperparameters.astype(dtype)
    loop = bool(numbers[[abi.L1, abi.L2]].any()), bool(numbers[abi.NESTEROV])
    shared = tuple((name, _identity(options[name])) for name in sorted(options))
    return one.plan.layers, type(optimizer), loop, shared, id(rows)


def _is_unused(value: Any) -> bool:
    # Anything else, such as an array that has no truth value, is for `fit` to judge.
    return value is None or (isinstance(value, bool | int | float | list | tuple) and not value)


def _identity(value: Any) -> Hashable:
    """Return what tells whether an option of two members is the same."""
    if value is None or isinstance(value, bool | int | float | str):
        return type(value), value
    # Each member has a loss of its own.
    return repr(value) if hasattr(value, "hyperparameters") else id(value)


def group(
    template: Network,
    members: Sequence[tuple[Member, Any]],
    batch: Callable[[Member], int],
    workers: int,
) -> list[list[int]]:
    """Return the numbers of members that train together, and of those alone, the larger first.

    Parameters
    ----------
    members : sequence of (Member, rows)
        See `key_of`.
    batch : callable
        Returns the batch size of a member.
    workers : int
        Groups are split for so many threads.
    """
    by_key: dict[Hashable, list[int]] = {}
    for number, (one, rows) in enumerate(members):
        key = key_of(one, rows, template.dtype)
        by_key.setdefault(number if key is None else key, []).append(number)
    groups: list[list[int]] = []
    for numbers in by_key.values():
        one = members[numbers[0]][0]
        lanes = 1
        if len(numbers) >= LEAST:
            engine = template.renewed(one.plan, one.seed).engine()
            lanes = engine.lanes_for(batch(one), one.fit["optimizer"])
        size = 1
        if lanes > 1:
            share = -(-len(numbers) // workers)
            size = lanes * min(-(-share // lanes), _MOST)
        groups += [numbers[k : k + size] for k in range(0, len(numbers), size)]
    return sorted(groups, key=len, reverse=True)


def train_together(
    template: Network, members: Sequence[Member], x: Any, y: Any, weight: Any
) -> list[Network | None]:
    """Return networks that were trained together on the same rows, with the bits of ``fit``.

    None stands for those that have to be trained alone: all of them, where something has to happen
    after each epoch; and those that diverged, to say where.
    """
    first = template.renewed(members[0].plan, members[0].seed)
    with first.active():
        return _train_beside(template, first, members, x, y, weight)


def _train_beside(
    template: Network, first: Network, members: Sequence[Member], x: Any, y: Any, weight: Any
) -> list[Network | None]:
    """Train members together; `first` is the network of the first of them."""
    given = own_callbacks(members[0].fit)
    options = {name: given.get(name, default) for name, default in _OPTIONS.items()}
    read = fit.read_options(first, **{**options, "threads": 1}, checkpointer=NO_CHECKPOINTS)
    prepared = fit.prepare(read, x, y, weight, given.get("validation_data"))
    jobs = [(prepared.job, prepared.config, first.begin_fit(prepared))]
    if not can_train(*jobs[0]):
        return [None] * len(members)
    networks = [first]
    for one in members[1:]:
        network, given = template.renewed(one.plan, one.seed), own_callbacks(one.fit)
        callbacks = fit.make_callbacks((), given.get("early_stopping"), verbose=False)
        mine = prepared.beside(network, given["optimizer"], callbacks)
        jobs.append((mine.job, mine.config, network.begin_fit(mine)))
        networks.append(network)
    finite = train_members(jobs)
    return [net if good else None for net, good in zip(networks, finite, strict=True)]
