"""How a product is chosen and checked, on a library that refuses, fails and errs on demand."""

from __future__ import annotations

import math
import shutil
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastnet.backends.epochs import TrainConfig
from fastnet.backends.gpu import captures, cupy_runtime, fusion, products
from fastnet.backends.gpu.cublaslt import (
    ALIGNMENT,
    COMPUTE_TYPE,
    OUTPUT_TYPE,
    CublasError,
    LtEpilogue,
    Preference,
    Problem,
    Status,
)
from fastnet.backends.gpu.cupy_runtime import CudaRuntime
from fastnet.backends.gpu.engine import GpuEngine
from fastnet.backends.gpu.runtime import BF16, Epilogue, mask_bytes
from fastnet.backends.numpy_backend import NumpyEngine
from fastnet.errors import FastNetWarning, OutOfMemoryError
from fastnet.nn.batch import Batch
from fastnet.nn.losses import MSE, CrossEntropy
from fastnet.nn.optimizers import Adam
from fastnet.nn.plan import Plan
from tests.closeness import assert_close
from tests.cuda.fake_cublaslt import Quirk
from tests.cuda.fake_cupy import FakeCupy
from tests.cuda.host_module import WHY_NOT
from tests.cuda.host_runtime import HostRuntime, narrowed, widened
from tests.cuda.installed import forget, install
from tests.networks import dense_plan, random_parameters, random_rows

Array = Any
pytestmark = pytest.mark.skipif(WHY_NOT is not None, reason=str(WHY_NOT))
FUSED = tuple(e for e in LtEpilogue if e is not LtEpilogue.DEFAULT)


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("FASTNET_CACHE_DIR", str(tmp_path))
    return tmp_path


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Iterator[Callable[..., FakeCupy]]:
    """Return a function that puts a fake CuPy in place, as a new process would find it.

    With ``knows=True`` it finds on disk what earlier ones kept.
    """

    def fresh(*, knows: bool = False, **library: Any) -> FakeCupy:
        if not knows:
            shutil.rmtree(folder / "products", ignore_errors=True)
        return install(monkeypatch, **library)

    yield fresh
    forget()


def known() -> products.Products:
    """Return what this process knows of products."""
    return cupy_runtime._products(0)


class Both:
    """A network on NumPy and on the fake, with the same parameters and rows."""

    def __init__(self, plan: Plan, rows: Batch, loss: Any, *, zero_biases: bool = False) -> None:
        # Masks are for float32.
        kinds = (None if a is None else a.astype(np.float32) for a in (rows.x, rows.target))
        x, target = kinds
        self.plan, self.loss, self.rows = plan, loss, Batch(x, rows.labels, target)
        parameters = random_parameters(plan).astype(np.float32)
        if zero_biases:
            parameters[plan.n_weights :] = 0
        runtime = CudaRuntime(np.float32)
        self.back = runtime.to_host
        put = runtime.to_device
        self.there = Batch(*(None if a is None else put(a) for a in self.rows.fields))
        self.gpu = GpuEngine(plan, put(parameters), put(np.zeros(0, np.float32)), runtime)
        self.cpu = NumpyEngine(plan, parameters.copy(), np.zeros(0, np.float32))

    def gradients(self) -> tuple[Array, Array]:
        """Return the gradient on the fake, and on NumPy."""
        self.gpu.gradient(self.there, self.loss, training=True)
        self.cpu.gradient(self.rows, self.loss, training=True)
        return self.back(self.gpu.gradients), self.cpu.gradients.copy()

    def trained(self, epochs: int = 3, batch_size: int = 8) -> tuple[Array, Array]:
        """Return the parameters after some epochs, of which the later ones are recorded."""
        config = TrainConfig(self.loss, Adam(0.01), batch_size, seed=3, shuffle=True)
        steps = config.steps(len(self.rows))
        moments = np.zeros((2, self.plan.size), np.float32)
        there = self.gpu.runtime.to_device(moments)
        for epoch in range(epochs):
            first = steps * epoch
            table = config.optimizer.step_coefficients(1 + first, np.full(steps, 0.01))
            place: dict[str, Any] = {"epoch": epoch, "step": first}
            self.gpu.train_epoch(self.there, config, there, table, **place)
            self.cpu.train_epoch(self.rows, config, moments, table, **place)
        return self.back(self.gpu.parameters), self.cpu.parameters.copy()


