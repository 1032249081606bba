"""`FastNetRegressor`: regression of numbers, counts, means with variances, and quantiles."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import RegressorMixin
from sklearn.utils.validation import column_or_1d, validate_data

from fastnet.errors import InputError
from fastnet.network import Network
from fastnet.nn import losses
from fastnet.nn.losses import CrossEntropy, GaussianNLL, Loss, Quantile
from fastnet.preprocessing.learn import scales_targets
from fastnet.sklearn.estimator import Array, FastNetEstimator
from fastnet.sklearn.host_arrays import takes_device_arrays
from fastnet.sklearn.parameters import FLOATS, extending
from fastnet.training.budget import AUTO, Budget
from fastnet.utils.names import ActivationName, Auto
from fastnet.utils.param_validation import check_flag, plain, refuse_masked


@takes_device_arrays
class FastNetRegressor(RegressorMixin, FastNetEstimator):
    """A regressor with all of fastnet's options.

    Parameters
    ----------
    **shared
    loss : str or Loss, optional
        ``"mse"`` by default; ``"gaussian_nll"`` predicts variances too (``predict(X,
        return_std=True)``), and ``"quantile"`` several quantiles (`predict_quantiles`).
    output_activation : str, optional
        Default: exp for poisson, sigmoid for binary_cross_entropy, else identity.
    standardize_targets : bool, default "auto"
        Scale the targets to mean 0 and deviation 1; predictions are in their unit. The rows of
        `fit` give the scale, so with True `partial_fit` cannot come first. "auto": in the first
        `fit`, for mse, mae, huber, quantile and gaussian_nll of outputs that may be any number.

    Examples
    --------
    >>> from fastnet.sklearn import FastNetRegressor
    >>> X, y = [[0.0], [1.0], [2.0], [3.0]], [1.0, 3.0, 5.0, 7.0]
    >>> model = FastNetRegressor((), optimizer="lbfgs", random_state=0)
    >>> model.fit(X, y).predict([[4.0]]).round(2).tolist()
    [9.0]
    """

    @extending(FastNetEstimator)
    def __init__(
        self,
        *args: Any,
        output_activation: ActivationName | None = None,
        standardize_targets: bool | Auto = AUTO,
        **shared: Any,
    ) -> None:
        super().__init__(*args, **shared)
        self.output_activation = output_activation
        self.standardize_targets = standardize_targets

    def partial_fit(
        self,
        X: Any,
        y: Any,
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
        """
        if getattr(self, "stopped_", False):
            return self
        val, first = (X_val, y_val, sample_weight_val), not hasattr(self, "network_")
        return self._train(X, y, sample_weight, val, first=first, once=True)

    def _how(
        self, network: Network, budget: Budget, first: bool, once: bool, *, validates: bool
    ) -> dict[str, Any]:
        scales = plain(self.standardize_targets)
        if scales == AUTO:
            scales = first and not once and not self._tabular and self._scalable()
        if once and first and scales:
            raise InputError(
                "standardize_targets=True needs fit before partial_fit: the first rows of a stream "
                "tell no scale of its targets."
            )
        how = super()._how(network, budget, first, once, validates=validates)
        return how | {"standardize_targets": scales}

    def _scalable(self) -> bool:
        """Return whether loss and outputs know other units of the targets."""
        return scales_targets(self._loss(), self._outputs()[1])

    # --- targets ---------------------------------------------------------------------------------

    def _checked(self, X: Any, y: Any, *, reset: bool) -> tuple[Any, Array]:
        refuse_masked("X", X)
        refuse_masked("y", y)
        X, y = validate_data(
            self,
            X,
            y,
            accept_sparse=["csr", "csc"],
            multi_output=True,
            y_numeric=True,
            dtype=FLOATS,
            reset=reset,
        )
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        return X, y

    def _targets(self, y: Array, *, first: bool, once: bool) -> Array:
        columns = 1 if y.ndim == 1 else y.shape[1]
        if first:
            self.n_outputs_ = columns
        if columns != self.n_outputs_:
            raise InputError(
                f"y must have {self.n_outputs_} columns as in the first call, got {columns}."
            )
        return y

    def _outputs(self) -> tuple[int, ActivationName]:
        loss = self._loss()
        return self.n_outputs_ * loss.outputs_per_target, self._activation(loss.name)

    def _activation(self, loss: str) -> ActivationName:
        row = losses.LOSSES.get(loss)
        given: ActivationName | None = plain(self.output_activation)
        if given is not None:
            return given
        return "identity" if row is None else row().output_activation

    def _loss(self) -> Loss:
        given = "mse" if self.loss is None else self.loss
        name = given.name if isinstance(given, Loss) else str(given)
        if name == CrossEntropy.name:
            raise InputError(f"the loss {name!r} is for classes: use FastNetClassifier.")
        return losses.get(given, self._activation(name))

    # --- prediction ------------------------------------------------------------------------------

    def predict(self, X: Any, return_std: bool = False) -> Array | tuple[Array, Array]:
        """Return the predictions (N,), or (N, T) for several targets.

        With the loss ``"quantile"`` they are the quantile nearest to 1/2.

        Parameters
        ----------
        return_std : bool, default False
            Also return standard deviations of the same shape; only with ``"gaussian_nll"``.
        """
        outputs, loss = self._predicted(X), self._loss()
        mean = self._answers(outputs)
        if not check_flag("return_std", return_std):
            return mean
        if not isinstance(loss, GaussianNLL):
            raise InputError(f"return_std needs loss='gaussian_nll', got {loss.name!r}.")
        deviation = self._network().output_schema.mean_and_std(outputs)[1]
        return mean, self._shaped(deviation)

    def _answers(self, outputs: Array) -> Array:
        loss, targets = self._loss(), self.n_outputs_
        middle = 0
        if isinstance(loss, Quantile):
            middle = int(np.argmin(np.abs(np.array(loss.quantiles) - 0.5)))
        return self._shaped(outputs[:, middle * targets : (middle + 1) * targets])

    def predict_quantiles(self, X: Any) -> Array:
        """Return all quantiles of the loss ``"quantile"``, (N, Q) or (N, Q, T)."""
        outputs, loss = self._predicted(X), self._loss()
        if not isinstance(loss, Quantile):
            raise InputError(f"predict_quantiles needs loss='quantile', got {loss.name!r}.")
        shape = len(outputs), len(loss.quantiles), self.n_outputs_
        values = outputs.reshape(shape)
        return values[:, :, 0] if self.n_outputs_ == 1 else values

    def _shaped(self, values: Array) -> Array:
        return values[:, 0] if self.n_outputs_ == 1 else values

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
