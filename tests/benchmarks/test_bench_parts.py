"""The parts of ``fastnet bench`` beside the ladder: widths, learning, start-up."""

from __future__ import annotations

import io
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from rich.console import Console

import fastnet as fn
from fastnet.benchmarks import command, learning, parity, startup, timing, widths
from fastnet.benchmarks.contenders import Entry, on_backend
from fastnet.benchmarks.reports import charts, grids
from fastnet.benchmarks.reports.html import page
from fastnet.benchmarks.reports.report import (
    PARTS,
    Curve,
    Fall,
    Learner,
    Report,
    Startup,
    microseconds,
)
from fastnet.benchmarks.reports.table import show
from fastnet.errors import DataNotFoundError
from fastnet.kernels.cpu import native, prepared
from tests.benchmarks.test_benchmarks import PEAK, SHORT, Altered, Hurried, bench, rival
from tests.html_pages import PHONE, Page, needs_chromium, widths_on_a_phone

CURVE = Curve(
    threads=2,
    layers="64-H-H-10",
    batch=128,
    widths=[8, 16, 17, 32],
    us=[10.0, 20.0, 40.0, 41.0],
    gflops=[30.0, 60.0, 32.0, 70.0],
    falls=[Fall(17, 16, 32 / 60, vectors=True)],
)
MACHINE: dict[str, Any] = {
    "cpu": "a processor", "processors": 2, "usable_processors": 2, "simd": ["AVX2"],
    "memory_gib": 1.0, "os": "an OS", "architecture": "x86_64", "python": "CPython 3.13",
    "packages": {"numpy": "2.0"}, "pools": [], "environment": {"OMP_NUM_THREADS": "3"},
    "threads": None, "fastnet": "0.1", "commit": None,
}  # fmt: skip


@pytest.fixture
def report() -> Report:
    """A run with one of each part."""
    result = Report("2030-01-02T03:04:05+00:00", MACHINE, asdict(PEAK), asdict(SHORT))
    result.startup = [Startup("import <this>", "fastnet", 12.0, [11.0, 12.0, 13.0])]
    result.widths = [CURVE]
    result.learning = [Learner("a", "A", "rival", "1", 2, 3.21, [3.21], 0.876)]
    result.wrong = ["B has another loss."]
    return result


# --- widths --------------------------------------------------------------------------------------


def timings(factors: dict[int, float]) -> dict[int, timing.Timing]:
    """Return epochs at a constant rate of FLOP/s, each slower by its factor, with drift."""
    drift = 1.0, 2.0, 1.5
    return {
        width: timing.Timing(
            1, [[f * d * 1e-9 * widths._flops(width) * widths.steps_of(width)] for d in drift]
        )
        for width, f in factors.items()
    }


def test_even_throughput_does_not_fall() -> None:
    assert widths.falls(timings({8: 1.0, 9: 1.1, 16: 1.2, 512: 1.0, 640: 1.0, 4096: 1.1})) == []


def test_a_cliff_is_found_and_a_vector_that_is_begun_is_told_from_it() -> None:
    found = widths.falls(timings({16: 1.0, 17: 1.7, 32: 1.0, 64: 1.3}))
    assert [(fall.width, fall.before, fall.vectors) for fall in found] == [
        (17, 16, True),
        (64, 32, False),
    ]
    assert found[1].ratio == pytest.approx(1 / 1.3)


def test_the_widths_include_odd_ones_and_both_ends() -> None:
    assert (widths.WIDTHS[0], widths.WIDTHS[-1]) == (8, 4096)
    assert {9, 15, 17, 31, 33, 63, 65, 127, 129, 255, 257, 511, 1025, 2047} <= set(widths.WIDTHS)
    assert list(widths.WIDTHS) == sorted(set(widths.WIDTHS))


