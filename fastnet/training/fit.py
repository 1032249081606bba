"""Conversion of the arguments of ``fit`` to a checked job for the trainer.

The network does not change here: `Network.fit` sets its new attributes once the checkpoint folder
is open.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal

from numpy.typing import ArrayLike

from fastnet.backends.epochs import TrainConfig
from fastnet.data.chunks import Chunks
from fastnet.data.frame import as_frame, is_table
from fastnet.errors import InputError
from fastnet.model import Model
from fastnet.nn import metrics as metric_table
from fastnet.nn import optimizers
from fastnet.nn.function_loss import AnyLoss
from fastnet.nn.losses import Loss
from fastnet.nn.memory import training_bytes
from fastnet.nn.metrics import Metric
from fastnet.nn.optimizers import LBFGS, Optimizer
from fastnet.preprocessing import datasets
from fastnet.preprocessing.base import Passthrough, Preprocessor
from fastnet.preprocessing.learn import learn_scaler, learn_table, require_scalable
from fastnet.preprocessing.legacy import weigh_classes_as_0_1
from fastnet.preprocessing.samples import Samples
from fastnet.preprocessing.scaler import Scaler
from fastnet.preprocessing.table import TablePreprocessor
from fastnet.preprocessing.target import axes_of
from fastnet.preprocessing.weights import ClassWeight, by_index
from fastnet.training import lbfgs, reach
from fastnet.training.callbacks import Callback, EarlyStopping, Run
from fastnet.training.checkpoints import fingerprint
from fastnet.training.chunk_pass import ChunkSet
from fastnet.training.evaluation import BOTH, EvaluationSet
from fastnet.training.history import History
from fastnet.training.progress import progress
from fastnet.training.state import Checkpointer, HeldOut, TrainingJob
from fastnet.utils import memory
from fastnet.utils.names import OptimizerName
from fastnet.utils.param_validation import (
    check_flag,
    check_float,
    check_int,
    check_list,
    plain,
)


@dataclass(frozen=True, kw_only=True)
class FitOptions:
    """The arguments of a call of ``fit`` beside its rows; see `Network.fit`."""

    model: Model
    loss: Loss
    optimizer: Optimizer | LBFGS
    epochs: int
    batch_size: int | None
    shuffle: bool
    metrics: list[tuple[str, Metric]]
    callbacks: list[Callback]
    class_weight: ClassWeight | None
    standardize: bool | Literal["running"]
    standardize_targets: bool
    validation_split: float
    threads: int | None
    checkpointer: Checkpointer

    def batch_of(self, count: int) -> int:
        """Return the batch size for `count` rows; refuse what batch normalisation cannot use."""
        batch = count if self.batch_size is None else min(count, self.batch_size)
        together = count if isinstance(self.optimizer, LBFGS) else batch
        self.model.plan.require_batch(together)
        return batch

    def validation_samples(
        self, validation_data: Any, preprocessor: Preprocessor
    ) -> Samples | None:
        """Return the caller's validation rows, checked and encoded."""
        if validation_data is None:
            return None
        pair = datasets.pair("validation_data", validation_data)
        x, y, weight = self.model.taken(pair, "validation_data")
        names = "validation_data[0]", "validation_data[1]", "validation_data[2]"
        x, y = datasets.unpacked(x, y, preprocessor, names[:2])
        if y is None and not (preprocessor.target and preprocessor.target.names):
            raise InputError(f"{names[1]} is None: expected targets.")
        model = self.model
        values, targets = preprocessor.encode(x, y, model.dtype, names[0])
        basis = model.plan, model.dtype, self.loss
        return Samples.check(*basis, values, targets, weight, names=names)

    def held_out(
        self, validation_data: Any, preprocessor: Preprocessor
    ) -> tuple[HeldOut | None, Callable[[], dict[str, Any]]]:
        """Return the caller's validation rows, and what returns their fingerprint."""
        if isinstance(validation_data, Chunks):
            how = self.model, self.loss, preprocessor, self.checkpointer.active
            chunks = ChunkSet.of(validation_data, *how)
            return chunks, lambda: chunks.fingerprint
        found = self.validation_samples(validation_data, preprocessor)
        return self.placed(None if found is None else found.weighted())

    def placed(self, rows: Samples | None) -> tuple[HeldOut | None, Callable[[], dict[str, Any]]]:
        """Return validation rows on the backend, and what returns their fingerprint."""
        made = None
        if rows is not None:
            made = EvaluationSet.of(rows, self.model.backend_object, "val_")
        batch = None if rows is None else rows.rows
        return made, lambda: fingerprint.of_rows(batch, "validation ")

    def metrics_in_units(self, preprocessor: Preprocessor) -> list[tuple[str, Metric]]:
        """Return the metrics, in the unit of a table's targets."""
        if self.standardize and isinstance(preprocessor, TablePreprocessor):
            raise InputError("the columns of a table are scaled already: no standardize=True.")
        target = preprocessor.target
        return self.metrics if target is None else target.metrics_in_units(self.metrics, self.loss)

    def class_weights(self, preprocessor: Preprocessor) -> ClassWeight | None:
        """Return the class weights by the index of each class."""
        target = preprocessor.target
        labels = None if target is None else target.labels
        known = self.model.label_names if labels is None else labels
        return by_index(self.class_weight, known, in_targets=labels is not None)

    def scales(self, preprocessor: Preprocessor) -> bool:
        """Return whether to learn the scale of the targets; a network that has one keeps it."""
        if not self.standardize_targets:
            return False
        require_scalable(self.loss, self.model.plan.output_activation.name)
        target = preprocessor.target
        return target is None or (target.labels is None and not target.is_scaled)

    def learns_scales(self, preprocessor: Passthrough | Scaler) -> tuple[bool, bool]:
        """Return whether to learn the scale of the inputs, and that of the targets."""
        first = isinstance(preprocessor, Passthrough) and bool(self.standardize)
        return first or self.standardize == "running", self.scales(preprocessor)

    def job(
        self,
        engine: Any,
        rows: Any,
        validation: HeldOut | None,
        metrics: list[tuple[str, Metric]],
        target_variance: float,
    ) -> TrainingJob:
        """Return the job for rows on an engine; `metrics` are in the unit of the targets."""
        options = self.loss, self.epochs, validation, metrics, self.callbacks
        return TrainingJob(self.model, engine, rows, *options, target_variance)

    def training_bytes(self, batch: int) -> int:
        """Return the host memory that training takes beside the rows; 0 for a GPU."""
        model = self.model
        if model.backend == "cupy":
            return 0
        fixed, per_row = training_bytes(
            model.plan,
            model.dtype.itemsize,
            self.optimizer,
            checkpoints=self.checkpointer.active,
        )
        return fixed + per_row * batch


