"""How an epoch is made of steps on a GPU: windows of batches, gathered at once and replayed.

A *window* is a number of consecutive batches. One launch gathers its rows, in the order of the
epoch, into a buffer; so every batch of it is a slice that lies at the same address in every window,
and one recording of a window's launches serves the whole of training. What changes from step to
step (learning rate, place in the epoch, seed) lies in device memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from fastnet.backends.base import LossSums, TrainConfig
from fastnet.backends.gpu.graphs import Graphs
from fastnet.backends.gpu.host_stream import Feeder, HostRows
from fastnet.backends.gpu.tiny import TinyTraining
from fastnet.kernels import abi
from fastnet.nn.batch import Array, Batch

if TYPE_CHECKING:
    from fastnet.backends.gpu.engine import GpuEngine

WINDOWS: Final = (64, 8, 1)
"""Steps in a window. A few sizes, so that spans of any length need few recordings."""

WINDOW_BYTES: Final = 64 * 2**20
"""A window's inputs take at most about so much memory, unless a single batch takes more."""


class Epochs:
    """What an engine keeps from epoch to epoch."""

    def __init__(self, engine: GpuEngine) -> None:
        self._engine = engine
        self._graphs = Graphs(engine.runtime)
        self._tiny = TinyTraining(engine)
        self._one: Array = None  # a row to predict, and its outputs
        self._one_outputs: Array = None

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
        engine, memory = self._engine, self._engine.memory
        size, count = config.batch_size, len(rows)
        on_device = not isinstance(rows, HostRows)
        kernel = self._tiny.kernel_for(rows, config) if on_device else None
        if kernel is None:
            engine.reserve(min(size, count))
        order = engine.order(count, config.seed, epoch) if config.shuffle else None
        memory.upload_coefficients(coefficients)
        memory.step_numbers(config.optimizer)
        memory.loss_constants(config.loss)
        engine.refresh_shadow()
        engine.set_clock(step=step, seed=config.seed, start=first * size)
        per_row = engine.plan.inputs * engine.parameters.dtype.itemsize
        bounds = windows(first, len(coefficients), size, count, per_row)
        try:
            if kernel is not None:
                steps = len(coefficients)
                return self._tiny.train(kernel, rows, order, config, moments, steps)
            if isinstance(rows, HostRows):
                on_host = None if order is None else engine.runtime.to_host(order)
                feeder = Feeder(engine, rows, on_host)
                for start, stop in bounds:
                    window = feeder.window(start, stop)
                    self._train_window(window, None, None, config, moments)
                    feeder.used()
                return engine.read_tally()
            for start, stop in bounds:
                window = memory.window(stop - start, rows)
                self._train_window(window, rows, order, config, moments)
            return engine.read_tally()
        finally:
            engine.set_clock()  # Outside an epoch, an update uses row 0 and nothing is halted.

    def _train_window(
        self,
        window: Batch,
        rows: Batch | None,
        order: Array | None,
        config: TrainConfig,
        moments: Array,
    ) -> None:
        """Train on a window; its rows are first gathered from `rows`, unless it has them."""
        engine, memory, size = self._engine, self._engine.memory, config.batch_size

        def work() -> None:
            if rows is not None:
                engine.gather_into(window, rows, order, engine.clock, 0)
            for start in range(0, len(window), size):
                batch = window.part(start, min(start + size, len(window)))
                self._train_step(batch, config, moments)

        address = engine.runtime.address
        constants = memory.loss_constants(config.loss), *memory.step_numbers(config.optimizer)
        source = () if rows is None else (*rows.fields, order)
        arrays = *window.fields, moments, *constants, *source
        addresses = tuple(None if a is None else (address(a), a.shape) for a in arrays)
        optimizer, loss = config.optimizer, config.loss
        codes = optimizer.code, optimizer.clip_norm is None, loss.code, size, memory.generation
        self._graphs.run((addresses, codes), work)

    def _train_step(self, batch: Batch, config: TrainConfig, moments: Array) -> None:
        """Forward, backward, update at the step that the clock names; then move the clock on."""
        engine, loss = self._engine, config.loss
        last = engine.layers[-1]
        logits = loss.fused_activation == "softmax" and last.activation == abi.SOFTMAX
        engine.pass_forward(batch.x, training=True, logits=logits)
        engine.pass_head(batch, loss, softmax=logits)
        engine.pass_backward(engine.first_input(batch), loss)
        engine.pass_update(config.optimizer, moments)
        engine.add_tally(batch, advance=config.batch_size)

    def on_device(self, rows: Batch) -> Batch:
        """Return rows that lie on the device: copies, where they lie on the host."""
        if not isinstance(rows, HostRows):
            return rows
        put = self._engine.runtime.to_device
        return Batch(*(None if a is None else put(np.ascontiguousarray(a)) for a in rows.fields))

    def predict_one(self, x: NDArray[Any]) -> NDArray[Any]:
        """Return the outputs (1, O) on the host for one row (1, I) on the host."""
        engine = self._engine
        if self._one is None:
            self._one = engine.empty((1, engine.plan.inputs))
            self._one_outputs = engine.empty((1, engine.plan.outputs))
        engine.reserve(1)

        def work() -> None:
            engine.refresh_shadow()
            engine.read(self._one_outputs, engine.pass_forward(self._one, training=False))

        engine.runtime.upload(self._one, x)
        self._graphs.run(("one", engine.memory.generation), work)
        return engine.runtime.to_host(self._one_outputs)


def windows(
    first: int, steps: int, size: int, count: int, per_row: int
) -> Iterator[tuple[int, int]]:
    """Yield the bounds, in rows of the epoch, of windows over `steps` batches from `first` on.

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
