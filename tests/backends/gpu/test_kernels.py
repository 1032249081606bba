"""Each CUDA kernel against the NumPy definition of what it computes, in several orders of threads.

The expected values come from the NumPy formulas in float64, applied to the numbers that the kernel
is given; the suite of all engines compares with an independent reference.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fastnet.backends.gpu.runtime import Runtime
from fastnet.kernels import abi
from fastnet.kernels.cuda import loader
from fastnet.nn.activations import ACTIVATIONS, Activation
from fastnet.nn.loss_arrays import LossArrays
from fastnet.nn.losses import (
    LOG_VARIANCE_FLOOR,
    LOSSES,
    MSE,
    BinaryCrossEntropy,
    CrossEntropy,
    GaussianNLL,
    Huber,
    Loss,
    Quantile,
)
from tests.closeness import assert_close
from tests.cuda.host_runtime import narrowed, widened
from tests.cuda.runtimes import Array, blank, each_dtype, each_place, open_runtime, run
from tests.networks import dense_plan, outputs_for, random_rows

SHAPES = [(1, 1), (3, 7), (70, 5), (9, 33), (40, 100)]
"""(rows, columns): below and above a warp, a tile of columns, and the grid's first round."""

each_shape = pytest.mark.parametrize("shape", SHAPES, ids=str)
elementwise = [row for row in ACTIVATIONS.values() if not row.output_only]


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def wide(values: Array) -> Array:
    return values.astype(np.float64)


# --- activations ----------------------------------------------------------------------------------


def forward(row: Activation, z: Array) -> Array:
    y = np.empty_like(z)
    with np.errstate(all="ignore"):
        row.forward(y, z.copy(), np.empty_like(z), np.empty_like(z))
    return y


def backward(row: Activation, dy: Array, y: Array, z: Array) -> Array:
    dz = np.empty_like(dy)
    with np.errstate(all="ignore"):
        row.backward(dz, dy.copy(), y, z, *(np.empty_like(z) for _ in range(3)))
    return dz


@each_dtype
@each_place
@pytest.mark.parametrize("row", elementwise, ids=lambda row: row.name)
def test_each_activation_and_its_derivative(place: str, dtype: Any, row: Activation) -> None:
    runtime = open_runtime(place, dtype)
    shape = 8, 33
    exact = np.linspace(-8, 8, 8 * 33).reshape(shape).astype(dtype)
    bias = np.linspace(-1, 1, 33).astype(dtype)
    arguments = blank(shape, dtype), exact - bias, bias, row.code, *shape
    y, z, _ = run(runtime, "dense_forward_epilogue", shape, *arguments)
    assert_close(z, wide(exact), what="z")
    expected = forward(row, wide(z))
    assert_close(y, expected, what="y")
    dy = np.cos(np.arange(z.size)).reshape(shape).astype(dtype)
    room = blank(33, dtype)
    arguments = dy, room, y, z, row.code, *shape
    dz, db, *_ = run(runtime, "dense_backward_epilogue", shape, *arguments)
    slopes = backward(row, wide(dy), wide(y), wide(z))
    # In GELU's slope, 1 - tanh(...) is rounded and multiplied by up to 50.
    assert_close(dz, slopes, terms=32, what="dz")
    assert_close(db, slopes.sum(axis=0), terms=32, scale=np.abs(slopes).max() * 8, what="db")


@each_dtype
@each_place
@pytest.mark.parametrize("row", elementwise, ids=lambda row: row.name)
def test_an_activation_far_out_is_that_of_numpy(place: str, dtype: Any, row: Activation) -> None:
    runtime = open_runtime(place, dtype)
    z = np.array([[np.nan, np.inf, -np.inf, 0.0, -0.0, 1e30, -1e30, 60.0, -60.0]]).astype(dtype)
    shape = z.shape
    zeros = np.zeros(shape[1], dtype)
    y, *_ = run(
        runtime, "dense_forward_epilogue", shape, blank(shape, dtype), z, zeros, row.code, *shape
    )
    expected = forward(row, z)
    finite = np.isfinite(expected)
    np.testing.assert_array_equal(y[~finite], expected[~finite])
    for got, want in zip(y[finite], wide(expected)[finite], strict=True):
        # One scale each: they differ by 60 orders of magnitude.
        assert_close(got, want, scale=max(abs(want), float(np.finfo(dtype).tiny)))
    dy = np.full(shape, 2, dtype)
    arguments = dy, blank(shape[1], dtype), expected, z, row.code, *shape
    dz, *_ = run(runtime, "dense_backward_epilogue", shape, *arguments)
    slopes = backward(row, dy, expected, z)
    np.testing.assert_array_equal(np.isnan(dz), np.isnan(slopes))
    known = np.isfinite(slopes)
    np.testing.assert_array_equal(dz[~known], slopes[~known])
    # Every slope here is near 0 or 1, but for that of exp.
    scale = max(1.0, float(np.abs(wide(slopes)[known]).max()))
    assert_close(dz[known], wide(slopes)[known], scale=scale)


