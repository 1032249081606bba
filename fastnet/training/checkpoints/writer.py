"""Checkpoints: training that was killed resumes from the last one, with the same bits.

A checkpoint holds parameters, running statistics, the optimizer's moments, the weights to restore
after a divergence, the counters that key shuffle, dropout and schedule, the sums of the epoch so
far, the history and the states of callbacks. There is no other state: random numbers are functions
of the counters.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any, Final, Self

from fastnet.distributed.group import Group
from fastnet.distributed.parts import MOST as MOST_PARTS
from fastnet.errors import (
    CheckpointWarning,
    InputError,
    ModelFileError,
    ResumeWarning,
)
from fastnet.nn.optimizers import LBFGS, Optimizer
from fastnet.nn.schedules import Plateau
from fastnet.training.checkpoints import fingerprint
from fastnet.training.checkpoints.folder import Folder
from fastnet.training.checkpoints.shared_folder import SharedFolder
from fastnet.training.checkpoints.snapshot import Checkpoint
from fastnet.training.state import NO_CHECKPOINTS, Checkpointer, TrainerState, TrainingJob
from fastnet.utils.param_validation import check_flag, check_folder, check_int
from fastnet.utils.warn import warn

_log = logging.getLogger(__name__)

DEFAULT_EVERY: Final = "30s"

_SECONDS: Final = {"s": 1.0, "min": 60.0, "h": 3600.0}
_EVERY: Final = re.compile(rf"(\d+(?:\.\d+)?) *({'|'.join(_SECONDS)})?")


@dataclass(frozen=True)
class Every:
    """The interval between checkpoints, in epochs or in seconds."""

    epochs: int | None = None
    seconds: float = 0.0

    @classmethod
    def of(cls, value: Any) -> Self:
        """Return the interval of ``5``, ``"5"`` (epochs), ``"30s"``, ``"1.5min"`` or ``"1h"``."""
        if isinstance(value, str):
            found = _EVERY.fullmatch(value.strip())
            if found and found[2] and float(found[1]) > 0:
                return cls(seconds=float(found[1]) * _SECONDS[found[2]])
            if found is None or found[2] or not found[1].isdigit():
                raise InputError(
                    "checkpoint_every must be a number of epochs, or a time such as '30s', "
                    f"'5min' or '1h', got {value!r}."
                )
            value = int(value)
        return cls(epochs=check_int("checkpoint_every", value))


class CheckpointWriter:
    """Writes the checkpoints of one call of ``fit``, and restores the last one.

    If a checkpoint cannot be written during training, a warning says so and training continues:
    the computation is worth more than its checkpoint.

    Parameters
    ----------
    folder : Folder
    every : Every
    resume : bool
        Whether to resume from a checkpoint, if there is one.

    Attributes
    ----------
    saved : Checkpoint or None
        The checkpoint from which the run resumes.
    """

    def __init__(self, folder: Folder, every: Every, resume: bool) -> None:
        self._folder = folder
        self._every = every
        self._resume = resume
        self.saved: Checkpoint | None = None
        self._fingerprint: dict[str, Any] = {}
        self._environment: dict[str, Any] = {}
        self._written: tuple[int, int] | None = None
        self._began = self._newest = time.perf_counter()

    active = True

    @property
    def categories(self) -> tuple[str, ...]:
        """The categorical columns of the run to resume."""
        return known_categories(self._folder.path, self._resume)

    @property
    def every(self) -> str:
        """The interval between two checkpoints, as a text."""
        return repr(self._every)

    @property
    def resumes(self) -> bool:
        """Whether to go on from a checkpoint, if there is one."""
        return self._resume

    @property
    def iterations(self) -> int | None:
        """The epochs between two checkpoints; None if time decides."""
        return self._every.epochs

    @cached_property
    def weighs_as_0_1(self) -> bool:
        """Whether the run that resumes was begun by version 0.1, for which weights meant less."""
        return is_of_0_1(self._folder.path, self._resume)

    @contextmanager
    def opened(
        self,
        job: TrainingJob,
        optimizer: Optimizer | LBFGS,
        batch_size: int,
        shuffle: bool,
        rows: Callable[[], dict[str, Any]],
    ) -> Iterator[None]:
        """Lock the folder and read its newest checkpoint; the network does not change yet.

        Parameters
        ----------
        rows : callable
            Returns the fingerprint of the training and validation rows, as plain JSON values.

        Raises
        ------
        CheckpointError
            The folder cannot be written to, or its checkpoints cannot be read.
        InputError
            There is a checkpoint but `resume` is False, or it is that of another run.
        """
        model, place = job.model, self._folder.path
        self._fingerprint = fingerprint.of_run(job, optimizer, batch_size, shuffle, rows())
        if self.weighs_as_0_1:
            del self._fingerprint[fingerprint.WEIGHTS]
        self._environment = fingerprint.environment(model, job.engine, batch_size)
        batches = 1 if isinstance(optimizer, LBFGS) else -(-len(job.rows) // batch_size)
        with self._folder.opened():
            if self._resume:
                content = self._folder.read()
                if content is not None:
                    self.saved = Checkpoint.read(place, *content)
                    self._compare(place, self.saved, job.epochs)
                    self.saved.require_fit(place, model, optimizer.n_moments, batches)
            elif self._folder.files():
                raise InputError(
                    f"{place} has the checkpoints of a run: resume=True (or --resume) goes on with "
                    "it; to train anew, remove them or name another folder."
                )
            yield

    def _compare(self, place: Path, saved: Checkpoint, epochs: int) -> None:
        different = fingerprint.difference(self._fingerprint, saved.fingerprint)
        if different is not None:
            raise InputError(
                f"{place} has checkpoints of another run: {different}. Give the same as then, or "
                "another folder."
            )
        if len(saved.history.epochs) > epochs:
            raise InputError(
                f"the checkpoint in {place} has {len(saved.history.epochs)} epochs done already, "
                f"more than the {epochs} asked for."
            )
        changed = fingerprint.changes(self._environment, saved.environment)
        if changed:
            warn(
                f"training resumes in another environment, so the result may round differently: "
                f"{', '.join(changed)}.",
                ResumeWarning,
            )

    def restore(self, trainer: TrainerState) -> None:
        """Restore network, optimizer state, history and callbacks from the checkpoint."""
        self._began = self._newest = time.perf_counter()
        saved = self.saved
        if saved is None:
            return
        run, state, model = trainer.run, trainer.state, trainer.job.model
        asarray = model.backend_object.asarray
        for name in ("epochs", "records", "seconds"):
            setattr(run.history, name, getattr(saved.history, name))
        run.epoch, run.batch = len(run.history.epochs), saved.done.steps
        run.stopped = saved.stopped
        if run.stopped is not None:
            run.history.stop_reason = run.stopped
        self._recall(trainer, saved)
        model.restore((asarray(saved.parameters), asarray(saved.statistics)))
        state.moments[...] = asarray(saved.moments)
        for name, value in saved.clocks.items():
            setattr(state, name, value)
        state.plateau = Plateau(**saved.plateau)
        trainer.done = saved.done
        good = asarray(saved.good_parameters), asarray(saved.good_statistics)
        trainer.good = good
        trainer.newest = good if trainer.done.steps else model.snapshot()
        self._written = epochs, batches = self._moment(trainer)
        _log.info("gone on from epoch %d and %d batches in %s", epochs, batches, self._folder.path)

    def _recall(self, trainer: TrainerState, saved: Checkpoint) -> None:
        """Restore the states of the callbacks."""
        place = self._folder.path
        remembering = [callback for callback in trainer.job.callbacks if callback.memory()]
        names = [type(callback).__name__ for callback in remembering]
        if names != [name for name, _ in saved.callback_states]:
            raise InputError(
                f"{place} has checkpoints of another run: its callbacks with a memory were "
                f"{[name for name, _ in saved.callback_states]}, and are {names} here."
            )
        for callback, (name, memory) in zip(remembering, saved.callback_states, strict=True):
            try:
                callback.on_resume(trainer.run, memory)
            except (LookupError, TypeError, ValueError, AttributeError) as error:
                raise InputError(
                    f"{name} cannot go on from the checkpoint in {place}: {error}"
                ) from error

    def after_span(self, trainer: TrainerState) -> None:
        """Write a checkpoint if its time has come."""
        if self._every.epochs is None:
            self._if_time(trainer)

    def after_epoch(self, trainer: TrainerState) -> None:
        """Write a checkpoint if one is due."""
        if self._every.epochs is None:
            self._if_time(trainer)
        elif len(trainer.run.history.epochs) % self._every.epochs == 0:
            self._write(trainer)

    def finish(self, trainer: TrainerState) -> None:
        """Write a checkpoint of the end or of an interruption."""
        if self._written != self._moment(trainer):
            self._write(trainer)

    def _if_time(self, trainer: TrainerState) -> None:
        if time.perf_counter() - self._newest >= self._every.seconds:
            self._write(trainer)

    @staticmethod
    def _moment(trainer: TrainerState) -> tuple[int, int]:
        return len(trainer.run.history.epochs), trainer.done.steps

    def _write(self, trainer: TrainerState) -> None:
        run, model = trainer.run, trainer.job.model
        if not model.is_finite():
            return  # the loop is about to find the divergence
        # Collect the state of training on the host.
        to_host = model.backend_object.to_host
        good = trainer.newest if trainer.done.steps else trainer.good
        saved = Checkpoint(
            fingerprint=self._fingerprint,
            environment=self._environment,
            parameters=to_host(model.parameters),
            statistics=to_host(model.state),
            good_parameters=to_host(good[0]),
            good_statistics=to_host(good[1]),
            moments=to_host(trainer.state.moments),
            clocks={name: getattr(trainer.state, name) for name in Checkpoint.CLOCKS},
            plateau=asdict(trainer.state.plateau),
            done=trainer.done,
            stopped=run.stopped,
            history=run.history,
            seconds=run.history.seconds + time.perf_counter() - self._began,
            callback_states=[
                (type(callback).__name__, memory)
                for callback in trainer.job.callbacks
                if (memory := callback.memory())
            ],
        )
        # Write it; a failure is a warning.
        epochs, batches = self._moment(trainer)
        try:
            self._folder.write(epochs * run.batches + batches, *saved.content(to_host))
        except TypeError as error:
            raise InputError(
                f"what a callback's memory returns must be arrays and plain JSON values: {error}."
            ) from error
        except (ModelFileError, MemoryError) as error:
            warn(
                f"no checkpoint was written, and training goes on: {str(error) or 'out of memory'}",
                CheckpointWarning,
            )
        else:
            self._written = epochs, batches
            _log.info("checkpoint of epoch %d and %d batches written", epochs, batches)
        self._newest = time.perf_counter()


def knows_no_table(folder: Path) -> bool:
    """Return whether the newest checkpoint in a folder has no preprocessor of a table.

    If ``fastnet train`` wrote it for a table, it was version 0.1.
    """
    basis = _newest_basis(folder)
    return basis is not None and basis.get("preprocessor", basis) is None


def is_of_0_1(folder: str | PathLike[str] | None, resume: bool) -> bool:
    """Return whether version 0.1 wrote the run that will be resumed: its defaults still hold."""
    if folder is None or not resume:
        return False
    basis = _newest_basis(Path(folder))
    return basis is not None and fingerprint.WEIGHTS not in basis


def known_categories(folder: str | PathLike[str] | None, resume: bool) -> tuple[str, ...]:
    """Return the categorical columns of the table of a run that will be resumed.

    What a column is must not change within a run, even if a new version would decide otherwise.
    """
    if folder is None or not resume:
        return ()
    table = (_newest_basis(Path(folder)) or {}).get("preprocessor") or {}
    columns = table.get("columns", []) if isinstance(table, dict) else []
    kinds = [column for column in columns if isinstance(column, dict) and "name" in column]
    return tuple(str(c["name"]) for c in kinds if c.get("kind") == "categorical")


def _newest_basis(folder: Path) -> dict[str, Any] | None:
    """Return the fingerprint in the newest checkpoint of a folder, if there is one."""
    content = Folder(folder).read() if folder.is_dir() else None
    basis = None if content is None else content[0].get("basis")
    return basis if isinstance(basis, dict) else None


def known_parts(folder: str | PathLike[str] | None, resume: bool) -> int | None:
    """Return the parts of the rows of a run on several ranks that will be resumed."""
    if folder is None or not resume:
        return None
    parts = (_newest_basis(Path(folder)) or {}).get("parts")
    return check_int("parts", parts, most=MOST_PARTS) if parts is not None else None


def asked(
    folder: str | PathLike[str] | None, every: int | str, resume: bool, group: Group | None = None
) -> Checkpointer:
    """Return the checkpointer for the arguments of ``fit``, on a group of ranks or alone."""
    resume, when = check_flag("resume", resume), Every.of(every)
    if folder is None:
        if resume:
            raise InputError("resume=True needs checkpoint=: the folder to go on from.")
        return NO_CHECKPOINTS
    path = check_folder("checkpoint", folder)
    place = Folder(path) if group is None else SharedFolder(path, group)
    return CheckpointWriter(place, when, resume)
