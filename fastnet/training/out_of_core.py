"""Training out of core on `Chunks`, of which two are in memory at a time.

The trainer uses an engine whose ``train_epoch`` takes the batches of an epoch window by window. A
window is two chunks in one array. The network's engine trains on it as on rows in memory, in the
order ``random.permutation(rows, seed=seed, epoch=epoch * W + w)`` for window w of W. Chunks are
read in the order ``random.permutation(chunks, seed=seed, epoch=epoch, purpose=BLOCKS)``. Every
window but one begins and ends between two full batches, as chunks are multiples of the batch size.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from fastnet.backends.base import Backend
from fastnet.backends.engine import Engine
from fastnet.backends.epochs import LossSums, TrainConfig
from fastnet.data.chunks import Chunks
from fastnet.errors import InputError
from fastnet.kernels import abi
from fastnet.model import Model
from fastnet.nn import random
from fastnet.nn.batch import Batch
from fastnet.nn.losses import Loss
from fastnet.nn.optimizers import LBFGS
from fastnet.preprocessing.base import Passthrough, Preprocessor
from fastnet.preprocessing.learn import scaled_target
from fastnet.preprocessing.samples import Samples
from fastnet.preprocessing.scaler import Scaler
from fastnet.preprocessing.statistics import Moments
from fastnet.preprocessing.weights import ClassTotals, ClassWeight
from fastnet.training import reach
from fastnet.training.checkpoints import fingerprint
from fastnet.training.chunk_learning import learn_for
from fastnet.training.chunk_pass import checked_rows
from fastnet.training.fit import FitOptions, PreparedFit
from fastnet.training.state import NOTHING
from fastnet.utils import memory

Array = NDArray[Any]

OWN_TARGETS: Final = "Chunks hold their own targets and weights: leave out y and sample_weight"


class Windows:
    """The rows of `Chunks`, two chunks at a time, in the form that an engine takes.

    Parameters
    ----------
    chunks : Chunks
    model : Model
    loss : Loss
    batch_size : int
    class_weight : dict of int to float, optional
    standardize : bool or "running"
        Whether to fit a `Scaler` if the model has none, or to go on counting with the one it has.
    preprocessor : Preprocessor, optional
        Default: that of the model.
    scales_targets : bool, default False
        Whether to fit the scale of the targets.
    checksums : bool, default False
        Whether `fingerprint` will be needed.
    as_0_1 : bool, default False
        Whether the scaler leaves out the weights, as in version 0.1.

    Attributes
    ----------
    preprocessor : Preprocessor
        It turns rows into inputs; a `Scaler` if one was fitted.
    target_variance : float

    Raises
    ------
    InputError, DataError
        A row is invalid; all rows are checked.
    """

    def __init__(
        self,
        chunks: Chunks,
        model: Model,
        loss: Loss,
        batch_size: int,
        class_weight: ClassWeight | None,
        *,
        standardize: bool | Literal["running"],
        preprocessor: Preprocessor | None = None,
        scales_targets: bool = False,
        checksums: bool = False,
        as_0_1: bool = False,
    ) -> None:
        if loss.name == "cross_entropy" and chunks.target_columns != 1:
            raise InputError("for cross_entropy, Chunks need one column of class numbers.")
        self._chunks, self._model, self._loss = chunks, model, loss
        self._class_weight, self._as_0_1 = class_weight, as_0_1
        self.preprocessor: Preprocessor = preprocessor or model.preprocessor
        self.chunk_rows = rows_of_chunk(chunks, batch_size)
        self.count = -(-len(chunks) // self.chunk_rows)
        self.windows = -(-self.count // 2)
        self._checksum = fingerprint.RowsChecksum() if checksums else None
        self.target_variance = self._look(standardize, scales_targets)
        self._buffers: Batch | None = None

    def __len__(self) -> int:
        return len(self._chunks)

    def _look(self, standardize: bool | Literal["running"], scales_targets: bool) -> float:
        """Check all rows, fit the scaler if needed, and return the variance of the targets."""
        before = self.preprocessor
        goes_on = standardize == "running" and isinstance(before, Scaler)
        learns = goes_on or (standardize and isinstance(before, Passthrough))
        # The scaler needs the unrounded values: float32 would drop digits.
        raw, dtype = self.preprocessor, self._model.dtype
        if learns or isinstance(raw, Scaler):
            raw, dtype = Passthrough(raw.inputs, raw.target), np.dtype(np.float64)
        inputs, targets, total = getattr(before, "moments", None) or Moments(), Moments(), 0.0
        exact = np.dtype(np.float64) if scales_targets else self._model.dtype
        activation, beyond = self._model.plan.output_activation.name, False
        for plain in self._checked(0, len(self), raw, dtype, exact):
            checked = self._weighed(plain)
            weight = checked.rows.weight
            counts = slice(None) if weight is None else weight > 0
            beyond |= reach.is_beyond(checked.targets[counts], self._loss, activation)
            total += len(checked) if weight is None else float(weight.sum())
            if self._checksum is not None:
                self._checksum.add(checked.rows)
            if learns:
                # A class weighs the loss alone.
                count = None if self._as_0_1 else plain.rows.weight
                inputs = inputs.plus(checked.rows.x, count)
            if self._loss.metric == "r2" or scales_targets:
                targets = targets.plus(checked.targets, weight)
        if not total:
            raise InputError("the weights are 0 everywhere: there is nothing to learn from.")
        if beyond:
            reach.warn_of(activation)
        if learns and getattr(before, "moments", inputs) is not None:
            self.preprocessor = Scaler.of(inputs, before.target)
        variance = targets.variance
        if scales_targets:
            assert isinstance(self.preprocessor, Passthrough | Scaler)
            scale = np.where(variance == 0, 1.0, np.sqrt(variance))
            target = scaled_target(before.target, targets.mean, scale)
            self.preprocessor = replace(self.preprocessor, target=target)
            variance = variance / scale**2
        return float(np.mean(variance))

    def fingerprint(self) -> dict[str, Any]:
        """Return the fingerprint of the rows before scaling."""
        assert self._checksum is not None
        made, arrays = self.preprocessor, {}
        if isinstance(made, Scaler):
            arrays = {"mean": made.mean, "scale": made.scale}
        target = made.target
        if isinstance(made, Passthrough | Scaler) and target is not None and target.is_scaled:
            arrays |= {"target_center": target.center, "target_scale": target.scale}
        scaler = fingerprint.of_arrays(arrays) or None
        rows = self._checksum.to_json()
        table = fingerprint.of_preprocessor(self.preprocessor)
        return {**table, **rows, "scaler": scaler, "chunk_rows": self.chunk_rows}

    def _checked(
        self,
        start: int,
        stop: int,
        preprocessor: Preprocessor,
        dtype: np.dtype[Any],
        targets_dtype: np.dtype[Any],
    ) -> Iterator[Samples]:
        """Return an iterator over checked and encoded rows, about a megabyte at a time."""
        how = self._model, self._loss, preprocessor, (start, stop), dtype, targets_dtype
        return checked_rows(self._chunks, *how)

    def first(self, most: int) -> Batch:
        """Return the first rows, at most so many."""
        dtypes = self._model.dtype, self._model.dtype
        checked = next(self._checked(0, min(most, len(self)), self.preprocessor, *dtypes))
        return self._weighed(checked).rows

    def _weighed(self, samples: Samples) -> Samples:
        """Return rows with the weights of their classes."""
        options = self._class_weight, self._loss, self._model.outputs
        return samples.with_class_weight(*options, dtype=self._model.dtype, piece=True)

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
        """Return the number of rows of a window."""
        pairs = (self.bounds(int(chunk)) for chunk in order[2 * window : 2 * window + 2])
        return sum(stop - start for start, stop in pairs)

    def read(self, order: NDArray[np.intp], window: int) -> Batch:
        """Return the rows of a window, in memory that the next call overwrites."""
        at = 0
        for chunk in order[2 * window : 2 * window + 2]:
            bounds = self.bounds(int(chunk))
            dtypes = self._model.dtype, self._model.dtype
            for checked in self._checked(*bounds, self.preprocessor, *dtypes):
                part = self._weighed(checked).rows
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
    """Return the rows of a chunk, a multiple of the batch size."""
    size = chunks.chunk_rows
    return size if size >= len(chunks) else max(batch_size, size // batch_size * batch_size)


class ChunkEngine:
    """An engine that trains epochs window by window and otherwise uses the network's engine."""

    def __init__(self, engine: Engine, backend: Backend, windows: Windows) -> None:
        self._engine, self._backend, self._windows = engine, backend, windows
        self._key: tuple[int, int] | None = None
        self._rows: Batch | None = None
        self._sums = NOTHING
        self.evaluate = engine.evaluate
        self.threads_for, self.agreed = engine.threads_for, engine.agreed
        self.of_first = engine.of_first

    def prepare_for(self, *_: object) -> None:
        """Compile or load the kernels; windows are read when they are trained on."""
        self._engine.warm_up()

    def begin_tally(self, sums: LossSums) -> None:
        """Start the next tally from these sums."""
        self._sums = sums

    def trains_ahead(self, batch: int, held_out: int = 0) -> bool:
        """Return False: an epoch needs its windows."""
        return False

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
        tally, self._sums = self._sums, NOTHING
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
            # The rows of a single window never change.
            if self._rows is None or self._windows.windows > 1:
                self._rows = self._backend.place(self._windows.read(order, window))
            self._key = epoch, window
        return self._rows