@each_dtype
@each_place
@each_shape
def test_softmax_and_its_derivative(
    place: str, dtype: Any, shape: tuple[int, int], rng: np.random.Generator
) -> None:
    runtime, row = open_runtime(place, dtype), ACTIVATIONS["softmax"]
    product, bias = rng.standard_normal(shape).astype(dtype), np.arange(shape[1]).astype(dtype)
    product[0, -1] = 3e4
    arguments = blank(shape, dtype), product, bias, *shape
    y, z, _ = run(runtime, "dense_forward_softmax", shape, *arguments)
    np.testing.assert_array_equal(z, product + bias)
    assert_close(y, forward(row, wide(z)), terms=shape[1])
    dy = rng.standard_normal(shape).astype(dtype)
    dz, _ = run(runtime, "softmax_backward", shape, dy, y, *shape)
    assert_close(dz, backward(row, wide(dy), wide(y), wide(z)), terms=shape[1], scale=1.0)


@each_dtype
@each_place
def test_softmax_knows_nan_and_infinity(place: str, dtype: Any) -> None:
    runtime, row = open_runtime(place, dtype), ACTIVATIONS["softmax"]
    z = np.zeros((5, 40), dtype)
    z[0, 33], z[1, 2], z[2, 35], z[3] = np.nan, np.inf, -np.inf, -np.inf
    arguments = blank(z.shape, dtype), z, np.zeros(40, dtype), *z.shape
    y, *_ = run(runtime, "dense_forward_softmax", z.shape, *arguments)
    assert_close(y, forward(row, wide(z)))


# --- column sums ----------------------------------------------------------------------------------


@each_dtype
@each_place
@each_shape
def test_a_bias_has_the_sum_of_its_column(
    place: str, dtype: Any, shape: tuple[int, int], rng: np.random.Generator
) -> None:
    runtime = open_runtime(place, dtype)
    dz = rng.standard_normal(shape).astype(dtype)
    arguments = dz, blank(shape[1], dtype), dz, dz, abi.IDENTITY, *shape
    same, db, *_ = run(runtime, "dense_backward_epilogue", shape, *arguments)
    np.testing.assert_array_equal(same, dz)
    assert_close(db, wide(dz).sum(axis=0), terms=shape[0], scale=3.0)


# --- normalisation --------------------------------------------------------------------------------


def normalised(x: Array, axis: int, epsilon: float) -> tuple[Array, Array, Array]:
    mean = x.mean(axis=axis, keepdims=True)
    scale = 1 / np.sqrt(((x - mean) ** 2).mean(axis=axis, keepdims=True) + epsilon)
    return (x - mean) * scale, mean, scale


def norm_slopes(dz: Array, xhat: Array, gamma: Array, scale: Array, axis: int | None) -> Array:
    """Return dx; `axis` None stands for statistics that are constants."""
    g = gamma * dz
    if axis is not None:
        means = [a.mean(axis=axis, keepdims=True) for a in (g, g * xhat)]
        g = g - means[0] - xhat * means[1]
    return g * scale


