"""Chooses and compiles the kernel that trains a tiny network by itself.

A launch costs more than the arithmetic of such a step. So parameters, moments and activations stay
in one block's shared memory from step to step (``kernels/cuda/tiny.cu``), and a step costs a few
barriers. Results differ from those of the composed engine only in the order of sums.

Which networks are tiny depends on nothing that changes from call to call, such as the number of
epochs: the bits of a training run would depend on it too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fastnet.backends.epochs import TrainConfig
from fastnet.backends.gpu.host_rows import HostRows
from fastnet.backends.gpu.step import GpuStep
from fastnet.kernels import abi
from fastnet.kernels.cuda import tiny
from fastnet.kernels.cuda.tiny import Tiny, TinyLayer
from fastnet.nn import activations
from fastnet.nn.batch import Batch
from fastnet.nn.losses import Loss
from fastnet.nn.optimizers import Optimizer

FLOPS: Final = 4_000_000
"""Steps of more floating-point operations are faster on the whole GPU than on one block.

An estimate until it has been measured: 128 multiply-adds in each of 1.7e9 cycles a second, half of
the time, against 10 launches of a recorded step.
"""

MOST_LAYERS: Final = 8
"""Deeper networks are compiled for longer than most of them train.

NVRTC took 0.6 s for 2 layers, 2.7 s for 4 layers of 64 units, and 8.6 s for 13 layers (one core of
an Intel Xeon). A single step that is asked for alone (`TrainConfig.once`) never pays for that.
"""

LAUNCH_SECONDS: Final = 0.05
"""A launch takes at most about so long, since nothing else runs meanwhile."""

STEP_SECONDS: Final = 2e-5
FLOPS_A_SECOND: Final = 5e10
"""A step takes at most about so long, and so much longer for its operations."""

BYTES_STATIC: Final = 1024
"""Shared memory that the compiler and the driver use."""

_BLOCKS: Final = 16
_THREADS: Final = 1024
"""Every GPU can have so many blocks and threads on a multiprocessor at a time; some have twice."""


class TinyKernels:
    """The kernels of one engine's network, by what they are compiled for."""

    def __init__(self, gpu: GpuStep) -> None:
        self._gpu = gpu
        self._launchers: dict[Tiny, Callable[..., None]] = {}

    def kernel_for(self, rows: Batch, config: TrainConfig) -> Tiny | None:
        """Return what to compile for this run, or None where the network is not tiny."""
        if isinstance(rows, HostRows) or config.once:
            return None
        targets = 0 if rows.target is None else int(rows.target.shape[1])
        batch, weighted = min(config.batch_size, len(rows)), rows.weight is not None
        return self._fitting(batch, targets, weighted, config.loss, config.optimizer)

    def blocks_for(self, batch: int, optimizer: Optimizer | None = None) -> int:
        """Return how many such networks a GPU trains at the same time; 0: they are not tiny.

        Targets and weights are assumed to be there, and without an optimizer two moments.
        """
        kernel = self._fitting(batch, self._gpu.plan.outputs, True, None, optimizer)
        if kernel is None:
            return 0
        room = self._gpu.runtime.shared_bytes // (kernel.shared_bytes + BYTES_STATIC)
        return self._gpu.runtime.processors * min(room, _BLOCKS, _THREADS // kernel.threads)

    def _fitting(
        self,
        batch: int,
        targets: int,
        weighted: bool,
        loss: Loss | None,
        optimizer: Optimizer | None,
    ) -> Tiny | None:
        gpu = self._gpu
        plan, runtime = gpu.plan, gpu.runtime
        if any(op["kind"] != abi.DENSE for op in plan.ops) or plan.flops * batch > FLOPS:
            return None
        if runtime.cells != gpu.parameters.dtype or len(plan.ops) > MOST_LAYERS:
            return None
        last = activations.BY_CODE[int(plan.ops[-1]["activation"])]
        for capacity in tiny.capacities(batch):
            found = Tiny(
                dtype=gpu.parameters.dtype.name,
                layers=tuple(map(_tiny_layer, plan.ops)),
                batch=capacity,
                targets=targets,
                weighted=weighted,
                loss=abi.MSE if loss is None else loss.code,
                optimizer=abi.ADAM if optimizer is None else optimizer.code,
                fused=loss is not None and loss.fused_activation == last.name,
                n_moments=2 if optimizer is None else optimizer.n_moments,
                n_weights=plan.n_weights,
                clipped=optimizer is not None and optimizer.clip_norm is not None,
                elements=tiny.ELEMENTS,
            )
            fits = found.shared_bytes + BYTES_STATIC <= runtime.shared_bytes
            if fits and found.held <= tiny.HELD:
                return found
        return None

    def launcher(self, kernel: Tiny) -> Callable[..., None]:
        """Return the function that launches a kernel, which is compiled the first time."""
        if kernel not in self._launchers:
            text, shared_bytes = kernel.text(), kernel.shared_bytes
            self._launchers[kernel] = self._gpu.runtime.specialise(text, tiny.KERNEL, shared_bytes)
        return self._launchers[kernel]

    def steps_of_a_launch(self, batch: int) -> int:
        """Return how many steps on `batch` rows a launch takes at most."""
        seconds = STEP_SECONDS + batch * self._gpu.plan.flops / FLOPS_A_SECOND
        return max(1, int(LAUNCH_SECONDS / seconds))


def _tiny_layer(op: NDArray[np.void]) -> TinyLayer:
    fields = "inputs", "outputs", "activation", "weight", "bias"
    inputs, outputs, activation, weight, bias = (int(op[f]) for f in fields)
    return TinyLayer(inputs, outputs, activation, weight, bias, bool(op["z"] != op["y"]))
