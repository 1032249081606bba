"""One pass over the rows of `Chunks`: checked rows, predictions, and the metrics of all of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from fastnet.backends.epochs import LossSums
from fastnet.data.chunks import Chunks
from fastnet.errors import InputError
from fastnet.model import Model
from fastnet.nn.losses import Loss
from fastnet.nn.metrics import Metric, r2_from
from fastnet.preprocessing.base import Preprocessor
from fastnet.preprocessing.samples import Samples
from fastnet.preprocessing.statistics import Moments
from fastnet.training.checkpoints import fingerprint
from fastnet.training.evaluation import measure
from fastnet.training.state import NOTHING, TrainingJob

Array = NDArray[Any]


def checked_rows(
    chunks: Chunks,
    model: Model,
    loss: Loss,
    preprocessor: Preprocessor,
    bounds: tuple[int, int],
    dtype: np.dtype[Any],
    targets_dtype: np.dtype[Any],
) -> Iterator[Samples]:
    """Yield the checked and encoded rows within `bounds`, about a megabyte at a time."""
    basis = model.plan, targets_dtype, loss
    for _, names, x, y, weight, _ in chunks.pieces(*bounds, preprocessor):
        values, targets = preprocessor.encode(x, y, dtype, names[0])
        # The weights of one piece may all be 0, those of all rows may not.
        nothing = weight is not None and not np.any(weight)
        given = None if nothing else weight
        checked = Samples.check(*basis, values, targets, given, names=names, piece=True)
        if nothing:
            zeros = np.zeros(len(x), targets_dtype)
            checked = replace(checked, rows=replace(checked.rows, weight=zeros))
        yield checked


def predict(model: Model, chunks: Chunks) -> Array:
    """Return the encoded outputs (N, O) on the host; inputs are in memory a piece at a time."""
    engine, backend = model.engine(), model.backend_object
    outputs = np.empty((len(chunks), model.outputs), model.dtype)
    for place, names, x, *_ in chunks.inputs(0, len(chunks), model.preprocessor):
        values = model.preprocessor.transform(x, model.dtype, names[0])
        outputs[place : place + len(x)] = backend.outputs(engine, values)
    return outputs


@dataclass(frozen=True)
class ChunkSet:
    """Chunks that are evaluated after each epoch.

    Attributes
    ----------
    fingerprint : dict
        That of their rows, where checkpoints need it.
    """

    chunks: Chunks
    prefix: str
    fingerprint: dict[str, Any]

    @classmethod
    def of(
        cls, chunks: Chunks, model: Model, loss: Loss, preprocessor: Preprocessor, checksums: bool
    ) -> Self:
        """Check all rows, and return them for validation.

        Raises
        ------
        InputError, DataError
            A row is invalid; the message names its file and its number.
        """
        made, prefix = fingerprint.RowsChecksum(), "val_"
        how = preprocessor, (0, len(chunks)), model.dtype, model.dtype
        for checked in checked_rows(chunks, model, loss, *how):
            if checksums:
                made.add(checked.rows)
        return cls(chunks, prefix, made.to_json("validation ") if checksums else {})

    def evaluate(self, job: TrainingJob) -> dict[str, float]:
        """Return loss, score and the job's metrics for all rows, with their prefix."""
        values = evaluate(job.model, self.chunks, job.loss, job.metrics, job.engine)
        return {self.prefix + name: value for name, value in values.items()}


def evaluate(
    model: Model,
    chunks: Chunks,
    loss: Loss,
    metrics: list[tuple[str, Metric]],
    engine: Any = None,
) -> dict[str, float]:
    """Return loss, score and `metrics` of all rows, as those of rows in memory are.

    Sums are kept, and the targets and outputs of all rows where there are `metrics`.
    """
    engine, backend = engine or model.engine_for(loss), model.backend_object
    total, moments, kept = NOTHING, Moments(), list[tuple[Array, Array, Array | None]]()
    squares: Any = 0.0
    several = loss.metric == "r2" and chunks.target_columns > 1
    how = model.preprocessor, (0, len(chunks)), model.dtype, model.dtype
    for checked in checked_rows(chunks, model, loss, *how):
        weight = checked.rows.weight
        if weight is not None and not weight.any():
            continue
        # Add up what the backend measured.
        samples = checked.weighted()
        targets, weight = samples.targets, samples.rows.weight
        tally, made = engine.evaluate(backend.place(samples.rows), loss)
        total = LossSums(
            total.loss + tally.loss, total.score + tally.score, total.weight + tally.weight, 1
        )
        if loss.metric == "r2":
            moments = moments.plus(targets, weight)
        # Read the outputs where the sums do not say it all; the next piece overwrites them.
        if several or metrics:
            outputs = np.array(backend.to_host(made))
        if several:
            errors = targets.astype(np.float64) - outputs[:, : targets.shape[1]]
            squares = squares + np.average(errors**2, axis=0, weights=weight) * tally.weight
        if metrics:
            kept.append((targets, outputs, weight))
    if not total.weight:
        raise InputError("the weights are 0 everywhere: there is nothing to evaluate.")
    # Compute the metrics of all rows.
    variance = moments.variance if loss.metric == "r2" else np.zeros(1)
    values = measure(total, loss, float(np.mean(variance)), "")
    if several:
        pairs = zip(squares / total.weight, variance, strict=True)
        values["r2"] = float(np.mean([r2_from(float(e), float(v)) for e, v in pairs]))
    for name, metric in metrics:
        values[name] = metric(*_joined(kept))
    return values


def _joined(kept: list[tuple[Array, Array, Array | None]]) -> tuple[Array, Array, Array | None]:
    """Return targets, outputs and weights of all pieces, each in one array."""
    targets, outputs = (np.concatenate([part[i] for part in kept]) for i in (0, 1))
    weights = [part[2] for part in kept]
    if all(weight is None for weight in weights):
        return targets, outputs, None
    ones = (np.ones(len(part[0]), part[1].dtype) for part in kept)
    pairs = zip(weights, ones, strict=True)
    return targets, outputs, np.concatenate([one if w is None else w for w, one in pairs])
