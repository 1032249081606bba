"""Products of a GPU against NumPy, at the shapes at which libraries err; on the fake too."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastnet.backends.epochs import TrainConfig
from fastnet.backends.gpu import cupy_runtime
from fastnet.backends.gpu.backend import CupyBackend
from fastnet.backends.gpu.cublaslt import ALIGNMENT
from fastnet.backends.gpu.cupy_runtime import CudaRuntime
from fastnet.backends.gpu.engine import GpuEngine
from fastnet.backends.numpy_backend import NumpyEngine
from fastnet.nn.batch import Batch
from fastnet.nn.losses import MSE, CrossEntropy, Loss
from fastnet.nn.optimizers import Adam
from fastnet.nn.plan import Plan
from tests.checkout import ROOT
from tests.closeness import assert_close
from tests.cuda.host_module import WHY_NOT
from tests.cuda.host_runtime import narrowed, widened
from tests.cuda.installed import forget, install
from tests.networks import dense_plan, random_parameters, random_rows

Array = Any


@pytest.fixture(params=["fake", pytest.param("gpu", marks=pytest.mark.gpu)])
def runtime(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Callable[..., CudaRuntime]]:
    """Return a function that makes runtimes, as in a process that finds nothing on disk."""
    monkeypatch.setenv("FASTNET_CACHE_DIR", str(tmp_path))
    why_not = WHY_NOT if request.param == "fake" else CupyBackend().why_unavailable()
    if why_not:
        pytest.skip(why_not)
    if request.param == "fake":
        # Algorithms, and so bits, that depend on all that the library is told.
        install(monkeypatch).library.by_alignment = True
    forget()

    def make(dtype: Any, **options: Any) -> CudaRuntime:
        made = CudaRuntime(dtype, **options)
        made.shared_bytes = 0  # Even tiny networks train product by product.
        return made

    yield make
    forget()


@pytest.mark.parametrize(
    ("dtype", "precision"),
    [("float32", "float32"), ("float64", "float32"), ("float32", "tf32"), ("float32", "bf16")],
)
def test_products_of_whole_numbers_are_exact_at_every_shape(
    runtime: Callable[..., CudaRuntime], dtype: str, precision: str
) -> None:
    gpu, rng = runtime(dtype, precision=precision), np.random.default_rng(0)
    bf16 = precision == "bf16"
    sizes = [(m, n, k) for m in (1, 2, 33) for n in (1, 7, 64) for k in (1, 2, 40)]
    for rows, columns, inner in sizes:
        for flips in ((False, False), (True, False), (False, True)):
            a = rng.integers(-1, 2, (rows, inner)).astype(dtype)
            b = rng.integers(-1, 2, (inner, columns)).astype(dtype)
            pairs = zip((a, b), flips, strict=True)
            there = [np.ascontiguousarray(m.T if flipped else m) for m, flipped in pairs]
            factors = [gpu.to_device(narrowed(m) if bf16 else m) for m in there]
            out = gpu.empty((rows, columns), np.uint16 if bf16 else dtype)
            gpu.gemm(out, *factors, transpose_a=flips[0], transpose_b=flips[1])
            got = gpu.to_host(out)
            np.testing.assert_array_equal(widened(got) if bf16 else got, a @ b)


class Run:
    """A network on a GPU and on NumPy."""

    def __init__(self, gpu: CudaRuntime, plan: Plan, loss: Loss, rows: Batch) -> None:
        parameters = random_parameters(plan).astype(np.float32)
        parameters[plan.n_weights :] = 0
        self.gpu, self.plan, self.loss = gpu, plan, loss
        fields = (
            a.astype("f4") if a is not None and a.dtype.kind == "f" else a for a in rows.fields
        )
        self.rows = Batch(*fields)
        self.there = Batch(*(None if a is None else gpu.to_device(a) for a in self.rows.fields))
        nothing = np.zeros(0, np.float32)
        arrays = gpu.to_device(parameters), gpu.to_device(nothing)
        self.engines = GpuEngine(plan, *arrays, gpu), NumpyEngine(plan, parameters.copy(), nothing)

    def gradients(self) -> tuple[Array, Array]:
        there, here = self.engines
        there.gradient(self.there, self.loss, training=True)
        here.gradient(self.rows, self.loss, training=True)
        return self.gpu.to_host(there.gradients), here.gradients

    def parameters(self, batch_size: int, *, firsts: tuple[int, ...]) -> Array:
        """Return the parameters after two epochs in spans that begin at these steps."""
        config = TrainConfig(self.loss, Adam(0.01), batch_size, seed=3, shuffle=True)
        steps = config.steps(len(self.rows))
        moments = self.gpu.to_device(np.zeros((2, self.plan.size), np.float32))
        for epoch in range(2):
            for first, stop in zip(firsts, (*firsts[1:], steps), strict=True):
                done = epoch * steps + first
                rates = np.full(stop - first, 0.01)
                table = config.optimizer.step_coefficients(done + 1, rates)
                place = {"epoch": epoch, "step": done, "first": first}
                self.engines[0].train_epoch(self.there, config, moments, table, **place)
        return self.gpu.to_host(self.engines[0].parameters)


@pytest.mark.parametrize("count", [1, 17, 64])
def test_a_relu_network_with_one_output_and_rows_of_zeros_has_numpys_gradients(
    runtime: Callable[..., CudaRuntime], count: int
) -> None:
    """One inner element, one column, one row, and elements of 0 before a ReLU."""
    plan = dense_plan(30, (20, "relu"), (9, "relu"), (1, "identity"))
    rows = random_rows(plan, MSE(), count)
    rows.x[: count // 2] = 0
    run = Run(runtime(np.float32), plan, MSE(), rows)
    assert_close(*run.gradients(), terms=2000)


def bits(runtime: Callable[..., CudaRuntime]) -> list[Array]:
    """Return what three processes train in spans that begin at different steps."""
    plan = dense_plan(13, (32, "relu"), (3, "softmax"))
    rows = random_rows(plan, CrossEntropy(), 730, labels=True)
    found = []
    for firsts in ((0,), (0, 1, 9), (0, 30)):
        run = Run(runtime(np.float32), plan, CrossEntropy(), rows)
        found.append(run.parameters(10, firsts=firsts))
        cupy_runtime._products.cache_clear()  # As in a new process.
    return found


def test_bits_depend_neither_on_where_spans_begin_nor_on_what_a_process_knew(
    runtime: Callable[..., CudaRuntime],
) -> None:
    first, *others = bits(runtime)
    for other in others:
        np.testing.assert_array_equal(other, first)


@pytest.mark.parametrize("runtime", ["fake"], indirect=True)
def test_alignments_of_addresses_would_give_other_bits(
    runtime: Callable[..., CudaRuntime], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control of the test above."""

    def alignment(values: Array) -> int:
        return ALIGNMENT if values is None else math.gcd(int(values.data.ptr), ALIGNMENT)

    monkeypatch.setattr(cupy_runtime, "_alignment", alignment)
    first, *others = bits(runtime)
    assert any((other != first).any() for other in others)


