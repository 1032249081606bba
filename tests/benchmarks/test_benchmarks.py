"""``fastnet bench``: who may be timed, that the numbers fit together, and what is written."""

from __future__ import annotations

import io
import itertools
import json
import re
import statistics
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

import fastnet as fn
from fastnet.backends import numpy_backend
from fastnet.benchmarks import (
    command,
    contenders,
    machine,
    measure,
    parity,
    peak,
    pinning,
    problems,
    rivals,
    timing,
)
from fastnet.benchmarks.contenders import Contender, Entry, FastNet, on_backend
from fastnet.benchmarks.ladder import CLOSE, LADDER
from fastnet.benchmarks.measure import Options
from fastnet.benchmarks.problems import Problem
from fastnet.benchmarks.reports.charts import Bar, bar_chart
from fastnet.benchmarks.reports.html import page
from fastnet.benchmarks.reports.report import FORMAT, Report, percent, scaled, significant, times
from fastnet.benchmarks.reports.table import show
from tests.html_pages import Page

SHORT = timing.Budget(rounds=3, samples=2, seconds=1e-4)
PEAK = peak.Peak(100.0, 150.0, threads=2, method="made up", copy_gbs=10.0)
OPTIONS = Options(threads=1, budget=SHORT, peak=PEAK)
IRIS, POLICY = LADDER["iris"], LADDER["policy"]
XOR = replace(LADDER["xor"], rows=256)  # 64 steps, not thousands
TINY = replace(POLICY, rows=256)
NUMPY = on_backend("numpy")


class Altered(FastNet):
    """fastnet on NumPy under another name, to be spoilt."""

    def __init__(self, problem: Problem, threads: int | None) -> None:
        super().__init__(problem, threads, "numpy")


class Hurried(Altered):
    """A rival with a learning rate that is a tenth too high."""

    def __init__(self, problem: Problem, threads: int | None) -> None:
        super().__init__(problem, threads)
        self.rates = self.rates * 1.1


class Unshuffled(Altered):
    """A rival that sees the rows in the order they have."""

    def __init__(self, problem: Problem, threads: int | None) -> None:
        super().__init__(problem, threads)
        self.config = replace(self.config, shuffle=False)


class Lazy(Altered):
    """A rival that does what it should in the comparison, and half of it when it is timed."""

    def __init__(self, problem: Problem, threads: int | None) -> None:
        short = problem.steps == parity.STEPS
        super().__init__(problem if short else problem.first(8, problem.batch), threads)


class NotANumber(Altered):
    """A rival whose loss is NaN."""

    def train_epoch(self) -> float:
        super().train_epoch()
        return float("nan")


class Overconfident(Altered):
    """A rival that predicts something else."""

    def predict(self, x: Any) -> Any:
        return super().predict(x) ** 2


class Flat(Altered):
    """A rival that returns another shape."""

    def predict(self, x: Any) -> Any:
        return super().predict(x).ravel()


class Broken(Altered):
    """A rival that cannot be made."""

    def __init__(self, problem: Problem, threads: int | None) -> None:
        raise OSError("a library is missing <here>")


def rival(made: type[Contender]) -> Entry:
    """Return a rival of that class."""
    return Entry(made.__name__.lower(), made.__name__, "1.0", "rival", made)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Keep BLAS from waiting for a second thread on a machine that has other work."""
    with pinning.limited_pools(1):
        yield


@pytest.fixture(scope="module")
def report() -> Report:
    """A run over three networks, with a good rival, a wrong one and a broken one."""
    result = Report("2030-01-02T03:04:05+00:00", machine.describe(1), asdict(PEAK), asdict(SHORT))
    entries = [NUMPY, rival(Altered), rival(Hurried), rival(Broken)]
    command.run_ladder(result, [XOR, IRIS, TINY, LADDER["wide"]], entries, OPTIONS)
    result.skipped["Some <Rival>"] = "not installed: some"
    return result


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measure next to nothing."""
    monkeypatch.setitem(LADDER, "xor", XOR)
    monkeypatch.setattr(timing, "QUICK", SHORT)
    monkeypatch.setattr(command, "_PEAK_SECONDS", {True: 0.01, False: 0.01})


