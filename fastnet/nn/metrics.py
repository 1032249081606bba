"""Metrics: one table row each, computed on the host from targets and outputs.

A metric is a function of ``(target, output, weight)`` that returns a float. `target` is (N,) int64
labels or (N, T) other targets, `output` (N, O) the predictions, `weight` (N,) or None.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from fastnet.errors import InputError, suggest
from fastnet.nn.function_loss import FunctionLoss
from fastnet.nn.losses import Loss
from fastnet.utils.param_validation import check_list, shown

Array = NDArray[Any]
Metric = Callable[[Array, Array, Array | None], float]
Mode = Literal["min", "max"]
"""Whether smaller or larger values of a metric are better."""

_PIECE: Final = 2**14  # rows of a sum in double precision


def accuracy(target: Array, output: Array, weight: Array | None = None) -> float:
    """Fraction of correct predictions: rows for classes, single outputs for binary targets."""
    targets, answer = _answers(target, output)
    right = targets == answer
    return float(np.average(right if right.ndim == 1 else right.mean(axis=1), weights=weight))


def balanced_accuracy(target: Array, output: Array, weight: Array | None = None) -> float:
    """Mean recall over the classes that are present."""
    hits, present, _ = _class_counts(target, output, weight)
    return float(np.mean(hits[present > 0] / present[present > 0]))


def precision(target: Array, output: Array, weight: Array | None = None) -> float:
    """Mean over classes of the correct fraction of their predictions; 0 without predictions."""
    hits, present, predicted = _class_counts(target, output, weight)
    seen = (present > 0) | (predicted > 0)
    return float(np.mean(_ratio(hits, predicted)[seen]))


def recall(target: Array, output: Array, weight: Array | None = None) -> float:
    """Mean over classes of the fraction of their rows that were recognised."""
    hits, present, predicted = _class_counts(target, output, weight)
    seen = (present > 0) | (predicted > 0)
    return float(np.mean(_ratio(hits, present)[seen]))


def f1(target: Array, output: Array, weight: Array | None = None) -> float:
    """Mean over classes of ``2 precision recall / (precision + recall)`` (macro average)."""
    hits, present, predicted = _class_counts(target, output, weight)
    seen = (present > 0) | (predicted > 0)
    return float(np.mean(_ratio(2.0 * hits, present + predicted)[seen]))


def roc_auc(target: Array, output: Array, weight: Array | None = None) -> float:
    """Probability that a positive row scores above a negative one, ties counting one half.

    It needs two classes or one binary output.
    """
    if target.ndim == 1 and output.shape[1] == 2:
        targets, score = target == 1, output[:, 1]
    elif output.shape[1] == 1:
        targets, score = np.reshape(target, -1) > 0.5, output[:, 0]
    else:
        raise InputError(f"roc_auc needs two classes, got {output.shape[1]} outputs.")
    weights = np.ones(len(score)) if weight is None else weight.astype(np.float64)
    order = np.argsort(score, kind="stable")
    score, targets, weights = score[order], targets[order], weights[order]
    _, first = np.unique(score, return_index=True)
    positive = np.add.reduceat(np.where(targets, weights, 0.0), first)
    negative = np.add.reduceat(np.where(targets, 0.0, weights), first)
    pairs = positive.sum() * negative.sum()
    below = np.cumsum(negative) - negative
    return float((positive * (below + 0.5 * negative)).sum() / pairs) if pairs else float("nan")


def mse(target: Array, output: Array, weight: Array | None = None) -> float:
    """Mean squared error over rows and outputs."""
    with np.errstate(over="ignore"):
        return float(np.average(np.mean(_errors(target, output) ** 2, axis=1), weights=weight))


def rmse(target: Array, output: Array, weight: Array | None = None) -> float:
    """Square root of the mean squared error."""
    return float(np.sqrt(mse(target, output, weight)))


def mae(target: Array, output: Array, weight: Array | None = None) -> float:
    """Mean absolute error over rows and outputs."""
    return float(np.average(np.mean(np.abs(_errors(target, output)), axis=1), weights=weight))


def r2(target: Array, output: Array, weight: Array | None = None) -> float:
    """``1 - mse / variance(target)``: 1 is perfect, 0 as good as the mean.

    Of several outputs it is the mean of theirs, each with its own variance, as in scikit-learn.
    """
    t = np.asarray(target, np.float64).reshape(len(target), -1)
    each = [
        r2_from(mse(t[:, k], output[:, [k]], weight), variance(t[:, k], weight))
        for k in range(t.shape[1])
    ]
    return float(np.mean(each))


_CONFIDENCE_BINS: Final = 15


def calibration_error(target: Array, output: Array, weight: Array | None = None) -> float:
    """Return the expected calibration error (Naeini et al., 2015); 0 is perfect.

    Predictions are put into 15 bins by their probability. The error is the mean distance between a
    bin's mean probability and its fraction of correct predictions.
    """
    sure, right = confidences(target, output)
    weights = np.ones(len(output)) if weight is None else weight.astype(np.float64)
    weights = np.repeat(weights, right.size // max(len(output), 1))
    index = np.minimum((sure * _CONFIDENCE_BINS).astype(np.int64), _CONFIDENCE_BINS - 1)
    gaps = np.bincount(index, weights * (sure - right), minlength=_CONFIDENCE_BINS)
    return float(np.abs(gaps).sum() / weights.sum())


METRICS: Final[dict[str, Metric]] = {
    row.__name__: row
    for row in (
        accuracy,
        balanced_accuracy,
        precision,
        recall,
        f1,
        roc_auc,
        calibration_error,
        mse,
        rmse,
        mae,
        r2,
    )
}


# The kind of network that each needs: any classifier, several classes, two classes, a regressor.
_NEEDS: Final = {
    "accuracy": "answer",
    "balanced_accuracy": "class",
    "precision": "class",
    "recall": "class",
    "f1": "class",
    "roc_auc": "two classes",
    "calibration_error": "answer",
    "mse": "number",
    "rmse": "number",
    "mae": "number",
    "r2": "number",
}


_ARTICLES: Final = {"answer": "an ", "two classes": ""}

# The words of a name that tell the direction, as scikit-learn names its functions.
_WORDS: Final[dict[str, Mode]] = {
    **dict.fromkeys(
        ("loss", "error", "mae", "mse", "rmse", "msle", "rmsle", "mape", "smape"), "min"
    ),
    **dict.fromkeys(("deviance", "deviation", "distance", "divergence", "perplexity"), "min"),
    **dict.fromkeys(("nll", "brier", "cost", "pinball"), "min"),
    **dict.fromkeys(("accuracy", "acc", "precision", "recall", "sensitivity", "f1"), "max"),
    **dict.fromkeys(("specificity", "auc", "r2", "d2", "jaccard", "iou", "kappa", "mcc"), "max"),
    "score": "max",
}
_TURNED: Final = frozenset(("neg", "negative", "negated", "minus", "inverse", "reduction"))


def mode_of(name: str, metric: Any = None) -> Mode | None:
    """Return whether smaller or larger values of a metric are better; None if nothing says so.

    A caller's function says so by an attribute `mode`, ``"min"`` or ``"max"``, or by its name: with
    a word such as loss, error, mae or deviance it is minimised, with accuracy, auc, r2 or score
    maximised. A name that says both or neither, or turns a word by ``neg``, says nothing, unless it
    ends in loss or error.

    Raises
    ------
    InputError
        The attribute `mode` is something else.
    """
    own = getattr(metric, "mode", None)
    if own is not None:
        if own not in ("min", "max"):
            raise InputError(
                f"the mode of the metric {name!r} must be 'min' or 'max', got {own!r}."
            )
        return "min" if own == "min" else "max"
    words = re.sub("(?<=[a-z0-9])(?=[A-Z])", "_", name).lower().split("_")
    if not _TURNED.isdisjoint(words):
        return None
    said = {_WORDS[word] for word in words if word in _WORDS}
    if words[-1] in ("loss", "error"):
        return "min"
    return said.pop() if len(said) == 1 else None


@dataclass(frozen=True)
class OwnMetric:
    """A caller's function ``f(target, output)`` as a `Metric`."""

    name: str
    function: Callable[[Array, Array], float]

    @property
    def mode(self) -> Any:
        """The direction that the function carries; None if it carries none."""
        return getattr(self.function, "mode", None)

    def __call__(self, target: Array, output: Array, weight: Array | None = None) -> float:
        """Return the function's value, which knows of no weights."""
        value = self.function(target, output)
        try:
            return float(value)
        except (TypeError, ValueError):
            message = f"the metric {self.name!r} must return a number, got {shown(value)}."
            raise InputError(message) from None


