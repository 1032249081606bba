"""Callbacks: code that runs during training.

A callback is a `Callback`, or any function: ``fit(..., callbacks=[print])`` calls it with the `Run`
after every epoch. ``run.stop("reason")`` ends training after the current epoch.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from fastnet.backends.patience import Monitor, Patience
from fastnet.errors import InputError, suggest
from fastnet.model import Model
from fastnet.nn.metrics import Mode, mode_of
from fastnet.training.history import History
from fastnet.utils.param_validation import check_flag, check_float, check_int

DEFAULT_VALIDATION: Final = 0.1
"""Fraction of the rows that is held out for early stopping by default."""

_log = logging.getLogger(__name__)

_MINIMISED_BY_0_1: Final = ("loss", "mse", "rmse", "mae", "calibration_error")
"""Version 0.1 maximised whatever else it monitored, and its checkpoints do not say so."""


@dataclass
class Run:
    """A running call of ``fit``, for callbacks.

    Attributes
    ----------
    network : Network
        The network in training.
    history : History
        History up to the newest finished epoch.
    epochs : int
        Number of epochs of this call.
    epoch : int
        Number of the current epoch within this call, counting from 1.
    batch, batches : int
        Finished batches of the current epoch, and their total.
    """

    network: Model
    history: History
    epochs: int
    batches: int
    epoch: int = 0
    batch: int = 0
    stopped: str | None = field(default=None, init=False)

    @property
    def logs(self) -> dict[str, float]:
        """The metrics of the newest epoch."""
        return self.history.last()

    def stop(self, reason: str = "callback") -> None:
        """End training after the current epoch."""
        self.stopped = reason


class Callback:
    """Base class: override what you need.

    Training calls ``on_train_begin`` once, ``on_progress`` about ten times a second,
    ``on_epoch_end`` after every epoch, and ``on_train_end`` once, even after an error. Callbacks
    are called in the given order, always with the same `Run`. An exception in one ends training,
    after every ``on_train_end`` was called. Every call may read the weights; ``on_epoch_end`` may
    change them too. ``fastnet.training.loggers`` has some callbacks; here is one for MLflow::

        import mlflow

        class MLflow(fn.Callback):
            def on_train_begin(self, run):
                mlflow.start_run()
                mlflow.log_params({"epochs": run.epochs, "parameters": run.network.plan.size})

            def on_epoch_end(self, run):
                mlflow.log_metrics(run.logs, step=run.history.epochs[-1])

            def on_train_end(self, run):
                mlflow.log_param("stop_reason", run.history.stop_reason)
                mlflow.end_run()

        net.fit(x, y, callbacks=[MLflow()])
    """

    def on_train_begin(self, run: Run) -> None:
        """Prepare for training."""

    def memory(self) -> dict[str, Any]:
        """Return the state to keep in checkpoints: arrays and plain JSON values by name."""
        return {}

    def on_resume(self, run: Run, memory: dict[str, Any]) -> None:
        """Restore the state that `memory` returned; called after `on_train_begin` on resume."""

    def on_progress(self, run: Run) -> None:
        """React to finished batches, about ten times a second and at least once per epoch."""

    def on_epoch_end(self, run: Run) -> None:
        """React to a finished epoch; ``run.logs`` has its metrics."""

    def on_train_end(self, run: Run) -> None:
        """Clean up after training, also if it failed."""


class EarlyStopping(Callback):
    """Stop when a metric has not improved for a while, and restore the best weights.

    The history says which metric was monitored and in which direction.

    Parameters
    ----------
    patience : int, default 5
        Epochs without improvement before training ends.
    monitor : str, optional
        Name in the history. Default: ``val_loss`` with validation data, else ``loss``.
    min_delta : float, default 0
        Smallest change that counts as an improvement.
    mode : {"min", "max"}, optional
        Whether smaller or larger values are better. Default: the metric's own attribute ``mode``,
        or what its name says (see `fastnet.nn.metrics.mode_of`). ``fit`` refuses a metric whose
        direction nothing tells.
    restore_best : bool, default True
    """

    def __init__(
        self,
        patience: int = 5,
        *,
        monitor: str | None = None,
        min_delta: float = 0.0,
        mode: str | None = None,
        restore_best: bool = True,
    ) -> None:
        self.patience = check_int("patience", patience)
        self.monitor = monitor
        self.min_delta = check_float("min_delta", min_delta, least=0)
        if mode not in (None, "min", "max"):
            raise InputError(f"mode must be 'min' or 'max', got {mode!r}.")
        self.mode = mode
        self.restore_best = check_flag("restore_best", restore_best)
        # Until `prepare` knows the metrics and refuses one without a direction.
        self._monitored = monitor or "loss"
        self._mode = mode or mode_of(self._monitored.removeprefix("val_")) or "min"
        self._forget()

    def _forget(self) -> None:
        self._counted = Patience(self.patience, self.min_delta, self._mode)
        self._weights: Any = None

    def prepare(self, modes: Mapping[str, Mode | None]) -> None:
        """Choose the metric to monitor and its direction.

        Parameters
        ----------
        modes : dict of str to {"min", "max", None}
            The metrics of each epoch, and their directions if known.

        Raises
        ------
        InputError
            There is no such metric, or nothing tells its direction.
        """
        name = self.monitor
        if name is None:
            name = "val_loss" if "val_loss" in modes else "loss"
        if name not in modes:
            raise InputError(f"early stopping cannot monitor {name!r}{suggest(name, modes)}")
        mode = self.mode or modes[name]
        if mode is None:
            stem = name.removeprefix("val_")
            raise InputError(
                f"early stopping cannot tell whether a smaller or a larger {name!r} is better: "
                f"write EarlyStopping(..., monitor={name!r}, mode='min') or mode='max', or give "
                f"the metric its direction, as in {stem}.mode = 'min'."
            )
        self._monitored, self._mode = name, mode

    def on_train_begin(self, run: Run) -> None:
        """Reset the state of earlier runs."""
        self._forget()
        self._tell(run)

    def _tell(self, run: Run) -> None:
        """Say in the history and the log what is monitored."""
        run.history.monitor, run.history.mode = self._monitored, self._mode
        _log.info("early stopping monitors %s (%s)", self._monitored, self._mode)

    def memory(self) -> dict[str, Any]:
        """Return the best value and its weights, and the settings."""
        counted = self._counted
        best: dict[str, Any] = {"best": counted.best, "best_epoch": counted.best_epoch}
        best["waited"] = counted.waited
        if self._weights is not None:
            best["parameters"], best["statistics"] = self._weights
        return best | {"settings": self.settings()}

    def on_resume(self, run: Run, memory: dict[str, Any]) -> None:
        """Restore the best value and its weights."""
        there = dict(memory["settings"])
        if there["mode"] is None:
            lower = self._monitored.removeprefix("val_") in _MINIMISED_BY_0_1
            there["mode"] = "min" if lower else "max"
        if there != self.settings():
            raise InputError(f"its settings are {self.settings()}, and were {there}.")
        self._tell(run)
        counted, best_epoch = self._counted, memory["best_epoch"]
        counted.best_epoch = None if best_epoch is None else check_int("best_epoch", best_epoch)
        counted.best = float(memory["best"])
        counted.waited = check_int("waited", memory["waited"], least=0)
        if "parameters" in memory:
            weights = run.network.snapshot()
            for mine, saved in zip(
                weights, (memory["parameters"], memory["statistics"]), strict=True
            ):
                if saved.shape != mine.shape or saved.dtype != mine.dtype:
                    raise InputError(f"its best weights are {saved.dtype} of shape {saved.shape}.")
                mine[...] = run.network.backend_object.asarray(saved)
            self._weights = weights

    def settings(self) -> dict[str, Any]:
        names = ("patience", "monitor", "min_delta", "restore_best")
        return {name: getattr(self, name) for name in names} | {"mode": self._mode}

    def on_epoch_end(self, run: Run) -> None:
        """Compare, keep the weights, or stop."""
        improved = self._counted.improves(run.logs[self._monitored], run.history.epochs[-1])
        if improved and self.restore_best:
            self._weights = run.network.snapshot(self._weights)
        self._end(run)

    def _end(self, run: Run) -> None:
        if self._counted.is_over:
            run.stop("early stopping")

    def watch(self, network: Model, validation: str | None, score: str | None) -> Monitor | None:
        """Return what counts epochs in its place; None for a metric that an engine does not sum.

        Parameters
        ----------
        validation : str or None
            The prefix of the held-out rows' metrics; None: there are no such rows.
        score : str or None
            The metric whose mean the engine's score is.
        """
        name, held_out = self._monitored, False
        if validation and name.startswith(validation):
            name, held_out = name.removeprefix(validation), True
        if name not in ("loss", score):
            return None
        # Arrays of its own: the present weights are needed where the epochs are taken back.
        weights = network.snapshot() if self.restore_best else None
        return Monitor(replace(self._counted), name != "loss", held_out, weights)

    def take_over(self, monitor: Monitor, run: Run) -> None:
        """Go on from what `monitor` has counted."""
        if monitor.patience.best_epoch != self._counted.best_epoch:
            self._weights = monitor.weights
        self._counted = monitor.patience
        self._end(run)

    def state(self) -> tuple[Patience, Any]:
        """Return what `take_over` changes."""
        return self._counted, self._weights

    def restore(self, state: tuple[Patience, Any]) -> None:
        """Undo what `take_over` has changed."""
        self._counted, self._weights = state

    def on_train_end(self, run: Run) -> None:
        """Restore the best weights."""
        if self._weights is not None:
            run.network.restore(self._weights)
            run.history.best_epoch = self._counted.best_epoch
            self._weights = None
