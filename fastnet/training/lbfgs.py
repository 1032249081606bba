"""L-BFGS: SciPy's solver on the loss and gradient of a backend."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnet.errors import DivergenceError, FastNetError, InputError
from fastnet.nn.layers import Dropout
from fastnet.nn.optimizer_state import OptimizerState
from fastnet.nn.optimizers import LBFGS
from fastnet.nn.plan import Plan
from fastnet.training.evaluation import measure
from fastnet.training.history import History
from fastnet.training.interrupt import Interrupt
from fastnet.training.loop import end_epoch, run_callbacks
from fastnet.training.state import Checkpointer, TrainerState, TrainingJob


class _StopError(Exception):
    """Leaves SciPy's loop after a callback ended the run."""


def check(plan: Plan, checkpointer: Checkpointer) -> None:
    """Raise unless the solver is installed and can train this network, with these checkpoints."""
    try:
        import scipy.optimize  # noqa: F401
    except ImportError:
        message = "lbfgs needs SciPy: pip install scipy, or 'fastnet-mlp[lbfgs]'."
        raise FastNetError(message) from None
    if any(isinstance(layer, Dropout) and layer.rate > 0 for layer in plan.chain):
        raise InputError("lbfgs cannot train a network with dropout: choose another optimizer.")
    if checkpointer.active and checkpointer.iterations is None:
        raise InputError(
            "lbfgs begins afresh after each checkpoint, so checkpoint_every must be a number of "
            "iterations, as in checkpoint_every=50."
        )


def train_lbfgs(job: TrainingJob, optimizer: LBFGS, state: OptimizerState) -> History:
    """Minimise the full-batch loss plus penalties; an epoch is one iteration of the solver.

    Batch normalisation uses the statistics of the batch, as in training. Dropout is refused: the
    solver needs the same function at every evaluation.

    SciPy's solver cannot be saved. So it restarts without its corrections after each checkpoint,
    whether or not the run was interrupted there; both give the same bits.
    """
    from scipy.optimize import minimize

    from fastnet.backends.blas import SCIPYS_BLAS  # and threadpoolctl, which few programs need

    model, engine, checkpointer = job.model, job.engine, job.checkpointer
    plan = model.plan
    to_host, asarray = model.backend_object.to_host, model.backend_object.asarray
    trainer = TrainerState.begin(job, state, batches=1)
    run, good = trainer.run, trainer.good
    newest: dict[str, float] = {}
    used = 0
    interrupt = Interrupt(terminable=checkpointer.active)
    learns = plan.learns()

    # What overflows makes the loss infinite, which is checked.
    @np.errstate(all="ignore")
    def put(values: NDArray[np.float64]) -> None:
        engine.parameters[...] = asarray(values.astype(model.dtype))

    @np.errstate(all="ignore")
    def objective(values: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        put(values)
        tally = engine.gradient(job.rows, job.loss, training=True)
        newest.clear()
        newest.update(measure(tally, job.loss, job.target_variance, ""))
        gradient = to_host(engine.gradients).astype(np.float64)
        weights = values[: plan.n_weights]
        penalty = 0.5 * optimizer.l2 * float(weights @ weights)
        penalty += optimizer.l1 * float(np.abs(weights).sum())
        gradient[: plan.n_weights] += optimizer.l2 * weights + optimizer.l1 * np.sign(weights)
        if learns is not None:
            gradient *= learns
        return tally.mean_loss + penalty, gradient

    def after_iteration(values: NDArray[np.float64]) -> None:
        put(values)
        if model.is_finite():
            model.snapshot(good)
        run.epoch += 1
        run.batch = 1
        for callback in job.callbacks:
            callback.on_progress(run)
        logs = dict(newest)
        if job.validation is not None:
            logs = logs | job.validation.evaluate(job) | logs
        state.epoch += 1
        if end_epoch(job, run, state.epoch, logs) or interrupt.pressed:
            raise _StopError

    def solve(iterations: int) -> None:
        """Continue from the present parameters with a new solver."""
        nonlocal used
        options: dict[str, Any] = {
            "maxiter": iterations,
            "maxcor": optimizer.history_size,
            "ftol": optimizer.tolerance,
            "gtol": optimizer.gradient_tolerance,
            "maxls": optimizer.line_search_steps,
            "maxfun": optimizer.evaluations - used,
        }
        start = to_host(model.parameters).astype(np.float64)
        before = run.epoch
        with SCIPYS_BLAS.bounded(1):
            result = minimize(
                objective,
                start,
                jac=True,
                method="L-BFGS-B",
                callback=after_iteration,
                options=options,
            )
        if not np.isfinite(result.fun):
            model.restore(good)
            raise DivergenceError(
                "L-BFGS reached a loss that is not finite; the weights from before are back in "
                "place. Try standardize=True or an l2 penalty.",
                epoch=max(run.epoch, 1),
                step=1,
            )
        put(result.x)
        used += result.nfev
        reason = None
        if result.status != 1 or run.epoch == before:
            reason = "converged"
        elif run.epoch < before + iterations:
            reason = "evaluations"
        if reason is not None:
            run.stop(reason)
            run.history.stop_reason = reason

    # Solve in stretches, from one checkpoint to the next.
    with run_callbacks(job, run), interrupt:
        checkpointer.restore(trainer)
        trainer.good = trainer.newest = model.snapshot(good)
        stretch = checkpointer.iterations or job.epochs
        try:
            while run.epoch < job.epochs and run.stopped is None:
                solve(min(stretch - run.epoch % stretch, job.epochs - run.epoch))
                checkpointer.after_epoch(trainer)
        except _StopError:
            pass
        except KeyboardInterrupt:
            # After a second Ctrl-C the parameters may be a trial point of the solver.
            model.restore(good)
            interrupt.press()
        except Exception:  # of a caller's loss, at a trial point
            model.restore(good)
            raise
        if not interrupt.pressed:
            checkpointer.finish(trainer)
    if interrupt.pressed:
        run.history.stop_reason = "interrupted"
        interrupt.leave()
    return run.history