def get(metrics: Any, loss: Loss, outputs: int) -> list[tuple[str, Metric]]:
    """Return names and functions of metrics, each given by name or as ``f(target, output)``.

    Raises
    ------
    InputError
        A name is unknown or repeated, or a metric does not fit the loss and the outputs.
    """
    made: list[tuple[str, Metric]] = []
    for metric in check_list("metrics", metrics):
        if callable(metric):
            name = getattr(metric, "__name__", type(metric).__name__)
            made.append((name, OwnMetric(name, metric)))
        elif isinstance(metric, str) and metric in METRICS:
            _require_fit(metric, loss, outputs)
            made.append((metric, _on_targets_of(loss, metric)))
        else:
            raise InputError(f"unknown metric {metric!r}{suggest(metric, METRICS)}")
    names = [name for name, _ in made]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"metrics has two of the name {name!r}: give each its own __name__.")
    return made


def _on_targets_of(loss: Loss, name: str) -> Metric:
    """Return a metric of fastnet; of a caller's loss, it compares targets that are comparable."""
    metric = METRICS[name]
    if not isinstance(loss, FunctionLoss):
        return metric
    return lambda target, output, weight: metric(
        loss.comparable(name, target, output.shape[1]), output, weight
    )


def _require_fit(name: str, loss: Loss, outputs: int) -> None:
    need, answers, classed = _NEEDS[name], loss.metric == "accuracy", loss.name == "cross_entropy"
    if isinstance(loss, FunctionLoss):  # the activation says what the outputs are
        classed = loss.activation == "softmax"
        answers = classed or (loss.activation == "sigmoid" and need != "number")
    classes = outputs if classed else 2 if outputs == 1 else 0
    fits = {
        "answer": answers,
        "class": answers and classes > 0,
        "two classes": answers and classes == 2,
        "number": not answers,
    }
    if not fits[need]:
        raise InputError(
            f"the metric {name!r} needs {_ARTICLES.get(need, 'a ')}{need} to compare, "
            f"which the loss {loss.title!r} with {outputs} outputs does not give."
        )


