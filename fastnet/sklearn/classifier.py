"""`FastNetClassifier`: binary, multi-class and multi-label classification."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import ClassifierMixin
from sklearn.preprocessing import LabelEncoder
from sklearn.utils.multiclass import (
    _check_partial_fit_first_call,
    check_classification_targets,
    type_of_target,
)
from sklearn.utils.validation import column_or_1d, validate_data

from fastnet.errors import InputError, suggest
from fastnet.nn import losses
from fastnet.nn.losses import BinaryCrossEntropy, CrossEntropy, Loss
from fastnet.preprocessing.weights import factor
from fastnet.sklearn import tables
from fastnet.sklearn.estimator import Array, FastNetEstimator
from fastnet.sklearn.host_arrays import takes_device_arrays
from fastnet.sklearn.parameters import FLOATS, dense, extending
from fastnet.utils.names import ActivationName
from fastnet.utils.param_validation import plain, refuse_masked


@takes_device_arrays
class FastNetClassifier(ClassifierMixin, FastNetEstimator):
    """A classifier with all of fastnet's options.

    Two classes share one sigmoid output, or have two softmax outputs with ``loss="cross_entropy"``.
    More classes have one softmax output each, labels of a multi-label problem one sigmoid output.
    A single class has the network of two, the second of which never comes; it is every answer.

    Parameters
    ----------
    **shared
    loss : str or Loss, optional
        ``"cross_entropy"`` or ``"binary_cross_entropy"``, or an instance of these losses.
    class_weight : dict, list of dict, or "balanced", optional
        Weights by label, as elsewhere in scikit-learn; a label without one has weight 1. They
        multiply the sample weights of training rows, in the loss alone. For several labels at once,
        a list of dicts ``{0: ..., 1: ...}``, one for each.
    label_smoothing : float, optional
        Fraction of the target that is distributed over all classes.

    Attributes
    ----------
    classes_ : (C,) array

    Examples
    --------
    >>> from fastnet.sklearn import FastNetClassifier
    >>> X, y = [[0.0], [1.0], [2.0], [3.0]], ["low", "low", "high", "high"]
    >>> model = FastNetClassifier((8,), dropout=0.1, learning_rate=0.05, random_state=0)
    >>> model.fit(X, y).predict([[-1.0], [4.0]]).tolist()
    ['low', 'high']
    """

    @extending(FastNetEstimator)
    def __init__(
        self,
        *args: Any,
        class_weight: Mapping[Any, float] | Sequence[Mapping[Any, float]] | str | None = None,
        label_smoothing: float | None = None,
        **shared: Any,
    ) -> None:
        super().__init__(*args, **shared)
        self.class_weight = class_weight
        self.label_smoothing = label_smoothing

    def partial_fit(
        self,
        X: Any,
        y: Any,
        classes: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
        *,
        X_val: Any = None,
        y_val: Any = None,
        sample_weight_val: ArrayLike | None = None,
    ) -> Self:
        """Train for one epoch on these rows; the optimizer's moments carry over.

        Parameters
        ----------
        X, y, sample_weight, X_val, y_val, sample_weight_val
            See `fit`.
        classes : (C,), optional
            All classes, including those of later calls; the first call needs them.
        """
        _check_partial_fit_first_call(self, classes)
        if getattr(self, "stopped_", False):
            return self
        val, first = (X_val, y_val, sample_weight_val), not hasattr(self, "network_")
        return self._train(X, y, sample_weight, val, first=first, once=True)

    # --- from labels to targets ------------------------------------------------------------------

    def _checked(self, X: Any, y: Any, *, reset: bool) -> tuple[Any, Array]:
        refuse_masked("X", X)
        refuse_masked("y", y)
        X, y = validate_data(
            self,
            X,
            y,
            accept_sparse=["csr", "csc"],
            multi_output=True,
            dtype=FLOATS,
            reset=reset,
        )
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(dense(y), warn=True)
        return X, y

    def _targets(self, y: Array, *, first: bool, once: bool) -> Array:
        check_classification_targets(y)
        kind = type_of_target(y)
        if kind == "multiclass-multioutput":
            raise InputError("y has several columns of classes: fit one classifier for each.")
        several = kind == "multilabel-indicator"
        if first:
            self._several = several
            if several or not once:
                self.classes_ = np.arange(y.shape[1]) if several else np.unique(y)
        if several != self._several or (several and y.shape[1] != len(self.classes_)):
            known = f"{len(self.classes_)} {'labels' if self._several else 'classes'}"
            raise InputError(f"y must be as in the first call, with {known}, got {kind} targets.")
        if several:
            return dense(y)
        encoder = LabelEncoder()
        encoder.classes_ = self.classes_
        labels: Array = encoder.transform(y)
        return labels

    def _class_weights(self, *, once: bool) -> Any:
        given = self.class_weight
        if given == "balanced" and once:
            raise InputError(
                "class_weight='balanced' needs all rows at once: for partial_fit, give a dict."
            )
        if self._several or not isinstance(given, Mapping):
            return given
        index = {label: k for k, label in enumerate(self.classes_.tolist())}
        strange = [label for label in given if plain(label) not in index]
        if strange:
            names = map(str, self.classes_[:20])
            raise InputError(
                f"class_weight: there is no class {plain(strange[0])!r}"
                f"{suggest(str(strange[0]), names)}"
            )
        return {index[plain(label)]: factor(label, weight) for label, weight in given.items()}

    def _outputs(self) -> tuple[int, ActivationName]:
        if isinstance(self._loss(), CrossEntropy):
            return max(2, len(self.classes_)), "softmax"
        return (len(self.classes_) if self._several else 1), "sigmoid"

    def _loss(self) -> Loss:
        yes_or_no = self._several or len(self.classes_) <= 2
        loss, smoothing = self.loss, self.label_smoothing
        config = tables.chosen(self)
        if loss is None and config is not None and not self._several:
            loss = "cross_entropy"
            smoothing = config.label_smoothing if smoothing is None else smoothing
        if loss is None:
            loss = "binary_cross_entropy" if yes_or_no else "cross_entropy"
        if isinstance(loss, str) and loss in ("cross_entropy", "binary_cross_entropy"):
            loss = losses.LOSSES[loss]()
        if not isinstance(loss, CrossEntropy | BinaryCrossEntropy):
            raise InputError(
                f"loss must be 'cross_entropy' or 'binary_cross_entropy', got {loss!r}."
            )
        fits = not self._several if isinstance(loss, CrossEntropy) else yes_or_no
        if not fits:
            what = "several labels" if self._several else f"{len(self.classes_)} classes"
            raise InputError(f"the loss {loss.name!r} is not for {what}.")
        return loss if smoothing is None else replace(loss, label_smoothing=smoothing)

    # --- use -------------------------------------------------------------------------------------

    def predict(self, X: Any) -> Array:
        """Return the classes (N,), or the label indicators (N, L)."""
        return self._answers(self._predicted(X))

    def _answers(self, outputs: Array) -> Array:
        probabilities = self._probabilities(outputs)
        if self._several:
            return (probabilities > 0.5).astype(np.int64)
        named: Array = self.classes_[np.argmax(probabilities, axis=1)]
        return named

    def predict_proba(self, X: Any) -> Array:
        """Return the probabilities of the classes (N, C), or of the labels (N, L)."""
        return self._probabilities(self._predicted(X))

    def _probabilities(self, outputs: Array) -> Array:
        if len(self.classes_) == 1 and not self._several:
            return np.ones((len(outputs), 1), outputs.dtype)
        if self._several or outputs.shape[1] == len(self.classes_):
            return outputs
        return np.hstack([1 - outputs, outputs])

    def predict_log_proba(self, X: Any) -> Array:
        """Return the logarithms of `predict_proba`."""
        with np.errstate(divide="ignore"):  # the logarithm of 0 is -inf
            logarithms: Array = np.log(self.predict_proba(X))
        return logarithms

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags
