"""The exceptions of fastnet: messages state the expected value, the given one and the remedy."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any


class FastNetError(Exception):
    """Base class of every error that fastnet raises on purpose."""


class InputError(FastNetError, ValueError):
    """An argument has a wrong type, shape, range or value."""


class DataError(FastNetError, ValueError):
    """A data file is missing a column, damaged, or holds something that cannot be trained on."""


class DataNotFoundError(DataError, FileNotFoundError):
    """A data file or built-in data set is not where it was looked for."""


class ModelFileError(FastNetError, OSError, ValueError):
    """A model file cannot be read, is damaged, or was not written by fastnet."""


class CheckpointError(FastNetError, OSError, ValueError):
    """A checkpoint cannot be written where it was asked for, or cannot be read."""


class DivergenceError(FastNetError, ArithmeticError, ValueError):
    """Training produced a loss or weights that are not finite.

    Attributes
    ----------
    epoch, step : int
        Where it happened; both count from 1, the step within the epoch.
    """

    def __init__(self, message: str, *, epoch: int, step: int) -> None:
        super().__init__(message)
        self.epoch = epoch
        self.step = step

    def __reduce__(self) -> tuple[Any, ...]:
        # From another process it arrives as it is: exceptions are made of their texts alone.
        return partial(DivergenceError, epoch=self.epoch, step=self.step), self.args


class OutOfMemoryError(FastNetError, MemoryError):
    """A network or its training needs more memory than is free; nothing was started."""


class DistributedError(FastNetError, RuntimeError):
    """Another process that trains the same network has failed, or does something else."""


class WorkerError(FastNetError, RuntimeError):
    """Workers of an executor cannot be reached, or members of a population ended theirs.

    Attributes
    ----------
    members : tuple of int
        The numbers of the members that are lost.
    population : Population or None
        The members that are done.
    """

    def __init__(self, message: str, *, members: tuple[int, ...] = ()) -> None:
        super().__init__(message)
        self.members = members
        self.population: Any = None


class BackendUnavailableError(FastNetError, ImportError):
    """The chosen backend cannot run here; the message says why and how to install it."""


class FastNetWarning(UserWarning):
    """Base class of every warning that fastnet gives."""


class CheckpointWarning(FastNetWarning):
    """A checkpoint could not be written, or is damaged; training continues."""


class ResumeWarning(FastNetWarning):
    """Training resumes from a checkpoint in another environment: results may differ in bits."""


def suggest(name: object, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'? Known: ..."``, which ends every message about a wrong name."""
    names = list(known)
    return f"{nearest(str(name), names)} Known: {', '.join(names)}."


def nearest(name: str, known: Iterable[str], cutoff: float = 0.5) -> str:
    """Return ``"; did you mean 'x'?"`` for the known name that is most like this one, else a stop.

    Upper and lower case are the same; `cutoff` is the least likeness, from 0 to 1.
    """
    import difflib  # here: only wrong names pay for it

    folded = {one.casefold(): one for one in reversed(list(known))}
    near = difflib.get_close_matches(name.casefold(), folded, n=1, cutoff=cutoff)
    return f"; did you mean {folded[near[0]]!r}?" if near else "."
