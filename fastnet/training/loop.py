"""The training loop: epochs, spans of batches, validation, divergence, interruption.

`Network.fit` checks its arguments and calls `train`; `train` hands spans of batches to
``engine.train_epoch``. A span is as many batches as take about a tenth of a second. So Ctrl-C and
the progress bar respond at once, while tiny networks still train thousands of steps in one compiled
call. Where nothing looks at an epoch, `Stretches` trains many short ones in a call, too.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace

import numpy as np

from fastnet.backends.epochs import LossSums, TrainConfig
from fastnet.errors import DivergenceError
from fastnet.nn.optimizer_state import OptimizerState
from fastnet.nn.schedules import ReduceOnPlateau
from fastnet.training.callbacks import Run
from fastnet.training.evaluation import EvaluationSet, measure
from fastnet.training.history import History
from fastnet.training.interrupt import Interrupt
from fastnet.training.state import TrainerState, TrainingJob
from fastnet.training.stretches import Stretches, is_finite

_log = logging.getLogger(__name__)

SPAN_SECONDS = 0.1
FIRST_SPAN_FLOPS = 1e8
"""The time of a step is unknown at first, so an epoch of more work begins with a single step."""


def train(job: TrainingJob, config: TrainConfig, state: OptimizerState) -> History:
    """Train for ``job.epochs`` epochs and return their history; `state` is advanced.

    Raises
    ------
    DivergenceError
        The loss or a weight is not finite; the network has the last good weights.
    KeyboardInterrupt
        Ctrl-C was pressed; the network is usable, and ``network.history`` has the finished epochs.
    SystemExit
        SIGTERM came, and the last checkpoint is of this moment.
    """
    model, checkpointer = job.model, job.checkpointer
    trainer = TrainerState.begin(job, state, config.steps(len(job.rows)))
    run, schedule = trainer.run, config.optimizer.schedule
    warm = run_callbacks(job, run, config)
    watched = Interrupt(terminable=checkpointer.active, agreed=job.engine.agreed)
    with warm, watched as interrupt:
        checkpointer.restore(trainer)
        stretches = Stretches(trainer, config, _log)
        while run.epoch < job.epochs and run.stopped is None and not interrupt.pressed:
            # Train many short epochs at once, if nothing has to happen between them.
            if stretches.train():
                continue
            run.epoch += 1
            began = time.perf_counter()
            # Train one epoch; after a divergence restore the last good parameters.
            try:
                tally = _train_epoch(trainer, config, interrupt)
                if tally is not None and not is_finite(model, tally):
                    raise divergence("a weight", state.epoch, run.batches, run.batches)
            except DivergenceError as error:
                if stretches.take_back():
                    continue
                model.restore(trainer.good if error.step == 1 else trainer.newest)
                state.forget()
                raise
            if tally is None:
                break
            # Compute the metrics.
            logs = measure(tally, job.loss, job.target_variance, "")
            if job.validation is not None:
                # The running loss takes precedence over metrics of the same name.
                logs = logs | job.validation.evaluate(job) | logs
            last_step = np.array([1.0 - 1.0 / run.batches])
            logs["learning_rate"] = float(state.rates(last_step)[0])
            # Tell history, schedule, callbacks and checkpoints about it.
            trainer.end_epoch()
            if isinstance(schedule, ReduceOnPlateau):
                state.plateau.observe(schedule, logs.get("val_loss", logs["loss"]))
            end_epoch(job, run, state.epoch, logs)
            checkpointer.after_epoch(trainer)
            stretches.observe(time.perf_counter() - began)
        checkpointer.finish(trainer)
    if interrupt.pressed:
        run.history.stop_reason = "interrupted"
        interrupt.leave()
    return run.history


def train_once(job: TrainingJob, config: TrainConfig, state: OptimizerState) -> float:
    """Take one step on all rows of the job; return the loss before it."""
    model, good = job.model, job.model.snapshot()
    coefficients = config.optimizer.step_coefficients(state.updates + 1, state.rates(np.zeros(1)))
    try:
        tally = job.engine.train_epoch(
            job.rows, config, state.moments, coefficients, epoch=state.epoch, step=state.step
        )
    except BaseException:  # a caller's loss may raise after the forward pass moved statistics
        model.restore(good)
        raise
    if not tally.steps or not is_finite(model, tally):
        model.restore(good)
        state.forget()
        raise divergence("the loss or a weight", state.epoch, 1, 1)
    state.advance(1)
    return tally.mean_loss


@contextmanager
def run_callbacks(job: TrainingJob, run: Run, config: TrainConfig | None = None) -> Iterator[None]:
    """Call ``on_train_begin`` and, even after an error, ``on_train_end``; measure the time.

    The engine gets ready first, for training with `config` if it is given.
    """
    if config is None:
        job.engine.warm_up()
    else:
        held_out = job.validation.rows if isinstance(job.validation, EvaluationSet) else None
        job.engine.prepare_for(job.rows, config, held_out)
    _log.info(
        "training on %s begins: %d rows, %d epochs of %d batches, %d parameters",
        job.model.backend,
        len(job.rows),
        run.epochs,
        run.batches,
        job.model.plan.size,
    )
    started = time.perf_counter()
    with ExitStack() as stack:
        # The stack calls each of them, last in, first out, whatever another raises.
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


def _train_epoch(
    trainer: TrainerState, config: TrainConfig, interrupt: Interrupt
) -> LossSums | None:
    """Train the rest of an epoch in spans; return its sums, or None if interrupted."""
    job, state, run = trainer.job, trainer.state, trainer.run
    batches = run.batches
    run.batch = trainer.done.steps
    # Coefficients are computed for the whole epoch, so that a resumed one has the same bits.
    coefficients = config.optimizer.step_coefficients(
        state.updates + 1 - run.batch, state.rates(np.arange(batches) / batches)
    )
    flops = batches * config.batch_size * job.model.plan.flops
    span = batches if flops < FIRST_SPAN_FLOPS else 1
    while run.batch < batches:
        span = min(span, batches - run.batch)
        began = time.perf_counter()
        # Sums grow batch by batch, so that they do not depend on where the spans end.
        job.engine.begin_tally(trainer.done)
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
            raise divergence("the loss", state.epoch, run.batch + tally.steps + 1, batches)
        run.batch += span
        state.advance(span)
        trainer.done = replace(tally, steps=run.batch)
        for callback in job.callbacks:
            callback.on_progress(run)
        job.checkpointer.after_span(trainer)
        if interrupt.pressed:
            return None
        seconds = max(job.engine.agreed(time.perf_counter() - began), 1e-9)
        span = max(1, min(int(span * SPAN_SECONDS / seconds), 8 * span))
    return trainer.done


def divergence(what: str, epoch: int, step: int, steps: int) -> DivergenceError:
    """Return the error that says what is not finite, and after which step of which epoch."""
    return DivergenceError(
        f"training diverged: {what} is not finite at epoch {epoch + 1}, step {step} of {steps}; "
        f"the last good weights are back in place. Try a smaller learning_rate, "
        f"clip_norm=1.0 in the optimizer, or standardize=True.",
        epoch=epoch + 1,
        step=step,
    )
