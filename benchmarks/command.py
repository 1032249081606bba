"""``fastnet bench``: measure the ladder, print the tables, write the files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from fastnet.benchmarks import machine, measure, peak, pinning, startup, timing
from fastnet.benchmarks.contenders import Entry, select_backends
from fastnet.benchmarks.ladder import Rung, select
from fastnet.benchmarks.measure import Options
from fastnet.benchmarks.report import Report
from fastnet.benchmarks.rivals import installed
from fastnet.errors import InputError

if TYPE_CHECKING:
    from rich.console import Console

_PEAK_SECONDS: Final = {False: 0.5, True: 0.15}
_STARTUP_RUNS: Final = {False: 5, True: 2}


def run_bench(
    *,
    networks: tuple[str, ...],
    backends: tuple[str, ...],
    rivals: bool,
    json_path: str | None,
    html_path: str | None,
    threads: int | None,
    quick: bool,
    console: Console,
) -> int:
    """Measure, print, write; return the exit code: 1 when a contender failed the comparison.

    Parameters
    ----------
    networks, backends : tuple of str
        Empty: all of them.
    rivals : bool
        Measure the other libraries too, as far as they are installed.
    json_path, html_path : str or None
        Where to write everything, and a page to look at.
    threads : int or None
        For every contender, which is then also kept on so many processors.
    quick : bool
        A few seconds for each network.
    console : rich.console.Console

    Raises
    ------
    InputError
        A name is unknown, there are not so many processors, or a file's folder is missing.
    BackendUnavailableError
        A backend was named that cannot run here.
    """
    rungs, entries = select(networks), select_backends(backends)
    threads = pinning.check_threads(threads)
    for path in (json_path, html_path):
        _check_folder(path)

    with (
        pinning.on_cores(threads),
        pinning.limited_pools(threads),
        console.status("measuring what this machine can do") as status,
    ):

        def say(text: str) -> None:
            status.update(text)

        report, options = _begin(threads, quick, say)
        if rivals:
            others, absent = installed()
            entries = entries + others
            report.skipped |= absent
        run_ladder(report, rungs, entries, options)
        say("measuring once more what this machine can do")
        again = peak.measure(options.peak.threads, _PEAK_SECONDS[quick])
        set_peak(report, options.peak.best_of(again))
        if not networks:
            say("start-up")
            names = [e.key.removeprefix("fastnet-") for e in entries if e.kind == "fastnet"]
            report.startup = startup.measure(names, rivals, _STARTUP_RUNS[quick])
        # Again: the libraries that the rivals brought are loaded now.
        report.machine["pools"] = machine.pools()

    from fastnet.benchmarks.report_html import page
    from fastnet.benchmarks.report_table import show

    # The files first: a closed pipe must not lose what took minutes.
    asked = (json_path, Report.to_json), (html_path, page)
    written = [(path, write) for path, write in asked if path]
    for path, write in written:
        Path(path).write_text(write(report), encoding="utf-8")
    show(report, console)
    for path, _ in written:
        console.print(f"wrote {path}", highlight=False, markup=False)
    return 1 if report.failures else 0


def run_ladder(
    report: Report, rungs: Sequence[Rung], entries: Sequence[Entry], options: Options
) -> None:
    """Measure the networks with these contenders and add the tables to the report."""
    gpu = [entry for entry in entries if entry.on_gpu]
    for rung in rungs:
        if rung.batch is not None:
            report.tables.append(measure.training(rung, rung.batch, entries, options))
        if gpu and rung.gpu_batch is not None and rung.gpu_batch != rung.batch:
            report.tables.append(measure.training(rung, rung.gpu_batch, gpu, options))
        elif rung.batch is None and rung.gpu_batch is not None:
            flops = rung.flops(rung.gpu_batch) / 1e12
            report.skipped[rung.name] = f"for GPUs only: {flops:.1f} TFLOP in a step"
    for rung in rungs:
        if rung.predicted:
            report.tables += measure.prediction(rung, entries, options)


def set_peak(report: Report, found: peak.Peak) -> None:
    """Make this the peak of which every row's share is one."""
    report.peak = asdict(found)
    for table in report.tables:
        table.rows = [
            row
            if row.share_of_peak is None
            else replace(row, share_of_peak=row.gflops / found.of(row.threads))
            for row in table.rows
        ]


def _begin(threads: int | None, quick: bool, say: object) -> tuple[Report, Options]:
    """Return an empty report and the options, with the machine's measured peak."""
    budget = timing.QUICK if quick else timing.FULL
    cores = threads or pinning.usable_cores()
    found = peak.measure(cores, _PEAK_SECONDS[quick])
    report = Report(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        machine=machine.describe(threads),
        peak=asdict(found),
        budget=asdict(budget),
    )
    return report, Options(threads, budget, found, say)  # type: ignore[arg-type]


def _check_folder(path: str | None) -> None:
    """Raise `InputError` before the measurement, not after it."""
    if path is not None and not Path(path).absolute().parent.is_dir():
        raise InputError(f"cannot write {path}: its folder does not exist.")
    if path is not None and Path(path).is_dir():
        raise InputError(f"cannot write {path}: it is a folder.")
