"""The engine of the GPU backend: implements `Engine` with the launches of `GpuStep`.

`GpuStep` says what a training step is, and `Epochs` makes an epoch of recorded steps. The engine
adds prediction and evaluation.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from fastnet.backends.engine import Engine, while_active
from fastnet.backends.epochs import LossSums, Member, Stretch, TrainConfig, Trained
from fastnet.backends.gpu.epoch import Epochs
from fastnet.backends.gpu.host_rows import HostRows, on_device
from fastnet.backends.gpu.members import TinyMembers
from fastnet.backends.gpu.runtime import Runtime
from fastnet.backends.gpu.step import GpuStep
from fastnet.backends.gpu.tiny import TinyKernels
from fastnet.kernels import abi
from fastnet.kernels.cuda.tiny import Tiny
from fastnet.nn.batch import Array, Batch
from fastnet.nn.losses import Loss
from fastnet.nn.optimizers import Optimizer
from fastnet.nn.plan import Plan

LEAST_ROWS: Final = 64
"""Blocks of rows are not made smaller."""


@while_active
class GpuEngine(Engine):
    """Computes forward, backward and update with CUDA kernels.

    After the workspace is reserved and a first epoch has run, training on the same data allocates
    nothing.
    """

    workspace_bytes: ClassVar[int] = 512 * 2**20

    def __init__(self, plan: Plan, parameters: Array, state: Array, runtime: Runtime) -> None:
        super().__init__(plan, parameters, state)
        self.runtime = runtime
        self.gpu = GpuStep(plan, parameters, state, runtime)
        self.memory = self.gpu.memory
        self.gradients = self.memory.gradients
        self.tally = self.memory.tally
        self._kernels = TinyKernels(self.gpu)
        self._members = TinyMembers(self.gpu, self._kernels)
        self._epochs = Epochs(self.gpu, self._members, self._kernels)

    def active(self) -> AbstractContextManager[Any]:
        return self.runtime.active()

    def reserve(self, rows: int) -> None:
        self.memory.reserve(rows)

    def empty(self, shape: tuple[int, ...]) -> Array:
        return self.runtime.empty(shape, self.parameters.dtype)

    # --- the steps of the contract, one by one ---------------------------------------------------

    def order(self, count: int, seed: int, epoch: int) -> Array:
        return self.gpu.order(count, seed, epoch)

    def gather(self, rows: Batch, order: Array | None, start: int, stop: int) -> Batch:
        if order is None:
            return rows.part(start, stop)
        batch = self.memory.window(stop - start, rows)
        self.gpu.gather_into(batch, rows, order, None, start)
        return batch

    def forward(self, x: Array, *, training: bool, seed: int = 0, step: int = 0) -> Array:
        if training:
            self.gpu.set_clock(step=step, seed=seed)
        self.gpu.refresh_shadow()
        y = self.gpu.forward(x, training)
        if y.dtype == self.parameters.dtype:
            return y
        numbers = self.memory.outputs[: len(x)]
        self.gpu.read(numbers, y)
        return numbers

    def evaluate_batch(self, batch: Batch, loss: Loss) -> None:
        self.gpu.loss_head(batch, loss, gradient=False)
        self.gpu.add_tally(batch)

    def backward(self, batch: Batch, loss: Loss) -> None:
        self.gpu.loss_head(batch, loss)
        self.gpu.add_tally(batch)
        self.gpu.backward(self.gpu.first_input(batch.x), logits=self.gpu.gives_logits(loss))

    def backward_from(self, x: Array, gradient: Array, *, logits: bool) -> None:
        self.gpu.write_gradient(gradient)
        self.gpu.backward(self.gpu.first_input(x), logits=logits)

    def update(self, optimizer: Optimizer, moments: Array, coefficients: NDArray[Any]) -> None:
        self.memory.upload_coefficients(np.reshape(coefficients, (1, abi.COEFFICIENTS)))
        self.gpu.update(optimizer, moments)

    def read_tally(self) -> LossSums:
        return self.gpu.read_tally()

    def begin_tally(self, sums: LossSums) -> None:
        self.runtime.upload(self.tally, np.array([sums.loss, sums.score, sums.weight, 0.0]))

    # --- larger pieces ---------------------------------------------------------------------------

    def prepare_for(self, rows: Batch, config: TrainConfig, held_out: Batch | None) -> None:
        """Compile kernels and choose algorithms for batches of `rows` and blocks of `held_out`.

        All memory is reserved before the first step is recorded, so that no evaluation moves it.
        """
        if held_out is not None:
            blocks = [*self.blocks(len(held_out))]
            self.gpu.refresh_shadow()
            # The kernel for small networks is there already.
            composed = [] if self._has_room(len(held_out)) else blocks
            for start, stop in dict.fromkeys(composed[:1] + composed[-1:]):
                block = on_device(held_out.part(start, stop), self.runtime)
                self.gpu.forward(block.x, training=False)
        self._epochs.warm_up(rows, config)

    def train_epoch(
        self,
        rows: Batch,
        config: TrainConfig,
        moments: Array,
        coefficients: NDArray[Any],
        *,
        epoch: int,
        step: int,
        first: int = 0,
    ) -> LossSums:
        """Train as the composed form does; the host waits only at the end.

        The host does not see when the loss stops being finite. The device sees it, and from the
        next batch on changes no parameter, moment, running statistic or sum. So these are the same
        as in the composed form, which stops there.
        """
        place = {"epoch": epoch, "step": step, "first": first}
        return self._epochs.train(rows, config, moments, coefficients, **place)

    def trains_ahead(self, batch: int, held_out: int = 0) -> bool:
        return self._kernels.blocks_for(batch) > 0 and self._has_room(held_out)

    def train_epochs(self, stretch: Stretch) -> Trained:
        kernel = self._kernel_for(stretch)
        if kernel is None:
            return super().train_epochs(stretch)
        return self._members.train(kernel, [Member(self.parameters, self.state, stretch)])[0]

    def lanes_for(self, batch: int, optimizer: Optimizer) -> int:
        return max(1, self._kernels.blocks_for(batch, optimizer))

    def train_members(self, members: Sequence[Member]) -> list[Trained]:
        kernel = self._kernel_for(members[0].stretch)
        if kernel is None:
            return super().train_members(members)
        results = list[Trained]()
        size = self._members.at_once(members[0].stretch, self.rows_of_a_block())
        for first in range(0, len(members), size):
            results += self._members.train(kernel, members[first : first + size])
        return results

    def _kernel_for(self, stretch: Stretch) -> Tiny | None:
        """Return the kernel for members like this, or None where they train step by step."""
        held_out = stretch.held_out
        fits = held_out is None or self._has_room(len(held_out))
        if not fits or isinstance(held_out, HostRows):
            return None
        return self._kernels.kernel_for(stretch.rows, stretch.config)

    def _has_room(self, rows: int) -> bool:
        """Return whether so many rows are evaluated at once, by the kernel for small networks."""
        return self._members.evaluates(rows) and rows <= self.rows_of_a_block()

    def gradient(
        self, rows: Batch, loss: Loss, *, training: bool = False, seed: int = 0, step: int = 0
    ) -> LossSums:
        rows = on_device(rows, self.runtime)
        return super().gradient(rows, loss, training=training, seed=seed, step=step)

    def evaluate(self, rows: Batch, loss: Loss) -> tuple[LossSums, Array]:
        """Return the sums over all rows, and the outputs (N, O); leave the gradients alone."""
        small = self._has_room(len(rows))
        self.gpu.refresh_shadow()
        outputs = self.empty((len(rows), self.plan.outputs))
        for start, stop in self.blocks(len(rows)):
            block = on_device(rows.part(start, stop), self.runtime)
            if small:
                self._members.evaluate(block, loss)
                y = self.gpu.layers[-1].y[: len(block)]
            else:
                y = self.gpu.forward(block.x, training=False)
                self.evaluate_batch(block, loss)
            self.gpu.read(outputs[start:stop], y)
        return self.read_tally(), outputs

    def predict(self, x: Array) -> Array:
        self.gpu.refresh_shadow()
        outputs = self.empty((len(x), self.plan.outputs))
        for start, stop in self.blocks(len(x)):
            self.gpu.read(outputs[start:stop], self.gpu.forward(x[start:stop], training=False))
        return outputs

    def blocks(self, count: int) -> Iterator[tuple[int, int]]:
        """Reserve a workspace without gradients; yield the bounds of the blocks that fit into it.

        Where memory is short, blocks are smaller. Their size depends on nothing else that changes
        from run to run, since the order of sums depends on it.
        """
        size = min(count, self.rows_of_a_block())
        while count:
            try:
                self.memory.reserve(size, gradients=False)
                break
            except MemoryError:
                if size <= LEAST_ROWS:
                    raise
                size = max(size // 2, LEAST_ROWS)
        for start in range(0, count, size or 1):
            yield start, min(start + size, count)

    def rows_of_a_block(self) -> int:
        plan, cells = self.plan, self.runtime.cells
        per_row = (plan.width + plan.inputs) * cells.itemsize
        return int(max(LEAST_ROWS, self.workspace_bytes // per_row))

    def predict_one(self, row: NDArray[Any]) -> NDArray[Any]:
        x = np.asarray(row, self.parameters.dtype)[None, :]
        return self._epochs.predict_one(x).reshape(self.plan.outputs)
