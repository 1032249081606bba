"""A progress bar by rich, which appears on terminals only."""

from __future__ import annotations

from typing import Any

from fastnet.training.callbacks import Callback, Run


class Progress(Callback):
    """Show epochs and the newest losses on standard error while training runs."""

    def __init__(self) -> None:
        self._bar: Any = None

    def on_train_begin(self, run: Run) -> None:
        """Open the bar if standard error is a terminal."""
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        console = Console(stderr=True)
        # FORCE_COLOR makes rich take everything for a terminal: it asks for colours, not for a bar.
        if not (console.is_terminal and console.file.isatty()):
            return
        self._bar = Bar(
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
