"""JAX: a whole epoch in one ``jit``, its steps in ``lax.scan``, the buffers donated."""

from __future__ import annotations

from functools import partial
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fastnet.benchmarks.contenders import Contender
from fastnet.benchmarks.problems import LEARNING_RATE, Floats, Problem

SMALL: Final = 100_000
"""FLOP of a step below which the loop itself shows."""

EPSILON: Final = 1e-5
MOMENTUM: Final = 0.1
"""Those of fastnet's normalisation, and of PyTorch's."""


class JaxScan(Contender):
    """The fastest form for small networks: Python is left once an epoch."""

    def __init__(self, problem: Problem, threads: int | None) -> None:
        import jax
        import jax.numpy as jnp

        rung, dtype = problem.rung, problem.x.dtype
        if rung.dtype == "float64":
            jax.config.update("jax_enable_x64", True)
        between = _activation(rung.activation)

        def normalised(x: Any, statistics: Any, training: bool) -> tuple[Any, Any]:
            """Return x over its deviation, and the running statistics."""
            if rung.norm == "layer" or training:
                axis = 1 if rung.norm == "layer" else 0
                mean, var = x.mean(axis, keepdims=True), x.var(axis, keepdims=True)
            else:
                mean, var = statistics
            y = (x - mean) / jnp.sqrt(var + EPSILON)
            if rung.norm == "batch" and training:
                unbiased = var * (len(x) / max(len(x) - 1, 1))
                now = zip(statistics, (mean, unbiased), strict=True)
                statistics = tuple((1 - MOMENTUM) * old + MOMENTUM * new for old, new in now)
            return y, statistics

        def outputs(parameters: Any, state: Any, x: Any, training: bool) -> tuple[Any, Any]:
            """Return the outputs before softmax, and the running statistics."""
            moved = []
            for index, (w, b, *factors) in enumerate(parameters):
                x = x @ w + b
                if factors:
                    x, statistics = normalised(x, state[index], training)
                    x = x * factors[0] + factors[1]
                    moved.append(statistics)
                if index < len(parameters) - 1:
                    x = between(x)
            return x, moved

        def cross_entropy(z: Any, labels: Any) -> Any:
            return -jnp.take_along_axis(jax.nn.log_softmax(z), labels[:, None], 1).mean()

        def mse(y: Any, targets: Any) -> Any:
            return ((y - targets) ** 2).mean()

        classifies = problem.rung.loss == "cross_entropy"
        criterion = cross_entropy if classifies else mse

        def loss_of(parameters: Any, state: Any, x: Any, targets: Any) -> tuple[Any, Any]:
            y, moved = outputs(parameters, state, x, training=True)
            return criterion(y, targets), moved

        def train_step(carry: Any, x: Any, targets: Any) -> Any:
            parameters, state, m, v, t = carry
            slopes = jax.value_and_grad(loss_of, has_aux=True)
            (loss, state), g = slopes(parameters, state, x, targets)
            t += 1
            each = jax.tree_util.tree_map
            m = each(lambda m, g: 0.9 * m + 0.1 * g, m, g)
            v = each(lambda v, g: 0.999 * v + 0.001 * g * g, v, g)
            rate, scale = LEARNING_RATE / (1 - 0.9**t), 1 / jnp.sqrt(1 - 0.999**t)
            parameters = each(
                lambda p, m, v: p - rate * m / (jnp.sqrt(v) * scale + 1e-8), parameters, m, v
            )
            return (parameters, state, m, v, t), loss

        # Several steps in a turn of the loop: a tenth faster where a step is next to nothing.
        unroll = 4 if problem.flops < SMALL else 1

        def epoch(carry: Any, order: Any, x: Any, targets: Any) -> Any:
            carry, losses = jax.lax.scan(
                lambda carry, index: train_step(carry, x[index], targets[index]),
                carry,
                order,
                unroll=unroll,
            )
            return carry, losses.mean()

        self.data = jnp.asarray(problem.x), jnp.asarray(problem.targets)
        last = len(problem.weights) - 1
        self.parameters, self.state = [], []
        for index, (w, b) in enumerate(zip(problem.weights, problem.biases, strict=True)):
            normal = rung.norm and index < last
            factors = [jnp.ones(b.shape, dtype), jnp.zeros(b.shape, dtype)] if normal else []
            self.parameters.append([jnp.array(w), jnp.array(b), *factors])
            if normal:
                batch = jnp.zeros((1, len(b)), dtype), jnp.ones((1, len(b)), dtype)
                self.state.append(batch if rung.norm == "batch" else ())
        each = jax.tree_util.tree_map
        start, state = each(jnp.copy, self.parameters), each(jnp.copy, self.state)
        zeros = [each(jnp.zeros_like, self.parameters) for _ in range(2)]
        self.carry = start, state, *zeros, jnp.asarray(0, dtype)
        self.orders = [
            jnp.asarray(order.reshape(-1, problem.batch).astype(np.int32))
            for order in problem.orders
        ]
        # Compiled here and now, outside any measurement.
        jitted = jax.jit(epoch, donate_argnums=0)
        self.run_epoch = jitted.lower(self.carry, self.orders[0], *self.data).compile()

        def forward(parameters: Any, state: Any, x: Any) -> Any:
            y, _ = outputs(parameters, state, x, training=False)
            return jax.nn.softmax(y) if classifies else y

        self.run_forward = jax.jit(forward)
        self.epoch = 0

    def train_epoch(self) -> float:
        order = self.orders[self.epoch % len(self.orders)]
        self.epoch += 1
        self.carry, loss = self.run_epoch(self.carry, order, *self.data)
        self.parameters, self.state = self.carry[:2]
        return float(loss)

    def predict(self, x: Floats) -> NDArray[Any]:
        return np.asarray(self.run_forward(self.parameters, self.state, x))


def _activation(name: str) -> Any:
    """Return the function of that name; JAX's GELU is an approximation unless told."""
    import jax

    if name == "gelu":
        return partial(jax.nn.gelu, approximate=False)
    return getattr(jax.nn, name)
