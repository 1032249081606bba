"""Training on `Chunks`: rows that are read two chunks at a time.

The trainer sees an engine whose ``train_epoch`` takes the batches of an epoch one window after the
other. A window is two chunks in one array, on which the network's own engine works as it does on
rows in memory: with the order ``random.permutation(rows, seed=seed, epoch=epoch * W + w)`` for
window w of W. The chunks come in the order ``random.permutation(chunks, seed=seed, epoch=epoch,
purpose=BLOCKS)``, and a window holds its two in that order. Every window but one begins and ends
between two full batches, as chunks are multiples of the batch size.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastnet.backends.base import Backend, Engine, LossSums, TrainConfig
from fastnet.data import Scaler
from fastnet.data.chunks import Chunks
from fastnet.errors import InputError
from fastnet.kernels import abi
from fastnet.nn import random
from fastnet.nn.batch import Batch
from fastnet.nn.losses import Loss
from fastnet.nn.optimizers import LBFGS
from fastnet.preprocessing import edge, samples
from fastnet.preprocessing.samples import Samples, on_backend
from fastnet.training import loop
from fastnet.training.checkpoints import fingerprint
from fastnet.training.fit import FitOptions, PreparedFit
from fastnet.training.loop import EvaluationSet, TrainingJob
from fastnet.utils import memory

if TYPE_CHECKING:
    from fastnet.network import Network

Array = NDArray[Any]


class Moments:
    """Mean and squared deviations of columns, over rows seen in pieces (Chan et al., 1979)."""

    def __init__(self) -> None:
        self.weight = 0.0
        self._origin: Array | None = None  # the first row: a constant column deviates by exactly 0
        self._mean: Array = np.zeros(1)
        self._square: Array = np.zeros(1)

    def add(self, values: Array, weight: Array | None) -> None:
        """Take in rows (B,) or (B, C)."""
        values = values.reshape(len(values), -1).astype(np.float64)
        if self._origin is None:
            self._origin = values[0].copy()
        w = np.ones(len(values)) if weight is None else weight.astype(np.float64)
        with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is refused later
            self._add(values - self._origin, w)

    def _add(self, values: Array, w: Array) -> None:
        total = float(w.sum())
        if not total:
            return
        mean = w @ values / total
        both, apart = self.weight + total, mean - self._mean
        spread = apart**2 * (self.weight * total / both)
        self._square = self._square + w @ (values - mean) ** 2 + spread
        self._mean = self._mean + apart * (total / both)
        self.weight = both

    @property
    def mean(self) -> Array:
        """The weighted means (C,)."""
        return self._mean if self._origin is None else self._mean + self._origin

    @property
    def variance(self) -> Array:
        """The weighted variances (C,), of the population."""
        return self._square / self.weight if self.weight else self._square


class Windows:
    """The rows of `Chunks` as a network's engine takes them, two chunks at a time.

    Parameters
    ----------
    chunks : Chunks
    network : Network
    loss : Loss
    batch_size : int
    class_weight : dict of int to float, optional
    checksums : bool, default False
        Whether `basis` is going to be asked for.

    Raises
    ------
    InputError, DataError
        A row does not fit; all rows are looked at.
    """

    def __init__(
        self,
        chunks: Chunks,
        network: Network,
        loss: Loss,
        batch_size: int,
        class_weight: Mapping[int, float] | None,
        *,
        standardize: bool,
        checksums: bool = False,
    ) -> None:
        if loss.name == "cross_entropy" and chunks.target_columns != 1:
            raise InputError("for cross_entropy, Chunks need one column of class numbers.")
        self._chunks, self._network, self._loss = chunks, network, loss
        self._class_weight = class_weight
        self.scaler, self.dtype = network.scaler, network.dtype
        self.chunk_rows = rows_of_chunk(chunks, batch_size)
        self.count = -(-len(chunks) // self.chunk_rows)
        self.windows = -(-self.count // 2)
        self._checksum = fingerprint.RowsChecksum() if checksums else None
        self.target_spread = self._look(standardize)
        self._buffers: Batch | None = None

    def __len__(self) -> int:
        return len(self._chunks)

    def _look(self, standardize: bool) -> float:
        """Check all rows; learn the scaler where one is wanted. Return the targets' spread."""
        learns = standardize and self.scaler is None
        inputs, targets, total = Moments(), Moments(), 0.0
        for checked in self._checked(0, len(self), in_float64=learns or self.scaler is not None):
            weight = checked.rows.weight
            total += len(checked.rows) if weight is None else float(weight.sum())
            if self._checksum is not None:
                self._checksum.add(checked.rows)
            if learns:
                inputs.add(checked.rows.x, None)
            if self._loss.metric == "r2":
                targets.add(checked.targets, weight)
        if not total:
            raise InputError("the weights are 0 everywhere: there is nothing to learn from.")
        if learns:
            deviation = np.sqrt(inputs.variance)
            self.scaler = Scaler(inputs.mean, np.where(deviation == 0, 1.0, deviation))
        return float(np.mean(targets.variance))

    def basis(self) -> dict[str, Any]:
        """Return what a checkpoint says of the rows: as they were before the scaler."""
        assert self._checksum is not None
        scaler = None
        if self.scaler is not None:
            arrays = {"mean": self.scaler.mean, "scale": self.scaler.scale}
            scaler = fingerprint.of_arrays(arrays)
        return {**self._checksum.to_json(), "scaler": scaler, "chunk_rows": self.chunk_rows}

    def _checked(self, start: int, stop: int, *, in_float64: bool) -> Iterator[Samples]:
        """Yield checked rows, about a megabyte at a time."""
        network = self._network
        basis = network.plan, network.dtype, self._loss
        for place, x, y, weight in self._chunks.pieces(start, stop):
            if network.preprocessor is not None:
                x, y = edge.encode(network.preprocessor, x, y, network.dtype)
            where = f"(of the rows from {place} on)"
            names = f"x {where}", f"y {where}", f"weight {where}"
            # All weights of a piece may be 0, though not all there are.
            nothing = weight is not None and not np.any(weight)
            given = None if nothing else weight
            checked = samples.check(
                *basis, x, y, given, self._class_weight, in_float64=in_float64, names=names
            )
            if nothing:
                zeros = np.zeros(len(x), network.dtype)
                checked = replace(checked, rows=replace(checked.rows, weight=zeros))
            yield checked

    def order(self, seed: int, epoch: int, *, shuffle: bool) -> NDArray[np.intp]:
        """Return the chunks in the order in which an epoch reads them."""
        if not shuffle:
            return np.arange(self.count)
        return random.permutation(self.count, seed=seed, epoch=epoch, purpose=abi.BLOCKS)

    def bounds(self, chunk: int) -> tuple[int, int]:
        """Return the first row of a chunk, and the row after its last."""
        start = chunk * self.chunk_rows
        return start, min(start + self.chunk_rows, len(self))

    def rows_of(self, order: NDArray[np.intp], window: int) -> int:
        """Return how many rows a window has."""
        pairs = (self.bounds(int(chunk)) for chunk in order[2 * window : 2 * window + 2])
        return sum(stop - start for start, stop in pairs)

    def read(self, order: NDArray[np.intp], window: int) -> Batch:
        """Return the rows of a window, in memory that the next call uses again."""
        at = 0
        for chunk in order[2 * window : 2 * window + 2]:
            for checked in self._checked(
                *self.bounds(int(chunk)), in_float64=self.scaler is not None
            ):
                part = checked.scaled(self.scaler, self.dtype).rows
                buffers = self._buffers or self._make_buffers(part)
                for into, values in zip(buffers.fields, part.fields, strict=True):
                    if into is not None:
                        into[at : at + len(part)] = 1.0 if values is None else values
                at += len(part)
        assert self._buffers is not None
        return self._buffers.part(0, at)

    def _make_buffers(self, like: Batch) -> Batch:
        count = min(2 * self.chunk_rows, len(self))
        made = (
            None if a is None else np.empty((count, *a.shape[1:]), a.dtype) for a in like.fields
        )
        self._buffers = Batch(*made)
        return self._buffers


