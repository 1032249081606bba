"""Optuna: trials that are pruned epoch by epoch, and that go on after their process was killed."""

from __future__ import annotations

import math
import shutil
import warnings
from collections.abc import Callable, Mapping
from dataclasses import InitVar, dataclass
from os import PathLike
from pathlib import Path
from typing import Any, Final

try:
    import optuna
    from optuna.study import StudyDirection
except ImportError:
    raise ImportError(
        "fastnet.integrations.optuna needs Optuna: pip install 'fastnet-mlp[optuna]'."
    ) from None

from fastnet.errors import InputError, suggest
from fastnet.network import Network
from fastnet.nn.metrics import mode_of
from fastnet.populations.training import fit_many
from fastnet.training.callbacks import Callback, Run
from fastnet.utils.param_validation import check_folder, check_list, shown

__all__ = ["Objective", "PruningCallback"]

_RETRIED = "failed_trial"
"""The system attribute by which Optuna tells which trial a trial repeats."""

_OF_TRIALS: Final = ("report", "should_prune", "number")
"""What is asked of trials; fixed and frozen ones have it, too."""

_SEVERAL: Final = "prunes no trials: optimize a function of your own, without pruning."


@dataclass(eq=False)
class PruningCallback(Callback):
    """Report a score of each epoch to a trial, and end training if the study prunes it.

    A run that resumes from a checkpoint reports its earlier epochs too, so that the pruner of a
    trial that is repeated sees the same course.

    Parameters
    ----------
    trial : optuna.Trial
    monitor : str, optional
        Name in the history. Default: ``val_loss`` with validation data, else ``loss``.

    Raises
    ------
    optuna.TrialPruned
        Out of ``fit``, when the study prunes the trial.
    InputError
        There is no such score, this is no trial, or its study has several objectives, of which
        Optuna prunes none.

    Examples
    --------
    >>> import fastnet as fn, numpy as np, optuna
    >>> from fastnet.integrations.optuna import PruningCallback
    >>> optuna.logging.set_verbosity(optuna.logging.ERROR)
    >>> x = np.random.default_rng(0).uniform(-1, 1, (200, 2))
    >>> def objective(trial):
    ...     net = fn.Network([2, trial.suggest_int("units", 4, 8), 1], backend="numpy", seed=0)
    ...     pruning = PruningCallback(trial)
    ...     history = net.fit(x, x[:, 0], validation_split=0.2, epochs=5, callbacks=[pruning])
    ...     return history["val_loss"][-1]
    >>> study = optuna.create_study()
    >>> study.optimize(objective, n_trials=3)
    >>> len(study.trials)
    3
    """

    trial: InitVar[Any]
    monitor: str | None = None

    def __post_init__(self, trial: Any) -> None:
        if isinstance(trial, type) or not all(hasattr(trial, name) for name in _OF_TRIALS):
            raise InputError(f"PruningCallback needs a trial of Optuna, got {shown(trial)}.")
        study = getattr(trial, "study", None)
        if study is not None and len(study.directions) > 1:
            raise InputError(f"a study of {len(study.directions)} objectives {_SEVERAL}")
        self._trial, self._resumed = trial, False

    def memory(self) -> dict[str, Any]:
        """Return the settings: all else is in the history."""
        return {"monitor": self.monitor}

    def on_resume(self, run: Run, memory: dict[str, Any]) -> None:
        """Report the epochs that the checkpoint has."""
        self._resumed = True
        for at, epoch in enumerate(run.history.epochs):
            logs = {name: values[at] for name, values in run.history.records.items()}
            self._report(logs, epoch)

    def on_epoch_end(self, run: Run) -> None:
        """Report the epoch."""
        epoch = run.history.epochs[-1]
        self._report(run.logs, epoch)
        if self._trial.should_prune():
            raise optuna.TrialPruned(f"after epoch {epoch}")

    def _report(self, logs: Mapping[str, float], epoch: int) -> None:
        name = self.monitor or ("val_loss" if "val_loss" in logs else "loss")
        if name not in logs:
            raise InputError(f"pruning cannot monitor {name!r}{suggest(name, logs)}")
        with warnings.catch_warnings():
            if self._resumed:  # a trial may have inherited the reports of the one before
                warnings.filterwarnings("ignore", "The reported value is ignored")
            self._trial.report(float(logs[name]), epoch)