def regression(count: int = 17, *, zero_rows: int = 0) -> Both:
    """Return a ReLU network with one output, whose last batch of 8 has one row."""
    plan = dense_plan(6, (20, "relu"), (9, "relu"), (1, "identity"))
    rows = random_rows(plan, MSE(), count)
    rows.x[:zero_rows] = 0
    return Both(plan, rows, MSE(), zero_biases=bool(zero_rows))


def classifier(count: int = 43) -> Both:
    plan = dense_plan(13, (32, "relu"), (9, "relu"), (3, "softmax"))
    return Both(plan, random_rows(plan, CrossEntropy(), count, labels=True), CrossEntropy())


# --- what an epilogue gets wrong ------------------------------------------------------------------


def trust_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take every epilogue that the library has, unchecked: the controls do."""
    monkeypatch.setattr(fusion._Trial, "agrees", lambda self: True)
    monkeypatch.setattr(Problem, "is_supported", True)


def differ(pair: tuple[Array, Array]) -> bool:
    try:
        assert_close(*pair, terms=2000)
    except AssertionError:
        return True
    return False


def test_epilogues_are_never_asked_for_where_the_library_has_none(
    fake: Callable[..., FakeCupy],
) -> None:
    for make in (regression, lambda: classifier(17)):  # One output, and a last batch of one row.
        cupy = fake(quirks=(Quirk.UNMASKED, Quirk.NO_SUMS))
        assert_close(*make().trained(), terms=2000)
        shapes = {kind: {s for e, s in cupy.library.epilogues if e is kind} for kind in LtEpilogue}
        assert shapes[LtEpilogue.DRELU_BGRAD]
        assert all(k > 1 for _, _, k in shapes[LtEpilogue.DRELU_BGRAD])
        assert bool(shapes[LtEpilogue.BGRADA]) == (make is not regression)
        assert all(m > 1 and k > 1 for m, _, k in shapes[LtEpilogue.BGRADA])


@pytest.mark.parametrize(
    ("quirks", "make"),
    [
        ((Quirk.UNMASKED,), regression),
        ((Quirk.NO_SUMS,), regression),
        ((Quirk.ZERO_IS_POSITIVE,), lambda: regression(zero_rows=9)),
    ],
    ids=["unmasked", "no-sums", "zero"],
)
def test_an_epilogue_that_computes_something_else_is_not_used(
    fake: Callable[..., FakeCupy],
    monkeypatch: pytest.MonkeyPatch,
    quirks: tuple[Quirk, ...],
    make: Callable[[], Both],
) -> None:
    fake(quirks=quirks)
    monkeypatch.setattr(Problem, "is_supported", True)  # The comparison alone finds it.
    assert_close(*make().gradients(), terms=2000)
    assert -math.inf in known()._gains.values()
    trust_everything(monkeypatch)
    fake(quirks=quirks)
    assert differ(make().gradients())


def test_a_relu_that_loses_nan_is_not_used(
    fake: Callable[..., FakeCupy], monkeypatch: pytest.MonkeyPatch
) -> None:
    x = np.ones((5, 6), np.float32)
    x[3, 2] = np.nan
    finite = []
    for trusting in (False, True):
        fake(quirks=(Quirk.NAN_BECOMES_0,))
        if trusting:
            trust_everything(monkeypatch)
        both = regression()
        out = both.back(both.gpu.predict(both.gpu.runtime.to_device(x)))
        finite.append(np.isfinite(out[:, 0]).tolist())
    assert finite == [[True, True, True, False, True], [True] * 5]


SHAPES = [(1, 1, 1), (1, 7, 5), (6, 1, 5), (33, 150, 2), (5, 3, 1000)]
"""(rows, columns, inner)."""


def operands(runtime: Any, epilogue: Epilogue, sizes: tuple[int, int, int]) -> fusion.Operands:
    """Return arrays of a product as the step has them, two elements into their memory."""
    rows, columns, inner = sizes
    numbers = np.float32 if runtime.cells == BF16 else runtime.cells

    def array(shape: tuple[int, ...], dtype: Any = runtime.cells) -> Array:
        size = math.prod(shape)
        return runtime.empty((size + 2,), dtype)[2:].reshape(shape)

    sums = epilogue is Epilogue.COLUMN_SUMS
    backward = epilogue is Epilogue.RELU_BACKWARD
    a = array((inner, rows) if sums else (rows, inner))
    b = array((columns, inner) if backward else (inner, columns))
    kind = numbers if sums else runtime.cells
    masked = backward or epilogue is Epilogue.RELU_MASK
    mask = runtime.empty((rows, mask_bytes(columns)), np.uint8) if masked else None
    vector = array((columns,), kind)
    return fusion.Operands(array((rows, columns), kind), a, b, sums, backward, vector, mask)


def gain(runtime: Any, epilogue: Epilogue, given: fusion.Operands) -> float:
    extra = {"transpose_a": given.transpose_a, "transpose_b": given.transpose_b}
    extra |= {"vector": given.vector, "mask": given.mask}
    saved: float = runtime.gain(epilogue, given.out, given.a, given.b, **extra)
    return saved


EPILOGUES = [e for e in Epilogue if e is not Epilogue.NONE]
PLACES = [("float32", np.float32), ("float32", np.float64), ("bf16", np.float32)]


@pytest.mark.parametrize(("precision", "dtype"), PLACES, ids=["f32", "f64", "bf16"])
@pytest.mark.parametrize("epilogue", EPILOGUES, ids=lambda e: e.name)
def test_an_epilogue_that_is_right_is_found_right_at_every_shape(
    fake: Callable[..., FakeCupy], precision: str, dtype: Any, epilogue: Epilogue
) -> None:
    fake()
    runtime = CudaRuntime(dtype, precision=precision)
    if precision == "bf16" and epilogue is Epilogue.RELU_BACKWARD:
        return  # Its sums would be bfloat16, so it is never asked for.
    for sizes in SHAPES:
        given = operands(runtime, epilogue, sizes)
        saved = fusion.saving(runtime, epilogue, given, lambda work: 2.0)
        assert saved == 0.0, sizes


WRONG: dict[str, Callable[[Epilogue, Array, Array, Array], None]] = {
    "a wrong element": lambda e, out, vector, mask: out.__setitem__((-1, -1), out[-1, -1] + 1),
    "an element that is lost": lambda e, out, vector, mask: out.__setitem__((0, 0), np.nan),
    "a wrong sum": lambda e, out, vector, mask: vector.__setitem__(-1, vector[-1] + 1),
    "a wrong bit": lambda e, out, vector, mask: mask.__setitem__((0, 0), mask[0, 0] ^ 1),
}


@pytest.mark.parametrize("epilogue", EPILOGUES, ids=lambda e: e.name)
@pytest.mark.parametrize("wrong", WRONG)
def test_one_element_that_is_wrong_is_noticed(epilogue: Epilogue, wrong: str) -> None:
    """The runtime of the engine's tests computes what the epilogues say, until it is spoilt."""
    backward = epilogue in (Epilogue.RELU_BACKWARD, Epilogue.COLUMN_SUMS)
    if (wrong == "a wrong sum" and not backward) or (
        wrong == "a wrong bit" and epilogue is not Epilogue.RELU_MASK
    ):
        return  # It writes none.
    for spoilt in (False, True):
        runtime = HostRuntime(np.float64)
        right = runtime.gemm

        def gemm(out: Array, *arrays: Array, **options: Any) -> None:
            right(out, *arrays, **options)  # noqa: B023
            if spoilt and options.get("epilogue", Epilogue.NONE) is not Epilogue.NONE:  # noqa: B023
                WRONG[wrong](epilogue, out, options["vector"], options["mask"])

        runtime.gemm = gemm  # type: ignore[method-assign]
        given = operands(runtime, epilogue, (4, 5, 6))
        saved = fusion.saving(runtime, epilogue, given, lambda work: 2.0)
        assert saved == (-math.inf if spoilt else 0.0)


