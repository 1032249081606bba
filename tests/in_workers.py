"""What the tests send to workers, which import it from here."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import fastnet as fn


@dataclass(frozen=True)
class Killer:
    """Kills the worker that trains the network of a seed; only once, if it may leave a file."""

    seed: int
    left: Path | None = None

    def __call__(self, run: fn.Run) -> None:
        if run.network.seed == self.seed and not (self.left is not None and self.left.exists()):
            if self.left is not None:
                self.left.touch()
            os.kill(os.getpid(), signal.SIGKILL)


@dataclass(frozen=True)
class Terminated:
    """A metric that ends its worker as a system does that shuts down: in the third epoch, once."""

    folder: Path
    __name__ = "seen"
    mode = "min"

    def __call__(self, target: Any, output: Any) -> float:
        with (self.folder / "epochs").open("a", encoding="ascii") as file:
            file.write("x")
        if (self.folder / "epochs").stat().st_size == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return float(np.mean(np.asarray(output)))


class OddError(Exception):
    """An exception that cannot be made of its text."""

    def __init__(self, first: int, second: int) -> None:
        super().__init__(f"{first} and {second}")


def fail(run: fn.Run) -> None:
    raise KeyError("mine")


def fail_oddly(run: fn.Run) -> None:
    raise OddError(1, 2)


@dataclass(frozen=True)
class Noted:
    """Writes the number of the process that trains, and trains on until it is ended."""

    folder: Path

    def __call__(self, run: fn.Run) -> None:
        (self.folder / f"{os.getpid()}.worker").touch()