def read_options(
    model: Model,
    *,
    loss: AnyLoss | None,
    optimizer: OptimizerName | Optimizer | LBFGS,
    epochs: int,
    batch_size: int | None,
    validation_split: float,
    early_stopping: int | EarlyStopping | None,
    metrics: Any,
    callbacks: Any,
    class_weight: ClassWeight | None,
    standardize: Any,
    standardize_targets: bool,
    shuffle: bool,
    threads: int | None,
    verbose: bool | int,
    checkpointer: Checkpointer,
) -> FitOptions:
    """Return the arguments of `Network.fit`, checked."""
    chosen, chosen_loss = optimizers.get(optimizer), model.loss_or_own(loss)
    model.check_blocks()
    if isinstance(chosen, LBFGS):
        lbfgs.check(model.plan, checkpointer)
    return FitOptions(
        model=model,
        loss=chosen_loss,
        optimizer=chosen,
        epochs=check_int("epochs", epochs),
        # A batch may be larger than all data, by however much.
        batch_size=batch_size
        if batch_size is None
        else check_int("batch_size", batch_size, most=None),
        shuffle=check_flag("shuffle", shuffle),
        metrics=metric_table.get(metrics, chosen_loss, model.plan.outputs),
        callbacks=make_callbacks(callbacks, early_stopping, verbose),
        class_weight=class_weight,
        standardize=check_standardize(standardize),
        standardize_targets=check_flag("standardize_targets", standardize_targets),
        threads=threads,
        validation_split=check_float("validation_split", validation_split, least=0, below=1),
        checkpointer=checkpointer,
    )