class Objective:
    """What a study optimizes: the score of a network with the settings of a trial.

    ``study.optimize(Objective(...))`` trains one network for each trial and prunes it epoch by
    epoch, or with `cv` a network for each fold, several at once.

    Parameters
    ----------
    template, x, y
        See `fastnet.fit_many`.
    suggest : callable
        ``suggest(trial)`` returns settings of `fastnet.fit_many` by name, such as
        ``{"learning_rate": trial.suggest_float("learning_rate", 1e-4, 1e-1, log=True)}``.
    score : str, optional
        A column of the results. Default: ``test_loss`` with folds, else ``val_loss``.
    checkpoint : str or path, optional
        A folder for the trials of one study, which all its processes see. A trial that Optuna
        repeats after its process was killed (`optuna.storages.RetryHeartbeatStaleTrialCallback`)
        takes over the folds that are done, and goes on with a network from its last checkpoint if
        that takes long; see `fastnet.fit_many`.
    **how
        Further arguments of `fastnet.fit_many`, such as ``cv=5``, ``executor="processes"``,
        ``epochs=50`` and ``validation_split=0.2``.

    Raises
    ------
    InputError
        There is no such score, or the study has the other direction, or several.

    Examples
    --------
    >>> import fastnet as fn, numpy as np, optuna
    >>> from fastnet.integrations.optuna import Objective
    >>> optuna.logging.set_verbosity(optuna.logging.ERROR)
    >>> x = np.random.default_rng(0).uniform(-1, 1, (200, 2))
    >>> net = fn.Network([2, 8, 1], activation="tanh", seed=0)
    >>> def suggest(trial):
    ...     return {"learning_rate": trial.suggest_float("learning_rate", 1e-3, 1e-1, log=True)}
    >>> objective = Objective(net, x, x[:, 0] * x[:, 1], suggest, cv=3, epochs=5)
    >>> study = optuna.create_study()
    >>> study.optimize(objective, n_trials=3)
    >>> sorted(study.best_params)
    ['learning_rate']
    """

    def __init__(
        self,
        template: Network,
        x: Any,
        y: Any,
        suggest: Callable[[Any], Mapping[str, Any]],
        *,
        score: str | None = None,
        checkpoint: str | PathLike[str] | None = None,
        **how: Any,
    ) -> None:
        if not callable(suggest):
            raise InputError(f"suggest must be a function of a trial, got {suggest!r}.")
        for name in {"settings", "param_grid", "seeds", "resume"} & how.keys():
            raise InputError(
                f"an Objective has no {name}: suggest returns the settings of a trial."
            )
        self._template, self._rows, self._suggest = template, (x, y), suggest
        self._folds = how.get("cv") is not None
        self._score = score or ("test_loss" if self._folds else "val_loss")
        self._folder = None if checkpoint is None else check_folder("checkpoint", checkpoint)
        self._how = how

    def __call__(self, trial: Any) -> float:
        """Return the score of a trial: the mean of its folds."""
        self._check_direction(trial)
        settings, how = self._suggest(trial), dict(self._how)
        if not isinstance(settings, Mapping):
            raise InputError(f"suggest must return a dict of settings, got {settings!r}.")
        if not self._folds:
            pruning = PruningCallback(trial, self._score)
            how["callbacks"] = [*check_list("callbacks", how.get("callbacks", ())), pruning]
        folder = self._folder_of(trial)
        if folder is not None:
            how |= {"checkpoint": folder, "resume": True}
        try:
            population = fit_many(self._template, *self._rows, settings=[dict(settings)], **how)
        except optuna.TrialPruned:
            if folder is not None:
                shutil.rmtree(folder, ignore_errors=True)
            raise
        means = population.results.mean()
        found = means[0].get(self._score)
        if found is None and any(row["stop_reason"] == "diverged" for row in population.results):
            raise optuna.TrialPruned("a network diverged")
        if found is None:
            raise InputError(
                f"there is no score {self._score!r}{suggest(self._score, means.metrics)}"
            )
        if not math.isfinite(found):
            raise optuna.TrialPruned(f"{self._score} is {found}")
        return float(found)

    def _folder_of(self, trial: Any) -> Path | None:
        """Return the folder of a trial of a study: that of the first one which it repeats."""
        study = getattr(trial, "study", None)
        if self._folder is None or study is None:  # a fixed or frozen trial repeats none
            return None
        known = study.get_trials(deepcopy=False)[trial.number]
        number = known.system_attrs.get(_RETRIED, trial.number)
        return self._folder / f"trial-{number:06d}"

    def _check_direction(self, trial: Any) -> None:
        study = getattr(trial, "study", None)
        if study is None:
            return
        if len(study.directions) > 1:
            raise InputError(
                f"an Objective has one score, and the study {len(study.directions)} objectives."
            )
        mode = mode_of(self._score.removeprefix("test_").removeprefix("val_"))
        wanted = {"min": StudyDirection.MINIMIZE, "max": StudyDirection.MAXIMIZE}.get(mode or "")
        if wanted is not None and study.direction != wanted:
            raise InputError(
                f"{self._score!r} is better the {'smaller' if mode == 'min' else 'larger'}: "
                f"create the study with direction={wanted.name.lower()!r}."
            )
