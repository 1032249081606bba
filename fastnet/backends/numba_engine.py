"""The Numba engine: runs many training steps in one compiled call, on one thread or several."""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable, Sequence
from functools import cached_property
from types import FunctionType
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from fastnet.backends import numba_members, numba_one_row, numba_products
from fastnet.backends.aligned import aligned
from fastnet.backends.engine import Engine, zeros_tally
from fastnet.backends.epochs import (
    LossSums,
    Member,
    RowStep,
    Stretch,
    TrainConfig,
    Trained,
    read_stretch,
)
from fastnet.backends.threads import (
    FLOPS_PER_THREAD,
    FLOPS_PER_THREAD_ONCE,
    Paces,
    cores,
    run_together,
    threads_that_pay,
)
from fastnet.kernels import abi
from fastnet.kernels.cpu import interface as kernels
from fastnet.kernels.cpu import native
from fastnet.kernels.cpu.back_end import Kernel
from fastnet.kernels.cpu.interface import FEWEST, FRAME
from fastnet.kernels.cpu.machine import VECTOR_BYTES
from fastnet.nn import strips
from fastnet.nn.batch import Array, Batch
from fastnet.nn.losses import Loss
from fastnet.nn.optimizers import Optimizer
from fastnet.nn.plan import Plan

TINY: Final = 256
"""``kernels/cpu/tiny.py`` trains up to this product of parameters and vectors per batch.

A vector holds one row in each lane. Measured: 1.9 times as fast at 22, 1.2 at 262, 0.9 at 900
(2-4-2, 4-16-3 and 8-16-16-2)."""

MOST_DIRECT: Final = 2**18
"""If all parameters are read more often than this for one row, it goes through Python: then other
threads run meanwhile."""

MOST_SLOPES: Final = 2**22
"""`jacobian_one` needs memory for all activations by each output: up to this many numbers."""

WINDOW_BATCHES: Final = 8
WINDOW_ROWS: Final = 256
WINDOW_MOST: Final = 8192
"""A kernel looks up the rows of so many batches at once, and of at least so many rows.

Beyond the last number of rows it does so batch by batch: each thread has 8 bytes for a row."""

MOST_WHOLE: Final = 2**24
PIECE_BYTES: Final = 2**19
LEAST_PIECE: Final = 512
"""Batches whose rows take more than the first number of bytes go through the layers in pieces.

A piece takes about so many bytes, and has at least 512 rows, since weights are read for each.
Measured on an EPYC of Zen 3 (512 KB of second level, 32 MB of third) with batches of 10,000 rows,
for all at once, 2048, 1024, 512, 256 and 128: 8-208-208-2 (33 MB) 69, 51, 48, 47, 47 and 47 ms;
784-128-10 (42 MB) 102, 75, 70, 75, 74 and 73; 16-64-64-4 (11 MB) 8.0, 8.0, 8.2, 8.3, 8.9 and 9.1;
4-32-16-4 (4 MB) 2.1 ms for all but 128 (2.3)."""