def prepare(options: FitOptions, chunks: Chunks, validation_data: Any) -> PreparedFit:
    """Return the job for `Chunks`, as `fit.prepare` does for rows in memory."""
    # Refuse arguments that need all rows at once.
    model, loss = options.model, options.loss
    if isinstance(options.optimizer, LBFGS):
        raise InputError("lbfgs needs all data at once: choose another optimizer for Chunks.")
    if options.metrics and validation_data is None:
        raise InputError("with Chunks, metrics need validation_data.")
    # Learn what the columns of a table are.
    preprocessor = model.preprocessor
    new = isinstance(preprocessor, Passthrough) and model.optimizer_state is None
    if new and not chunks.is_matrix:
        preprocessor = learn_for(chunks, model.plan, model.seed, loss)
    # Check the rows of the file, and fit the scaler.
    batch = options.batch_of(len(chunks))
    _require_memory(options, chunks, batch)
    class_weight = options.class_weights(preprocessor)
    if class_weight == "balanced":
        class_weight = _balanced(options, chunks, preprocessor)
    windows = Windows(
        chunks,
        model,
        loss,
        batch,
        class_weight,
        standardize=options.standardize,
        preprocessor=preprocessor,
        scales_targets=options.scales(preprocessor),
        checksums=options.checkpointer.active,
        as_0_1=options.checkpointer.weighs_as_0_1,
    )
    # Prepare validation rows, engine and job.
    metrics = options.metrics_in_units(windows.preprocessor)
    evaluated, fingerprint_of_validation = options.held_out(validation_data, windows.preprocessor)
    of_loss = model.engine_for(loss, options.threads)
    of_loss.rehearse(windows.first(batch), loss)
    engine = ChunkEngine(of_loss, model.backend_object, windows)
    # Of the chunks, the trainer needs only their number of rows.
    job = options.job(engine, chunks, evaluated, metrics, windows.target_variance)

    def rows_fingerprint() -> dict[str, Any]:
        return windows.fingerprint() | fingerprint_of_validation()

    made = windows.preprocessor, chunks.target_axes
    return PreparedFit(options, job, batch, *made, rows_fingerprint)


def _balanced(options: FitOptions, chunks: Chunks, preprocessor: Preprocessor) -> ClassWeight:
    """Return the weights of classes that give all of them the same total; all rows are read."""
    model, loss = options.model, options.loss
    totals, how = ClassTotals(loss, model.outputs), (preprocessor, (0, len(chunks)))
    for checked in checked_rows(chunks, model, loss, *how, model.dtype, model.dtype):
        totals.add(checked.rows)
    return totals.balanced()


def _require_memory(options: FitOptions, chunks: Chunks, batch: int) -> None:
    """Raise, before any row is read, if two chunks and the model do not fit into memory."""
    size, model = rows_of_chunk(chunks, batch), options.model
    columns = model.inputs + chunks.target_columns + 1  # with the weights
    rows_bytes = min(2 * size, len(chunks)) * columns * model.dtype.itemsize
    less = f"fewer rows in a chunk than {size:,}, {memory.LESS}"
    needed = rows_bytes + options.training_bytes(batch)
    memory.require(needed, "training on two chunks at a time", less)