@each_dtype
@each_place
@each_shape
@pytest.mark.parametrize("training", [True, False], ids=["training", "prediction"])
def test_batch_normalisation(
    place: str, dtype: Any, shape: tuple[int, int], training: bool, rng: np.random.Generator
) -> None:
    runtime, (rows, width) = open_runtime(place, dtype), shape
    x, dy = (rng.standard_normal(shape).astype(dtype) + 2 for _ in range(2))
    gamma, beta, mean, var = (rng.uniform(0.5, 2, width).astype(dtype) for _ in range(4))
    momentum, epsilon = 0.125, 1e-2
    now = np.zeros(len(loader.CLOCK), np.int64)
    arguments = blank(width, dtype), blank(width, dtype), mean, var, x, now
    scalars = momentum, epsilon, int(training), *shape
    got_mean, scale, running_mean, running_var, *_ = run(
        runtime, "batch_norm_statistics", shape, *arguments, *scalars
    )
    xhat, batch_mean, batch_scale = normalised(wide(x), 0, epsilon)
    expected_mean, expected_var = wide(mean), wide(var)
    if training:
        batch_var = 1 / batch_scale[0] ** 2 - epsilon
        expected_mean = (1 - momentum) * expected_mean + momentum * batch_mean[0]
        unbiased = batch_var * rows / max(rows - 1, 1)
        expected_var = (1 - momentum) * expected_var + momentum * unbiased
    else:
        batch_mean, batch_scale = wide(mean)[None], 1 / np.sqrt(wide(var) + epsilon)[None]
        xhat = (wide(x) - batch_mean) * batch_scale
    assert_close(got_mean, batch_mean[0], terms=rows)
    assert_close(running_mean, expected_mean, terms=rows)
    assert_close(running_var, expected_var, terms=rows)
    # The variance of equal numbers is rounding: its relative error is that of the scale.
    assert_close(scale, batch_scale[0], terms=16 * rows)

    room = (blank(shape, dtype) for _ in range(3))
    arguments = *room, x, got_mean, scale, gamma, beta, abi.TANH, *shape
    y, z, got_xhat, *_ = run(runtime, "batch_norm_forward", shape, *arguments)
    assert_close(got_xhat, xhat, terms=16 * rows, scale=4.0)
    assert_close(z, wide(got_xhat) * gamma + beta)
    assert_close(y, np.tanh(wide(z)))

    arguments = dy, blank(width, dtype), blank(width, dtype), y, z, got_xhat, abi.TANH, *shape
    dz, dgamma, dbeta, *_ = run(runtime, "norm_backward_epilogue", shape, *arguments)
    slopes = wide(dy) * (1 - wide(y) ** 2)
    assert_close(dz, slopes, terms=4, scale=np.abs(dy).max())
    assert_close(dgamma, (wide(dz) * got_xhat).sum(axis=0), terms=rows, scale=float(rows))
    assert_close(dbeta, wide(dz).sum(axis=0), terms=rows, scale=float(rows))

    arguments = blank(shape, dtype), dz, got_xhat, scale, gamma, dgamma, dbeta
    dx, *_ = run(runtime, "batch_norm_backward", shape, *arguments, int(training), *shape)
    expected = norm_slopes(wide(dz), wide(got_xhat), gamma, scale, 0 if training else None)
    assert_close(dx, expected, terms=16 * rows, scale=float(np.abs(wide(dz) * gamma * scale).max()))


@each_dtype
@each_place
def test_a_halted_batch_normalisation_keeps_its_running_statistics(place: str, dtype: Any) -> None:
    runtime = open_runtime(place, dtype)
    x, mean, var = np.full((3, 2), 5, dtype), np.zeros(2, dtype), np.ones(2, dtype)
    now = np.array([field == "halted" for field in loader.CLOCK]).astype(np.int64)
    arguments = blank(2, dtype), blank(2, dtype), mean, var, x, now, 0.5, 1e-5, 1, 3, 2
    _, _, after_mean, after_var, *_ = run(runtime, "batch_norm_statistics", (3, 2), *arguments)
    assert after_mean.tolist() == [0, 0] and after_var.tolist() == [1, 1]


