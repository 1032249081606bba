"""The engine for a loss that is a caller's function, around the engine of any backend.

A step is composed of the backend's forward pass, the function on its outputs, and the backend's
backward pass and update. So no kernel knows of functions, and no backend does.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnet.backends.base import Backend
from fastnet.backends.engine import Engine, while_active, zeros_tally
from fastnet.backends.epochs import LossSums
from fastnet.backends.placing import gathered, here, placed
from fastnet.errors import InputError
from fastnet.kernels import abi
from fastnet.nn.batch import Array, Batch
from fastnet.nn.function_loss import FunctionLoss
from fastnet.nn.losses import Loss
from fastnet.nn.optimizers import Optimizer


@while_active
class FunctionEngine(Engine):
    """Computes a network whose loss is a `FunctionLoss`: what `Engine` composes of the steps.

    Parameters
    ----------
    engine : Engine
        It computes everything but the loss.
    backend : Backend
        That of the engine.
    """

    def __init__(self, engine: Engine, backend: Backend) -> None:
        super().__init__(engine.plan, engine.parameters, engine.state)
        self._engine, self._backend = engine, backend
        self.gradients, self.threads = engine.gradients, engine.threads
        self.most_threads = engine.most_threads
        self.tally = zeros_tally()
        self._outputs: Array = None

    def active(self) -> AbstractContextManager[Any]:
        return self._backend.active()

    def reserve(self, rows: int) -> None:
        self._engine.reserve(rows)

    def gather(self, rows: Batch, order: Array | None, start: int, stop: int) -> Batch:
        return gathered(self._backend, rows, order, start, stop)

    def order(self, count: int, seed: int, epoch: int) -> Array:
        return self._engine.order(count, seed, epoch)

    def forward(self, x: Array, *, training: bool, seed: int = 0, step: int = 0) -> Array:
        self._outputs = self._engine.forward(x, training=training, seed=seed, step=step)
        return self._outputs

    def backward(self, batch: Batch, loss: Loss) -> None:
        gradient = self._measured(self._outputs, batch.target, batch.weight, loss)
        self._engine.backward_from(batch.x, gradient, logits=False)

    def backward_from(self, x: Array, gradient: Array, *, logits: bool) -> None:
        self._engine.backward_from(x, gradient, logits=logits)

    def evaluate_batch(self, batch: Batch, loss: Loss) -> None:
        self._measured(self._outputs, batch.target, batch.weight, loss)

    def update(self, optimizer: Optimizer, moments: Array, coefficients: NDArray[Any]) -> None:
        self._engine.update(optimizer, moments, coefficients)

    def empty(self, shape: tuple[int, ...]) -> Array:
        return self._engine.empty(shape)

    def threads_for(self, batch: int) -> int:
        return self._engine.threads_for(batch)

    def bounded(self) -> AbstractContextManager[Any]:
        return self._engine.bounded()

    def warm_up(self) -> None:
        self._engine.warm_up()

    def blocks(self, count: int) -> Iterator[tuple[int, int]]:
        return self._engine.blocks(count)

    def gradient(
        self, rows: Batch, loss: Loss, *, training: bool = False, seed: int = 0, step: int = 0
    ) -> LossSums:
        self.reserve(len(rows))
        rows = placed(self._backend, rows)
        return super().gradient(rows, loss, training=training, seed=seed, step=step)

    def evaluate(self, rows: Batch, loss: Loss) -> tuple[LossSums, Array]:
        """Return the sums over all rows, of which the function is called once, and the outputs."""
        outputs = self.empty((len(rows), self.plan.outputs))
        for start, stop in self.blocks(len(rows)):
            block = placed(self._backend, rows.part(start, stop))
            outputs[start:stop] = self.forward(block.x, training=False)
        target, weight = (here(self._backend, a) for a in (rows.target, rows.weight))
        self._measured(outputs, target, weight, loss)
        return self.read_tally(), outputs

    def predict(self, x: Array) -> Array:
        return self._engine.predict(x)

    def rehearse(self, rows: Batch, loss: Loss) -> None:
        assert isinstance(loss, FunctionLoss)
        rows = placed(self._backend, rows)
        outputs = self.predict(rows.x)
        value, gradient = loss.value_and_derivative(outputs, rows.target)
        if rows.weight is not None:
            loss.require_weightless(value)
        for what, part in (("loss", value), ("gradient", gradient)):
            numbers = part if isinstance(part, float) else self._on_host(part)
            if not np.isfinite(numbers).all():
                raise InputError(
                    f"the loss {loss.function_name!r} returned a {what} that is not finite for the "
                    f"network as it is, on {len(rows)} rows: expected finite numbers."
                )

    def _measured(self, outputs: Array, target: Array, weight: Array | None, loss: Loss) -> Array:
        """Call the function, add to the tally, and return the derivative of the mean loss."""
        assert isinstance(loss, FunctionLoss)
        value, gradient = loss.value_and_derivative(outputs, target)
        gradient = here(self._backend, gradient)
        count = float(len(outputs))
        # What overflows makes the loss infinite or NaN, and training checks the loss.
        with np.errstate(all="ignore"):
            if weight is not None:
                loss.require_weightless(value)
                count = float(weight.sum(dtype=np.float64))
                value = here(self._backend, value) * weight
                gradient = gradient * weight[:, None]
            if isinstance(value, float):
                total = value * count
            else:
                total = float(value.sum(dtype=np.float64))
                gradient = gradient * (1.0 / count if count > 0 else 0.0)
            self.tally[abi.LOSS_SUM] += total
        self.tally[abi.WEIGHT_SUM] += count
        self.tally[abi.STEPS] += np.isfinite(self.tally[abi.LOSS_SUM])
        return gradient

    def _on_host(self, values: Array) -> NDArray[Any]:
        return values if type(values) is np.ndarray else self._backend.to_host(values)
