"""What a report shows, as plain values: learning curves, confusion, calibration, residuals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fastnet.nn.layers import BatchNorm, Dense, Dropout, LayerNorm, Residual
from fastnet.nn.losses import GaussianNLL, Quantile
from fastnet.nn.member_plan import MemberPlan
from fastnet.nn.metrics import calibration_error, confidences
from fastnet.nn.plan import Plan
from fastnet.preprocessing.outputs import OutputSchema

Array = NDArray[Any]

BINS: Final = 10
RESIDUAL_QUANTILES: Final = 0.1, 0.5, 0.9
LAYER_COLUMNS: Final = "layer", "activation", "shape", "parameters"
_LOGARITHMIC: Final = 30.0
"""A positive loss that spans more than this factor is drawn on a logarithmic axis."""


@dataclass(frozen=True)
class Curve:
    """One metric over the epochs.

    Attributes
    ----------
    name : str
    epochs : list of int
    training, validation : list of float, or None
        One number an epoch.
    best_epoch : int or None
        Whose weights early stopping restored.
    """

    name: str
    epochs: list[int]
    training: list[float] | None
    validation: list[float] | None
    best_epoch: int | None

    @property
    def logarithmic(self) -> bool:
        """Whether it spans so much that a logarithmic axis shows it better."""
        values = np.array([*(self.training or []), *(self.validation or [])])
        values = values[np.isfinite(values)]
        if not values.size or values.min() <= 0 or self.name in ("accuracy", "r2"):
            return False
        return bool(values.max() / values.min() > _LOGARITHMIC)


@dataclass(frozen=True)
class Confusion:
    """How often each class (a row) was answered by each (a column): counts (K, K)."""

    names: tuple[str, ...]
    counts: NDArray[np.int64]

    @property
    def shares(self) -> Array:
        """The counts over those of the row; 0 for a class that is not there."""
        rows = self.counts.sum(axis=1, keepdims=True)
        shares: Array = self.counts / np.maximum(rows, 1)
        return shares

    def mistakes(self, most: int) -> list[tuple[str, str, int]]:
        """Return the most frequent mistakes: class, answer and number of rows."""
        wrong = self.counts.copy()
        np.fill_diagonal(wrong, 0)
        order = np.argsort(-wrong, axis=None, kind="stable")[:most]
        pairs = [(int(k) // len(wrong), int(k) % len(wrong)) for k in order]
        return [(self.names[i], self.names[j], int(wrong[i, j])) for i, j in pairs if wrong[i, j]]


@dataclass(frozen=True)
class Calibration:
    """How sure answers were, and how often right, in bins that have rows.

    Attributes
    ----------
    sure, right, fraction : (bins,)
        Mean probability of the answer, share of right answers, share of all answers.
    error : float
        The metric ``calibration_error``.
    """

    sure: Array
    right: Array
    fraction: Array
    error: float


@dataclass(frozen=True)
class Residuals:
    """Targets and predictions of one target column.

    Attributes
    ----------
    name : str
    target, prediction : (N,)
    centres : (bins,)
        Mean prediction of bins with equally many rows.
    quantiles : (bins, 3)
        Of the residuals (target - prediction) in each bin, at `RESIDUAL_QUANTILES`.
    covered : list of (str, expected share, share)
        What the network says about its own uncertainty, and how often that held.
    """

    name: str
    target: Array
    prediction: Array
    centres: Array
    quantiles: Array
    covered: list[tuple[str, float, float]]


def curves(
    epochs: list[int], records: Mapping[str, list[float]], best_epoch: int | None
) -> list[Curve]:
    """Return every metric of the epochs; training and validation of one belong together."""
    stems = [name.removeprefix("val_") for name in records if name != "learning_rate"]
    return [
        Curve(name, epochs, records.get(name), records.get(f"val_{name}"), best_epoch)
        for name in dict.fromkeys(stems)
    ]


def of_rows(
    schema: OutputSchema, targets: Array, outputs: Array
) -> list[Residuals] | list[Confusion | Calibration]:
    """Return what there is to show of rows with known answers.

    Residuals of every target where the outputs are numbers; else calibration, after the confusion
    of classes. Several yes-or-no answers at once are no classes to be confused.

    Parameters
    ----------
    targets : (N,) class indices, or (N,) or (N, T)
    outputs : (N, O)
    """
    if not schema.are_probabilities:
        return residuals(schema, targets, outputs)
    found: list[Confusion | Calibration] = [calibration(targets, outputs)]
    names = schema.answer_names
    if names is not None and (targets.ndim == 1 or outputs.shape[1] == 1):
        found.insert(0, confusion(targets, outputs, names))
    return found


def confusion(targets: Array, output: Array, names: tuple[str, ...]) -> Confusion:
    """Return the confusion matrix of labels (N,), or one yes-or-no column, and outputs (N, O)."""
    if output.shape[1] == 1:
        targets, answer = np.reshape(targets, -1) > 0.5, output[:, 0] > 0.5
    else:
        answer = np.argmax(output, axis=1)
    pairs = targets.astype(np.int64) * len(names) + answer
    counts = np.bincount(pairs, minlength=len(names) ** 2).reshape(len(names), -1)
    return Confusion(names, counts)


def calibration(targets: Array, output: Array) -> Calibration:
    """Return how sure answers are and how often right, in `BINS` bins."""
    sure, right = confidences(targets, output)
    index = np.minimum((sure * BINS).astype(np.int64), BINS - 1)
    count = np.bincount(index, minlength=BINS)
    used = count > 0
    totals = (np.bincount(index, values, minlength=BINS)[used] for values in (sure, right))
    mean_sure, mean_right = (total / count[used] for total in totals)
    error = calibration_error(targets, output)
    return Calibration(mean_sure, mean_right, count[used] / max(len(sure), 1), error)


def residuals(schema: OutputSchema, target: Array, output: Array) -> list[Residuals]:
    """Return targets and predictions of every target column; the median for quantiles."""
    target = np.asarray(target, np.float64).reshape(len(target), -1)
    output = output.astype(np.float64)
    count = target.shape[1]
    loss = schema.loss
    found = []
    names = schema.target_names
    known = schema.known_targets
    if count == len(known) == 1:
        names = list(known)
    for k, name in enumerate(names):
        t, covered = target[:, k], []
        prediction = output[:, k]
        if isinstance(loss, GaussianNLL):
            mean, std = schema.mean_and_std(output)
            distance = np.abs(t - mean[:, k]) / std[:, k]
            for width, expected in ((1, 0.6827), (2, 0.9545)):
                fraction = float((distance <= width).mean())
                covered.append((f"within {width} standard deviations", expected, fraction))
        elif isinstance(loss, Quantile):
            named = schema.quantiles(output)
            prediction = named[min(named, key=lambda q: abs(q - 0.5))][:, k]
            for q, values in named.items():
                covered.append((f"below the quantile {q:g}", q, float((t <= values[:, k]).mean())))
        centres, quantiles = _by_bins(prediction, t - prediction)
        found.append(Residuals(name, t, prediction, centres, quantiles, covered))
    return found


def members_text(plan: MemberPlan) -> str:
    """Return how many members a network with `fastnet.Members` has."""
    return f"{plan.members}, of whose outputs it predicts the mean"


def layer_rows(plan: Plan) -> list[tuple[str, str, str, str]]:
    """Return name, activation, shape and number of parameters of every layer."""
    kinds = {Dense: "dense", BatchNorm: "batch norm", LayerNorm: "layer norm", Residual: "add"}
    counts = [0] * len(plan.chain)
    for tensor in plan.parameters:
        counts[tensor.op] += tensor.size
    rows = []
    for index, (layer, op) in enumerate(zip(plan.chain, plan.ops, strict=True)):
        place = plan.names[index].removeprefix("layers.").replace(".layers.", ".")
        kind = f"dropout {layer.rate}" if isinstance(layer, Dropout) else kinds[type(layer)]
        activation = getattr(layer, "activation", "-")
        shape = f"{op['inputs']} -> {op['outputs']}"
        rows.append((f"{place}  {kind}", activation, shape, f"{counts[index]:,}"))
    return rows


def _by_bins(prediction: Array, residual: Array) -> tuple[Array, Array]:
    """Return mean predictions of bins of equally many rows, and quantiles of their residuals."""
    order = np.argsort(prediction, kind="stable")
    parts = np.array_split(order, min(BINS, max(1, len(order) // 10)))
    centres = np.array([prediction[part].mean() for part in parts])
    return centres, np.array([np.quantile(residual[part], RESIDUAL_QUANTILES) for part in parts])
