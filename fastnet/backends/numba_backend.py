"""The Numba backend: spans of training steps in one compiled call, on one thread or several."""

from __future__ import annotations

import importlib
import math
import time
from functools import cache
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from fastnet.backends.base import Array, Backend, Engine, Recipe, Rows, Tally, zeros_tally
from fastnet.backends.threads import Pace, cores, run_together
from fastnet.kernels import abi
from fastnet.losses import Loss
from fastnet.optimizers import Optimizer
from fastnet.plan import Plan

FLOPS_PER_THREAD: Final = 800_000
"""A step of training is shared between threads when each gets at least so much work.

Measured: two threads took 0.93 of one thread's speed with 0.3 million each, 1.05 with 0.6 and 1.24
with 1.0 (batches of 64 rows, two layers of 32, 48 and 64 units)."""


FLOPS_PER_THREAD_ONCE: Final = 50_000_000
"""A prediction is shared when each thread gets at least so much: it has to be started for it."""

WINDOW_BATCHES: Final = 8
WINDOW_ROWS: Final = 256
"""Rows are chosen for so many batches ahead, and for at least so many rows."""

ALIGNMENT: Final = 64
"""Bytes of a cache line, and of the widest vector: one that straddles two lines costs twice."""


def aligned(shape: tuple[int, ...], dtype: Any) -> Array:
    """Return memory that begins at a cache line, with arbitrary contents."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    memory = np.empty(size + ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % ALIGNMENT
    return memory[start : start + size].view(dtype).reshape(shape)


class NumbaEngine(Engine):
    """Compiled steps on the flat buffers.

    Kernels take one frame (a record of addresses and sizes) for each thread. The engine keeps alive
    what the frames point to.
    """

    workspace_bytes: ClassVar[int] = 2**19  # stays in the second level of the cache

    def __init__(
        self, plan: Plan, parameters: Array, state: Array, threads: int | None = None
    ) -> None:
        super().__init__(plan, parameters, state)
        from fastnet.kernels.cpu import epoch
        from fastnet.kernels.cpu.memory import FRAME
        from fastnet.kernels.cpu.vectors import VECTOR_BYTES

        self._kernels = epoch
        self.gradients = aligned(parameters.shape, parameters.dtype)
        self.gradients.fill(0)
        self.tally = zeros_tally()
        self._most_threads = cores()
        self.threads = threads
        self._frames = np.zeros(self._most_threads, FRAME)
        self._like = parameters[:1]
        self._ops = np.ascontiguousarray(plan.ops)
        self._batch_state = np.empty_like(state)
        self._arrivals = np.zeros(1, np.int64)
        self._kept: dict[str, Any] = {}
        self._rows = 0
        self._one: tuple[Array, Array, tuple[Any, ...]] | None = None
        self._paces: dict[tuple[int, bool], Pace] = {}
        self._set(
            inputs=plan.inputs,
            outputs=plan.outputs,
            size=plan.size,
            decayed=plan.decayed,
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
        self._frames["thread"] = np.arange(self._most_threads)
        products = [int(op["inputs"] * op["outputs"]) for op in plan.ops if op["kind"] == abi.DENSE]
        lanes = VECTOR_BYTES // parameters.itemsize
        blocks = (4 * int(plan.ops["outputs"].max()) + 1) * lanes
        self._point_each(parameters.dtype, transposed=max(products), scratch=blocks)
        self._network = self._ops.ctypes.data, len(self._ops), self._frames.ctypes.data

    def _set(self, **values: Any) -> None:
        """Write numbers to every thread's frame."""
        for name, value in values.items():
            self._frames[name] = value

    def _point(self, **arrays: Array) -> None:
        """Write the addresses of arrays to every thread's frame; keep the arrays."""
        self._kept.update(arrays)
        self._set(**{name: array.ctypes.data for name, array in arrays.items()})

    def _point_each(self, dtype: Any, **counts: int) -> None:
        """Give every thread memory of its own, for so many elements."""
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
        """Call the kernel; see `fastnet.kernels.cpu.epoch.run`."""
        self._kernels.run(self._like, *self._network, thread, task, first, last, step, x, out)

    def warm_up(self) -> None:
        self._set(rows=0)
        self._run(self._kernels.ORDER)  # of nothing

    def _set_loss(self, loss: Loss) -> None:
        constants = np.array(loss.constants, np.float64)
        self._set(loss=loss.code, loss_constants_count=len(constants))
        self._point(loss_constants=constants)

    def _set_rows(self, rows: Rows) -> None:
        """Write where the data are. The caller keeps them while a kernel runs; nobody later."""
        self._set(rows=len(rows), targets=0 if rows.target is None else rows.target.shape[1])
        for name, array in zip(("x", "labels", "target", "weight"), rows.fields, strict=True):
            self._set(**{name: 0 if array is None else array.ctypes.data})

    def _set_optimizer(
        self, optimizer: Optimizer, moments: Array, coefficients: NDArray[Any]
    ) -> None:
        self._set(optimizer=optimizer.code)
        self._point(
            constants=optimizer.constants,
            moments=moments,
            coefficients=np.ascontiguousarray(coefficients, np.float64),
        )

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
        self._window = max(WINDOW_BATCHES * rows, WINDOW_ROWS)
        self._point_each(np.int64, index=self._window)
        self._set(capacity=rows)
        self._rows = rows

    def gather(self, rows: Rows, order: Array | None, start: int, stop: int) -> Rows:
        if order is None:
            return rows.part(start, stop)
        index = order[start:stop]
        return Rows(*(None if a is None else a[index] for a in rows.fields))

    def order(self, count: int, seed: int, epoch: int) -> Array:
        out = np.empty(count, np.int64)
        self._set(rows=count, seed=np.uint64(seed), epoch=epoch)
        self._run(self._kernels.ORDER, out=out.ctypes.data)
        return out

    def forward(self, x: Array, *, training: bool, seed: int = 0, step: int = 0) -> Array:
        self._training = training
        self._set(seed=np.uint64(seed))
        self._run(self._kernels.FORWARD, int(training), len(x), step, x.ctypes.data)
        last = self.plan.ops[-1]
        start, size = int(last["y"]) * self._rows, len(x) * self.plan.outputs
        work: Array = self._kept["work"]
        return work[start : start + size].reshape(len(x), self.plan.outputs)

    def head(self, batch: Rows, loss: Loss) -> None:
        self._set_loss(loss)
        self._set_rows(batch)
        self._run(self._kernels.HEAD, 0, len(batch))

    def backward(self, batch: Rows, loss: Loss) -> None:
        self.head(batch, loss)
        self._run(self._kernels.BACKWARD, int(self._training), len(batch), x=batch.x.ctypes.data)

    def update(self, optimizer: Optimizer, moments: Array, coefficients: NDArray[Any]) -> None:
        self._set_optimizer(optimizer, moments, coefficients)
        self._run(self._kernels.UPDATE)

    def read_tally(self) -> Tally:
        loss, score, weight, steps = self.tally.tolist()
        self.tally.fill(0)
        return Tally(loss, score, weight, int(steps))

    def empty(self, shape: tuple[int, ...]) -> Array:
        return np.empty(shape, self.parameters.dtype)

    def train_epoch(
        self,
        rows: Rows,
        recipe: Recipe,
        moments: Array,
        coefficients: NDArray[Any],
        *,
        epoch: int,
        step: int,
        first: int = 0,
    ) -> Tally:
        if self.plan.has_rates:  # the kernel knows one rate for all parameters
            place = {"epoch": epoch, "step": step, "first": first}
            return super().train_epoch(rows, recipe, moments, coefficients, **place)
        batch = min(recipe.batch_size, len(rows))
        self.reserve(batch)
        self._set_loss(recipe.loss)
        self._set_rows(rows)
        coefficients = np.ascontiguousarray(coefficients, np.float64)
        self._set_optimizer(recipe.optimizer, moments, coefficients)
        self._set(
            batch_size=batch,
            window=self._window // batch,
            shuffle=recipe.shuffle,
            seed=np.uint64(recipe.seed),
            epoch=epoch,
        )
        pace = self._pace_for(batch)
        done, steps = 0, len(coefficients)
        # The tally counts the steps up to the first loss that is not finite.
        while done < steps and self.tally[abi.STEPS] == done:
            threads, count = pace.next(steps - done)
            started = time.perf_counter()
            self._train(first + done, count, step + done, coefficients[done:], threads)
            pace.record(threads, count, time.perf_counter() - started)
            done += count
        return self.read_tally()

    def _train(
        self, first: int, count: int, step: int, coefficients: NDArray[Any], threads: int
    ) -> None:
        """Train on `count` batches from `first` on."""
        self._point(coefficients=coefficients)
        self._arrivals[0] = 0

        def run(thread: int, threads: int) -> None:
            self._frames[thread]["threads"] = threads
            self._run(self._kernels.TRAIN, first, first + count, step, thread=thread)

        run_together(threads, run)
        self._set(threads=1)

    def predict(self, x: Array) -> Array:
        count = len(x)
        out = self.empty((count, self.plan.outputs))
        if not count:
            return out
        next(self.blocks(count))  # reserves a block; the kernel goes through them all
        predict, source, target = self._kernels.PREDICT, x.ctypes.data, out.ctypes.data

        def run(thread: int, threads: int) -> None:
            self._frames[thread]["threads"] = threads
            first, last = count * thread // threads, count * (thread + 1) // threads
            self._run(predict, first, last, x=source, out=target, thread=thread)

        run_together(self._threads_for_prediction(count), run)
        self._set(threads=1)
        return out

    def predict_one(self, row: NDArray[Any]) -> NDArray[Any]:
        # Through memory whose address is known: asking an array for its own takes longer.
        x, out, arguments = self._one or self._prepare_one()
        x[...] = row
        self._kernels.run(*arguments)
        return out.copy()

    def _prepare_one(self) -> tuple[Array, Array, tuple[Any, ...]]:
        """Return the input and the output of `predict_one`, and the kernel's arguments."""
        self.reserve(1)
        x, out = self.empty((self.plan.inputs,)), self.empty((self.plan.outputs,))
        place = 0, 1, 0, x.ctypes.data, out.ctypes.data
        self._one = x, out, (self._like, *self._network, 0, self._kernels.PREDICT, *place)
        return self._one

    # --- threads ---------------------------------------------------------------------------------

    def threads_for(self, batch: int) -> int:
        """Return how many threads share a step on `batch` rows at most.

        Batch normalisation needs all rows at once, so it stays on one thread.
        """
        if self.plan.uses_batch_statistics:
            return 1
        if self.threads is not None:
            return min(self.threads, self._most_threads, batch)
        worth = self.plan.flops * batch // FLOPS_PER_THREAD
        return int(max(1, min(self._most_threads, batch, worth)))

    def _threads_for_prediction(self, count: int) -> int:
        """Return how many threads share the prediction of `count` rows."""
        most = self._most_threads if self.threads is None else min(self.threads, self._most_threads)
        # A forward pass is a third of a training step at least.
        worth = self.plan.flops * count // (3 * FLOPS_PER_THREAD_ONCE)
        return int(max(1, min(most, self._rows, count if self.threads else worth)))

    def _pace_for(self, batch: int) -> Pace:
        """Return what chooses the number of threads; one that was asked for is not changed."""
        key = self.threads_for(batch), self.threads is not None
        if key not in self._paces:
            self._paces[key] = Pace(key[0], fixed=key[1])
        return self._paces[key]


