"""A network on NumPy or on a GPU's runtime, with what it trains on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fastnet.backends.engine import Engine
from fastnet.backends.epochs import LossSums, Stretch, TrainConfig, Trained
from fastnet.backends.gpu.engine import GpuEngine
from fastnet.backends.gpu.runtime import Runtime
from fastnet.backends.numpy_backend import NumpyEngine
from fastnet.nn.batch import Batch
from fastnet.nn.layers import Layer
from fastnet.nn.losses import Loss
from fastnet.nn.optimizers import Adam, Optimizer
from fastnet.nn.plan import make_plan
from tests.cuda.runtimes import Array
from tests.networks import random_parameters, random_rows, random_state

OPTIMIZER = Adam(0.01, l1=1e-3, l2=1e-2, weight_decay=0.1, clip_norm=0.75)


class Training:
    """One network on one runtime (None: on NumPy), with what it trains on."""

    def __init__(
        self,
        runtime: Runtime | None,
        network: tuple[tuple[Layer, ...], Loss],
        dtype: Any,
        *,
        optimizer: Optimizer = OPTIMIZER,
        count: int = 23,
        batch_size: int = 8,
        weighted: bool = True,
        shuffle: bool = True,
    ) -> None:
        layers, loss = network
        plan = make_plan(7, layers)
        self.back: Callable[[Any], Array] = np.array if runtime is None else runtime.to_host
        put: Callable[[Any], Any] = np.array if runtime is None else runtime.to_device
        self.parameters = put(random_parameters(plan).astype(dtype))
        self.state = put(random_state(plan).astype(dtype))
        self.moments = put(np.zeros((optimizer.n_moments, plan.size), dtype))
        self.engine: Any
        if runtime is None:
            self.engine = NumpyEngine(plan, self.parameters, self.state)
        else:
            self.engine = GpuEngine(plan, self.parameters, self.state, runtime)
        labels = loss.name == "cross_entropy"
        rows = random_rows(plan, loss, count, weighted=weighted, labels=labels)
        self.host = [
            None if a is None else a.astype(dtype) if a.dtype.kind == "f" else a
            for a in rows.fields
        ]
        self.rows = Batch(*(None if a is None else put(a) for a in self.host))
        self.config = TrainConfig(loss, optimizer, batch_size, seed=2**63 + 5, shuffle=shuffle)
        self.step = 0

    def epoch(self, *, composed: bool = False, rate: float = 0.01) -> LossSums:
        """Train one epoch, by the engine's own method or the one composed of its steps."""
        steps = self.config.steps(len(self.rows))
        rates = np.full(steps, rate)
        coefficients = self.config.optimizer.step_coefficients(self.step + 1, rates)
        train = Engine.train_epoch if composed else type(self.engine).train_epoch
        tally: LossSums = train(
            *(self.engine, self.rows, self.config, self.moments, coefficients),
            **{"epoch": self.step // steps, "step": self.step},
        )
        self.step += steps
        return tally

    def ahead(self, epochs: int, *, composed: bool = False, rate: float = 0.01) -> Trained:
        """Train epochs in one call, by the engine's own method or the composed one."""
        steps = self.config.steps(len(self.rows))
        optimizer = self.config.optimizer
        table = optimizer.step_coefficients(self.step + 1, np.full(epochs * steps, rate))
        table = table.reshape(epochs, steps, -1)
        place = self.step // steps, self.step
        self.step += epochs * steps
        train = Engine.train_epochs if composed else type(self.engine).train_epochs
        stretch = Stretch(self.rows, self.config, self.moments, table, *place, self.rows)
        trained: Trained = train(self.engine, stretch)
        return trained

    def results(self) -> list[Array]:
        """Return everything that training leaves behind."""
        arrays = self.parameters, self.moments, self.state, self.engine.predict(self.rows.x)
        return [np.array(self.back(a)) for a in arrays]