@each_dtype
@each_place
@each_shape
def test_layer_normalisation(
    place: str, dtype: Any, shape: tuple[int, int], rng: np.random.Generator
) -> None:
    runtime, (rows, width) = open_runtime(place, dtype), shape
    x, dz = (rng.standard_normal(shape).astype(dtype) + 2 for _ in range(2))
    gamma, beta = (rng.uniform(0.5, 2, width).astype(dtype) for _ in range(2))
    room = (blank(shape, dtype) for _ in range(3))
    arguments = *room, blank((rows, 1), dtype), x, gamma, beta, abi.TANH, 1e-2, *shape
    y, z, xhat, scale, *_ = run(runtime, "layer_norm_forward", shape, *arguments)
    expected, _, expected_scale = normalised(wide(x), 1, 1e-2)
    assert_close(scale, expected_scale, terms=16 * width)
    assert_close(xhat, expected, terms=16 * width, scale=4.0)
    assert_close(z, wide(xhat) * gamma + beta)
    assert_close(y, np.tanh(wide(z)))

    arguments = blank(shape, dtype), dz, xhat, scale, gamma, *shape
    dx, *_ = run(runtime, "layer_norm_backward", shape, *arguments)
    slopes = norm_slopes(wide(dz), wide(xhat), wide(gamma), wide(scale), 1)
    assert_close(dx, slopes, terms=16 * width, scale=float(np.abs(wide(dz) * gamma * scale).max()))


# --- losses ---------------------------------------------------------------------------------------

HEADS = [
    *(row() for row in LOSSES.values()),
    CrossEntropy(0.125),
    BinaryCrossEntropy(0.25),
    Huber(0.25),
    Quantile((0.25,)),
    Quantile((0.05, 0.2, 0.5, 0.9)),
]


def expected_head(
    loss: Loss, y: Array, z: Array, labels: Array | None, target: Array | None, weight: Array
) -> tuple[Array, Array, Array]:
    """Return the gradient of the mean loss, and each row's weighted loss and score."""
    head = LossArrays(
        *(y, z, labels, target, np.empty_like(y), np.empty(len(y))),
        *(np.empty_like(y), np.empty_like(y), np.empty(len(y), np.intp)),
    )
    with np.errstate(all="ignore"):
        loss.gradient(head)
        values = head.row * weight
        total = weight.sum()
        gradient = head.d * weight[:, None] * (1 / total if total > 0 else 0.0)
        loss.score_rows(head)
        return gradient, values, head.row * weight


def run_head(
    runtime: Runtime,
    dtype: Any,
    loss: Loss,
    y: Array,
    z: Array,
    labels: Array | None,
    target: Array | None,
    weight: Array | None,
) -> tuple[Array, Array, Array, Array]:
    """Return gradient, losses, scores and tally from the three kernels of the loss head."""
    shape, rows = y.shape, len(y)
    total = None
    if weight is not None:
        total, _ = run(runtime, "weight_sum", (1, 1), np.full(1, np.nan), weight, rows)
    targets = 0 if target is None else target.shape[1]
    room = blank(shape, dtype), blank(rows, dtype), blank(rows, dtype)
    given = labels, target, weight, total, np.array([*loss.hyperparameters, 0.0])
    arguments = *room, y, z, *given, loss.code, 0, *shape, targets
    gradient, values, scores, *_ = run(runtime, "loss_head", shape, *arguments)
    now = np.zeros(len(loader.CLOCK), np.int64)
    tally = np.array([1.0, 2.0, 3.0, 4.0])
    arguments = tally, now, values, scores, total, 0, rows
    tally, *_ = run(runtime, "tally_add", (1, 1), *arguments)
    return gradient, values, scores, tally


@each_dtype
@each_place
@pytest.mark.parametrize("weighted", [False, True], ids=["", "weighted"])
@pytest.mark.parametrize("loss", HEADS, ids=str)
def test_each_loss(place: str, dtype: Any, loss: Loss, weighted: bool) -> None:
    runtime = open_runtime(place, dtype)
    least = 2 if loss.output_activations[0] == "softmax" else 1
    for rows, targets in ((1, least), (9, 3), (6, 37)):
        width = outputs_for(loss, targets)
        plan = dense_plan(2, (width, loss.output_activations[0]))
        given = random_rows(plan, loss, rows, weighted=weighted)
        z = np.random.default_rng(1).standard_normal((rows, width)).astype(dtype) * 3
        y = forward(ACTIVATIONS[loss.output_activations[0]], wide(z)).astype(dtype)
        kinds = [(None, given.target)]
        if loss.name == "cross_entropy":
            kinds.append((np.arange(rows) % width, None))
        for labels, target in kinds:
            target = None if target is None else target.astype(dtype)
            weight = None if given.weight is None else given.weight.astype(dtype)
            results = run_head(runtime, dtype, loss, y, z, labels, target, weight)
            gradient, values, scores, tally = results
            ones = np.ones(rows) if weight is None else wide(weight)
            wanted = None if target is None else wide(target)
            expected = expected_head(loss, wide(y), wide(z), labels, wanted, ones)
            assert_close(gradient, expected[0], terms=width + 8, what="gradient")
            size = float(np.abs(expected[1]).max() + np.abs(z).max() + np.abs(y).max())
            assert_close(values, expected[1], terms=width + 8, scale=size, what="losses")
            assert_close(scores, expected[2], terms=width + 8, what="scores")
            assert_close(tally[abi.LOSS_SUM], 1 + wide(values).sum(), terms=rows)
            assert_close(tally[abi.SCORE_SUM], 2 + wide(scores).sum(), terms=rows)
            assert_close(tally[abi.WEIGHT_SUM], 3 + ones.sum(), terms=rows)
            assert tally[abi.STEPS] == 5