def bench(**changes: Any) -> tuple[int, str]:
    """Run the command; return its exit code and what it printed."""
    out = io.StringIO()
    asked: dict[str, Any] = {
        "networks": ("xor",),
        "backends": ("numpy",),
        "rivals": False,
        "json_path": None,
        "html_path": None,
        "threads": 1,
        "quick": True,
    }
    code = command.run_bench(**{**asked, **changes}, console=Console(file=out, width=120))
    return code, out.getvalue()


# --- the ladder ----------------------------------------------------------------------------------


@pytest.mark.parametrize("rung", (LADDER | CLOSE).values(), ids=LADDER | CLOSE)
def test_the_tables_count_parameters_and_operations_as_the_plan_does(rung: Any) -> None:
    assert not rung.batch or rung.rows % rung.batch == 0
    if rung.name == "wide":
        assert (rung.parameters, rung.flops(8192)) == (67_125_248, 22 * 4096**2 * 8192)
        return
    plan = problems.network(rung, "numpy").plan
    assert (rung.parameters, rung.flops(1)) == (plan.size, plan.flops)


def test_every_contender_is_given_what_fastnet_starts_from() -> None:
    given = problems.problem(XOR, 4, 64)
    net = problems.network(XOR, "numpy")
    for mine, theirs in zip(net.weights + net.biases, given.weights + given.biases, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert sorted(given.orders[0]) == list(range(64))


def test_the_data_can_be_learnt() -> None:
    contender = FastNet(problems.problem(POLICY, 64, 1024), None, "numpy")
    losses = [contender.train_epoch() for _ in range(20)]
    assert losses[-1] < 0.8 * losses[0]


def test_the_targets_of_expm_are_exponentials_of_matrices() -> None:
    given = problems.problem(LADDER["expm"], 250, 500)
    x, powers, series = given.x.astype(np.float64).reshape(-1, 2, 2), np.eye(2), np.zeros((1, 2, 2))
    for k in range(1, 40):
        series, powers = series + powers, powers @ x / k
    np.testing.assert_allclose(given.targets, series.reshape(-1, 4), rtol=1e-6)


# --- who may be timed ----------------------------------------------------------------------------


def test_the_same_computation_passes_the_comparison() -> None:
    seen = parity.check_training(Altered, POLICY)
    assert seen.holds
    assert (seen.loss, seen.outputs) == (0.0, 0.0)


@pytest.mark.parametrize("wrong", [Hurried, Unshuffled, NotANumber, Overconfident, Flat])
def test_another_computation_fails_the_comparison(wrong: type[Contender]) -> None:
    assert not parity.check_training(wrong, POLICY).holds


@pytest.mark.parametrize("wrong", [Hurried, Unshuffled, NotANumber, Lazy])
def test_a_wrong_contender_is_named_and_not_timed(wrong: type[Contender]) -> None:
    table = measure.training(replace(POLICY, rows=1024), 64, [NUMPY, rival(wrong)], OPTIONS)
    assert [row.contender for row in table.rows] == ["fastnet-numpy"]
    (failure,) = table.failures
    assert failure.startswith(f"{wrong.__name__} ")


@pytest.mark.parametrize("wrong", [Overconfident, Flat])
def test_a_wrong_prediction_is_named_and_not_timed(wrong: type[Contender]) -> None:
    one, many = measure.prediction(IRIS, [NUMPY, rival(wrong)], OPTIONS)
    assert [row.contender for row in one.rows + many.rows] == ["fastnet-numpy"] * 2
    assert len(one.failures) == 1


def test_a_rival_that_breaks_is_noted(report: Report) -> None:
    table = report.tables[0]
    assert table.notes == ["Broken could not run: OSError: a library is missing <here>"]


def test_fastnet_that_breaks_is_an_error() -> None:
    with pytest.raises(OSError, match="a library is missing"):
        measure.training(TINY, 64, [replace(rival(Broken), kind="fastnet")], OPTIONS)


ENTRIES, _ = rivals.installed()


@pytest.mark.parametrize("entry", ENTRIES, ids=[entry.key for entry in ENTRIES])
@pytest.mark.filterwarnings("default")
def test_every_rival_that_is_installed_computes_the_same(entry: Entry) -> None:
    others = ("batch-norm", "layer-norm", "table-float64", "gelu", "mish", "silu", "one-output")
    for rung in (XOR, POLICY, LADDER["expm"], *(CLOSE[name] for name in others)):
        if rung.name in CLOSE and not entry.takes_all:
            continue
        if entry.trains:
            parity.check_training(entry.make, rung).require(entry.label, rung.name)
        contender = entry.make(problems.problem(rung, 8, 64), 1)
        parity.check_prediction(contender, rung).require(entry.label, rung.name)


def test_only_who_can_do_all_of_it_is_in_the_second_table() -> None:
    result = Report("", {}, {}, {})
    odd = replace(CLOSE["width-17"], rows=64)
    command.run_ladder(result, [odd], [NUMPY, replace(NUMPY, takes_all=True)], OPTIONS)
    assert [len(table.rows) for table in result.tables] == [1]


def test_normalisation_and_float64_are_those_of_the_plan() -> None:
    net = problems.network(CLOSE["batch-norm"], "numpy")
    assert [type(layer).__name__ for layer in net.plan.layers[:2]] == ["Dense", "BatchNorm"]
    given = problems.problem(CLOSE["table-float64"], 256, 512)
    assert {given.x.dtype, given.weights[0].dtype} == {np.dtype(np.float64)}
    regression = problems.problem(CLOSE["one-output"], 64, 128)
    assert regression.targets.shape == (128, 1)
    assert regression.targets.std() > 0.3


def test_a_rival_that_is_not_installed_is_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rivals, "missing", lambda modules: [m for m in modules if m != "numpy"])
    entries, absent = rivals.installed()
    assert [entry.label for entry in entries] == ["NumPy script"]
    assert absent["scikit-learn"] == "not installed: scikit-learn"
    assert absent["ONNX Runtime"] == "not installed: onnxruntime and onnx"


