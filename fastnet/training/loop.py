"""Training: epochs, spans of batches, validation, divergence, interruption.

``fit`` in `fastnet.network` checks its arguments and calls `train`; `train` hands spans of batches
to ``engine.train_epoch``. A span is as many batches as take about a tenth of a second, so Ctrl-C
and the progress bar are answered at once while tiny networks still train thousands of steps in one
compiled call.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from fastnet.backends.base import Backend, Engine, LossSums, TrainConfig
from fastnet.errors import DivergenceError
from fastnet.nn.batch import Array, Batch
from fastnet.nn.losses import Loss
from fastnet.nn.metrics import Metric, r2_from, variance
from fastnet.nn.optimizers import LBFGS, Optimizer
from fastnet.nn.schedules import Plateau, ReduceOnPlateau
from fastnet.preprocessing.samples import Samples, on_backend
from fastnet.training.callbacks import Callback, Run
from fastnet.training.history import History
from fastnet.training.interrupt import Interrupt

if TYPE_CHECKING:
    from fastnet.network import Network
    from fastnet.training.checkpoints.writer import CheckpointWriter

_log = logging.getLogger(__name__)

Snapshot = tuple[Array, Array]

SPAN_SECONDS = 0.1
FIRST_SPAN_FLOPS = 1e8
"""How long a step takes is not known at first: an epoch of more work begins with one."""

NOTHING: Final = LossSums(0.0, 0.0, 0.0, 0)


@dataclass
class OptimizerState:
    """What ``fit`` needs to go on where it stopped.

    Attributes
    ----------
    optimizer : Optimizer
    moments : (slots, P)
        Of the network's backend.
    step, epoch : int
        Steps and epochs done. They key the dropout masks and the shuffle, so they only grow.
    updates : int
        Steps since the moments were 0: the t of Adam's bias correction.
    schedule_epoch : int
        The epoch at which the clock of the learning-rate schedule began.
    plateau : Plateau
    """

    optimizer: Optimizer | LBFGS
    moments: Array
    step: int = 0
    epoch: int = 0
    updates: int = 0
    schedule_epoch: int = 0
    plateau: Plateau = field(default_factory=Plateau)

    def rates(self, epoch_share: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the learning rates at these shares (0 to 1) of the current epoch."""
        assert isinstance(self.optimizer, Optimizer)
        schedule = self.optimizer.schedule
        if isinstance(schedule, ReduceOnPlateau):
            return np.full_like(epoch_share, schedule.reduced(self.plateau.reductions))
        return schedule.rates(self.epoch - self.schedule_epoch + epoch_share)

    def advance(self, steps: int) -> None:
        """Count steps that were taken."""
        self.step += steps
        self.updates += steps

    def forget(self) -> None:
        """Set the moments to 0: they led to a divergence."""
        self.moments[...] = 0
        self.updates = 0

    def copy(self, move: Callable[[Any], Any]) -> OptimizerState:
        """Return an independent copy whose moments went through `move`."""
        return replace(self, moments=move(self.moments), plateau=replace(self.plateau))


@dataclass(frozen=True)
class EvaluationSet:
    """Rows to evaluate, with their targets (and weights) on the host."""

    rows: Batch
    targets: NDArray[Any]
    weight: NDArray[Any] | None
    prefix: str

    @classmethod
    def of(cls, checked: Samples, backend: Backend, prefix: str) -> Self:
        """Return checked rows, moved to the backend."""
        rows = on_backend(checked.rows, backend)
        return cls(rows, checked.targets, checked.rows.weight, prefix)