@each_dtype
@each_place
def test_a_batch_without_weight_has_no_gradient(place: str, dtype: Any) -> None:
    runtime = open_runtime(place, dtype)
    y, nothing = np.ones((3, 2), dtype), np.zeros(3, dtype)
    gradient, _, _, tally = run_head(runtime, dtype, MSE(), y, y, None, -y, nothing)
    assert (gradient == 0).all()
    assert tally.tolist() == [1, 2, 3, 5]


@each_dtype
@each_place
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("loss", HEADS, ids=str)
def test_a_bad_output_has_the_loss_and_gradient_that_numpy_gives(
    place: str, dtype: Any, loss: Loss, bad: float
) -> None:
    runtime, width = open_runtime(place, dtype), outputs_for(loss, 3)
    plan = dense_plan(2, (width, loss.output_activations[0]))
    target = random_rows(plan, loss, 4).target
    assert target is not None
    z = np.random.default_rng(2).standard_normal((4, width)).astype(dtype)
    z[1, 2] = bad
    y = forward(ACTIVATIONS[loss.output_activations[0]], z)
    gradient, values, _, tally = run_head(
        runtime, dtype, loss, y, z, None, target.astype(dtype), None
    )
    expected = expected_head(loss, wide(y), wide(z), None, target, np.ones(4))
    assert_close(gradient, expected[0], terms=8)
    assert_close(values, expected[1], terms=8, scale=10.0)
    assert tally[abi.STEPS] == 4 + bool(np.isfinite(expected[1]).all())


@each_place
def test_the_answer_is_the_first_of_the_largest(place: str) -> None:
    runtime, loss = open_runtime(place, np.float64), CrossEntropy()
    y = np.zeros((6, 70))
    y[0, [40, 69]] = 1
    y[1, [3, 67]] = np.nan
    y[2] = -np.inf
    y[3] = np.nan
    y[5, [5, 34]] = np.nan  # Lane 2 of the warp finds the later one.
    labels = np.array([40, 3, 0, 0, 0, 5])
    _, _, scores, _ = run_head(runtime, np.float64, loss, y, y, labels, None, None)
    assert scores.tolist() == [1] * 6
    assert np.argmax(y, axis=1).tolist() == labels.tolist()


@each_place
def test_a_halted_tally_stays(place: str) -> None:
    runtime = open_runtime(place, np.float64)
    now = np.array([field == "halted" for field in loader.CLOCK]).astype(np.int64)
    tally, ones = np.array([np.inf, 2.0, 3.0, 4.0]), np.ones(5)
    after, clock, *_ = run(runtime, "tally_add", (1, 1), tally, now, ones, ones, None, 8, 5)
    assert after.tolist() == tally.tolist()
    assert clock.tolist() == now.tolist()


@each_place
@pytest.mark.parametrize(("last", "halts"), [(1.0, 0), (np.inf, 1), (np.nan, 1)])
def test_the_end_of_a_step_moves_the_clock(place: str, last: float, halts: int) -> None:
    runtime = open_runtime(place, np.float64)
    now, losses = np.array([5, 7, 24, 3, 0]), np.array([1.0, 2.0, last])
    arguments = np.zeros(4), now, losses, losses, None, 8, 3
    tally, clock, *_ = run(runtime, "tally_add", (1, 1), *arguments)
    assert clock.tolist() == [6, 7, 32, 4, halts]
    assert tally[abi.STEPS] == 1 - halts


