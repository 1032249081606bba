"""What ``verbose`` shows: a bar on a terminal, a live line in a notebook, else lines of text."""

from __future__ import annotations

import os
import sys
import time
from typing import Any, Final

from fastnet.training.callbacks import Callback, Run
from fastnet.utils.param_validation import check_int

SECONDS: Final = 0.1
"""A live line changes no more often than this."""


def progress(verbose: bool | int) -> Callback | None:
    """Return the callback that shows training here, or None for ``verbose=False`` or 0.

    Parameters
    ----------
    verbose : bool or int
        Where neither a terminal nor a notebook can show progress, every how many epochs a line is
        written; True is 1.
    """
    every = int(verbose) if isinstance(verbose, bool) else check_int("verbose", verbose, least=0)
    if not every:
        return None
    if in_notebook():
        return LiveLine()
    return Bar() if on_terminal() else Lines(every)


def on_terminal() -> bool:
    """Return whether standard error is a terminal that can show a bar."""
    is_one = getattr(sys.stderr, "isatty", bool)()
    return is_one and os.environ.get("TERM") not in ("dumb", "unknown")


def in_notebook() -> bool:
    """Return whether the code runs in a kernel of Jupyter, which has loaded IPython then."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return hasattr(shell, "kernel")


def summary(run: Run) -> str:
    """Return the number of the newest epoch of this call, and its metrics, in one line."""
    values = (f"{name} {value:.4g}" for name, value in run.logs.items() if name != "learning_rate")
    return f"epoch {run.epoch}/{run.epochs}: {', '.join(values)}"


class Lines(Callback):
    """Writes a line on standard error after every n-th epoch, the first and the last.

    Parameters
    ----------
    every : int
    """

    def __init__(self, every: int = 1) -> None:
        self.every = every
        self._newest: str | None = None  # of an epoch that has no line yet

    def on_epoch_end(self, run: Run) -> None:
        """Write the line, if it is its turn."""
        self._newest = summary(run)
        if run.epoch == 1 or run.epoch % self.every == 0:
            self._write()

    def on_train_end(self, run: Run) -> None:
        """Write the line of the last epoch."""
        self._write()

    def _write(self) -> None:
        if self._newest is not None and sys.stderr is not None:
            print(self._newest, file=sys.stderr, flush=True)
        self._newest = None


class LiveLine(Callback):
    """Shows the newest epoch in a notebook, in one line that changes, on standard output."""

    def on_train_begin(self, run: Run) -> None:
        """Forget an earlier run."""
        self._text, self._width, self._written = "", 0, 0.0

    def on_progress(self, run: Run) -> None:
        """Show how much of an epoch is done, if that takes long."""
        if run.batch < run.batches and self._due():
            share = run.batch / run.batches
            self._write(f"epoch {run.epoch}/{run.epochs}, {share:.0%} of it done; {self._text}")

    def on_epoch_end(self, run: Run) -> None:
        """Show the metrics."""
        self._text = summary(run)
        if self._due():
            self._write(self._text)

    def on_train_end(self, run: Run) -> None:
        """Leave the metrics of the last epoch."""
        if self._text:
            self._write(self._text + "\n")

    def _due(self) -> bool:
        return time.monotonic() - self._written >= SECONDS

    def _write(self, text: str) -> None:
        print("\r" + text.ljust(self._width), end="", flush=True)
        self._width, self._written = len(text), time.monotonic()


class Bar(Callback):
    """Shows epochs and the newest losses on standard error while training runs, by rich."""

    def __init__(self) -> None:
        self._bar: Any = None

    def on_train_begin(self, run: Run) -> None:
        """Open the bar, if standard error is a terminal."""
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        if not on_terminal():
            return
        # Not what rich finds: FORCE_COLOR asks it for colours, which is not to ask for a bar.
        console = Console(stderr=True, force_terminal=True)
        self._bar = Progress(
            TextColumn("epoch {task.fields[epoch]}/{task.fields[epochs]}"),
            BarColumn(),
            TextColumn("{task.fields[metrics]}"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
        )
        self._task = self._bar.add_task(
            "", total=run.epochs * run.batches, epoch=0, epochs=run.epochs, metrics=""
        )
        self._bar.start()

    def on_progress(self, run: Run) -> None:
        """Move the bar."""
        if self._bar is not None:
            done = (run.epoch - 1) * run.batches + run.batch
            self._bar.update(self._task, completed=done, epoch=run.epoch)

    def on_epoch_end(self, run: Run) -> None:
        """Show the metrics."""
        if self._bar is not None:
            shown = [name for name in ("loss", "val_loss") if name in run.logs]
            metrics = "  ".join(f"{name} {run.logs[name]:.4f}" for name in shown)
            self._bar.update(self._task, metrics=metrics)

    def on_train_end(self, run: Run) -> None:
        """Close the bar."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