# --- timing --------------------------------------------------------------------------------------


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """A clock that stands still unless it is moved: its one element."""
    now = [0.0]
    monkeypatch.setattr(timing.time, "perf_counter", lambda: now[0])
    return now


def test_contenders_are_timed_in_turn(clock: list[float]) -> None:
    order = []

    def call(name: str, seconds: float) -> Any:
        def tick() -> None:
            order.append(name)
            clock[0] += seconds

        return tick

    budget = timing.Budget(rounds=4, samples=2, seconds=0.5)
    found = timing.interleave({"a": call("a", 1.0), "b": call("b", 3.0)}, budget)
    turns = "".join(name for name, _ in itertools.groupby(order[2:]))
    assert turns == "abbaabba".replace("bb", "b").replace("aa", "a")
    assert [found[name].repeats for name in "ab"] == [1, 1]
    assert found["b"].rounds == [[3.0, 3.0]] * 4
    assert found["b"].ratio_to(found["a"]) == 3.0


def test_a_short_call_is_repeated_until_it_takes_long_enough(clock: list[float]) -> None:
    def call() -> None:
        clock[0] += 1e-6

    assert timing.calibrate(call, 0.01) == 10_000


def test_a_ratio_is_taken_within_a_round() -> None:
    # The machine is half as fast from the second round on; the ratio is 2 throughout.
    fast = timing.Timing(1, [[1.0, 1.1], [2.0, 2.2], [2.0, 9.0]])
    slow = timing.Timing(1, [[2.0, 2.9], [4.0, 4.1], [4.4, 4.0]])
    assert slow.ratio_to(fast) == 2.0
    assert (fast.minimum, fast.typical, fast.median) == (1.0, 2.0, 2.0)


