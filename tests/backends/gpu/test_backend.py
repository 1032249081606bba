"""The CuPy backend without a GPU: why it cannot run, and what it says to CuPy."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from fastnet import Network
from fastnet.backends.epochs import TrainConfig
from fastnet.backends.gpu import backend as gpu_backend
from fastnet.backends.gpu import cupy_runtime, transfers
from fastnet.backends.gpu.backend import CupyBackend
from fastnet.backends.gpu.cublaslt import Compute, LtEpilogue
from fastnet.backends.gpu.cupy_runtime import BLOCK, CudaRuntime
from fastnet.backends.gpu.host_rows import HostRows
from fastnet.backends.gpu.runtime import Epilogue, mask_bytes
from fastnet.backends.numpy_backend import NumpyBackend
from fastnet.errors import BackendUnavailableError, FastNetWarning, InputError
from fastnet.nn.batch import Batch
from fastnet.nn.layers import Dropout
from fastnet.nn.losses import CrossEntropy
from fastnet.nn.optimizers import LBFGS, Adam
from fastnet.populations import lanes
from fastnet.populations.training import fit_many
from tests.closeness import assert_close
from tests.cuda.fake_cupy import FakeCupy, FakeModule, FakeRuntime
from tests.cuda.host_module import WHY_NOT
from tests.cuda.host_runtime import HostRuntime
from tests.cuda.installed import install_backend
from tests.cuda.runtimes import each_dtype
from tests.cuda.strict import CURRENT, DeviceArray
from tests.networks import Bench, dense_plan, random_parameters, random_rows
from tests.on_backends import on_host

emulated = pytest.mark.skipif(WHY_NOT is not None, reason=str(WHY_NOT))


pytestmark = pytest.mark.usefixtures("no_kernels_from_before")


def why(monkeypatch: pytest.MonkeyPatch, **options: Any) -> str | None:
    """Return why a fake CuPy cannot be used."""
    install_backend(monkeypatch, FakeCupy(FakeRuntime(**options)), "cupy-cuda13x")
    return CupyBackend().why_unavailable()


# --- why it cannot run ----------------------------------------------------------------------------


def test_a_gpu_that_can_be_used_is_available(monkeypatch: pytest.MonkeyPatch) -> None:
    assert why(monkeypatch) is None


def test_without_cupy_it_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    install_backend(monkeypatch, None, importable=False)
    reason = CupyBackend().why_unavailable()
    assert reason is not None
    assert "CuPy is not installed: pip install 'fastnet-mlp[cuda13]', or [cuda12]" in reason


def test_a_cupy_of_another_origin_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    install_backend(monkeypatch, FakeCupy())
    assert CupyBackend().why_unavailable() is None


def test_two_builds_of_cupy_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    install_backend(monkeypatch, FakeCupy(), "cupy-cuda12x", "cupy-cuda13x")
    reason = CupyBackend().why_unavailable()
    assert reason is not None
    assert "cupy-cuda12x and cupy-cuda13x are installed together" in reason
    assert "pip uninstall cupy-cuda12x cupy-cuda13x" in reason


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"error": 35, "driver": 0}, "no NVIDIA driver found"),
        (
            {"error": 35, "driver": 12040},
            "driver is for CUDA 12.4, and the installed CuPy needs CUDA 13.2: update the driver, "
            "or pip install 'fastnet-mlp[cuda12]'",
        ),
        ({"error": 35, "driver": 11080}, "needs CUDA 13.2: update the driver."),
        ({"error": 100}, "no GPU to be seen"),
        ({"devices": 0}, "no GPU to be seen"),
        ({"error": 803}, "CUDA does not start (CUDARuntimeError: cudaErrorNumber803"),
    ],
)
def test_a_missing_driver_or_device_is_told_apart(
    monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], words: str
) -> None:
    reason = why(monkeypatch, **options)
    assert reason is not None
    assert words in reason


@pytest.mark.parametrize("library", ["NVRTC", "cuBLAS"])
def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch, library: str) -> None:
    def missing() -> None:
        raise RuntimeError("Failure finding the library\n  in /these/folders")

    cupy = FakeCupy()
    install_backend(monkeypatch, cupy, "cupy-cuda13x")
    if library == "NVRTC":
        cupy.cuda.nvrtc.getVersion = missing
    else:
        monkeypatch.setattr(gpu_backend, "library_path", missing)
    reason = CupyBackend().why_unavailable()
    assert reason is not None
    assert f"not the CUDA library {library}" in reason
    assert "pip install 'fastnet-mlp[cuda13]'" in reason and "/these" not in reason


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ImportError("libnothing.so: cannot open shared object file"), "Reinstall it"),
        (PermissionError(13, "Permission denied"), "CUPY_CACHE_DIR"),
        (ValueError(""), "importing CuPy failed (ValueError)"),
    ],
)
def test_a_cupy_that_cannot_be_imported_is_a_reason(
    monkeypatch: pytest.MonkeyPatch, error: Exception, words: str
) -> None:
    def refuse(name: str) -> None:
        raise error

    install_backend(monkeypatch, FakeCupy(), "cupy-cuda13x")
    monkeypatch.setattr(gpu_backend, "import_module", refuse)
    reason = CupyBackend().why_unavailable()
    assert reason is not None
    assert words in reason


def test_headers_that_are_missing_are_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    install_backend(monkeypatch, FakeCupy(), "cupy-cuda13x")
    monkeypatch.setattr(gpu_backend, "headers_path", lambda: None)
    reason = CupyBackend().why_unavailable()
    assert reason is not None
    assert "not CUDA's headers, with which it compiles kernels: pip install" in reason
    with pytest.raises(BackendUnavailableError, match="not CUDA's headers"):
        Network([2, 1], backend="cupy")


@pytest.mark.parametrize("version", [120900, 140001])
def test_a_cublas_of_another_cuda_is_a_reason(
    monkeypatch: pytest.MonkeyPatch, version: int
) -> None:
    cupy = FakeCupy()
    install_backend(monkeypatch, cupy, "cupy-cuda13x")
    cupy.library.version = version
    reason = CupyBackend().why_unavailable()
    assert reason is not None
    words = f"CuPy is for CUDA 13, and cuBLAS in this process is that of CUDA {version // 10000}"
    assert words in reason and "PyTorch" in reason


def test_this_machine_has_a_gpu_or_a_reason() -> None:
    reason = CupyBackend().why_unavailable()
    assert reason is None or len(reason.split()) > 3


def test_the_module_is_imported_without_cupy() -> None:
    code = "import sys, fastnet.backends.gpu.backend; sys.exit('cupy' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


# --- what it says to CuPy -------------------------------------------------------------------------


@emulated
@each_dtype
@pytest.mark.parametrize("transpose_b", [False, True])
@pytest.mark.parametrize("transpose_a", [False, True])
def test_a_product_of_rows_is_asked_for_by_columns(
    cupy: FakeCupy, dtype: Any, transpose_a: bool, transpose_b: bool
) -> None:
    rng, runtime = np.random.default_rng(0), CudaRuntime(dtype)
    a, b = rng.standard_normal((5, 3)).astype(dtype), rng.standard_normal((3, 7)).astype(dtype)
    out = runtime.empty((5, 7), dtype)
    there = [
        runtime.to_device(np.ascontiguousarray(m.T if transposed else m))
        for m, transposed in ((a, transpose_a), (b, transpose_b))
    ]
    runtime.gemm(out, *there, transpose_a=transpose_a, transpose_b=transpose_b)
    assert_close(runtime.to_host(out), a.astype(float) @ b.astype(float), terms=3)


@emulated
@each_dtype
def test_a_network_trains_and_predicts_as_on_numpy(cupy: FakeCupy, dtype: Any) -> None:
    plan = dense_plan(4, (9, "tanh"), Dropout(0.25), (3, "softmax"))
    config = TrainConfig(CrossEntropy(), Adam(0.01, clip_norm=1.0), 5, seed=3, shuffle=True)
    rows = random_rows(plan, config.loss, 13, labels=True, weighted=True)
    table = config.optimizer.step_coefficients(1, np.full(3, 0.01))
    results = []
    for backend in (NumpyBackend(), CupyBackend()):
        bench = Bench(backend, np.dtype(dtype))
        engine, there = bench.engine(plan, random_parameters(plan)), bench.rows(rows)
        moments = bench.moments(config, plan)
        tally = engine.train_epoch(there, config, moments, table, epoch=0, step=0)
        assert tally.steps == 3
        one = engine.predict_one(rows.x[2].astype(dtype))
        assert type(one) is np.ndarray
        arrays = engine.parameters, moments, engine.predict(there.x)
        results.append([*map(bench.get, arrays), one, dtype(tally.loss)])
    for expected, got in zip(*results, strict=True):
        assert_close(got, expected, terms=200)


@emulated
def test_a_network_can_be_made_fitted_and_asked(cupy: FakeCupy) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((40, 5)), rng.integers(0, 3, 40)
    results = []
    for backend in ("numpy", "cupy"):
        net = Network([5, 8, 3], output_activation="softmax", dtype="float64", backend=backend)
        net.fit(x, y, epochs=2, batch_size=16, validation_data=(x[:9], y[:9]))
        scores = net.evaluate(x, y)
        moved = net.to("numpy").predict(x)
        results.append([net.predict(x), net.predict_one(x[3]), moved, np.array([*scores.values()])])
    for expected, got in zip(*results, strict=True):
        assert type(got) is np.ndarray
        assert_close(got, expected, terms=500)


@emulated
@each_dtype
@pytest.mark.parametrize(
    "epilogue", [e for e in Epilogue if e is not Epilogue.NONE], ids=lambda e: e.name
)
def test_an_epilogue_is_asked_for_by_columns(
    cupy: FakeCupy, dtype: Any, epilogue: Epilogue
) -> None:
    """The twin of this product is the one of the runtime that the engine is tested on."""
    rng, host, cuda = np.random.default_rng(0), HostRuntime(dtype), CudaRuntime(dtype)
    a, b = rng.standard_normal((5, 3)).astype(dtype), rng.standard_normal((3, 7)).astype(dtype)
    vector = rng.standard_normal(7).astype(dtype)
    mask = rng.integers(0, 256, (5, mask_bytes(7))).astype(np.uint8)
    mask[:, 1:] = 0
    results = []
    for runtime in (host, cuda):
        there = [runtime.to_device(m) for m in (np.zeros((5, 7), dtype), a, b, vector, mask)]
        extra = {"vector": there[3], "mask": there[4]}
        assert runtime.gain(epilogue, *there[:3], **extra) > 0
        runtime.gemm(*there[:3], epilogue=epilogue, **extra)
        results.append([runtime.to_host(there[n]) for n in (0, 3)])
        bits = np.unpackbits(runtime.to_host(there[4])[:, :1], axis=1, bitorder="little")
        results[-1].append(bits[:, :7].astype(dtype))
    for got, expected in zip(*results, strict=True):
        assert_close(got, expected.astype(np.float64), terms=8)


@emulated
@pytest.mark.parametrize(
    ("dtype", "precision", "compute"),
    [
        (np.float32, "float32", Compute.F32),
        (np.float32, "tf32", Compute.F32_FAST_TF32),
        (np.float32, "bf16", Compute.F32),
        (np.float64, "float32", Compute.F64),
    ],
)
def test_products_have_the_precision_that_was_asked_for(
    cupy: FakeCupy, dtype: Any, precision: str, compute: Compute
) -> None:
    plan = dense_plan(4, (9, "relu"), (3, "softmax"))
    engine = CupyBackend().engine(
        *(plan, CupyBackend().asarray(random_parameters(plan).astype(dtype))),
        *(CupyBackend().asarray(np.zeros(0, dtype)),),
        precision=precision,
    )
    engine.predict(CupyBackend().asarray(np.ones((5, 4), dtype)))
    assert cupy.library.computes == {compute}


@emulated
def test_a_recording_of_the_real_calls_can_be_replayed(cupy: FakeCupy) -> None:
    """Nothing that a capture forbids is done in one; the fake refuses it."""
    plan = dense_plan(4, (9, "relu"), Dropout(0.25), (8, "relu"), (8, "relu"), (3, "softmax"))
    cupy.shared_bytes = 0
    config = TrainConfig(CrossEntropy(), Adam(0.01, clip_norm=1.0), 5, seed=3, shuffle=True)
    rows = random_rows(plan, config.loss, 43, labels=True, weighted=True)
    results = []
    for backend in (NumpyBackend(), CupyBackend()):
        bench = Bench(backend, np.dtype(np.float32))
        engine, there = bench.engine(plan, random_parameters(plan)), bench.rows(rows)
        moments = bench.moments(config, plan)
        for epoch in range(3):
            table = config.optimizer.step_coefficients(1 + 9 * epoch, np.full(9, 0.01))
            engine.train_epoch(there, config, moments, table, epoch=epoch, step=9 * epoch)
        results.append([*map(bench.get, (engine.parameters, moments, engine.predict(there.x)))])
    for expected, got in zip(*results, strict=True):
        assert_close(got, expected, terms=1500)
    assert cupy.library.heuristics == len(cupy_runtime._products(0)._found)


@emulated
def test_an_engine_without_epilogues_trains_the_same(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FASTNET_CACHE_DIR", str(tmp_path))
    x, y = np.random.default_rng(0).standard_normal((40, 5)), np.arange(40) % 3
    losses = []
    for without in ((), tuple(e for e in LtEpilogue if e is not LtEpilogue.DEFAULT)):
        install_backend(monkeypatch, FakeCupy(without=without), "cupy-cuda13x")
        cupy_runtime._kernels.cache_clear(), cupy_runtime._products.cache_clear()
        net = Network([5, 8, 8, 3], output_activation="softmax", dtype="float64", backend="cupy")
        losses.append(net.fit(x, y, epochs=3, batch_size=16)["loss"])
    assert_close(np.array(losses[1]), np.array(losses[0]), terms=500)


@emulated
def test_what_does_not_fit_is_a_memory_error_in_words(cupy: FakeCupy) -> None:
    cupy.runtime.free = 10 * 2**20
    runtime = CudaRuntime(np.float32)
    with pytest.raises(MemoryError) as caught:
        runtime.empty((2**20, 4), np.float32)
    assert str(caught.value) == (
        "an array of 16.0 MiB does not fit into the GPU's memory, of which 1.0 GiB of 8.0 GiB are "
        "free: choose a smaller batch_size, or the numba backend."
    )
    with pytest.raises(MemoryError, match=r"an array of 32\.0 MiB does not fit"):
        CupyBackend().asarray(np.zeros(2**22))


@emulated
def test_a_population_of_tiny_networks_is_trained_at_the_same_time(
    cupy: FakeCupy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the bits of each network's own `fit`, which trains epoch by epoch first."""
    rng, sizes = np.random.default_rng(0), list[int]()
    x, y = rng.standard_normal((60, 5)), rng.integers(0, 3, 60)
    whole = lanes.train_members
    monkeypatch.setattr(lanes, "train_members", lambda jobs: sizes.append(len(jobs)) or whole(jobs))
    net = Network([5, 8, 3], output_activation="softmax", backend="cupy")
    how: dict[str, Any] = {"epochs": 9, "batch_size": 16, "validation_data": (x[:20], y[:20])}
    how["early_stopping"] = 2
    rates = [0.003, 0.3]
    found = fit_many(net, x, y, seeds=2, param_grid={"learning_rate": rates}, **how)
    assert sizes == [4]
    for member, row in zip(found, found.results, strict=True):
        other = net.renewed(net.plan, int(row["seed"]))
        history = other.fit(x, y, optimizer=Adam(float(row["learning_rate"])), **how)
        for a, b in ((member.parameters, other.parameters), (member.predict(x), other.predict(x))):
            np.testing.assert_array_equal(on_host(net, a), on_host(net, b))
        assert member.history is not None
        assert member.history.records == history.records
        assert member.history.stop_reason == history.stop_reason
    assert len({len(member.history["loss"]) for member in found if member.history}) > 1