class NumbaEngine(Engine):
    """Calls compiled kernels on the flat buffers of parameters, gradients and moments.

    Kernels take one frame (a record of addresses and sizes) for each thread. The engine keeps
    references to the arrays that the frames point to.
    """

    workspace_bytes: ClassVar[int] = 2**19  # fits into the second level of the cache

    def __init__(
        self, plan: Plan, parameters: Array, state: Array, threads: int | None = None
    ) -> None:
        super().__init__(plan, parameters, state)
        # The arrays that the contract names, and one frame for each thread.
        self.gradients = aligned(parameters.shape, parameters.dtype)
        self.gradients.fill(0)
        self.tally = zeros_tally()
        self.most_threads = cores()
        self.threads = threads
        self._frames = np.zeros(self.most_threads, FRAME)
        self._ops = np.ascontiguousarray(plan.ops)
        self._batch_state = np.empty_like(state)
        self._arrivals = np.zeros(1, np.int64)
        self._kept: dict[str, Any] = {}
        self._rows = 0
        self._one: tuple[Array, Array, tuple[Any, ...]] | None = None
        self._for_jacobian: tuple[Array, dict[str, Array], tuple[Any, ...]] | None = None
        # Weak references to the rows, settings and moments that the frames describe; empty once
        # something else has written to the frames.
        self._prepared: tuple[weakref.ref[Any], ...] = ()
        self._paces = Paces()
        # The part that is the same in all frames and never changes: sizes and addresses.
        self._set(
            inputs=plan.inputs,
            outputs=plan.outputs,
            size=plan.size,
            state_size=len(state),
            n_weights=plan.n_weights,
            width=plan.width,
            threads=1,
        )
        self._point(
            parameters=parameters,
            gradients=self.gradients,
            state=state,
            batch_state=self._batch_state,
            tally=self.tally,
            arrivals=self._arrivals,
        )
        rates = plan.rates(parameters.dtype)
        if rates is not None:
            room = aligned(rates.shape, rates.dtype)
            room[...] = rates
            self._point(rates=room)
        # The part that differs: the thread's number, and its memory for products and losses.
        self._frames["thread"] = np.arange(self.most_threads)
        lanes = VECTOR_BYTES // parameters.itemsize
        blocks = (4 * int(plan.ops["outputs"].max()) + 1) * lanes
        self._point_each(parameters.dtype, scratch=blocks)
        self._lanes = lanes
        self._point(strips=self._table_of_strips())
        self._all_dense = all(op["kind"] == abi.DENSE for op in plan.ops)
        self._network = self._ops.ctypes.data, len(self._ops), self._frames.ctypes.data

    @cached_property
    def kernel(self) -> Kernel:
        """The compiled step for this dtype; it is loaded, or compiled, on its first use."""
        return native.kernel("run", self.parameters.dtype)

    def _set(self, **values: Any) -> None:
        """Write numbers to every thread's frame."""
        for name, value in values.items():
            self._frames[name] = value

    def _point(self, **arrays: Array) -> None:
        """Write the addresses of arrays to every thread's frame, and keep the arrays alive."""
        self._kept.update(arrays)
        self._set(**{name: array.ctypes.data for name, array in arrays.items()})

    def _point_each(self, dtype: Any, **counts: int) -> None:
        """Give each thread separate memory for so many elements."""
        for name, count in counts.items():
            arrays = [aligned((count,), dtype) for _ in self._frames]
            self._kept[name] = arrays
            self._frames[name] = [array.ctypes.data for array in arrays]

    def _run(
        self,
        task: int,
        first: int = 0,
        last: int = 0,
        step: int = 0,
        x: int = 0,
        out: int = 0,
        thread: int = 0,
    ) -> None:
        """Call the kernel; see ``run`` in ``fastnet/kernels/cpu/epoch.py``."""
        self.kernel.call(*self._network, thread, task, first, last, step, x, out)

    def _table_of_strips(self) -> NDArray[np.int64]:
        """Return what kernels compute of each weight matrix."""
        return strips.table(self.plan, self._lanes)

    def warm_up(self) -> None:
        self._prepared = ()
        self._set(rows=0)
        self._run(kernels.ORDER)  # of nothing
        self.reserve(FEWEST)  # which compiles the kernel for large weights too

    def _set_loss(self, loss: Loss) -> None:
        self._prepared = ()
        constants = np.array(loss.hyperparameters, np.float64)
        self._set(loss=loss.code, loss_constants_count=len(constants))
        self._point(loss_constants=constants)

    def _set_rows(self, rows: Batch) -> None:
        """Write the addresses of the data, which the caller keeps alive while a kernel runs."""
        self._prepared = ()
        numba_members.describe_rows(self._frames, rows)

    def _set_optimizer(self, optimizer: Optimizer, moments: Array) -> None:
        self._prepared = ()
        self._set(optimizer=optimizer.code)
        self._point(constants=optimizer.hyperparameters, moments=moments)

    def reserve(self, rows: int) -> None:
        if rows <= self._rows:
            return
        plan, dtype = self.plan, self.parameters.dtype
        self._point(
            work=aligned((plan.width * rows,), dtype),
            deltas=aligned((plan.width * rows,), dtype),
            batch=aligned((rows, plan.inputs), dtype),
            row_loss=np.empty(rows),
            row_score=np.empty(rows),
        )
        self._window = max(rows, min(max(WINDOW_BATCHES * rows, WINDOW_ROWS), WINDOW_MOST))
        self._point_each(np.int64, index=self._window)
        products = self._settings_of_products(rows)
        self._point_each(dtype, room=products["room_size"])
        self._set(capacity=rows, piece=self._piece(rows, products["large"]), **products)
        self._rows = rows

    def _piece(self, rows: int, large: int) -> int:
        """Return how many of `rows` a thread takes through all layers at once.

        Batch normalisation needs all rows at one layer; products in blocks stay in the cache by
        themselves, and would copy large weights for each piece.
        """
        plan = self.plan
        row_bytes = (2 * plan.width + plan.inputs) * self.parameters.itemsize
        fits = rows * row_bytes <= MOST_WHOLE
        if fits or plan.uses_batch_statistics or plan.n_weights >= large:
            return rows
        return max(LEAST_PIECE, PIECE_BYTES // row_bytes)

    def _settings_of_products(self, rows: int) -> dict[str, int]:
        """Return what frames hold of products with batches of so many rows."""
        table = self._kept["strips"][len(self._ops) :]
        return numba_products.settings(table, self.parameters.dtype, rows)

    def gather(self, rows: Batch, order: Array | None, start: int, stop: int) -> Batch:
        if order is None:
            return rows.part(start, stop)
        index = order[start:stop]
        return Batch(*(None if a is None else a[index] for a in rows.fields))

    def order(self, count: int, seed: int, epoch: int) -> Array:
        out = np.empty(count, np.int64)
        self._prepared = ()
        self._set(rows=count, seed=np.uint64(seed), epoch=epoch)
        self._run(kernels.ORDER, out=out.ctypes.data)
        return out

    def forward(self, x: Array, *, training: bool, seed: int = 0, step: int = 0) -> Array:
        self._training = training
        self._prepared = ()
        self._set(seed=np.uint64(seed))
        self._run(kernels.FORWARD, int(training), len(x), step, x.ctypes.data)
        last = self.plan.ops[-1]
        start, size = int(last["y"]) * self._rows, len(x) * self.plan.outputs
        work: Array = self._kept["work"]
        return work[start : start + size].reshape(len(x), self.plan.outputs)

    def evaluate_batch(self, batch: Batch, loss: Loss) -> None:
        self._set_loss(loss)
        self._set_rows(batch)
        self._run(kernels.HEAD, 0, len(batch))

    def backward(self, batch: Batch, loss: Loss) -> None:
        self.evaluate_batch(batch, loss)
        self._run(kernels.BACKWARD, int(self._training), len(batch), x=batch.x.ctypes.data)

    def backward_from(self, x: Array, gradient: Array, *, logits: bool) -> None:
        last = self.plan.ops[-1]
        start, size = int(last["y"]) * self._rows, len(x) * self.plan.outputs
        self._kept["deltas"][start : start + size] = gradient.reshape(-1)
        self._prepared = ()
        self._set(loss=abi.GRADIENT_OF_Z if logits else abi.GRADIENT_OF_Y)
        self._run(kernels.BACKWARD, int(self._training), len(x), x=x.ctypes.data)

    def update(self, optimizer: Optimizer, moments: Array, coefficients: NDArray[Any]) -> None:
        self._set_optimizer(optimizer, moments)
        self._point(coefficients=np.ascontiguousarray(coefficients, np.float64))
        self._run(kernels.UPDATE)

    def empty(self, shape: tuple[int, ...]) -> Array:
        return np.empty(shape, self.parameters.dtype)

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
        batch = min(config.batch_size, len(rows))
        if not self._is_prepared(rows, config, moments):
            self._prepare(rows, config, moments, batch)
        self._set(epoch=epoch)
        pace = self._paces.of(self.threads_for(batch), fixed=self.threads is not None)
        done, steps = 0, len(coefficients)
        # The tally counts the steps up to the first loss that is not finite.
        while done < steps and self.tally[abi.STEPS] == done:
            threads, count = pace.next(steps - done)
            started = time.perf_counter()
            self._train(first + done, count, step + done, coefficients[done:], threads)
            pace.record(threads, count, time.perf_counter() - started)
            done += count
        return self.read_tally()

    def trains_ahead(self, batch: int, held_out: int = 0) -> bool:
        return held_out <= self.rows_of_a_block()

    def train_epochs(self, stretch: Stretch) -> Trained:
        held_out, monitor = stretch.held_out, stretch.monitor
        if not self.trains_ahead(stretch.batch, 0 if held_out is None else len(held_out)):
            return super().train_epochs(stretch)
        if not self._is_prepared(stretch.rows, stretch.config, stretch.moments):
            self._prepare(stretch.rows, stretch.config, stretch.moments, stretch.batch)
        epochs, batches, _ = stretch.coefficients.shape
        trained, evaluated = np.zeros((2, epochs, abi.TALLY))
        record = None if monitor is None else monitor.record()
        pace = self._paces.of(self.threads_for(stretch.batch), fixed=self.threads is not None)
        threads, _ = pace.next(epochs * batches)
        self._set(epoch=stretch.epoch)
        try:
            self._point(tally=trained)
            if held_out is not None:
                # An engine of its own, whose frame describes these rows.
                observer = NumbaEngine(self.plan, self.parameters, self.state, threads=1)
                observer.reserve(len(held_out))
                observer._set_loss(stretch.config.loss)
                observer._set_rows(held_out)
                observer._point(tally=evaluated)
                self._set(validation=observer._frames.ctypes.data)
            if monitor is not None:
                self._point(monitor=record)
                if monitor.weights is not None:
                    best_parameters, best_state = monitor.weights
                    self._point(best_parameters=best_parameters, best_state=best_state)
            started = time.perf_counter()
            self._train(0, batches, stretch.step, stretch.coefficients, threads, epochs)
            steps = int(trained[:, abi.STEPS].sum())
            pace.record(threads, max(1, steps), time.perf_counter() - started)
        finally:
            self._set(validation=0, monitor=0, best_parameters=0, best_state=0)
            self._point(tally=self.tally)
        return read_stretch(stretch, trained, evaluated, record)

    def lanes_for(self, batch: int, optimizer: Optimizer) -> int:
        return self._lanes if optimizer.clip_norm is None and self._is_tiny(batch) else 1

    def train_members(self, members: Sequence[Member]) -> list[Trained]:
        stretch = members[0].stretch
        lanes = self.lanes_for(stretch.batch, stretch.config.optimizer)
        if lanes == 1:
            return super().train_members(members)
        if not self._is_prepared(stretch.rows, stretch.config, stretch.moments):
            self._prepare(stretch.rows, stretch.config, stretch.moments, stretch.batch)
        kernel = native.kernel("train_members", self.parameters.dtype)
        results = list[Trained]()
        for first in range(0, len(members), lanes):
            some = members[first : first + lanes]
            results += numba_members.train(kernel, self._ops, self._frames[0], lanes, some)
        return results

    def _is_prepared(self, *what: Any) -> bool:
        """Return whether the frames still hold what `_prepare` wrote for these objects."""
        pairs = zip(self._prepared, what, strict=True)
        return bool(self._prepared) and all(old() is new for old, new in pairs)

    def _prepare(self, rows: Batch, config: TrainConfig, moments: Array, batch: int) -> None:
        """Write what stays the same from call to call; a full-batch epoch is only one step."""
        self.reserve(batch)
        self._set_loss(config.loss)
        self._set_rows(rows)
        self._set_optimizer(config.optimizer, moments)
        self._set(
            batch_size=batch,
            window=self._window // batch,
            shuffle=config.shuffle,
            seed=np.uint64(config.seed),
            tiny=0,
        )
        if self._is_tiny(batch):
            plan = self.plan
            blocks = 2 * plan.width + plan.inputs + plan.outputs + 1 + plan.size + self._lanes
            self._point(tiny=aligned((blocks, self._lanes), self.parameters.dtype))
        self._prepared = tuple(weakref.ref(one) for one in (rows, config, moments))

    def _train(
        self,
        first: int,
        count: int,
        step: int,
        coefficients: NDArray[Any],
        threads: int,
        epochs: int = 1,
    ) -> None:
        """Train on `count` batches from `first` on, in each of so many epochs."""
        self._point(coefficients=np.ascontiguousarray(coefficients, np.float64))
        self._arrivals[0] = 0

        def run(thread: int, threads: int) -> None:
            self._frames[thread]["threads"] = threads
            self._run(kernels.TRAIN, first, first + count, step, x=epochs, thread=thread)

        self._run_together(threads, run)

    def _run_together(
        self, threads: int, run: Callable[[int, int], None], *, meet: bool = True
    ) -> None:
        """Call `run_together`; whatever a signal raises meanwhile, frames are for one thread then.

        Else the next gradient, which one thread computes, would be the share of the first alone.
        """
        _ = self.kernel  # loaded, or compiled, before threads run it: here an error can be raised
        try:
            run_together(threads, run, meet=meet)
        finally:
            self._set(threads=1)

    def predict(self, x: Array) -> Array:
        count = len(x)
        out = self.empty((count, self.plan.outputs))
        if not count:
            return out
        next(self.blocks(count))  # reserves a block; the kernel goes through them all
        predict, source, target = kernels.PREDICT, x.ctypes.data, out.ctypes.data

        def run(thread: int, threads: int) -> None:
            self._frames[thread]["threads"] = threads
            first, last = count * thread // threads, count * (thread + 1) // threads
            self._run(predict, first, last, x=source, out=target, thread=thread)

        self._run_together(self._threads_for_prediction(count), run, meet=False)
        return out

    def predict_one(self, row: NDArray[Any]) -> NDArray[Any]:
        # Through memory whose address is known: asking an array for its own takes longer.
        x, out, arguments = self._one or self._prepare_one()
        x[...] = row
        self.kernel.call(*arguments)
        return out.copy()

    def _prepare_one(self) -> tuple[Array, Array, tuple[Any, ...]]:
        """Return the input and the output of `predict_one`, and the kernel's arguments."""
        self.reserve(1)
        x, out = self.empty((self.plan.inputs,)), self.empty((self.plan.outputs,))
        place = 0, 1, 0, x.ctypes.data, out.ctypes.data
        self._one = x, out, (*self._network, 0, kernels.PREDICT, *place)
        return self._one

    def online(self, rows: Batch, config: TrainConfig, moments: Array) -> RowStep | None:
        self._prepare(rows, config, moments, len(rows))
        return numba_one_row.online(self.kernel, self._network, self._frames, self.tally)

    def jacobian_one(self, row: NDArray[Any]) -> NDArray[Any] | None:
        if self.plan.outputs * (self.plan.width + self.plan.inputs) > MOST_SLOPES:
            return None
        _, _, arguments = self._for_jacobian or self._prepare_jacobian()
        out = self.empty((self.plan.outputs, self.plan.inputs))
        self.kernel.call(*arguments, row.ctypes.data, out.ctypes.data)
        return out

    def _prepare_jacobian(self) -> tuple[Array, dict[str, Array], tuple[Any, ...]]:
        """Return the frame of `jacobian_one`, its workspace, and the kernel's arguments."""
        frame, arrays = self._frame_apart(self.plan.outputs)
        network = self._ops.ctypes.data, len(self._ops), frame.ctypes.data
        arguments = *network, 0, kernels.JACOBIAN, 0, 1, 0
        self._for_jacobian = frame, arrays, arguments
        return self._for_jacobian

    def direct(self, owner: type, method: FunctionType, slot: str) -> object | None:
        plan, many = self.plan, method.__name__ == "jacobian_one"
        rows, task = (plan.outputs, kernels.JACOBIAN) if many else (1, kernels.PREDICT)
        if plan.size * rows > MOST_DIRECT:
            return None
        numba_one_row.install(owner, method, slot)
        shape = (plan.outputs, plan.inputs)[: 1 + many]
        network = self._ops, *self._frame_apart(rows)
        return numba_one_row.make_one_row(self.kernel, plan.inputs, shape, task, network)

    def _frame_apart(self, rows: int) -> tuple[Array, dict[str, Array]]:
        """Return a frame for single rows whose workspace is no thread's, and that workspace."""
        self.reserve(rows)
        return numba_one_row.frame_apart(self._frames, self._kept, self.plan, rows)

    # --- threads ---------------------------------------------------------------------------------

    def threads_for(self, batch: int) -> int:
        """Return how many threads share a step on `batch` rows at most."""
        if self._is_tiny(batch):
            return 1
        worth = self.plan.flops * batch // FLOPS_PER_THREAD
        return threads_that_pay(self.threads, min(self.most_threads, batch), worth)

    def _is_tiny(self, batch: int) -> bool:
        """Return whether ``kernels/cpu/tiny.py`` should train on batches of this size."""
        return self._all_dense and self.plan.size * -(-batch // self._lanes) <= TINY

    def _threads_for_prediction(self, count: int) -> int:
        """Return how many threads share the prediction of `count` rows."""
        # A forward pass is a third of a training step at least.
        worth = self.plan.flops * count // (3 * FLOPS_PER_THREAD_ONCE)
        return threads_that_pay(self.threads, min(self.most_threads, self._rows, count), worth)
