"""scikit-learn's rules for stopping and for the learning rate, applied after each epoch."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.neural_network._stochastic_optimizers import AdamOptimizer, SGDOptimizer

from fastnet.model import Model
from fastnet.nn.optimizers import Optimizer
from fastnet.sklearn.objectives import Objective
from fastnet.training.callbacks import Callback, Run


def rate_keeper(model: Any) -> Any:
    """Return scikit-learn's optimizer without parameters; it keeps the learning rate."""
    if model.solver == "sgd":
        return SGDOptimizer(
            [],
            model.learning_rate_init,
            model.learning_rate,
            model.momentum,
            model.nesterovs_momentum,
            model.power_t,
        )
    return AdamOptimizer([], model.learning_rate_init, model.beta_1, model.beta_2, model.epsilon)


def squared_weights(network: Model) -> float:
    """Return the sum of the squares of all weights, in float64."""
    weights = network.parameters[: network.plan.n_weights].astype(np.float64)
    return float(weights @ weights)


class Iterations(Callback):
    """Counts iterations, judges progress and changes the learning rate by scikit-learn's rules.

    Parameters
    ----------
    model : MLPClassifier or MLPRegressor
        Its attributes (``n_iter_``, ``loss_curve_``, ...) are kept up to date.
    objective : Objective
    penalty : float
        alpha divided by the rows of a batch.
    rows : int
        Rows of one iteration.
    validation : tuple
        Validation rows as ``_update_no_improvement_count`` takes them; a tuple of None if none.
    once : bool
        Whether this is ``partial_fit``: one iteration, which need not converge.
    """

    def __init__(
        self,
        model: Any,
        objective: Objective,
        penalty: float,
        rows: int,
        validation: tuple[Any, ...],
        once: bool,
    ) -> None:
        self._model = model
        self._objective = objective
        self._penalty = penalty
        self._rows = rows
        self._held = validation
        self._once = once
        self._squares = 0.0
        self.converged = False

    def on_train_begin(self, run: Run) -> None:
        """Start counting."""
        self._model.n_iter_ = 0
        self._squares = squared_weights(run.network)

    def on_epoch_end(self, run: Run) -> None:
        """Judge the finished iteration."""
        model = self._model
        # A batch's loss is computed before its step, the penalty before the whole epoch.
        loss = self._objective.value * run.logs["loss"] + self._objective.offset
        self._squares, before = squared_weights(run.network), self._squares
        if not model._live:
            model._publish(run.network)
        self._count(loss + 0.5 * self._penalty * before)
        model._update_no_improvement_count(model.early_stopping, *self._held)
        rate = model._optimizer.learning_rate
        model._optimizer.iteration_ends(model.t_)
        if model._no_improvement_count > model.n_iter_no_change:
            self.converged = model._optimizer.trigger_stopping(self._message, model.verbose)
            if self.converged:
                run.stop("converged")
            else:
                model._no_improvement_count = 0
        if model.solver == "sgd":
            self._change_rate(run.network, rate, model._optimizer.learning_rate)

    def diverged(self) -> None:
        """Count an iteration without a finite loss; early stopping has better weights."""
        self._count(math.nan)
        self._model.validation_scores_.append(math.nan)

    def _count(self, loss: float) -> None:
        model = self._model
        model.n_iter_ += 1
        model.t_ += self._rows
        model.loss_ = loss
        model.loss_curve_.append(loss)
        if model.verbose:
            print(f"Iteration {model.n_iter_}, loss = {loss:.8f}")

    @property
    def _message(self) -> str:
        what = "Validation score" if self._model.early_stopping else "Training loss"
        return (
            f"{what} did not improve more than tol={self._model.tol:f} for "
            f"{self._model.n_iter_no_change} consecutive epochs."
        )

    @staticmethod
    def _change_rate(network: Model, before: float, after: float) -> None:
        """Continue with another learning rate.

        scikit-learn's velocity includes the learning rate, fastnet's moment does not. So the moment
        is scaled to give the same velocity.
        """
        state = network.optimizer_state
        if before == after or state is None or not isinstance(state.optimizer, Optimizer):
            return
        state.moments *= before / after
        rate = state.optimizer.schedule.start * after / before
        state.optimizer = replace(state.optimizer, learning_rate=rate)
