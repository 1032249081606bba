"""`OutputSchema`: the meaning of a network's outputs, and the names of their columns."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnet.errors import InputError
from fastnet.nn.losses import LOG_VARIANCE_FLOOR, GaussianNLL, Loss, Quantile
from fastnet.preprocessing.target import TableTarget
from fastnet.utils.device_arrays import on_host

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class OutputSchema:
    """The meaning of the outputs of a network.

    Attributes
    ----------
    outputs : int
        O, the number of outputs.
    activation : str
        The activation of the last layer.
    loss : Loss or None
        The loss of the last training.
    labels : tuple of str, or None
        The names of the classes, if known.
    target : TableTarget or None
        The target columns of a table, and their scale.
    """

    outputs: int
    activation: str
    loss: Loss | None = None
    labels: tuple[str, ...] | None = None
    target: TableTarget | None = None

    # --- names -----------------------------------------------------------------------------------

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """Names of the classes, or else their numbers; None for regression."""
        outputs, names = self.outputs, self.labels
        if names is not None and len(names) == max(outputs, 2):  # one probability is of two classes
            return names
        return tuple(map(str, range(outputs))) if self.activation == "softmax" else None

    def can_be_named(self, labels: tuple[str, ...] | None) -> bool:
        """Return whether these may be the names of the classes."""
        if labels is None or self.activation not in ("softmax", "sigmoid"):
            return False
        return len(labels) == (2 if self.outputs == 1 else self.outputs)

    @property
    def answer_names(self) -> tuple[str, ...] | None:
        """Names of the classes of a confusion matrix; a single probability has "no" and "yes"."""
        if self.outputs == 1 and self.are_probabilities:
            return self.class_names or ("no", "yes")
        return self.class_names

    @property
    def are_probabilities(self) -> bool:
        """Whether the outputs are probabilities of classes."""
        trained = self.loss is not None and self.loss.metric == "accuracy"
        return trained or self.class_names is not None

    @property
    def column_names(self) -> list[str]:
        """Names of the columns of predictions.

        For classes they are ``prediction`` and ``probability_<class>``, else the names of the
        targets, or ``prediction``. Networks trained for them add ``<target>_std``, or
        ``<target>_quantile_<q>`` for every quantile.
        """
        names = self.class_names
        if names is not None:
            return ["prediction", *(f"probability_{name}" for name in names)]
        targets = self.target_names
        if isinstance(self.loss, GaussianNLL):
            return [*targets, *(f"{name}_std" for name in targets)]
        if isinstance(self.loss, Quantile):
            return [f"{name}_quantile_{q:g}" for q in self.loss.quantiles for name in targets]
        return targets

    @property
    def target_count(self) -> int:
        """Number of target columns."""
        return self.outputs // (self.loss.outputs_per_target if self.loss is not None else 1)

    @property
    def known_targets(self) -> tuple[str, ...]:
        """Names of the target columns in training; empty if they had none."""
        return () if self.target is None else self.target.names

    @property
    def target_names(self) -> list[str]:
        """Names of the predicted columns; ``prediction`` for a single one."""
        count = self.target_count
        if count == 1:
            return ["prediction"]
        if len(self.known_targets) == count:
            return list(self.known_targets)
        return [f"prediction_{index}" for index in range(count)]

    # --- values ----------------------------------------------------------------------------------

    @property
    def log_variance_floors(self) -> NDArray[np.float64]:
        """Lower bounds of the logarithms of variances (T,), in the targets' unit.

        The loss has one bound for all targets, in their scaled unit.
        """
        floors = np.full(self.target_count, LOG_VARIANCE_FLOOR)
        if self.target is not None:
            floors = self.target.decode(np.tile(floors, 2), self.loss)[len(floors) :]
        return floors

    def mean_and_std(self, outputs: Array) -> tuple[Array, Array]:
        """Return means and standard deviations, each (N, T), of outputs (N, 2 T).

        Raises
        ------
        InputError
            The network was not trained with ``gaussian_nll``.
        """
        if not isinstance(self.loss, GaussianNLL):
            raise InputError(
                "the network gives no standard deviations: train it with loss='gaussian_nll', two "
                "outputs for each target."
            )
        count = self.target_count
        floors = np.asarray(self.log_variance_floors.astype(outputs.dtype), like=outputs)
        return outputs[:, :count], np.exp(0.5 * np.maximum(outputs[:, count:], floors))

    def quantiles(self, outputs: Array) -> dict[float, Array]:
        """Return the quantiles by level, each (N, T), of outputs (N, Q T).

        Raises
        ------
        InputError
            The network was not trained with ``quantile``.
        """
        if not isinstance(self.loss, Quantile):
            raise InputError("the network gives no quantiles: train it with loss='quantile'.")
        names = self.loss.quantiles
        return dict(zip(names, np.split(outputs, len(names), axis=1), strict=True))

    def values(self, outputs: Array) -> Array:
        """Return the columns of `column_names` (N, columns), without ``prediction`` of classes.

        A single probability becomes those of both classes; logarithms of variances become standard
        deviations.
        """
        if self.class_names is not None:
            return np.hstack([1 - outputs, outputs]) if outputs.shape[1] == 1 else outputs
        if isinstance(self.loss, GaussianNLL):
            return np.hstack(self.mean_and_std(outputs))
        return outputs

    def answers(self, outputs: Array) -> NDArray[np.intp]:
        """Return the index of the most probable class of each row, (N,)."""
        if outputs.shape[1] == 1:
            return (outputs[:, 0] > 0.5).astype(np.intp)
        best: NDArray[np.intp] = np.argmax(outputs, axis=1)
        return best

    def labels_of(self, outputs: Array) -> Array:
        """Return the label of each row (N,) for outputs (N, O).

        Labels that are numbers become numbers; without labels they are the classes' indices. One
        output of sigmoid stands for the second of two labels above 1/2. Several of them are answers
        of their own: then the result is (N, O) of bool.

        Raises
        ------
        InputError
            The outputs are no probabilities.
        """
        if not self.are_probabilities and self.activation != "sigmoid":
            raise InputError(
                "the network predicts numbers and no classes, so there are no labels: use predict."
            )
        if self.outputs > 1 and self.class_names is None:
            return outputs > 0.5
        answers = self.answers(outputs)
        names = None if self.labels is None else self.class_names
        return answers if names is None else _numbers_or_texts(names)[on_host("it", answers)]


def _numbers_or_texts(names: tuple[str, ...]) -> Array:
    """Return labels as truths, whole numbers or floats if they are their texts, else as texts."""
    if names == ("False", "True"):
        return np.array([False, True])
    for kind in (int, float):
        try:
            numbers = [kind(name) for name in names]
        except ValueError:
            continue
        if all(str(number) == name for number, name in zip(numbers, names, strict=True)):
            with suppress(OverflowError):
                return np.array(numbers, np.int64 if kind is int else np.float64)
    return np.array(names)
