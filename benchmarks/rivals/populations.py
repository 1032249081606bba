"""Populations in JAX and PyTorch: the forms that their users would take for speed.

Members are networks of the same layers on the same rows. Each has its own weights, and its own
order of the rows, which is computed outside the measurement. Losses are cross-entropy; Adam is that
of `fastnet.Adam`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

import fastnet as fn
from fastnet.benchmarks.contenders import missing
from fastnet.benchmarks.problems import LEARNING_RATE
from fastnet.benchmarks.rivals.pytorch import sequential
from fastnet.nn import random

ORDERS: Final = 2
"""Rivals go round the orders of so many epochs."""

ALONE: Final = 8
"""So many members are trained where they are trained one by one: all take the same time."""

Train = Callable[[], float]
"""Trains members anew from their first weights; returns the mean loss of the last epoch."""


@dataclass(frozen=True, eq=False)
class Population:
    """What the rivals are given.

    Attributes
    ----------
    networks : sequence of Network
        With the initial weights; dense layers with one activation, and softmax.
    x : (N, I) float32
    labels : (N,) int64
    batch, epochs : int
        The batch divides the number of rows.
    """

    networks: Sequence[fn.Network]
    x: NDArray[Any]
    labels: NDArray[Any]
    batch: int
    epochs: int
    activation: str

    def first(self, count: int) -> Population:
        """Return the first members alone."""
        return replace(self, networks=self.networks[:count])

    def stacked(self) -> list[tuple[NDArray[Any], NDArray[Any]]]:
        """Return the weights (K, I, O) and biases (K, O) of each layer."""
        layers = range(len(self.networks[0].weights))
        return [
            (
                np.stack([net.weights[k] for net in self.networks]),
                np.stack([net.biases[k] for net in self.networks]),
            )
            for k in layers
        ]

    def orders(self) -> list[NDArray[np.int64]]:
        """Return the rows (steps, K, B) of each step of some epochs."""
        count = len(self.x)
        return [
            np.stack(
                [random.permutation(count, seed=net.seed, epoch=epoch) for net in self.networks]
            )
            .reshape(len(self.networks), -1, self.batch)
            .transpose(1, 0, 2)
            for epoch in range(ORDERS)
        ]


def installed(population: Population) -> dict[str, tuple[Train, int]]:
    """Return the rivals that can run here, and how many members each of them trains, by name."""
    found: dict[str, tuple[Train, int]] = {}
    count = len(population.networks)
    if not missing(["jax"]):
        found["JAX, vmap in a scan"] = jax_vmap(population), count
    if not missing(["torch"]):
        alone = population.first(ALONE)
        found["PyTorch, stacked"] = pytorch_stacked(population), count
        found["PyTorch, one by one"] = pytorch_one_by_one(alone), len(alone.networks)
    return found


def jax_vmap(population: Population) -> Train:
    """Return one ``jit`` for an epoch: ``vmap`` over members within ``lax.scan`` over steps."""
    import jax
    import jax.numpy as jnp

    activation = jnp.tanh if population.activation == "tanh" else jax.nn.relu
    each = jax.tree_util.tree_map

    def loss_of(parameters: Any, x: Any, labels: Any) -> Any:
        for w, b in parameters[:-1]:
            x = activation(x @ w + b)
        w, b = parameters[-1]
        log_y = jax.nn.log_softmax(x @ w + b)
        return -jnp.take_along_axis(log_y, labels[:, None], 1).mean()

    gradients = jax.vmap(jax.value_and_grad(loss_of))

    def epoch(carry: Any, order: Any, x: Any, labels: Any) -> Any:
        def step(carry: Any, index: Any) -> Any:
            parameters, m, v, t = carry
            losses, g = gradients(parameters, x[index], labels[index])
            t += 1
            m = each(lambda m, g: 0.9 * m + 0.1 * g, m, g)
            v = each(lambda v, g: 0.999 * v + 0.001 * g * g, v, g)
            rate, scale = LEARNING_RATE / (1 - 0.9**t), 1 / jnp.sqrt(1 - 0.999**t)
            parameters = each(
                lambda p, m, v: p - rate * m / (jnp.sqrt(v) * scale + 1e-8), parameters, m, v
            )
            return (parameters, m, v, t), losses.mean()

        carry, losses = jax.lax.scan(step, carry, order)
        return carry, losses.mean()

    data = jnp.asarray(population.x), jnp.asarray(population.labels)
    orders = [jnp.asarray(order.astype(np.int32)) for order in population.orders()]
    first = [(jnp.asarray(w), jnp.asarray(b)) for w, b in population.stacked()]

    def begin() -> Any:
        zeros = [each(jnp.zeros_like, first) for _ in range(2)]
        return (each(jnp.copy, first), *zeros, jnp.float32(0))

    compiled = jax.jit(epoch, donate_argnums=0).lower(begin(), orders[0], *data).compile()

    def train() -> float:
        carry, loss = begin(), None
        for number in range(population.epochs):
            carry, loss = compiled(carry, orders[number % ORDERS], *data)
        return float(loss)  # type: ignore[arg-type]

    return train


def pytorch_stacked(population: Population) -> Train:
    """Return a loop with a tensor for each layer of all members, and the fused Adam."""
    import torch

    activation = torch.tanh if population.activation == "tanh" else torch.relu
    x, labels = torch.tensor(population.x), torch.tensor(population.labels)
    orders = [torch.tensor(order) for order in population.orders()]
    first = [(torch.tensor(w), torch.tensor(b[:, None])) for w, b in population.stacked()]
    count = len(population.networks)

    def train() -> float:
        layers = [tuple(a.clone().requires_grad_() for a in layer) for layer in first]
        tensors = [tensor for layer in layers for tensor in layer]
        optimizer = torch.optim.Adam(tensors, lr=LEARNING_RATE, fused=True)
        total = torch.zeros(())
        for number in range(population.epochs):
            total = torch.zeros(())
            for index in orders[number % ORDERS]:
                h = x[index]
                for w, b in layers[:-1]:
                    h = activation(torch.baddbmm(b, h, w))
                w, b = layers[-1]
                z = torch.baddbmm(b, h, w)
                loss = torch.nn.functional.cross_entropy(z.flatten(0, 1), labels[index].flatten())
                optimizer.zero_grad(set_to_none=True)
                (loss * count).backward()  # each member has the gradient of its own mean
                optimizer.step()
                total += loss.detach()
        return float(total) / len(orders[0])

    return train


def pytorch_one_by_one(population: Population) -> Train:
    """Return the usual loop with ``Linear`` layers, one member after the other."""
    import torch

    x, labels = torch.tensor(population.x), torch.tensor(population.labels)
    orders = [torch.tensor(order) for order in population.orders()]

    def one(number: int) -> float:
        net = population.networks[number]
        model = sequential(net.weights, net.biases, population.activation)
        optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE, fused=True)
        total = torch.zeros(())
        for epoch in range(population.epochs):
            total = torch.zeros(())
            for index in orders[epoch % ORDERS][:, number]:
                optimizer.zero_grad(set_to_none=True)
                loss = torch.nn.functional.cross_entropy(model(x[index]), labels[index])
                loss.backward()
                optimizer.step()
                total += loss.detach()
        return float(total) / len(orders[0])

    members = range(len(population.networks))
    return lambda: sum(map(one, members)) / len(members)