def rows_of_chunk(chunks: Chunks, batch_size: int) -> int:
    """Return how many rows a chunk has: every one begins and ends between two batches."""
    size = chunks.chunk_rows
    return size if size >= len(chunks) else max(batch_size, size // batch_size * batch_size)


class ChunkEngine:
    """What the trainer takes for an engine: epochs go window by window, all else as ever."""

    def __init__(self, engine: Engine, backend: Backend, windows: Windows) -> None:
        self._engine, self._backend, self._windows = engine, backend, windows
        self._key: tuple[int, int] | None = None
        self._rows: Batch | None = None
        self._sums = loop.NOTHING
        self.warm_up, self.evaluate = engine.warm_up, engine.evaluate
        self.threads_for = engine.threads_for

    def begin_tally(self, sums: LossSums) -> None:
        """Let the next tally go on from these sums."""
        self._sums = sums

    def train_epoch(
        self,
        rows: Any,
        config: TrainConfig,
        moments: Any,
        coefficients: NDArray[Any],
        *,
        epoch: int,
        step: int,
        first: int = 0,
    ) -> LossSums:
        """Train on batches `first`, `first` + 1, ... of one epoch, as ``Engine.train_epoch``."""
        windows = self._windows
        order = windows.order(config.seed, epoch, shuffle=config.shuffle)
        batches = [config.steps(windows.rows_of(order, w)) for w in range(windows.windows)]
        ends = np.cumsum(batches)
        tally, self._sums = self._sums, loop.NOTHING
        done = 0
        while done < len(coefficients):
            window = int(np.searchsorted(ends, first + done, side="right"))
            count = min(int(ends[window]) - first - done, len(coefficients) - done)
            here = self._rows_of(order, epoch, window)
            self._engine.begin_tally(tally)
            tally = self._engine.train_epoch(
                here,
                config,
                moments,
                coefficients[done : done + count],
                epoch=epoch * windows.windows + window,
                step=step + done,
                first=first + done - int(ends[window]) + batches[window],
            )
            done += tally.steps
            if tally.steps < count:
                break
        return replace(tally, steps=done)

    def _rows_of(self, order: NDArray[np.intp], epoch: int, window: int) -> Batch:
        """Return the rows of a window on the backend; the newest one is kept."""
        if self._key != (epoch, window) or self._rows is None:
            # A single window never changes its rows.
            if self._rows is None or self._windows.windows > 1:
                self._rows = on_backend(self._windows.read(order, window), self._backend)
            self._key = epoch, window
        return self._rows


def prepare(asked: FitOptions, chunks: Chunks, validation_data: Any) -> PreparedFit:
    """Return the job for `Chunks`: what `fitting.prepare` does with rows in memory."""
    network, loss, optimizer = asked.network, asked.loss, asked.optimizer
    if isinstance(optimizer, LBFGS):
        raise InputError("lbfgs needs all data at once: choose another optimizer for Chunks.")
    if isinstance(asked.class_weight, str):
        raise InputError("class_weight='balanced' does not go with Chunks: give a dict.")
    if asked.metrics and validation_data is None:
        raise InputError("with Chunks, metrics need validation_data.")
    preprocessor, backend = network.preprocessor, network.backend_object
    metrics = asked.units(preprocessor)
    batch = asked.batch_of(len(chunks))
    _require_memory(asked, chunks, batch)
    windows = Windows(
        chunks,
        network,
        loss,
        batch,
        asked.class_weight,
        standardize=asked.standardize,
        checksums=asked.checkpointer is not None,
    )
    held_out = asked.pair(validation_data, preprocessor)
    validation = None
    if held_out is not None:
        held_out = held_out.weighted().scaled(windows.scaler, network.dtype)
        validation = EvaluationSet.of(held_out, backend, "val_")
    rows_fingerprint = {}
    if asked.checkpointer is not None:
        rows_fingerprint = fingerprint.of_table(preprocessor) | windows.basis()
        rows_fingerprint |= fingerprint.of_rows(held_out, "validation ")
    engine: Any = ChunkEngine(network._engine(asked.threads), backend, windows)
    data: Any = chunks  # which the trainer asks for their number, and hands to the engine
    course = asked.epochs, validation, metrics, asked.callbacks, windows.target_spread
    job = TrainingJob(network, engine, data, loss, *course)
    return PreparedFit(asked, job, batch, windows.scaler, preprocessor, rows_fingerprint)


def _require_memory(asked: FitOptions, chunks: Chunks, batch: int) -> None:
    """Refuse, before all rows are looked at, what could not be held: two chunks and the model."""
    size = rows_of_chunk(chunks, batch)
    columns = asked.network.inputs + chunks.target_columns + 1  # with the weights
    rows_bytes = min(2 * size, len(chunks)) * columns * asked.network.dtype.itemsize
    less = f"fewer rows in a chunk than {size:,}, {memory.LESS}"
    needed = rows_bytes + asked.training_bytes(batch)
    memory.require(needed, "training on two chunks at a time", less)