@pytest.mark.parametrize("words", [np.uint16, np.uint32, np.uint64])
def test_numbers_are_compared_and_not_their_bits(words: Any) -> None:
    """Both zeros are 0, and NaN of any kind is NaN."""
    bits = np.dtype(words).itemsize * 8
    exponent = {16: 8, 32: 8, 64: 11}[bits]
    nan = ((1 << exponent) - 1) << (bits - 1 - exponent)  # infinity, until a lower bit is set
    values = [0, 1 << (bits - 1), nan | 1, nan | 2, nan, 5]
    arrays = [np.array([v], words) for v in values]
    numbers = arrays if bits == 16 else [a.view(f"f{bits // 8}") for a in arrays]
    same = [[fusion._same(a, b) for a in numbers] for b in numbers]
    kinds = "00NNI5"
    assert same == [[a == b for a in kinds] for b in kinds]


def test_a_trial_leaves_the_arrays_alone(fake: Callable[..., FakeCupy]) -> None:
    fake()
    runtime = CudaRuntime(np.float64)
    for epilogue in EPILOGUES:
        given = operands(runtime, epilogue, (4, 5, 6))
        arrays = [given.out, given.a, given.b, given.vector]
        for array in arrays:
            array.fill(7)
        assert gain(runtime, epilogue, given) > -math.inf
        assert all((runtime.to_host(array) == 7).all() for array in arrays)