@dataclass(frozen=True)
class PreparedFit:
    """A checked job for the trainer.

    Attributes
    ----------
    preprocessor : Preprocessor
        The network's future preprocessor.
    target_axes : {1, 2}
        1 if the targets are (N,), 2 if they are (N, T).
    fingerprint : callable
        Returns the fingerprint of the rows.
    least_rows : int
        A last batch of fewer rows is left out of its epoch.
    """

    options: FitOptions
    job: TrainingJob
    batch_size: int
    preprocessor: Preprocessor
    target_axes: int
    fingerprint: Callable[[], dict[str, Any]]
    least_rows: int = 1

    def __post_init__(self) -> None:
        """Tell early stopping the metrics and their directions."""
        own = dict(self.options.metrics)
        stems = {name: name.removeprefix("val_") for name in self.job.names}
        modes = {name: metric_table.mode_of(stem, own.get(stem)) for name, stem in stems.items()}
        for callback in self.job.callbacks:
            if isinstance(callback, EarlyStopping):
                callback.prepare(modes)

    @property
    def config(self) -> TrainConfig:
        """The settings of an epoch."""
        options = self.options
        assert isinstance(options.optimizer, Optimizer)
        least = max(self.least_rows, options.model.plan.least_rows)
        how = self.batch_size, options.model.seed, options.shuffle, least
        return TrainConfig(options.loss, options.optimizer, *how)

    def beside(self, model: Model, optimizer: Optimizer, callbacks: list[Callback]) -> PreparedFit:
        """Return the job of another network of the same layers on the same rows."""
        history = History(majority=self.job.history.majority)
        options = replace(self.options, model=model, optimizer=optimizer, callbacks=callbacks)
        job = replace(self.job, model=model, callbacks=callbacks, history=history)
        return replace(self, options=options, job=job)

    @contextmanager
    def opened(self) -> Iterator[TrainingJob]:
        """Open the checkpoint folder; from here on the network may change."""
        options, checkpointer = self.options, self.options.checkpointer
        how = options.optimizer, self.batch_size, options.shuffle
        self.job.checkpointer = checkpointer
        with checkpointer.opened(self.job, *how, self.fingerprint):
            yield self.job


