"""The members of an ensemble: which of them answer, whether they mean the same, their weights."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastnet.errors import InputError
from fastnet.network import Network
from fastnet.populations.population import Population
from fastnet.populations.results import DIVERGED
from fastnet.utils.device_arrays import on_host
from fastnet.utils.warn import warn


def finite(population: Population) -> tuple[Network, ...]:
    """Return the members that did not diverge; warn if there are others."""
    reasons = [row.get("stop_reason") for row in population.results]
    kept = [net for net, why in zip(population, reasons, strict=True) if why != DIVERGED]
    if len(population) and not kept:
        raise InputError(
            f"all {len(population)} members diverged, and an ensemble needs one that did not: try "
            "a smaller learning_rate, clip_norm=1.0 in the optimizer, or standardize=True."
        )
    if len(kept) < len(population):
        warn(
            f"{len(population) - len(kept)} of {len(population)} members diverged, and the "
            "ensemble leaves them out: see the stop_reason in their results.",
        )
    return tuple(kept)


def require_alike(networks: tuple[Network, ...]) -> None:
    """Raise `InputError` unless the outputs of all networks mean the same."""
    if not networks or not all(isinstance(net, Network) for net in networks):
        raise InputError("an ensemble needs a sequence of networks, at least one of them.")
    facts: dict[str, Any] = {
        "numbers of outputs": lambda net: net.outputs,
        "output activations": lambda net: net.plan.output_activation.name,
        "losses": lambda net: net.loss_or_own(None).name,
        "quantiles": lambda net: getattr(net.loss_or_own(None), "quantiles", None),
        "classes": lambda net: net.output_schema.class_names,
        "targets": lambda net: net.output_schema.known_targets,
    }
    for name, fact in facts.items():
        first, *others = (fact(net) for net in networks)
        for k, other in enumerate(others):
            if other != first:
                raise InputError(
                    f"the members of an ensemble must predict the same, and their {name} differ: "
                    f"{first} of the first, {other} of number {k + 1}."
                )


def checked_weights(weights: ArrayLike | None, count: int) -> NDArray[np.float64]:
    """Return weights (K,) whose sum is 1."""
    if weights is None:
        return np.full(count, 1.0 / count)
    try:
        given = np.asarray(on_host("weights", weights), np.float64)
    except (TypeError, ValueError):
        given = np.empty(0)
    if (
        given.shape != (count,)
        or not np.isfinite(given).all()
        or given.min() < 0
        or not given.any()
    ):
        raise InputError(f"weights must be {count} numbers, at least 0 and not all of them 0.")
    scaled = given / given.max()  # the sum of large weights may be infinite
    made: NDArray[np.float64] = scaled / scaled.sum()
    return made
