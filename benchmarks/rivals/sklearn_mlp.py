"""scikit-learn: ``MLPClassifier``, ``MLPRegressor``; one ``partial_fit`` over all rows an epoch."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from fastnet.benchmarks.contenders import Contender
from fastnet.benchmarks.problems import LEARNING_RATE, Floats, Problem


class SklearnMLP(Contender):
    """``partial_fit`` makes mini-batches of what it is given, so it is called once an epoch.

    The rows come in the epoch's order already: scikit-learn is not timed for the gather.
    """

    # Its Adam adds epsilon to a root that is not corrected for bias, so for tiny gradients the
    # first steps are shorter.
    tolerance: ClassVar[float] = 1e-3

    def __init__(self, problem: Problem, threads: int | None) -> None:
        from sklearn.neural_network import MLPClassifier, MLPRegressor

        rung = problem.rung
        self.classifies = rung.loss == "cross_entropy"
        make = MLPClassifier if self.classifies else MLPRegressor
        self.model = make(
            hidden_layer_sizes=rung.sizes[1:-1],
            activation=rung.activation,
            alpha=0.0,
            batch_size=problem.batch,
            learning_rate_init=LEARNING_RATE,
            shuffle=False,
            # The loss of a step is noisy: this is no sign to stop.
            n_iter_no_change=1 << 30,
        )
        few = problem.x[: problem.batch], problem.targets[: problem.batch]
        if self.classifies:
            classes = np.arange(rung.sizes[-1])
            self.model.partial_fit(*few, classes=classes)
            # A softmax for two classes too, where scikit-learn would have one logistic output.
            self.model._label_binarizer = _OneHot(len(classes))
            self.model.out_activation_ = "softmax"
            self.model.n_outputs_ = len(classes)
        else:
            self.model.partial_fit(*few)
        # Forget that step: the common weights and a fresh Adam.
        self.model.coefs_ = [w.copy() for w in problem.weights]
        self.model.intercepts_ = [b.copy() for b in problem.biases]
        del self.model._optimizer
        self.orders = [(problem.x[order], problem.targets[order]) for order in problem.orders]
        self.epoch = 0

    def train_epoch(self) -> float:
        x, targets = self.orders[self.epoch % len(self.orders)]
        self.epoch += 1
        self.model.partial_fit(x, targets)
        # Its squared error is halved; Adam's steps are the same for any factor.
        return float(self.model.loss_) * (1 if self.classifies else 2)

    def predict(self, x: Floats) -> NDArray[Any]:
        return np.asarray((self.model.predict_proba if self.classifies else self.model.predict)(x))


class _OneHot:
    """What ``MLPClassifier`` uses of a ``LabelBinarizer``, with a column for every class."""

    y_type_ = "multiclass"

    def __init__(self, classes: int) -> None:
        self.classes_ = np.arange(classes)

    def transform(self, labels: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return labels (N,) as rows (N, O) with a single True."""
        return np.equal(labels[:, None], self.classes_)