# --- what an epilogue costs -----------------------------------------------------------------------


def test_an_epilogue_that_is_slower_than_a_launch_is_not_used(
    fake: Callable[..., FakeCupy],
) -> None:
    for slower in (False, True):
        cupy = fake()
        cupy.library.epilogue_milliseconds = 100.0 if slower else 0.0
        both = classifier()
        assert_close(*both.trained(), terms=2000)
        both.gpu.predict(both.there.x), both.gradients()
        gains = [*known()._gains.values()]
        assert gains and all((g < 0) == slower for g in gains)
        used: list[LtEpilogue] = []
        cupy.library.outcome = lambda kind, _, used=used: used.append(kind) or Status.SUCCESS
        both.gpu.predict(both.there.x)
        both.gradients()
        assert (set(used) == {LtEpilogue.DEFAULT}) == slower


@pytest.mark.parametrize(
    ("gains", "masked"),
    [
        ({}, True),
        ({Epilogue.RELU_BACKWARD: -0.5}, False),  # 1 - 0.5 is less than what RELU alone saves.
        ({Epilogue.RELU_BACKWARD: -0.5, Epilogue.RELU: 0.25}, True),
        ({Epilogue.RELU_MASK: -3.0, Epilogue.RELU: -3.0}, False),
        ({Epilogue.RELU_MASK: -0.5, Epilogue.RELU: -3.0}, True),
        ({Epilogue.RELU_BACKWARD: -math.inf}, False),
        ({Epilogue.RELU_MASK: -math.inf}, False),
    ],
)
def test_a_mask_is_written_where_both_products_together_gain(
    gains: dict[Epilogue, float], masked: bool
) -> None:
    plan = dense_plan(4, (9, "relu"), (3, "softmax"))
    runtime = HostRuntime(np.float32)
    runtime.gains = gains
    parameters, state = random_parameters(plan).astype(np.float32), np.zeros(0, np.float32)
    put = runtime.to_device
    engine = GpuEngine(plan, put(parameters), put(state), runtime)
    drawn = random_rows(plan, CrossEntropy(), 7, labels=True)
    rows = Batch(drawn.x.astype(np.float32), drawn.labels)
    there = Batch(put(rows.x), put(rows.labels))
    engine.gradient(there, CrossEntropy(), training=True)
    assert engine.memory.layers[0].masked == masked
    expected = NumpyEngine(plan, parameters.copy(), state)
    expected.gradient(rows, CrossEntropy(), training=True)
    assert_close(runtime.to_host(engine.gradients), expected.gradients, terms=50)


# --- products without an algorithm ----------------------------------------------------------------

TRANSPOSES = [(a, b) for a in (False, True) for b in (False, True)]


def random_product(
    runtime: Any, transposes: tuple[bool, bool], out: Any = None, seed: int = 0
) -> tuple[Array, Array]:
    """Return a random product of 5 x 19 by 19 x 33 on the fake, and the same in float64."""
    rng = np.random.default_rng(seed)
    shapes = ((19, 5) if transposes[0] else (5, 19)), ((33, 19) if transposes[1] else (19, 33))
    bf16 = runtime.cells == BF16
    kind = np.float32 if bf16 else runtime.cells
    values = [rng.standard_normal(shape).astype(kind) for shape in shapes]
    there = [narrowed(v) for v in values] if bf16 else values
    exact = [(widened(v) if bf16 else v).astype(np.float64) for v in there]
    into = runtime.empty((5, 33), out or kind)
    a, b = (runtime.to_device(v) for v in there)
    runtime.gemm(into, a, b, transpose_a=transposes[0], transpose_b=transposes[1])
    left, right = (e.T if t else e for e, t in zip(exact, transposes, strict=True))
    return runtime.to_host(into), left @ right


