"""What the GPU benchmarks train: the ladder with enough rows for a GPU, and the reference for it.

The 67 million weights of `wide` would take fastnet's own generator half a minute in every process,
so weights and data come from NumPy's here; contenders are given both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fastnet.backends import find
from fastnet.backends.base import Backend
from fastnet.backends.gpu.epoch import WINDOW_BYTES, WINDOWS
from fastnet.benchmarks.contenders import Contender, OnEngine
from fastnet.benchmarks.ladder import LADDER, Rung
from fastnet.benchmarks.problems import SEED, Floats, Problem
from fastnet.nn.batch import Batch
from fastnet.nn.chain import chain
from fastnet.nn.plan import Plan, make_plan

STEPS: Final = {
    "xor": 4096,
    "policy": 1024,
    "table": 256,
    "image": 468,
    "image-wide": 64,
    "wide": 4,
}
"""Steps in an epoch: an epoch takes some milliseconds at least."""

PARITY_BATCH: Final = 64
PARITY_ROWS: Final = 8

TOLERANCE: Final = {"float32": 1e-5, "tf32": 1e-3, "bf16": 5e-3}
"""Largest relative difference of the mean loss."""

PROBABILITIES: Final = {"float32": 1e-3, "tf32": 5e-2, "bf16": 0.2}
"""Largest difference of a probability: Adam makes a whole step of a gradient that is rounding."""


def rungs() -> list[Rung]:
    """Return the networks that are trained on a GPU, smallest to largest."""
    return [LADDER[name] for name in STEPS]


def problem(rung: Rung, batch: int, steps: int) -> Problem:
    """Return data, labels (an eighth at random) and initial weights; the same in every process."""
    rng = np.random.default_rng(SEED)
    wide, classes = rung.sizes[0], rung.sizes[-1]
    pairs = list(zip(rung.sizes, rung.sizes[1:], strict=False))
    weights = []
    for inputs, outputs in pairs:
        bound = np.float32((6 / (inputs + outputs)) ** 0.5)
        weights.append((2 * rng.random((inputs, outputs), np.float32) - 1) * bound)
    biases = [np.zeros(outputs, np.float32) for _, outputs in pairs]
    teacher = rng.standard_normal((wide, min(classes, 16)), np.float32)
    x = rng.standard_normal((batch * steps, wide), np.float32)
    labels = np.argmax(x @ teacher, axis=1)
    drawn = rng.integers(0, classes, len(x))
    labels = np.where(rng.random(len(x)) < 1 / 8, drawn, labels)
    return Problem(rung, batch, x, labels.astype(np.int64), tuple(weights), tuple(biases))


def plan_of(rung: Rung) -> Plan:
    """Return the plan of a rung's network."""
    return make_plan(*chain(rung.sizes, rung.activation, "softmax"))


class OnBackend(OnEngine):
    """fastnet's engine on a backend, with the weights of the problem."""

    def __init__(
        self,
        problem: Problem,
        threads: int | None = None,
        *,
        backend: Backend | None = None,
        precision: str = "float32",
    ) -> None:
        self.backend = home = backend or find("numpy")
        plan = plan_of(problem.rung)
        flat = np.empty(plan.size, np.float32)
        for tensor in plan.parameters:
            index, kind = int(tensor.name.split(".")[1]), tensor.name.split(".")[2]
            source = problem.weights if kind == "weight" else problem.biases
            tensor.view(flat)[...] = source[index]
        parameters, state = home.asarray(flat), home.asarray(np.zeros(0, np.float32))
        engine = home.engine(plan, parameters, state, threads=threads, precision=precision)
        super().__init__(problem, home, engine, home.place(Batch(problem.x, problem.targets)))

    def predict(self, x: Floats) -> NDArray[Any]:
        return self.backend.to_host(self.engine.predict(self.backend.asarray(x)))


@dataclass(frozen=True)
class Reference:
    """What a few steps on the NumPy backend give: mean loss, probabilities of some rows."""

    loss: float
    outputs: NDArray[Any]


def parity_steps(rung: Rung) -> int:
    """Return the number of steps for a comparison.

    fastnet records the steps of a window when one of its length comes for the second time. So each
    length comes up twice that the measured epochs have too.
    """
    fits = WINDOW_BYTES // (4 * rung.sizes[0] * (rung.gpu_batch or PARITY_BATCH))
    return 2 * sum(length for length in WINDOWS if length <= max(fits, 1))


def parity_problem(rung: Rung) -> Problem:
    """Return the few small steps on which contenders are compared."""
    return problem(rung, min(rung.gpu_batch or PARITY_BATCH, PARITY_BATCH), parity_steps(rung))


def reference(rung: Rung) -> Reference:
    """Return what the comparison must give."""
    few = parity_problem(rung)
    contender = OnBackend(few)
    return Reference(contender.train_epoch(), contender.predict(few.x[:PARITY_ROWS]))


def differences(contender: Contender, few: Problem, expected: Reference) -> dict[str, float]:
    """Train a contender's few steps; return how far its loss and probabilities are off."""
    loss = contender.train_epoch()
    outputs = contender.predict(few.x[:PARITY_ROWS])
    if not (np.isfinite(loss) and np.isfinite(outputs).all()):
        return {"loss": float("inf"), "outputs": float("inf")}
    return {
        "loss": abs(loss - expected.loss) / abs(expected.loss),
        "outputs": float(np.abs(outputs - expected.outputs).max()),
    }


def holds(found: dict[str, float], precision: str) -> bool:
    """Return whether the differences are within the tolerance of a precision."""
    loss, outputs = TOLERANCE[precision], PROBABILITIES[precision]
    return found["loss"] <= loss and found["outputs"] <= outputs