@each_dtype
@each_place
def test_the_head_computes_the_softmax_where_it_is_asked_to(place: str, dtype: Any) -> None:
    runtime, loss, shape = open_runtime(place, dtype), CrossEntropy(0.125), (9, 37)
    rng = np.random.default_rng(0)
    z, labels = rng.standard_normal(shape).astype(dtype), rng.integers(0, 37, 9)
    bias = np.zeros(37, dtype)
    y, *_ = run(runtime, "dense_forward_softmax", shape, blank(shape, dtype), z, bias, *shape)
    constants = np.array([*loss.hyperparameters])
    heads = []
    for given, softmax in ((y, 0), (blank(shape, dtype), 1)):
        room = blank(shape, dtype), blank(9, dtype), blank(9, dtype)
        inputs = given, z, labels, None, None, None, constants
        heads.append(
            run(runtime, "loss_head", shape, *room, *inputs, loss.code, softmax, *shape, 0)
        )
    for separate, together in zip(*heads, strict=True):
        np.testing.assert_array_equal(together, separate)


def test_the_floor_of_the_variance_is_that_of_the_definition() -> None:
    text = loader.source(np.dtype(np.float64), 32)
    assert GaussianNLL().hyperparameters == ()
    assert f"LOG_VARIANCE_FLOOR = {LOG_VARIANCE_FLOOR!r};" in text
    assert f"LOG_TWO_PI = {np.log(2 * np.pi).item()!r};" in text


# --- data and the norm of the gradient ------------------------------------------------------------


@each_dtype
@each_place
@pytest.mark.parametrize("targets", [0, 1, 40])
@pytest.mark.parametrize("inputs", [1, 7, 70])
def test_gather_takes_rows_in_order(
    place: str, dtype: Any, inputs: int, targets: int, rng: np.random.Generator
) -> None:
    runtime, rows, count = open_runtime(place, dtype), 9, 30
    x, weight = rng.random((count, inputs)).astype(dtype), rng.random(count).astype(dtype)
    labels = rng.integers(0, 9, count) if not targets else None
    target = rng.random((count, targets)).astype(dtype) if targets else None
    order = rng.permutation(count).astype(np.uint32)
    now = np.array([8 * (field == "start") for field in loader.CLOCK])
    room = [
        None if a is None else blank((rows, *a.shape[1:]), a.dtype)
        for a in (x, labels, target, weight)
    ]
    sizes = rows, inputs, targets
    for clock, start in ((now, 3), (None, 11)):
        arguments = *room, x, labels, target, weight, order, clock, start, *sizes
        got = run(runtime, "gather_rows", (rows, max(inputs, targets)), *arguments)
        present = [a for a in (x, labels, target, weight) if a is not None]
        for batch, source in zip(got, present, strict=False):
            np.testing.assert_array_equal(batch, source[order[11:20]])


