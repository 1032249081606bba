"""What training does: batches, validation, weights, going on, threads, divergence."""

from __future__ import annotations

import gc
import math
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import fastnet as fn
from fastnet.nn import random
from fastnet.nn.activations import ACTIVATIONS
from fastnet.nn.losses import LOSSES, Loss
from fastnet.nn.optimizers import OPTIMIZERS
from fastnet.nn.schedules import SCHEDULES
from fastnet.preprocessing.scaler import Scaler
from tests.closeness import assert_close
from tests.networks import outputs_for
from tests.on_backends import BACKENDS, each_backend, everything, on_host, same

Array = NDArray[Any]

only_numba = pytest.mark.skipif(
    "numba" not in BACKENDS, reason="this promise is the Numba backend's"
)

RNG = np.random.default_rng(0)
ROWS, INPUTS, TARGETS = 75, 5, 2
X = RNG.standard_normal((ROWS, INPUTS))
SCORES = X @ RNG.standard_normal((INPUTS, 3))
LABELS = np.argmax(SCORES, axis=1)
REAL = SCORES[:, :TARGETS]
WEIGHT = RNG.uniform(0.25, 2.0, ROWS)

TARGET_OF: dict[str, Array] = dict.fromkeys(LOSSES, REAL) | {
    "cross_entropy": LABELS,
    "binary_cross_entropy": (REAL > 0).astype(int),
    "poisson": RNG.poisson(np.exp(0.5 * REAL)),
}
LAYERS = [fn.Dense(9, "tanh"), fn.LayerNorm(), fn.Dropout(0.3), fn.Dense(3, "softmax")]


def classifier(*, layers: Any = LAYERS, **options: Any) -> fn.Network:
    return fn.Network(layers, inputs=INPUTS, **options)


def smooth(loss: Loss, output: str | None = None, **options: Any) -> fn.Network:
    """Return a network without kinks that fits a loss on `TARGET_OF` it."""
    outputs = 3 if loss.name == "cross_entropy" else outputs_for(loss, TARGETS)
    output = output or loss.output_activations[0]
    return fn.Network([INPUTS, 7, outputs], activation="tanh", output_activation=output, **options)


def loss_by_hand(loss: Loss, y: Array, target: Array) -> float:
    """Return the mean loss of outputs y, from the textbook formula."""
    if loss.name == "cross_entropy":
        return float(-np.mean(np.log(y[np.arange(len(y)), target])))
    e = y[:, :TARGETS] - target
    if loss.name == "gaussian_nll":
        v = np.exp(y[:, TARGETS:])
        return float(np.mean(0.5 * (np.log(2 * np.pi * v) + e**2 / v)))
    if loss.name == "quantile":
        parts = []
        for k, q in enumerate(loss.hyperparameters):
            u = target - y[:, k * TARGETS : (k + 1) * TARGETS]
            parts.append(np.maximum(q * u, (q - 1) * u))
        return float(np.mean(parts))
    formulas: dict[str, Callable[[], Array]] = {
        "binary_cross_entropy": lambda: -target * np.log(y) - (1 - target) * np.log(1 - y),
        "mse": lambda: e**2,
        "mae": lambda: np.abs(e),
        "huber": lambda: np.where(np.abs(e) <= 1, e**2 / 2, np.abs(e) - 0.5),
        "poisson": lambda: y - target * np.log(y),
    }
    return float(np.mean(formulas[loss.name]()))


# --- every loss, end to end -----------------------------------------------------------------------

each_loss = pytest.mark.parametrize("loss", [row() for row in LOSSES.values()], ids=LOSSES)


@each_backend
@each_loss
def test_every_loss_trains_and_is_what_its_formula_says(loss: Loss, backend: str) -> None:
    net = smooth(loss, backend=backend, dtype="float64", seed=1)
    target = TARGET_OF[loss.name]
    before = net.evaluate(X, target, loss=loss)["loss"]
    history = net.fit(X, target, loss=loss, optimizer=fn.Adam(0.01), epochs=40, batch_size=16)
    after = net.evaluate(X, target, loss=loss)["loss"]
    assert after < history["loss"][-1] < history["loss"][0] < before
    outputs = net.predict(X)
    assert outputs.shape == (ROWS, net.outputs)
    assert_close(np.float64(after), loss_by_hand(loss, outputs, target), terms=ROWS, scale=1.0)


@pytest.mark.filterwarnings("ignore:y has targets that the outputs")
@pytest.mark.parametrize(
    ("output", "loss"),
    [
        ("softmax", "cross_entropy"),
        ("sigmoid", "binary_cross_entropy"),
        ("exp", "poisson"),
        ("identity", "mse"),
        ("tanh", "mse"),
    ],
)
def test_the_loss_is_chosen_by_the_output_activation(output: str, loss: str) -> None:
    net, named = (smooth(LOSSES[loss](), output, backend="numpy") for _ in range(2))
    history = net.fit(X, TARGET_OF[loss], epochs=2)
    assert history.records == named.fit(X, TARGET_OF[loss], epochs=2, loss=loss).records


