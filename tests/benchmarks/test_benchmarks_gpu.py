"""The GPU benchmark without a GPU: what fails is recorded, what was measured is claimed."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from fastnet.benchmarks.gpu import __main__, problems, report, sections
from fastnet.benchmarks.gpu.__main__ import Run, run_section
from fastnet.benchmarks.gpu.problems import OnBackend
from fastnet.benchmarks.ladder import LADDER
from fastnet.benchmarks.problems import Problem
from fastnet.errors import InputError
from tests.checkout import ROOT
from tests.cuda.host_module import WHY_NOT

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


def test_shares_are_of_the_peaks_of_the_same_run(tmp_path: Path) -> None:
    run = Run(tmp_path / "gpu.json")
    run.take({"peak": "gemm float32", "rate": 50.0})
    run.take({"peak": "copy", "rate": 4.0})
    run.take(ROW)
    (row,) = run.as_json()["rows"]
    assert row["share_of_gemm"] == 0.01
    moved = 28 * 22 + 8 * 4 * (2 + 4 + 2)
    assert row["share_of_copy"] == pytest.approx(moved / 2.0 / 1e6 / 4.0)