def test_fastnet_chooses_its_threads_where_it_may_use_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contenders, "cores", lambda: 2)
    assert [contenders.asked_threads(threads) for threads in (None, 1, 2, 3)] == [None, 1, None, 3]


# --- the numbers ---------------------------------------------------------------------------------


def test_the_numbers_of_a_row_fit_together(report: Report) -> None:
    rows = [(table, row) for table in report.tables for row in table.rows]
    assert {table.kind for table, _ in rows} == {"training", "one row", "many rows"}
    for table, row in rows:
        assert row.us == pytest.approx(statistics.median(row.us_rounds))
        assert row.us_min == min(row.us_rounds)
        assert row.us_median >= row.us_min
        assert row.rows_per_second == pytest.approx(1e6 * table.batch / row.us)
        assert row.gflops == pytest.approx(table.flops / row.us / 1e3)
        assert row.share_of_peak == pytest.approx(row.gflops / 100.0)
        assert row.threads == 1


def test_ratios_are_those_of_the_times(report: Report) -> None:
    for table in report.tables:
        by_name = {row.contender: row for row in table.rows}
        if by_name:
            reference, other = by_name["fastnet-numpy"], by_name["altered"]
            assert (reference.times_numpy, reference.times_fastnet) == (1.0, 1.0)
            within = [o / r for o, r in zip(other.us_rounds, reference.us_rounds, strict=True)]
            assert other.times_fastnet == pytest.approx(statistics.median(within))
            assert other.times_numpy == pytest.approx(1 / statistics.median(within))


def test_the_fastest_comes_first(report: Report) -> None:
    for table in report.tables:
        assert [row.us for row in table.rows] == sorted(row.us for row in table.rows)


def test_a_gpu_has_no_share_of_the_peak_of_a_cpu() -> None:
    table = measure.training(TINY, 64, [replace(NUMPY, on_gpu=True)], OPTIONS)
    assert [row.share_of_peak for row in table.rows] == [None]


def test_a_gpu_is_measured_at_its_own_batch_too() -> None:
    result = Report("", {}, {}, {})
    both = replace(TINY, gpu_batch=128, predicted=False)
    command.run_ladder(result, [both], [NUMPY, replace(NUMPY, key="gpu", on_gpu=True)], OPTIONS)
    found = {table.batch: {row.contender for row in table.rows} for table in result.tables}
    assert found == {64: {"fastnet-numpy", "gpu"}, 128: {"gpu"}}


def test_what_only_a_gpu_can_train_is_skipped(report: Report) -> None:
    assert report.skipped["wide"] == "for GPUs only: 3.0 TFLOP in a step"
    assert "wide" not in {table.network for table in report.tables}


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.3712, "0.371"), (8172.6, "8,173"), (1.0, "1.00"), (99.96, "100.0"), (0, "0")],
)
def test_numbers_have_three_digits(value: float, text: str) -> None:
    assert significant(value) == text


def test_numbers_have_units() -> None:
    assert (scaled(10_800_000), scaled(320)) == ("10.8 M", "320 ")
    assert (times(3.1), times(0.9304), times(None)) == ("3.10x", "0.93x", "-")
    assert (percent(0.65), percent(0.0123), percent(1e-5)) == ("65 %", "1.2 %", "<0.1 %")
    assert percent(None) == "-"


# --- the machine ---------------------------------------------------------------------------------


def test_the_machine_is_described_in_plain_values() -> None:
    described = machine.describe(2)
    assert json.loads(json.dumps(described)) == described
    assert described["cpu"]
    assert described["packages"]["numpy"] == np.__version__
    assert described["threads"] == 2
    assert described["fastnet"] == fn.__version__