@emulated
def test_data_that_would_fill_the_memory_are_streamed(cupy: FakeCupy) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((300, 5)).astype(np.float32), rng.integers(0, 3, 300)
    results = []
    for free in (2**30, 4000):
        pool = SimpleNamespace(free_bytes=lambda: 0)
        cupy.get_default_memory_pool = lambda pool=pool: pool  # type: ignore[method-assign]
        net = Network([5, 8, 3], output_activation="softmax", backend="cupy")
        net.engine().runtime.shared_bytes = 0  # type: ignore[attr-defined]
        cupy.runtime.free = free
        placed = net.backend_object.place(Batch(x, y))
        assert isinstance(placed, HostRows) == (free == 4000)
        cupy.runtime.free = 2**30
        monkey = pytest.MonkeyPatch()
        with monkey.context() as patch:
            if free == 4000:
                patch.setattr(CupyBackend, "place", lambda self, rows: HostRows(*rows.fields))
            net.fit(x, y, epochs=2, batch_size=16, validation_split=0.1)
        results.append(net.predict(x))
    np.testing.assert_array_equal(*results)


@emulated
@pytest.mark.parametrize("share", [2.0, 0.5, 0.01])
def test_rows_that_would_fill_the_memory_are_predicted_in_pieces(
    cupy: FakeCupy, monkeypatch: pytest.MonkeyPatch, share: float
) -> None:
    """In pieces of whole blocks, if a block fits: so blocks are those of all rows at once."""
    monkeypatch.setattr(cupy_runtime.loader, "GRID_LIMIT", 64)
    monkeypatch.setattr("fastnet.backends.gpu.engine.LEAST_ROWS", 16)
    monkeypatch.setattr("fastnet.backends.gpu.engine.GpuEngine.workspace_bytes", 1)
    x = np.random.default_rng(0).standard_normal((100, 5)).astype(np.float32)
    net = Network([5, 8, 3], output_activation="softmax", backend="cupy")
    expected, uploads = net.predict(x), []
    whole = CupyBackend.asarray
    monkeypatch.setattr(
        CupyBackend, "asarray", lambda self, rows: uploads.append(len(rows)) or whole(self, rows)
    )
    needed = len(x) * (5 + 3) * 4
    free = int(share * needed / gpu_backend.DATA_SHARE)
    monkeypatch.setattr(gpu_backend, "free_memory", lambda _: (free, 2**30))
    got = net.predict(x)
    if share > 0.01:
        np.testing.assert_array_equal(got, expected)
    else:  # products of other shapes
        assert_close(got, expected.astype(float), terms=8)
    assert uploads == {2.0: [100], 0.5: [48, 48, 4], 0.01: [1] * 100}[share]


