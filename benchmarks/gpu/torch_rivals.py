"""PyTorch on a GPU in its three forms: eager, compiled, and a whole step in one CUDA graph.

Each has the fused Adam; data, labels and the epoch's order lie on the device, as fastnet's do.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnet.benchmarks.contenders import Contender
from fastnet.benchmarks.problems import LEARNING_RATE, ORDERS, Floats, Problem


class TorchGpu(Contender):
    """One of the forms.

    Parameters
    ----------
    mode : {"eager", "compile", "graph"}
    precision : {"float32", "tf32", "bf16"}
        bf16 is autocast.
    device : str
        "cpu" is for tests: there is no graph.
    """

    def __init__(
        self,
        problem: Problem,
        threads: int | None = None,
        *,
        mode: str = "eager",
        precision: str = "float32",
        device: str = "cuda",
    ) -> None:
        import torch

        self.torch, self.device, self.precision = torch, device, precision
        torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
        activation = torch.nn.Tanh if problem.rung.activation == "tanh" else torch.nn.ReLU
        modules: list[Any] = []
        for w, b in zip(problem.weights, problem.biases, strict=True):
            layer = torch.nn.Linear(*w.shape, device=device)
            with torch.no_grad():
                layer.weight.copy_(torch.tensor(w.T))
                layer.bias.copy_(torch.tensor(b))
            modules += [layer, activation()]
        self.model = torch.nn.Sequential(*modules[:-1])
        self.optimizer = torch.optim.Adam(
            self.model.parameters(), lr=LEARNING_RATE, fused=True, capturable=mode == "graph"
        )
        self.x = torch.tensor(problem.x, device=device)
        self.labels = torch.tensor(problem.targets, device=device)
        self.orders = [torch.tensor(order, device=device) for order in problem.orders]
        self.batch, self.steps, self.epoch = problem.batch, problem.steps, 0
        self.total = torch.zeros((), device=device)
        self.loss_of = self._loss
        if mode == "compile":
            self.loss_of = torch.compile(self._loss, mode="reduce-overhead")
        self.graph: Any = None
        if mode == "graph":
            self._capture()

    def _cast(self) -> AbstractContextManager[Any]:
        if self.precision != "bf16":
            return nullcontext()
        cast: AbstractContextManager[Any] = self.torch.autocast(self.device, self.torch.bfloat16)
        return cast

    def _loss(self, x: Any, labels: Any) -> Any:
        with self._cast():
            return self.torch.nn.functional.cross_entropy(self.model(x), labels)

    def _step(self, index: Any) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.loss_of(self.x[index], self.labels[index])
        loss.backward()
        self.optimizer.step()
        self.total += loss.detach()

    def _capture(self) -> None:
        """Record a step that finds its batch by a counter on the device, then undo the warm-up."""
        torch = self.torch
        self.order = self.orders[0].clone()
        self.start = torch.zeros((), dtype=torch.int64, device=self.device)
        rows = torch.arange(self.batch, device=self.device)
        saved = [p.detach().clone() for p in self.model.parameters()]

        def step() -> None:
            self._step(self.order[self.start + rows])
            self.start += self.batch

        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                step()
                self.start.zero_()
        torch.cuda.current_stream().wait_stream(stream)
        self.graph = torch.cuda.CUDAGraph()
        self.optimizer.zero_grad(set_to_none=True)
        with torch.cuda.graph(self.graph):
            step()
        with torch.no_grad():
            for p, values in zip(self.model.parameters(), saved, strict=True):
                p.copy_(values)
            for state in self.optimizer.state.values():
                for value in state.values():
                    value.zero_()

    def train_epoch(self) -> float:
        order = self.orders[self.epoch % ORDERS]
        self.epoch += 1
        self.total.zero_()
        if self.graph is None:
            for index in order.split(self.batch):
                self._step(index)
        else:
            self.order.copy_(order)
            self.start.zero_()
            for _ in range(self.steps):
                self.graph.replay()
        return float(self.total) / self.steps

    def predict(self, x: Floats) -> NDArray[Any]:
        with self.torch.inference_mode(), self._cast():
            outputs = self.model(self.torch.tensor(x, device=self.device))
            return np.asarray(outputs.float().softmax(1).cpu())
