"""`History`: the metrics of each epoch of training, and a plot of them."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fastnet.errors import DataError, InputError
from fastnet.utils.frames import to_frame
from fastnet.utils.param_validation import check_int, check_list, to_float

_TEXTS = ("monitor", "mode", "task")


def _numbers(values: Mapping[str, Any]) -> dict[str, float]:
    """Return values read from JSON, in which NaN and infinity are null, as floats."""
    return {name: float("nan") if v is None else float(v) for name, v in values.items()}


@dataclass
class History(Mapping[str, list[float]]):
    """The metrics of every epoch, by name: ``history["loss"]`` is a list with one entry an epoch.

    Attributes
    ----------
    epochs : list of int
        Numbers of the epochs, counting from 1 since the network's training began.
    records : dict of str to list of float
        ``loss`` (the mean of the batch losses before each update), ``accuracy`` or ``r2`` likewise,
        ``val_loss`` and others with validation data, ``learning_rate`` (of the last step). R2 of
        several outputs is the mean of theirs; ``r2`` alone, of the training batches, pools them:
        it is 1 - the mean squared error of all outputs / the mean of their variances. Where the
        targets are scaled, which makes their variances 1, the two are the same.
    seconds : float
        Wall-clock time of training.
    stop_reason : str
        Why training ended: ``"epochs"``, ``"early stopping"``, ``"interrupted"``, ``"converged"``
        or ``"evaluations"`` (L-BFGS), or a callback's reason.
    best_epoch : int or None
        The epoch whose weights early stopping restored.
    monitor, mode : str or None
        The metric that early stopping monitored, and its direction: ``"min"`` or ``"max"``.
    task : str or None
        ``"classification"`` or ``"regression"`` of a table's target.
    majority : (int, float) or None
        The most frequent class, by its index, and the accuracy of always answering it, on the rows
        of ``val_accuracy``, or else of ``accuracy``. None without classes, for `Chunks`, and in
        a history from a file.
    """

    epochs: list[int] = field(default_factory=list)
    records: dict[str, list[float]] = field(default_factory=dict)
    seconds: float = 0.0
    stop_reason: str = "epochs"
    best_epoch: int | None = None
    monitor: str | None = None
    mode: str | None = None
    task: str | None = None
    majority: tuple[int, float] | None = field(default=None, compare=False)

    def __getitem__(self, name: str) -> list[float]:
        return self.records[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.records)

    def __len__(self) -> int:
        return len(self.records)

    def append(self, epoch: int, values: Mapping[str, float]) -> None:
        """Add one epoch."""
        self.epochs.append(epoch)
        for name, value in values.items():
            self.records.setdefault(name, []).append(value)

    def extend(self, epochs: Sequence[int], values: Mapping[str, list[float]]) -> None:
        """Add several epochs."""
        self.epochs.extend(epochs)
        for name, several in values.items():
            self.records.setdefault(name, []).extend(several)

    def shorten(self, epochs: int) -> None:
        """Keep so many epochs, and forget those after them."""
        newer = len(self.epochs) - epochs
        del self.epochs[epochs:]
        for values in self.records.values():
            del values[len(values) - newer :]

    def last(self) -> dict[str, float]:
        """Return the values of the newest epoch."""
        return {name: values[-1] for name, values in self.records.items()}

    def kept(self) -> dict[str, float]:
        """Return the values of the epoch whose weights the network has."""
        at = self.epochs.index(self.best_epoch) if self.best_epoch else -1
        return {name: values[at] for name, values in self.records.items()}

    @classmethod
    def read(cls, path: str | PathLike[str]) -> History:
        """Read a file of ``fastnet train --log`` or of the callback `JsonLines`.

        Raises
        ------
        DataError
            The file is missing or is no such file.
        """
        history = cls()
        try:
            with open(path, encoding="utf-8") as file:
                for line in file:
                    values = json.loads(line)
                    history.append(int(values.pop("epoch")), _numbers(values))
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error.strerror}.") from None
        except (ValueError, TypeError, KeyError, AttributeError):
            raise DataError(f"{path} is no log of a training.") from None
        return history

    # --- as JSON values and arrays ---------------------------------------------------------------

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return ``epochs``, and the metrics under their index."""
        metrics = {str(k): np.array(v, np.float64) for k, v in enumerate(self.values())}
        return {"epochs": np.array(self.epochs, np.int64), **metrics}

    @classmethod
    def of_arrays(cls, names: Sequence[Any], arrays: Mapping[str, NDArray[Any]]) -> History:
        """Return a history of metrics of these names; raise `InputError` for what is none."""
        epochs = arrays["epochs"]
        if epochs.dtype != np.int64 or epochs.ndim != 1:
            raise InputError("the epochs of the history are not whole numbers.")
        records: dict[str, list[float]] = {}
        for index, name in enumerate(names):
            values = arrays[str(index)]
            if not isinstance(name, str) or values.dtype != np.float64 or values.ndim != 1:
                raise InputError(f"the history {name!r} is not one number an epoch.")
            records[name] = values.tolist()
        if len(records) != len(arrays) - 1:
            raise InputError("the history has records without a name of their own.")
        return cls(epochs.tolist(), records)

    def description(self) -> dict[str, Any]:
        """Return all but the numbers as plain JSON values, for a model file."""
        texts = {name: getattr(self, name) for name in _TEXTS}
        more = {"seconds": self.seconds, "stop_reason": self.stop_reason}
        return {"metrics": list(self), **more, "best_epoch": self.best_epoch, **texts}

    @classmethod
    def of_description(
        cls, content: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]
    ) -> History:
        """Return the history of `description` and `arrays`, which may be hostile.

        Raises
        ------
        InputError, KeyError
            Anything is missing or of another type.
        """
        history = cls.of_arrays(check_list("metrics", content["metrics"]), arrays)
        seconds, best = content["seconds"], content["best_epoch"]
        if type(seconds) not in (int, float) or not math.isfinite(to_float(seconds)):
            raise InputError("the seconds of the history are no number.")
        for name in ("stop_reason", *_TEXTS):
            value = content[name]
            if not isinstance(value, str) and (value is not None or name == "stop_reason"):
                raise InputError(f"the {name} of the history is no text.")
            setattr(history, name, value)
        history.seconds = to_float(seconds)
        history.best_epoch = None if best is None else check_int("best_epoch", best)
        return history

    def plot(self, path: str | PathLike[str] | None = None) -> Any:
        """Draw the learning curves, one panel for each metric.

        Needs matplotlib (``pip install 'fastnet-mlp[plot]'``).

        Parameters
        ----------
        path : str or PathLike, optional
            File to save; its ending (.png, .svg, .pdf) chooses the format.

        Returns
        -------
        matplotlib.figure.Figure
        """
        # Imported here, because `import fastnet` would take 6 % longer with it.
        from fastnet.report import figures, measures

        found = measures.curves(self.epochs, self.records, self.best_epoch)
        return figures.draw([panel for curve in found for panel in figures.panels(curve)], path)

    def to_frame(self, library: Literal["pandas", "polars"] | None = None) -> Any:
        """Return a data frame with a row for each epoch: ``epoch``, ``loss``, ...

        Parameters
        ----------
        library : {"pandas", "polars"}, optional
            Default: pandas if that is installed, else polars.

        Raises
        ------
        InputError
            The library is not installed.
        """
        return to_frame({"epoch": self.epochs, **self.records}, library, "epochs and records")

    def __repr__(self) -> str:
        values = ", ".join(f"{name}={value:.4g}" for name, value in self.last().items())
        return f"<History of {len(self.epochs)} epochs, {self.seconds:.2f} s: {values}>"

    def _repr_html_(self) -> str:
        """Return curves and a table for a notebook."""
        # Imported here, as for `plot`.
        from fastnet.report import summary

        best = "" if self.best_epoch is None else f", the best was {self.best_epoch}"
        title = f"{len(self.epochs)} epochs in {self.seconds:.2f} s, ended by: {self.stop_reason}"
        return summary.history_html(title + best, self.epochs, self.records, self.best_epoch)