@each_backend
def test_regression_reports_the_share_of_variance_explained(backend: str) -> None:
    net = smooth(LOSSES["mse"](), backend=backend, dtype="float64")
    history = net.fit(X, REAL, epochs=60, optimizer=fn.Adam(0.02))
    assert -1 < history["r2"][0] < history["r2"][-1] < 1
    e, spread = net.predict(X) - REAL, REAL - REAL.mean(axis=0)
    by_hand = np.mean(1 - np.mean(e**2, axis=0) / np.mean(spread**2, axis=0))
    assert_close(np.float64(net.evaluate(X, REAL)["r2"]), by_hand, terms=ROWS, scale=1.0)


@each_backend
@each_loss
def test_gradients_are_the_slopes_of_the_reported_loss(loss: Loss, backend: str) -> None:
    net = smooth(loss, backend=backend, dtype="float64", seed=3)
    target, step = TARGET_OF[loss.name], 1e-5
    found = net.gradients(X, target, loss=loss, sample_weight=WEIGHT)
    assert {name: g.shape for name, g in found.items()} == {
        name: values.shape for name, values in net.named_parameters().items()
    }
    for name, values in net.named_parameters().items():
        flat = values.reshape(-1)
        slopes = np.empty(flat.size)
        for i in range(flat.size):
            middle = float(flat[i])
            sides = []
            for moved in (middle + step, middle - step):
                flat[i] = moved
                sides.append(net.evaluate(X, target, loss=loss, sample_weight=WEIGHT)["loss"])
            flat[i] = middle
            slopes[i] = (sides[0] - sides[1]) / (2 * step)
        # What the difference loses: eps / step by rounding, and step^2 by its own error.
        assert_close(found[name].ravel(), slopes, factor=32 / step, scale=1.0, what=name)
        with pytest.raises(AssertionError):
            assert_close(2 * found[name].ravel(), slopes, factor=32 / step, scale=1.0)


@each_backend
def test_gradients_leave_the_network_as_it_was(backend: str) -> None:
    layers = [fn.BatchNorm(), fn.Dropout(0.5), fn.Dense(3, "softmax")]
    net = classifier(layers=layers, backend=backend)
    before = on_host(net), on_host(net, net.state)
    first = net.gradients(X, LABELS)
    second = net.gradients(X, LABELS)
    assert same([on_host(net), on_host(net, net.state)], list(before))
    assert same(list(first.values()), list(second.values()))
    kept = [values.copy() for values in first.values()]
    net.gradients(-X, LABELS)
    assert same(list(first.values()), kept)


# --- batches --------------------------------------------------------------------------------------


@each_backend
@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("batch_size", [1, 16, 75, 1000, None])
def test_an_epoch_is_a_step_down_each_batch_gradient(
    batch_size: int | None, shuffle: bool, backend: str
) -> None:
    """Plain gradient descent written out: the definition of ``fit``."""
    net, by_hand = (smooth(LOSSES["mse"](), backend=backend, dtype="float64") for _ in range(2))
    options = {"batch_size": batch_size, "shuffle": shuffle, "sample_weight": WEIGHT}
    history = net.fit(X, REAL, optimizer=fn.SGD(0.05), epochs=2, **options)
    size = batch_size or ROWS
    for epoch in range(2):
        order = np.arange(ROWS)
        if shuffle:
            order = random.permutation(ROWS, seed=0, epoch=epoch)
        running = weight = 0.0
        for start in range(0, ROWS, size):
            rows = order[start : start + size]
            batch = X[rows], REAL[rows]
            loss = by_hand.evaluate(*batch, sample_weight=WEIGHT[rows])["loss"]
            running, weight = running + loss * WEIGHT[rows].sum(), weight + WEIGHT[rows].sum()
            gradients = by_hand.gradients(*batch, sample_weight=WEIGHT[rows])
            for name, values in by_hand.named_parameters().items():
                values -= by_hand.backend_object.asarray(0.05 * gradients[name])
        assert_close(np.float64(history["loss"][epoch]), running / weight, terms=ROWS * 10)
    assert_close(on_host(net), on_host(by_hand), terms=ROWS * 10)


@each_backend
def test_a_stream_of_batches_is_the_same_as_an_epoch_of_them(backend: str) -> None:
    net, stream = classifier(backend=backend), classifier(backend=backend)
    net.fit(
        X, LABELS, epochs=1, batch_size=16, shuffle=False, sample_weight=WEIGHT, optimizer="nadam"
    )
    losses = []
    for start in range(0, ROWS, 16):
        rows = slice(start, start + 16)
        batch = X[rows], LABELS[rows]
        losses.append(stream.partial_fit(*batch, sample_weight=WEIGHT[rows], optimizer="nadam"))
    assert same(everything(stream), everything(net))
    assert len(set(losses)) == 5
    assert all(math.isfinite(loss) for loss in losses)


