"""Training on several processes: the rows of all ranks, in parts, as a job for the trainer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnet.backends.gpu.host_rows import HostRows
from fastnet.data.chunks import Chunks
from fastnet.data.frame import is_table
from fastnet.distributed.engine import DistributedEngine, require_rows
from fastnet.distributed.group import Group
from fastnet.distributed.rows import PartedRows
from fastnet.errors import InputError
from fastnet.nn.batch import Batch
from fastnet.nn.function_loss import FunctionLoss
from fastnet.nn.optimizers import LBFGS
from fastnet.preprocessing import datasets
from fastnet.preprocessing.base import Passthrough, Preprocessor
from fastnet.training.checkpoints import fingerprint
from fastnet.training.chunk_learning import learn_for
from fastnet.training.data_parallel import agreement, statistics
from fastnet.training.data_parallel import rows as rank_rows
from fastnet.training.evaluation import BOTH, EvaluationSet
from fastnet.training.fit import FitOptions, PreparedFit
from fastnet.training.state import TrainingJob
from fastnet.utils import memory
from fastnet.utils.device_arrays import on_host

Array = NDArray[Any]


def settle(group: Group, known: Callable[[], int | None]) -> None:
    """Decide the number of parts; ``known()`` is that of a run to resume, which rank 0 reads.

    Raises
    ------
    InputError
        The ranks ask for different numbers.
    """
    group.require_same({"parts": group.asked})
    group.settle(group.of_first(known() if group.is_first else None))


def prepare(
    options: FitOptions,
    group: Group,
    x: Any,
    y: Any,
    sample_weight: Any,
    validation_data: Any,
) -> PreparedFit:
    """Return the job for the rows of all ranks, as `fit.prepare` does for those of one process.

    Arrays are a rank's own rows, and the data are those of all ranks, one after the other. `Chunks`
    are all rows, on every rank, of which it reads those of its parts.
    """
    _refuse(options, validation_data)
    group.require_same(agreement.settings(options, group, x, validation_data))
    model, loss, dtype = options.model, options.loss, options.model.dtype
    if isinstance(x, Chunks) and (y is not None or sample_weight is not None):
        raise InputError("Chunks hold their own targets and weights: leave out y and sample_weight")
    x, y, sample_weight = on_host("x", x), on_host("y", y), on_host("sample_weight", sample_weight)
    if isinstance(validation_data, tuple):
        validation_data = tuple(on_host("validation_data", one) for one in validation_data)
    before = _preprocessor_for(options, x)
    if before is not model.preprocessor:
        group.require_same(agreement.of_preprocessor(before))
    how = rank_rows.encoding(options, before)
    sample_weight = datasets.weights_of(x, sample_weight)
    # Read and check the rows, cut them into parts, and hold some of each back.
    train, axes = rank_rows.parts_of(
        options, group, how, (x, y, sample_weight), ("x", "y", "sample_weight")
    )
    held_out: list[Batch] | None = None
    if options.validation_split:
        train, held_out = rank_rows.split(group, train, options.validation_split, model.seed)
    train = rank_rows.with_weight(group, train, "there is nothing to learn from")
    count = rank_rows.count_of(group, train)
    require_rows(group, count)
    # Learn the scales, and encode the rows by them.
    preprocessor = statistics.learned(options, group, how, before, train)
    train = [statistics.encoded(part, how, preprocessor, dtype) for part in train]
    train = statistics.with_class_weight(options, group, preprocessor, train)
    statistics.warn_if_beyond(options, group, train)
    metrics = options.metrics_in_units(preprocessor)
    evaluated: EvaluationSet | None = None
    if held_out is not None:
        held_out = rank_rows.with_weight(group, held_out, "there is nothing to evaluate")
        held_out = [statistics.encoded(part, how, preprocessor, dtype) for part in held_out]
    elif validation_data is not None:
        held_out = rank_rows.validation_rows(options, group, preprocessor, validation_data)
    if held_out is not None:
        evaluated = statistics.evaluation(options, group, held_out, "val_")
    elif metrics:
        evaluated = statistics.evaluation(options, group, train, "")
    batch = options.batch_of(count)
    _require_batch(options, group, batch)
    gradients = 2 * len(group.held) * model.plan.size * dtype.itemsize
    here = -(-batch * len(group.held) // group.parts)
    memory.require(options.training_bytes(here) + gradients, "training it")
    # Prepare engine and job.
    placed = [model.backend_object.place(part) for part in train]
    if any(isinstance(part, HostRows) for part in placed):
        raise InputError(
            "the rows of this rank do not fit into the memory of its GPU: start more ranks, each "
            "with a GPU of its own."
        )
    main = model.engine_for(loss)
    engine = DistributedEngine(
        *(main, model.backend_object, group), precision=model.precision, threads=options.threads
    )
    variance = 0.0
    if loss.metric == "r2":
        found = statistics.moments(
            group, [(statistics.targets(part), part.weight) for part in train]
        )
        variance = float(np.mean(found.variance))
    rows = PartedRows(placed, count)
    job = options.job(engine, rows, evaluated, metrics, variance)
    if loss.metric == "accuracy":
        job.history.majority = statistics.majority(options, group, train, evaluated)

    def rows_fingerprint() -> dict[str, Any]:
        return {
            "parts": group.parts,
            **fingerprint.of_preprocessor(preprocessor),
            **statistics.fingerprint_of(group, train),
            **statistics.fingerprint_of(group, held_out, "validation "),
        }

    made = PreparedFit(options, job, batch, preprocessor, axes, rows_fingerprint)
    return replace(made, least_rows=_least_rows(options, group))


def compare_networks(job: TrainingJob) -> None:
    """Raise `DistributedError` unless all ranks have the same weights after training."""
    assert isinstance(job.engine, DistributedEngine)
    job.engine.compare_parameters()


def _refuse(options: FitOptions, validation_data: Any) -> None:
    if options.validation_split and validation_data is not None:
        raise InputError(BOTH)
    if isinstance(options.optimizer, LBFGS):
        raise InputError("lbfgs needs all data at once: choose another optimizer with comm.")
    if isinstance(options.loss, FunctionLoss):
        raise InputError(
            "a loss of your own may need all rows of a batch at once, and with comm each rank has "
            "some of them: choose a loss of fastnet, or train without comm."
        )


def _preprocessor_for(options: FitOptions, x: Any) -> Preprocessor:
    """Return the network's preprocessor; of a table in a file, learn the first one."""
    model = options.model
    before, new = model.preprocessor, model.optimizer_state is None
    if isinstance(before, Passthrough) and new:
        if isinstance(x, Chunks) and not x.is_matrix:
            return learn_for(x, model.plan, model.seed, options.loss)
        if not isinstance(x, Chunks) and is_table(datasets.inputs_of(x, before)):
            raise InputError(
                "with comm, a table needs a preprocessor that all ranks share: set "
                "net.preprocessor = fn.tables.TablePreprocessor.fit(...) of the same rows on every "
                "rank, or give fn.data.Chunks of its file."
            )
    return before


def _least_rows(options: FitOptions, group: Group) -> int:
    """Return the fewest rows of a batch, of which each part must get enough."""
    least = options.model.plan.least_rows
    return 1 if least == 1 else least * group.parts


def _require_batch(options: FitOptions, group: Group, batch: int) -> None:
    least = _least_rows(options, group)
    if batch < least:
        raise InputError(
            f"batch normalisation needs at least {options.model.plan.least_rows} rows of each of "
            f"the {group.parts} parts in a batch, {least} in all, got {batch}: give a larger "
            "batch_size or fewer parts, or normalise by LayerNorm."
        )
