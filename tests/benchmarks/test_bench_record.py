"""Records of a machine, and the pages whose numbers come from them and from no hand."""

from __future__ import annotations

import difflib
import io
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from fastnet.benchmarks import machine, populations, record
from fastnet.benchmarks.reports import readme
from fastnet.benchmarks.reports.report import PARTS
from fastnet.errors import InputError
from tests.benchmarks.test_bench_parts import CURVE, MACHINE
from tests.checkout import ROOT


def differences(path: Path) -> list[str]:
    """Return what a page says otherwise than the records that its blocks name."""
    text = path.read_text(encoding="utf-8")
    lines = difflib.unified_diff(text.splitlines(), readme.renewed(text).splitlines(), n=0)
    return [line for line in lines if line[0] == "+" and line[:3] != "+++"]


@pytest.mark.parametrize("page", readme.pages(), ids=lambda page: page.name)
def test_every_page_is_what_its_records_say(page: Path) -> None:
    assert differences(page) == []


def test_every_part_of_the_records_is_on_a_page() -> None:
    texts = [page.read_text(encoding="utf-8") for page in readme.pages()]
    shown = {part for text in texts for part, _ in readme.BLOCK.findall(text)}
    assert shown == set(readme.PARTS)


def test_the_charts_are_what_the_record_says() -> None:
    for path, chart in readme.charts((ROOT / "README.md").read_text(encoding="utf-8")).items():
        assert (ROOT / path).read_text(encoding="utf-8") == chart, f"{path}: make readme"


@pytest.mark.parametrize("edit", [("| **", "| **1"), ("commit ", "commit 0"), ("×", " times")])
def test_a_number_that_is_edited_by_hand_is_found(edit: tuple[str, str], tmp_path: Path) -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    start = text.index("<!-- measured: ")
    assert edit[0] in text[start:]
    edited = tmp_path / "edited.md"
    edited.write_text(text[:start] + text[start:].replace(*edit, 1), encoding="utf-8")
    assert len(differences(edited)) == 1


def test_an_installed_fastnet_has_no_readme_to_renew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readme, "ROOT", tmp_path)
    with pytest.raises(InputError, match="not installed: run this from a checkout"):
        readme.main([])


def test_a_block_of_an_unknown_part_is_refused() -> None:
    path = "benchmarks/results/2026-11-21-epyc-zen5.json"
    with pytest.raises(InputError, match="unknown part 'speed'"):
        readme.renewed(f"<!-- measured: speed {path} -->\n<!-- end -->")


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


def close(network: str, us: float) -> dict[str, Any]:
    """Return a network of the second table, where JAX takes 20 microseconds."""
    rows = [row("fastnet-numba", us, "fastnet"), row("jax_scan", 20.0)]
    return {"network": network, "kind": "training", "batch": 1_024, "rows": rows}


def whole() -> dict[str, Any]:
    """Return a record with one of each part."""
    curve = {**vars(CURVE), "falls": [vars(fall) for fall in CURVE.falls]}
    learner = {"label": "A", "version": "1", "kind": "rival", "seconds": 3.214, "accuracy": 0.8768}
    return {
        "format": "fastnet-record/1",
        "created": "2030-01-02T03:04:05+00:00",
        "quick": False,
        "machine": MACHINE,
        "runs": [
            run(1, 8.0),
            run(2, 5.0),
            run(2, 1.0, tables=[], startup=[{"what": "import this", "ms": 123.4}]),
            run(2, 1.0, tables=[], widths=[curve], learning=[learner]),
            run(1, 1.0, tables=[close("mish", 3.0), close("deep-50", 40.0)]),
            run(2, 1.0, tables=[close("mish", 3.0), close("layer-norm", 3.0)]),
        ],
    }


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], str]:
    """Return the block of a part, made from a record with one of each."""
    monkeypatch.setattr(readme, "ROOT", tmp_path)
    (tmp_path / "x.json").write_text(json.dumps(whole()), encoding="utf-8")
    return lambda part: readme.renewed(f"<!-- measured: {part} x.json -->\nold\n<!-- end -->")