@each_backend
def test_partial_fit_returns_the_loss_before_its_step(backend: str) -> None:
    net = smooth(LOSSES["mse"](), backend=backend, dtype="float64")
    before = net.evaluate(X, REAL)["loss"]
    assert_close(np.float64(net.partial_fit(X, REAL)), before, terms=ROWS)
    assert net.evaluate(X, REAL)["loss"] < before


@each_backend
def test_the_shuffle_changes_from_epoch_to_epoch_and_with_the_seed(backend: str) -> None:
    def first_batches(seed: int) -> list[list[float]]:
        net = fn.Network([1, 1], backend=backend, dtype="float64", seed=seed)
        net.parameters[...] = 0
        seen: list[float] = []
        # One step of size 1/2 down (y - t)^2 puts the bias where the first target was.
        for _ in range(4):
            net.fit(
                np.zeros((8, 1)),
                np.arange(8.0),
                epochs=1,
                batch_size=1,
                optimizer=fn.SGD(0.5),
            )
            seen.append(float(on_host(net)[-1]))
        return seen

    assert len(set(first_batches(0))) > 1
    assert first_batches(0) == first_batches(0)
    assert first_batches(0) != first_batches(1)


@each_backend
def test_without_a_shuffle_the_rows_come_in_their_order(backend: str) -> None:
    net = fn.Network([1, 1], backend=backend, dtype="float64")
    net.parameters[...] = 0
    net.fit(
        np.zeros((8, 1)),
        np.arange(8.0),
        epochs=1,
        batch_size=1,
        shuffle=False,
        optimizer=fn.SGD(0.5),
    )
    assert float(on_host(net)[-1]) == 7.0


# --- validation -----------------------------------------------------------------------------------


@each_backend
def test_a_split_trains_as_if_the_rows_had_been_given_apart(backend: str) -> None:
    held: list[Array] = []

    def spy(target: Array, output: Array) -> float:
        held.append(target[:, 0])
        return 0.0

    layers = [fn.Dense(4, "tanh"), fn.Dense(1)]
    y = np.arange(ROWS) / ROWS
    net, apart, again = (
        fn.Network(layers, inputs=INPUTS, seed=4, backend=backend, dtype="float64")
        for _ in range(3)
    )
    options = {"epochs": 3, "batch_size": 8}
    history = net.fit(X, y, validation_split=0.2, metrics=[spy], **options)
    rows = np.round(held[0] * ROWS).astype(int)
    assert len(set(rows.tolist())) == len(rows) == 15
    rest = np.setdiff1d(np.arange(ROWS), rows)
    expected = apart.fit(X[rest], y[rest], validation_data=(X[rows], y[rows]), **options)
    assert {name: history[name] for name in expected} == expected.records
    assert same(everything(net), everything(apart))

    altered = y.copy()
    altered[rows] += 100
    again.fit(X, altered, validation_split=0.2, **options)
    assert same(everything(again), everything(net))


def test_the_split_depends_on_the_seed_alone() -> None:
    def held_rows(seed: int, *, shuffle: bool, batch_size: int) -> list[float]:
        rows: list[float] = []

        def spy(target: Array, output: Array) -> float:
            rows.extend(target[:, 0].tolist())
            return 0.0

        net = fn.Network([INPUTS, 1], seed=seed, backend="numpy", dtype="float64")
        options = {"shuffle": shuffle, "batch_size": batch_size, "metrics": [spy], "epochs": 1}
        net.fit(X, np.arange(ROWS), validation_split=0.2, **options)
        return rows

    first = held_rows(0, shuffle=True, batch_size=8)
    assert first == sorted(first)
    assert first == held_rows(0, shuffle=False, batch_size=50)
    assert first != held_rows(1, shuffle=True, batch_size=8)


@each_backend
@pytest.mark.parametrize("weighted", [False, True])
def test_validation_in_the_history_is_what_evaluate_returns(weighted: bool, backend: str) -> None:
    net = classifier(backend=backend)
    weight = WEIGHT[50:] if weighted else None
    held = (X[50:], LABELS[50:], weight) if weighted else (X[50:], LABELS[50:])
    expected: list[dict[str, float]] = []

    def record(run: fn.Run) -> None:
        values = run.network.evaluate(X[50:], LABELS[50:], sample_weight=weight, metrics=["f1"])
        expected.append(values)

    history = net.fit(
        X[:50],
        LABELS[:50],
        epochs=3,
        validation_data=held,
        metrics=["f1"],
        callbacks=[record],
    )
    assert list(expected[0]) == ["loss", "accuracy", "f1"]
    for name in expected[0]:
        assert history[f"val_{name}"] == [values[name] for values in expected]
    assert history["val_loss"][0] != history["loss"][0]


@each_backend
def test_validation_does_not_change_training(backend: str) -> None:
    layers = [fn.Dense(6), fn.BatchNorm("relu"), fn.Dropout(0.2), fn.Dense(3, "softmax")]
    net, alone = (classifier(layers=layers, backend=backend) for _ in range(2))
    net.fit(X, LABELS, epochs=3, batch_size=16, validation_data=(X * 3, LABELS), metrics=["f1"])
    alone.fit(X, LABELS, epochs=3, batch_size=16)
    assert same(everything(net), everything(alone))