def test_the_curve_has_rates_that_fit_its_times(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("numba")
    monkeypatch.setattr(widths, "QUICK_WIDTHS", (8, 9))
    monkeypatch.setattr(widths, "QUICK", SHORT)
    one, several = widths.measure(True, 2, lambda text: None)
    assert (one.threads, several.threads) == (1, 2)
    for curve in (one, several):
        for width, us, gflops in zip(curve.widths, curve.us, curve.gflops, strict=True):
            assert gflops == pytest.approx(widths.rung_of(width).flops(curve.batch) / us / 1e3)


def test_a_width_that_trains_wrongly_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(widths, "_numba", Hurried)
    with pytest.raises(parity.ParityError, match="does not compute the same"):
        widths.measure(True, 1, lambda text: None)


# --- learning ------------------------------------------------------------------------------------


@pytest.fixture
def digits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the bundled digits in the place of the larger data set."""
    data = fn.data.load("digits")
    assert data.test is not None
    wide = np.zeros((len(data.x), 784), np.float32)
    wide[:, :64] = data.x
    test = np.zeros((len(data.test.x), 784), np.float32)
    test[:, :64] = data.test.x

    class Data:
        x, y = wide, data.y

    Data.test = type("Test", (), {"x": test, "y": data.test.y})  # type: ignore[attr-defined]
    monkeypatch.setattr(fn.data, "load", lambda name: Data)


def learn(*entries: Entry) -> Report:
    result = Report("", {}, {}, {})
    learning.measure(result, entries, 1, quick=True, say=lambda text: None)
    return result


@pytest.mark.usefixtures("digits")
def test_who_learns_like_the_others_is_timed() -> None:
    found = learn(on_backend("numpy"), rival(Altered))
    assert {row.contender for row in found.learning} == {"fastnet-numpy", "altered"}
    assert len({row.accuracy for row in found.learning}) == 1
    assert found.failures == []


@pytest.mark.usefixtures("digits")
def test_who_learns_otherwise_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learning, "LONG_RUN", 1e-3)
    found = learn(on_backend("numpy"), rival(Hurried))
    assert [row.contender for row in found.learning] == ["fastnet-numpy"]
    assert found.failures == found.wrong
    assert found.wrong[0].startswith("fashion-mnist: Hurried has a loss of ")


def test_an_accuracy_that_nobody_else_has_is_named() -> None:
    assert learning._why_wrong(1.0, 1.0, 0.88) is None
    assert learning._why_wrong(1.0, 1.0, 0.6) == "ends with an accuracy of 0.6000."
    assert learning._why_wrong(float("nan"), 1.0, None) is not None


def test_without_the_data_learning_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> None:
        raise DataNotFoundError("nowhere")

    monkeypatch.setattr(fn.data, "load", absent)
    assert learn(on_backend("numpy")).skipped == {"fashion-mnist": "nowhere"}


# --- start-up ------------------------------------------------------------------------------------


def test_start_up_is_the_median_of_all_runs_but_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = iter([9.0, 1.0, 5.0, 2.0, 4.0, 3.0, 8.0, 7.0])
    monkeypatch.setattr(startup, "cases", lambda *a: {"x": startup.Start("base", "pass")})
    monkeypatch.setattr(startup, "run", lambda code: next(seconds))
    (found,) = startup.measure([], False, quick=False)
    assert found.ms == 4000.0
    assert found.ms_runs == [1000.0, 5000.0, 2000.0, 4000.0, 3000.0, 8000.0, 7000.0]


def test_a_cold_start_has_an_empty_cache_every_time() -> None:
    code = "import os, pathlib; p = pathlib.Path(os.environ['FASTNET_CACHE_DIR'], 'x'); p.mkdir()"
    assert startup.run_cold(code) > 0
    assert startup.run_cold(code) > 0  # a folder that is there already would be an error


@pytest.mark.parametrize(
    ("brought", "state"), [(False, "nothing compiled yet"), (True, "newly installed")]
)
def test_the_first_fit_without_compiled_kernels_is_among_the_cases(
    brought: bool, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(startup, "has_llvm_code", lambda: brought)
    cold = [what for what, start in startup.cases(["numpy", "numba"], False).items() if start.cold]
    assert cold == [f"first fit, numba, {state}"]
    assert not any(start.cold for start in startup.cases(["numpy"], True).values())


def test_a_file_of_another_version_is_no_llvm_code(monkeypatch: pytest.MonkeyPatch) -> None:
    there = {"native": set(native.FOR_ALL)}
    monkeypatch.setattr(prepared, "find", lambda name, *which: name in there["native"] or None)
    assert startup.has_llvm_code()
    there["native"].pop()
    assert not startup.has_llvm_code()


def test_a_process_that_fails_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        startup.run("1 / 0")


# --- what is shown -------------------------------------------------------------------------------


def test_every_part_is_in_the_tables_and_on_the_page(report: Report) -> None:
    out = io.StringIO()
    show(report, Console(file=out, width=140))
    text, html = out.getvalue(), page(report)
    assert "12.0" in text and "3.21" in text and "53 % of width 16 (a vector begun)" in text
    assert "OMP_NUM_THREADS=3" in text and "OMP_NUM_THREADS=3" in html
    assert "B has another loss." in text and "B has another loss." in html
    assert "import &lt;this&gt;" in html and "87.6 %" in html
    assert json.loads(report.to_json())["widths"][0]["falls"][0]["width"] == 17


def test_what_is_wider_than_a_phone_scrolls_in_a_box(report: Report) -> None:
    text = page(report)
    assert Page(text).unboxed == []
    assert sorted(set(Page(text.replace('class="wide"', "")).unboxed)) == ["svg", "table"]


@needs_chromium
def test_a_browser_finds_the_page_no_wider_than_a_phone(report: Report, tmp_path: Path) -> None:
    report.startup += [Startup("a name that is long " * 5, "base", 1e6, [1e6])]
    text = page(report)
    whole, spoilt = widths_on_a_phone(tmp_path, text, text.replace('class="wide"', ""))
    assert whole == PHONE < spoilt


def test_a_curve_without_falls_says_so() -> None:
    assert grids.falls_text(replace(CURVE, falls=[])).startswith("no width has less")
    assert grids.falls_text(CURVE).startswith("less than 85 %")


def test_the_chart_of_widths_marks_the_falls_and_follows_the_theme() -> None:
    text = charts.width_chart([CURVE, replace(CURVE, threads=1, falls=[])])
    root = ElementTree.fromstring(text)
    circles = [c for c in root.iter("{http://www.w3.org/2000/svg}circle") if c.get("r") == "6.0"]
    assert len(circles) == 2  # one in the legend
    assert len(list(root.iter("{http://www.w3.org/2000/svg}polyline"))) == 2
    assert "prefers-color-scheme: dark" in text


def test_the_chart_of_leads_has_a_bar_for_each_contender() -> None:
    leads = {"xor": {"A": 100.0, "<B>": 2.0}, "image": {"A": 0.9}}
    root = ElementTree.fromstring(charts.lead_chart(leads, "a <title>"))
    texts = [node.text for node in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"100×", "2.00×", "0.900×", "xor", "image", "<B>"} <= set(texts)


def test_times_have_units() -> None:
    assert [microseconds(v) for v in (0.5, 9999, 12_345, 3e6)] == [
        "0.500 µs", "9,999 µs", "12.3 ms", "3.00 s",
    ]  # fmt: skip


# --- the command ---------------------------------------------------------------------------------


def test_only_the_parts_that_are_asked_for_are_measured(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(command, "_PEAK_SECONDS", {True: 0.01, False: 0.01})
    monkeypatch.setattr(startup, "measure", lambda *a, **k: [Startup("x", "base", 1.0, [1.0])])
    file = tmp_path / "r.json"
    code, _ = bench(parts=("startup",), networks=(), json_path=str(file))
    read = json.loads(file.read_text(encoding="utf-8"))
    assert code == 0
    parts = "tables", "startup", "widths", "kernels", "learning"
    assert [part for part in parts if read[part]] == ["startup"]


def test_the_command_line_knows_the_parts() -> None:
    from fastnet.cli.commands import bench

    assert bench.PARTS == PARTS
