"""PyTorch, eager: ``Sequential``, the loss as a function and the fused Adam."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnet.benchmarks.contenders import Contender
from fastnet.benchmarks.problems import LEARNING_RATE, Floats, Problem


def sequential(weights: Sequence[Floats], biases: Sequence[Floats], activation: str) -> Any:
    """Return ``Linear`` layers with these weights (I, O), and the activation between them."""
    import torch

    between = torch.nn.Tanh if activation == "tanh" else torch.nn.ReLU
    modules: list[Any] = []
    for w, b in zip(weights, biases, strict=True):
        layer = torch.nn.Linear(*w.shape)
        with torch.no_grad():
            layer.weight.copy_(torch.tensor(w.T))
            layer.bias.copy_(torch.tensor(b))
        modules += [layer, between()]
    return torch.nn.Sequential(*modules[:-1])


class PyTorch(Contender):
    """The usual training loop, with the epoch's order as a tensor and no ``DataLoader``."""

    def __init__(self, problem: Problem, threads: int | None) -> None:
        import torch

        self.torch = torch
        if threads is not None:
            torch.set_num_threads(threads)
        self.threads_used = torch.get_num_threads()
        self.model = sequential(problem.weights, problem.biases, problem.rung.activation)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=LEARNING_RATE, fused=True)
        self.x, self.targets = torch.tensor(problem.x), torch.tensor(problem.targets)
        self.orders = [torch.tensor(order).split(problem.batch) for order in problem.orders]
        self.classifies = problem.rung.loss == "cross_entropy"
        self.epoch = 0

    def train_epoch(self) -> float:
        functions = self.torch.nn.functional
        loss_of = functions.cross_entropy if self.classifies else functions.mse_loss
        batches = self.orders[self.epoch % len(self.orders)]
        self.epoch += 1
        total = self.torch.zeros(())
        for index in batches:
            self.optimizer.zero_grad(set_to_none=True)
            loss = loss_of(self.model(self.x[index]), self.targets[index])
            loss.backward()
            self.optimizer.step()
            total += loss.detach()
        return float(total) / len(batches)

    def predict(self, x: Floats) -> NDArray[Any]:
        with self.torch.inference_mode():
            y = self.model(self.torch.from_numpy(x))
            return np.asarray(y.softmax(1) if self.classifies else y)
