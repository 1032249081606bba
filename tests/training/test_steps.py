"""A training loop of one's own: forward, backward, update."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import fastnet as fn
from fastnet.backends.base import Backend
from fastnet.nn import random
from fastnet.nn.activations import ACTIVATIONS
from fastnet.nn.batch import Batch
from fastnet.nn.layers import Layer
from tests.closeness import assert_close
from tests.networks import Bench, assert_same_gradients, dense_plan, random_parameters, random_rows
from tests.on_backends import each_backend, everything, on_host, same

Array = NDArray[Any]
ROWS, BATCH = 22, 8


def network(backend: Backend, output: str = "identity", outputs: int = 2) -> fn.Network:
    """Return a network with every kind of layer on a backend, which need not have a public name."""
    layers: list[Layer] = [
        fn.Dense(9, "silu"), fn.BatchNorm("tanh"), fn.Dropout(0.25), fn.Dense(7),
        fn.LayerNorm("relu"), fn.Dense(outputs, output),
    ]  # fmt: skip
    return fn.Network(layers, inputs=5, seed=3, backend="numpy")._copy_to(backend, "float32")


def data(output: str = "identity", outputs: int = 2) -> tuple[Array, Array]:
    rng = np.random.default_rng(4)
    x = rng.standard_normal((ROWS, 5)).astype(np.float32)
    if output == "softmax":
        return x, rng.integers(0, outputs, ROWS)
    y = rng.standard_normal((ROWS, outputs)).astype(np.float32)
    return x, (y > 0).astype(np.float32) if output == "sigmoid" else np.abs(y)


LOSSES = [
    (fn.losses.MSE(), "identity", 2),
    (fn.losses.MSE(), "sigmoid", 4),
    (fn.losses.Huber(0.5), "tanh", 2),
    (fn.losses.CrossEntropy(label_smoothing=0.125), "softmax", 4),
    (fn.losses.BinaryCrossEntropy(), "sigmoid", 2),
    (fn.losses.Poisson(), "exp", 1),
]
OPTIMIZERS = [
    fn.AdamW(0.01, weight_decay=0.1, l2=0.01, clip_norm=0.5),
    fn.SGD(fn.schedules.Cosine(0.05, epochs=3), momentum=0.5, l1=0.001),
]


def loop(net: fn.Network, x: Array, y: Array, loss: Any, optimizer: Any, epochs: int) -> None:
    """Train as `fit` does, from outside."""
    steps = -(-len(x) // BATCH)
    for epoch in range(epochs):
        order = random.permutation(len(x), seed=net.seed, epoch=epoch)
        for start in range(0, len(x), BATCH):
            index = order[start : start + BATCH]
            fused = loss.fused_activation is not None
            output = on_host(net, net.forward(x[index]))
            _, gradient = loss.value_and_gradient(output, y[index], logits=fused)
            net.backward(gradient, logits=fused)
            net.update(optimizer, steps_per_epoch=steps)


@pytest.mark.filterwarnings("ignore:y has targets that the outputs")
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda o: o.name)
@pytest.mark.parametrize(("loss", "output", "outputs"), LOSSES, ids=str)
def test_a_loop_of_the_three_steps_has_the_bits_of_fit(
    backend: Backend, loss: Any, output: str, outputs: int, optimizer: Any
) -> None:
    x, y = data(output, outputs)
    fitted, looped = network(backend, output, outputs), network(backend, output, outputs)
    fitted.fit(x, y, loss=loss, optimizer=optimizer, epochs=3, batch_size=BATCH)
    loop(looped, x, y, loss, optimizer, 3)
    assert same(everything(fitted), everything(looped))
    clocks = ("step", "epoch", "updates", "batch")
    states = fitted.optimizer_state, looped.optimizer_state
    assert len({tuple(getattr(state, name) for name in clocks) for state in states}) == 1
    # Another step makes them differ, and the loop goes on where fit ended.
    looped.fit(x, y, loss=loss, optimizer=optimizer, epochs=1, batch_size=BATCH)
    assert not same(everything(fitted), everything(looped))


def tiny(backend: str, dtype: str, loss: Any, output: str, outputs: int) -> fn.Network:
    layers = [fn.Dense(6, "tanh"), fn.Dense(outputs, output)]
    return fn.Network(layers, inputs=5, seed=11, dtype=dtype, backend=backend, loss=loss)


@pytest.mark.filterwarnings("ignore:y has targets that the outputs")
@each_backend
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda o: o.name)
@pytest.mark.parametrize(("loss", "output", "outputs"), LOSSES, ids=str)
def test_in_a_tiny_network_which_has_kernels_of_its_own_the_loop_agrees_with_fit_to_rounding(
    backend: str, dtype: str, loss: Any, output: str, outputs: int, optimizer: Any
) -> None:
    x, y = (values.astype(dtype) if values.dtype.kind == "f" else values for values in
            data(output, outputs))  # fmt: skip
    fitted, looped = (tiny(backend, dtype, loss, output, outputs) for _ in range(2))
    before = on_host(fitted)
    fitted.fit(x, y, optimizer=optimizer, epochs=3, batch_size=BATCH)
    loop(looped, x, y, loss, optimizer, 3)
    # Nine updates, each a sum over the rows of a batch and the units of a layer.
    terms = 9 * BATCH * 6
    assert np.abs(on_host(fitted) - before).max() > 1e-3
    assert_close(on_host(looped), on_host(fitted), terms=terms, what="the parameters")
    if backend == "numpy":  # which has no other kernels
        assert same(everything(fitted), everything(looped))
    elif backend == "numba":
        engine = fitted.engine()
        assert engine._is_tiny(BATCH)


@pytest.mark.parametrize("name", fn.losses.LOSSES)
def test_the_derivative_of_a_loss_by_outputs_is_that_of_differences(name: str) -> None:
    loss = fn.losses.LOSSES[name]()
    rng = np.random.default_rng(0)
    outputs = 3 * loss.outputs_per_target
    output = rng.uniform(0.2, 0.8, (5, outputs))
    target = rng.uniform(0.25, 0.75, (5, 3))
    if name == "cross_entropy":
        output, target = (a / a.sum(axis=1, keepdims=True) for a in (output, target))
    weight = rng.uniform(0.5, 2, 5)
    _, gradient = loss.value_and_gradient(output, target, weight)
    expected = np.empty_like(output)
    for place in np.ndindex(output.shape):
        step = np.zeros_like(output)
        step[place] = 1e-6
        if name == "cross_entropy":
            # Its value from outputs is that of their logits, which softmax brings to the sum 1;
            # so the differences are along the simplex.
            step[place[0]] -= 1e-6 * output[place[0]]
        high, low = (
            loss.value_and_gradient(output + sign * step, target, weight)[0] for sign in (1, -1)
        )
        expected[place] = (high - low) / 2e-6
    if name == "cross_entropy":
        gradient -= (gradient * output).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(gradient, expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("logits", [False, True], ids=["outputs", "logits"])
@pytest.mark.parametrize("output", ACTIVATIONS)
def test_gradients_begin_at_outputs_or_logits(bench: Bench, output: str, logits: bool) -> None:
    """What `backward_from` makes of a gradient is what a linear loss of the same gradient has."""
    plan = dense_plan(4, (6, "gelu"), (3, output))
    same_plan = dense_plan(4, (6, "gelu"), (3, "identity"))
    parameters = random_parameters(plan)
    rows = random_rows(same_plan, fn.losses.MSE(), 7)
    d = np.random.default_rng(1).standard_normal((7, 3))
    engine, batch = bench.engine(plan, parameters), bench.rows(rows)
    engine.reserve(9)
    engine.forward(batch.x, training=True)
    placed = bench.put(d)
    for _ in range(2):
        engine.backward_from(batch.x, placed, logits=logits)
    np.testing.assert_array_equal(bench.get(placed), d.astype(bench.dtype))
    assert engine.read_tally().steps == 0
    # dz of the last layer in float64, and below it a network that ends at its logits.
    z = np.array(bench.get(bench.engine(same_plan, parameters).predict(batch.x)), np.float64)
    dz = d.copy()
    if not logits:
        y, s, t, u = (np.empty_like(z) for _ in range(4))
        ACTIVATIONS[output].forward(y, z.copy(), s, t)
        ACTIVATIONS[output].backward(dz, dz, y, z.copy(), s, t, u)
    # MSE of 3 outputs with the target z - 3 * 7 / 2 * dz has the gradient dz.
    target = z - 10.5 * dz
    wide = Bench(fn.get_backend("numpy"), np.dtype(np.float64))
    composed = wide.engine(same_plan, parameters)
    from_loss = Batch(wide.rows(rows).x, None, target, None)
    composed.gradient(from_loss, fn.losses.MSE(), training=True)
    assert_same_gradients(
        plan, bench.get(engine.gradients), composed.gradients, count=7, factor=64.0
    )


def test_gradients_are_flat_and_by_name(backend: Backend) -> None:
    net = network(backend)
    x, y = data()
    output = net.forward(x, training=False)
    assert on_host(net, output).shape == (ROWS, 2)
    _, d = fn.losses.MSE().value_and_gradient(on_host(net, output), y)
    gradients = net.backward(d)
    named = net.named_parameters()
    assert list(gradients) == list(named)
    for name, expected in net.gradients(x, y, loss="mse").items():
        assert gradients[name].shape == named[name].shape == expected.shape
        np.testing.assert_array_equal(on_host(net, gradients[name]), expected)
    assert gradients.flat.shape == net.parameters.shape
    gradients["layers.5.bias"][...] = 7.0
    tensor = next(t for t in net.plan.parameters if t.name == "layers.5.bias")
    assert (on_host(net, tensor.view(gradients.flat)) == 7.0).all()
    # A second pass back begins at 0, and predictions in between change nothing.
    net.predict(x)
    np.testing.assert_array_equal(on_host(net, net.backward(d)["layers.5.bias"]), expected)
    # Outputs of the last pass are the caller's.
    before = on_host(net, output)
    net.forward(x + 1)
    np.testing.assert_array_equal(on_host(net, output), before)


def test_changed_gradients_and_sums_of_them_are_used(backend: Backend) -> None:
    """Halves of a batch, whose gradients are added, make the step of the whole."""
    x, y = data()
    loss, optimizer = fn.losses.MSE(), fn.SGD(0.125, clip_norm=0.5)

    def gradients(net: fn.Network, part: slice, scale: float) -> Any:
        output = on_host(net, net.forward(x[part], training=False))
        return net.backward(loss.value_and_gradient(output, y[part])[1] * np.float32(scale))

    nets = [network(backend) for _ in range(5)]
    gradients(nets[0], slice(None), 1.0)
    nets[0].update(optimizer)
    halves = [slice(0, ROWS // 2), slice(ROWS // 2, ROWS)]
    first, second = (gradients(nets[1], half, 0.5) for half in halves)
    nets[1].update(optimizer, gradients=first.flat + second.flat)
    nets[2].update(optimizer, gradients={name: first[name] + second[name] for name in first})
    doubled = gradients(nets[3], slice(None), 2.0)
    doubled.flat[...] *= 0.5
    nets[3].update(optimizer)
    gradients(nets[4], slice(None), 2.0)
    nets[4].update(optimizer)
    whole, flat, named, halved, not_halved = (on_host(net).astype(float) for net in nets)
    np.testing.assert_array_equal(flat, named)
    np.testing.assert_array_equal(halved, whole)
    assert_close(flat.astype(np.float32), whole, terms=ROWS, scale=1.0)
    unclipped = network(backend)
    gradients(unclipped, slice(None), 1.0)
    unclipped.update(fn.SGD(0.125))
    assert not np.array_equal(on_host(unclipped), whole)
    np.testing.assert_allclose(not_halved, whole, rtol=1e-5)  # both are clipped to one norm


def test_frozen_parameters_have_no_gradient_and_stay() -> None:
    net = fn.Network([fn.Dense(4, "tanh", weight_rate=0.0), fn.Dense(1)], inputs=3, seed=1)
    before = on_host(net, net.weights[0])
    net.forward(np.ones((2, 3)))
    gradients = net.backward(np.ones((2, 1)))
    assert not gradients["layers.0.weight"].any()
    assert gradients["layers.0.bias"].any()
    net.update(fn.SGD(0.5, weight_decay=0.1))
    np.testing.assert_array_equal(on_host(net, net.weights[0]), before)


def test_a_schedule_counts_updates() -> None:
    for steps, expected in [(1, 0.25), (2, 0.5)]:
        net = fn.Network([1, 1], backend="numpy", seed=1)
        before = on_host(net)
        for _ in range(3):
            start = on_host(net)
            net.update(
                fn.SGD(fn.schedules.Step(1.0, every=1, factor=0.5)),
                gradients=np.ones(2),
                steps_per_epoch=steps,
            )
        np.testing.assert_array_equal(start - on_host(net), np.float32(expected))
        assert not np.array_equal(before, start)


def test_it_knows_the_preprocessor() -> None:
    x, y = data()
    net = fn.Network([5, 6, 2], seed=1, backend="numpy")
    net.fit(100 + 50 * x, y, epochs=1, standardize=True)
    np.testing.assert_array_equal(
        net.forward(100 + 50 * x, training=False), net.predict(100 + 50 * x)
    )


X, D = np.ones((3, 2)), np.ones((3, 1))


def small() -> fn.Network:
    return fn.Network([2, 4, 1], backend="numpy", seed=1)


def moved(net: fn.Network) -> None:
    net.weights[0][0, 0] += 1.0


def stepped(net: fn.Network) -> None:
    net.forward(X)
    net.backward(D)
    net.update(fn.SGD(0.1))


WRONG = {
    "backward without forward": (
        lambda net: net.backward(D), r"backward needs a forward pass .*call net\.forward\(x\) first"
    ),
    "update without forward": (
        lambda net: net.update(), r"update needs a forward pass .*net\.forward and net\.backward"
    ),
    "update without backward": (
        lambda net: (net.forward(X), net.update()), r"call net\.backward\(output_gradient\) first"
    ),
    "a second update": (lambda net: (stepped(net), net.update()), "since the last update"),
    "backward after an update": (lambda net: (stepped(net), net.backward(D)), "forward pass"),
    "weights changed before backward": (
        lambda net: (net.forward(X), moved(net), net.backward(D)),
        "parameters have changed since forward, so backward would mix two networks",
    ),
    "weights changed before update": (
        lambda net: (net.forward(X), net.backward(D), moved(net), net.update()),
        "parameters have changed since forward, so update would mix two networks",
    ),
    "fit in between": (
        lambda net: (net.forward(X), net.fit(X, D, epochs=1), net.backward(D)), "have changed"
    ),
    "a copy has no pass": (
        lambda net: (net.forward(X), net.copy().backward(D)), "needs a forward pass"
    ),
    "another shape": (
        lambda net: (net.forward(X), net.backward(np.ones(3))),
        r"the shape of the outputs of forward, \(3, 1\), got \(3,\)",
    ),
    "fewer rows": (lambda net: (net.forward(X), net.backward(D[:2])), r"\(3, 1\), got \(2, 1\)"),
    "NaN": (
        lambda net: (net.forward(X), net.backward(D * np.nan)), "output_gradient holds nan at row 0"
    ),
    "text": (lambda net: (net.forward(X), net.backward([["a"]] * 3)), "output_gradient"),
    "columns": (lambda net: net.forward(np.ones((3, 5))), "x must have 2 columns"),
    "NaN in x": (lambda net: net.forward(X * np.nan), "x holds nan"),
    "no rows": (lambda net: net.forward(X[:0]), "x is empty: forward needs at least one row"),
    "a short gradient": (
        lambda net: net.update(gradients=np.ones(3)), r"the shape of net\.parameters, \(17,\)"
    ),
    "a name": (lambda net: net.update(gradients={"w": D}), "name every parameter"),
    "a named shape": (
        lambda net: net.update(gradients=dict.fromkeys(net.named_parameters(), D)),
        r"gradients\['layers.0.weight'\] must have the shape \(2, 4\), got \(3, 1\)",
    ),
    "lbfgs": (lambda net: net.update("lbfgs", gradients=np.ones(17)), "lbfgs needs all data"),
    "a plateau": (
        lambda net: net.update(
            fn.SGD(fn.schedules.ReduceOnPlateau(0.1)), gradients=np.ones(17)
        ),
        "ReduceOnPlateau needs the loss of each epoch",
    ),
    "steps": (lambda net: net.update(gradients=np.ones(17), steps_per_epoch=0), "steps_per_epoch"),
}  # fmt: skip


@pytest.mark.parametrize(("act", "message"), WRONG.values(), ids=WRONG.keys())
def test_what_is_wrong_meets_a_sentence(act: Any, message: str) -> None:
    net = small()
    with pytest.raises(fn.InputError, match=message):
        act(net)
    # And the right order works after it.
    stepped(net)


def test_batch_normalisation_refuses_a_single_row_in_training() -> None:
    net = fn.Network([fn.BatchNorm(), fn.Dense(1)], inputs=2, backend="numpy")
    with pytest.raises(fn.InputError, match="batch normalisation needs at least 2 rows"):
        net.forward(X[:1])
    state = on_host(net, net.state)
    net.forward(X[:1], training=False)
    np.testing.assert_array_equal(on_host(net, net.state), state)


def test_a_step_to_infinity_is_taken_back(backend: Backend) -> None:
    net = small()._copy_to(backend, "float32")
    stepped(net)
    before = on_host(net)
    with np.errstate(all="ignore"):  # the emulated GPU adds with NumPy
        net.forward(X)
        net.backward(D * 1e38)
    with pytest.raises(fn.DivergenceError, match="the step made a weight infinite or NaN"):
        net.update(fn.SGD(1e38))
    np.testing.assert_array_equal(on_host(net), before)
    stepped(net)
    assert not np.array_equal(on_host(net), before)


def test_the_data_of_a_pass_is_kept_apart_and_not_pickled() -> None:
    net, same_net = small(), small()
    x = X.copy()
    net.forward(x)
    x[...] = 9.0
    same_net.forward(X)
    assert np.array_equal(net.backward(D).flat, same_net.backward(D).flat)
    with pytest.raises(fn.InputError, match="forward pass"):
        pickle.loads(pickle.dumps(net)).backward(D)


WRONG_LOSSES: dict[str, tuple[Any, ...]] = {
    "columns": ("mse", np.ones((3, 2)), np.ones(3), r"\(3, 2\) of numbers for 2 outputs"),
    "classes": ("cross_entropy", np.ones((2, 2)), np.array([0, 2]), "from 0 to 1"),
    "text": ("mse", np.ones((1, 1)), np.array(["a"]), "of numbers"),
    "whole outputs": ("mse", np.ones((1, 1), int), np.ones(1), "float32 or float64"),
}


@pytest.mark.parametrize(
    ("name", "output", "target", "message"), WRONG_LOSSES.values(), ids=WRONG_LOSSES.keys()
)
def test_losses_refuse_what_does_not_fit(
    name: str, output: Array, target: Array, message: str
) -> None:
    with pytest.raises(fn.InputError, match=message):
        fn.losses.LOSSES[name]().value_and_gradient(output, target)


def test_losses_refuse_weights_and_logits_that_do_not_fit() -> None:
    loss = fn.losses.MSE()
    for weight in ([1.0], [0.0, 0.0], [1.0, -1.0]):
        with pytest.raises(fn.InputError, match="sample_weight must be 2 numbers"):
            loss.value_and_gradient(np.ones((2, 1)), np.ones(2), weight)
    with pytest.raises(fn.InputError, match="'mse' has no form by logits"):
        loss.value_and_gradient(np.ones((2, 1)), np.ones(2), logits=True)