@each_backend
@pytest.mark.parametrize("optimizer", [fn.Adam(0.01), fn.LBFGS()], ids=["adam", "lbfgs"])
def test_early_stopping_restores_the_best_weights(optimizer: Any, backend: str) -> None:
    noise = np.random.default_rng(3)
    x, y = noise.standard_normal((60, INPUTS)), noise.integers(0, 3, 60)
    net = fn.Network([INPUTS, 32, 3], output_activation="softmax", backend=backend)
    predictions: list[Array] = []
    history = net.fit(
        x[:30],
        y[:30],
        epochs=200,
        optimizer=optimizer,
        validation_data=(x[30:], y[30:]),
        early_stopping=4,
        callbacks=[lambda run: predictions.append(run.network.predict(x))],
    )
    best = int(np.argmin(history["val_loss"]))
    assert history.stop_reason == "early stopping"
    assert history.best_epoch == best + 1
    assert len(history.epochs) == best + 1 + 4 < 200
    assert np.array_equal(net.predict(x), predictions[best])
    assert not np.array_equal(net.predict(x), predictions[-1])
    assert net.evaluate(x[30:], y[30:])["loss"] == min(history["val_loss"])


# --- weights of rows and classes ------------------------------------------------------------------


def step_full_batch(net: fn.Network, x: Array, y: Array, **options: Any) -> float:
    history = net.fit(x, y, epochs=3, batch_size=None, optimizer=fn.SGD(0.1), **options)
    return history["loss"][-1]


each_smooth_target = pytest.mark.parametrize("loss", ["cross_entropy", "mse"])


def pair_of(loss: str, backend: str) -> tuple[fn.Network, fn.Network, Array]:
    made = LOSSES[loss]()
    nets = [smooth(made, backend=backend, dtype="float64") for _ in range(2)]
    return nets[0], nets[1], TARGET_OF[loss]


@each_backend
@each_smooth_target
def test_a_row_of_weight_zero_is_as_good_as_left_out(loss: str, backend: str) -> None:
    net, other, y = pair_of(loss, backend)
    keep = np.arange(ROWS) % 3 != 0
    a = step_full_batch(net, X, y, sample_weight=keep.astype(float))
    b = step_full_batch(other, X[keep], y[keep])
    assert_close(np.float64(a), b, terms=ROWS * 3)
    assert_close(on_host(net), on_host(other), terms=ROWS * 3)


@each_backend
@each_smooth_target
def test_a_row_of_weight_two_is_as_good_as_there_twice(loss: str, backend: str) -> None:
    net, other, y = pair_of(loss, backend)
    twice = np.arange(ROWS) % 4 == 0
    rows = np.concatenate([np.arange(ROWS), np.flatnonzero(twice)])
    a = step_full_batch(net, X, y, sample_weight=1.0 + twice)
    b = step_full_batch(other, X[rows], y[rows])
    assert_close(np.float64(a), b, terms=ROWS * 3)
    assert_close(on_host(net), on_host(other), terms=ROWS * 3)
    plain, _, _ = pair_of(loss, backend)
    step_full_batch(plain, X, y)
    with pytest.raises(AssertionError):
        assert_close(on_host(net), on_host(plain), terms=ROWS * 3)


@each_backend
def test_only_the_ratios_of_weights_count(backend: str) -> None:
    net, other, y = pair_of("mse", backend)
    a = step_full_batch(net, X, y, sample_weight=WEIGHT)
    b = step_full_batch(other, X, y, sample_weight=64 * WEIGHT)
    assert_close(np.float64(a), b, terms=ROWS * 3)
    assert_close(on_host(net), on_host(other), terms=ROWS * 3)


@each_backend
def test_a_class_weight_is_the_weight_of_all_its_rows(backend: str) -> None:
    net, other, _ = pair_of("cross_entropy", backend)
    table = np.array([1.0, 0.5, 4.0])
    step_full_batch(net, X, LABELS, class_weight={1: 0.5, 2: 4.0}, sample_weight=WEIGHT)
    step_full_batch(other, X, LABELS, sample_weight=WEIGHT * table[LABELS])
    assert same(everything(net), everything(other))


@each_backend
def test_balanced_classes_have_the_same_total_weight(backend: str) -> None:
    net, other, _ = pair_of("cross_entropy", backend)
    y = np.where(LABELS == 2, 0, LABELS)  # one class is missing
    weight = ROWS / (2 * np.bincount(y)[y])
    assert_close(weight[y == 0].sum(), weight[y == 1].sum(), terms=ROWS)
    step_full_batch(net, X, y, class_weight="balanced")
    step_full_batch(other, X, y, sample_weight=weight)
    assert same(everything(net), everything(other))