@each_dtype
@each_place
@pytest.mark.parametrize(("size", "chunks"), [(1, 1), (37, 1), (1000, 7), (50, 64)])
@pytest.mark.parametrize("rated", [False, True], ids=["", "at rates"])
def test_the_norm_of_the_gradient_clips_it(
    place: str, dtype: Any, size: int, chunks: int, rated: bool, rng: np.random.Generator
) -> None:
    runtime = open_runtime(place, dtype)
    g = rng.standard_normal(size).astype(dtype)
    rates = (np.arange(1, size + 1) % 3 / 2).astype(dtype) if rated else None
    squares, *_ = run(
        *(runtime, "gradient_square_sum", (chunks, size)),
        *(blank(chunks, np.float64), g, rates, chunks, size),
    )
    length = -(-size // chunks)
    if rates is not None:
        g = g * (rates != 0)
    expected = [(wide(g[c * length : (c + 1) * length]) ** 2).sum() for c in range(chunks)]
    assert_close(squares, np.array(expected), terms=length)
    norm = float(np.sqrt((wide(g) ** 2).sum()))
    for limit in (norm / 3, norm * 2, np.inf):
        constants = np.zeros(abi.CONSTANTS)
        constants[abi.CLIP_NORM] = limit
        clip, *_ = run(
            *(runtime, "gradient_clip", (1, 1)), *(blank(1, dtype), squares, constants, chunks)
        )
        assert_close(clip, np.array([min(1.0, limit / norm)]), terms=size)


@each_place
@pytest.mark.parametrize(("bad", "clip"), [(np.nan, 1.0), (np.inf, 0.0), (1e25, np.float32(1e-25))])
def test_a_norm_that_is_not_finite_clips_as_in_numpy(place: str, bad: float, clip: float) -> None:
    runtime = open_runtime(place, np.float32)
    g, constants = np.array([1, bad], np.float32), np.ones(abi.CONSTANTS)
    arguments = blank(1, np.float64), g, None, 1, 2
    squares, _ = run(runtime, "gradient_square_sum", (1, 2), *arguments)
    got, *_ = run(runtime, "gradient_clip", (1, 1), blank(1, np.float32), squares, constants, 1)
    assert got[0] == clip


# --- products -------------------------------------------------------------------------------------

PRODUCTS = [(1, 1, 1), (3, 1, 40), (1, 33, 1), (5, 17, 16), (40, 70, 3), (2, 3, 0)]
"""(rows, columns, inner): below and above a tile, and the grid's first round."""


def factors(
    sizes: tuple[int, int, int], transposed: tuple[bool, bool], rng: np.random.Generator
) -> tuple[list[Array], Array]:
    """Return both factors as they lie in memory, and their product, in float64."""
    rows, columns, inner = sizes
    a, b = rng.standard_normal((rows, inner)), rng.standard_normal((inner, columns))
    there = [
        np.ascontiguousarray(m.T if flipped else m)
        for m, flipped in zip((a, b), transposed, strict=True)
    ]
    return there, a @ b


each_transpose = pytest.mark.parametrize(
    "transposed", [(x, y) for x in (False, True) for y in (False, True)], ids=str
)


@each_dtype
@each_place
@each_transpose
@pytest.mark.parametrize("sizes", PRODUCTS, ids=str)
def test_a_product(
    place: str,
    dtype: Any,
    sizes: tuple[int, int, int],
    transposed: tuple[bool, bool],
    rng: np.random.Generator,
) -> None:
    runtime = open_runtime(place, dtype)
    there, _ = factors(sizes, transposed, rng)
    a, b = (m.astype(dtype) for m in there)
    left, right = (wide(m.T if t else m) for m, t in zip((a, b), transposed, strict=True))
    arguments = blank(sizes[:2], dtype), a, b, *map(int, transposed), *sizes
    for kernel in ("product_cells", "product_numbers"):
        out, *_ = run(runtime, kernel, sizes[:2], *arguments)
        # Where nothing is added up, the sum is exactly 0.
        assert_close(out, left @ right, terms=max(1, sizes[2]), scale=float(sizes[2] > 0) * 4)


@each_place
@each_transpose
def test_a_product_of_cells_is_rounded_once(
    place: str, transposed: tuple[bool, bool], rng: np.random.Generator
) -> None:
    """The sums are float32, whatever the factors are."""
    runtime: Any = open_runtime(place, np.float32, bf16=True)
    sizes = 5, 19, 33
    there, _ = factors(sizes, transposed, rng)
    a, b = (narrowed(m) for m in there)
    left, right = (
        wide(widened(m).T if t else widened(m)) for m, t in zip((a, b), transposed, strict=True)
    )
    rest = a, b, *map(int, transposed), *sizes
    numbers, *_ = run(runtime, "product_numbers", sizes[:2], blank(sizes[:2], np.float32), *rest)
    assert_close(numbers, left @ right, terms=33, scale=4)
    cells, *_ = run(runtime, "product_cells", sizes[:2], blank(sizes[:2], np.uint16), *rest)
    np.testing.assert_array_equal(cells, narrowed(numbers))


@each_dtype
@each_place
def test_a_product_keeps_nan_and_infinity_where_they_belong(place: str, dtype: Any) -> None:
    runtime = open_runtime(place, dtype)
    a, b = np.ones((3, 20), dtype), np.ones((20, 18), dtype)
    a[1, 7], b[2, 17] = np.nan, np.inf
    arguments = blank((3, 18), dtype), a, b, 0, 0, 3, 18, 20
    out, *_ = run(runtime, "product_cells", (3, 18), *arguments)
    np.testing.assert_array_equal(out, a @ b)