class NumbaBackend(Backend):
    """Compiled loops on the CPU."""

    name: ClassVar[str] = "numba"
    install: ClassVar[str] = "pip install numba"

    def why_unavailable(self) -> str | None:
        return _why_unavailable()

    def engine(
        self, plan: Plan, parameters: Array, state: Array, *, threads: int | None = None
    ) -> Engine:
        return NumbaEngine(plan, parameters, state, threads)

    def asarray(self, values: NDArray[Any]) -> Array:
        return values

    def to_host(self, values: Array) -> NDArray[Any]:
        return np.asarray(values)

    def describe(self) -> dict[str, str]:
        import numba

        from fastnet.kernels.cpu.jit import cache_folder
        from fastnet.kernels.cpu.vectors import VECTOR_BYTES

        return {
            "numba": numba.__version__,
            "threads": str(cores()),
            "vectors": f"{VECTOR_BYTES * 8} bits",
            "kernel cache": str(cache_folder()),
        }

    def warm_up(self) -> float:
        """Compile all kernels for both dtypes (or load them from the cache); return the seconds."""
        from fastnet.layers import Dense
        from fastnet.plan import make_plan

        started = time.perf_counter()
        plan = make_plan(1, (Dense(1),))
        for dtype in (np.float32, np.float64):
            self.engine(plan, plan.initial_parameters(0, dtype), np.zeros(0, dtype)).warm_up()
        return time.perf_counter() - started


@cache
def _why_unavailable() -> str | None:
    try:
        importlib.import_module("numba")
    except ImportError as error:
        return f"Numba cannot be imported ({error}); {NumbaBackend.install} brings it."
    return None