@pytest.mark.parametrize(
    ("part", "line"),
    [
        (
            "training-1",
            "| `xor`: 2-4-2, batch 4 | **8.00** (50 % of peak) | 16.0 (2.00×) | 300 (37",
        ),
        (
            "training-2",
            "| `xor`: 2-4-2, batch 4 | **5.00** (50 % of peak) | 10.0 (2.00×) | 300 (60",
        ),
        (
            "close-1",
            "| `mish`: 64-128-128-10, mish, batch 1,024 | **3.00** (50 % of peak) | 20.0 (6",
        ),
        (
            "close-1",
            "| `deep-50`: 16-50 × 16-2, batch 1,024 | 40.0 (50 % of peak) | **20.0** (0.500×)",
        ),
        ("close-1", "fastest on 1 of the 2; it is behind on `deep-50` (jax by 2.00×)."),
        ("close-2", "| `layer-norm`: 64-128-128-10, layer normalisation, batch 1,024 | **3.00**"),
        ("close-2", "fastnet is the fastest on 2 of the 2.\n"),
        ("predictions", "| 2-4-2, rows: 1 | **8.00** | 16.0 | 300 |"),
        ("predictions", "| 2-4-2, rows: 10,000 | **500 k** | 250 k | 13.3 k |"),
        ("startup", "| import this | 123 |"),
        ("learning", "| A 1 | 3.21 | 87.7 % |"),
        ("widths", "- At most 2 threads: less than 85 %"),
        ("machine", "a processor, AVX2; CPython 3.13, NumPy 2.0, Numba absent; fastnet 0.1"),
    ],
)
def test_a_block_has_what_was_measured(made: Callable[[str], str], part: str, line: str) -> None:
    block = made(part)
    assert line in block
    assert "old" not in block
    assert block.startswith(f"<!-- measured: {part} x.json -->\n")


def result(case: str, contender: str, seconds: float, ratio: float) -> dict[str, Any]:
    return {
        "case": case, "contender": contender, "seconds": seconds, "step_us": 1e3 * seconds,
        "ratio": ratio,
    }  # fmt: skip


def populations_record() -> dict[str, Any]:
    """Return a record of populations in which contender i takes i times as long as fastnet."""
    contenders = {
        **{case.name: ["fit_many", "one by one"] for case in populations.CASES},
        **{name: ["Members", "PyTorch"] for name in populations.TABM},
        populations.SEARCH: ["FastNetSearchCV", "GridSearchCV"],
    }
    contenders["policy"] += ["JAX"]
    contenders["xor"] += ["JAX"]
    return {
        "format": populations.FORMAT,
        "created": "2030-01-02T03:04:05+00:00",
        "machine": {**MACHINE, "threads": None, "usable_processors": 2},
        "versions": {"jax": "1.2", "torch": "2.0+cpu"},
        "results": [
            result(case, name, float(i), float(i))
            for case, names in contenders.items()
            for i, name in enumerate(names, 1)
        ],
    }


@pytest.mark.parametrize(
    ("part", "line"),
    [
        ("populations", "| 2-4-2, 4,096 rows in batches of 4, 20 epochs | **1.00** | 2.00 (2."),
        ("populations", "| 168-384-384-1, 2,048 rows in batches of 256, 1 epoch | **1.00** |"),
        ("populations", "| search, 12 settings on 5 folds | **1.00** | 2.00 (2.00×) |"),
        ("populations-rivals", "| microseconds | fastnet | one by one | JAX |"),
        ("populations-rivals", "| 2-4-2, batch 4 | **1,000** | 2,000 (2.00×) | 3,000 (3.00×) |"),
        ("populations-tabm", "| milliseconds | fastnet | PyTorch |"),
        ("populations-tabm", "| TabM-mini, 512 units, batch 256 | **1.00** | 2.00 (2.00×) |"),
        ("populations-machine", "a processor, threads: 2; CPython 3.13, JAX 1.2, PyTorch 2.0; f"),
    ],
)
def test_a_block_of_populations_has_what_was_measured(
    made: Callable[[str], str], tmp_path: Path, part: str, line: str
) -> None:
    (tmp_path / "x.json").write_text(json.dumps(populations_record()), encoding="utf-8")
    assert line in made(part)