@emulated
@pytest.mark.parametrize("streamed", [False, True], ids=["resident", "streamed"])
def test_a_function_as_the_loss_sees_arrays_of_the_device(
    cupy: FakeCupy, monkeypatch: pytest.MonkeyPatch, streamed: bool
) -> None:
    kinds = set()

    def squared(output: Any, target: Any) -> tuple[Any, Any]:
        kinds.update({type(output), type(target)})
        error = output - target
        return (error * error).mean(axis=1), error * (2.0 / error.shape[1])

    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((40, 5)), rng.standard_normal((40, 2))
    weight = rng.uniform(0.5, 2, 40)
    if streamed:
        monkeypatch.setattr(CupyBackend, "place", lambda self, rows: HostRows(*rows.fields))
    results = []
    for loss in ("mse", squared):
        net = Network([5, 8, 2], activation="tanh", backend="cupy", seed=1)
        how: dict[str, Any] = {"batch_size": 16, "validation_data": (x[:9], y[:9])}
        history = net.fit(x, y, epochs=2, loss=loss, sample_weight=weight, **how)
        history = net.fit(x, y, epochs=2, loss=loss, optimizer=LBFGS())
        net.partial_fit(x, y, sample_weight=weight)
        value = net.evaluate(x, y)["loss"]
        results.append([net.predict(x), np.float32(history["loss"][-1]), np.float32(value)])
    for expected, got in zip(*results, strict=True):
        assert_close(got, expected, terms=4000)
    assert kinds == {DeviceArray}


