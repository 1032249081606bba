"""Any training through `fit` ends where plain float64 Python says, on every backend.

`tests.reference` shares no formula with fastnet. It takes from it only the keyed random numbers:
the order of the rows, and the masks of dropout.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import fastnet as fn
from fastnet.backends.base import Backend
from fastnet.nn import losses, random, schedules
from fastnet.nn.layers import BatchNorm, Dense, Dropout, Layer, LayerNorm
from fastnet.nn.losses import Loss
from fastnet.nn.optimizers import OPTIMIZERS, Optimizer
from tests import reference
from tests.closeness import assert_close
from tests.networks import (
    HIDDEN_ACTIVATIONS,
    LOSS_OUTPUTS,
    dense_target,
    dropout_masks,
    flat_parameters,
    flat_state,
    loss_options,
    outputs_for,
    random_rows,
    terms_of,
    to_reference,
)

SMOOTH = [
    name for name in HIDDEN_ACTIVATIONS if name not in ("relu", "leaky_relu", "elu", "selu", "exp")
]
# At the kink of an output, rounding decides on which side it is; exp of a large number diverges.
OUTPUTS = [
    (loss, output)
    for loss, output in LOSS_OUTPUTS
    if output in ("identity", "softmax", "sigmoid", "tanh", "softplus") or loss == "poisson"
]
STEPWISE = [name for name in OPTIMIZERS if name != "lbfgs"]
RATE = 0.01


@dataclass(frozen=True)
class Training:
    """What one call of `fit` is asked for, and the rows."""

    network: fn.Network
    loss: Loss
    optimizer: Optimizer
    rows: Any
    epochs: int
    batch_size: int
    shuffle: bool

    def fit(self, backend: Backend) -> fn.Network:
        net = self.network._copy_to(backend, "float32")
        y = self.rows.labels if self.rows.target is None else self.rows.target
        net.fit(
            self.rows.x,
            y,
            loss=self.loss,
            optimizer=self.optimizer,
            epochs=self.epochs,
            batch_size=self.batch_size,
            shuffle=self.shuffle,
            sample_weight=self.rows.weight,
        )
        return net

    @property
    def steps(self) -> int:
        """Number of steps in an epoch."""
        return math.ceil(len(self.rows) / self.batch_size)

    def reference(self, rates: list[float]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return parameters and running statistics of the reference after training."""
        net, size, target = (
            self.network,
            self.batch_size,
            dense_target(self.network.plan, self.rows),
        )
        batches = []
        for step in range(self.epochs * self.steps):
            epoch, k = divmod(step, self.steps)
            order = np.arange(len(self.rows))
            if self.shuffle:
                order = random.permutation(len(order), seed=net.seed, epoch=epoch)
            index = order[k * size : (k + 1) * size]
            batch = {"x": self.rows.x[index].tolist(), "target": [target[i] for i in index]}
            if self.rows.weight is not None:
                batch["weight"] = self.rows.weight[index].tolist()
            batch["masks"] = dropout_masks(net.plan, len(index), seed=net.seed, step=step)
            batches.append(batch)
        made = to_reference(net.plan, np.array(net.parameters), np.array(net.state))
        names = [f.name for f in fields(self.optimizer) if f.name != "learning_rate"]
        options = {n: v for n in names if (v := getattr(self.optimizer, n)) is not None}
        reference.train(
            made,
            batches,
            self.loss.name,
            self.optimizer.name,
            rates,
            loss_options=loss_options(self.loss),
            optimizer_options=options,
        )
        return flat_parameters(net.plan, made), flat_state(net.plan, made)


def rate_at(schedule: str, t: float) -> float:
    """Return the learning rate at a time in epochs, by the formulas of the documentation."""
    return {
        "constant": RATE,
        "step": RATE * 0.5 ** math.floor(t / 0.7),
        "exponential": RATE * 0.6**t,
        "cosine": 0.002 + (RATE - 0.002) * (1 + math.cos(math.pi * min(t / 2, 1))) / 2,
        "warm_up": RATE * (0.1 + 0.9 * min(t / 1.5, 1)),
    }[schedule]


SCHEDULES: dict[str, Any] = {
    "constant": RATE,
    "step": schedules.Step(RATE, every=0.7, factor=0.5),
    "exponential": schedules.Exponential(RATE, factor=0.6),
    "cosine": schedules.Cosine(RATE, epochs=2, end=0.002),
    "warm_up": schedules.WarmUp(RATE * 0.1, epochs=1.5, then=RATE),
}


