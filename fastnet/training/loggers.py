"""Loggers: callbacks that write what every epoch measured, as it goes."""

from __future__ import annotations

import json
import math
from os import PathLike
from pathlib import Path
from typing import IO, Any

from fastnet.errors import FastNetError, InputError
from fastnet.training.callbacks import Callback, Run


class JsonLines(Callback):
    """One JSON object a line for every epoch: ``{"epoch": 1, "loss": 0.53, ...}``.

    Written line by line, so that it can be followed while training runs, and is complete up to the
    last epoch whatever happens. A number that is not finite is null.

    Parameters
    ----------
    path : str or PathLike
        The file; one that is there is replaced.
    append : bool, default False
        Write behind what is there instead.
    """

    def __init__(self, path: str | PathLike[str], *, append: bool = False) -> None:
        self.path = Path(path)
        self.append = append
        self._file: IO[str] | None = None

    def on_train_begin(self, run: Run) -> None:
        """Open the file."""
        try:
            self._file = open(self.path, "a" if self.append else "w", encoding="utf-8")  # noqa: SIM115
        except OSError as error:
            raise InputError(f"{self.path} cannot be written: {error.strerror}.") from error

    def on_epoch_end(self, run: Run) -> None:
        """Write a line."""
        assert self._file is not None
        values = {name: v if math.isfinite(v) else None for name, v in run.logs.items()}
        print(json.dumps({"epoch": run.history.epochs[-1], **values}), file=self._file, flush=True)

    def on_train_end(self, run: Run) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None


class TensorBoard(Callback):
    """Scalars of every epoch for TensorBoard: ``loss/training``, ``loss/validation``, ...

    Needs tensorboardX (``pip install 'fastnet-mlp[tensorboard]'``).

    Parameters
    ----------
    folder : str or PathLike
        Where the event files go; one folder for each run.
    """

    def __init__(self, folder: str | PathLike[str]) -> None:
        try:
            import tensorboardX  # noqa: F401
        except ImportError:
            raise FastNetError(
                "TensorBoard needs tensorboardX: pip install 'fastnet-mlp[tensorboard]'."
            ) from None
        self.folder = Path(folder)
        self._writer: Any = None

    def on_train_begin(self, run: Run) -> None:
        """Begin an event file."""
        from tensorboardX import SummaryWriter

        self._writer = SummaryWriter(str(self.folder))

    def on_epoch_end(self, run: Run) -> None:
        """Write the scalars."""
        for name, value in run.logs.items():
            stem = name.removeprefix("val_")
            tag = f"{stem}/{'training' if stem == name else 'validation'}"
            if name == "learning_rate":
                tag = name
            self._writer.add_scalar(tag, value, run.history.epochs[-1])
        self._writer.flush()

    def on_train_end(self, run: Run) -> None:
        """End the event file."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