def none_at_all(*_: object) -> Status:
    return Status.NOT_SUPPORTED


@pytest.mark.parametrize("transposes", TRANSPOSES, ids=str)
@pytest.mark.parametrize(("precision", "dtype"), PLACES, ids=["f32", "f64", "bf16"])
def test_a_product_without_an_algorithm_is_done_by_a_kernel(
    fake: Callable[..., FakeCupy], precision: str, dtype: Any, transposes: tuple[bool, bool]
) -> None:
    cupy = fake()
    cupy.library.answer = none_at_all
    runtime = CudaRuntime(dtype, precision=precision)
    got, expected = random_product(runtime, transposes, out=dtype)
    assert_close(got, expected, terms=19)
    if precision == "bf16":
        cells, _ = random_product(runtime, transposes, out=np.uint16)
        np.testing.assert_array_equal(cells, narrowed(got))
    assert not cupy.library.runs
    # Once with all that it may use, and once without a workspace.
    asked = [wishes[Preference.MAX_WORKSPACE_BYTES] for wishes in cupy.library.asked]
    assert asked[:2] == [products.WORKSPACE_BYTES, 0]


def test_an_algorithm_that_needs_no_workspace_is_found(fake: Callable[..., FakeCupy]) -> None:
    cupy = fake()
    cupy.library.answer = lambda kind, shape, room: Status.NOT_SUPPORTED if room else Status.SUCCESS
    got, expected = random_product(CudaRuntime(np.float64), (False, False))
    assert_close(got, expected, terms=19)
    assert cupy.library.runs


def test_a_network_without_any_algorithm_trains_the_same_and_is_recorded(
    fake: Callable[..., FakeCupy],
) -> None:
    cupy = fake()
    cupy.library.answer = none_at_all
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # Not even one that says that nothing can be recorded.
        assert_close(*classifier().trained(), terms=2000)
    assert not cupy.library.runs


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_shapes_that_the_library_calls_invalid_are_done_by_a_kernel_that_is_named(
    fake: Callable[..., FakeCupy], dtype: Any
) -> None:
    cupy = fake()
    cupy.library.answer = lambda *_: Status.INVALID_VALUE
    runtime = CudaRuntime(dtype)
    with pytest.warns(FastNetWarning, match=r"5 x 19 by 19 x 33 .*INVALID_VALUE.* own kernel"):
        got, expected = random_product(runtime, (False, False))
    assert_close(got, expected, terms=19)
    assert_close(*random_product(runtime, (False, False), seed=1), terms=19)  # It warns once.


def test_a_product_none_of_whose_algorithms_runs_is_done_by_a_kernel_that_is_named(
    fake: Callable[..., FakeCupy],
) -> None:
    cupy = fake()
    cupy.library.outcome = none_at_all
    with pytest.warns(FastNetWarning, match="none of its algorithms runs"):
        got, expected = random_product(CudaRuntime(np.float64), (True, False))
    assert_close(got, expected, terms=19)


def test_an_algorithm_that_does_not_run_is_left_out(fake: Callable[..., FakeCupy]) -> None:
    cupy = fake()
    cupy.library.outcome = lambda kind, number: (
        Status.SUCCESS if number == 3 else Status.INVALID_VALUE
    )
    runtime = CudaRuntime(np.float64)
    assert_close(*random_product(runtime, (False, False)), terms=19)
    cupy.library.runs.clear()
    assert_close(*random_product(runtime, (False, False), seed=1), terms=19)
    assert cupy.library.runs == {3: 1}


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (Status.ALLOC_FAILED, OutOfMemoryError),
        (Status.INTERNAL_ERROR, CublasError),
        (Status.EXECUTION_FAILED, CublasError),
        (Status.NOT_INITIALIZED, CublasError),
    ],
)
def test_a_failure_is_an_error_and_not_the_absence_of_an_algorithm(
    fake: Callable[..., FakeCupy], status: Status, error: type[Exception]
) -> None:
    cupy = fake()
    cupy.library.answer = lambda *_: status
    runtime = CudaRuntime(np.float64)
    for epilogue in (Epilogue.BIAS, Epilogue.COLUMN_SUMS):
        assert gain(runtime, epilogue, operands(runtime, epilogue, (4, 5, 6))) == -math.inf
    with pytest.raises(error, match=status.name):
        random_product(runtime, (False, False))
    # It is not kept: neither here, nor on disk.
    cupy.library.answer = lambda *_: Status.SUCCESS
    assert_close(*random_product(runtime, (False, False)), terms=19)
    assert cupy.library.runs
    cupy = fake(knows=True)
    runtime = CudaRuntime(np.float64)
    for epilogue in (Epilogue.BIAS, Epilogue.COLUMN_SUMS):
        assert gain(runtime, epilogue, operands(runtime, epilogue, (4, 5, 6))) > 0


