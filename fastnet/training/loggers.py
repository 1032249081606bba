"""Loggers: callbacks that write the metrics of each epoch."""

from __future__ import annotations

import json
import math
from os import PathLike
from pathlib import Path
from typing import IO, Any

from fastnet.errors import FastNetError, InputError
from fastnet.training.callbacks import Callback, Run


class JsonLines(Callback):
    """Writes one JSON object per epoch and line: ``{"epoch": 1, "loss": 0.53, ...}``.

    Each line is written at once, so the file can be followed during training and is complete up to
    the last epoch after a crash. NaN and infinity are null.

    Parameters
    ----------
    path : str or PathLike
        The file; an existing one is replaced.
    append : bool, default False
        Append to an existing file instead.
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
    """Writes scalars of each epoch for TensorBoard: ``loss/training``, ``loss/validation``, ...

    It needs tensorboardX (``pip install 'fastnet-mlp[tensorboard]'``).

    Parameters
    ----------
    folder : str or PathLike
        Folder of the event files; each run needs its own.
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
        """Open an event file."""
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
        """Close the event file."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
