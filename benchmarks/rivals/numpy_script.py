"""The network as tutorials write it by hand in NumPy: clear, one array for every step."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnet.benchmarks.contenders import Contender
from fastnet.benchmarks.problems import LEARNING_RATE, Floats, Problem

Array = NDArray[Any]


class NumpyScript(Contender):
    """Forward, backward and Adam in some forty lines; B rows, I inputs, O outputs."""

    def __init__(self, problem: Problem, threads: int | None) -> None:
        self.tanh = problem.rung.activation == "tanh"
        self.classifies = problem.rung.loss == "cross_entropy"
        self.weights = [w.copy() for w in problem.weights]
        self.biases = [b.copy() for b in problem.biases]
        self.parameters = self.weights + self.biases
        self.m = [np.zeros_like(p) for p in self.parameters]
        self.v = [np.zeros_like(p) for p in self.parameters]
        self.x, self.targets, self.orders = problem.x, problem.targets, problem.orders
        self.batch = problem.batch
        self.step = self.epoch = 0

    def forward(self, x: Array) -> list[Array]:
        """Return the inputs and every layer's output; the last is the answer."""
        outputs = [x]
        for w, b in zip(self.weights, self.biases, strict=True):
            z = outputs[-1] @ w + b
            if w is self.weights[-1] and not self.classifies:
                outputs.append(z)
            elif w is self.weights[-1]:
                e = np.exp(z - z.max(axis=1, keepdims=True))
                outputs.append(e / e.sum(axis=1, keepdims=True))
            else:
                outputs.append(np.tanh(z) if self.tanh else np.maximum(z, 0))
        return outputs

    def loss(self, y: Array, targets: Array) -> tuple[float, Array]:
        """Return the mean loss, and its gradient before the last activation."""
        if not self.classifies:
            difference = y - targets
            return float((difference**2).mean()), difference * (2 / y.size)
        rows, dz = np.arange(len(y)), y.copy()
        dz[rows, targets] -= 1
        dz /= len(y)
        return float(-np.log(y[rows, targets]).mean()), dz

    def train_step(self, x: Array, targets: Array) -> float:
        """Take a step; return the loss before it."""
        outputs = self.forward(x)
        loss, dz = self.loss(outputs[-1], targets)
        dw: list[Array] = []
        db: list[Array] = []
        for index in range(len(self.weights) - 1, -1, -1):
            y = outputs[index]
            dw.insert(0, y.T @ dz)
            db.insert(0, dz.sum(axis=0))
            if index:
                dz = dz @ self.weights[index].T * (1 - y**2 if self.tanh else y > 0)
        self.update(dw + db)
        return loss

    def update(self, gradients: list[Array]) -> None:
        """Move the parameters by Adam."""
        self.step += 1
        correction1, correction2 = 1 - 0.9**self.step, 1 - 0.999**self.step
        for p, g, m, v in zip(self.parameters, gradients, self.m, self.v, strict=True):
            m *= 0.9
            m += 0.1 * g
            v *= 0.999
            v += 0.001 * g * g
            p -= LEARNING_RATE * (m / correction1) / (np.sqrt(v / correction2) + 1e-8)

    def train_epoch(self) -> float:
        order = self.orders[self.epoch % len(self.orders)]
        self.epoch += 1
        batches = np.split(order, len(order) // self.batch)
        return float(np.mean([self.train_step(self.x[i], self.targets[i]) for i in batches]))

    def predict(self, x: Floats) -> Array:
        return self.forward(x)[-1]