PROCESS = """
import hashlib, sys
import numpy as np, pytest
from fastnet.backends.gpu import products
from fastnet.backends.gpu.cupy_runtime import CudaRuntime
from fastnet.nn.layers import Dense
from fastnet.nn.losses import CrossEntropy
from tests.cuda.installed import install
from tests.cuda.training import Training

if sys.argv[1] == "fake":
    install(pytest.MonkeyPatch()).library.milliseconds = {1: 3.0, 2: 2.0, 3: 1.0}
measured, seconds = [], products.seconds
products.seconds = lambda *given: measured.append(given) or seconds(*given)
runtime = CudaRuntime(np.float32)
runtime.shared_bytes = 0
layers = Dense(20, "relu"), Dense(9, "relu"), Dense(3, "softmax")
training = Training(runtime, (layers, CrossEntropy()), np.float32)
for _ in range(3):
    training.epoch()
bits = hashlib.sha256(b"".join(array.tobytes() for array in training.results()))
print(bool(measured), bits.hexdigest())
"""


@pytest.mark.parametrize("place", ["fake", pytest.param("gpu", marks=pytest.mark.gpu)])
def test_another_process_finds_every_algorithm_again(
    place: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    why_not = WHY_NOT if place == "fake" else CupyBackend().why_unavailable()
    if why_not:
        pytest.skip(why_not)
    monkeypatch.setenv("FASTNET_CACHE_DIR", str(tmp_path))
    said = []
    for _ in range(2):
        command = [sys.executable, "-c", PROCESS, place]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        said.append(done.stdout.split())
    (first, bits), (second, again) = said
    assert (first, second) == ("True", "False")
    assert bits == again