def test_the_commit_is_that_of_fastnet_and_of_nothing_around_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert machine.commit() is None or re.fullmatch(r"[0-9a-f]{12}(-dirty)?", machine.commit())
    monkeypatch.setattr(machine, "__file__", str(tmp_path / "machine.py"))
    assert machine.commit() is None


def test_the_peak_is_more_than_a_product_reaches() -> None:
    pytest.importorskip("numba")
    found = peak.measure(1, 0.05)
    # The product's rate is the best of three sizes, and may be disturbed; the peak may be too.
    assert found.one_thread > 0.8 * peak._blas_rate(1, 0.05)
    assert found.all_threads == found.one_thread == found.of(1)
    assert found.copy_gbs > 0


def test_the_peak_of_several_threads_is_measured_on_several() -> None:
    assert [PEAK.of(threads) for threads in (1, 2)] == [100.0, 150.0]
    found = peak.measure(2, 0.01)
    assert found.all_threads >= found.one_thread


def test_a_peak_found_later_changes_the_shares(report: Report) -> None:
    copy = replace(report, tables=[replace(table) for table in report.tables])
    command.set_peak(copy, PEAK.best_of(peak.Peak(400.0, 1.0, 2, "made up", 1.0)))
    assert copy.peak == asdict(peak.Peak(400.0, 150.0, 2, "made up", 10.0))
    for table, before in zip(copy.tables, report.tables, strict=True):
        for row, old in zip(table.rows, before.rows, strict=True):
            assert row.share_of_peak == pytest.approx(old.share_of_peak / 4)


