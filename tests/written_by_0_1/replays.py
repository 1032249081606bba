"""How each run with checkpoints was begun, and how it is gone on with.

`make.py` begins them and interrupts them; the tests go on. Everything but the callback that the
recorded run was interrupted by must be given as it was: else it is another run, and is refused.
Rows are read from the folder of the run, never drawn.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from click.testing import CliRunner

import fastnet as fn
from fastnet.cli import group
from fastnet.data import Chunks
from fastnet.tables import TablePreprocessor

LAYERS = [
    # What a bias adds in front of a batch normalisation is taken off again: its gradient is nothing
    # but rounding, of which Adam would make whole steps.
    fn.Dense(5, bias_rate=0.0),
    fn.BatchNorm("tanh", momentum=0.2),
    fn.Dropout(0.25),
    fn.Dense(4),
    fn.LayerNorm("silu"),
    fn.Dense(3, "softmax"),
]


class Average(fn.Callback):
    """A callback with a memory of its own: an array, and values that JSON knows."""

    def __init__(self) -> None:
        self.total: Any = None
        self.count = 0
        self.label = "none yet"

    def memory(self) -> dict[str, Any]:
        return {} if self.total is None else vars(self).copy()

    def on_train_begin(self, run: fn.Run) -> None:
        self.total = run.network.parameters * 0

    def on_resume(self, run: fn.Run, memory: dict[str, Any]) -> None:
        self.total, self.count, self.label = (memory[k] for k in ("total", "count", "label"))

    def on_epoch_end(self, run: fn.Run) -> None:
        self.total = self.total + run.network.parameters
        self.count += 1
        self.label = f"after epoch {run.history.epochs[-1]}"


class Seen(fn.Callback):
    """Tells what was left to do; it has no memory, so it may come and go."""

    def __init__(self) -> None:
        self.first: tuple[int, int] | None = None
        self.epochs = 0

    def on_progress(self, run: fn.Run) -> None:
        self.first = self.first or (run.epoch, run.batch)

    def on_epoch_end(self, run: fn.Run) -> None:
        self.epochs += 1


# --- rows -----------------------------------------------------------------------------------------


def arrays(place: Path) -> dict[str, Any]:
    """Return x, y and whatever else ``fit`` was given."""
    with np.load(place / "rows.npz") as file:
        rows: dict[str, Any] = dict(file)
    if "x_val" in rows:
        rows["validation_data"] = rows.pop("x_val"), rows.pop("y_val")
    return rows


def table(place: Path) -> dict[str, Any]:
    """Return a table as a dict of columns, and the target's name."""
    return {"x": columns(place / "rows.json"), "y": "price"}


def columns(path: Path) -> dict[str, Any]:
    """Return a table from JSON as a dict of columns; null stands for a missing value."""
    values: Mapping[str, list[Any]] = json.loads(path.read_text(encoding="utf-8"))
    return {name: np.array(cells, dtype=object) for name, cells in values.items()}


def blocks(place: Path) -> dict[str, Any]:
    """Return rows that stay in their file: 3 numbers, a target and a weight."""
    return {"x": Chunks(place / "rows.npy", target=3, weight=4, chunk_rows=24)}


def gaps(place: Path) -> dict[str, Any]:
    """Return such rows with missing values."""
    return {"x": Chunks(place / "rows.npy", target=-1, chunk_rows=16)}


# --- runs of fit ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Fit:
    """A call of ``fit``.

    Attributes
    ----------
    make : callable
        ``make(place, backend)`` returns the network as it was before training.
    rows : callable
        ``rows(place)`` returns what there is to train on.
    options : dict
        The rest of what ``fit`` is given.
    stop : int or None
        The recorded run was interrupted after so many batches; None: it went to its end.
    remembers : bool
        Whether there is a callback with a memory.
    """

    make: Callable[[Path, str], fn.Network]
    rows: Callable[[Path], dict[str, Any]]
    options: dict[str, Any]
    stop: int | None
    remembers: bool = False

    def run(
        self,
        place: Path,
        checkpoints: Path,
        backend: str,
        *,
        start: Callable[[fn.Network], None] = lambda network: None,
        callbacks: tuple[fn.Callback, ...] = (),
        **more: Any,
    ) -> fn.Network:
        """Train; `start` changes the network before, and `more` goes to ``fit``."""
        network = self.make(place, backend)
        start(network)
        average = Average()
        kept = (average, *callbacks) if self.remembers else callbacks
        given = {"checkpoint_every": 1000, **self.options, **more}
        network.fit(**self.rows(place), **given, callbacks=kept, checkpoint=checkpoints)
        if self.remembers:
            assert average.label == f"after epoch {network.history.epochs[-1]}"
            network.parameters = average.total / average.count
        return network


def dense(place: Path, backend: str) -> fn.Network:
    """Return the network of most runs."""
    layers = [3, 4, 1]
    return fn.Network(layers, activation="tanh", dtype="float64", seed=2, backend=backend)


def classes(place: Path, backend: str) -> fn.Network:
    """Return a network of every kind of layer."""
    return fn.Network(LAYERS, inputs=4, dtype="float64", seed=5, backend=backend)


def of_table(place: Path, backend: str) -> fn.Network:
    """Return a network that learns a preprocessor in its first call of ``fit``."""
    return fn.Network([8, 5, 1], activation="tanh", seed=3, backend=backend)


def prepared(place: Path, backend: str) -> fn.Network:
    """Return a network that has a preprocessor before it trains."""
    matrix = np.load(place / "rows.npy")
    made = TablePreprocessor.fit(matrix[:, :3], matrix[:, 3])
    network = fn.Network([made.inputs, 4, 1], activation="tanh", seed=6, backend=backend)
    network.preprocessor = made
    return network


