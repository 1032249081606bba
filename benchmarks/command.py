"""``fastnet bench``: measure the ladder, print the tables, write the files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from fastnet.backends import available_backends
from fastnet.benchmarks import learning, machine, measure, peak, pinning, startup, timing, widths
from fastnet.benchmarks.contenders import Entry, select_backends
from fastnet.benchmarks.ladder import CLOSE, LADDER, Rung, select
from fastnet.benchmarks.measure import Options
from fastnet.benchmarks.reports.report import PARTS, Report
from fastnet.benchmarks.rivals import installed
from fastnet.errors import InputError, suggest
from fastnet.utils.machine import cores

if TYPE_CHECKING:
    from rich.console import Console

_PEAK_SECONDS: Final = {False: 0.5, True: 0.15}

_RUNGS: Final = {"ladder": LADDER, "close": CLOSE}
"""The networks of the parts that are tables."""


def run_bench(
    *,
    parts: tuple[str, ...] = (),
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
    parts : tuple of str
        Of `PARTS`. Empty: the ladder, and start-up where no network was named.
    networks, backends : tuple of str
        Of the ladder, or of the second table. Empty: all of the parts that are measured.
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
    for part in parts:
        if part not in PARTS:
            raise InputError(f"unknown part {part!r}{suggest(part, PARTS)}")
    parts = parts or (("ladder",) if networks else ("ladder", "startup"))
    if parts == ("kernels",):
        threads = threads or 1  # every version of a kernel runs on one
    tables = {name: rung for part in parts for name, rung in _RUNGS.get(part, {}).items()}
    rungs, entries = select(networks, tables), select_backends(backends)
    threads = pinning.check_threads(threads)
    for path in (json_path, html_path):
        check_folder(path)

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
        if tables:
            run_ladder(report, rungs, entries, options)
            say("measuring once more what this machine can do")
            again = peak.measure(options.peak.threads, _PEAK_SECONDS[quick])
            set_peak(report, options.peak.best_of(again))
        backend_names = [e.key.removeprefix("fastnet-") for e in entries if e.kind == "fastnet"]
        if "startup" in parts:
            report.startup = startup.measure(backend_names, rivals, quick=quick, say=say)
        if "learning" in parts:
            learning.measure(report, entries, threads, quick=quick, say=say)
        if {"widths", "kernels"} & set(parts):
            _numba_parts(report, parts, options, quick)
        # Again: the libraries that the rivals brought are loaded now.
        report.machine["pools"] = machine.pools()

    from fastnet.benchmarks.reports.html import page
    from fastnet.benchmarks.reports.table import show

    # The files first: a closed pipe must not lose what took minutes.
    asked = (json_path, Report.to_json), (html_path, page)
    written = [(path, write) for path, write in asked if path]
    for path, write in written:
        Path(path).write_text(write(report), encoding="utf-8")
    show(report, console)
    for path, _ in written:
        console.print(f"wrote {path}", highlight=False, markup=False)
    return 1 if report.failures else 0


def _numba_parts(report: Report, parts: Sequence[str], options: Options, quick: bool) -> None:
    """Measure what concerns the Numba backend alone."""
    reason = available_backends()["numba"]
    if reason is not None:
        report.skipped |= {part: reason for part in ("widths", "kernels") if part in parts}
        return
    if "widths" in parts:
        most = options.threads or cores()
        report.widths = widths.measure(quick, most, options.say)
    if "kernels" in parts:
        from fastnet.benchmarks.lab import libxsmm
        from fastnet.benchmarks.lab import measure as lab

        report.skipped |= libxsmm.absent()
        with pinning.on_cores(1), pinning.limited_pools(1):
            report.kernels = lab.measure(quick, options.peak, options.say)


def run_ladder(
    report: Report, rungs: Sequence[Rung], entries: Sequence[Entry], options: Options
) -> None:
    """Measure the networks with these contenders and add the tables to the report."""
    gpu = [entry for entry in entries if entry.on_gpu]
    for rung in rungs:
        who = [one for one in entries if one.takes_all] if rung.name in CLOSE else entries
        if rung.batch is not None:
            report.tables.append(measure.training(rung, rung.batch, who, options))
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
    processors = threads or cores()
    found = peak.measure(processors, _PEAK_SECONDS[quick])
    report = Report(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        machine=machine.describe(threads),
        peak=asdict(found),
        budget=asdict(budget),
    )
    return report, Options(threads, budget, found, say)  # type: ignore[arg-type]


def check_folder(path: str | None) -> None:
    """Raise `InputError` before the measurement, not after it."""
    if path is not None and not Path(path).absolute().parent.is_dir():
        raise InputError(f"cannot write {path}: its folder does not exist.")
    if path is not None and Path(path).is_dir():
        raise InputError(f"cannot write {path}: it is a folder.")
