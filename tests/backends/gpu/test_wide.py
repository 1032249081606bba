"""Kernels for large arrays: the same as the kernels that they stand in for, and as NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fastnet.kernels import abi
from fastnet.kernels.cuda import loader
from fastnet.nn.layers import Dense
from fastnet.nn.losses import CrossEntropy
from tests.backends.gpu.test_kernels import expected_head
from tests.closeness import assert_close
from tests.cuda.host_module import WHY_NOT
from tests.cuda.host_runtime import HostRuntime, narrowed, widened
from tests.cuda.runtimes import Array, blank, each_dtype, each_place, open_runtime, run
from tests.cuda.training import Training

emulated = pytest.mark.skipif(WHY_NOT is not None, reason=str(WHY_NOT))

SHAPES = [(1, 1), (3, 8), (40, 32), (70, 33), (9, 40), (5, 16)]
CODES = [abi.RELU, abi.TANH, abi.GELU]


def backward(runtime: Any, kernel: str, arrays: list[Array], code: int, *, shift: int) -> Any:
    """Return dz and db of arrays that begin `shift` numbers behind an aligned address."""
    shape = arrays[0].shape
    there = []
    for array in arrays:
        room = runtime.empty((array.size + shift + 16,), array.dtype)
        align = -(runtime.address(room) // array.itemsize) % (16 // array.itemsize)
        begin = align + shift
        place = room[begin : begin + array.size].reshape(shape)
        runtime.upload(place, np.ascontiguousarray(array))
        there.append(place)
    numbers = np.float32 if array.dtype == np.uint16 else array.dtype
    db = runtime.to_device(blank(shape[1], numbers))
    runtime.launch(kernel, shape, there[0], db, *there[1:], code, *shape)
    return runtime.to_host(there[0]), runtime.to_host(db)


@each_dtype
@each_place
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("code", CODES)
def test_runs_are_the_kernel_of_single_cells(
    place: str, dtype: Any, shape: tuple[int, int], code: int
) -> None:
    runtime, rng = open_runtime(place, dtype), np.random.default_rng(0)
    arrays = [rng.standard_normal(shape).astype(dtype) for _ in range(3)]
    dz, db = backward(runtime, "dense_backward_runs", arrays, code, shift=0)
    other, sums = backward(runtime, "dense_backward_runs", arrays, code, shift=1)
    np.testing.assert_array_equal(other, dz)
    np.testing.assert_array_equal(sums, db)  # whatever the alignment
    expected, columns = backward(runtime, "dense_backward_epilogue", arrays, code, shift=0)
    np.testing.assert_array_equal(dz, expected)
    scale = float(np.abs(expected).max()) * shape[0]
    assert_close(db, columns.astype(np.float64), terms=shape[0], scale=scale)


@emulated
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("schedule", [0, 1, 7])
def test_runs_of_bfloat16(shape: tuple[int, int], schedule: int) -> None:
    runtime = HostRuntime(np.float32, bf16=True, schedule=schedule)
    rng = np.random.default_rng(0)
    arrays = [narrowed(rng.standard_normal(shape)) for _ in range(3)]
    dz, db = backward(runtime, "dense_backward_runs", arrays, abi.RELU, shift=0)
    other, sums = backward(runtime, "dense_backward_runs", arrays, abi.RELU, shift=3)
    np.testing.assert_array_equal(other, dz)
    np.testing.assert_array_equal(sums, db)
    dy, y, _ = (widened(array) for array in arrays)
    expected = np.where(y > 0, dy, 0)
    np.testing.assert_array_equal(widened(dz), expected)
    scale = float(np.abs(expected).max()) * shape[0]
    assert_close(db, expected.astype(np.float64).sum(axis=0), terms=shape[0], scale=scale)


def heads(
    runtime: Any, kernel: str, z: Array, softmax: int, gradient: bool, *given: Any
) -> list[Array]:
    """Return gradient, losses, scores and outputs."""
    shape, dtype = z.shape, z.dtype
    labels, target, weight, smoothing = given
    total = None if weight is None else np.array([weight.sum(dtype=np.float64)])
    targets = 0 if target is None else shape[1]
    y = blank(shape, dtype) if softmax else stable_softmax(z).astype(dtype)
    d = blank(shape, dtype) if gradient else None
    arguments = d, blank(len(z), dtype), blank(len(z), dtype), y, z, labels, target, weight, total
    scalars = np.array([smoothing]), abi.CROSS_ENTROPY, softmax, *shape, targets
    found = run(runtime, kernel, shape, *arguments, *scalars)
    return found[:4] if gradient else [found[0], found[1], found[2]]


def stable_softmax(z: Array) -> Array:
    with np.errstate(all="ignore"):
        power = np.exp(z.astype(np.float64) - z.max(axis=1, keepdims=True))
        return np.asarray(power / power.sum(axis=1, keepdims=True))


@each_dtype
@each_place
@pytest.mark.parametrize("outputs", [512, 701])
@pytest.mark.parametrize("softmax", [0, 1])
@pytest.mark.parametrize("labelled", [True, False], ids=["labels", "targets"])
def test_a_wide_row_s_loss_is_that_of_numpy(
    place: str, dtype: Any, outputs: int, softmax: int, labelled: bool
) -> None:
    runtime, rng = open_runtime(place, dtype), np.random.default_rng(0)
    z = (rng.standard_normal((3, outputs)) * 4).astype(dtype)
    z[1, 5] = z[1, 300] = z[1].max() + 1  # equals: the first one is the answer
    labels = np.array([0, 5, outputs - 1]) if labelled else None
    target = None if labelled else stable_softmax(rng.standard_normal(z.shape)).astype(dtype)
    weight = np.array([0.5, 2.0, 1.0]).astype(dtype)
    given = labels, target, weight, 0.125
    d, loss, score, y = heads(runtime, "loss_head_wide", z, softmax, True, *given)
    exact = z.astype(np.float64)
    expected = expected_head(CrossEntropy(0.125), stable_softmax(z), exact, labels, target, weight)
    assert_close(y, stable_softmax(z), terms=outputs)
    assert_close(d, expected[0], terms=outputs, scale=2.0)
    assert_close(loss, expected[1], terms=outputs)
    np.testing.assert_array_equal(score, expected[2].astype(dtype))
    narrow = heads(runtime, "loss_head", z, softmax, True, *given)
    for got, usual in zip((d, loss, score, y), narrow, strict=True):
        assert_close(got, usual.astype(np.float64), terms=outputs, scale=2.0)
    for got, again in zip(heads(runtime, "loss_head_wide", z, softmax, False, *given),
                          (loss, score, y), strict=True):  # fmt: skip
        np.testing.assert_array_equal(got, again)


@each_place
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_wide_row_that_is_not_finite_is_as_a_narrow_one(place: str, value: float) -> None:
    runtime = open_runtime(place, np.float32)
    z = np.linspace(-3, 3, 2 * 600).reshape(2, 600).astype(np.float32)
    z[0, 555] = value
    given = np.array([3, 599]), None, None, 0.0
    wide, narrow = (
        heads(runtime, kernel, z, 1, True, *given) for kernel in ("loss_head_wide", "loss_head")
    )
    for got, usual in zip(wide, narrow, strict=True):
        np.testing.assert_array_equal(np.isnan(got), np.isnan(usual))
        finite = np.isfinite(usual)
        np.testing.assert_array_equal(got[~finite], usual[~finite])
        assert_close(got[finite], usual[finite].astype(np.float64), terms=600, scale=4.0)


@emulated
@pytest.mark.parametrize("bf16", [False, True], ids=["float32", "bf16"])
def test_an_engine_takes_the_wide_kernels_where_they_belong(bf16: bool) -> None:
    for outputs, wide in ((511, False), (512, True), (loader.WIDE[1] + 1, False)):
        runtime = HostRuntime(np.float32, bf16=bf16, schedule=7)
        network = (Dense(6, "relu"), Dense(5, "relu"), Dense(outputs, "softmax")), CrossEntropy()
        options: dict[str, Any] = {"count": 6, "batch_size": 4, "weighted": False}
        got, expected = Training(runtime, network, np.float32, **options), None
        sums = got.epoch()
        assert ("loss_head_wide" in runtime.launches) == wide
        assert ("dense_backward_runs" in runtime.launches) == bf16
        assert "dense_backward_epilogue" not in runtime.launches
        if bf16:
            assert np.isfinite(sums.loss) and sums.steps == 2
            continue
        expected = Training(None, network, np.float32, **options)
        assert_close(np.float32(sums.loss), expected.epoch().loss, terms=outputs)
        for a, b in zip(got.results(), expected.results(), strict=True):
            assert_close(a, b, terms=outputs)
