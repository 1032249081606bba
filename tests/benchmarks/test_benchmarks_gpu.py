"""The GPU benchmark without a GPU: what fails is recorded, what was measured is claimed."""

from __future__ import annotations

import inspect
import json
import math
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import fastnet as fn
from fastnet.backends.gpu.autotune import Choice, Choices
from fastnet.backends.gpu.epoch import windows
from fastnet.benchmarks.gpu import __main__, nvmath_rival, problems, report, sections
from fastnet.benchmarks.gpu.__main__ import Run, run_section
from fastnet.benchmarks.gpu.nvmath_rival import NvmathGpu
from fastnet.benchmarks.gpu.problems import OnBackend
from fastnet.benchmarks.ladder import LADDER
from fastnet.benchmarks.problems import Problem
from fastnet.errors import InputError
from tests.checkout import ROOT
from tests.cuda.host_backend import HostBackend
from tests.cuda.host_module import WHY_NOT
from tests.cuda.host_runtime import HostRuntime

emulated = pytest.mark.skipif(WHY_NOT is not None, reason=str(WHY_NOT))


# --- parts that fail ------------------------------------------------------------------------------


def run_code(code: str, tmp_path: Path, *, limit: float = 60.0) -> Run:
    """Run a part that is this program."""
    run = Run(tmp_path / "gpu.json")
    run_section(run, [sys.executable, "-c", code], "fastnet-float32", limit)
    return run


ROW = {"contender": "fastnet", "network": "xor", "precision": "float32", "version": "1"}
ROW |= {"us": 2.0, "tflops": 0.5, "batch": 4}


def test_a_part_gives_its_rows(tmp_path: Path) -> None:
    run = run_code(f"print('noise'); print({json.dumps(ROW)!r}); print('[1]')", tmp_path)
    assert run.rows == [ROW]
    assert run.sections["fastnet-float32"]["status"] == "ok"
    assert run.is_good


def test_a_part_that_fails_keeps_its_rows_and_says_why(tmp_path: Path) -> None:
    code = f"print({json.dumps(ROW)!r}); raise OSError('a driver that is gone')"
    run = run_code(code, tmp_path)
    assert run.rows == [ROW]
    entry = run.sections["fastnet-float32"]
    assert entry["status"] == "failed" and "a driver that is gone" in entry["error"]
    assert not run.is_good


def test_a_part_that_is_killed_is_recorded(tmp_path: Path) -> None:
    run = run_code("import os; os.kill(os.getpid(), 9)", tmp_path)
    assert run.sections["fastnet-float32"]["error"] == "exit code -9"


def test_a_part_that_hangs_is_stopped_and_keeps_its_rows(tmp_path: Path) -> None:
    code = f"import time; print({json.dumps(ROW)!r}, flush=True); time.sleep(600)"
    began = time.monotonic()
    run = run_code(code, tmp_path, limit=5.0)
    assert time.monotonic() - began < 60
    assert run.rows == [ROW]
    assert run.sections["fastnet-float32"]["status"] == "timeout"


def test_a_network_that_fails_is_no_success(tmp_path: Path) -> None:
    failed = {key: ROW[key] for key in ("contender", "network", "precision")} | {"failure": "no"}
    run = run_code(f"print({json.dumps(failed)!r})", tmp_path)
    assert not run.is_good
    rival = run_code(f"print({json.dumps(failed | {'contender': 'jax'})!r})", tmp_path)
    assert rival.is_good


def test_without_time_every_part_is_skipped_and_the_file_says_so(tmp_path: Path) -> None:
    out = tmp_path / "gpu.json"
    done = CliRunner().invoke(__main__.main, ["--seconds", "1", "--out", str(out)])
    assert done.exit_code == 1
    written = json.loads(out.read_text(encoding="utf-8"))
    assert written["format"] == "fastnet-gpu/1"
    assert {entry["status"] for entry in written["sections"].values()} == {"skipped"}
    assert list(written["sections"]) == list(sections.SECTIONS) == list(__main__.LIMITS)


