"""Answers: what a network's outputs stand for, and what their columns are called."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastnet.errors import InputError
from fastnet.nn.losses import LOG_VARIANCE_FLOOR, GaussianNLL, Quantile

if TYPE_CHECKING:
    from fastnet.data import TableSchema
    from fastnet.network import Network


def class_names(network: Network) -> tuple[str, ...] | None:
    """Return the names of the classes, their numbers where none were stored; None for values."""
    outputs, names = network.outputs, network.label_names
    if names is not None and (len(names) == outputs or (outputs == 1 and len(names) == 2)):
        return names
    if network.plan.output_activation.name == "softmax":
        return tuple(map(str, range(outputs)))
    return None


def column_names(network: Network) -> list[str]:
    """Return what each column of the predictions is called.

    ``prediction`` and ``probability_<class>`` for classes; else the targets, or ``prediction``, and
    after them ``<target>_std``, or ``<target>_quantile_<q>`` for every quantile, where the network
    was trained for those.
    """
    names = class_names(network)
    if names is not None:
        return ["prediction", *(f"probability_{name}" for name in names)]
    loss = network.loss
    targets = target_names(network)
    if isinstance(loss, GaussianNLL):
        return [*targets, *(f"{name}_std" for name in targets)]
    if isinstance(loss, Quantile):
        return [f"{name}_quantile_{q:g}" for q in loss.quantiles for name in targets]
    return targets


def target_names(network: Network) -> list[str]:
    """Return the names of the target columns; ``prediction`` for a single one."""
    count = target_count(network)
    if count == 1:
        return ["prediction"]
    targets = known_targets(network)
    if len(targets) == count:
        return list(targets)
    return [f"prediction_{index}" for index in range(count)]


def known_targets(network: Network) -> tuple[str, ...]:
    """Return what the target columns of training were called; empty where they had no names."""
    if network.preprocessor is not None:
        target = network.preprocessor.target
        return () if target is None else target.names
    return () if network.schema is None else network.schema.targets


def target_count(network: Network) -> int:
    """Return how many target columns the outputs describe."""
    loss = network.loss
    return network.outputs // (loss.outputs_per_target if loss is not None else 1)


def log_variance_floors(network: Network) -> NDArray[Any]:
    """Return the least logarithm of a variance of each target (T,), in the targets' unit.

    The loss has one floor for all targets; where those are scaled, it is that of scaled targets.
    """
    floors = np.full(target_count(network), LOG_VARIANCE_FLOOR)
    target = None if network.preprocessor is None else network.preprocessor.target
    if target is not None:
        floors = target.decode(np.tile(floors, 2), network.loss)[len(floors) :]
    return floors.astype(network.dtype)


def means_and_deviations(
    network: Network, outputs: NDArray[Any]
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return means and standard deviations, each (N, T), of outputs (N, 2 T)."""
    if not isinstance(network.loss, GaussianNLL):
        raise InputError(
            "the network gives no standard deviations: train it with loss='gaussian_nll', two "
            "outputs for each target."
        )
    count = target_count(network)
    log_variances = np.maximum(outputs[:, count:], log_variance_floors(network))
    return outputs[:, :count], np.exp(0.5 * log_variances)


def quantiles(network: Network, outputs: NDArray[Any]) -> dict[float, NDArray[Any]]:
    """Return the quantiles by name, each (N, T), of outputs (N, Q T)."""
    if not isinstance(network.loss, Quantile):
        raise InputError("the network gives no quantiles: train it with loss='quantile'.")
    names = network.loss.quantiles
    return dict(zip(names, np.split(outputs, len(names), axis=1), strict=True))


def values(network: Network, outputs: NDArray[Any]) -> NDArray[Any]:
    """Return the outputs of `column_names`, (N, columns): deviations for logarithms of variances.

    One yes-or-no output stands for two classes; the column ``prediction`` is not among them.
    """
    if class_names(network) is not None:
        return np.hstack([1 - outputs, outputs]) if outputs.shape[1] == 1 else outputs
    if isinstance(network.loss, GaussianNLL):
        return np.hstack(means_and_deviations(network, outputs))
    return outputs


def schema_of(network: Network) -> TableSchema:
    """Return the network's schema; that of columns without names where none was stored."""
    from fastnet.data import TableSchema

    schema = network.schema
    if schema is not None and len(schema.feature_names) == network.inputs:
        return schema
    return TableSchema.of_matrix(network.inputs)
