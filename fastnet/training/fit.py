"""Fitting: from what ``fit`` is given to a job for the trainer, with everything checked.

The network does not change before `PreparedFit.opened`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from numpy.typing import ArrayLike

from fastnet.backends.base import TrainConfig
from fastnet.errors import InputError
from fastnet.nn import metrics as metric_table
from fastnet.nn.losses import Loss
from fastnet.nn.metrics import Metric
from fastnet.nn.optimizers import LBFGS, Optimizer
from fastnet.preprocessing import samples
from fastnet.preprocessing.samples import Samples
from fastnet.training.callbacks import Callback, EarlyStopping
from fastnet.training.checkpoints import fingerprint
from fastnet.training.loop import EvaluationSet, TrainingJob
from fastnet.utils import memory

if TYPE_CHECKING:
    from fastnet.data import Scaler
    from fastnet.network import Network
    from fastnet.tables import TablePreprocessor
    from fastnet.training.checkpoints.writer import CheckpointWriter


@dataclass(frozen=True, kw_only=True)
class FitOptions:
    """What a call of ``fit`` asks for, beside its rows; see there."""

    network: Network
    loss: Loss
    optimizer: Optimizer | LBFGS
    epochs: int
    batch_size: int | None
    shuffle: bool
    metrics: list[tuple[str, Metric]]
    callbacks: list[Callback]
    class_weight: Mapping[int, float] | str | None
    standardize: bool
    threads: int | None
    checkpointer: CheckpointWriter | None

    @property
    def in_float64(self) -> bool:
        """Whether inputs are checked in float64: a scaler needs the digits."""
        return self.standardize or self.network.scaler is not None

    def batch_of(self, count: int) -> int:
        """Return the rows of a batch, of `count` rows in all."""
        return count if self.batch_size is None else min(count, self.batch_size)

    def pair(self, validation_data: Any, preprocessor: TablePreprocessor | None) -> Samples | None:
        """Return checked validation rows, not yet scaled."""
        if validation_data is None:
            return None
        x, y, weight = samples.pair("validation_data", validation_data)
        if preprocessor is not None:
            from fastnet.preprocessing import edge

            x, y = edge.encode(preprocessor, x, y, self.network.dtype)
        names = "validation_data[0]", "validation_data[1]", "validation_data[2]"
        basis = self.network.plan, self.network.dtype, self.loss
        return samples.check(*basis, x, y, weight, in_float64=self.in_float64, names=names)

    def units(self, preprocessor: TablePreprocessor | None) -> list[tuple[str, Metric]]:
        """Return the metrics, in the unit of a table's targets."""
        if preprocessor is None:
            return self.metrics
        if self.standardize:
            raise InputError("the columns of a table are scaled already: no standardize=True.")
        from fastnet.preprocessing import edge

        return edge.unscaled(preprocessor, self.metrics, self.loss)

    def training_bytes(self, batch: int) -> int:
        """Return the memory that training takes beside the rows; on a GPU it is not known."""
        network = self.network
        if network.backend == "cupy":
            return 0
        fixed, per_row = memory.training_bytes(
            network.plan,
            network.dtype.itemsize,
            self.optimizer,
            checkpoints=self.checkpointer is not None,
        )
        return fixed + per_row * batch


@dataclass(frozen=True)
class PreparedFit:
    """A job of which everything is checked.

    Attributes
    ----------
    scaler, preprocessor
        What the network is going to have.
    rows : dict of plain JSON values
        What a checkpoint says of the rows; empty without checkpoints.
    """

    request: FitOptions
    job: TrainingJob
    batch_size: int
    scaler: Scaler | None
    preprocessor: TablePreprocessor | None
    rows: dict[str, Any]

    def __post_init__(self) -> None:
        """Check what needs the names of the metrics."""
        for callback in self.job.callbacks:
            if isinstance(callback, EarlyStopping):
                callback.check(self.job.names)

    @property
    def config(self) -> TrainConfig:
        """How an epoch goes."""
        asked = self.request
        assert isinstance(asked.optimizer, Optimizer)
        seed = asked.network.seed
        return TrainConfig(asked.loss, asked.optimizer, self.batch_size, seed, asked.shuffle)

    @contextmanager
    def opened(self) -> Iterator[TrainingJob]:
        """Open the folder of checkpoints; from here on the network changes."""
        asked, network, made = self.request, self.request.network, self.preprocessor
        with ExitStack() as stack:
            if asked.checkpointer is not None:
                course = asked.optimizer, self.batch_size, asked.shuffle
                checkpointer = asked.checkpointer.opened(self.job, *course, self.rows)
                self.job.checkpointer = stack.enter_context(checkpointer)
            network.scaler, network.preprocessor = self.scaler, made
            network.loss, network.temperature = asked.loss, None
            if made is not None and made.label_names is not None:
                network.label_names = made.label_names
            yield self.job


def prepare(
    asked: FitOptions,
    x: Any,
    y: Any,
    sample_weight: ArrayLike | None,
    validation_data: Any,
    fraction: float,
) -> PreparedFit:
    """Return the job for rows in memory, of which `fraction` validates."""
    if y is None:
        raise InputError("fit needs targets: give y.")
    network = asked.network
    scaler, preprocessor, loss = network.scaler, network.preprocessor, asked.loss
    if preprocessor is None and network.optimizer_state is None and samples.is_table(x):
        from fastnet.preprocessing import edge

        preprocessor = edge.learn(network, x, y, loss, fraction, sample_weight)
    metrics = asked.units(preprocessor)
    if preprocessor is not None:
        from fastnet.preprocessing import edge

        x, y = edge.encode(preprocessor, x, y, network.dtype)
    basis = network.plan, network.dtype, loss
    checked = samples.check(
        *basis, x, y, sample_weight, asked.class_weight, in_float64=asked.in_float64
    )
    held_out = asked.pair(validation_data, preprocessor)
    if fraction:
        checked, held_out = samples.split(checked, fraction, network.seed)
    checked = checked.weighted()
    if asked.standardize and scaler is None:
        from fastnet.data import Scaler

        scaler = Scaler.fit(checked.rows.x)
    checked = checked.scaled(scaler, network.dtype)
    held_out = None if held_out is None else held_out.weighted().scaled(scaler, network.dtype)
    count = len(checked.rows)
    batch = asked.batch_of(count)
    together = count if isinstance(asked.optimizer, LBFGS) else batch
    memory.require(asked.training_bytes(together), "training it")

    data = samples.on_backend(checked.rows, network.backend_object)
    validation = None
    if held_out is not None:
        validation = EvaluationSet.of(held_out, network.backend_object, "val_")
    elif metrics:
        validation = EvaluationSet(data, checked.targets, checked.rows.weight, "")
    variance = 0.0
    if loss.metric == "r2":
        variance = metric_table.variance(checked.targets, checked.rows.weight)
    rows_fingerprint = {}
    if asked.checkpointer is not None:
        rows_fingerprint = fingerprint.of_table(preprocessor) | fingerprint.of_rows(checked)
        rows_fingerprint |= fingerprint.of_rows(held_out, "validation ")
    course = asked.epochs, validation, metrics, asked.callbacks, variance
    job = TrainingJob(network, network._engine(asked.threads), data, loss, *course)
    return PreparedFit(asked, job, batch, scaler, preprocessor, rows_fingerprint)
