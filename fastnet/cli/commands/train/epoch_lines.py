"""The lines that ``fastnet train`` writes after each epoch."""

from __future__ import annotations

import sys
from typing import Final

from fastnet.cli.output import short
from fastnet.training.callbacks import Callback, Run

TERMINAL_LINES: Final = 25
"""About this many epochs of a long run are shown on a terminal, beside the progress bar."""


class EpochLines(Callback):
    """Writes a table on a terminal, elsewhere a line ``epoch=1 loss=0.53 ...`` per epoch."""

    def __init__(self, epochs: int) -> None:
        # While the progress bar runs, sys.stdout is the bar's console, so the stream is kept.
        self._stream = sys.stdout
        self._terminal = self._stream.isatty()
        self._every = max(1, epochs // TERMINAL_LINES) if self._terminal else 1
        self._widths: list[int] = []

    def on_epoch_end(self, run: Run) -> None:
        """Write the metrics of the epoch."""
        epoch = run.history.epochs[-1]
        if not self._terminal:
            values = (f"{name}={value:.10g}" for name, value in run.logs.items())
            print(f"epoch={epoch}", *values, file=self._stream, flush=True)
        elif run.epoch % self._every == 0 or run.epoch in (1, run.epochs):
            logs = {name: value for name, value in run.logs.items() if name != "learning_rate"}
            if not self._widths:
                self._widths = [max(len(name), 9) for name in logs]
                header = zip(logs, self._widths, strict=True)
                print("epoch", *(name.rjust(width) for name, width in header))
            cells = zip(logs.values(), self._widths, strict=True)
            print(f"{epoch:5d}", *(short(value).rjust(width) for value, width in cells))
