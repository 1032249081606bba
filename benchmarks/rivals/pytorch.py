"""PyTorch, eager: ``Sequential``, the loss as a function and the fused Adam."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fastnet.benchmarks.contenders import Contender
from fastnet.benchmarks.problems import LEARNING_RATE, Floats, Problem

_ACTIVATIONS: Final = {
    "tanh": "Tanh",
    "relu": "ReLU",
    "gelu": "GELU",
    "mish": "Mish",
    "silu": "SiLU",
}
_NORMS: Final = {"batch": "BatchNorm1d", "layer": "LayerNorm"}


def sequential(
    weights: Sequence[Floats], biases: Sequence[Floats], activation: str, norm: str = ""
) -> Any:
    """Return ``Linear`` layers with these weights (I, O), and what is between them."""
    import torch

    between = getattr(torch.nn, _ACTIVATIONS[activation])
    modules: list[Any] = []
    for w, b in zip(weights, biases, strict=True):
        layer = torch.nn.Linear(*w.shape, dtype=torch.from_numpy(w.copy()).dtype)
        with torch.no_grad():
            layer.weight.copy_(torch.tensor(w.T))
            layer.bias.copy_(torch.tensor(b))
        if modules:
            modules.append(between())
        modules.append(layer)
        if norm and len(modules) < 3 * len(weights) - 2:
            modules.append(getattr(torch.nn, _NORMS[norm])(w.shape[1]))
    return torch.nn.Sequential(*modules)


class PyTorch(Contender):
    """The usual training loop, with the epoch's order as a tensor and no ``DataLoader``."""

    def __init__(self, problem: Problem, threads: int | None) -> None:
        import torch

        self.torch = torch
        if threads is not None:
            torch.set_num_threads(threads)
        self.threads_used = torch.get_num_threads()
        rung = problem.rung
        self.model = sequential(problem.weights, problem.biases, rung.activation, rung.norm)
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
        self.model.train()
        for index in batches:
            self.optimizer.zero_grad(set_to_none=True)
            loss = loss_of(self.model(self.x[index]), self.targets[index])
            loss.backward()
            self.optimizer.step()
            total += loss.detach()
        return float(total) / len(batches)

    def predict(self, x: Floats) -> NDArray[Any]:
        self.model.eval()
        with self.torch.inference_mode():
            y = self.model(self.torch.from_numpy(x))
            return np.asarray(y.softmax(1) if self.classifies else y)
