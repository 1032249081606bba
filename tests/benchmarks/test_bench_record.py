"""Records of a machine, and the README that is made from one and never written by hand."""

from __future__ import annotations

import io
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from fastnet.benchmarks import machine, record
from fastnet.benchmarks.reports import readme
from fastnet.errors import InputError
from tests.benchmarks.test_bench_parts import CURVE, MACHINE
from tests.checkout import ROOT


def differences(text: str) -> list[str]:
    """Return what README and its charts say otherwise than the record that README names."""
    name = readme.named_in(text)
    made = readme.page(name, json.loads((ROOT / name).read_text(encoding="utf-8")))
    found = [] if made.block in text else [f"README is not what {name} says: make readme"]
    for path, chart in made.charts.items():
        if (ROOT / path).read_text(encoding="utf-8") != chart:
            found.append(f"{path} is not what {name} says: make readme")
    return found


def test_readme_is_what_its_record_says() -> None:
    assert differences((ROOT / "README.md").read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("edit", [("| **", "| **1"), ("commit ", "commit 0"), ("×", " times")])
def test_a_number_that_is_edited_by_hand_is_found(edit: tuple[str, str]) -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    start = text.index("<!-- measured: ")
    assert edit[0] in text[start:]
    edited = text[:start] + text[start:].replace(*edit, 1)
    assert len(differences(edited)) == 1


def test_an_installed_fastnet_has_no_readme_to_renew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readme, "ROOT", tmp_path)
    with pytest.raises(InputError, match="not installed: run this from a checkout"):
        readme.main([])


def test_a_readme_without_marks_is_refused() -> None:
    with pytest.raises(InputError, match="no block that begins with"):
        readme.named_in("# fastnet\n")


def row(contender: str, us: float, kind: str = "rival") -> dict[str, Any]:
    return {
        "contender": contender, "label": contender.split("_")[0], "kind": kind, "version": "1.0",
        "us": us, "share_of_peak": 0.5, "rows_per_second": 4e6 / us,
    }  # fmt: skip


def run(threads: int, us: float, **parts: Any) -> dict[str, Any]:
    rows = [row("fastnet-numba", us, "fastnet"), row("jax_scan", 2 * us), row("pytorch", 300.0)]
    table = {"network": "xor", "layers": "2-4-2", "batch": 4, "rows": rows}
    many = {**table, "kind": "many rows", "batch": 10_000}
    return {
        "machine": {**MACHINE, "threads": threads},
        "peak": {"one_thread": 100.0, "all_threads": 190.0},
        "tables": [{**table, "kind": "training"}, many, {**table, "kind": "one row", "batch": 1}],
        "startup": [],
        **parts,
    }


def whole() -> dict[str, Any]:
    """Return a record with one of each part."""
    curve = {**vars(CURVE), "falls": [vars(fall) for fall in CURVE.falls]}
    learner = {"label": "A", "version": "1", "kind": "rival", "seconds": 3.214, "accuracy": 0.8768}
    return {
        "created": "2030-01-02T03:04:05+00:00",
        "quick": False,
        "machine": MACHINE,
        "runs": [
            run(1, 8.0),
            run(2, 5.0),
            run(2, 1.0, tables=[], startup=[{"what": "import this", "ms": 123.4}]),
            run(2, 1.0, tables=[], widths=[curve], learning=[learner]),
        ],
    }


def test_the_page_has_every_part_of_the_record() -> None:
    made = readme.page("benchmarks/results/x.json", whole())
    lines = made.block.splitlines()
    assert lines[0] == "<!-- measured: benchmarks/results/x.json -->"
    assert "| `xor`: 2-4-2, batch 4 | **8.00** | 50 % | 16.0 (2.00×) | 300 (37.5×) |" in lines
    # On two cores there is a column for the time on one.
    assert "| `xor`: 2-4-2, batch 4 | **5.00** | 50 % | 8.00 (1.60×) | 10.0 (2.00×)" in made.block
    assert "| 2-4-2, one row | **8.00** | 16.0 | 300 |" in lines
    assert "| 2-4-2, 10,000 rows | **500 k** | 250 k | 13.3 k |" in lines
    assert "| import this | 123 |" in lines
    assert "| A 1 | 3.21 | 87.7 % |" in lines
    assert any("odd widths too" in line for line in lines)
    assert set(made.charts) == {"benchmarks/results/ladder.svg", "benchmarks/results/widths.svg"}