def test_an_epilogue_that_does_not_run_is_not_used(fake: Callable[..., FakeCupy]) -> None:
    cupy = fake()
    cupy.library.outcome = lambda kind, number: (
        Status.SUCCESS if kind is LtEpilogue.DEFAULT else Status.NOT_SUPPORTED
    )
    assert_close(*classifier().trained(), terms=2000)
    assert set(known()._gains.values()) == {-math.inf}


def test_memory_that_is_short_for_a_trial_is_short_for_this_process_only(
    fake: Callable[..., FakeCupy],
) -> None:
    cupy = fake()
    runtime = CudaRuntime(np.float64)
    given = operands(runtime, Epilogue.BIAS, (4, 5, 6))
    cupy.runtime.free, free = 50, cupy.runtime.free
    assert gain(runtime, Epilogue.BIAS, given) == -math.inf
    cupy.runtime.free = free
    assert gain(runtime, Epilogue.BIAS, given) == -math.inf  # As in a recording that follows.
    fake(knows=True)
    assert gain(CudaRuntime(np.float64), Epilogue.BIAS, given) > 0


# --- what is measured, and kept -------------------------------------------------------------------


def test_small_products_are_timed_in_a_recording_of_many(fake: Callable[..., FakeCupy]) -> None:
    cupy = fake()
    cupy.launch_milliseconds = 0.001
    cupy.library.milliseconds = {1: 0.004, 2: 0.003, 3: 0.005}
    runtime = CudaRuntime(np.float64)
    random_product(runtime, (False, False))
    # To load it, to see how slow it is, and for the recording.
    each = 2 + captures.RUNS
    assert cupy.library.runs == {1: each, 2: each + 1, 3: each}


def test_an_algorithm_that_takes_twice_as_long_is_run_no_further(
    fake: Callable[..., FakeCupy],
) -> None:
    cupy = fake()
    cupy.library.milliseconds = {1: 5.0, 2: 50.0, 3: 4.0}
    random_product(CudaRuntime(np.float64), (False, False))
    assert cupy.library.runs == {1: 3, 2: 2, 3: 4}


def test_short_runs_are_timed_however_long_the_first_one_took(
    fake: Callable[..., FakeCupy],
) -> None:
    cupy = fake()
    cupy.launch_milliseconds = 0.001
    cupy.library.milliseconds = {1: 0.001, 2: 0.09, 3: 0.2}
    random_product(CudaRuntime(np.float64), (False, False))
    assert cupy.library.runs[2] == 2 + captures.RUNS and cupy.library.runs[3] == 2


def test_what_cannot_be_recorded_is_timed_run_by_run(
    fake: Callable[..., FakeCupy], monkeypatch: pytest.MonkeyPatch
) -> None:
    cupy = fake()
    cupy.library.milliseconds = {1: 5.0, 2: 1.0, 3: 4.0}

    def refuse(cuda: Any, work: Any) -> None:
        raise RuntimeError("cudaErrorStreamCaptureUnsupported")

    monkeypatch.setattr(captures, "capture", refuse)
    runtime = CudaRuntime(np.float64)
    random_product(runtime, (False, False))
    cupy.library.runs.clear()
    random_product(runtime, (False, False))
    assert cupy.library.runs == {2: 1}