@emulated
def test_a_network_that_finds_no_room_is_unharmed(cupy: FakeCupy) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((300, 500)).astype(np.float32), rng.integers(0, 3, 300)
    net = Network([500, 8, 8, 3], output_activation="softmax", backend="cupy")
    net.fit(x, y, epochs=1, batch_size=16)
    before = net.predict(x[:5])
    cupy.runtime.free = 300_000
    with pytest.raises(MemoryError, match="does not fit into the GPU's memory"):
        net.fit(x, y, epochs=1, batch_size=300)
    cupy.runtime.free = 2**30
    np.testing.assert_array_equal(net.predict(x[:5]), before)
    net.fit(x, y, epochs=1, batch_size=300)


@emulated
def test_a_device_is_chosen_by_its_number(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FASTNET_CACHE_DIR", str(tmp_path))
    cupy = FakeCupy(FakeRuntime(devices=2))
    install_backend(monkeypatch, cupy, "cupy-cuda13x")
    net = Network([5, 8, 3], backend="cupy", device=1)
    net.predict(np.zeros((2, 5)))
    assert net.parameters.device.id == 1 and CURRENT.device == 0
    with pytest.raises(InputError, match="device=2 does not exist: there are 2 GPUs, from 0 on"):
        Network([5, 8, 3], backend="cupy", device=2)


def test_a_gpu_that_is_too_old_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = FakeRuntime()
    runtime.capability = "70"
    install_backend(monkeypatch, FakeCupy(runtime), "cupy-cuda12x")
    reason = CupyBackend().why_unavailable()
    assert reason is not None
    assert "too old: it has the compute capability 7.0, and 7.5 (Turing, 2018)" in reason


@emulated
@pytest.mark.parametrize("precision", ["tf32", "bf16"])
def test_an_older_gpu_has_float32_only(
    cupy: FakeCupy, monkeypatch: pytest.MonkeyPatch, precision: str
) -> None:
    cupy.runtime.capability = "75"
    CudaRuntime(np.float32)
    with pytest.raises(InputError, match=r"needs a GPU of compute capability 8\.0, .* has 7\.5"):
        CudaRuntime(np.float32, precision=precision)


@emulated
def test_a_kernel_cache_that_fails_costs_a_warning(
    cupy: FakeCupy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUPY_CACHE_IN_MEMORY", "0")
    monkeypatch.setattr(FakeModule, "broken_cache", OSError(28, "No space left on device"))
    with pytest.warns(FastNetWarning, match="No space left on device"):
        CudaRuntime(np.float32)
    assert os.environ["CUPY_CACHE_IN_MEMORY"] == "1"


def test_it_describes_what_it_runs_on(cupy: FakeCupy) -> None:
    assert CupyBackend().describe() == {
        "cupy": "14.0.0",
        "device": "NVIDIA Pretence",
        "compute capability": "9.0",
        "memory": "8.0 GiB of which 4.0 GiB are free",
        "driver": "CUDA 13.0",
        "runtime": "CUDA 13.2",
    }


@pytest.mark.parametrize(
    ("size", "words"),
    [(0, "0 bytes"), (1023, "1023 bytes"), (1536, "1.5 KiB"), (2**43, "8192.0 GiB")],
)
def test_sizes_are_for_people(size: int, words: str) -> None:
    assert transfers.size_text(size) == words


OWN = {"memory", "_view", "_scalar", "__dict__", "__weakref__"}
"""What the stand-in for CuPy's array has of its own."""


def test_the_names_used_are_those_of_the_real_cupy() -> None:
    cupy = pytest.importorskip("cupy")
    runtime = cupy.cuda.runtime
    for owner, fake in ((runtime, FakeRuntime), (cupy, FakeCupy)):
        for name, value in vars(fake).items():
            if inspect.isfunction(value) and not name.startswith("_"):
                assert callable(getattr(owner, name)), name
    for owner, names in (
        (cupy.ndarray, vars(DeviceArray).keys() - OWN),
        (cupy.cuda.MemoryPointer, ("ptr", "copy_from_device_async")),
        (cupy.RawModule, ("compile", "get_function")),
        (cupy.RawKernel, ("kernel", "max_dynamic_shared_size_bytes")),
        (cupy.cuda.Device, ("id", "use", "attributes", "compute_capability")),
        (cupy.cuda.Stream, ("begin_capture", "end_capture", "record", "wait_event")),
        (cupy.cuda.Stream.null, ("ptr",)),
        (cupy.cuda.Graph, ("launch",)),
        (cupy.cuda.Event, ("synchronize",)),
        (cupy.cuda, ("get_current_stream", "get_elapsed_time", "alloc_pinned_memory")),
        (cupy.cuda.nvrtc, ("getVersion",)),
    ):
        assert [name for name in names if not hasattr(owner, name)] == []
    assert issubclass(cupy.cuda.memory.OutOfMemoryError, MemoryError)
    assert callable(pytest.importorskip("cuda.pathfinder").load_nvidia_dynamic_lib)


@pytest.mark.gpu
def test_the_backend_describes_a_real_gpu() -> None:
    reason = CupyBackend().why_unavailable()
    if reason:
        pytest.skip(reason)
    assert CupyBackend().describe()["device"]
    assert BLOCK in (128, 256, 512)