def plain(optimizer: Any, stop: int | None, **options: Any) -> Fit:
    """Return a run on arrays: 5 batches in an epoch."""
    return Fit(dense, arrays, {"optimizer": optimizer, "batch_size": 8, **options}, stop)


_schedules = fn.schedules

FITS: dict[str, Fit] = {
    "every-layer-adam": Fit(
        classes,
        arrays,
        {
            "optimizer": fn.Adam(0.01, l1=1e-3, l2=1e-3, clip_norm=1.0),
            "loss": fn.losses.CrossEntropy(label_smoothing=0.05),
            "epochs": 4,
            "batch_size": 8,
            "validation_split": 0.2,
            "metrics": ["f1"],
            "class_weight": {0: 1.0, 1: 2.0, 2: 0.5},
            "standardize": True,
        },
        stop=9,
    ),
    "sgd-reduce-on-plateau": plain(
        fn.SGD(
            _schedules.ReduceOnPlateau(0.3, factor=0.5, patience=1, threshold=0.3),
            momentum=0.8,
            nesterov=True,
        ),
        27,
        epochs=8,
    ),
    "rmsprop-step": plain(fn.RMSprop(_schedules.Step(0.01, every=2, factor=0.5)), 13, epochs=5),
    "adagrad-exponential": plain(fn.Adagrad(_schedules.Exponential(0.05, 0.8)), 13, epochs=5),
    "adamw-cosine": plain(fn.AdamW(_schedules.Cosine(0.02, epochs=5, end=1e-3)), 13, epochs=5),
    "nadam-warm-up": plain(
        fn.NAdam(_schedules.WarmUp(0.001, then=_schedules.Cosine(0.02, epochs=4), epochs=2)),
        13,
        epochs=5,
    ),
    "lion-one-cycle": plain(fn.Lion(_schedules.OneCycle(0.01, epochs=5)), 13, epochs=5),
    "adam-cos-log-huber": plain(
        fn.Adam(_schedules.CosLog(0.03, epochs=5), beta2=0.95),
        15,  # behind the last batch of an epoch, which has not ended yet
        epochs=5,
        loss=fn.losses.Huber(0.5),
        shuffle=False,
    ),
    "lbfgs": plain(fn.LBFGS(l2=1e-3), None, epochs=9, checkpoint_every=3),
    "early-stopped": plain(
        fn.SGD(0.4),
        None,  # it came to its end by itself: there is nothing left to do
        epochs=50,
        early_stopping=fn.EarlyStopping(2, min_delta=0.01),
    ),
    "callback-with-a-memory": Fit(
        dense,
        arrays,
        {"optimizer": fn.Adam(0.01), "batch_size": 8, "epochs": 5},
        stop=13,
        remembers=True,
    ),
    "table-early-stopping": Fit(
        of_table,
        table,
        {
            "optimizer": fn.SGD(0.2, momentum=0.5),
            "epochs": 10,
            "batch_size": 16,
            "validation_split": 0.2,
            "early_stopping": fn.EarlyStopping(2, min_delta=0.02),
            "metrics": ["mae"],
        },
        stop=11,
    ),
    "blocks-in-a-window": Fit(
        dense,
        blocks,
        {"optimizer": fn.Adam(0.02), "epochs": 3, "batch_size": 8},
        stop=14,
    ),
    "blocks-of-a-table": Fit(
        prepared,
        gaps,
        {"optimizer": fn.SGD(0.1, momentum=0.5), "epochs": 3, "batch_size": 8},
        stop=11,
    ),
}

WRITERS = {"adam-cos-log-huber": "numpy", "table-early-stopping": "numpy"}
"""The backends of the recorded runs that Numba did not do: a checkpoint tells of its backend."""

# --- runs of the command --------------------------------------------------------------------------


@dataclass(frozen=True)
class Command:
    """A call of ``fastnet train`` in the folder of the run, whose rows are rows.csv.

    Attributes
    ----------
    options : tuple of str
    stop : int
        The recorded run was interrupted after so many batches.
    steps, batch : int
        Steps of the whole run, and the rows of one.
    """

    options: tuple[str, ...]
    stop: int
    steps: int
    batch: int

    def run(self, work: Path, backend: str, *more: str) -> tuple[fn.Network, list[int]]:
        """Train in the folder `work`; return the model, and the epochs that it took this time."""
        before = Path.cwd()
        os.chdir(work)
        try:
            given = ("train", "rows.csv", *self.options, "--backend", backend, "--log", "log.jsonl")
            options = ("--checkpoint", "run", "--out", "model.safetensors", "--quiet", *more)
            result = CliRunner().invoke(group, [*given, *options], prog_name="fastnet")
            assert result.exit_code in (0, 130), result.output
            lines = Path("log.jsonl").read_text(encoding="utf-8").splitlines()
            epochs = [json.loads(line)["epoch"] for line in lines]
            return fn.load("model.safetensors", backend=backend), epochs
        finally:
            os.chdir(before)


COMMANDS: dict[str, Command] = {
    "command-with-a-schema": Command(
        (
            *("--target", "species", "--hidden", "5", "--activation", "tanh", "--dtype", "float64"),
            *("--epochs", "5", "--batch-size", "8", "--schedule", "cosine", "--seed", "4"),
            *("--validation", "0.2", "--metric", "f1", "--dropout", "0.1"),
        ),
        stop=16,
        steps=30,
        batch=8,
    ),
    "command-with-a-preset": Command(
        (
            *("--target", "price", "--preset", "tabular", "--hidden", "6,6", "--epochs", "6"),
            *("--batch-size", "16", "--embedding-size", "2", "--seed", "1"),
        ),
        stop=14,
        steps=24,
        batch=16,
    ),
}
