"""Trains tiny networks by one kernel that takes thousands of steps in a launch.

A launch costs more than the arithmetic of such a step. So parameters, moments and activations stay
in one block's shared memory from step to step (``kernels/cuda/tiny.cu``), and a step costs a few
barriers. Results differ from those of the composed engine only in the order of sums.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fastnet.backends.epochs import LossSums, TrainConfig
from fastnet.backends.gpu.host_rows import HostRows
from fastnet.backends.gpu.step import GpuStep
from fastnet.kernels import abi
from fastnet.kernels.cuda import tiny
from fastnet.kernels.cuda.tiny import Tiny, TinyLayer
from fastnet.nn import activations
from fastnet.nn.batch import Array, Batch

FLOPS: Final = 4_000_000
"""Steps of more floating-point operations are faster on the whole GPU than on one block.

An estimate until it has been measured: 128 multiply-adds in each of 1.7e9 cycles a second, half of
the time, against 10 launches of a recorded step.
"""

LAUNCH_SECONDS: Final = 0.05
"""A launch takes at most about so long, since nothing else runs and Ctrl-C waits meanwhile."""

STEP_SECONDS: Final = 2e-5
BYTES_STATIC: Final = 1024
"""Shared memory that the compiler and the driver use."""


class TinyTraining:
    """Compiles and launches the tiny kernels of one engine, and measures their steps."""

    def __init__(self, gpu: GpuStep) -> None:
        self._gpu = gpu
        self._kernels: dict[Tiny, Callable[..., None]] = {}
        self._pace: dict[Tiny, float] = {}

    def kernel_for(self, rows: Batch, config: TrainConfig) -> Tiny | None:
        """Return what to compile for this run, or None where the network is not tiny."""
        gpu = self._gpu
        plan, runtime, loss = gpu.plan, gpu.runtime, config.loss
        batch = min(config.batch_size, len(rows))
        if any(op["kind"] != abi.DENSE for op in plan.ops) or plan.flops * batch > FLOPS:
            return None
        if isinstance(rows, HostRows):
            return None
        if runtime.cells != gpu.parameters.dtype:
            return None
        last = activations.BY_CODE[int(plan.ops[-1]["activation"])]
        found = Tiny(
            dtype=gpu.parameters.dtype.name,
            layers=tuple(map(_tiny_layer, plan.ops)),
            batch=batch,
            targets=0 if rows.target is None else int(rows.target.shape[1]),
            weighted=rows.weight is not None,
            loss=loss.code,
            optimizer=config.optimizer.code,
            fused=loss.fused_activation == last.name,
            n_moments=config.optimizer.n_moments,
            n_weights=plan.n_weights,
            clipped=config.optimizer.clip_norm is not None,
        )
        fits = found.shared_bytes + BYTES_STATIC <= runtime.shared_bytes
        return found if fits and found.held <= tiny.HELD else None

    def launcher(self, kernel: Tiny) -> Callable[..., None]:
        """Return the function that launches a kernel, which is compiled the first time."""
        if kernel not in self._kernels:
            text, shared_bytes = kernel.text(), kernel.shared_bytes
            self._kernels[kernel] = self._gpu.runtime.specialise(text, tiny.KERNEL, shared_bytes)
        return self._kernels[kernel]

    def train(
        self,
        kernel: Tiny,
        rows: Batch,
        order: Array | None,
        config: TrainConfig,
        moments: Array,
        steps: int,
    ) -> LossSums:
        """Take `steps` steps from the clock's step on."""
        gpu, memory = self._gpu, self._gpu.memory
        launch = self.launcher(kernel)
        arrays = gpu.parameters, moments, memory.tally, gpu.clock, *rows.fields, order
        constants, coefficients, _ = memory.step_numbers(config.optimizer)
        numbers = memory.rates, memory.loss_constants(config.loss), constants, coefficients
        guess = STEP_SECONDS + kernel.batch * gpu.plan.flops / 5e10
        length = max(1, int(LAUNCH_SECONDS / self._pace.get(kernel, guess)))
        began = time.perf_counter()
        for done in range(0, steps, length):
            count = min(length, steps - done)
            launch(kernel.threads, *arrays, *numbers, len(rows), count)
        tally = gpu.read_tally(looks=True)
        if steps >= 64:  # With fewer, the launch itself takes much of the time.
            self._pace[kernel] = (time.perf_counter() - began) / steps
        return tally


def _tiny_layer(op: NDArray[np.void]) -> TinyLayer:
    fields = "inputs", "outputs", "activation", "weight", "bias"
    inputs, outputs, activation, weight, bias = (int(op[f]) for f in fields)
    return TinyLayer(inputs, outputs, activation, weight, bias, bool(op["z"] != op["y"]))