def variance(target: Array, weight: Array | None = None) -> float:
    """Return the mean squared distance of the targets from the means of their columns.

    It is exactly 0 for constant columns, whose means may be rounded.
    """
    t = np.reshape(target, (len(target), -1))
    counted = t if weight is None else t[weight > 0]
    if len(counted) and bool((counted.min(axis=0) == counted.max(axis=0)).all()):
        return 0.0
    # Pieces bound the memory; one without weight has no average.
    parts = [slice(start, start + _PIECE) for start in range(0, len(t), _PIECE)]
    weights = [None if weight is None else weight[part] for part in parts]
    totals = [
        len(t[part]) if w is None else w.sum() for part, w in zip(parts, weights, strict=True)
    ]

    def average(of: Callable[[Array], Array]) -> Any:
        return sum(
            total / sum(totals) * np.average(of(t[part].astype(np.float64)), axis=0, weights=w)
            for part, w, total in zip(parts, weights, totals, strict=True)
            if total
        )

    with np.errstate(all="ignore"):  # infinity is a variance too
        mean = average(lambda values: values)
        return float(average(lambda values: np.mean((values - mean) ** 2, axis=1)))


def majority(target: Array, weight: Array | None = None) -> tuple[int, float] | None:
    """Return the class of the most weight and its share; None for several yes-or-no targets.

    An answer that is always this class has the share as its `accuracy`.
    """
    counted = counts(target, weight)
    return None if counted is None else majority_of(counted)


def counts(target: Array, weight: Array | None = None, classes: int = 0) -> Array | None:
    """Return the weight of each class, of `classes` at least; None for several targets."""
    if target.ndim == 2 and target.shape[1] > 1:
        return None
    labels = target if target.ndim == 1 else (target[:, 0] > 0.5).astype(np.int64)
    return np.bincount(labels, weight, minlength=classes)


def majority_of(counted: Array) -> tuple[int, float]:
    """Return the class of the most weight and its share of all."""
    most = int(np.argmax(counted))
    return most, float(counted[most] / counted.sum())


def r2_from(mean_squared_error: Any, target_spread: float) -> Any:
    """Return R2, of a number or an array; for constant targets 1 if the error is 0, else 0."""
    if target_spread == 0:
        return 1.0 * (mean_squared_error == 0)
    return 1.0 - mean_squared_error / target_spread


def confidences(target: Array, output: Array) -> tuple[Array, Array]:
    """Return the probability of every prediction and whether it is correct, as flat arrays."""
    targets, answer = _answers(target, output)
    sure = output.max(axis=1) if targets.ndim == 1 else np.maximum(output, 1 - output)
    return np.reshape(sure, -1).astype(np.float64), np.reshape(targets == answer, -1)


def _answers(target: Array, output: Array) -> tuple[Array, Array]:
    """Return targets and predictions: classes (N,), or booleans (N, O)."""
    if target.ndim == 1 and output.shape[1] > 1:
        return target, np.argmax(output, axis=1)
    return np.reshape(target, output.shape) > 0.5, output > 0.5


def _class_counts(target: Array, output: Array, weight: Array | None) -> tuple[Array, Array, Array]:
    """Return the weight of the recognised, present and predicted rows of each class."""
    targets, answer = _answers(target, output)
    if targets.ndim == 2:
        if targets.shape[1] > 1:
            raise InputError("this metric needs classes: it is not defined for several outputs.")
        targets, answer = targets[:, 0].astype(np.int64), answer[:, 0].astype(np.int64)
    classes = max(output.shape[1], 2)
    weights = np.ones(len(targets)) if weight is None else weight.astype(np.float64)
    hits = np.bincount(targets, weights * (targets == answer), minlength=classes)
    present = np.bincount(targets, weights, minlength=classes)
    predicted = np.bincount(answer, weights, minlength=classes)
    return hits, present, predicted


def _ratio(top: Array, bottom: Array) -> Array:
    """Return ``top / bottom``, 0 where bottom is 0."""
    return np.divide(top, bottom, out=np.zeros_like(top), where=bottom > 0)


def _errors(target: Array, output: Array) -> Array:
    """Return output - target (N, T) in float64, without further outputs such as variances."""
    t = np.asarray(target, np.float64).reshape(len(target), -1)
    return output[:, : t.shape[1]].astype(np.float64) - t