def test_a_record_without_the_data_of_learning_is_not_published(
    made: Callable[[str], str], tmp_path: Path
) -> None:
    less = whole()
    less["runs"][3]["learning"] = []
    (tmp_path / "x.json").write_text(json.dumps(less), encoding="utf-8")
    with pytest.raises(InputError, match="no times of learning: Fashion-MNIST was not at hand"):
        made("learning")


def test_a_newer_record_of_the_same_format_takes_the_place(
    made: Callable[[str], str], tmp_path: Path
) -> None:
    newer = whole()
    newer["runs"][0]["tables"][0]["rows"][0]["us"] = 4.0
    (tmp_path / "new.json").write_text(json.dumps(newer), encoding="utf-8")
    block = readme.renewed(made("training-1"), {"fastnet-record/1": "new.json"})
    assert "| **4.00** (50 % of peak) | 16.0 (4.00×)" in block
    assert block.startswith("<!-- measured: training-1 new.json -->")
    assert "x.json" in readme.renewed(made("training-1"), {"another": "new.json"})


def test_a_quick_record_is_not_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readme, "ROOT", tmp_path)
    (tmp_path / "x.json").write_text(json.dumps({**whole(), "quick": True}), encoding="utf-8")
    with pytest.raises(InputError, match="is a quick record"):
        readme.read("x.json")


# --- recording -----------------------------------------------------------------------------------


def test_a_record_is_made_of_every_part_on_one_core_and_on_all() -> None:
    asked = [" ".join(options) for options in record.plan(2, PARTS, quick=False)]
    assert asked == [
        "--part ladder --threads 1",
        "--part ladder --threads 2",
        "--part startup",
        "--part widths",
        "--part kernels --threads 1",
        "--part learning --threads 2",
        "--part close --threads 1",
        "--part close --threads 2",
    ]
    assert record.plan(1, ["ladder"], quick=False) == [["--part", "ladder", "--threads", "1"]]


def test_a_record_of_a_part_renews_no_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readme, "ROOT", tmp_path)
    (tmp_path / "README.md").touch()
    part = {**whole(), "parts": ["close"]}
    (tmp_path / "x.json").write_text(json.dumps(part), encoding="utf-8")
    with pytest.raises(InputError, match="has only close: write its name into the blocks"):
        readme.main([str(tmp_path / "x.json")])


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
    console = Console(file=out)
    code = record.record(str(file), PARTS, rivals=True, quick=False, console=console)
    read = json.loads(file.read_text(encoding="utf-8"))
    assert code == 1
    assert len(read["runs"]) == len(processes) == 8
    assert read["parts"] == [*PARTS]
    assert read["runs"][0]["number"] == 0.333333
    assert read["machine"]["cpu"] == "a processor"
    assert all("--rivals" in command for command, _ in processes)
    # A rival is not to be held back by what somebody set for another purpose.
    assert not any("OPENBLAS_CORETYPE" in env for _, env in processes)
    assert all(env["FASTNET_DATA_DIR"] == "here" for _, env in processes)
    assert "a comparison failed" in out.getvalue()


def small_record(file: Path) -> None:
    console = Console(quiet=True)
    record.record(str(file), PARTS, rivals=False, quick=True, console=console)


def test_a_part_without_a_result_is_an_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    done = subprocess.CompletedProcess([], 1, "", "the reason")
    monkeypatch.setattr(record.subprocess, "run", lambda *a, **k: done)
    with pytest.raises(RuntimeError, match="the reason"):
        small_record(tmp_path / "r")


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
        small_record(file)
    assert len(json.loads(file.read_text(encoding="utf-8"))["runs"]) in (1, 2)


def test_a_record_that_cannot_be_written_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="folder"):
        small_record(tmp_path / "no" / "r")


def test_what_the_environment_sets_is_part_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    assert machine.environment()["OPENBLAS_CORETYPE"] == "Haswell"
    assert not any(name.startswith("PATH") for name in machine.environment())
