"""JAX: a whole epoch in one ``jit``, its steps in ``lax.scan``, the buffers donated."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fastnet.benchmarks.contenders import Contender
from fastnet.benchmarks.problems import LEARNING_RATE, Floats, Problem

SMALL: Final = 100_000
"""FLOP of a step below which the loop itself shows."""


class JaxScan(Contender):
    """The fastest form for small networks: Python is left once an epoch."""

    def __init__(self, problem: Problem, threads: int | None) -> None:
        import jax
        import jax.numpy as jnp

        activation = jnp.tanh if problem.rung.activation == "tanh" else jax.nn.relu

        def logits(parameters: Any, x: Any) -> Any:
            for w, b in parameters[:-1]:
                x = activation(x @ w + b)
            w, b = parameters[-1]
            return x @ w + b

        def cross_entropy(parameters: Any, x: Any, labels: Any) -> Any:
            log_y = jax.nn.log_softmax(logits(parameters, x))
            return -jnp.take_along_axis(log_y, labels[:, None], 1).mean()

        def mse(parameters: Any, x: Any, targets: Any) -> Any:
            return ((logits(parameters, x) - targets) ** 2).mean()

        classifies = problem.rung.loss == "cross_entropy"
        loss_of = cross_entropy if classifies else mse

        def train_step(carry: Any, x: Any, targets: Any) -> Any:
            parameters, m, v, t = carry
            loss, g = jax.value_and_grad(loss_of)(parameters, x, targets)
            t += 1
            each = jax.tree_util.tree_map
            m = each(lambda m, g: 0.9 * m + 0.1 * g, m, g)
            v = each(lambda v, g: 0.999 * v + 0.001 * g * g, v, g)
            rate, scale = LEARNING_RATE / (1 - 0.9**t), 1 / jnp.sqrt(1 - 0.999**t)
            parameters = each(
                lambda p, m, v: p - rate * m / (jnp.sqrt(v) * scale + 1e-8), parameters, m, v
            )
            return (parameters, m, v, t), loss

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
        self.parameters = [
            (jnp.array(w), jnp.array(b))
            for w, b in zip(problem.weights, problem.biases, strict=True)
        ]
        zeros = jax.tree_util.tree_map(jnp.zeros_like, self.parameters)
        start = jax.tree_util.tree_map(jnp.copy, self.parameters)
        self.carry = start, zeros, jax.tree_util.tree_map(jnp.zeros_like, zeros), jnp.float32(0)
        self.orders = [
            jnp.asarray(order.reshape(-1, problem.batch).astype(np.int32))
            for order in problem.orders
        ]
        # Compiled here and now, outside any measurement.
        jitted = jax.jit(epoch, donate_argnums=0)
        self.run_epoch = jitted.lower(self.carry, self.orders[0], *self.data).compile()
        probabilities = jax.jit(lambda parameters, x: jax.nn.softmax(logits(parameters, x)))
        self.run_forward = probabilities if classifies else jax.jit(logits)
        self.epoch = 0

    def train_epoch(self) -> float:
        order = self.orders[self.epoch % len(self.orders)]
        self.epoch += 1
        self.carry, loss = self.run_epoch(self.carry, order, *self.data)
        self.parameters = self.carry[0]
        return float(loss)

    def predict(self, x: Floats) -> NDArray[Any]:
        return np.asarray(self.run_forward(self.parameters, x))