@each_backend
def test_one_hot_targets_train_as_labels_do(backend: str) -> None:
    net, other = (classifier(backend=backend) for _ in range(2))
    a = net.fit(X, LABELS, epochs=2, batch_size=16, class_weight={0: 2.0})
    b = other.fit(X, np.eye(3)[LABELS], epochs=2, batch_size=16, class_weight={0: 2.0})
    assert a.records == b.records
    assert same(everything(net), everything(other))


# --- going on -------------------------------------------------------------------------------------

COSINE = fn.schedules.Cosine(0.01, epochs=7)
PLATEAU = fn.schedules.ReduceOnPlateau(0.01, factor=0.5, patience=0, threshold=0.2)
OPTIMIZERS_TO_TRY = {
    **{name: row() for name, row in OPTIMIZERS.items() if name != "lbfgs"},
    "nesterov": fn.SGD(0.01, momentum=0.9, nesterov=True),
    "everything": fn.Adam(COSINE, l1=1e-3, l2=1e-3, weight_decay=0.1, clip_norm=0.1),
    "plateau": fn.RMSprop(PLATEAU),
}
each_optimizer = pytest.mark.parametrize(
    "optimizer", OPTIMIZERS_TO_TRY.values(), ids=OPTIMIZERS_TO_TRY
)


@each_backend
@each_optimizer
def test_two_times_five_epochs_are_ten(optimizer: Any, backend: str) -> None:
    layers = [fn.Dense(8), fn.BatchNorm("gelu"), fn.Dropout(0.3), fn.Dense(3, "softmax")]
    once, twice = (classifier(layers=layers, backend=backend) for _ in range(2))
    options = {"optimizer": optimizer, "batch_size": 16, "validation_split": 0.2}
    whole = once.fit(X, LABELS, epochs=10, **options)
    first = twice.fit(X, LABELS, epochs=5, **options)
    second = twice.fit(X, LABELS, epochs=5, **options)
    assert first.epochs + second.epochs == whole.epochs == list(range(1, 11))
    assert {name: first[name] + second[name] for name in first} == whole.records
    assert same(everything(twice), everything(once))


@each_backend
@each_optimizer
def test_every_optimizer_lowers_the_loss(optimizer: Any, backend: str) -> None:
    net = smooth(LOSSES["mse"](), backend=backend)
    options = {"optimizer": optimizer, "epochs": 30, "batch_size": 8}
    history = net.fit(X, REAL, **options)
    assert history["loss"][-1] < history["loss"][0]


@each_backend
def test_the_moments_stay_when_the_rate_changes_and_go_with_the_optimizer(backend: str) -> None:
    net = classifier(backend=backend)
    net.fit(X, LABELS, epochs=1, optimizer=fn.Adam(0.01))
    assert net.optimizer_state is not None
    kept = net.optimizer_state
    net.fit(X, LABELS, epochs=1, optimizer=fn.Adam(0.001))
    assert net.optimizer_state is kept
    assert net.optimizer_state.step == 2
    net.fit(X, LABELS, epochs=1, optimizer=fn.SGD(0.001))
    assert net.optimizer_state is not kept
    assert net.optimizer_state.moments.shape == (1, net.plan.size)


def losses_of_masks(net: fn.Network, optimizer: type[fn.optimizers.Optimizer]) -> list[float]:
    """Return losses that differ by their dropout masks alone: the weights stand still."""
    before = on_host(net)
    options = {"epochs": 3, "batch_size": None, "shuffle": False}
    history = net.fit(X, REAL, optimizer=optimizer(1e-300), **options)
    assert np.array_equal(1 + on_host(net), 1 + before)
    return history["loss"]


def dropping(backend: str) -> fn.Network:
    layers = [fn.Dropout(0.5), fn.Dense(4, "relu"), fn.Dense(2)]
    return fn.Network(layers, inputs=INPUTS, backend=backend, dtype="float64")


@each_backend
def test_a_change_of_the_optimizer_draws_no_dropout_mask_again(backend: str) -> None:
    net = dropping(backend)
    losses = [*losses_of_masks(net, fn.SGD), *losses_of_masks(net, fn.Adam)]
    assert len(set(losses)) == 6
    again = dropping(backend)
    assert losses_of_masks(again, fn.Adam) == losses[:3]


@each_backend
def test_divergence_draws_no_dropout_mask_again(backend: str) -> None:
    net = dropping(backend)
    losses = losses_of_masks(net, fn.SGD)
    with pytest.raises(fn.DivergenceError):
        net.fit(X, REAL, epochs=1, batch_size=16, optimizer=fn.SGD(1e200))
    losses += losses_of_masks(net, fn.SGD)
    assert len(set(losses)) == 6


def test_a_new_schedule_starts_its_own_clock() -> None:
    net = classifier(backend="numpy")
    step = fn.schedules.Step(0.1, every=2, factor=0.5)
    net.fit(X, LABELS, epochs=3, optimizer=fn.SGD(0.3))
    history = net.fit(X, LABELS, epochs=5, optimizer=fn.SGD(step))
    fresh = classifier(backend="numpy").fit(X, LABELS, epochs=5, optimizer=fn.SGD(step))
    assert history["learning_rate"] == fresh["learning_rate"]
    assert min(history["learning_rate"]) < max(history["learning_rate"])


