"""Losses and optimizers that take the same steps as scikit-learn's MLP.

scikit-learn's gradients are sums over the outputs, fastnet's losses are means. So each loss has two
factors, and learning rate, penalty and Adam's epsilon are scaled to give the same steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fastnet.kernels import abi
from fastnet.nn.losses import MSE, BinaryCrossEntropy, CrossEntropy, Loss, Poisson
from fastnet.nn.optimizers import LBFGS, SGD, Adam, Optimizer
from fastnet.utils.names import ActivationName

Array = NDArray[Any]

ACTIVATIONS: Final[dict[str, ActivationName]] = {
    "exp": "exp",
    "identity": "identity",
    "logistic": "sigmoid",
    "relu": "relu",
    "softmax": "softmax",
    "tanh": "tanh",
}
"""scikit-learn's names of activations to fastnet's, output activations included."""


@dataclass(frozen=True)
class Objective:
    """The loss that scikit-learn minimises, in terms of fastnet's loss.

    Attributes
    ----------
    loss : Loss
    value : float
        scikit-learn's loss is ``value * loss + offset``.
    gradient : float
        fastnet's gradient is `gradient` times scikit-learn's.
    offset : float
    """

    loss: Loss
    value: float
    gradient: float
    offset: float = 0.0


def objective(out_activation: str, y: Array, weight: Array | None) -> Objective:
    """Return the objective for a scikit-learn output activation and targets (N, T)."""
    outputs = y.shape[1]
    if out_activation == "softmax":
        return Objective(CrossEntropy(), 1.0, 1.0)
    if out_activation == "logistic":
        return Objective(BinaryCrossEntropy(), outputs, 1.0 / outputs)
    if out_activation == "exp":
        # The deviance includes the part that depends on the targets alone.
        own = np.multiply(y, np.log(y, where=y > 0, out=np.zeros(y.shape))) - y
        offset = float(np.average(own.sum(axis=1), weights=weight))
        return Objective(Poisson(), outputs, 1.0 / outputs, offset)
    # scikit-learn's value is half the mean over outputs, its gradient that of half the sum.
    return Objective(MSE(), 0.5, 2.0 / outputs)


def targets(out_activation: str, y: Array) -> Array:
    """Return fastnet's targets: labels (N,) for softmax, else y (N, T) itself."""
    labels: Array = np.argmax(y, axis=1) if out_activation == "softmax" else y
    return labels


@dataclass(frozen=True)
class UncorrectedAdam(Adam):
    """Adam that adds epsilon to the root of v before the bias correction.

    ``w -= rate sqrt(1 - beta2^t) / (1 - beta1^t) m / (sqrt(v) + epsilon)``, as in scikit-learn and
    at the end of section 2 of Kingma and Ba (2015).
    """

    def _fill_coefficients(
        self, table: Array, steps: NDArray[np.int64], rates: NDArray[np.float64]
    ) -> None:
        correction = np.sqrt(1.0 - self.beta2**steps) / (1.0 - self.beta1**steps)
        table[:, abi.RATE] = rates * correction
        table[:, abi.SCALE] = 1.0


def optimizer(model: Any, penalty: float, gradient: float) -> Optimizer:
    """Return the optimizer for the parameters of a scikit-learn MLP.

    Parameters
    ----------
    model : MLPClassifier or MLPRegressor
    penalty : float
        alpha divided by the rows of a batch.
    gradient : float
        `Objective.gradient`.
    """
    if model.solver == "sgd":
        return SGD(
            model._optimizer.learning_rate / gradient,
            l2=penalty * gradient,
            momentum=model.momentum,
            nesterov=model.nesterovs_momentum and model.momentum > 0,
        )
    return UncorrectedAdam(
        model.learning_rate_init,
        l2=penalty * gradient,
        beta1=model.beta_1,
        beta2=model.beta_2,
        epsilon=model.epsilon * gradient,
    )


def solver(model: Any, penalty: float, gradient: float) -> LBFGS:
    """Return L-BFGS with scikit-learn's bounds, and SciPy's defaults otherwise."""
    return LBFGS(
        l2=penalty * gradient,
        tolerance=2.220446049250313e-09,
        gradient_tolerance=model.tol * gradient,
        evaluations=model.max_fun,
    )
