"""From a network and its contenders to a table: parity, warm-up, timing, rates."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from fastnet.benchmarks import parity, problems, timing
from fastnet.benchmarks.contenders import Contender, Entry
from fastnet.benchmarks.ladder import PREDICTED_ROWS, Rung
from fastnet.benchmarks.parity import Parity, ParityError
from fastnet.benchmarks.peak import Peak
from fastnet.benchmarks.pinning import limited_pools
from fastnet.benchmarks.reports.report import Kind, Row, Table, finite
from fastnet.benchmarks.timing import Budget, Call, Timing
from fastnet.utils.machine import cores

_REFERENCE = "fastnet-numpy"


@dataclass(frozen=True)
class Options:
    """How to measure.

    Attributes
    ----------
    threads : int or None
        For every contender; None: each one's own choice.
    budget : Budget
    peak : Peak
    say : callable
        Told what is going on, in a few words.
    """

    threads: int | None
    budget: Budget
    peak: Peak
    say: Callable[[str], None] = lambda text: None


@dataclass(frozen=True)
class _Ready:
    """A contender that passed the comparison, warm."""

    entry: Entry
    contender: Contender
    parity: Parity
    call: Call


def training(rung: Rung, batch: int, entries: Sequence[Entry], options: Options) -> Table:
    """Return the times of a training step."""
    table = _table("training", rung, batch, rung.flops(batch))
    problem = problems.problem(rung, batch, rung.rows)

    def prepare(entry: Entry) -> _Ready:
        seen = parity.check_training(entry.make, rung, options.threads)
        seen.require(entry.label, rung.name)
        contender = entry.make(problem, options.threads)
        parity.require_epoch(entry.label, problem, contender.train_epoch())
        return _Ready(entry, contender, seen, contender.train_epoch)

    ready = _admit(table, [entry for entry in entries if entry.trains], prepare, options)
    _time(table, ready, options, calls_per_call=problem.steps)
    return table


def prediction(rung: Rung, entries: Sequence[Entry], options: Options) -> list[Table]:
    """Return the times of a prediction of one row, and of many."""
    one = _table("one row", rung, 1, rung.prediction_flops(1))
    many = _table("many rows", rung, PREDICTED_ROWS, rung.prediction_flops(PREDICTED_ROWS))
    problem = problems.problem(rung, 8, 64)
    x = problems.inputs(rung, PREDICTED_ROWS)

    def prepare(entry: Entry) -> _Ready:
        contender = entry.make(problem, options.threads)
        seen = parity.check_prediction(contender, rung)
        seen.require(entry.label, rung.name)
        return _Ready(entry, contender, seen, lambda: contender.predict_one(x[0]))

    ready = _admit(one, entries, prepare, options)
    _time(one, ready, options)
    _time(many, [_predicts_many(item, x) for item in ready], options)
    return [one, many]


def _predicts_many(item: _Ready, x: Any) -> _Ready:
    def call() -> Any:
        return item.contender.predict(x)

    call()
    return _Ready(item.entry, item.contender, item.parity, call)


def _table(kind: Kind, rung: Rung, batch: int, flops: int) -> Table:
    network = rung.name, rung.layers, rung.activation, rung.loss
    return Table(kind, *network, batch, rung.parameters, flops)


def _admit(
    table: Table, entries: Sequence[Entry], prepare: Callable[[Entry], _Ready], options: Options
) -> list[_Ready]:
    """Return those contenders that compute the same as the reference, warm."""
    ready = []
    for entry in entries:
        options.say(f"{table.network}: {entry.label}")
        try:
            ready.append(prepare(entry))
        except ParityError as error:
            table.failures.append(str(error))
        except Exception as error:
            # A rival's trouble is its own; fastnet's is ours.
            if entry.kind == "fastnet":
                raise
            table.notes.append(f"{entry.label} could not run: {type(error).__name__}: {error}")
    return ready


def _time(table: Table, ready: Sequence[_Ready], options: Options, calls_per_call: int = 1) -> None:
    """Time the contenders and fill in the table; what is called does so many calls (steps)."""
    if not ready:
        return
    options.say(f"{table.network}: timing {table.kind}")
    with limited_pools(options.threads):
        timings = timing.interleave({item.entry.key: item.call for item in ready}, options.budget)
    ours = [timings[item.entry.key] for item in ready if item.entry.kind == "fastnet"]
    fastest = min(ours, key=lambda t: t.typical) if ours else None
    for item in ready:
        mine = timings[item.entry.key]
        row = _row(table, item, mine, options, calls_per_call)
        reference = timings.get(_REFERENCE)
        row["times_numpy"] = reference.ratio_to(mine) if reference else None
        row["times_fastnet"] = mine.ratio_to(fastest) if fastest else None
        table.rows.append(Row(**row))
    table.rows.sort(key=lambda row: row.us)


def worked_with(contender: Contender, threads: int | None) -> int:
    """Return how many threads a contender used, or was free to use where it does not tell."""
    allowed = threads or cores()
    return min(contender.threads_used or allowed, allowed)


def _row(table: Table, item: _Ready, mine: Timing, options: Options, calls: int) -> dict[str, Any]:
    """Return a row's fields without the ratios."""
    entry, seconds = item.entry, mine.typical / calls
    threads = worked_with(item.contender, options.threads)
    gflops = table.flops / seconds / 1e9
    peak = options.peak.of(threads)
    seen = {name: finite(value) for name, value in asdict(item.parity).items()}
    return {
        "contender": entry.key,
        "label": entry.label,
        "kind": entry.kind,
        "version": entry.version,
        "threads": threads,
        "us": 1e6 * seconds,
        "us_min": 1e6 * mine.minimum / calls,
        "us_median": 1e6 * mine.median / calls,
        "us_rounds": [1e6 * min(samples) / calls for samples in mine.rounds],
        "rows_per_second": table.batch / seconds,
        "gflops": gflops,
        "share_of_peak": None if entry.on_gpu or not math.isfinite(peak) else gflops / peak,
        "parity": seen,
    }