@emulated
def test_a_rehearsal_on_emulated_kernels_checks_and_times(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    out = tmp_path / "gpu.json"
    options = [
        o for name in ("environment", "peaks", "fastnet-float32") for o in ("--section", name)
    ]
    sizes = ["--network", "xor", "--shrink", "1024", "--timing", "0.01"]
    done = CliRunner().invoke(__main__.main, ["--host", *options, *sizes, "--out", str(out)])
    written = json.loads(out.read_text(encoding="utf-8"))
    assert written["environment"]["backend"] == {"kernels": "emulated"}
    (row,) = written["rows"]
    assert row["network"] == "xor" and row["us"] > 0 and row["parity"]["loss"] < 1e-5
    assert len(row["us_rounds"]) == sections.ROUNDS
    assert written["sections"]["fastnet-float32"]["status"] == "ok"
    gpu_is_there = written["sections"]["peaks"]["status"] == "ok"
    assert done.exit_code == (0 if gpu_is_there else 1)
    assert "| `xor`: 2-4-2, batch 4 | float32 | **" in done.stdout


# --- the same computation -------------------------------------------------------------------------


def settings(tmp_path: Path, network: str) -> sections.Settings:
    values = {"networks": [network], "reference": str(tmp_path / "reference.json")}
    values |= {"seconds": 0.001, "shrink": 1024, "host": True}
    made = sections.Settings(values)
    assert list(sections.reference(made))
    return made


def test_a_contender_that_computes_something_else_is_not_timed(tmp_path: Path) -> None:
    made = settings(tmp_path, "xor")

    def wrong(problem: Problem) -> OnBackend:
        weights = (problem.weights[0] * np.float32(1.001), *problem.weights[1:])
        return OnBackend(replace(problem, weights=weights))

    for make, is_right in ((OnBackend, True), (wrong, False)):
        (row,) = sections.trained(made, "fastnet", "float32", make)
        assert ("us" in row) == is_right
        assert ("not the same computation" in row.get("failure", "")) == (not is_right)


def test_a_loss_that_is_not_finite_holds_at_no_precision() -> None:
    few = problems.parity_problem(LADDER["xor"])
    expected = problems.reference(LADDER["xor"])
    weights = (np.full_like(few.weights[0], np.nan), *few.weights[1:])
    found = problems.differences(OnBackend(replace(few, weights=weights)), few, expected)
    assert not any(problems.holds(found, p) for p in problems.TOLERANCE)


def test_the_problems_are_those_of_the_ladder() -> None:
    assert [rung.name for rung in problems.rungs()] == [
        rung.name for rung in LADDER.values() if rung.gpu_batch
    ]
    few = problems.problem(LADDER["policy"], 64, 2)
    assert few.steps == 2 and few.x.shape == (128, 16) and set(few.targets) == {0, 1, 2, 3}
    same = problems.problem(LADDER["policy"], 64, 2)
    np.testing.assert_array_equal(few.x, same.x)


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_pytorch_computes_the_same(precision: str) -> None:
    pytest.importorskip("torch")
    from fastnet.benchmarks.gpu.torch_rivals import TorchGpu

    few = problems.parity_problem(LADDER["policy"])
    rival = TorchGpu(few, mode="eager", precision=precision, device="cpu")
    found = problems.differences(rival, few, problems.reference(LADDER["policy"]))
    assert problems.holds(found, precision)


LENGTHS = {"xor": {64, 8, 1}, "image": {64, 8, 1}, "image-wide": {8, 1}, "wide": {1}}


@pytest.mark.parametrize("name", LENGTHS)
def test_each_length_of_window_that_is_timed_comes_up_twice_in_the_comparison(name: str) -> None:
    """The first of a length runs launch by launch, the second is recorded."""
    rung = LADDER[name]
    per_row = 4 * rung.sizes[0]

    def lengths(size: int, steps: int) -> list[int]:
        return [(b - a) // size for a, b in windows(0, steps, size, size * steps, per_row)]

    batch = rung.gpu_batch or 0
    assert set(lengths(batch, problems.STEPS[name])) <= LENGTHS[name]
    compared = lengths(min(batch, problems.PARITY_BATCH), problems.parity_steps(rung))
    assert sorted(compared) == sorted([*LENGTHS[name]] * 2)


@emulated
@pytest.mark.parametrize("length", [64, 8, 1])
def test_a_recording_that_lacks_a_step_is_noticed(
    monkeypatch: pytest.MonkeyPatch, length: int
) -> None:
    few, expected = problems.parity_problem(LADDER["xor"]), problems.reference(LADDER["xor"])
    assert problems.holds(
        problems.differences(OnBackend(few, backend=HostBackend()), few, expected), "float32"
    )
    capture = HostRuntime.capture

    def forgetful(self: HostRuntime, work: Any) -> Any:
        replay = capture(self, work)
        recorded = self.captured[-1]
        names = [call[1] if isinstance(call[1], str) else "" for call in recorded]
        updates = [n for n, name in enumerate(names) if name == "optimizer_update"]
        if len(updates) == length:
            del recorded[updates[-1]]
        return replay

    monkeypatch.setattr(HostRuntime, "capture", forgetful)
    found = problems.differences(OnBackend(few, backend=HostBackend()), few, expected)
    assert not problems.holds(found, "float32")


# --- a user of CuPy and nvmath-python -------------------------------------------------------------


class FakeMatmul:
    """What nvmath's ``Matmul`` does with arrays that lie by rows or by columns, on NumPy."""

    def __init__(self, a: Any, b: Any, /, *, options: dict[str, Any]) -> None:
        assert options.keys() == {"compute_type", "memory_limit"}
        self.a, self.b, self.epilog = a, b, None
        self.strides = a.strides, b.strides
        self.inputs: dict[str, Any] = {}

    def plan(self, *, epilog: str | None, epilog_inputs: dict[str, Any] | None) -> None:
        self.epilog, self.inputs = epilog, epilog_inputs or {}
        wanted = {"BIAS": {"bias"}, "RELU_AUX_BIAS": {"bias"}, "DRELU_BGRAD": {"relu_aux"}}
        assert self.inputs.keys() == wanted.get(epilog or "", set())

    def autotune(self, iterations: int) -> None:
        assert iterations > 0

    def reset_operands(self, *, a: Any, b: Any, epilog_inputs: dict[str, Any] | None) -> None:
        assert (a.strides, b.strides) == self.strides and a.shape == self.a.shape
        self.a, self.b, self.inputs = a, b, epilog_inputs or {}

    def execute(self) -> Any:
        by_columns = self.a.strides[0] == self.a.itemsize
        result = self.a @ self.b
        aux: dict[str, Any] = {}
        if self.epilog in ("BIAS", "RELU_AUX_BIAS"):
            assert self.inputs["bias"].shape == result.shape[:1]
            result = result + self.inputs["bias"][:, None]
        if self.epilog == "RELU_AUX_BIAS":
            aux["relu_aux"] = result > 0
            result = np.maximum(result, 0)
        if self.epilog == "DRELU_BGRAD":
            result = result * self.inputs["relu_aux"]
            aux["drelu_bgrad"] = result.sum(axis=1)
        if self.epilog == "BGRADA":
            assert by_columns, "BGRADA wants its first factor by columns"
            aux["bgrada"] = self.a.sum(axis=1)
        # An epilogue with inputs gives columns; else the result lies as the first factor does.
        result = np.array(result, order="F" if self.inputs or by_columns else "C")
        return (result, aux) if aux else result


class FakeElementwise:
    """``cupy.ElementwiseKernel`` for assignments of C that are Python's too."""

    def __init__(self, inputs: str, outputs: str, code: str, name: str) -> None:
        self.names = [part.split()[-1] for part in f"{inputs}, {outputs}".split(",")]
        self.code = [statement.strip() for statement in code.split(";") if statement.strip()]

    def __call__(self, *arrays: Any) -> None:
        values = dict(zip(self.names, arrays, strict=True))
        for statement in self.code:
            exec(statement, {"T": np.float32, "sqrt": np.sqrt}, values)


@pytest.fixture
def nvmath(monkeypatch: pytest.MonkeyPatch) -> type[FakeMatmul]:
    """Put fakes in the place of CuPy and nvmath-python."""
    cupy = ModuleType("cupy")
    names = ("zeros", "zeros_like", "arange", "empty", "float32", "take", "tanh", "exp", "log")
    for name in (*names, "maximum"):
        setattr(cupy, name, getattr(np, name))
    cupy.asarray = np.array  # type: ignore[attr-defined]  # Its own memory.
    cupy.asnumpy = np.asarray  # type: ignore[attr-defined]
    cupy.ElementwiseKernel = FakeElementwise  # type: ignore[attr-defined]
    advanced = ModuleType("nvmath.linalg.advanced")
    advanced.Matmul = FakeMatmul  # type: ignore[attr-defined]
    kinds = {kind: kind for kind in ("BIAS", "RELU_AUX_BIAS", "DRELU_BGRAD", "BGRADA")}
    advanced.MatmulEpilog = SimpleNamespace(**kinds)  # type: ignore[attr-defined]
    computes = {"COMPUTE_32F": 68, "COMPUTE_32F_FAST_TF32": 77}
    advanced.MatmulComputeType = SimpleNamespace(**computes)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    for name in ("nvmath", "nvmath.linalg"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setitem(sys.modules, "nvmath.linalg.advanced", advanced)
    return FakeMatmul


@pytest.mark.parametrize("network", ["xor", "policy", "table"])
def test_the_user_of_nvmath_computes_the_same(nvmath: type[FakeMatmul], network: str) -> None:
    few, expected = problems.parity_problem(LADDER[network]), problems.reference(LADDER[network])
    found = problems.differences(NvmathGpu(few), few, expected)
    assert problems.holds(found, "float32"), found


def test_the_comparison_notices_a_product_of_nvmath_that_is_wrong(
    nvmath: type[FakeMatmul], monkeypatch: pytest.MonkeyPatch
) -> None:
    right = nvmath.execute

    def wrong(self: FakeMatmul) -> Any:
        found = right(self)
        if self.epilog == "DRELU_BGRAD":
            found[1]["drelu_bgrad"][0] = 0
        return found

    monkeypatch.setattr(nvmath, "execute", wrong)
    few, expected = problems.parity_problem(LADDER["policy"]), problems.reference(LADDER["policy"])
    assert not problems.holds(problems.differences(NvmathGpu(few), few, expected), "float32")


def test_nvmath_is_called_as_its_signatures_say() -> None:
    advanced = pytest.importorskip("nvmath.linalg.advanced")
    for name in ("__init__", "plan", "autotune", "reset_operands", "execute"):
        fake = inspect.signature(getattr(FakeMatmul, name)).parameters
        real = inspect.signature(getattr(advanced.Matmul, name)).parameters
        assert {n: p.kind for n, p in fake.items()} == {n: real[n].kind for n in fake}
    for kind in ("BIAS", "RELU_AUX_BIAS", "DRELU_BGRAD", "BGRADA"):
        assert hasattr(advanced.MatmulEpilog, kind)
    for compute in ("COMPUTE_32F", "COMPUTE_32F_FAST_TF32"):
        kind = getattr(advanced.MatmulComputeType, compute)
        advanced.MatmulOptions(compute_type=kind, memory_limit=nvmath_rival.WORKSPACE)


def test_the_rows_of_nvmath_are_those_of_the_other_contenders(
    nvmath: type[FakeMatmul], tmp_path: Path
) -> None:
    (row,) = sections.nvmath(settings(tmp_path, "xor"))
    assert (row["contender"], row["precision"]) == ("nvmath", "float32")
    assert row["us"] > 0 and row["first_loss"] > 0


# --- packages that are not there ------------------------------------------------------------------


def test_a_part_whose_package_is_missing_is_not_begun_and_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def never(*_: Any) -> None:
        raise AssertionError("data were made")

    monkeypatch.setattr(problems, "problem", never)
    monkeypatch.setattr(sections, "NEEDS", {"torch-graph": ("os", "no_such_package")})
    with pytest.raises(SystemExit) as ended:
        sections.main("torch-graph", "{}")
    assert ended.value.code == sections.MISSING
    assert capsys.readouterr().err == "not installed: no_such_package\n"
    code = f"import sys; sys.stderr.write('not installed: x'); sys.exit({sections.MISSING})"
    run = run_code(code, tmp_path)
    assert run.sections["fastnet-float32"]["status"] == "missing"
    assert run.sections["fastnet-float32"]["error"] == "not installed: x"


def test_every_part_says_what_it_needs() -> None:
    assert set(sections.NEEDS) == set(__main__.RIVALS) <= set(sections.SECTIONS)


def test_a_rival_has_its_own_version_or_none(monkeypatch: pytest.MonkeyPatch) -> None:
    versions = {"torch": "2.99", "nvmath-python": "0.9"}
    monkeypatch.setattr(sections, "version_of", lambda name: versions.get(name, ""))
    names = ("fastnet", "torch-graph", "nvmath", "jax")
    assert [sections._version(name) for name in names] == [fn.__version__, "2.99", "0.9", ""]


# --- what is claimed ------------------------------------------------------------------------------


def result(*rows: dict[str, Any]) -> dict[str, Any]:
    return {
        "commit": "abc",
        "environment": {"backend": {"device": "NVIDIA Pretence"}},
        "rows": list(rows),
    }


def test_the_site_has_the_table_of_the_newest_recorded_run() -> None:
    text = (ROOT / "docs/performance.md").read_text(encoding="utf-8")
    assert report.renewed(text, report.newest()) == text


def test_the_readme_says_that_nothing_was_timed_as_long_as_that_is_so() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    says = "The CuPy backend has not been timed on a GPU yet" in readme
    assert says == (report.newest() is None)


def test_a_recorded_run_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (report.RESULTS / "README.md").is_file()
    monkeypatch.setattr(report, "RESULTS", tmp_path)
    (tmp_path / "gpu-2030-01-02-X.json").write_text(json.dumps(result(ROW)), encoding="utf-8")
    assert report.newest() == result(ROW)


def test_records_that_are_not_installed_are_no_missing_measurement(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "RESULTS", tmp_path / "results")
    with pytest.raises(InputError, match="records of measurements are not installed"):
        report.newest()


def test_without_a_run_there_is_no_number() -> None:
    assert report.table(None) == report.table(result()) == report.NOTHING
    assert not any(letter.isdigit() for letter in report.NOTHING)


def test_the_table_has_what_was_measured_and_nothing_else() -> None:
    slower = ROW | {"contender": "torch-graph", "us": 123.4, "version": "2"}
    failed = ROW | {"contender": "jax", "network": "policy", "failure": "no"}
    del failed["us"]
    assert report.table(result(ROW, slower, failed)).splitlines() == [
        "Microseconds per training step on NVIDIA Pretence, lower is better (commit abc):",
        "",
        "| network | precision | fastnet cupy 1 | PyTorch CUDA graph 2 |",
        "|---|---|---:|---:|",
        "| `xor`: 2-4-2, batch 4 | float32 | **2.00** | 123 |",
    ]


def test_a_text_without_marks_is_refused() -> None:
    with pytest.raises(ValueError, match="must have the marks"):
        report.renewed("# A page\n", None)


def test_contenders_that_train_differently_are_named_and_nothing_is_claimed(
    tmp_path: Path,
) -> None:
    run = Run(tmp_path / "gpu.json")
    run.sections["fastnet-float32"] = {"status": "ok"}
    torch = {"contender": "torch-graph", "version": "2"}
    other = {"network": "policy"}
    rows = [
        ROW | {"first_loss": 0.5},
        ROW | torch | {"first_loss": 0.5049},
        ROW | other | {"first_loss": 0.5},
    ]
    for row in rows:
        run.take(row)
    assert run.is_good and not run.doubts
    run.take(ROW | other | torch | {"first_loss": 0.5051})
    assert not run.is_good
    said = "the first epoch of torch-graph has the loss 0.5051, that of fastnet 0.5"
    assert run.doubts == {("policy", "float32"): said}
    written = run.as_json()
    doubtful = {row["network"] for row in written["rows"] if row.get("doubt") == said}
    assert doubtful == {"policy"}
    assert "policy" not in report.table(result(*written["rows"]))
    assert "xor" in report.table(result(*written["rows"]))
    run.take(ROW | {"contender": "jax", "version": "1", "first_loss": float("nan")})
    assert ("xor", "float32") in run.doubts


def test_what_was_found_out_about_epilogues_is_part_of_the_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FASTNET_CACHE_DIR", str(tmp_path / "cache"))
    choices = Choices("GPU")
    for key, gain in (("plain", 0.0), ("faster", 2e-6), ("wrong", -math.inf)):
        choices.keep(key, Choice(bytes(64), gain))
    run = Run(tmp_path / "gpu.json")
    for found in sections.products(settings(tmp_path, "xor")):
        run.take(found)
    run.write()
    written = json.loads((tmp_path / "gpu.json").read_text(encoding="utf-8"))
    assert written["products"] == {"GPU": {"faster": 2.0, "wrong": None}}


def test_shares_are_of_the_peaks_of_the_same_run(tmp_path: Path) -> None:
    run = Run(tmp_path / "gpu.json")
    run.take({"peak": "gemm float32", "rate": 50.0})
    run.take({"peak": "copy", "rate": 4.0})
    run.take(ROW)
    (row,) = run.as_json()["rows"]
    assert row["share_of_gemm"] == 0.01
    moved = 28 * 22 + 8 * 4 * (2 + 4 + 2)
    assert row["share_of_copy"] == pytest.approx(moved / 2.0 / 1e6 / 4.0)