@st.composite
def drawn_trainings(draw: st.DrawFn) -> tuple[Training, str]:
    """Draw a training, and the name of its schedule."""
    loss_name, output = draw(st.sampled_from(OUTPUTS))
    loss = losses.get(loss_name, output)
    # Optimizers that divide by the size of a gradient enlarge one that is 0 but for rounding: that
    # of losses of which a row's gradient is one of few numbers, which cancel, or that of a bias in
    # front of a normalisation.
    few = loss.name in ("mae", "huber", "quantile")
    name = "sgd" if few else draw(st.sampled_from(STEPWISE))
    width, layers = st.integers(1, 12), list[Layer]()
    for _ in range(draw(st.integers(0, 3))):
        layers.append(Dense(draw(width), draw(st.sampled_from(SMOOTH))))
        kinds: list[Any] = [None, Dropout(0.25)]
        # Of few units a normalisation leaves nothing but their order.
        if layers[-1].units > 4 and name == "sgd":  # type: ignore[attr-defined]
            # Rounding in rows that are nearly equal is magnified by 1 / sqrt(epsilon).
            kinds += [LayerNorm(epsilon=1e-2), BatchNorm("tanh", epsilon=1e-2)]
        if (chosen := draw(st.sampled_from(kinds))) is not None:
            layers.append(chosen)
    layers.append(Dense(outputs_for(loss, draw(st.integers(1, 4))), output))
    if output == "softmax" and layers[-1].units == 1:  # type: ignore[attr-defined]
        layers[-1] = Dense(2, output)
    options: dict[str, Any] = {
        "l1": draw(st.sampled_from([0.0, 0.01])),
        "l2": draw(st.sampled_from([0.0, 0.1])),
        "weight_decay": draw(st.sampled_from([0.0, 0.1])),
        "clip_norm": draw(st.sampled_from([None, 0.3])),
    }
    schedule = draw(st.sampled_from(list(SCHEDULES)))
    optimizer = OPTIMIZERS[name](SCHEDULES[schedule], **options)
    seed = draw(st.integers(0, 10**6))
    net = fn.Network(layers, inputs=draw(width), dtype="float64", seed=seed, backend="numpy")
    batch_size, count = draw(st.integers(2, 9)), draw(st.integers(2, 24))
    count += count % batch_size == 1  # `fit` leaves a batch of one row out
    labels = loss.name == "cross_entropy" and draw(st.booleans())
    how = {"seed": seed, "labels": labels, "weighted": draw(st.booleans())}
    rows = random_rows(net.plan, loss, count, **how)
    epochs = draw(st.integers(1, 3))
    return Training(net, loss, optimizer, rows, epochs, batch_size, draw(st.booleans())), schedule


def check(backend: Backend, drawn: tuple[Training, str]) -> None:
    training, schedule = drawn
    steps = training.steps
    rates = [rate_at(schedule, k / steps) for k in range(training.epochs * steps)]
    parameters, state = training.reference(rates)
    net = training.fit(backend)
    terms = terms_of(net.plan, training.batch_size) * len(rates)
    to_host = net.backend_object.to_host
    # A few units of rounding of a tiny gradient are many of Adam's first steps.
    assert_close(to_host(net.parameters), parameters, terms=terms, factor=64)
    assert_close(to_host(net.state), state, terms=terms, factor=64)


beyond = pytest.mark.filterwarnings("ignore:y has targets that the outputs")


@beyond
@given(drawn=drawn_trainings())
def test_any_training_ends_where_the_reference_does(
    backend: Backend, drawn: tuple[Training, str]
) -> None:
    check(backend, drawn)


@beyond
@pytest.mark.slow
@settings(max_examples=1000, derandomize=False)
@given(drawn=drawn_trainings())
def test_a_thousand_trainings_end_where_the_reference_does(
    backend: Backend, drawn: tuple[Training, str]
) -> None:
    check(backend, drawn)


@pytest.mark.parametrize("wrong", ["rate", "weights", "order", "decay"])
def test_the_oracle_notices(wrong: str, backend: Backend) -> None:
    """Each of these is a small change of the training that the reference does not know of."""
    net = fn.Network([3, 6, 2], activation="tanh", dtype="float64", seed=5, backend="numpy")
    loss = losses.get("mse", "identity")
    rows = random_rows(net.plan, loss, 11, weighted=True)
    given = Training(net, loss, OPTIMIZERS["adam"](RATE), rows, 2, 4, shuffle=True)
    check(backend, (given, "constant"))
    changes: dict[str, dict[str, Any]] = {
        "rate": {"optimizer": OPTIMIZERS["adam"](RATE * 1.0001)},
        "weights": {"rows": random_rows(net.plan, loss, 11)},
        "order": {"shuffle": False},
        "decay": {"optimizer": OPTIMIZERS["adam"](RATE, weight_decay=1e-4)},
    }
    changed = Training(**{**vars(given), **changes[wrong]})

    class Other(Training):
        def fit(self, backend: Backend) -> fn.Network:
            return changed.fit(backend)

    with pytest.raises(AssertionError):
        check(backend, (Other(**vars(given)), "constant"))