def test_a_new_process_measures_nothing_and_has_the_same_bits(
    fake: Callable[..., FakeCupy], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever order the library lists its algorithms in: their sums differ, so bits would tell."""
    plan = dense_plan(13, (32, "relu"), (9, "tanh"), (9, "relu"), (3, "softmax"))

    def network() -> Both:
        return Both(plan, random_rows(plan, CrossEntropy(), 43, labels=True), CrossEntropy())

    cupy = fake()
    cupy.library.milliseconds = {1: 9.0, 2: 5.0, 3: 2.0}
    bits, expected = network().trained()
    assert_close(bits, expected, terms=2000)

    def measure(*_: Any) -> float:
        raise AssertionError("measured again")

    for numbers in ([1, 2, 3], [3, 2, 1], [2, 4, 3]):
        cupy = fake(knows=True)
        cupy.library.numbers = numbers
        with monkeypatch.context() as patch:
            patch.setattr(fusion, "saving", measure)
            patch.setattr(products, "seconds", measure)
            again, _ = network().trained()
        np.testing.assert_array_equal(again, bits)
        assert set(cupy.library.runs) == {3}
    # The control: another algorithm has other bits.
    cupy = fake()
    cupy.library.milliseconds = {1: 1.0, 2: 5.0, 3: 2.0}
    other, _ = network().trained()
    assert (other != bits).any()


def test_an_algorithm_that_is_gone_takes_its_verdict_along(fake: Callable[..., FakeCupy]) -> None:
    fake(quirks=(Quirk.NAN_BECOMES_0,))
    runtime = CudaRuntime(np.float64)
    assert gain(runtime, Epilogue.RELU, operands(runtime, Epilogue.RELU, (4, 5, 6))) == -math.inf
    for numbers, found in (([2, 1], -math.inf), ([2, 3], 1e-3)):
        cupy = fake(knows=True)
        cupy.library.numbers = numbers
        runtime = CudaRuntime(np.float64)
        saved = gain(runtime, Epilogue.RELU, operands(runtime, Epilogue.RELU, (4, 5, 6)))
        assert saved == pytest.approx(found)


# --- what is asked for ----------------------------------------------------------------------------


@pytest.mark.parametrize("columns", [3, 4, 13, 16])
@pytest.mark.parametrize("batch", [1, 10, 32])
def test_a_batch_is_the_same_problem_wherever_it_lies_in_its_window(
    fake: Callable[..., FakeCupy], batch: int, columns: int
) -> None:
    cupy = fake()
    runtime = CudaRuntime(np.float32)
    window = runtime.empty((batch * 20, columns), np.float32)
    w, y = runtime.empty((columns, 8), np.float32), runtime.empty((batch, 8), np.float32)
    for start in range(0, len(window), batch):
        runtime.gemm(y, window[start : start + batch], w)
    assert len(known()._found) == cupy.library.heuristics == 1
    (problem,) = known()._found
    assert problem.align_b == math.gcd(columns * 4, ALIGNMENT)


def test_no_more_is_claimed_of_an_address_than_holds(
    fake: Callable[..., FakeCupy], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights lie one after the other, so the second layer's may begin anywhere."""
    plan = dense_plan(13, (31, "relu"), (32, "relu"), (3, "softmax"))

    def train() -> None:
        fake()
        rows = random_rows(plan, CrossEntropy(), 43, labels=True)
        Both(plan, rows, CrossEntropy()).trained(batch_size=10)

    train()
    assert min(problem.align_a for problem in known()._found) == 4
    # The control: rows alone do not say it.
    monkeypatch.setattr(
        cupy_runtime,
        "_alignment",
        lambda v: 16 if v is None or v.ndim == 1 else math.gcd(v.shape[1] * v.itemsize, 16),
    )
    with pytest.raises(AssertionError, match="not aligned to 16 bytes"):
        train()


@pytest.mark.parametrize("out", [np.float32, np.uint16])
def test_parts_of_sums_have_the_precision_of_sums(fake: Callable[..., FakeCupy], out: Any) -> None:
    cupy = fake()
    random_product(CudaRuntime(np.float32, precision="bf16"), (False, False), out=out)
    (asked,) = cupy.library.asked
    allowed = COMPUTE_TYPE if out is np.uint16 else COMPUTE_TYPE | OUTPUT_TYPE
    assert asked[Preference.REDUCTION_SCHEME_MASK] == allowed


def test_the_library_says_which_cuda_it_is_of(
    fake: Callable[..., FakeCupy], monkeypatch: pytest.MonkeyPatch
) -> None:
    cupy = fake()
    for version, major in ((130100, 13), (120804, 12)):
        cupy.library.version = version
        assert cupy_runtime.library_major() == major