# --- schedules ------------------------------------------------------------------------------------

SCHEDULES_TO_TRY: dict[str, fn.schedules.Schedule] = {
    name: row(0.01) for name, row in SCHEDULES.items()
} | {"warm_up": fn.schedules.WarmUp(1e-4, epochs=3, then=0.01)}


@each_backend
@pytest.mark.parametrize("name", SCHEDULES)
def test_every_schedule_trains(name: str, backend: str) -> None:
    net = classifier(backend=backend)
    history = net.fit(
        X, LABELS, epochs=12, batch_size=16, optimizer=fn.Adam(SCHEDULES_TO_TRY[name])
    )
    rates = history["learning_rate"]
    assert len(rates) == 12
    assert all(0 <= rate <= 0.01 for rate in rates)
    moving = name not in ("constant", "reduce_on_plateau")
    assert (len(set(rates)) > 1) == moving
    assert history["loss"][-1] < history["loss"][0]


def test_the_rate_of_a_step_is_that_of_its_time() -> None:
    """Steps of plain gradient descent on a constant slope are as long as the schedule says."""
    schedule = fn.schedules.OneCycle(1.0, epochs=2)
    net = fn.Network([1, 1], backend="numpy", dtype="float64")
    net.parameters[...] = 0
    places = [0.0]

    class Watch(fn.Callback):
        def on_progress(self, run: fn.Run) -> None:
            places.append(float(run.network.biases[0][0]))

    options = {"loss": "mae", "optimizer": fn.SGD(schedule), "batch_size": 2, "epochs": 2}
    net.fit(np.zeros((8, 1)), np.full(8, 1e6), callbacks=[Watch()], **options)
    moves = schedule.rates(np.arange(8) / 4).reshape(2, 4).sum(axis=1)
    assert_close(np.diff([places[0], places[-1]]), [moves.sum()], terms=8)