@dataclass
class TrainingJob:
    """What one call of ``fit`` works with.

    Attributes
    ----------
    rows : Batch
        Training data on the engine's backend.
    metrics : list of (name, metric)
        Computed on the validation rows after each epoch.
    target_spread : float
        The spread of the targets, for R2.
    checkpointer : CheckpointWriter or None
        Writes checkpoints.
    """

    network: Network
    engine: Engine
    rows: Batch
    loss: Loss
    epochs: int = 1
    validation: EvaluationSet | None = None
    metrics: list[tuple[str, Metric]] = field(default_factory=list)
    callbacks: list[Callback] = field(default_factory=list)
    target_spread: float = 0.0
    checkpointer: CheckpointWriter | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The metrics that an epoch is going to have."""
        own = ("loss",) if self.loss.metric is None else ("loss", self.loss.metric)
        if self.validation is None:
            return own
        measured = (*own, *(name for name, _ in self.metrics))
        return (*own, *(self.validation.prefix + name for name in measured))


@dataclass
class TrainerState:
    """Training as it goes: all that a checkpoint keeps.

    Attributes
    ----------
    done : LossSums
        The batches done of the current epoch, and their sums.
    newest, good : snapshots
        Weights that the current epoch began with, and the one before. Weights are good when a loss
        was computed with them that is finite: the newest have shown it from the second step on.
    """

    job: TrainingJob
    state: OptimizerState
    run: Run
    newest: Snapshot
    good: Snapshot
    done: LossSums = NOTHING

    @classmethod
    def begin(cls, job: TrainingJob, state: OptimizerState, batches: int) -> Self:
        """Return a course at its beginning; the network's history is from now on its own."""
        run = Run(job.network, History(), job.epochs, batches)
        job.network.history = run.history
        snapshot = job.network.snapshot()
        return cls(job, state, run, snapshot, snapshot)

    def end_epoch(self) -> None:
        """Take note of an epoch that went well."""
        self.state.epoch += 1
        self.done = NOTHING
        into = None if self.good is self.newest else self.good
        self.good, self.newest = self.newest, self.job.network.snapshot(into)


def train(job: TrainingJob, config: TrainConfig, state: OptimizerState) -> History:
    """Train for ``job.epochs`` epochs and return their history; `state` is advanced.

    Raises
    ------
    DivergenceError
        The loss or a weight is not finite; the network has the last good weights.
    KeyboardInterrupt
        Ctrl-C was pressed; the network is whole, and ``network.history`` has the epochs done.
    SystemExit
        SIGTERM came, and there are checkpoints: the last one is of this moment.
    """
    network, checkpointer = job.network, job.checkpointer
    course = TrainerState.begin(job, state, config.steps(len(job.rows)))
    run, schedule = course.run, config.optimizer.schedule
    with run_callbacks(job, run), Interrupt(terminable=checkpointer is not None) as interrupt:
        if checkpointer is not None:
            checkpointer.restore(course)
        while run.epoch < job.epochs and run.stopped is None:
            run.epoch += 1
            try:
                tally = _train_epoch(course, config, interrupt)
                if tally is not None and not network.is_finite():
                    raise _divergence("a weight", state.epoch, run.batches, run.batches)
            except DivergenceError as error:
                network.restore(course.good if error.step == 1 else course.newest)
                state.forget()
                raise
            if tally is None:
                break
            logs = measure(tally, job.loss, job.target_spread, "")
            if job.validation is not None:
                # Metrics of the training rows stand beside the running loss, not in its place.
                logs = logs | evaluate(job, job.validation) | logs
            last_step = np.array([1.0 - 1.0 / run.batches])
            logs["learning_rate"] = float(state.rates(last_step)[0])
            course.end_epoch()
            if isinstance(schedule, ReduceOnPlateau):
                state.plateau.observe(schedule, logs.get("val_loss", logs["loss"]))
            end_epoch(job, run, state.epoch, logs)
            if checkpointer is not None:
                checkpointer.after_epoch(course)
        if checkpointer is not None:
            checkpointer.finish(course)
    if interrupt.pressed:
        run.history.stop_reason = "interrupted"
        interrupt.leave()
    return run.history


def train_once(job: TrainingJob, config: TrainConfig, state: OptimizerState) -> float:
    """Take one step on all rows of the job; return the loss before it."""
    network, good = job.network, job.network.snapshot()
    coefficients = config.optimizer.step_coefficients(state.updates + 1, state.rates(np.zeros(1)))
    tally = job.engine.train_epoch(
        job.rows, config, state.moments, coefficients, epoch=state.epoch, step=state.step
    )
    if not tally.steps or not network.is_finite():
        network.restore(good)
        state.forget()
        raise _divergence("the loss or a weight", state.epoch, 1, 1)
    state.advance(1)
    return tally.mean_loss


def evaluate(job: TrainingJob, held_out: EvaluationSet) -> dict[str, float]:
    """Return loss, score and the job's metrics for these rows, with their prefix."""
    loss, prefix = job.loss, held_out.prefix
    tally, outputs = job.engine.evaluate(held_out.rows, loss)
    spread_of = variance(held_out.targets, held_out.weight) if loss.metric == "r2" else 0.0
    values = measure(tally, loss, spread_of, prefix)
    if job.metrics:
        outputs = job.network.backend_object.to_host(outputs)
    for name, metric in job.metrics:
        values[prefix + name] = metric(held_out.targets, outputs, held_out.weight)
    return values


