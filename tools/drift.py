"""Train the same network in float32 and in float64, and draw how far they part.

``python -m tools.drift --epochs 1000 --picture docs/_static/drift.svg`` trains on the digits, and
prints a line for each pair of runs. All begin with the same weights, those of float32, and see the
same batches. A network of tanh is smooth; in one of ReLU a unit that is on in one run and off in
the other parts them for good.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

import fastnet as fn
from fastnet.data import digits

BATCH: Final = 32
HIDDEN: Final = 32
MARKS: Final = 60
"""So many epochs are compared, closer together at the beginning."""


@dataclass(frozen=True)
class Trace:
    """One training: weights and loss at some epochs, and the accuracy on new rows at the end."""

    weights: NDArray[np.float64]
    loss: NDArray[np.float64]
    accuracy: float


Run = tuple[str, str]
Traces = dict[Run, Trace]
RUNS: Final = tuple(product(("numpy", "numba"), ("float32", "float64")))

# What is compared with what, and the style of its line.
PAIRS: Final[dict[str, tuple[Run, Run, str]]] = {
    "numpy: float32, float64": (("numpy", "float32"), ("numpy", "float64"), "C0-"),
    "numba: float32, float64": (("numba", "float32"), ("numba", "float64"), "C1--"),
    "float32: numpy, numba": (("numpy", "float32"), ("numba", "float32"), "C2-"),
    "float64: numpy, numba": (("numpy", "float64"), ("numba", "float64"), "C3-"),
}


def marks(epochs: int) -> list[int]:
    """Return the epochs that are compared: the first, the last, and some between."""
    return sorted(set(np.geomspace(1, epochs, MARKS).round().astype(int).tolist()))


class _Keeper(fn.Callback):
    """Keeps the weights of some epochs."""

    def __init__(self, epochs: list[int]) -> None:
        self.epochs = frozenset(epochs)
        self.weights: list[NDArray[np.float64]] = []

    def on_epoch_end(self, run: fn.Run) -> None:
        if run.epoch in self.epochs:
            self.weights.append(run.network.parameters.astype(np.float64))


def trace(activation: str, backend: str, dtype: str, epochs: int) -> Trace:
    """Train on the digits from the weights that float32 begins with."""
    data = digits.read()
    assert data.test is not None
    sizes = [data.x.shape[1], HIDDEN, 10]
    kind = {"activation": activation, "output_activation": "softmax"}
    net = fn.Network(sizes, backend=backend, dtype=dtype, **kind)
    net.parameters = fn.Network(sizes, backend="numpy", dtype="float32", **kind).parameters
    at = marks(epochs)
    checkpointer = _Keeper(at)
    optimizer = fn.SGD(0.05, momentum=0.9)
    history = net.fit(
        data.x,
        data.y,
        epochs=epochs,
        batch_size=BATCH,
        optimizer=optimizer,
        callbacks=[checkpointer],
    )
    loss = np.array(history["loss"])[np.array(at) - 1]
    answers = net.predict(data.test.x).argmax(axis=1)
    return Trace(np.array(checkpointer.weights), loss, float(np.mean(answers == data.test.y)))


def distances(one: Trace, other: Trace) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return by how much the weights (all together) and the loss differ, relative to `other`."""
    apart = np.linalg.norm(one.weights - other.weights, axis=1)
    weights = apart / np.linalg.norm(other.weights, axis=1)
    return weights, np.abs(one.loss - other.loss) / other.loss


def draw(found: dict[str, Traces], epochs: int, path: Path) -> None:
    """Draw a row of two panels for each activation."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    at = marks(epochs)
    # Text as text, and nothing of the moment: the same runs give the same file.
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "fastnet", "font.size": 9}):
        figure = Figure(figsize=(9, 3.3 * len(found)), layout="constrained")
        axes = figure.subplots(len(found), 2, squeeze=False, sharex=True, sharey=True)
        for row, (activation, traces) in zip(axes, found.items(), strict=True):
            for name, (one, other, line) in PAIRS.items():
                both = distances(traces[one], traces[other])
                for axis, values in zip(row, both, strict=True):
                    axis.loglog(at, values, line, label=name)
            for axis, what in zip(row, ("weights", "training loss"), strict=True):
                axis.set(title=f"{activation}: {what}", ylabel="relative difference")
                axis.xaxis.set_tick_params(labelbottom=True)
                axis.grid(alpha=0.3)
        for axis in axes[-1]:
            axis.set_xlabel("epoch")
        handles, labels = axes[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(PAIRS))
        metadata: dict[str, Any] = {"Date": None}
        figure.savefig(path, metadata=metadata if path.suffix == ".svg" else None)


def lines(found: dict[str, Traces], epochs: int) -> Iterator[str]:
    """Yield a line for each pair: how far apart it is, and how accurate in the end."""
    steps = -(-len(digits.read().x) // BATCH) * epochs
    yield f"{epochs} epochs, {steps} steps"
    for activation, traces in found.items():
        for name, (one, other, _) in PAIRS.items():
            weights, loss = distances(traces[one], traces[other])
            yield (
                f"{activation}, {name}: weights {weights[0]:.1e} after 1 epoch, "
                f"{weights[-1]:.1e} at the end; loss at most {loss.max():.1e}; accuracy "
                f"{traces[one].accuracy:.1%}, {traces[other].accuracy:.1%}"
            )


def main() -> None:
    parser = argparse.ArgumentParser("python -m tools.drift", description=__doc__)
    parser.add_argument("--epochs", type=int, default=1000)
    parser.add_argument("--picture", type=Path, help="draw into this file, .svg or .png")
    arguments = parser.parse_args()
    found = {
        activation: {run: trace(activation, *run, arguments.epochs) for run in RUNS}
        for activation in ("tanh", "relu")
    }
    print("\n".join(lines(found, arguments.epochs)))
    if arguments.picture is not None:
        draw(found, arguments.epochs, arguments.picture)


if __name__ == "__main__":
    main()