@each_backend
@pytest.mark.parametrize("validation", [None, (X, REAL)])
def test_the_rate_falls_when_the_loss_stands_still(validation: Any, backend: str) -> None:
    plateau = fn.schedules.ReduceOnPlateau(1e-6, factor=0.5, patience=1, threshold=0.5, end=1e-7)
    net = smooth(LOSSES["mse"](), backend=backend)
    history = net.fit(X, REAL, epochs=12, optimizer=fn.SGD(plateau), validation_data=validation)
    halves = [0.5 ** (max(epoch - 1, 0) // 2) for epoch in range(12)]
    expected = [max(1e-6 * half, 1e-7) for half in halves]
    assert_close(np.array(history["learning_rate"]), expected)


# --- backends and threads agree -------------------------------------------------------------------


@pytest.mark.parametrize("backend", BACKENDS[1:])
@pytest.mark.parametrize(("dtype", "factor"), [("float64", 1e-9), ("float32", 1e-3)])
def test_the_first_epochs_loss_is_the_same_on_every_backend(
    backend: str, dtype: str, factor: float
) -> None:
    layers = [fn.Dense(12, "tanh"), fn.Dropout(0.2), fn.LayerNorm(), fn.Dense(3, "softmax")]
    nets = [classifier(layers=layers, backend=name, dtype=dtype) for name in ("numpy", backend)]
    options = {"batch_size": 8, "epochs": 1, "sample_weight": WEIGHT}
    a, b = (net.fit(X, LABELS, **options)["loss"][0] for net in nets)
    assert abs(a - b) <= factor * abs(a)
    other = classifier(layers=layers, backend=backend, dtype=dtype, seed=1)
    assert abs(other.fit(X, LABELS, **options)["loss"][0] - a) > factor * abs(a)


THREAD_CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "clip_norm": {"optimizer": fn.Adam(0.01, clip_norm=0.05)},
    "penalties": {"optimizer": fn.SGD(0.01, momentum=0.9, l1=1e-3, l2=1e-3, weight_decay=0.1)},
    "clip_norm and penalties": {"optimizer": fn.SGD(0.01, clip_norm=0.05, l1=1e-3, l2=1e-2)},
    "weights": {"sample_weight": WEIGHT},
    "one row in a batch": {"batch_size": 1},
    "fewer rows than threads": {"batch_size": 2},
    "a last batch of one row": {"batch_size": 37},
    "full batch": {"batch_size": None},
    "no shuffle": {"shuffle": False},
}


@only_numba
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", THREAD_CASES.values(), ids=THREAD_CASES)
def test_on_numba_the_number_of_threads_does_not_change_a_bit(
    case: dict[str, Any], dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fastnet.backends.numba_engine.cores", lambda: 3)
    layers = [
        fn.Dense(33, "relu"),
        fn.Dropout(0.3),
        fn.Dense(19),
        fn.LayerNorm("gelu"),
        fn.Dense(3, "softmax"),
    ]
    results, used = [], []
    for threads in (1, 2, 3):
        net = classifier(layers=layers, backend="numba", dtype=dtype)
        options = {"epochs": 2, "batch_size": 16, "threads": threads, **case}
        history = net.fit(X, LABELS, **options)
        used.append(net.engine(threads).threads_for(16))
        results.append((everything(net), history.records))
    assert used == [1, 2, 3]
    for result, records in results[1:]:
        assert same(result, results[0][0])
        assert records == results[0][1]


@only_numba
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("activation", [n for n, row in ACTIVATIONS.items() if not row.output_only])
def test_on_numba_no_activation_depends_on_the_number_of_threads(
    activation: str, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However the rows are shared, an element is computed by the same operations."""
    monkeypatch.setattr("fastnet.backends.numba_engine.cores", lambda: 4)
    for width in (1, 3, 17, 33):
        results = []
        for threads in (1, 2, 3, 4):
            layers = [fn.Dense(width, activation), fn.Dense(3, "softmax")]
            net = classifier(layers=layers, backend="numba", dtype=dtype)
            net.fit(X, LABELS, epochs=2, batch_size=16, threads=threads)
            results.append(everything(net))
        assert all(same(result, results[0]) for result in results[1:])


@only_numba
def test_on_numba_a_number_of_threads_is_for_one_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastnet.backends.numba_engine.cores", lambda: 3)
    net = fn.Network([64, 256, 8], backend="numba")
    used: list[int] = []
    original = type(net.engine()).threads_for

    def spy(self: Any, batch: int) -> int:
        used.append(original(self, batch))
        return used[-1]

    monkeypatch.setattr(type(net.engine()), "threads_for", spy)
    x = np.zeros((512, 64))
    net.fit(x, x[:, :8], epochs=1, batch_size=512, threads=1)
    assert set(used) == {1}
    used.clear()
    net.fit(x, x[:, :8], epochs=1, batch_size=512)
    assert max(used) == 3


@each_backend
def test_training_lets_go_of_its_data(backend: str) -> None:
    x = np.zeros((50, INPUTS), np.float32)
    y = np.zeros((50, TARGETS), np.float32)
    seen = weakref.ref(x), weakref.ref(y)
    net = smooth(LOSSES["mse"](), backend=backend)
    net.fit(x, y, epochs=2, batch_size=None, shuffle=False, validation_data=(x, y))
    net.evaluate(x, y)
    net.gradients(x, y)
    net.partial_fit(x, y)
    net.predict(x)
    del x, y
    gc.collect()
    assert [ref() is None for ref in seen] == [True, True]


@each_backend
@pytest.mark.parametrize("optimizer", ["adam", "lbfgs"])
def test_two_runs_with_the_same_set_up_are_the_same(optimizer: str, backend: str) -> None:
    layers = LAYERS if optimizer == "adam" else [fn.Dense(3, "softmax")]  # without dropout
    nets = [classifier(layers=layers, backend=backend) for _ in range(2)]
    a, b = (net.fit(X, LABELS, epochs=3, batch_size=16, optimizer=optimizer) for net in nets)
    assert a.records == b.records
    assert same(everything(nets[0]), everything(nets[1]))


# --- standardisation ------------------------------------------------------------------------------


@each_backend
def test_standardised_inputs_are_scaled_ever_after(backend: str) -> None:
    shifted = X * [1, 10, 100, 0.1, 1e-3] + [0, 50, -1000, 3, 1e-2]
    mean, deviation = shifted.mean(axis=0), shifted.std(axis=0)
    net, other = (smooth(LOSSES["mse"](), backend=backend, dtype="float64") for _ in range(2))
    a = net.fit(shifted, REAL, epochs=3, standardize=True)
    b = other.fit((shifted - mean) / deviation, REAL, epochs=3)
    assert isinstance(net.preprocessor, Scaler)
    assert_close(net.preprocessor.mean, mean, terms=ROWS)
    assert_close(net.preprocessor.scale, deviation, terms=ROWS)
    assert_close(np.array(a["loss"]), b["loss"], terms=ROWS, factor=1e4)
    scaled = (shifted - mean) / deviation
    assert_close(net.predict(shifted), other.predict(scaled), terms=ROWS, factor=1e4)
    assert_close(net.predict_one(shifted[0]), net.predict(shifted)[0], terms=ROWS)
    assert_close(
        np.float64(net.evaluate(shifted, REAL)["loss"]),
        other.evaluate(scaled, REAL)["loss"],
        terms=ROWS,
        factor=1e4,
    )
    net.fit(shifted, REAL, epochs=1)
    assert_close(net.preprocessor.mean, mean, terms=ROWS)


@each_backend
def test_columns_far_from_zero_keep_their_digits(backend: str) -> None:
    """Times in seconds, say: float32 has no digits left for them before they are centred."""
    times = 1.7e9 + 1000 * X
    net, other = (smooth(LOSSES["mse"](), backend=backend) for _ in range(2))
    net.fit(times, REAL, epochs=1, standardize=True)
    other.fit((times - times.mean(axis=0)) / times.std(axis=0), REAL, epochs=1)
    scaled = (times - times.mean(axis=0)) / times.std(axis=0)
    assert_close(net.predict(times), other.predict(scaled), terms=1000)
    assert_close(net.predict_one(times[0]), other.predict_one(scaled[0]), terms=1000)


def test_the_scaler_is_fitted_to_the_rows_that_train() -> None:
    """Not to those held out: they must not leak into training."""
    net = fn.Network([INPUTS, 1], backend="numpy", dtype="float64")
    held: list[int] = []

    def spy(target: Array, output: Array) -> float:
        held.extend(target[:, 0].astype(int))
        return 0.0

    y = np.arange(ROWS)
    net.fit(X, y, epochs=1, validation_split=0.4, metrics=[spy], standardize=True)
    rest = np.setdiff1d(y, held)
    assert isinstance(net.preprocessor, Scaler)
    assert_close(net.preprocessor.mean, X[rest].mean(axis=0), terms=ROWS)


# --- divergence -----------------------------------------------------------------------------------


@each_backend
def test_divergence_is_an_error_that_says_where(backend: str) -> None:
    net = smooth(LOSSES["mse"](), backend=backend)
    net.fit(X, REAL, epochs=3, batch_size=25)
    with pytest.raises(fn.DivergenceError) as caught:
        net.fit(X, REAL, epochs=100, batch_size=25, optimizer=fn.SGD(1e4))
    error = caught.value
    assert isinstance(error, ArithmeticError)
    assert isinstance(error, ValueError)
    assert error.epoch >= 4
    assert 1 <= error.step <= 3
    for part in (f"epoch {error.epoch}", f"step {error.step} of 3", "learning_rate"):
        assert part in str(error)


@each_backend
def test_after_divergence_the_weights_of_the_last_good_epoch_are_back(backend: str) -> None:
    layers = [fn.Dense(6), fn.BatchNorm("tanh"), fn.Dense(2)]
    net = fn.Network(layers, inputs=INPUTS, backend=backend)
    seen = [(on_host(net), on_host(net, net.state))]

    def keep(run: fn.Run) -> None:
        seen.append((on_host(run.network), on_host(run.network, run.network.state)))

    options = {"batch_size": 8, "callbacks": [keep]}
    net.fit(X, REAL, epochs=2, optimizer=fn.SGD(1e-3), **options)
    with pytest.raises(fn.DivergenceError) as caught:
        # A rate that explodes within the epoch.
        growing = fn.schedules.Exponential(1e-3, factor=1e60)
        net.fit(X, REAL, epochs=2, optimizer=fn.SGD(growing), **options)
    assert (caught.value.epoch, len(seen)) == (3, 3)
    assert caught.value.step > 1
    assert same([on_host(net), on_host(net, net.state)], list(seen[-1]))
    assert net.history is not None
    assert net.history.epochs == []
    history = net.fit(X, REAL, epochs=10, optimizer=fn.SGD(1e-3), **options)
    assert history["loss"][-1] < history["loss"][0]


@each_backend
def test_full_batch_divergence_goes_back_to_weights_with_a_finite_loss(backend: str) -> None:
    """The loss shows one epoch late that a step was too long: the weights before it are wanted."""
    net = smooth(LOSSES["mse"](), backend=backend)
    net.fit(X, REAL, epochs=5)
    with pytest.raises(fn.DivergenceError):
        net.fit(X, REAL, epochs=100, batch_size=None, optimizer=fn.SGD(1e20, momentum=0.9))
    assert math.isfinite(net.evaluate(X, REAL)["loss"])
    history = net.fit(X, REAL, epochs=20, optimizer=fn.SGD(0.01, momentum=0.9))
    assert history["loss"][-1] < history["loss"][0]


@each_backend
def test_one_step_that_diverges_is_taken_back(backend: str) -> None:
    net = smooth(LOSSES["mse"](), backend=backend)
    before = on_host(net)
    with pytest.raises(fn.DivergenceError):
        for _ in range(50):
            before = on_host(net)
            net.partial_fit(X, REAL, optimizer=fn.SGD(1e6))
    assert np.array_equal(on_host(net), before)
    net.parameters *= 1e-15  # they had grown to where the next step is lost
    assert math.isfinite(net.partial_fit(X, REAL, optimizer=fn.SGD(1e-9)))


@each_backend
def test_weights_that_overflow_in_the_last_step_are_noticed(backend: str) -> None:
    net = fn.Network([INPUTS, 2], backend=backend)
    before = on_host(net)
    with pytest.raises(fn.DivergenceError, match="a weight"):
        net.fit(X, REAL * 1e10, epochs=1, batch_size=None, optimizer=fn.SGD(1e35))
    assert np.array_equal(on_host(net), before)