def test_a_part_that_was_not_measured_is_left_out() -> None:
    part = whole()
    part["runs"] = part["runs"][:1]
    made = readme.page("x.json", part)
    assert "Start-up" not in made.block
    assert set(made.charts) == {"benchmarks/results/ladder.svg"}


def test_a_quick_record_is_not_published() -> None:
    with pytest.raises(InputError, match="is a quick record"):
        readme.page("x.json", {**whole(), "quick": True})


def test_the_block_is_replaced_and_nothing_else() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    made = readme.page("benchmarks/results/x.json", whole())
    new = readme.replaced(text, made.block)
    assert made.block in new
    assert readme.named_in(new) == "benchmarks/results/x.json"
    assert new.split("<!-- measured")[0] == text.split("<!-- measured")[0]
    assert new.split("<!-- end")[1] == text.split("<!-- end")[1]


# --- recording -----------------------------------------------------------------------------------


def test_a_record_is_made_of_every_part_on_one_core_and_on_all() -> None:
    asked = [" ".join(options) for options in record.plan(2, quick=False)]
    assert asked == [
        "--part ladder --threads 1",
        "--part ladder --threads 2",
        "--part startup",
        "--part widths",
        "--part kernels --threads 1",
        "--part learning --threads 2",
    ]
    assert [options for options in record.plan(1, quick=False) if "ladder" in options] == [
        ["--part", "ladder", "--threads", "1"]
    ]


@pytest.fixture
def processes(monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[str], dict[str, str]]]:
    """Processes that write a small result; the second of them exits with 1."""
    started: list[tuple[list[str], dict[str, str]]] = []

    def start(command: list[str], *, env: dict[str, str], **options: Any) -> Any:
        started.append((command, env))
        result = {"machine": MACHINE, "number": 1 / 3}
        Path(command[-1]).write_text(json.dumps(result), encoding="utf-8")
        return subprocess.CompletedProcess(command, int(len(started) == 2), "", "")

    monkeypatch.setattr(record.subprocess, "run", start)
    monkeypatch.setattr(record, "cores", lambda: 2)
    return started


def test_a_record_holds_every_run_and_tells_of_a_failure(
    processes: list[tuple[list[str], dict[str, str]]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    monkeypatch.setenv("FASTNET_DATA_DIR", "here")
    file = tmp_path / "r.json"
    out = io.StringIO()
    code = record.record(str(file), rivals=True, quick=False, console=Console(file=out))
    read = json.loads(file.read_text(encoding="utf-8"))
    assert code == 1
    assert len(read["runs"]) == len(processes) == 6
    assert read["runs"][0]["number"] == 0.333333
    assert read["machine"]["cpu"] == "a processor"
    assert all("--rivals" in command for command, _ in processes)
    # A rival is not to be held back by what somebody set for another purpose.
    assert not any("OPENBLAS_CORETYPE" in env for _, env in processes)
    assert all(env["FASTNET_DATA_DIR"] == "here" for _, env in processes)
    assert "a comparison failed" in out.getvalue()


def test_a_part_without_a_result_is_an_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    done = subprocess.CompletedProcess([], 1, "", "the reason")
    monkeypatch.setattr(record.subprocess, "run", lambda *a, **k: done)
    with pytest.raises(RuntimeError, match="the reason"):
        record.record(str(tmp_path / "r"), rivals=False, quick=True, console=Console(quiet=True))


def test_what_was_measured_before_an_error_is_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def measure(options: list[str]) -> tuple[int, dict[str, Any]]:
        if "startup" in options:
            raise RuntimeError("the third or second part")
        return 0, {"machine": MACHINE}

    monkeypatch.setattr(record, "_measure", measure)
    file = tmp_path / "r.json"
    with pytest.raises(RuntimeError, match="the third"):
        record.record(str(file), rivals=False, quick=True, console=Console(quiet=True))
    assert len(json.loads(file.read_text(encoding="utf-8"))["runs"]) in (1, 2)


def test_a_record_that_cannot_be_written_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="folder"):
        record.record(str(tmp_path / "no" / "r"), rivals=False, quick=True, console=Console())


def test_what_the_environment_sets_is_part_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    assert machine.environment()["OPENBLAS_CORETYPE"] == "Haswell"
    assert not any(name.startswith("PATH") for name in machine.environment())