@contextmanager
def run_callbacks(job: TrainingJob, run: Run) -> Iterator[None]:
    """Tell the callbacks that training begins, and in any case that it ends; keep the time."""
    job.engine.warm_up()
    _log.info(
        "training on %s begins: %d rows, %d epochs of %d batches, %d parameters",
        job.network.backend,
        len(job.rows),
        run.epochs,
        run.batches,
        job.network.plan.size,
    )
    started = time.perf_counter()
    with ExitStack() as stack:
        # Last in, first out: so each is called, whatever another raises.
        for callback in reversed(job.callbacks):
            stack.callback(callback.on_train_end, run)
        stack.callback(_keep_time, run, started)
        for callback in job.callbacks:
            callback.on_train_begin(run)
        yield


def _keep_time(run: Run, started: float) -> None:
    run.history.seconds += time.perf_counter() - started
    _log.info("training ended after %.3f s", run.history.seconds)


def end_epoch(job: TrainingJob, run: Run, epoch: int, logs: dict[str, float]) -> bool:
    """Record an epoch and tell the callbacks; return whether one of them ends training."""
    run.history.append(epoch, logs)
    _log.debug("epoch %d: %s", epoch, logs)
    for callback in job.callbacks:
        callback.on_epoch_end(run)
    if run.stopped is not None:
        run.history.stop_reason = run.stopped
    return run.stopped is not None


def measure(tally: LossSums, loss: Loss, target_spread: float, prefix: str) -> dict[str, float]:
    """Return the loss, and accuracy or R2, from the sums of an epoch or an evaluation."""
    values = {f"{prefix}loss": tally.mean_loss}
    if loss.metric == "accuracy":
        values[f"{prefix}accuracy"] = tally.mean_score
    elif loss.metric == "r2":
        values[f"{prefix}r2"] = r2_from(tally.mean_score, target_spread)
    return values


def _train_epoch(
    course: TrainerState, config: TrainConfig, interrupt: Interrupt
) -> LossSums | None:
    """Train through what is left of an epoch in spans; return its sums, or None if interrupted."""
    job, state, run = course.job, course.state, course.run
    batches = run.batches
    run.batch = course.done.steps
    # Of the whole epoch, wherever it goes on: the same bits.
    coefficients = config.optimizer.step_coefficients(
        state.updates + 1 - run.batch, state.rates(np.arange(batches) / batches)
    )
    flops = batches * config.batch_size * job.network.plan.flops
    span = batches if flops < FIRST_SPAN_FLOPS else 1
    while run.batch < batches:
        span = min(span, batches - run.batch)
        began = time.perf_counter()
        # Batch is added to batch, so that the sums do not depend on where the spans end.
        job.engine.begin_tally(course.done)
        tally = job.engine.train_epoch(
            job.rows,
            config,
            state.moments,
            coefficients[run.batch : run.batch + span],
            epoch=state.epoch,
            step=state.step,
            first=run.batch,
        )
        if tally.steps < span:
            raise _divergence("the loss", state.epoch, run.batch + tally.steps + 1, batches)
        run.batch += span
        state.advance(span)
        course.done = replace(tally, steps=run.batch)
        for callback in job.callbacks:
            callback.on_progress(run)
        if job.checkpointer is not None:
            job.checkpointer.after_span(course)
        if interrupt.pressed:
            return None
        seconds = max(time.perf_counter() - began, 1e-9)
        span = max(1, min(int(span * SPAN_SECONDS / seconds), 8 * span))
    return course.done


def _divergence(what: str, epoch: int, step: int, steps: int) -> DivergenceError:
    return DivergenceError(
        f"training diverged: {what} is not finite at epoch {epoch + 1}, step {step} of {steps}; "
        f"the last good weights are back in place. Try a smaller learning_rate, "
        f"clip_norm=1.0 in the optimizer, or standardize=True.",
        epoch=epoch + 1,
        step=step,
    )


def prepare(
    state: OptimizerState | None, optimizer: Optimizer | LBFGS, size: int, zeros: Any
) -> OptimizerState:
    """Return the state to go on from: the old one where the optimizer is of the same kind.

    A new learning rate or schedule starts the schedule's clock again and keeps the moments.
    """
    if state is None or state.optimizer.name != optimizer.name:
        step, epoch = (state.step, state.epoch) if state is not None else (0, 0)
        moments = zeros((optimizer.n_moments, size))
        return OptimizerState(optimizer, moments, step, epoch, schedule_epoch=epoch)
    if state.optimizer != optimizer:
        state.optimizer, state.schedule_epoch = optimizer, state.epoch
        state.plateau = Plateau()
    return state