def prepare(
    options: FitOptions,
    x: Any,
    y: Any,
    sample_weight: ArrayLike | None,
    validation_data: Any,
) -> PreparedFit:
    """Return the job for rows in memory, with a fraction of them held out for validation."""
    model, loss, fraction = options.model, options.loss, options.validation_split
    if fraction and validation_data is not None:
        raise InputError(BOTH)
    preprocessor = model.preprocessor
    is_new = isinstance(preprocessor, Passthrough) and model.optimizer_state is None
    x, y, sample_weight = model.taken((x, y, sample_weight))
    sample_weight = datasets.weights_of(x, sample_weight)
    x, y = datasets.unpacked(x, y, preprocessor, learns=is_new)
    if y is None:
        raise InputError("fit needs targets: give y.")
    as_0_1 = options.checkpointer.weighs_as_0_1

    # Find or fit the preprocessor; x is converted once.
    rows = x, y, loss, fraction, sample_weight
    if is_new and is_table(x):
        x = as_frame(x)
        preprocessor = learn_table(
            *(model.plan, model.seed, x, y, loss, fraction),
            sample_weight=None if as_0_1 else sample_weight,
            categorical=options.checkpointer.categories,
        )
    elif isinstance(preprocessor, Passthrough | Scaler):
        inputs, targets = options.learns_scales(preprocessor)
        if inputs or targets:
            how = model.plan, model.seed, preprocessor, *rows
            preprocessor = learn_scaler(
                *how, inputs=inputs, targets=targets, counts_weights=not as_0_1
            )
    metrics = options.metrics_in_units(preprocessor)

    # Check the rows, and split training and validation rows.
    values, targets = preprocessor.encode(x, y, model.dtype)
    basis = model.plan, model.dtype, loss, values, targets
    train = Samples.check(*basis, sample_weight)
    evaluated, fingerprint_of_validation = options.held_out(validation_data, preprocessor)
    by_class = options.class_weights(preprocessor)
    if as_0_1 and by_class is not None:
        train = weigh_classes_as_0_1(train, by_class, loss, model.outputs)
    if fraction:
        train, held_out = train.split(fraction, model.seed)
        evaluated, fingerprint_of_validation = options.placed(held_out.weighted())
    train = train.weighted()
    if not as_0_1:
        # What the classes weigh is decided on the training rows, and concerns no others.
        train = train.with_class_weight(by_class, loss, model.outputs).weighted()
    if reach.is_beyond(train.targets, loss, model.plan.output_activation.name):
        reach.warn_of(model.plan.output_activation.name)
    count = len(train)
    batch = options.batch_of(count)
    together = count if isinstance(options.optimizer, LBFGS) else batch
    memory.require(options.training_bytes(together), "training it")

    # Place them on the backend.
    data = model.backend_object.place(train.rows)
    if evaluated is None and metrics:
        evaluated = EvaluationSet(data, train.targets, train.rows.weight, "")
    variance = 0.0
    if loss.metric == "r2":
        variance = metric_table.variance(train.targets, train.rows.weight)
    engine = model.engine_for(loss, options.threads)
    engine.rehearse(train.rows.part(0, batch), loss)
    job = options.job(engine, data, evaluated, metrics, variance)
    scored = evaluated or EvaluationSet(data, train.targets, train.rows.weight, "")
    if loss.metric == "accuracy" and isinstance(scored, EvaluationSet):  # chunks have no targets
        job.history.majority = metric_table.majority(scored.targets, scored.weight)

    def rows_fingerprint() -> dict[str, Any]:
        return (
            fingerprint.of_preprocessor(preprocessor)
            | fingerprint.of_rows(train.rows)
            | fingerprint_of_validation()
        )

    axes = axes_of(y, () if preprocessor.target is None else preprocessor.target.names)
    return PreparedFit(options, job, batch, preprocessor, axes, rows_fingerprint)


def check_standardize(value: Any) -> bool | Literal["running"]:
    """Return the argument `standardize` of ``fit``: a boolean or "running"."""
    value = plain(value)
    if isinstance(value, str):
        if value != "running":
            raise InputError(f"standardize must be True, False or 'running', got {value!r}.")
        return "running"
    return check_flag("standardize", value)


class _Function(Callback):
    """A plain function as a callback."""

    def __init__(self, function: Callable[[Run], Any]) -> None:
        self._function = function

    def on_epoch_end(self, run: Run) -> None:
        self._function(run)


def make_callbacks(
    callbacks: Any, early_stopping: int | EarlyStopping | None, verbose: bool | int
) -> list[Callback]:
    """Return the callbacks of one call of ``fit``."""
    shown = progress(plain(verbose))
    made: list[Callback] = [] if shown is None else [shown]
    for callback in check_list("callbacks", callbacks):
        if isinstance(callback, Callback):
            made.append(callback)
        elif callable(callback) and not isinstance(callback, type):
            made.append(_Function(callback))
        else:
            raise InputError(f"a callback must be a Callback or a function, got {callback!r}.")
    early_stopping = plain(early_stopping)
    if early_stopping is True:
        early_stopping = EarlyStopping()
    if early_stopping is not None and early_stopping is not False:
        if not isinstance(early_stopping, EarlyStopping):
            early_stopping = EarlyStopping(check_int("early_stopping", early_stopping))
        made.append(early_stopping)
    return made