def test_without_numba_the_peak_is_that_of_blas(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent() -> None:
        raise ImportError("numba")

    monkeypatch.setattr(peak, "fma_loop", absent)
    found = peak.measure(1, 0.01)
    assert found.method == "fastest BLAS product"
    assert found.one_thread > 0


# --- what is written -----------------------------------------------------------------------------


def test_json_has_everything_and_reads_back(report: Report) -> None:
    read = json.loads(report.to_json())
    assert read["format"] == FORMAT == "fastnet-bench/2"
    assert set(read) == {
        "created", "machine", "peak", "budget", "tables", "startup", "kernels", "widths",
        "learning", "skipped", "wrong", "format",
    }  # fmt: skip
    assert {table["network"] for table in read["tables"]} == {"xor", "iris", "policy"}
    for table in read["tables"]:
        for row in table["rows"]:
            assert set(row) == {
                "contender", "label", "kind", "version", "threads", "us", "us_min", "us_median",
                "us_rounds", "rows_per_second", "gflops", "share_of_peak", "times_numpy",
                "times_fastnet", "parity",
            }  # fmt: skip
            assert row["kind"] in ("fastnet", "rival")
            assert row["parity"]["outputs"] <= 20 * row["parity"]["tolerance"]


def test_the_page_is_whole_and_needs_no_other_file(report: Report) -> None:
    text = page(report)
    read = Page(text)
    assert {tag for tag, _ in read.tags} & {"script", "link", "img", "iframe"} == set()
    assert not any({"src", "href"} & set(attributes) for _, attributes in read.tags)
    assert not re.search(r"https?:|url\(|@import", text)
    assert "prefers-color-scheme: dark" in text


def test_the_page_shows_every_network_contender_and_failure(report: Report) -> None:
    read = Page(page(report))
    for expected in ("xor", "iris", "policy", "fastnet numpy", "Altered", *report.failures):
        assert expected in read.texts
    assert "Broken could not run: OSError: a library is missing <here>" in read.texts
    assert "Some <Rival>: not installed: some" in read.texts
    assert [attributes.get("class") for _, attributes in read.tags].count("bars") == len(
        report.tables
    )


def test_the_page_has_the_numbers_of_the_report(report: Report) -> None:
    texts = Page(page(report)).texts
    for table in report.tables:
        for row in table.rows:
            assert significant(row.us) in texts
            assert percent(row.share_of_peak) in texts


def test_bars_are_as_long_as_their_values() -> None:
    bars = [Bar("a", 1.0, "1 us", "lead"), Bar("<b>", 4.0, "4 us", "rival"), Bar("c", 0.0, "", "")]
    read = Page(bar_chart(bars))
    assert [attrs["style"] for tag, attrs in read.tags if tag == "i"] == [
        "--length: 0.2500", "--length: 1.0000", "--length: 0.0000"
    ]  # fmt: skip
    assert "<b>" in read.texts


def test_the_tables_show_every_network_contender_and_failure(report: Report) -> None:
    out = io.StringIO()
    show(report, Console(file=out, width=120))
    text = out.getvalue()
    for expected in ("2-4-2", "4-16-3", "fastnet numpy", "Altered", "wide", "parity failed"):
        assert expected in text
    assert "not installed" in text
    row = next(row for row in report.tables[0].rows if row.contender == "altered")
    line = next(line for line in text.splitlines() if line.split()[:1] == ["Altered"])
    assert line.split()[1] == significant(row.us)


def test_the_tables_fit_a_narrow_terminal(report: Report) -> None:
    out = io.StringIO()
    show(report, Console(file=out, width=80))
    headings = [line for line in out.getvalue().splitlines() if "us/step" in line]
    assert headings
    assert all("GFLOP/s" in line and "fastnet lead" in line for line in headings)


# --- the command ---------------------------------------------------------------------------------


def test_the_command_writes_what_it_measured(quick: None, tmp_path: Path) -> None:
    result, html = tmp_path / "out.json", tmp_path / "out.html"
    code, text = bench(networks=("xor", "iris"), json_path=str(result), html_path=str(html))
    assert code == 0
    assert "2-4-2" in text
    read = json.loads(result.read_text(encoding="utf-8"))
    assert [table["kind"] for table in read["tables"]] == ["training", "one row", "many rows"]
    assert read["machine"]["threads"] == 1
    assert read["peak"]["one_thread"] > 0
    assert "xor" in Page(html.read_text(encoding="utf-8")).texts


def test_the_exit_code_tells_of_a_failed_comparison(
    quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "installed", lambda: ([rival(Hurried)], {"Other": "why"}))
    code, text = bench(rivals=True)
    assert code == 1
    assert "parity failed: Hurried does not compute the same" in text.replace("\n", " ")
    assert "skipped Other: why" in text


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"networks": ("imag",)}, "unknown network 'imag'; did you mean 'image'"),
    ({"backends": ("nunpy",)}, "unknown backend 'nunpy'; did you mean 'numpy'"),
    ({"parts": ("kernel",)}, "unknown part 'kernel'; did you mean 'kernels'"),
    ({"threads": 0}, "threads must be"),
    ({"threads": 1 << 20}, "threads must be"),
    *(({name: path}, "folder") for name in ("json_path", "html_path") for path in ("no/out", ".")),
]


@pytest.mark.parametrize(("asked", "message"), REFUSED, ids=str)
def test_what_cannot_be_done_is_refused_at_once(
    asked: dict[str, Any], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(fn.InputError, match=message):
        bench(**asked)


def test_a_backend_that_cannot_run_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        numpy_backend.NumpyBackend, "why_unavailable", lambda self: "it is switched off"
    )
    with pytest.raises(fn.BackendUnavailableError, match="it is switched off"):
        bench(backends=("numpy",))


def test_a_network_for_gpus_alone_is_no_error(quick: None) -> None:
    code, text = bench(networks=("wide",))
    assert code == 0
    assert "skipped wide: for GPUs only" in text


def test_the_backends_that_can_run_are_measured_by_default() -> None:
    names = [entry.label.removeprefix("fastnet ") for entry in contenders.select_backends(())]
    assert names == [name for name, reason in fn.available_backends().items() if reason is None]
