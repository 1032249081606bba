"""What the runner of populations is given: members to train, and how long."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from fastnet.network import Network

Row = dict[str, Any]
Trained = tuple[Network, Row]
"""A member after training, and its row of the results."""


class Work(Protocol):
    """The members of a population, by number.

    It may travel to other processes, so it holds what training needs, and that can be pickled.
    """

    def train(
        self, numbers: Sequence[int], threads: int | None, folder: Path | None
    ) -> Iterable[Trained]:
        """Yield each of these members after training.

        Parameters
        ----------
        numbers : sequence of int
            Members that are trained together.
        threads : int or None
            Most threads for them.
        folder : Path or None
            That of the population, for members that take long (see `halfway`).
        """
        ...

    def describe(self, number: int) -> Row:
        """Return the settings of a member, by which messages name it."""
        ...


class Limits(Protocol):
    """The time that a search has."""

    def over(self, number: int) -> bool:
        """Return whether the training of a member has to end."""
        ...

    def left(self, number: int) -> float:
        """Return the seconds that a member has if it starts now; infinite without a limit."""
        ...

    def stamp(self) -> Row:
        """Return what is added to the row of a member that is done now."""
        ...


class Crew(Protocol):
    """Those who train.

    Attributes
    ----------
    slots : int
        How many groups are trained at once.
    """

    @property
    def slots(self) -> int: ...

    def run(
        self,
        groups: Iterator[Sequence[int]],
        work: Work,
        take: Callable[[int, Network, Row], None],
        folder: Path | None,
        limits: Limits | None,
    ) -> None:
        """Train groups of members as they come, and hand each member to ``take``.

        Members whose time is up are left out.

        Raises
        ------
        WorkerError
            Members were lost; all others are done.
        """
        ...


def named(work: Work, number: int) -> str:
    """Return a member's number and settings for a message."""
    shown = ", ".join(f"{name} {value}" for name, value in work.describe(number).items())
    return f"member {number} ({shown})" if shown else f"member {number}"
