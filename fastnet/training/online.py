"""`OnlineStep`: training steps on one row each, without the cost of ``partial_fit``.

``partial_fit`` checks its arguments, copies the weights and describes the batch anew at each call,
which takes many times as long as the step of a small network. Here everything that stays the same
is made once, and whatever is unusual goes to ``partial_fit``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fastnet.backends.epochs import TrainConfig
from fastnet.data.frame import is_table
from fastnet.kernels import abi
from fastnet.model import Model
from fastnet.nn.batch import Batch
from fastnet.nn.function_loss import FunctionLoss
from fastnet.nn.losses import Loss
from fastnet.nn.optimizers import Optimizer
from fastnet.preprocessing.base import Passthrough
from fastnet.preprocessing.validation import RANGES
from fastnet.training.loop import divergence
from fastnet.utils.device_arrays import is_on_gpu, shared

_WHOLE: Final = int, np.integer
_NUMBERS: Final = float, int, np.floating, np.integer

BLOCK: Final = 256
"""Coefficients are computed for so many steps at once."""


class OnlineStep:
    """A function ``step(x, y)`` that trains a network on one row; see `Network.online_step`.

    Parameters
    ----------
    model : Model
    optimizer : Optimizer
    plain : f(x, y)
        ``partial_fit`` with this optimizer, and a loss.
    """

    def __init__(
        self,
        model: Model,
        optimizer: Optimizer,
        plain: Callable[[Any, Any], float],
    ) -> None:
        self._model, self._optimizer, self._plain = model, optimizer, plain
        self._bound: _Bound | None = None
        self._can_be_bound = True

    def __call__(self, x: Any, y: Any) -> float:
        """Take one step on the row x (I,) and its target y; return the loss before it."""
        with self._model.alone, self._model.active():
            bound = self._bound
            holds = bound is not None and bound.holds()
            if bound is not None and holds:
                with np.errstate(all="ignore"):  # squares may overflow
                    if bound.put(x, y):
                        return bound.step()
            value = self._plain(_batch_of(x), _batch_of(y))
            if not holds and self._can_be_bound:
                self._bind()
            return value

    def _bind(self) -> None:
        """Prepare for more rows like the one before, if they need nothing that this cannot do."""
        model, preprocessor, loss = self._model, self._model.preprocessor, self._model.loss
        plain = type(preprocessor) is Passthrough and preprocessor.target is None
        self._bound = None
        if plain and loss is not None and not isinstance(loss, FunctionLoss):
            bound = _Bound(model, self._optimizer, loss)
            self._bound, self._can_be_bound = (bound, True) if bound.take else (None, False)


def _batch_of(value: Any) -> Any:
    """Return a row or a target as a batch of one."""
    if isinstance(value, Mapping | str) or is_table(value):
        return [value]
    return shared("the row", value)[None] if is_on_gpu(value) else np.asanyarray(value)[None]


class _Bound:
    """Steps of an engine on one batch of one row, into whose arrays each row is put.

    Attributes
    ----------
    take : RowStep or None
        The engine's function; None: it has none.
    """

    def __init__(self, model: Model, optimizer: Optimizer, loss: Loss) -> None:
        state, dtype = model.optimizer_state, model.dtype
        assert state is not None
        self._model, self._optimizer, self._loss, self._state = model, optimizer, loss, state
        self._parameters, self._moments = model.parameters, state.moments
        self._preprocessor, self._good = model.preprocessor, model.parameters.copy()
        # The batch: a row with a label or with numbers.
        columns = model.outputs // loss.outputs_per_target
        self._row, self._target = np.zeros(model.inputs, dtype), np.zeros(columns, dtype)
        self._labels = np.zeros(1, np.int64) if loss.name == "cross_entropy" else None
        target = self._target[None] if self._labels is None else None
        rows = Batch(self._row[None], self._labels, target, None)
        self._axes = 1
        self._range: tuple[float, float] = RANGES.get(loss.name, (-math.inf, math.inf))
        self._largest = float(np.finfo(dtype).max)
        # The coefficients of some steps from `_first` on, at `_when`.
        self._first, self._when = 0, (-1, -1, -1)
        self._table = np.zeros((0, abi.COEFFICIENTS))
        # The engine, which nothing else uses.
        config = TrainConfig(loss, optimizer, 1, model.seed, shuffle=False)
        arrays = model.plan, model.parameters, model.state
        self._engine = model.backend_object.engine(*arrays, precision=model.precision)
        self.take = self._engine.online(rows, config, state.moments)

    def holds(self) -> bool:
        """Return whether the network still is the one that this was made for."""
        model, state = self._model, self._state
        return (
            model.optimizer_state is state
            and state.optimizer is self._optimizer
            and state.moments is self._moments
            and model.parameters is self._parameters
            and model.preprocessor is self._preprocessor
            and model.loss is self._loss
        )

    def put(self, x: Any, y: Any) -> bool:
        """Write a row and its target to the batch; return False unless they are the usual ones."""
        row, target = self._row, self._target
        if type(x) is not np.ndarray or x.dtype != row.dtype or x.shape != row.shape:
            return False
        kind = type(y)
        if self._labels is not None:
            if kind is bool or not issubclass(kind, _WHOLE) or not 0 <= y < self._model.outputs:
                return False
            self._labels[0], self._axes = y, 1
        elif kind is np.ndarray:
            if y.dtype != target.dtype or y.shape != target.shape or not self._fits(y):
                return False
            target[...], self._axes = y, 2
        else:
            low, high = self._range
            if len(target) > 1 or kind is bool or not issubclass(kind, _NUMBERS):
                return False
            if not (abs(y) <= self._largest and low <= y <= high):
                return False
            target[0], self._axes = y, 1
        row[...] = x
        return math.isfinite(row.dot(row))

    def _fits(self, y: NDArray[Any]) -> bool:
        """Return whether numbers are finite, not huge, and within the range of the loss."""
        low, high = self._range
        inside = low == -math.inf or (y.min() >= low and y.max() <= high)
        return bool(inside and math.isfinite(y.dot(y)))

    def step(self) -> float:
        """Take the step; return the loss before it."""
        assert self.take is not None
        model, state = self._model, self._state
        when = state.epoch, state.schedule_epoch, state.plateau.reductions
        index = state.updates - self._first
        if when != self._when or not 0 <= index < len(self._table):
            index = 0
            self._first, self._when = state.updates, when
            rates = np.repeat(state.rates(np.zeros(1)), BLOCK)
            self._table = self._optimizer.step_coefficients(state.updates + 1, rates)
            self._place, self._stride = self._table.ctypes.data, self._table.strides[0]
        weights, good = self._parameters, self._good
        good[...] = weights
        value = self.take(self._place + index * self._stride, state.step)
        if value is None or not (math.isfinite(weights.dot(weights)) or np.isfinite(weights).all()):
            weights[...] = good
            state.forget()
            raise divergence("the loss or a weight", state.epoch, 1, 1)
        state.step += 1
        state.updates += 1
        model.temperature, model.target_axes = None, self._axes
        return value
