"""CuPy arrays, and nvmath-python for the products: what a user of both writes without a framework.

Each product is planned once, with the epilogue that saves a kernel, and tuned by nvmath's own
``autotune``. All that is not a product is CuPy. Matrices lie as in fastnet: batches and weights by
rows, so that nvmath, whose epilogues want columns, is given everything transposed.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fastnet.benchmarks.contenders import Contender
from fastnet.benchmarks.problems import LEARNING_RATE, ORDERS, Floats, Problem

WORKSPACE: Final = "32 MiB"
"""As fastnet's."""

ADAM: Final = """
    m += T(0.1) * (g - m);
    v += T(0.001) * (g * g - v);
    p -= rate * m / (sqrt(v) * scale + T(1e-8))
"""


class NvmathGpu(Contender):
    """An epoch step by step, with one wait at its end.

    Parameters
    ----------
    precision : {"float32", "tf32"}
    """

    def __init__(
        self, problem: Problem, threads: int | None = None, *, precision: str = "float32"
    ) -> None:
        cupy = self.cupy = import_module("cupy")
        advanced = import_module("nvmath.linalg.advanced")
        computes, kinds = advanced.MatmulComputeType, advanced.MatmulEpilog
        compute = computes.COMPUTE_32F
        if precision == "tf32":
            compute = computes.COMPUTE_32F_FAST_TF32
        self.tanh = problem.rung.activation == "tanh"
        self.weights = [cupy.asarray(w) for w in problem.weights]
        self.biases = [cupy.asarray(b) for b in problem.biases]
        self.moments = [
            (p, cupy.zeros_like(p), cupy.zeros_like(p)) for p in (*self.weights, *self.biases)
        ]
        self.x, self.labels = cupy.asarray(problem.x), cupy.asarray(problem.targets)
        self.orders = [cupy.asarray(order) for order in problem.orders]
        self.batch, self.steps = problem.batch, problem.steps
        self.epoch = self.step = 0
        self.rows = cupy.arange(self.batch)
        self.batch_x = cupy.empty((self.batch, self.x.shape[1]), cupy.float32)

        def product(kind: str | None) -> _Product:
            epilog = None if kind is None else getattr(kinds, kind)
            return _Product(advanced.Matmul, compute, epilog)

        hidden = len(self.weights) - 1
        activated = "BIAS" if self.tanh else "RELU_AUX_BIAS"
        self.forward = [product(activated if n < hidden else "BIAS") for n in range(hidden + 1)]
        # ReLU's derivative comes with the sums for the biases; else the weights' product has them.
        masked = not self.tanh
        self.backward = [product("DRELU_BGRAD" if masked else None) for _ in range(hidden)]
        self.gradient = [
            product(None if masked and n < hidden else "BGRADA") for n in range(hidden + 1)
        ]
        names = "T g, float32 rate, float32 scale", "T p, T m, T v"
        self.adam = cupy.ElementwiseKernel(*names, ADAM, "adam")

    def train_epoch(self) -> float:
        cupy, total = self.cupy, self.cupy.zeros((), self.cupy.float32)
        order = self.orders[self.epoch % ORDERS]
        self.epoch += 1
        for start in range(0, self.steps * self.batch, self.batch):
            index = order[start : start + self.batch]
            cupy.take(self.x, index, axis=0, out=self.batch_x)
            total += self._step(cupy.take(self.labels, index))
        return float(total) / self.steps

    def _step(self, labels: Any) -> Any:
        """Take a step on `batch_x`; return its mean loss, which lies on the device."""
        cupy, last = self.cupy, len(self.weights) - 1
        outputs, masks = [self.batch_x], []
        for n, (w, b) in enumerate(zip(self.weights, self.biases, strict=True)):
            y, extra = self.forward[n](w.T, outputs[-1].T, bias=b)
            if n < last and self.tanh:
                cupy.tanh(y.T, out=y.T)
            outputs.append(y.T)
            masks.append(extra)
        z = outputs[-1]
        z -= z.max(axis=1, keepdims=True)
        log_y = z - cupy.log(cupy.exp(z).sum(axis=1, keepdims=True))
        loss = -log_y[self.rows, labels].mean()
        dz = cupy.exp(log_y)
        dz[self.rows, labels] -= 1
        dz /= self.batch
        gradients: list[Any] = [None] * (2 * last + 2)
        sums = None
        for n in range(last, -1, -1):
            x = outputs[n]
            dw, extra = self.gradient[n](dz.T, x)
            gradients[n] = dw.T
            gradients[last + 1 + n] = extra.get("bgrada", sums)
            if n and self.tanh:
                # Without an epilogue the result lies as the first factor does: here, by rows.
                dx, _ = self.backward[n - 1](dz, self.weights[n].T)
                dz = dx * (1 - x * x)
            elif n:
                dx, extra = self.backward[n - 1](self.weights[n], dz.T, **masks[n - 1])
                dz, sums = dx.T, extra["drelu_bgrad"]
        self._update(gradients)
        return loss

    def _update(self, gradients: list[Any]) -> None:
        self.step += 1
        rate = np.float32(LEARNING_RATE / (1 - 0.9**self.step))
        scale = np.float32(1 / (1 - 0.999**self.step) ** 0.5)
        for gradient, (p, m, v) in zip(gradients, self.moments, strict=True):
            self.adam(gradient, rate, scale, p, m, v)

    def predict(self, x: Floats) -> NDArray[Any]:
        cupy = self.cupy
        y = cupy.asarray(x)
        for n, (w, b) in enumerate(zip(self.weights, self.biases, strict=True)):
            y = y @ w + b
            if n < len(self.weights) - 1:
                y = cupy.tanh(y) if self.tanh else cupy.maximum(y, 0)
        y = cupy.exp(y - y.max(axis=1, keepdims=True))
        return np.asarray(cupy.asnumpy(y / y.sum(axis=1, keepdims=True)))


class _Product:
    """A product that is planned and tuned for its first operands, and given others after them."""

    def __init__(self, make: Any, compute: Any, epilog: Any) -> None:
        self._make, self._compute, self._epilog = make, compute, epilog
        self._planned: Any = None
        self._reset: Any = None

    def __call__(self, a: Any, b: Any, **inputs: Any) -> tuple[Any, dict[str, Any]]:
        """Return a @ b with the epilogue, and what the epilogue gives besides."""
        if self._planned is None:
            options = {"compute_type": self._compute, "memory_limit": WORKSPACE}
            self._planned = self._make(a, b, options=options)
            self._planned.plan(epilog=self._epilog, epilog_inputs=inputs or None)
            self._planned.autotune(iterations=3)
            # From version 1.0 on there is a form that leaves out checks.
            reset = self._planned.reset_operands
            self._reset = getattr(self._planned, "reset_operands_unchecked", reset)
        else:
            self._reset(a=a, b=b, epilog_inputs=inputs or None)
        found = self._planned.execute()
        return found if isinstance(found, tuple) else (found, {})
