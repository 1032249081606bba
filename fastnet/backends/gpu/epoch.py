"""Runs an epoch on a GPU in windows of batches, which are gathered at once and replayed.

A *window* is a number of consecutive batches. One launch gathers its rows, in the order of the
epoch, into a buffer. So every batch is a slice at the same address in every window, and one
recording of a window's launches can be replayed for the whole training run. The learning rate, the
place in the epoch and the seed change from step to step, so they are in device memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from numpy.typing import NDArray

from fastnet.backends.epochs import LossSums, TrainConfig
from fastnet.backends.gpu.graphs import Graphs
from fastnet.backends.gpu.host_rows import HostRows, on_device
from fastnet.backends.gpu.host_stream import Feeder
from fastnet.backends.gpu.members import TinyMembers
from fastnet.backends.gpu.step import GpuStep
from fastnet.backends.gpu.tiny import TinyKernels
from fastnet.kernels import abi
from fastnet.nn.batch import Array, Batch
from fastnet.nn.losses import Loss

WINDOWS: Final = (64, 8, 1)
"""The numbers of steps in a window: a few sizes, so that any span needs few recordings."""

WINDOW_BYTES: Final = 64 * 2**20
"""The inputs of a window take at most about so much memory, unless one batch takes more."""


class Epochs:
    """Trains on spans of an epoch, and keeps the recordings from one epoch to the next."""

    def __init__(self, gpu: GpuStep, members: TinyMembers, kernels: TinyKernels) -> None:
        self._gpu = gpu
        self._graphs = Graphs(gpu.runtime)
        self._kernels = kernels
        self._members = members
        self._one: Array = None  # a row to predict, and its outputs
        self._one_outputs: Array = None

    def warm_up(self, rows: Batch, config: TrainConfig) -> None:
        """Compute the gradients of a whole batch and of one like the last, which load all kernels.

        The clock has halted meanwhile, so that no running statistic changes.
        """
        gpu, size = self._gpu, config.batch_size
        kernel = self._kernels.kernel_for(rows, config)
        if kernel is not None:
            self._kernels.launcher(kernel)
            return
        count = len(rows)
        gpu.memory.reserve(min(size, count))
        gpu.refresh_shadow()
        gpu.set_clock(halted=True)
        try:
            for length in dict.fromkeys((min(size, count), (count - 1) % size + 1)):
                self._compute_gradients(on_device(rows.part(0, length), gpu.runtime), config.loss)
        finally:
            gpu.set_clock()

    def train(
        self,
        rows: Batch,
        config: TrainConfig,
        moments: Array,
        coefficients: NDArray[Any],
        *,
        epoch: int,
        step: int,
        first: int,
    ) -> LossSums:
        """Train on some batches of an epoch; the arguments are those of ``train_epoch``."""
        # A tiny network trains in one kernel, without the workspace of the general path.
        gpu, memory = self._gpu, self._gpu.memory
        size, count = config.batch_size, len(rows)
        memory.flags.fill(0)  # A span that was interrupted may have raised one.
        kernel = self._kernels.kernel_for(rows, config)
        order = gpu.order(count, config.seed, epoch) if config.shuffle else None
        if kernel is not None:
            return self._members.train_span(
                kernel, rows, order, config, moments, coefficients, first
            )
        memory.reserve(min(size, count))
        # All that the steps read goes to the device before the first launch is recorded.
        memory.upload_coefficients(coefficients)
        memory.step_numbers(config.optimizer)
        memory.loss_constants(config.loss)
        gpu.refresh_shadow()
        gpu.set_clock(step=step, seed=config.seed, start=first * size)
        per_row = gpu.plan.inputs * gpu.parameters.dtype.itemsize
        bounds = windows(first, len(coefficients), size, count, per_row)
        try:
            # Rows on the host come in windows through pinned memory; rows on the device are
            # gathered there.
            if isinstance(rows, HostRows):
                on_host = None if order is None else gpu.runtime.to_host(order)
                feeder = Feeder(gpu.runtime, memory, rows, on_host)
                for start, stop in bounds:
                    window = feeder.window(start, stop)
                    self._train_window(window, None, None, config, moments)
                    feeder.used()
            else:
                for start, stop in bounds:
                    window = memory.window(stop - start, rows)
                    self._train_window(window, rows, order, config, moments)
            gpu.look()
            return gpu.read_tally(looked=True)
        finally:
            gpu.set_clock()  # Outside an epoch, an update reads row 0, and nothing is halted.

    def _train_window(
        self,
        window: Batch,
        rows: Batch | None,
        order: Array | None,
        config: TrainConfig,
        moments: Array,
    ) -> None:
        """Gather a window from `rows`, unless `rows` is None, and train on it."""
        gpu, memory, size = self._gpu, self._gpu.memory, config.batch_size

        def work() -> None:
            if rows is not None:
                gpu.gather_into(window, rows, order, gpu.clock, 0)
            for start in range(0, len(window), size):
                batch = window.part(start, min(start + size, len(window)))
                self._train_step(batch, config, moments)

        address = gpu.runtime.address
        constants = memory.loss_constants(config.loss), *memory.step_numbers(config.optimizer)
        source = () if rows is None else (*rows.fields, order)
        arrays = *window.fields, moments, *constants, *source
        addresses = tuple(None if a is None else (address(a), a.shape) for a in arrays)
        optimizer, loss = config.optimizer, config.loss
        codes = optimizer.code, optimizer.clip_norm is None, loss.code, size, memory.generation
        self._graphs.run((addresses, codes), work)

    def _train_step(self, batch: Batch, config: TrainConfig, moments: Array) -> None:
        """Launch forward, backward and update of the clock's step; then advance the clock."""
        self._compute_gradients(batch, config.loss)
        self._gpu.update(config.optimizer, moments)
        self._gpu.add_tally(batch, advance=config.batch_size)

    def _compute_gradients(self, batch: Batch, loss: Loss) -> None:
        gpu = self._gpu
        last = gpu.layers[-1]
        logits = loss.fused_activation == "softmax" and last.activation == abi.SOFTMAX
        gpu.forward(batch.x, training=True, logits=logits)
        gpu.loss_head(batch, loss, softmax=logits)
        gpu.backward(gpu.first_input(batch.x), logits=gpu.gives_logits(loss))

    def predict_one(self, x: NDArray[Any]) -> NDArray[Any]:
        """Return the outputs (1, O) on the host for one row (1, I) on the host."""
        gpu, runtime, dtype = self._gpu, self._gpu.runtime, self._gpu.parameters.dtype
        if self._one is None:
            self._one = runtime.empty((1, gpu.plan.inputs), dtype)
            self._one_outputs = runtime.empty((1, gpu.plan.outputs), dtype)
        gpu.memory.reserve(1, gradients=False)

        def work() -> None:
            gpu.refresh_shadow()
            gpu.read(self._one_outputs, gpu.forward(self._one, training=False))

        runtime.upload(self._one, x)
        self._graphs.run(("one", gpu.memory.generation), work)
        return runtime.to_host(self._one_outputs)


def windows(
    first: int, steps: int, size: int, count: int, per_row: int
) -> Iterator[tuple[int, int]]:
    """Yield the bounds of windows that cover `steps` batches from `first` on, in rows of the epoch.

    Parameters
    ----------
    size, count : int
        Rows in a batch and in the epoch.
    per_row : int
        Bytes of a row's inputs.
    """
    fits = max(1, WINDOW_BYTES // (size * per_row))
    batch, end = first, first + steps
    while batch < end:
        whole = min(end, count // size) - batch
        length = next((n for n in WINDOWS if n <= min(whole, fits)), 1)
        yield batch * size, min((batch + length) * size, count)
        batch += length
